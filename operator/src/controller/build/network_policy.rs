//! Who may reach the pods and what they may reach. Egress names ports, not peers: issuers'
//! addresses rotate, and not every network plugin matches nodes by address.
//!
//! A JWKS document at yet another port needs a rule of its own in `networkPolicy.egress.rules`.

use std::collections::BTreeSet;

use k8s_openapi::{
    api::networking::v1::{
        NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
        NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use oidcproxy_crds::v1alpha1::settings::Settings;
use url::Url;

use super::{ADMIN_PORT, SECURE_PORT, Surroundings};
use crate::controller::{identity::labels, options::Options, resolve::Resolved};

pub(super) fn build(
    resolved: &Resolved,
    surroundings: &Surroundings,
    options: &Options,
) -> Option<NetworkPolicy> {
    let given = resolved.network_policy.as_ref()?;
    let identity = &resolved.identity;
    let mut scrapers = vec![operator(options)];
    scrapers.extend(given.metrics_from.clone());
    let mut egress = vec![egress(&[port("UDP", 53), port("TCP", 53)])];
    let mut ports = surroundings.api_ports.clone();
    ports.extend(issuer_ports(&resolved.settings));
    let ports: Vec<NetworkPolicyPort> = ports
        .into_iter()
        .map(|number| port("TCP", number))
        .collect();
    egress.push(self::egress(&ports));
    egress.extend(given.egress.iter().flat_map(|egress| egress.rules.clone()));
    Some(NetworkPolicy {
        metadata: identity.child(&identity.name),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector {
                match_labels: Some(identity.selector()),
                ..LabelSelector::default()
            }),
            policy_types: Some(vec!["Ingress".into(), "Egress".into()]),
            ingress: Some(vec![
                NetworkPolicyIngressRule {
                    from: given.from.clone(),
                    ports: Some(vec![port("TCP", SECURE_PORT)]),
                },
                NetworkPolicyIngressRule {
                    from: Some(scrapers),
                    ports: Some(vec![port("TCP", ADMIN_PORT)]),
                },
            ]),
            egress: Some(egress),
        }),
    })
}

/// The operator asks each pod for its state.
fn operator(options: &Options) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector {
            match_labels: Some(labels([(
                "kubernetes.io/metadata.name",
                &options.operator_namespace,
            )])),
            ..LabelSelector::default()
        }),
        pod_selector: Some(LabelSelector {
            match_labels: Some(options.operator_pod_labels.clone()),
            ..LabelSelector::default()
        }),
        ..NetworkPolicyPeer::default()
    }
}

fn issuer_ports(settings: &Settings) -> BTreeSet<i32> {
    let issuers = settings.authentication.issuers.iter();
    issuers
        .flat_map(|issuer| [Some(&issuer.url), issuer.discovery_url.as_ref()])
        .flatten()
        .filter_map(|url| Url::parse(url).ok()?.port_or_known_default())
        .map(i32::from)
        .collect()
}

fn egress(ports: &[NetworkPolicyPort]) -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule {
        ports: Some(ports.to_vec()),
        to: None,
    }
}

fn port(protocol: &str, number: i32) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(protocol.to_owned()),
        port: Some(IntOrString::Int(number)),
        end_port: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::controller::{resolve::tests::resolved, validate::tests::options};

    fn built(spec: Value) -> Value {
        let surroundings = Surroundings {
            api_ports: [443, 6443].into(),
        };
        serde_json::to_value(build(&resolved(spec), &surroundings, &options())).unwrap()
    }

    #[test]
    fn by_default_anyone_may_come_in_and_ports_lead_out() {
        let policy = built(json!({}));
        assert_eq!(
            policy["spec"]["ingress"],
            json!([
                {"ports": [{"protocol": "TCP", "port": 6443}]},
                {"from": [{
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "oidc-proxy"}},
                    "podSelector": {"matchLabels": {"app.kubernetes.io/name": "operator"}},
                }], "ports": [{"protocol": "TCP", "port": 8080}]},
            ])
        );
        assert_eq!(
            policy["spec"]["egress"],
            json!([
                {"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]},
                {"ports": [{"protocol": "TCP", "port": 443}, {"protocol": "TCP", "port": 6443}]},
            ])
        );
        assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
    }

    #[test]
    fn peers_and_issuers_of_the_spec() {
        let peer = json!({"ipBlock": {"cidr": "10.0.0.0/8"}});
        let rule = json!({"ports": [{"protocol": "TCP", "port": 9443}]});
        let policy = built(json!({
            "authentication": {"jwt": [{
                "name": "corp",
                "issuer": {"url": "https://id:8443", "discoveryURL": "https://id:9000/x", "audiences": ["a"]},
                "claimMappings": {"username": {"claim": "sub", "prefix": "corp:"}},
            }]},
            "networkPolicy": {"from": [peer], "metricsFrom": [peer], "egress": {"rules": [rule]}},
        }));
        assert_eq!(policy["spec"]["ingress"][0]["from"], json!([peer]));
        assert_eq!(policy["spec"]["ingress"][1]["from"][1], peer);
        let ports = &policy["spec"]["egress"][1]["ports"];
        let numbers: Vec<i64> = ports
            .as_array()
            .unwrap()
            .iter()
            .map(|port| port["port"].as_i64().unwrap())
            .collect();
        assert_eq!(numbers, [443, 6443, 8443, 9000]);
        assert_eq!(policy["spec"]["egress"][2], rule);
    }

    #[test]
    fn none_when_disabled() {
        assert_eq!(
            built(json!({"networkPolicy": {"mode": "Disabled"}})),
            Value::Null
        );
    }
}
