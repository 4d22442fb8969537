//! Events in a file. A disk that is slow or full holds up nobody: what finds no place in the queue
//! or on the disk is lost, counted, and told of.

use std::{path::PathBuf, sync::Arc};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    event::AuditEvent,
    queue::{EventQueue, WaitingEvents},
    rotation::{RotatingFile, Rotation},
};
use crate::metrics::Metrics;

const BACKEND: &str = "log";
const CAPACITY: usize = 16 * 1024;
/// Events that are written at a time.
const BATCH: usize = 256;

/// Starts to write events into a file.
pub(super) fn start(
    path: PathBuf,
    rotation: Rotation,
    tasks: &TaskTracker,
    closing: CancellationToken,
    metrics: &Arc<Metrics>,
) -> std::io::Result<EventQueue> {
    let file = RotatingFile::open(path, rotation)?;
    let (queue, waiting) = EventQueue::new(CAPACITY, BACKEND, closing, Arc::clone(metrics));
    tasks.spawn(run(file, waiting, Arc::clone(metrics)));
    Ok(queue)
}

async fn run(mut file: RotatingFile, mut waiting: WaitingEvents, metrics: Arc<Metrics>) {
    let mut is_well = true;
    loop {
        let events = waiting.take(BATCH).await;
        if events.is_empty() {
            return;
        }
        let count = events.len();
        let writer = tokio::task::spawn_blocking(move || {
            let written = write(&mut file, &events);
            (file, written)
        });
        let Ok((returned, written)) = writer.await else {
            // It panicked, or the runtime ends.
            return metrics.audit_lost(BACKEND, "error", count);
        };
        file = returned;
        let was_well = std::mem::replace(&mut is_well, written.is_ok());
        if let Err((lost, error)) = written {
            metrics.audit_lost(BACKEND, "error", lost);
            if was_well {
                tracing::error!(%error, lost, "audit events cannot be written and are lost");
            }
        } else if !was_well {
            tracing::info!("audit events are written again");
        }
    }
}

/// How many were lost, and why.
fn write(
    file: &mut RotatingFile,
    events: &[Arc<AuditEvent>],
) -> Result<(), (usize, std::io::Error)> {
    let (mut lost, mut problem) = (0, None);
    for event in events {
        if let Err(error) = file.write(event.to_line().as_bytes()) {
            lost += 1;
            problem = Some(error);
        }
    }
    problem.map_or(Ok(()), |error| Err((lost, error)))
}
