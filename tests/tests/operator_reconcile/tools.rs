//! What the tests of the operator share beside the bed.

use std::time::Duration;

use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use serde_json::Value;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

use crate::bed::{Bed, SOON};

pub(crate) const CORE: &str = "v1";
pub(crate) const APPS: &str = "apps/v1";
pub(crate) const RBAC: &str = "rbac.authorization.k8s.io/v1";
pub(crate) const NETWORKING: &str = "networking.k8s.io/v1";
pub(crate) const POLICY: &str = "policy/v1";

/// Where the API server is stands in every NetworkPolicy: whoever moves it and whoever counts writes
/// take turns.
pub(crate) static API_SERVER: Mutex<()> = Mutex::const_new(());

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
    let deadline = Instant::now() + SOON;
    loop {
        let all = events.list(&ListParams::default()).await.unwrap();
        let mut told = all.items.iter().map(|event| &event.data["reason"]);
        if told.any(|told| told == reason) {
            return;
        }
        assert!(Instant::now() < deadline, "no Event {reason}");
        sleep(Duration::from_millis(200)).await;
    }
}
