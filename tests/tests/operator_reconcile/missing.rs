//! A spec that refers to what is not there, from the beginning or any longer.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use oidcproxy_crds::OidcProxy;
use oidcproxy_tests::tls::TestCa;
use serde_json::{Value, json};

use crate::{
    bed::{Bed, condition},
    tools::{APPS, CORE, NETWORKING, RBAC, merge, settled},
};

const POLICY: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]";

fn issuer() -> Value {
    json!({"jwt": [{
        "name": "corp",
        "issuer": {
            "url": "https://id.example.com:9443", "audiences": ["kubernetes"],
            "certificateAuthorityFrom": {"configMapKeyRef": {"name": "issuer-ca", "key": "ca.crt"}},
        },
        "claimMappings": {"username": {"claim": "sub", "prefix": "corp:"}},
    }]})
}

/// With a webhook at port 8443.
fn kubeconfig() -> String {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "a",
        "clusters": [{"name": "a", "cluster": {"server": "https://audit.example.com:8443/events"}}],
        "users": [{"name": "a", "user": {"token": "t"}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
    })
    .to_string()
}

fn maps(bed: &Bed) -> Api<ConfigMap> {
    Api::namespaced(bed.client.clone(), bed.namespace)
}

fn secrets(bed: &Bed) -> Api<Secret> {
    Api::namespaced(bed.client.clone(), bed.namespace)
}

async fn create_map(bed: &Bed, name: &str, key: &str, text: &str) {
    let map = json!({"metadata": {"name": name}, "data": {key: text}});
    let map = serde_json::from_value(map).unwrap();
    maps(bed)
        .create(&PostParams::default(), &map)
        .await
        .unwrap();
}

async fn delete_map(bed: &Bed, name: &str) {
    let params = DeleteParams::default();
    maps(bed).delete(name, &params).await.unwrap();
}

fn ports(policy: &Value) -> Vec<i64> {
    let rules = policy["spec"]["egress"].as_array().unwrap();
    let ports = rules.iter().filter_map(|rule| rule["ports"].as_array());
    let ports = ports.flatten().filter_map(|port| port["port"].as_i64());
    ports.collect()
}

fn serial(proxy: &OidcProxy) -> Option<String> {
    Some(proxy.status.clone()?.certificate?.serial)
}

/// Deletes a child and waits for another of its name.
async fn comes_back(bed: &Bed, child: (&str, &str, &str)) -> Value {
    let api = bed.api(child.0, child.1);
    let uid = api.get(child.2).await.unwrap().metadata.uid;
    let params = DeleteParams::default();
    api.delete(child.2, &params).await.unwrap();
    bed.wait_object(child, |found| {
        found.is_some_and(|object| object["metadata"]["uid"].as_str() != uid.as_deref())
    })
    .await
}

#[tokio::test]
async fn at_first_sight_all_is_there_that_can_be() {
    let bed = Bed::new("t-missing").await;
    bed.apply(json!({"authentication": issuer()})).await;
    let missing = bed
        .wait_condition("Stalled", "True", "ReferenceNotFound")
        .await;
    for type_ in ["Ready", "SpecValid"] {
        let said = condition(&missing, type_).unwrap();
        assert_eq!(said["status"], "False", "{type_}");
        assert_eq!(said["reason"], "ReferenceNotFound", "{type_}");
    }
    // A pass that is in somebody's way ends there, and the next one says the rest.
    bed.wait_condition("IssuersReachable", "Unknown", "NoProxyReports")
        .await;
    // An address and a certificate can be had already; pods would serve nobody.
    let issued = bed
        .wait_condition("ServingCertificateReady", "True", "Issued")
        .await;
    let role = format!("oidcproxy:{}:corp", bed.namespace);
    for child in [
        (CORE, "Service", "corp"),
        (CORE, "Secret", "corp-serving"),
        (NETWORKING, "NetworkPolicy", "corp"),
        (RBAC, "ClusterRole", &role),
    ] {
        bed.wait_object(child, |found| found.is_some()).await;
    }
    let deployments = bed.api(APPS, "Deployment");
    assert!(deployments.get_opt("corp").await.unwrap().is_none());
    let status = issued.status.unwrap();
    assert!(status.settings.is_none());

    let bundle = TestCa::new("issuer").unwrap().pem();
    create_map(&bed, "issuer-ca", "ca.crt", &bundle).await;
    let after = settled(&bed).await.status.unwrap();
    let authorities = after
        .settings
        .unwrap()
        .authentication
        .certificate_authorities;
    assert_eq!(authorities.values().next().unwrap().trim(), bundle.trim());
    assert_eq!(after.certificate, status.certificate);
}

