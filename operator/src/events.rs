//! Events of events.k8s.io, for people who ask `kubectl describe`.

use crate::controller::identity::MANAGER;
use kube::{
    Client, Resource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};

/// The longest note that the API takes.
const MAX_NOTE: usize = 1000;

/// Publishes Events. One that fails is logged and forgotten.
pub struct Events(Recorder);

impl Events {
    /// Events of this process.
    pub fn new(client: Client, instance: &str) -> Self {
        let reporter = Reporter {
            controller: MANAGER.to_owned(),
            instance: Some(instance.to_owned()),
        };
        Self(Recorder::new(client, reporter))
    }

    /// Something went as it should.
    pub async fn normal<K>(&self, proxy: &K, reason: &str, action: &str, note: &str)
    where
        K: Resource<DynamicType = ()>,
    {
        self.publish(proxy, EventType::Normal, reason, action, note)
            .await;
    }

    /// Something did not.
    pub async fn warning<K>(&self, proxy: &K, reason: &str, action: &str, note: &str)
    where
        K: Resource<DynamicType = ()>,
    {
        self.publish(proxy, EventType::Warning, reason, action, note)
            .await;
    }

    async fn publish<K>(&self, proxy: &K, type_: EventType, reason: &str, action: &str, note: &str)
    where
        K: Resource<DynamicType = ()>,
    {
        let cut = note
            .char_indices()
            .map(|(at, _)| at)
            .find(|at| *at >= MAX_NOTE);
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(
                note.get(..cut.unwrap_or(note.len()))
                    .unwrap_or_default()
                    .to_owned(),
            ),
            action: action.to_owned(),
            secondary: None,
        };
        tracing::info!(
            namespace = proxy.meta().namespace,
            name = proxy.meta().name,
            reason,
            "{note}"
        );
        if let Err(error) = self.0.publish(&event, &proxy.object_ref(&())).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                reason,
                "an Event is lost"
            );
        }
    }
}
