//! What is made of an OidcProxy, what is in its way, and what is left when it is no longer asked for.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::{authorization::v1::SubjectAccessReview, core::v1::Service};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, PostParams},
};
use oidcproxy_crds::v1alpha1::Settings;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    bed::{Bed, SOON, condition},
    tools::{API_SERVER, APPS, CORE, NETWORKING, POLICY, RBAC, children, settled, wait_event},
};

#[tokio::test]
async fn everything_is_there_and_a_steady_state_writes_nothing() {
    let bed = Bed::new("t-children").await;
    bed.apply(json!({"serving": {"hostnames": ["k8s.example.com"]}}))
        .await;
    let proxy = settled(&bed).await;

    let raw = serde_json::to_value(&proxy.status).unwrap();
    let settings = Settings::decode(&raw["settings"]).unwrap();
    assert_eq!(settings.authentication.issuers[0].name, "corp");
    assert_eq!(raw["endpoint"], "https://k8s.example.com");
    assert_eq!(
        raw["selector"],
        "app.kubernetes.io/instance=corp,app.kubernetes.io/name=oidc-proxy"
    );
    assert_eq!(
        raw["replicas"],
        json!({"desired": 2, "ready": 0, "current": 0})
    );
    assert!(
        raw["caBundle"]
            .as_str()
            .unwrap()
            .starts_with("-----BEGIN CERTIFICATE-----")
    );
    for (type_, status) in [
        ("SpecValid", "True"),
        ("ServingCertificateReady", "True"),
        ("RBACReady", "True"),
        ("EndpointReady", "True"),
        ("NetworkPolicyApplied", "True"),
        ("Serving", "False"),
        ("Reconciling", "True"),
    ] {
        assert_eq!(
            condition(&proxy, type_).unwrap()["status"],
            status,
            "{type_}"
        );
    }
    assert!(condition(&proxy, "Stalled").is_none());

    let turn = API_SERVER.lock().await;
    let before = at_rest(&bed).await;
    assert_eq!(before.len(), children(bed.namespace).len() + 1);
    sleep(Duration::from_secs(8)).await;
    assert_eq!(versions(&bed).await, before);
    drop(turn);
    assert_rights(&bed).await;
}

/// Once nothing is written for a second: what another test has moved may still be on its way.
async fn at_rest(bed: &Bed) -> BTreeMap<String, String> {
    let deadline = Instant::now() + SOON;
    let mut before = versions(bed).await;
    loop {
        sleep(Duration::from_secs(1)).await;
        let now = versions(bed).await;
        if now == before {
            return now;
        }
        assert!(Instant::now() < deadline, "it never rests");
        before = now;
    }
}

async fn versions(bed: &Bed) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (group, kind, name) in children(bed.namespace) {
        let object = bed.api(group, kind).get(&name).await.unwrap();
        let labels = object.labels();
        assert_eq!(
            labels["app.kubernetes.io/managed-by"], "oidc-proxy-operator",
            "{kind}"
        );
        assert_eq!(
            object.owner_references().len(),
            usize::from(!kind.starts_with("Cluster")),
            "{kind}"
        );
        all.insert(format!("{kind}/{name}"), object.resource_version().unwrap());
    }
    let proxy = bed.proxies().get("corp").await.unwrap();
    all.insert("OidcProxy".into(), proxy.resource_version().unwrap());
    all
}

