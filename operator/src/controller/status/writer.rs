//! Writes the status: by resource version, and only when it says something new.

use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use kube::{Api, Client, ResourceExt as _, api::PostParams};
use oidcproxy_crds::{OidcProxy, OidcProxyStatus};

use super::{Problem, Progress, damper::Damper, derive, first_sight, refused};
use crate::controller::{
    apply,
    identity::{Identity, MANAGER},
};

/// Writes the status of one object during one pass.
pub struct Writer {
    api: Api<OidcProxy>,
    identity: Identity,
    current: OidcProxy,
    held: Option<Duration>,
}

impl Writer {
    /// Takes over the object as it was read.
    pub fn new(client: &Client, identity: &Identity, current: OidcProxy) -> Self {
        Self {
            api: Api::namespaced(client.clone(), &identity.namespace),
            identity: identity.clone(),
            current,
            held: None,
        }
    }

    /// The object as it is stored now.
    pub fn current(&self) -> &OidcProxy {
        &self.current
    }

    /// The status as it is stored now.
    pub fn status(&self) -> OidcProxyStatus {
        self.current.status.clone().unwrap_or_default()
    }

    /// Gives an object that has no conditions its first ones: without any it counts as done.
    pub async fn first_sight(&mut self) -> Result<(), apply::Error> {
        let status = self.status();
        if !status.conditions.is_empty() {
            return Ok(());
        }
        let generation = self.current.metadata.generation.unwrap_or_default();
        self.publish(first_sight(&status, generation, Timestamp::now()))
            .await
    }

    /// Publishes new settings, or a new certificate, before the pods that need them are there.
    pub async fn publish_settings(&mut self, progress: &Progress) -> Result<(), apply::Error> {
        let next = self.derive(progress);
        let status = self.status();
        if status.settings == next.settings && status.certificate == next.certificate {
            return Ok(());
        }
        self.publish(next).await
    }

    /// Publishes what this pass has come to. What was only observed may have to wait, see
    /// [`Writer::held`].
    pub async fn publish_progress(
        &mut self,
        progress: &Progress,
        damper: &Damper,
    ) -> Result<(), apply::Error> {
        let next = self.derive(progress);
        let (stored, uid) = (self.status(), self.identity.uid.clone());
        if stored == next {
            return Ok(());
        }
        self.held = damper.holds_back(&uid, &stored, &next, Instant::now());
        if self.held.is_some() {
            return Ok(());
        }
        self.publish(next).await?;
        damper.note(&uid, Instant::now());
        Ok(())
    }

    /// How long what was observed has to wait before it may be published.
    pub fn held(&self) -> Option<Duration> {
        self.held
    }

    /// Says what is wrong where nothing else can be published.
    pub async fn publish_problem(&mut self, problem: &Problem) -> Result<(), apply::Error> {
        let generation = self.current.metadata.generation.unwrap_or_default();
        let next = refused(&self.status(), generation, problem, Timestamp::now());
        self.publish(next).await
    }

    fn derive(&self, progress: &Progress) -> OidcProxyStatus {
        let generation = self.current.metadata.generation.unwrap_or_default();
        derive(
            &self.status(),
            &self.identity,
            generation,
            progress,
            Timestamp::now(),
        )
    }

    async fn publish(&mut self, next: OidcProxyStatus) -> Result<(), apply::Error> {
        if self.current.status.as_ref() == Some(&next) {
            return Ok(());
        }
        let name = self.current.name_any();
        let sent = OidcProxy {
            status: Some(next),
            ..self.current.clone()
        };
        let params = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        self.current = self
            .api
            .replace_status(&name, &params, &sent)
            .await
            .map_err(|source| {
                apply::Error::request::<OidcProxy>("update the status of", &name, source)
            })?;
        Ok(())
    }

    /// Whether the API server has kept the settings: a CRD that is older than the operator drops
    /// what it does not know, without a word.
    pub fn is_pruned(&self, progress: &Progress) -> bool {
        let sent = progress
            .resolved
            .as_ref()
            .and_then(|resolved| resolved.running.settings());
        let stored = self
            .current
            .status
            .as_ref()
            .and_then(|status| status.settings.as_ref());
        progress.issued.is_some() && sent != stored
    }
}
