//! What owner references cannot reach: the ClusterRole and its binding lie outside the
//! namespace, so a finalizer sees to them.

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions},
};
use oidcproxy_crds::OidcProxy;
use serde_json::json;

use super::{
    apply::{self, Error, Object, delete_own},
    identity::{Identity, MANAGED_BY, OWNER_NAME, OWNER_NAMESPACE, OWNER_UID},
};

/// Keeps an `OidcProxy` until its ClusterRole and binding are gone.
pub const FINALIZER: &str = "oidcproxy.dev/cluster-rbac";

/// The object with the finalizer on it.
pub async fn ensure_finalizer(
    client: &Client,
    identity: &Identity,
    proxy: &OidcProxy,
) -> Result<OidcProxy, Error> {
    if proxy.finalizers().iter().any(|name| name == FINALIZER) {
        return Ok(proxy.clone());
    }
    let mut finalizers = proxy.finalizers().to_vec();
    finalizers.push(FINALIZER.to_owned());
    patch_finalizers(client, identity, proxy, &finalizers).await
}

/// Takes the proxy's rights away, the binding first, and lets the object go.
pub async fn release(client: &Client, identity: &Identity, proxy: &OidcProxy) -> Result<(), Error> {
    if !proxy.finalizers().iter().any(|name| name == FINALIZER) {
        return Ok(());
    }
    let name = identity.cluster_role();
    delete_own::<ClusterRoleBinding>(&Api::all(client.clone()), identity, &name).await?;
    delete_own::<ClusterRole>(&Api::all(client.clone()), identity, &name).await?;
    let rest: Vec<String> = proxy
        .finalizers()
        .iter()
        .filter(|name| *name != FINALIZER)
        .cloned()
        .collect();
    match patch_finalizers(client, identity, proxy, &rest).await {
        Err(Error::Request { source, .. }) if is_not_found(&source) => Ok(()),
        other => other.map(|_| ()),
    }
}

async fn patch_finalizers(
    client: &Client,
    identity: &Identity,
    proxy: &OidcProxy,
    finalizers: &[String],
) -> Result<OidcProxy, Error> {
    let api: Api<OidcProxy> = Api::namespaced(client.clone(), &identity.namespace);
    let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": proxy.resource_version()}});
    api.patch(
        &identity.name,
        &PatchParams::default(),
        &Patch::Merge(&patch),
    )
    .await
    .map_err(|source| Error::request::<OidcProxy>("set the finalizer of", &identity.name, source))
}

fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_not_found())
}

/// Removes each ClusterRole and binding whose `OidcProxy` is gone, as after a finalizer that
/// somebody took off by hand.
pub async fn sweep(client: &Client) -> Result<(), Error> {
    sweep_kind::<ClusterRoleBinding>(client).await?;
    sweep_kind::<ClusterRole>(client).await
}

async fn sweep_kind<K>(client: &Client) -> Result<(), Error>
where
    K: Object + Resource<Scope = kube::core::ClusterResourceScope>,
{
    let api: Api<K> = Api::all(client.clone());
    let list = api
        .list(&ListParams::default().labels(MANAGED_BY))
        .await
        .map_err(|source| Error::request::<K>("list", "", source))?;
    for object in list.items {
        let label = |key: &str| object.labels().get(key).cloned();
        let owner = (
            label(OWNER_NAMESPACE),
            label(OWNER_NAME),
            object.annotations().get(OWNER_UID),
        );
        let (Some(namespace), Some(name), Some(uid)) = owner else {
            continue;
        };
        let owners: Api<OidcProxy> = Api::namespaced(client.clone(), &namespace);
        let owner = apply::get(&owners, &name).await?;
        if owner.and_then(|owner| owner.uid()).as_ref() == Some(uid) {
            continue;
        }
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: object.uid(),
                resource_version: object.resource_version(),
            }),
            ..DeleteParams::default()
        };
        let child = object.name_any();
        match api.delete(&child, &params).await {
            Ok(_) => tracing::info!(kind = %K::kind(&()), child, "removed: its OidcProxy is gone"),
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {}
            Err(source) => return Err(Error::request::<K>("delete", &child, source)),
        }
    }
    Ok(())
}
