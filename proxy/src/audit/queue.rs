//! Events on their way to a backend: bounded by number and by bytes, and never waited for.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::event::AuditEvent;
use crate::metrics::Metrics;

/// Of all events that wait for one backend.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// The end that requests write to.
#[derive(Clone, Debug)]
pub(crate) struct EventQueue {
    events: mpsc::Sender<Arc<AuditEvent>>,
    bytes: Arc<AtomicUsize>,
    backend: &'static str,
    metrics: Arc<Metrics>,
}

/// The end that a backend reads from.
#[derive(Debug)]
pub(super) struct WaitingEvents {
    events: mpsc::Receiver<Arc<AuditEvent>>,
    bytes: Arc<AtomicUsize>,
    closing: CancellationToken,
}

impl EventQueue {
    /// A queue for so many events, which takes no more once it is closing.
    pub(super) fn new(
        capacity: usize,
        backend: &'static str,
        closing: CancellationToken,
        metrics: Arc<Metrics>,
    ) -> (Self, WaitingEvents) {
        let (sender, receiver) = mpsc::channel(capacity.max(1));
        let bytes = Arc::<AtomicUsize>::default();
        let waiting = WaitingEvents {
            events: receiver,
            bytes: Arc::clone(&bytes),
            closing,
        };
        let queue = Self {
            events: sender,
            bytes,
            backend,
            metrics,
        };
        (queue, waiting)
    }

    /// What has no place is lost and counted.
    pub(super) fn send(&self, event: &Arc<AuditEvent>) {
        let size = event.size();
        let waiting = self.bytes.fetch_add(size, Ordering::Relaxed);
        if waiting + size > MAX_BYTES || self.events.try_send(Arc::clone(event)).is_err() {
            self.bytes.fetch_sub(size, Ordering::Relaxed);
            self.metrics.audit_lost(self.backend, "full", 1);
        }
    }
}

impl WaitingEvents {
    /// Waits for events and takes up to `limit` of them; none is the end.
    pub(super) async fn take(&mut self, limit: usize) -> Vec<Arc<AuditEvent>> {
        let mut events = Vec::new();
        if !self.events.is_closed() {
            tokio::select! {
                biased;
                _ = self.events.recv_many(&mut events, limit) => {}
                () = self.closing.cancelled() => self.events.close(),
            }
        }
        if events.is_empty() {
            self.events.recv_many(&mut events, limit).await;
        }
        let bytes = events.iter().map(|event| event.size()).sum();
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        events
    }
}
