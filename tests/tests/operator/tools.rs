//! What the tests of the operator share beside the bed.

use std::time::Duration;

use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use serde_json::Value;
use tokio::time::sleep;

use crate::bed::Bed;

pub(crate) const CORE: &str = "v1";
pub(crate) const APPS: &str = "apps/v1";
pub(crate) const RBAC: &str = "rbac.authorization.k8s.io/v1";
pub(crate) const NETWORKING: &str = "networking.k8s.io/v1";
pub(crate) const POLICY: &str = "policy/v1";

pub(crate) fn children(namespace: &str) -> Vec<(&'static str, &'static str, String)> {
    let cluster = format!("oidcproxy:{namespace}:corp");
    [
        (CORE, "ServiceAccount", "corp"),
        (RBAC, "ClusterRole", &cluster),
        (RBAC, "ClusterRoleBinding", &cluster),
        (RBAC, "Role", "corp"),
        (RBAC, "RoleBinding", "corp"),
        (NETWORKING, "NetworkPolicy", "corp"),
        (CORE, "Service", "corp"),
        (CORE, "Secret", "corp-ca"),
        (CORE, "Secret", "corp-serving"),
        (CORE, "ConfigMap", "corp-trust"),
        (CORE, "ConfigMap", "corp-kubeconfig"),
        (POLICY, "PodDisruptionBudget", "corp"),
        (APPS, "Deployment", "corp"),
    ]
    .map(|(group, kind, name)| (group, kind, name.to_owned()))
    .to_vec()
}

/// The pods cannot come up here: as far as it gets.
pub(crate) async fn settled(bed: &Bed) -> oidcproxy_crds::OidcProxy {
    bed.wait_condition("Ready", "False", "DeploymentProgressing")
        .await
}

pub(crate) async fn merge(
    bed: &Bed,
    (group, kind, name): (&str, &str, &str),
    patch: Value,
) -> DynamicObject {
    let params = PatchParams::default();
    bed.api(group, kind)
        .patch(name, &params, &Patch::Merge(&patch))
        .await
        .unwrap()
}

pub(crate) async fn wait_event(bed: &Bed, reason: &str) {
    let events = bed.api("events.k8s.io/v1", "Event");
    for _ in 0..50 {
        let all = events.list(&ListParams::default()).await.unwrap();
        if all.items.iter().any(|event| event.data["reason"] == reason) {
            return;
        }
        sleep(Duration::from_millis(200)).await;
    }
    panic!("no Event {reason}");
}
