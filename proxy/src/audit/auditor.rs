//! A policy and where its events go.

use std::{path::PathBuf, sync::Arc};

use oidcproxy_crds::v1alpha1::{
    audit_policy::AuditPolicy,
    issuer_rules::FieldError,
    settings::{AuditSettings, MountedSecret},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    AccessLog,
    capture::Budget,
    event::AuditEvent,
    log_backend,
    policy::{self, Verdict},
    queue::EventQueue,
    rotation::Rotation,
    webhook::Webhook,
    webhook_backend::{self, Batching, Source},
    writer::EventLog,
};
use crate::{identity::Identity, metrics::Metrics, request::Attributes};

/// A policy that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the audit policy cannot be used: {}", first(.0))]
pub(crate) struct PolicyError(pub(crate) Vec<FieldError>);

fn first(errors: &[FieldError]) -> String {
    errors.first().map(ToString::to_string).unwrap_or_default()
}

/// Decides what is recorded and records it.
#[derive(Debug)]
pub(crate) struct Auditor {
    policy: AuditPolicy,
    log: Option<EventLog>,
    queues: Vec<EventQueue>,
    /// The webhook of the settings, which goes on while only the policy changes.
    webhook: Option<(MountedSecret, EventQueue)>,
    pub(super) budget: Arc<Budget>,
    metrics: Arc<Metrics>,
}

impl Auditor {
    pub(super) fn evaluate(&self, user: Option<&Identity>, attributes: &Attributes) -> Verdict {
        policy::evaluate(&self.policy, user, attributes)
    }

    pub(super) fn send(&self, event: AuditEvent) {
        self.metrics.audited();
        let event = Arc::new(event);
        if let Some(log) = &self.log {
            log.write(&event);
        }
        let of_settings = self.webhook.iter().map(|(_, queue)| queue);
        for queue in self.queues.iter().chain(of_settings) {
            queue.send(&event);
        }
    }
}

/// What auditors are made of, and what they leave running.
#[derive(Debug)]
pub(crate) struct AuditBackends {
    log: EventLog,
    /// Backends of the command line.
    queues: Vec<EventQueue>,
    /// The folder of mounted Secrets.
    mounts: PathBuf,
    budget: Arc<Budget>,
    tasks: TaskTracker,
    closing: CancellationToken,
    metrics: Arc<Metrics>,
}

impl AuditBackends {
    pub(crate) fn new(log: &AccessLog, mounts: PathBuf, metrics: Arc<Metrics>) -> Self {
        Self {
            log: log.for_events(),
            queues: Vec::new(),
            mounts,
            budget: Arc::default(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            metrics,
        }
    }

    /// Events go into this file, too.
    pub(crate) fn add_file(&mut self, path: PathBuf, rotation: Rotation) -> std::io::Result<()> {
        let closing = self.closing.clone();
        let queue = log_backend::start(path, rotation, &self.tasks, closing, &self.metrics)?;
        self.queues.push(queue);
        Ok(())
    }

    /// Events go to this webhook, too.
    pub(crate) fn add_webhook(&mut self, webhook: Webhook, batching: Batching) {
        let queue = self.webhook(Source::Known(webhook), batching);
        self.queues.push(queue);
    }

    fn webhook(&self, source: Source, batching: Batching) -> EventQueue {
        let closing = self.closing.clone();
        webhook_backend::start(source, batching, &self.tasks, closing, &self.metrics)
    }

    /// The auditor of these settings.
    pub(crate) fn auditor(
        &self,
        settings: &AuditSettings,
        previous: Option<&Auditor>,
    ) -> Result<Auditor, PolicyError> {
        let policy = AuditPolicy::from_yaml(&settings.policy).map_err(PolicyError)?;
        let known = previous.and_then(|auditor| auditor.webhook.as_ref());
        let webhook = settings.webhook.as_ref().map(|secret| match known {
            Some((same, queue)) if same == secret => (secret.clone(), queue.clone()),
            _ => {
                let source = Source::Mounted(self.mounts.clone(), secret.clone());
                (secret.clone(), self.webhook(source, Batching::default()))
            }
        });
        Ok(Auditor {
            policy,
            log: settings.log.then(|| self.log.clone()),
            queues: self.queues.clone(),
            webhook,
            budget: Arc::clone(&self.budget),
            metrics: Arc::clone(&self.metrics),
        })
    }

    /// Takes no more events, and waits until those that it has are where they belong.
    pub(crate) async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
