//! The operator over a real kube-apiserver, with the chart's rights: there are no nodes, so what
//! is seen is what it writes.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "operator/admission.rs"]
mod admission;
#[path = "operator/bed.rs"]
mod bed;
#[path = "operator/certificates.rs"]
mod certificates;
#[path = "operator/conflicts.rs"]
mod conflicts;
#[path = "operator/drift.rs"]
mod drift;
#[path = "operator/gitops.rs"]
mod gitops;
#[path = "operator/maximal.rs"]
mod maximal;
#[path = "operator/optional.rs"]
mod optional;
#[path = "operator/tools.rs"]
mod tools;

use std::{collections::BTreeMap, time::Duration};

use bed::{Bed, ELSEWHERE, condition};
use k8s_openapi::api::{
    authorization::v1::SubjectAccessReview,
    core::v1::{ConfigMap, Secret},
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, PostParams},
};
use oidcproxy_crds::v1alpha1::Settings;
use serde_json::json;
use tokio::time::sleep;
use tools::{APPS, CORE, NETWORKING, POLICY, RBAC, children, merge, settled, wait_event};

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

    let before = versions(&bed).await;
    assert_eq!(before.len(), children(bed.namespace).len() + 1);
    sleep(Duration::from_secs(8)).await;
    assert_eq!(versions(&bed).await, before);
    assert_rights(&bed).await;
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
async fn a_bad_spec_changes_nothing_and_says_why() {
    let bed = Bed::new("t-refused").await;
    bed.apply(json!({})).await;
    let good = settled(&bed).await.status.unwrap();
    bed.apply(json!({"deployment": {"image": "other:1"}})).await;
    let refused = bed.wait_condition("Stalled", "True", "InvalidSpec").await;
    let message = condition(&refused, "Stalled").unwrap()["message"].clone();
    assert_eq!(
        message,
        "spec.deployment.image: needs an operator that runs with --allow-image-override"
    );
    assert_eq!(
        condition(&refused, "Ready").unwrap()["reason"],
        "InvalidSpec"
    );
    assert_eq!(condition(&refused, "SpecValid").unwrap()["status"], "False");
    let status = refused.status.unwrap();
    assert_eq!(
        (status.settings, status.certificate),
        (good.settings, good.certificate)
    );
    wait_event(&bed, "InvalidSpec").await;

    let labels = json!({"deployment": {"podLabels": {"not a label": "x"}}});
    bed.apply(labels).await;
    let refused = bed.wait_condition("Stalled", "True", "InvalidSpec").await;
    let message = condition(&refused, "Stalled").unwrap()["message"].to_string();
    assert!(message.contains("Deployment corp"), "{message}");

    bed.apply(json!({})).await;
    let good = settled(&bed).await;
    assert!(condition(&good, "Stalled").is_none());
}

#[tokio::test]
async fn the_clusters_own_tokens_make_no_users() {
    let bed = Bed::new("t-own-issuer").await;
    bed.apply(json!({})).await;
    let good = settled(&bed).await;
    let own = "https://kubernetes.default.svc";
    let settings = serde_json::to_value(&good.status).unwrap()["settings"].clone();
    assert_eq!(
        settings["authentication"]["disallowedIssuers"],
        json!([own])
    );
    bed.apply(json!({"authentication": {"jwt": [{
        "name": "corp",
        "issuer": {"url": own, "audiences": ["kubernetes"]},
        "claimMappings": {"username": {"claim": "sub", "prefix": "corp:"}},
    }]}}))
    .await;
    let refused = bed.wait_condition("Stalled", "True", "InvalidSpec").await;
    let message = condition(&refused, "Stalled").unwrap()["message"].to_string();
    assert!(
        message.contains(
            "spec.authentication.jwt[0].issuer.url: must not be an issuer of the cluster"
        ),
        "{message}"
    );
}

#[tokio::test]
async fn a_missing_reference_is_waited_for() {
    let bed = Bed::new("t-missing").await;
    let spec = json!({"authentication": {"jwt": [{
        "name": "corp",
        "issuer": {
            "url": "https://id.example.com", "audiences": ["kubernetes"],
            "certificateAuthorityFrom": {"configMapKeyRef": {"name": "issuer-ca", "key": "ca.crt"}},
        },
        "claimMappings": {"username": {"claim": "sub", "prefix": "corp:"}},
    }]}});
    bed.apply(spec).await;
    let missing = bed
        .wait_condition("Stalled", "True", "ReferenceNotFound")
        .await;
    assert!(missing.status.unwrap().settings.is_none());

    let bundle = oidcproxy_tests::tls::TestCa::new("issuer").unwrap().pem();
    let map = json!({"metadata": {"name": "issuer-ca"}, "data": {"ca.crt": bundle}});
    let maps: Api<ConfigMap> = Api::namespaced(bed.client.clone(), bed.namespace);
    maps.create(
        &PostParams::default(),
        &serde_json::from_value(map).unwrap(),
    )
    .await
    .unwrap();
    let settings = settled(&bed).await.status.unwrap().settings.unwrap();
    let authorities = settings.authentication.certificate_authorities;
    assert_eq!(authorities.values().next().unwrap().trim(), bundle.trim());
}

