//! What is there only when it is asked for: an autoscaler, routes from outside, a strict
//! NetworkPolicy, a load balancer.

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{Secret, Service},
        discovery::v1::EndpointSlice,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, ResourceExt as _,
    api::{DynamicObject, Patch, PatchParams, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use oidc_proxy_operator::pki::leaf::Leaf;
use serde_json::{Value, json};

use crate::{
    bed::{Bed, condition},
    tools::{API_SERVER, APPS, NETWORKING, merge, settled},
};

const AUTOSCALING: &str = "autoscaling/v2";
const MANAGER: &str = "oidc-proxy-operator";

fn replicas_are_ours(deployment: &Value) -> bool {
    let entries = deployment["metadata"]["managedFields"].as_array().unwrap();
    entries.iter().any(|entry| {
        entry["manager"] == MANAGER && !entry["fieldsV1"]["f:spec"]["f:replicas"].is_null()
    })
}

/// Deletes it by hand and waits for another.
async fn comes_back(bed: &Bed, (group, kind, name): (&str, &str, &str)) {
    let api = bed.api(group, kind);
    let uid = api.get(name).await.unwrap().uid();
    let params = kube::api::DeleteParams::default();
    api.delete(name, &params).await.unwrap();
    bed.wait_object((group, kind, name), |found| {
        found.is_some_and(|object| object["metadata"]["uid"].as_str() != uid.as_deref())
    })
    .await;
}

#[tokio::test]
async fn an_autoscaler_counts_the_pods_and_nobody_resets_them() {
    let bed = Bed::new("t-scaled").await;
    let deployments: Api<Deployment> = Api::namespaced(bed.client.clone(), bed.namespace);
    let replicas = async || {
        deployments
            .get("corp")
            .await
            .unwrap()
            .spec
            .unwrap()
            .replicas
    };
    let scaled = |cpu| json!({"deployment": {"autoscaling": {"maxReplicas": 9, "targetCPUUtilization": cpu}}});
    bed.apply(scaled(60)).await;
    bed.wait_object((AUTOSCALING, "HorizontalPodAutoscaler", "corp"), |found| {
        found.is_some_and(|scaler| scaler["spec"]["maxReplicas"] == 9)
    })
    .await;
    comes_back(&bed, (AUTOSCALING, "HorizontalPodAutoscaler", "corp")).await;
    bed.wait_object((APPS, "Deployment", "corp"), |found| {
        found.is_some_and(|deployment| !replicas_are_ours(deployment))
    })
    .await;
    assert_eq!(replicas().await, Some(2));

    // As the autoscaler does it.
    let five = Patch::Merge(json!({"spec": {"replicas": 5}}));
    let params = PatchParams::default();
    deployments
        .patch_scale("corp", &params, &five)
        .await
        .unwrap();
    bed.wait("five are wanted", |proxy| {
        proxy.status.clone().unwrap().replicas.unwrap().desired == 5
    })
    .await;
    bed.apply(scaled(50)).await;
    bed.wait_object((AUTOSCALING, "HorizontalPodAutoscaler", "corp"), |found| {
        found.unwrap()["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 50
    })
    .await;
    assert_eq!(replicas().await, Some(5));

    // To the spec and back to the autoscaler, never by way of one pod.
    bed.apply(json!({"deployment": {"replicas": 3}})).await;
    bed.wait_object((APPS, "Deployment", "corp"), |found| {
        found.unwrap()["spec"]["replicas"] == 3
    })
    .await;
    bed.wait_object((AUTOSCALING, "HorizontalPodAutoscaler", "corp"), |found| {
        found.is_none()
    })
    .await;
    bed.apply(scaled(60)).await;
    bed.wait_object((APPS, "Deployment", "corp"), |found| {
        let deployment = found.unwrap();
        assert_eq!(deployment["spec"]["replicas"], 3);
        !replicas_are_ours(deployment)
    })
    .await;
}

/// The kinds' own definitions are not needed to see what is written.
async fn define(bed: &Bed, group: &str, kind: &str, version: &str) {
    let plural = format!("{}s", kind.to_lowercase());
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let definition = json!({
        "metadata": {
            "name": format!("{plural}.{group}"),
            "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"},
        },
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {
                "plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List"),
            },
            "versions": [{"name": version, "served": true, "storage": true, "schema": schema}],
        },
    });
    let definitions: Api<CustomResourceDefinition> = Api::all(bed.client.clone());
    let definition = serde_json::from_value(definition).unwrap();
    definitions
        .create(&PostParams::default(), &definition)
        .await
        .unwrap();
}

