//! Access lines on their way to standard output: a thread writes them, so that no request waits
//! for whoever reads our output.

use std::{
    io::{self, BufWriter, Write as _},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

use super::access::AccessLine;
use crate::metrics::Metrics;

/// Lines that may wait, and their bytes. When the reader stands still and either is full, further
/// ones are dropped and counted: a stuck log must not become a stuck cluster.
const CAPACITY: usize = 16 * 1024;
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// Where access lines go.
#[derive(Clone, Debug)]
pub(crate) struct AccessLog {
    lines: SyncSender<AccessLine>,
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
        let log = Self {
            lines,
            waiting_bytes,
            metrics,
        };
        Ok((log, thread))
    }

    /// Writes a line some time later; its text is made by the thread.
    pub(crate) fn write(&self, line: AccessLine) {
        let bytes = line.size();
        let waiting = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        if waiting + bytes > MAX_BYTES || self.lines.try_send(line).is_err() {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.metrics.log_dropped();
        }
    }
}

fn write_all(waiting: &Receiver<AccessLine>, waiting_bytes: &AtomicUsize) {
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
