//! What the proxy says of itself, on standard error; access lines go to standard output.

use tracing_subscriber::{EnvFilter, fmt};

/// Whether diagnostics can be filtered as asked.
#[derive(Debug, thiserror::Error)]
#[error("--log-level: {0:?} is none of error, warn, info and debug")]
pub(crate) struct LevelError(String);

/// Starts to say things.
pub(crate) fn start(level: &str) -> Result<(), LevelError> {
    let level = match level {
        "error" | "warn" | "info" | "debug" => level,
        other => return Err(LevelError(other.to_owned())),
    };
    // Libraries log request heads and header values at debug: they stay at warn.
    let filter = EnvFilter::new(format!("warn,oidc_proxy={level}"));
    fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    Ok(())
}
