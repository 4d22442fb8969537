//! What a parser says is wrong, in one line.

use std::fmt::Display;

/// Without the lines of the text that parsers show after it: a log line has one line, and there may
/// be a token in the others.
pub(crate) fn first_line(error: &impl Display) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().to_owned()
}
