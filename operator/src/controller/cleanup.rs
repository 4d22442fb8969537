//! What owner references cannot reach: the ClusterRole and its binding lie outside the
//! namespace, so a finalizer sees to them.

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{Patch, PatchParams},
};
use oidcproxy_crds::OidcProxy;
use serde_json::{Value, json};

use super::{
    apply::{Error, delete_own},
    identity::Identity,
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
    let patch = Patch::Merge(with_finalizers(proxy, &finalizers));
    let params = PatchParams::default();
    let patched = proxies(client, identity)
        .patch(&identity.name, &params, &patch)
        .await;
    patched.map_err(|source| failed(identity, source))
}

/// Takes the proxy's rights away, the binding first, and lets the object go: by its metadata alone,
/// for one that cannot be read must be able to go, too.
pub async fn release(
    client: &Client,
    identity: &Identity,
    proxy: &impl Resource,
) -> Result<(), Error> {
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
    let patch = Patch::Merge(with_finalizers(proxy, &rest));
    let params = PatchParams::default();
    let patched = proxies(client, identity)
        .patch_metadata(&identity.name, &params, &patch)
        .await;
    match patched {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(source) => Err(failed(identity, source)),
        Ok(_) => Ok(()),
    }
}

fn proxies(client: &Client, identity: &Identity) -> Api<OidcProxy> {
    Api::namespaced(client.clone(), &identity.namespace)
}

fn with_finalizers(proxy: &impl Resource, finalizers: &[String]) -> Value {
    json!({"metadata": {"finalizers": finalizers, "resourceVersion": proxy.resource_version()}})
}

fn failed(identity: &Identity, source: kube::Error) -> Error {
    Error::request::<OidcProxy>("set the finalizer of", &identity.name, source)
}
