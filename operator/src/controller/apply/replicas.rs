//! The number of pods passes between the spec and an autoscaler without being reset on the way: a
//! field that is applied no longer falls back to its default, and that is one pod.

use std::time::Instant;

use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{Applier, Error, get};
use crate::controller::identity::MANAGER;

/// Holds the number until the autoscaler sets it.
const HOLDER: &str = "oidc-proxy-operator-replicas";

impl Applier<'_> {
    pub(super) async fn deployment(
        &self,
        mut desired: Deployment,
        least: i32,
        waits: &mut bool,
    ) -> Result<Deployment, Error> {
        let api: Api<Deployment> = self.api();
        let current = get(&api, &desired.name_any()).await?;
        let own = current
            .as_ref()
            .filter(|current| self.identity.owns(&current.metadata));
        if let Some(own) = own
            && self
                .turns
                .holds_back(&self.identity.uid, &desired, own, Instant::now())
        {
            *waits = true;
            return Ok(own.clone());
        }
        let spec = desired.spec.get_or_insert_default();
        if spec.replicas.is_none() {
            match own {
                Some(own) if is_ours(own) => hand_over(&api, own).await?,
                None if current.is_none() => spec.replicas = Some(least),
                _ => {}
            }
        }
        Box::pin(self.apply_over(&api, desired, current)).await
    }
}

/// Whether the operator has set the number itself.
fn is_ours(deployment: &Deployment) -> bool {
    deployment.managed_fields().iter().any(|entry| {
        let spec = entry
            .fields_v1
            .as_ref()
            .and_then(|fields| fields.0.get("f:spec"));
        entry.manager.as_deref() == Some(MANAGER)
            && spec.is_some_and(|spec| spec.get("f:replicas").is_some())
    })
}

async fn hand_over(api: &Api<Deployment>, current: &Deployment) -> Result<(), Error> {
    let name = current.name_any();
    let replicas = current.spec.as_ref().and_then(|spec| spec.replicas);
    let held = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "uid": current.uid()},
        "spec": {"replicas": replicas},
    });
    let params = PatchParams::apply(HOLDER).force();
    api.patch(&name, &params, &Patch::Apply(&held))
        .await
        .map_err(|source| Error::request::<Deployment>("apply", &name, source))?;
    Ok(())
}
