//! Events for a webhook, in batches. While it is away events wait up to a bound; each batch is
//! tried five times with growing pauses, as kube-apiserver does it, then it is lost and counted.

use std::{path::PathBuf, sync::Arc, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use oidcproxy_crds::v1alpha1::settings::MountedSecret;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    event::{AuditEvent, event_list},
    queue::{EventQueue, WaitingEvents},
    webhook::Webhook,
};
use crate::metrics::Metrics;

const BACKEND: &str = "webhook";
const ATTEMPTS: u32 = 5;
const FACTOR: f64 = 1.5;
const JITTER: f64 = 0.2;
/// Batches that are on their way at a time.
const IN_FLIGHT: usize = 4;
/// Of the events of one batch.
const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;
/// While the proxy leaves, nobody waits long.
const LAST_PAUSE: Duration = Duration::from_millis(500);
/// A mount follows its Secret within a minute or two.
const LOOK: Duration = Duration::from_secs(1);
/// The key that the Secret's key is mounted as.
const FILE: &str = "kubeconfig";

/// How events are collected; the defaults are kube-apiserver's.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Batching {
    pub(crate) buffer_size: usize,
    pub(crate) max_size: usize,
    pub(crate) max_wait: Duration,
    pub(crate) initial_backoff: Duration,
}

impl Default for Batching {
    fn default() -> Self {
        Self {
            buffer_size: 10_000,
            max_size: 400,
            max_wait: Duration::from_secs(30),
            initial_backoff: Duration::from_secs(10),
        }
    }
}

/// Where the webhook's kubeconfig comes from.
pub(super) enum Source {
    Known(Webhook),
    /// A folder with a mounted Secret, once it has this content.
    Mounted(PathBuf, MountedSecret),
}

struct Backend {
    batching: Batching,
    closing: CancellationToken,
    in_flight: Arc<Semaphore>,
    tasks: TaskTracker,
    metrics: Arc<Metrics>,
}

/// Starts to send events.
pub(super) fn start(
    source: Source,
    batching: Batching,
    tasks: &TaskTracker,
    closing: CancellationToken,
    metrics: &Arc<Metrics>,
) -> EventQueue {
    let (queue, waiting) = EventQueue::new(
        batching.buffer_size,
        BACKEND,
        closing.clone(),
        Arc::clone(metrics),
    );
    let backend = Backend {
        batching,
        closing,
        in_flight: Arc::new(Semaphore::new(IN_FLIGHT)),
        tasks: tasks.clone(),
        metrics: Arc::clone(metrics),
    };
    tasks.spawn(Arc::new(backend).run(source, waiting));
    queue
}

impl Backend {
    async fn run(self: Arc<Self>, source: Source, mut waiting: WaitingEvents) {
        let webhook = match source {
            Source::Known(webhook) => Some(webhook),
            Source::Mounted(folder, secret) => {
                tokio::select! {
                    webhook = mounted(folder, secret) => Some(webhook),
                    () = self.closing.cancelled() => None,
                }
            }
        };
        loop {
            let batch = self.collect(&mut waiting).await;
            if batch.is_empty() {
                return;
            }
            let Some(webhook) = webhook.clone() else {
                self.lose(&batch, &"the webhook's kubeconfig never came");
                continue;
            };
            let Ok(place) = Arc::clone(&self.in_flight).acquire_owned().await else {
                return;
            };
            let backend = Arc::clone(&self);
            self.tasks.spawn(async move {
                backend.deliver(&webhook, &batch).await;
                drop(place);
            });
        }
    }

    /// Waits for a first event, then for more, but not for long.
    async fn collect(&self, waiting: &mut WaitingEvents) -> Vec<Arc<AuditEvent>> {
        let mut batch = waiting.take(self.batching.max_size).await;
        let until = Instant::now() + self.batching.max_wait;
        let mut bytes: usize = batch.iter().map(|event| event.size()).sum();
        while !batch.is_empty() && batch.len() < self.batching.max_size && bytes < MAX_BATCH_BYTES {
            let missing = self.batching.max_size - batch.len();
            let Ok(more) = timeout_at(until, waiting.take(missing)).await else {
                break;
            };
            if more.is_empty() {
                break;
            }
            bytes += more.iter().map(|event| event.size()).sum::<usize>();
            batch.extend(more);
        }
        batch
    }

    async fn deliver(&self, webhook: &Webhook, batch: &[Arc<AuditEvent>]) {
        let list = match event_list(batch) {
            Ok(list) => list,
            Err(error) => return self.lose(batch, &error),
        };
        let mut pause = self.batching.initial_backoff;
        for attempt in 1..=ATTEMPTS {
            match webhook.deliver(list.clone()).await {
                Ok(()) => return,
                Err(error) if attempt == ATTEMPTS => return self.lose(batch, &error),
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    events = batch.len(),
                    "audit events were not delivered; they are sent again"
                ),
            }
            let jittered = pause.mul_f64(1.0 + JITTER * fastrand::f64());
            if self.closing.is_cancelled() {
                sleep(jittered.min(LAST_PAUSE)).await;
            } else {
                tokio::select! {
                    () = sleep(jittered) => {}
                    () = self.closing.cancelled() => {}
                }
            }
            pause = pause.mul_f64(FACTOR);
        }
    }

    fn lose(&self, batch: &[Arc<AuditEvent>], reason: &dyn std::fmt::Display) {
        self.metrics.audit_lost(BACKEND, "error", batch.len());
        tracing::error!(%reason, events = batch.len(), "audit events are lost");
    }
}

/// Waits until the mount holds what the settings speak of.
async fn mounted(folder: PathBuf, secret: MountedSecret) -> Webhook {
    let path = folder.join(&secret.mount).join(FILE);
    let mut is_told = false;
    loop {
        let problem = match tokio::fs::read_to_string(&path).await {
            Ok(text) if hash(&text) == secret.hash => match Webhook::from_text(&text).await {
                Ok(webhook) => return webhook,
                Err(error) => error.to_string(),
            },
            Ok(_) => "the mount does not have the content of the settings yet".to_owned(),
            Err(error) => error.to_string(),
        };
        if !is_told {
            tracing::warn!(
                problem,
                "the audit webhook's kubeconfig is not there; events wait"
            );
            is_told = true;
        }
        sleep(LOOK).await;
    }
}

fn hash(text: &str) -> String {
    format!("sha256:{}", hex::encode(digest(&SHA256, text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KUBECONFIG: &str = r#"{"apiVersion": "v1", "kind": "Config", "current-context": "a",
        "clusters": [{"name": "a", "cluster": {"server": "https://audit.example.com"}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": ""}}]}"#;

    #[tokio::test]
    async fn a_mount_counts_once_it_has_the_content_of_the_settings() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let secret = MountedSecret {
            mount: "audit-webhook".to_owned(),
            hash: hash(KUBECONFIG),
        };
        let file = folder.path().join("audit-webhook").join(FILE);
        let waiting = tokio::spawn(mounted(folder.path().to_owned(), secret));
        std::fs::create_dir(folder.path().join("audit-webhook")).unwrap();
        std::fs::write(&file, KUBECONFIG.replace("audit.example", "old.example")).unwrap();
        sleep(2 * LOOK).await;
        assert!(!waiting.is_finished());
        std::fs::write(&file, KUBECONFIG).unwrap();
        tokio::time::timeout(Duration::from_mins(1), waiting)
            .await
            .unwrap()
            .unwrap();
    }
}
