//! The way in.

use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};
use oidcproxy_crds::v1alpha1::service::{ExternalTrafficPolicy, IpFamilyPolicy, ServiceType};

use super::HTTPS_PORT;
use crate::controller::resolve::Resolved;

pub(super) fn build(resolved: &Resolved) -> Service {
    let given = &resolved.service;
    let identity = &resolved.identity;
    let mut metadata = identity.child(&identity.name);
    metadata
        .labels
        .get_or_insert_default()
        .extend(given.labels.clone());
    if !given.annotations.is_empty() {
        metadata.annotations = Some(given.annotations.clone());
    }
    Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some(type_name(given.type_.unwrap_or_default()).to_owned()),
            selector: Some(identity.selector()),
            ports: Some(vec![ServicePort {
                name: Some(HTTPS_PORT.to_owned()),
                app_protocol: Some("https".to_owned()),
                protocol: Some("TCP".to_owned()),
                port: resolved.port,
                target_port: Some(IntOrString::String(HTTPS_PORT.to_owned())),
                node_port: given.node_port,
            }]),
            ip_family_policy: Some(
                family_policy(given.ip_family_policy.unwrap_or_default()).to_owned(),
            ),
            load_balancer_class: given.load_balancer_class.clone(),
            load_balancer_source_ranges: Some(given.load_balancer_source_ranges.clone())
                .filter(|ranges| !ranges.is_empty()),
            external_traffic_policy: given.external_traffic_policy.map(|policy| match policy {
                ExternalTrafficPolicy::Cluster => "Cluster".to_owned(),
                ExternalTrafficPolicy::Local => "Local".to_owned(),
            }),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn type_name(type_: ServiceType) -> &'static str {
    match type_ {
        ServiceType::ClusterIP => "ClusterIP",
        ServiceType::NodePort => "NodePort",
        ServiceType::LoadBalancer => "LoadBalancer",
    }
}

fn family_policy(policy: IpFamilyPolicy) -> &'static str {
    match policy {
        IpFamilyPolicy::SingleStack => "SingleStack",
        IpFamilyPolicy::PreferDualStack => "PreferDualStack",
        IpFamilyPolicy::RequireDualStack => "RequireDualStack",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::controller::resolve::tests::resolved;

    #[test]
    fn defaults() {
        let service = serde_json::to_value(build(&resolved(json!({})))).unwrap();
        assert_eq!(
            service["spec"],
            json!({
                "type": "ClusterIP",
                "selector": {"app.kubernetes.io/name": "oidc-proxy", "app.kubernetes.io/instance": "corp"},
                "ports": [{"name": "https", "appProtocol": "https", "protocol": "TCP", "port": 443, "targetPort": "https"}],
                "ipFamilyPolicy": "PreferDualStack",
            })
        );
    }

    #[test]
    fn what_is_given() {
        let spec = json!({"service": {
            "type": "LoadBalancer", "port": 8443, "nodePort": 30443, "annotations": {"a": "b"}, "labels": {"team": "auth"},
            "ipFamilyPolicy": "SingleStack", "loadBalancerClass": "x/y", "loadBalancerSourceRanges": ["10.0.0.0/8"],
            "externalTrafficPolicy": "Local",
        }});
        let service = serde_json::to_value(build(&resolved(spec))).unwrap();
        assert_eq!(service["metadata"]["annotations"], json!({"a": "b"}));
        assert_eq!(service["metadata"]["labels"]["team"], "auth");
        assert_eq!(
            service["metadata"]["labels"]["app.kubernetes.io/component"],
            "proxy"
        );
        let spec = &service["spec"];
        assert_eq!(spec["type"], "LoadBalancer");
        assert_eq!(
            (&spec["ports"][0]["port"], &spec["ports"][0]["nodePort"]),
            (&json!(8443), &json!(30443))
        );
        assert_eq!(spec["loadBalancerClass"], "x/y");
        assert_eq!(spec["loadBalancerSourceRanges"], json!(["10.0.0.0/8"]));
        assert_eq!(spec["externalTrafficPolicy"], "Local");
        assert_eq!(spec["ipFamilyPolicy"], "SingleStack");
    }
}
