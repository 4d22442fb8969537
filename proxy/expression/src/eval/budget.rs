//! How much an evaluation may do.
//!
//! Three meters, because kube-apiserver's own does not bound everything: its cost counts a list concatenation as 1 and
//! literals and `&&` as nothing. The first meter follows it, so that what it stops is stopped here too. The other two
//! bound what this crate really does, in steps and in memory.

use crate::error::Failure;

/// kube-apiserver's limit for one expression (`PerCallLimit`).
pub(crate) const COST: u64 = 1_000_000;

/// Nodes evaluated and elements looked at. Enough for everything within [`COST`] that does not copy lists in loops.
pub(crate) const STEPS: u64 = 4_000_000;

/// Bytes of strings, lists and maps that are made, whether or not they are still in use.
pub(crate) const BYTES: u64 = 32 * 1024 * 1024;

/// What an element of a list costs in [`BYTES`]: its place and the head of a short text.
const ELEMENT: u64 = 64;

#[derive(Debug)]
pub(crate) struct Budget {
    cost: u64,
    steps: u64,
    bytes: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            cost: COST,
            steps: STEPS,
            bytes: BYTES,
        }
    }
}

impl Budget {
    /// Pays in kube-apiserver's currency.
    pub(crate) fn pay(&mut self, cost: u64) -> Result<(), Failure> {
        take(
            &mut self.cost,
            cost,
            "the expression costs more than kube-apiserver allows",
        )
    }

    /// For what was charged further down and should not have been.
    pub(crate) fn refund(&mut self, cost: u64) {
        self.cost = self.cost.saturating_add(cost).min(COST);
    }

    #[cfg(test)]
    pub(crate) fn paid(&self) -> u64 {
        COST - self.cost
    }

    pub(crate) fn step(&mut self) -> Result<(), Failure> {
        self.steps(1)
    }

    pub(crate) fn steps(&mut self, steps: u64) -> Result<(), Failure> {
        take(
            &mut self.steps,
            steps,
            "the expression takes too many steps",
        )
    }

    /// Looking at a whole text.
    pub(crate) fn scan(&mut self, text: &str) -> Result<(), Failure> {
        self.scan_bytes(text.as_bytes())
    }

    /// Looking at all of these bytes.
    pub(crate) fn scan_bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.steps(1 + length(bytes.len()) / 16)
    }

    /// Before making a text of this many bytes.
    pub(crate) fn bytes(&mut self, bytes: usize) -> Result<(), Failure> {
        self.steps(1 + length(bytes) / 64)?;
        take(
            &mut self.bytes,
            length(bytes),
            "the expression produces too much data",
        )
    }

    /// Before making a list or map of this many elements.
    pub(crate) fn elements(&mut self, elements: usize) -> Result<(), Failure> {
        self.steps(1 + length(elements) / 2)?;
        take(
            &mut self.bytes,
            length(elements).saturating_mul(ELEMENT),
            "the expression produces too much data",
        )
    }
}

fn take(meter: &mut u64, amount: u64, message: &'static str) -> Result<(), Failure> {
    if let Some(left) = meter.checked_sub(amount) {
        *meter = left;
        Ok(())
    } else {
        // Empty from now on: nothing may go on after the first refusal.
        *meter = 0;
        Err(Failure::over_budget(message))
    }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
