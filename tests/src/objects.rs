//! Objects of any kind as JSON, and the `OidcProxy` that most tests with a control plane start from.

use kube::{
    Api, Client,
    api::DynamicObject,
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};

/// Any kind of this namespace, or of the cluster; `group` is an `apiVersion`.
pub fn objects(client: &Client, namespace: &str, group: &str, kind: &str) -> Api<DynamicObject> {
    let (group, version) = group.rsplit_once('/').unwrap_or(("", group));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    if kind.starts_with("Cluster") || kind.ends_with("Definition") {
        Api::all_with(client.clone(), &resource)
    } else {
        Api::namespaced_with(client.clone(), namespace, &resource)
    }
}

/// One of this name, with these parts of a spec beside an issuer, or instead of it.
pub fn oidc_proxy(name: &str, parts: &Value) -> Value {
    let mut spec = json!({"authentication": {"jwt": [{
        "name": "corp",
        "issuer": {"url": "https://id.example.com", "audiences": ["kubernetes"]},
        "claimMappings": {"username": {"claim": "sub", "prefix": "corp:"}},
    }]}});
    for (key, value) in parts.as_object().expect("parts of a spec are an object") {
        spec[key] = value.clone();
    }
    json!({
        "apiVersion": "oidcproxy.dev/v1alpha1", "kind": "OidcProxy", "metadata": {"name": name}, "spec": spec,
    })
}