fn objects(bed: &Bed, group: &str, kind: &str, version: &str) -> Api<DynamicObject> {
    let plural = format!("{}s", kind.to_lowercase());
    let kind = GroupVersionKind::gvk(group, version, kind);
    let resource = ApiResource::from_gvk_with_plural(&kind, &plural);
    Api::namespaced_with(bed.client.clone(), bed.namespace, &resource)
}

async fn gone(objects: &Api<DynamicObject>) {
    for _ in 0..300 {
        if objects.get_opt("corp").await.unwrap().is_none() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    panic!("it is still there");
}

#[tokio::test]
async fn a_pod_monitor_comes_and_goes_and_a_missing_kind_is_only_said() {
    let bed = Bed::new("t-monitored").await;
    let asked = json!({"metrics": {"podMonitor": {"labels": {"release": "prometheus"}}}});
    bed.apply(asked.clone()).await;
    let missing = "PrometheusOperatorNotInstalled";
    let said = bed
        .wait_condition("PodMonitorReady", "False", missing)
        .await;
    assert!(condition(&said, "Stalled").is_none());
    assert_eq!(
        condition(&said, "Ready").unwrap()["reason"],
        "DeploymentProgressing"
    );

    let (group, kind) = ("monitoring.coreos.com", "PodMonitor");
    define(&bed, group, kind, "v1").await;
    bed.wait_condition("PodMonitorReady", "True", "Applied")
        .await;
    let monitors = objects(&bed, group, kind, "v1");
    let monitor = monitors.get("corp").await.unwrap();
    assert_eq!(monitor.labels()["release"], "prometheus");
    assert_eq!(monitor.labels()["app.kubernetes.io/managed-by"], MANAGER);
    assert_eq!(monitor.owner_references().len(), 1);
    assert_eq!(
        monitor.data["spec"]["podMetricsEndpoints"][0]["port"],
        "admin"
    );

    bed.apply(json!({})).await;
    gone(&monitors).await;
    bed.wait("no condition about it", |proxy| {
        condition(proxy, "PodMonitorReady").is_none()
    })
    .await;
}

#[tokio::test]
async fn routes_come_and_go_and_a_missing_kind_is_only_said() {
    let bed = Bed::new("t-exposed").await;
    let serving = json!({"hostnames": ["k8s.example.com", "10.0.0.9"]});
    bed.apply(json!({
        "serving": serving,
        "exposure": {
            "gateway": {"parentRefs": [{"name": "outside", "sectionName": "tls"}]},
            "ingress": {"className": "nginx", "annotations": {"example.com/passthrough": "true"}},
        },
    }))
    .await;
    let said = bed
        .wait_condition("EndpointReady", "False", "GatewayAPINotInstalled")
        .await;
    assert!(condition(&said, "Stalled").is_none());
    assert_eq!(
        condition(&said, "Ready").unwrap()["reason"],
        "DeploymentProgressing"
    );
    let ingress = bed
        .wait_object((NETWORKING, "Ingress", "corp"), |found| found.is_some())
        .await;
    assert_eq!(
        ingress["metadata"]["annotations"]["example.com/passthrough"],
        "true"
    );
    assert_eq!(ingress["metadata"]["ownerReferences"][0]["name"], "corp");
    assert_eq!(ingress["spec"]["rules"][0]["host"], "k8s.example.com");
    assert_eq!(ingress["spec"]["rules"].as_array().unwrap().len(), 1);
    comes_back(&bed, (NETWORKING, "Ingress", "corp")).await;

    let (group, kind, version) = ("gateway.networking.k8s.io", "TLSRoute", "v1alpha2");
    define(&bed, group, kind, version).await;
    bed.wait_condition("EndpointReady", "True", "Known").await;
    let routes = objects(&bed, group, kind, version);
    let route = routes.get("corp").await.unwrap();
    assert_eq!(route.data["spec"]["hostnames"], json!(["k8s.example.com"]));
    assert_eq!(route.data["spec"]["parentRefs"][0]["sectionName"], "tls");
    assert_eq!(route.labels()["app.kubernetes.io/managed-by"], MANAGER);
    assert_eq!(route.owner_references().len(), 1);

    bed.apply(json!({ "serving": serving })).await;
    bed.wait_object((NETWORKING, "Ingress", "corp"), |found| found.is_none())
        .await;
    gone(&routes).await;
}

fn slice(address: &str) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "kubernetes", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": "IPv4", "ports": [{"name": "https", "port": 6443, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address]}],
    })
}

