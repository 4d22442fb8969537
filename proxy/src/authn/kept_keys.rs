//! What the task that fetches an issuer's keys shares with those who use them.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, SystemTime},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use oidcproxy_crds::state::IssuerState;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::key::{KeySet, Thumbprint};

/// How long keys from an issuer's former address count while the new one gives none. Not for ever:
/// the former one may have been given up because somebody else answers there.
const LOAN: Duration = Duration::from_mins(5);

/// What the task knows, for those who verify tokens.
#[derive(Debug)]
pub(super) struct KeptKeys {
    /// The issuer's name in logs and metrics.
    pub(super) name: ArcSwap<String>,
    /// Those that were fetched.
    pub(super) keys: ArcSwapOption<KeySet>,
    /// When they were last had.
    pub(super) fetched_at: ArcSwapOption<SystemTime>,
    /// Those that count until then.
    pub(super) loan: Option<Loan>,
    pub(super) report: ArcSwap<Report>,
    /// Somebody has met a key that is not there.
    pub(super) wanted: Notify,
    pub(super) discovery: watch::Sender<Discovery>,
    /// Counts the fetches of keys that have begun.
    pub(super) started: AtomicU64,
    /// Those of them that have ended, well or not.
    pub(super) fetched: watch::Sender<u64>,
}

/// Keys from an issuer's former address.
#[derive(Clone, Debug)]
pub(super) struct Loan {
    keys: Arc<KeySet>,
    until: Instant,
}

/// How far discovery has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Discovery {
    Untried,
    Failed,
    Done,
}

/// What is said of the issuer.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) state: IssuerState,
    pub(super) message: Option<String>,
}

impl Loan {
    fn is_current(&self) -> bool {
        Instant::now() < self.until
    }
}

impl KeptKeys {
    pub(super) fn new(name: &str, loan: Option<Loan>) -> Self {
        Self {
            name: ArcSwap::from_pointee(name.to_owned()),
            keys: ArcSwapOption::empty(),
            fetched_at: ArcSwapOption::empty(),
            loan,
            report: ArcSwap::from_pointee(Report {
                state: IssuerState::Pending,
                message: None,
            }),
            wanted: Notify::new(),
            discovery: watch::Sender::new(Discovery::Untried),
            started: AtomicU64::new(0),
            fetched: watch::Sender::new(0),
        }
    }

    /// The keys that count now.
    pub(super) fn current(&self) -> Option<Arc<KeySet>> {
        let lent = || self.loan.as_ref().filter(|loan| loan.is_current());
        self.keys
            .load_full()
            .or_else(|| lent().map(|loan| Arc::clone(&loan.keys)))
    }

    /// Whether this key is one of them.
    pub(super) fn has(&self, key: &Thumbprint) -> bool {
        if let Some(keys) = &*self.keys.load() {
            return keys.has(key);
        }
        let loan = self.loan.as_ref();
        loan.is_some_and(|loan| loan.is_current() && loan.keys.has(key))
    }

    /// For the same issuer at another address. What was only lent does not become newer by it.
    pub(super) fn lend(&self) -> Option<Loan> {
        let Some(keys) = self.keys.load_full() else {
            return self.loan.clone().filter(Loan::is_current);
        };
        let until = Instant::now() + LOAN;
        Some(Loan { keys, until })
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SET: &[u8] = br#"{"keys":[{"kty":"RSA","n":"sXch","e":"AQAB"}]}"#;

    fn fetched() -> KeptKeys {
        let kept = KeptKeys::new("corp", None);
        kept.keys.store(Some(Arc::new(KeySet::parse(SET).unwrap())));
        kept
    }

    #[tokio::test(start_paused = true)]
    async fn lent_keys_count_for_a_while() {
        let moved = KeptKeys::new("corp", fetched().lend());
        assert!(moved.current().is_some());
        advance(LOAN / 2).await;
        // Another change does not prolong it.
        let again = KeptKeys::new("corp", moved.lend());
        assert!(again.current().is_some());
        advance(LOAN / 2).await;
        assert!(moved.current().is_none() && again.current().is_none());
        assert!(moved.lend().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn fetched_keys_replace_lent_ones() {
        let moved = KeptKeys::new("corp", fetched().lend());
        moved.keys.store(Some(Arc::new(KeySet::default())));
        assert!(moved.current().unwrap().is_empty());
        advance(2 * LOAN).await;
        assert!(moved.current().is_some());
    }
}
