//! `spec.networkPolicy`.

use k8s_openapi::api::networking::v1::{NetworkPolicyEgressRule, NetworkPolicyPeer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who may reach the pods and what they may reach.
#[derive(JsonSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPolicy {
    /// Whether the operator writes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<NetworkPolicyMode>,
    /// Who may reach the serving port, beside the operator; anyone unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub from: Option<Vec<NetworkPolicyPeer>>,
    /// Who may reach the metrics, beside the operator and the pods of namespaces with the label
    /// `oidcproxy.dev/metrics: "true"`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub metrics_from: Vec<NetworkPolicyPeer>,
    /// What the pods may reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<Egress>,
}

/// Whether the operator writes a NetworkPolicy.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum NetworkPolicyMode {
    /// It does.
    #[default]
    Managed,
    /// It does not.
    Disabled,
}

/// What the pods may reach.
#[derive(JsonSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Egress {
    /// By port, or by peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<EgressMode>,
    /// Further rules, and with `Strict` the issuers' addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub rules: Vec<NetworkPolicyEgressRule>,
}

/// How egress is bounded.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum EgressMode {
    /// DNS, the API server's and the issuers' ports, to any address.
    #[default]
    Ports,
    /// Only to named peers.
    Strict,
}
