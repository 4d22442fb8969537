//! What is counted for as long as it lives.

use std::sync::Arc;

use prometheus_client::metrics::gauge::Gauge;

use super::Metrics;

/// Counts something for as long as it lives.
#[derive(Debug)]
pub(crate) struct Guard(Gauge);

impl Guard {
    pub(super) fn new(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }

    /// How many there are now.
    pub(crate) fn count(&self) -> usize {
        usize::try_from(self.0.get()).unwrap_or_default()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A stream that is open.
#[derive(Debug)]
pub(crate) struct OpenStream {
    pub(super) kind: &'static str,
    pub(super) metrics: Arc<Metrics>,
    pub(super) _open: Guard,
}

impl OpenStream {
    /// It is over.
    pub(crate) fn close(self, reason: &'static str) {
        self.metrics.stream_closed(self.kind, reason);
    }
}