/// What the pods' account may do, as the API server sees it.
async fn assert_rights(bed: &Bed) {
    let user = format!("system:serviceaccount:{}:corp", bed.namespace);
    let namespace = bed.namespace;
    let rows = [
        (
            json!({"verb": "impersonate", "resource": "users", "name": "jane"}),
            true,
        ),
        (
            json!({"verb": "impersonate", "resource": "userextras", "group": "authentication.k8s.io",
            "subresource": "authentication.kubernetes.io/credential-id", "name": "x"}),
            true,
        ),
        (
            json!({"verb": "impersonate", "resource": "userextras", "group": "authentication.k8s.io",
            "subresource": "held", "name": "x"}),
            false,
        ),
        (
            json!({"verb": "get", "resource": "oidcproxies", "group": "oidcproxy.dev", "name": "corp", "namespace": namespace}),
            true,
        ),
        (
            json!({"verb": "get", "resource": "oidcproxies", "group": "oidcproxy.dev", "name": "other", "namespace": namespace}),
            false,
        ),
        (
            json!({"verb": "get", "resource": "secrets", "namespace": namespace}),
            false,
        ),
    ];
    let reviews: Api<SubjectAccessReview> = Api::all(bed.client.clone());
    for (attributes, allowed) in rows {
        let shown = attributes.to_string();
        let review = serde_json::from_value(
            json!({"metadata": {}, "spec": {"user": user, "resourceAttributes": attributes}}),
        );
        let answer = reviews
            .create(&PostParams::default(), &review.unwrap())
            .await
            .unwrap();
        assert_eq!(answer.status.unwrap().allowed, allowed, "{shown}");
    }
}

#[tokio::test]
async fn what_belongs_to_somebody_else_is_left_alone() {
    let bed = Bed::new("t-foreign").await;
    let service = json!({"metadata": {"name": "corp"}, "spec": {"ports": [{"port": 80}]}});
    let services: Api<Service> = Api::namespaced(bed.client.clone(), bed.namespace);
    let foreign = services
        .create(
            &PostParams::default(),
            &serde_json::from_value(service).unwrap(),
        )
        .await
        .unwrap();
    bed.apply(json!({})).await;
    let stalled = bed.wait_condition("Stalled", "True", "Conflict").await;
    let message = condition(&stalled, "Stalled").unwrap()["message"].clone();
    assert_eq!(message, "Service corp exists and belongs to somebody else");
    let after = services.get("corp").await.unwrap();
    assert_eq!(after.resource_version(), foreign.resource_version());
    wait_event(&bed, "Conflict").await;

    services
        .delete("corp", &DeleteParams::default())
        .await
        .unwrap();
    bed.wait_object((CORE, "Service", "corp"), |found| {
        found.is_some_and(|service| service["spec"]["ports"][0]["port"] == 443)
    })
    .await;
}

#[tokio::test]
async fn nothing_is_left_in_the_cluster_when_it_goes() {
    let bed = Bed::new("t-gone").await;
    bed.apply(json!({})).await;
    settled(&bed).await;
    bed.proxies()
        .delete("corp", &DeleteParams::default())
        .await
        .unwrap();
    let role = format!("oidcproxy:{}:corp", bed.namespace);
    bed.wait_object((RBAC, "ClusterRoleBinding", &role), |found| found.is_none())
        .await;
    bed.wait_object((RBAC, "ClusterRole", &role), |found| found.is_none())
        .await;
    bed.wait_object(("oidcproxy.dev/v1alpha1", "OidcProxy", "corp"), |found| {
        found.is_none()
    })
    .await;
}

#[tokio::test]
async fn what_is_no_longer_asked_for_is_removed() {
    let bed = Bed::new("t-less").await;
    bed.apply(json!({})).await;
    settled(&bed).await;
    bed.apply(json!({"deployment": {"replicas": 1}, "networkPolicy": {"mode": "Disabled"}}))
        .await;
    bed.wait_object((POLICY, "PodDisruptionBudget", "corp"), |found| {
        found.is_none()
    })
    .await;
    bed.wait_object((NETWORKING, "NetworkPolicy", "corp"), |found| {
        found.is_none()
    })
    .await;
    bed.wait_object((APPS, "Deployment", "corp"), |found| {
        found.unwrap()["spec"]["replicas"] == 1
    })
    .await;
    let disabled = bed
        .wait_condition("NetworkPolicyApplied", "False", "Disabled")
        .await;
    assert_eq!(disabled.status.unwrap().replicas.unwrap().desired, 1);
}