#[tokio::test]
async fn what_is_lost_later_holds_up_nothing_else() {
    let bed = Bed::new("t-lost").await;
    let bundle = TestCa::new("issuer").unwrap().pem();
    create_map(&bed, "issuer-ca", "ca.crt", &bundle).await;
    create_map(&bed, "audit-policy", "policy.yaml", POLICY).await;
    let webhook =
        json!({"metadata": {"name": "audit-webhook"}, "stringData": {"config": kubeconfig()}});
    let webhook = serde_json::from_value(webhook).unwrap();
    let params = PostParams::default();
    secrets(&bed).create(&params, &webhook).await.unwrap();
    let mut spec = json!({
        "authentication": issuer(),
        "audit": {
            "policyFrom": {"name": "audit-policy", "key": "policy.yaml"},
            "webhook": {"kubeconfigFrom": {"name": "audit-webhook", "key": "config"}},
        },
        "impersonation": {"extra": [{"key": "held", "values": ["x"]}]},
    });
    bed.apply(spec.clone()).await;
    let good = settled(&bed).await;
    let settings = good.status.clone().unwrap().settings;

    for name in ["issuer-ca", "audit-policy"] {
        delete_map(&bed, name).await;
    }
    let params = DeleteParams::default();
    secrets(&bed)
        .delete("audit-webhook", &params)
        .await
        .unwrap();
    let lost = bed
        .wait("all three are named", |proxy| {
            let said = condition(proxy, "SpecValid").unwrap()["message"].to_string();
            ["issuer-ca", "audit-policy", "audit-webhook"]
                .iter()
                .all(|name| said.contains(name))
        })
        .await;
    assert_eq!(lost.status.unwrap().settings, settings);

    // The spec goes on to be followed, but for what the proxies run with.
    spec["deployment"] = json!({"replicas": 5});
    spec["serving"] = json!({"hostnames": ["new.example.com"]});
    spec["audit"]["webhook"]["kubeconfigFrom"]["name"] = json!("another");
    bed.apply(spec.clone()).await;
    let scaled = bed
        .wait_object((APPS, "Deployment", "corp"), |found| {
            found.unwrap()["spec"]["replicas"] == 5
        })
        .await;
    let volumes = scaled["spec"]["template"]["spec"]["volumes"].to_string();
    assert!(
        volumes.contains(r#""secretName":"audit-webhook""#),
        "{volumes}"
    );
    let renamed = bed
        .wait("a certificate of the new name", |proxy| {
            serial(proxy) != serial(&good)
        })
        .await;

    // What goes is put back, as the last good settings need it.
    comes_back(&bed, (CORE, "Service", "corp")).await;
    let policy = comes_back(&bed, (NETWORKING, "NetworkPolicy", "corp")).await;
    for port in [8443, 9443] {
        assert!(ports(&policy).contains(&port), "{policy:#}");
    }
    let role = format!("oidcproxy:{}:corp", bed.namespace);
    let role = comes_back(&bed, (RBAC, "ClusterRole", &role)).await;
    assert!(role["rules"].to_string().contains("userextras/held"));
    comes_back(&bed, (APPS, "Deployment", "corp")).await;
    let junk = json!({"data": {"tls.crt": "anVuaw=="}});
    merge(&bed, (CORE, "Secret", "corp-serving"), junk).await;
    let renewed = bed
        .wait("a new certificate", |proxy| {
            serial(proxy) != serial(&renamed)
        })
        .await;

    for (type_, status) in [
        ("Stalled", "True"),
        ("Ready", "False"),
        ("SpecValid", "False"),
        ("RBACReady", "True"),
        ("ServingCertificateReady", "True"),
        ("NetworkPolicyApplied", "True"),
        ("EndpointReady", "True"),
    ] {
        let said = condition(&renewed, type_).unwrap();
        assert_eq!(said["status"], status, "{type_}");
        let generation = json!(renewed.metadata.generation);
        assert_eq!(said["observedGeneration"], generation, "{type_}");
    }
    assert_eq!(renewed.status.unwrap().settings, settings);

    create_map(&bed, "issuer-ca", "ca.crt", &bundle).await;
    spec.as_object_mut().unwrap().remove("audit");
    bed.apply(spec).await;
    let after = settled(&bed).await;
    assert!(condition(&after, "Stalled").is_none());
    assert!(after.status.unwrap().settings.unwrap().audit.is_none());
}

#[tokio::test]
async fn a_new_certificate_waits_for_the_bundle_that_goes_with_it() {
    let bed = Bed::new("t-bundle").await;
    bed.apply(json!({})).await;
    let good = settled(&bed).await.status.unwrap();
    let ca = TestCa::new("provided").unwrap();
    let leaf = ca.server(&["k8s.example.com"]).unwrap();
    let secret = json!({
        "metadata": {"name": "corp-tls"}, "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": leaf.cert_pem, "tls.key": leaf.key_pem},
    });
    let secret = serde_json::from_value(secret).unwrap();
    let params = PostParams::default();
    secrets(&bed).create(&params, &secret).await.unwrap();
    let source = json!({"configMapKeyRef": {"name": "bundle", "key": "ca.crt"}});
    let certificate =
        json!({"source": "Secret", "secret": {"name": "corp-tls", "caBundleFrom": source}});
    bed.apply(json!({"serving": {"certificate": certificate}, "deployment": {"replicas": 3}}))
        .await;
    bed.wait_condition("Stalled", "True", "ReferenceNotFound")
        .await;
    let mounts = |deployment: &Value| {
        deployment["spec"]["template"]["spec"]["volumes"][0]["secret"]["secretName"].clone()
    };
    let scaled = bed
        .wait_object((APPS, "Deployment", "corp"), |found| {
            found.unwrap()["spec"]["replicas"] == 3
        })
        .await;
    assert_eq!(mounts(&scaled), "corp-serving");
    let status = bed.proxies().get("corp").await.unwrap().status.unwrap();
    assert_eq!(status.ca_bundle, good.ca_bundle);
    assert_eq!(status.certificate, good.certificate);

    create_map(&bed, "bundle", "ca.crt", "junk").await;
    bed.wait_condition("Stalled", "True", "ReferenceUnusable")
        .await;
    let better = json!({"data": {"ca.crt": ca.pem()}});
    merge(&bed, (CORE, "ConfigMap", "bundle"), better).await;
    bed.wait_object((APPS, "Deployment", "corp"), |found| {
        mounts(found.unwrap()) == "corp-tls"
    })
    .await;
    bed.wait("the bundle is published", |proxy| {
        let bundle = proxy.status.clone().unwrap().ca_bundle.unwrap_or_default();
        bundle.trim() == ca.pem().trim()
    })
    .await;
}