#[tokio::test]
async fn strict_egress_follows_the_api_server() {
    let bed = Bed::new("t-strict").await;
    let _turn = API_SERVER.lock().await;
    let idp = json!({"to": [{"ipBlock": {"cidr": "198.51.100.7/32"}}], "ports": [{"protocol": "TCP", "port": 443}]});
    bed.apply(json!({"networkPolicy": {"egress": {"mode": "Strict", "rules": [idp]}}}))
        .await;
    bed.wait_condition("NetworkPolicyApplied", "False", "APIEndpointsUnknown")
        .await;

    let slices: Api<EndpointSlice> = Api::namespaced(bed.client.clone(), "default");
    let params = PatchParams::apply("test").force();
    for address in ["192.0.2.11", "192.0.2.12"] {
        slices
            .patch("kubernetes", &params, &Patch::Apply(slice(address)))
            .await
            .unwrap();
        let wanted = json!({"ipBlock": {"cidr": format!("{address}/32")}});
        let policy = bed
            .wait_object((NETWORKING, "NetworkPolicy", "corp"), |found| {
                let egress = found.unwrap()["spec"]["egress"].as_array().unwrap();
                egress.iter().any(|rule| rule["to"] == json!([wanted]))
            })
            .await;
        let egress = policy["spec"]["egress"].as_array().unwrap();
        assert!(
            egress.iter().all(|rule| rule["to"].is_array()),
            "{egress:?}"
        );
        assert!(egress.contains(&idp));
    }
    bed.wait_condition("NetworkPolicyApplied", "True", "Applied")
        .await;
    slices
        .delete("kubernetes", &kube::api::DeleteParams::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_load_balancers_addresses_are_waited_for_and_certified() {
    let bed = Bed::new("t-balanced").await;
    bed.apply(json!({"service": {"type": "LoadBalancer"}}))
        .await;
    bed.wait_condition("EndpointReady", "False", "EndpointPending")
        .await;
    settled(&bed).await;
    let services: Api<Service> = Api::namespaced(bed.client.clone(), bed.namespace);
    let addresses =
        json!([{"ip": "192.0.2.20"}, {"ip": "2001:db8::20"}, {"hostname": "lb.example.com"}]);
    let status = Patch::Merge(json!({"status": {"loadBalancer": {"ingress": addresses}}}));
    let params = PatchParams::default();
    services
        .patch_status("corp", &params, &status)
        .await
        .unwrap();
    let known = bed.wait_condition("EndpointReady", "True", "Known").await;
    assert_eq!(
        known.status.unwrap().endpoint.as_deref(),
        Some("https://192.0.2.20")
    );
    let secrets: Api<Secret> = Api::namespaced(bed.client.clone(), bed.namespace);
    let data = secrets.get("corp-serving").await.unwrap().data.unwrap();
    let leaf = Leaf::load(&data["tls.crt"].0, &data["tls.key"].0).unwrap();
    for name in ["192.0.2.20", "2001:db8::20", "lb.example.com"] {
        assert!(leaf.facts.names.contains(name), "{:?}", leaf.facts.names);
    }
    // A spec with a name of its own waits for no address.
    merge(
        &bed,
        ("v1", "Service", "corp"),
        json!({"metadata": {"labels": {"mine": "kept"}}}),
    )
    .await;
    bed.apply(
        json!({"service": {"type": "LoadBalancer"}, "serving": {"hostnames": ["k8s.example.com"]}}),
    )
    .await;
    bed.wait("the name", |proxy| {
        proxy.status.clone().unwrap().endpoint.as_deref() == Some("https://k8s.example.com")
    })
    .await;
    assert_eq!(services.get("corp").await.unwrap().labels()["mine"], "kept");
}
