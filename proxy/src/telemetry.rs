//! What the proxy says of itself, on standard error; access lines go to standard output.

use std::io::stderr;

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{EnvFilter, fmt};

/// Lines that may wait for whoever reads our standard error; further ones are dropped, since a
/// reader that stands still must not stop requests.
const CAPACITY: usize = 4096;

/// Whether diagnostics can be filtered as asked.
#[derive(Debug, thiserror::Error)]
#[error("--log-level: {0:?} is none of error, warn, info and debug")]
pub(crate) struct LevelError(String);

/// Starts to say things; what waits is written when the guard is dropped.
pub(crate) fn start(level: &str) -> Result<WorkerGuard, LevelError> {
    let level = match level {
        "error" | "warn" | "info" | "debug" => level,
        other => return Err(LevelError(other.to_owned())),
    };
    // Libraries log request heads and header values at debug: they stay at warn.
    let filter = EnvFilter::new(format!("warn,oidc_proxy={level}"));
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(CAPACITY)
        .lossy(true)
        .finish(stderr());
    fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(false)
        .init();
    Ok(guard)
}