#[tokio::test]
async fn ways_in_wait_for_the_settings_that_were_asked_for_with_them() {
    let bed = Bed::new("t-ways").await;
    bed.apply(json!({})).await;
    settled(&bed).await;
    let opened = json!({
        "authentication": issuer(),
        "service": {"type": "NodePort"},
        "networkPolicy": {"mode": "Disabled"},
        "deployment": {"replicas": 3},
        "exposure": {"ingress": {
            "className": "nginx",
            "annotations": {"nginx.ingress.kubernetes.io/ssl-passthrough": "true"},
        }},
        "serving": {"hostnames": ["k8s.example.com"]},
    });
    bed.apply(opened).await;
    bed.wait_object((APPS, "Deployment", "corp"), |found| {
        found.unwrap()["spec"]["replicas"] == 3
    })
    .await;
    let service = (CORE, "Service", "corp");
    let policy = (NETWORKING, "NetworkPolicy", "corp");
    let ingress = (NETWORKING, "Ingress", "corp");
    let is_open = async || {
        let is_there = async |object: (&str, &str, &str)| {
            let api = bed.api(object.0, object.1);
            api.get_opt(object.2).await.unwrap().is_some()
        };
        let found = bed.api(service.0, service.1).get(service.2).await.unwrap();
        (
            found.data["spec"]["type"] == "NodePort",
            !is_there(policy).await,
            is_there(ingress).await,
        )
    };
    bed.wait_condition("Stalled", "True", "ReferenceNotFound")
        .await;
    assert_eq!(is_open().await, (false, false, false));

    let bundle = TestCa::new("issuer").unwrap().pem();
    create_map(&bed, "issuer-ca", "ca.crt", &bundle).await;
    bed.wait_object(service, |found| {
        found.unwrap()["spec"]["type"] == "NodePort"
    })
    .await;
    bed.wait_object(policy, |found| found.is_none()).await;
    bed.wait_object(ingress, |found| found.is_some()).await;
    // They belong together from now on: without the bundle they stay.
    delete_map(&bed, "issuer-ca").await;
    bed.wait_condition("Stalled", "True", "ReferenceNotFound")
        .await;
    assert_eq!(is_open().await, (true, true, true));
    comes_back(&bed, service).await;
    assert_eq!(is_open().await, (true, true, true));
}
