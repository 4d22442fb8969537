//! What can go wrong, always as one line with a position and never with a value of a token in it.

use std::{borrow::Cow, fmt};

/// An expression that kube-apiserver would refuse at load time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct CompileError {
    /// What is wrong, without a line break.
    pub message: String,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

/// Why an evaluation has no result. kube-apiserver refuses the token for either reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The expression itself failed: a missing claim, operands that do not fit.
    Failed,
    /// The evaluation was stopped because it cost too much.
    OverBudget,
}

/// An expression without a result for these claims or this user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct EvaluationError {
    /// What happened, without a line break and without the values involved.
    pub message: Cow<'static, str>,
    /// Whether the expression failed or was stopped.
    pub reason: Reason,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

/// A compile-time failure at a byte offset of the source.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) message: String,
    pub(crate) offset: u32,
}

impl Refusal {
    pub(crate) fn new(offset: u32, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            offset,
        }
    }

    pub(crate) fn locate(self, source: &str) -> CompileError {
        let (line, column) = position(source, self.offset);
        let mut message = self.message;
        // An echo of the source may carry its line breaks.
        message.retain(|character| !character.is_control());
        CompileError {
            message,
            line,
            column,
        }
    }
}

/// A run-time failure; the evaluator adds the offset of the innermost expression.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) message: Cow<'static, str>,
    pub(crate) reason: Reason,
    pub(crate) offset: Option<u32>,
}

impl Failure {
    pub(crate) fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            message: message.into(),
            reason: Reason::Failed,
            offset: None,
        }
    }

    pub(crate) fn over_budget(message: &'static str) -> Self {
        Self {
            message: Cow::Borrowed(message),
            reason: Reason::OverBudget,
            offset: None,
        }
    }

    /// CEL's name for operands that no implementation of a function takes.
    pub(crate) fn no_overload(function: &str) -> Self {
        Self::new(format!("no such overload of {}", Shown(function)))
    }

    /// `&&`, `||` and macros swallow failures of their operands, but never the end of the budget.
    pub(crate) fn absorbable(&self) -> bool {
        self.reason == Reason::Failed
    }

    pub(crate) fn at(mut self, offset: u32) -> Self {
        self.offset.get_or_insert(offset);
        self
    }

    pub(crate) fn locate(self, source: &str) -> EvaluationError {
        let (line, column) = position(source, self.offset.unwrap_or_default());
        EvaluationError {
            message: self.message,
            reason: self.reason,
            line,
            column,
        }
    }
}

/// Shows the parser's names of operators as they are written.
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0;
        let written = name.strip_prefix('@').unwrap_or(name);
        if written.len() > 2 && written.contains('_') {
            formatter.write_str(written.trim_matches('_'))
        } else {
            formatter.write_str(written)
        }
    }
}

fn position(source: &str, offset: u32) -> (u32, u32) {
    let end = usize::try_from(offset)
        .unwrap_or(usize::MAX)
        .min(source.len());
    let before = source.get(..end).unwrap_or(source);
    let line = before.bytes().filter(|byte| *byte == b'\n').count();
    let column = before
        .chars()
        .rev()
        .take_while(|character| *character != '\n')
        .count();
    (one_based(line), one_based(column))
}

fn one_based(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX - 1) + 1
}
