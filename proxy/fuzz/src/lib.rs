//! Fuzz targets: what strangers or issuers send, and what users configure.
//!
//! A target takes any bytes and panics when something holds no longer. `corpus/<target>` are its first inputs; they are
//! replayed as tests, without a fuzzer. `make fuzz` goes on from there.

// A broken promise ends the run.
#![allow(clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

mod targets;

/// What is done with an input.
pub type Run = fn(&str);

/// What can be fuzzed, by name.
pub const TARGETS: [(&str, Run); 5] = [
    ("configuration", targets::configuration::run),
    ("expression", targets::expression::run),
    ("impersonation", targets::impersonation::run),
    ("request", targets::request::run),
    ("token", targets::token::run),
];

/// Runs one target with one input; bytes that are no text are no input.
pub fn run(name: &str, input: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, target) = target.unwrap_or_else(|| panic!("{name:?} is none of the targets"));
    if let Ok(text) = std::str::from_utf8(input) {
        target(text);
    }
}
