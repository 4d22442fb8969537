//! Access lines on their way to standard output: a thread writes them, so that no request waits
//! for whoever reads our output.

use std::{
    io::{self, BufWriter, Write as _},
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

use super::{access::AccessLine, event::AuditEvent};
use crate::metrics::Metrics;

/// Lines that may wait, and their bytes. When the reader stands still and either is full, further
/// ones are dropped and counted: a stuck log must not become a stuck cluster.
const CAPACITY: usize = 16 * 1024;
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// What may be written.
#[derive(Debug)]
enum Entry {
    Access(Box<AccessLine>),
    Audit(Arc<AuditEvent>),
}

impl Entry {
    fn size(&self) -> usize {
        match self {
            Self::Access(line) => line.size(),
            Self::Audit(event) => event.size(),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Access(line) => line.text(),
            Self::Audit(event) => event.to_line(),
        }
    }
}

/// Where access lines go, and audit events if they are asked for there.
#[derive(Clone, Debug)]
pub(crate) struct AccessLog(Arc<Lines>);

/// The same for audit events. It does not keep the log open: settings hold it, and outlive all
/// requests.
#[derive(Clone, Debug)]
pub(crate) struct EventLog(Weak<Lines>);

#[derive(Debug)]
struct Lines {
    waiting: SyncSender<Entry>,
    waiting_bytes: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
}

impl AccessLog {
    /// The thread ends, with all lines written, once every clone of the log is gone.
    pub(crate) fn start(metrics: Arc<Metrics>) -> io::Result<(Self, JoinHandle<()>)> {
        let (lines, waiting) = sync_channel(CAPACITY);
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let written = Arc::clone(&waiting_bytes);
        let thread = thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_all(&waiting, &written))?;
        let log = Lines {
            waiting: lines,
            waiting_bytes,
            metrics,
        };
        Ok((Self(Arc::new(log)), thread))
    }

    /// Writes a line some time later; its text is made by the thread.
    pub(super) fn write(&self, line: AccessLine) {
        if !self.0.try_write(Entry::Access(Box::new(line))) {
            self.0.metrics.log_dropped();
        }
    }

    pub(super) fn for_events(&self) -> EventLog {
        EventLog(Arc::downgrade(&self.0))
    }
}

impl EventLog {
    /// Writes an event some time later.
    pub(super) fn write(&self, event: &Arc<AuditEvent>) {
        if let Some(log) = self.0.upgrade()
            && !log.try_write(Entry::Audit(Arc::clone(event)))
        {
            log.metrics.audit_lost("stdout", "full", 1);
        }
    }
}

impl Lines {
    fn try_write(&self, entry: Entry) -> bool {
        let bytes = entry.size();
        let waiting = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let is_sent = waiting + bytes <= MAX_BYTES && self.waiting.try_send(entry).is_ok();
        if !is_sent {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        is_sent
    }
}

fn write_all(waiting: &Receiver<Entry>, waiting_bytes: &AtomicUsize) {
    let mut output = BufWriter::new(io::stdout().lock());
    while let Ok(line) = waiting.recv() {
        // Whoever closed our output has no use for the error.
        let _ = output.write_all(line.text().as_bytes());
        let bytes = line.size();
        if waiting_bytes.fetch_sub(bytes, Ordering::Relaxed) == bytes {
            let _ = output.flush();
        }
    }
}
