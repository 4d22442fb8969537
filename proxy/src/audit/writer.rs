//! Access lines on their way to standard output: a thread writes them, so that no request waits
//! for whoever reads our output.

use std::{
    io::{self, BufWriter, Write as _},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

use crate::metrics::Metrics;

/// Lines that may wait. When the reader stands still and they are full, further ones are dropped
/// and counted: a stuck log must not become a stuck cluster.
const CAPACITY: usize = 16 * 1024;

/// Where access lines go.
#[derive(Clone, Debug)]
pub(crate) struct AccessLog {
    lines: SyncSender<String>,
    metrics: Arc<Metrics>,
}

impl AccessLog {
    /// The thread ends, with all lines written, once every clone of the log is gone.
    pub(crate) fn start(metrics: Arc<Metrics>) -> io::Result<(Self, JoinHandle<()>)> {
        let (lines, waiting) = sync_channel(CAPACITY);
        let thread = thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_all(&waiting))?;
        Ok((Self { lines, metrics }, thread))
    }

    pub(crate) fn write(&self, line: String) {
        if self.lines.try_send(line).is_err() {
            self.metrics.log_dropped();
        }
    }
}

fn write_all(waiting: &Receiver<String>) {
    let mut output = BufWriter::new(io::stdout().lock());
    // Whoever closed our output has no use for the error.
    while let Ok(line) = waiting.recv() {
        let _ = output.write_all(line.as_bytes());
        while let Ok(line) = waiting.try_recv() {
            let _ = output.write_all(line.as_bytes());
        }
        let _ = output.flush();
    }
}
