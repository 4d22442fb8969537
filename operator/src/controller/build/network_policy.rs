//! Who may reach the pods and what they may reach. Egress names ports, not peers, unless `Strict`
//! is asked for: issuers' addresses rotate, and not every network plugin matches nodes by address.
//!
//! A JWKS document at yet another port needs a rule of its own in `networkPolicy.egress.rules`.

use std::collections::BTreeSet;

use k8s_openapi::{
    api::networking::v1::{
        IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule,
        NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use oidcproxy_crds::v1alpha1::{egress_proxy::EgressProxy, settings::Settings};
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
    let mut scrapers = vec![operator(options), metrics_namespaces()];
    scrapers.extend(given.metrics_from.clone());
    let mut egress = if resolved.has_strict_egress() {
        strict(surroundings)
    } else {
        by_port(resolved, surroundings)
    };
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
                    from: clients(given.from.as_deref(), options),
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

/// Whose pods may read the proxies' metrics, as a label of their namespace.
const METRICS_LABEL: &str = "oidcproxy.dev/metrics";

const DNS: [(&str, i32); 2] = [("UDP", 53), ("TCP", 53)];

/// DNS, the API server's, the issuers' (and their proxy's) and the audit webhook's ports, at any address.
fn by_port(resolved: &Resolved, surroundings: &Surroundings) -> Vec<NetworkPolicyEgressRule> {
    let mut ports = surroundings.api_ports.clone();
    if let Some(settings) = resolved.running.settings() {
        ports.extend(issuer_ports(settings));
        let proxy = settings.authentication.http_proxy.as_ref();
        let proxy = proxy.and_then(|proxy| EgressProxy::of(proxy).ok()?);
        ports.extend(proxy.map(|proxy| i32::from(proxy.port())));
    }
    ports.extend(resolved.audit_webhook.iter().map(|webhook| webhook.port));
    let ports: Vec<(&str, i32)> = ports.into_iter().map(|number| ("TCP", number)).collect();
    vec![egress(&DNS, None), egress(&ports, None)]
}

/// The cluster's DNS and the API server where it is; everything else the user has to name.
fn strict(surroundings: &Surroundings) -> Vec<NetworkPolicyEgressRule> {
    let dns = NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector {
            match_labels: Some(labels([("kubernetes.io/metadata.name", "kube-system")])),
            ..LabelSelector::default()
        }),
        ..NetworkPolicyPeer::default()
    };
    let mut rules = vec![egress(&DNS, Some(vec![dns]))];
    for (number, addresses) in &surroundings.api_endpoints {
        let peers = addresses.iter().map(|address| NetworkPolicyPeer {
            ip_block: Some(IPBlock {
                cidr: format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 }),
                except: None,
            }),
            ..NetworkPolicyPeer::default()
        });
        rules.push(egress(&[("TCP", *number)], Some(peers.collect())));
    }
    if surroundings.api_endpoints.is_empty() {
        // A proxy that cannot reach the API server is of no use; a condition says that this is
        // wider than asked for.
        let ports: Vec<(&str, i32)> = surroundings
            .api_ports
            .iter()
            .map(|number| ("TCP", *number))
            .collect();
        rules.push(egress(&ports, None));
    }
    rules
}

/// Anyone, or those that the spec names and the operator, which tries the Service before it says
/// `Ready`.
fn clients(
    named: Option<&[NetworkPolicyPeer]>,
    options: &Options,
) -> Option<Vec<NetworkPolicyPeer>> {
    let named = named.filter(|peers| !peers.is_empty())?;
    Some([named, &[operator(options)]].concat())
}

/// Namespaces that are labelled for it.
fn metrics_namespaces() -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector {
            match_labels: Some(labels([(METRICS_LABEL, "true")])),
            ..LabelSelector::default()
        }),
        ..NetworkPolicyPeer::default()
    }
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

fn egress(ports: &[(&str, i32)], to: Option<Vec<NetworkPolicyPeer>>) -> NetworkPolicyEgressRule {
    let ports = ports
        .iter()
        .map(|(protocol, number)| port(protocol, *number));
    NetworkPolicyEgressRule {
        ports: Some(ports.collect()),
        to,
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
            api_endpoints: [
                (443, ["10.0.0.1".parse().unwrap()].into()),
                (
                    6443,
                    ["fd00::5".parse().unwrap(), "192.0.2.5".parse().unwrap()].into(),
                ),
            ]
            .into(),
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
                }, {
                    "namespaceSelector": {"matchLabels": {"oidcproxy.dev/metrics": "true"}},
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
            }], "httpProxy": {"url": "http://proxy:3128"}},
            "networkPolicy": {"from": [peer], "metricsFrom": [peer], "egress": {"rules": [rule]}},
        }));
        let scrapers = &policy["spec"]["ingress"][1]["from"];
        assert_eq!(scrapers[2], peer);
        // The operator shakes hands with the Service.
        assert_eq!(
            policy["spec"]["ingress"][0]["from"],
            json!([peer, scrapers[0]])
        );
        let ports = &policy["spec"]["egress"][1]["ports"];
        let numbers: Vec<i64> = ports
            .as_array()
            .unwrap()
            .iter()
            .map(|port| port["port"].as_i64().unwrap())
            .collect();
        assert_eq!(numbers, [443, 3128, 6443, 8443, 9000]);
        assert_eq!(policy["spec"]["egress"][2], rule);
    }

    #[test]
    fn strict_means_named_peers_only() {
        let rule = json!({"to": [{"ipBlock": {"cidr": "198.51.100.0/24"}}], "ports": [{"protocol": "TCP", "port": 443}]});
        let spec = json!({"networkPolicy": {"egress": {"mode": "Strict", "rules": [rule]}}});
        let policy = built(spec.clone());
        let block = |cidr: &str| json!({"ipBlock": {"cidr": cidr}});
        let port = |number: i32| json!([{"protocol": "TCP", "port": number}]);
        assert_eq!(
            policy["spec"]["egress"],
            json!([
                {
                    "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}],
                    "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}],
                },
                {"to": [block("10.0.0.1/32")], "ports": port(443)},
                {"to": [block("192.0.2.5/32"), block("fd00::5/128")], "ports": port(6443)},
                rule,
            ])
        );
        let unknown = Surroundings {
            api_ports: [443].into(),
            ..Surroundings::default()
        };
        let policy = build(&resolved(spec), &unknown, &options());
        let policy = serde_json::to_value(policy).unwrap();
        assert_eq!(policy["spec"]["egress"][1], json!({"ports": port(443)}));
    }

    #[test]
    fn nobody_named_is_anyone() {
        let policy = built(json!({"networkPolicy": {"from": []}}));
        let anyone = json!({"ports": [{"protocol": "TCP", "port": 6443}]});
        assert_eq!(policy["spec"]["ingress"][0], anyone);
    }

    #[test]
    fn none_when_disabled() {
        assert_eq!(
            built(json!({"networkPolicy": {"mode": "Disabled"}})),
            Value::Null
        );
    }
}