#[tokio::test]
async fn what_belongs_to_somebody_else_is_left_alone() {
    let bed = Bed::new("t-foreign").await;
    let service = json!({"metadata": {"name": "corp"}, "spec": {"ports": [{"port": 80}]}});
    let services: Api<k8s_openapi::api::core::v1::Service> =
        Api::namespaced(bed.client.clone(), bed.namespace);
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
async fn expressions_are_compiled_before_a_proxy_sees_them() {
    let bed = Bed::new("t-expressions").await;
    let entry = |username: &str| {
        json!({"authentication": {"jwt": [{
            "name": "corp",
            "issuer": {"url": "https://id.example.com", "audiences": ["kubernetes"]},
            "claimMappings": {
                "username": {"expression": username},
                "groups": {"claim": "groups", "prefix": ""},
                "extra": [{"key": "example.org/tenant", "valueExpression": "claims.?tenant.orValue('none')"}],
            },
            "claimValidationRules": [{"expression": "claims.?hd.orValue('') == 'example.org'", "message": "not ours"}],
            "userValidationRules": [{"expression": "!user.username.startsWith('x')"}],
        }]}})
    };
    bed.apply(entry("'corp:' + claims.sub")).await;
    let first = settled(&bed).await;
    let settings = first.status.clone().unwrap().settings.unwrap();
    let issuer = &settings.authentication.issuers[0];
    assert_eq!(issuer.claim_mappings.extra[0].key, "example.org/tenant");
    assert_eq!(issuer.user_validation_rules.len(), 1);
    let warning = condition(&first, "MappingWarning").unwrap();
    assert_eq!(warning["reason"], "NamesOverlap");
    let role = format!("oidcproxy:{}:corp", bed.namespace);
    let role = bed.api(RBAC, "ClusterRole").get(&role).await.unwrap();
    let role = serde_json::to_string(&role).unwrap();
    assert!(role.contains("userextras/example.org/tenant"), "{role}");

    bed.apply(entry("'corp:' + claims.sub +")).await;
    let stalled = bed.wait_condition("Stalled", "True", "InvalidSpec").await;
    let message = condition(&stalled, "Stalled").unwrap()["message"].clone();
    let place = "spec.authentication.jwt[0].claimMappings.username.expression: line 1, column ";
    assert!(message.as_str().unwrap().starts_with(place), "{message}");
    let kept = stalled.status.unwrap().settings.unwrap();
    assert_eq!(
        kept.revision, settings.revision,
        "the last good settings stay"
    );
}

#[tokio::test]
async fn other_namespaces_are_told_so() {
    let bed = Bed::new(ELSEWHERE).await;
    bed.apply(json!({})).await;
    let told = bed
        .wait_condition("Stalled", "True", "NamespaceNotAllowed")
        .await;
    assert!(told.finalizers().is_empty());
    assert!(told.status.unwrap().settings.is_none());
    let role = format!("oidcproxy:{ELSEWHERE}:corp");
    assert!(
        bed.api(RBAC, "ClusterRole")
            .get_opt(&role)
            .await
            .unwrap()
            .is_none()
    );
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
async fn certificates_follow_names_and_damage() {
    let bed = Bed::new("t-names").await;
    bed.apply(json!({})).await;
    let first = settled(&bed).await.status.unwrap();
    let key = secret(&bed, "corp-serving", "tls.key").await;

    bed.apply(json!({"serving": {"hostnames": ["new.example.com"]}}))
        .await;
    let serial = |proxy: &oidcproxy_crds::OidcProxy| {
        proxy.status.clone().unwrap().certificate.unwrap().serial
    };
    let old = first.certificate.unwrap().serial;
    let second = bed
        .wait("a new certificate", |proxy| serial(proxy) != old)
        .await;
    assert_eq!(second.status.clone().unwrap().ca_bundle, first.ca_bundle);
    assert_ne!(secret(&bed, "corp-serving", "tls.key").await, key);

    let junk = json!({"data": {"tls.crt": "anVuaw=="}});
    merge(&bed, (CORE, "Secret", "corp-serving"), junk).await;
    let old = serial(&second);
    let third = bed
        .wait("a certificate again", |proxy| serial(proxy) != old)
        .await;
    assert_eq!(third.status.clone().unwrap().ca_bundle, first.ca_bundle);

    let junk = json!({"data": {"ca.key": "anVuaw=="}});
    merge(&bed, (CORE, "Secret", "corp-ca"), junk).await;
    let old = serial(&third);
    let fourth = bed.wait("a new root", |proxy| serial(proxy) != old).await;
    let bundle = fourth.status.unwrap().ca_bundle;
    assert_ne!(bundle, first.ca_bundle);
    // The status speaks first: what is mounted follows in the same pass.
    bed.wait_object((CORE, "ConfigMap", "corp-trust"), |found| {
        found.is_some_and(|trust| trust["data"]["ca.crt"].as_str() == bundle.as_deref())
    })
    .await;
    wait_event(&bed, "CertificateIssued").await;
}

async fn secret(bed: &Bed, name: &str, key: &str) -> Vec<u8> {
    let secrets: Api<Secret> = Api::namespaced(bed.client.clone(), bed.namespace);
    secrets.get(name).await.unwrap().data.unwrap()[key]
        .0
        .clone()
}

#[tokio::test]
async fn what_the_operator_does_not_hold_it_cannot_grant() {
    let bed = Bed::new("t-forbidden").await;
    let extra = |key: &str| json!({"impersonation": {"extra": [{"key": key, "values": ["x"]}]}});
    bed.apply(extra("not-held")).await;
    let refused = bed.wait_condition("RBACReady", "False", "Forbidden").await;
    assert!(condition(&refused, "Stalled").is_none());
    assert!(refused.status.unwrap().settings.is_none());
    bed.apply(extra("held")).await;
    settled(&bed).await;
    let role = format!("oidcproxy:{}:corp", bed.namespace);
    let role = bed.api(RBAC, "ClusterRole").get(&role).await.unwrap();
    assert!(role.data["rules"].to_string().contains("userextras/held"));
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
