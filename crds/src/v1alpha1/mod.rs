//! `oidcproxy.dev/v1alpha1`.

pub mod audit;
pub mod audit_policy;
pub mod authentication;
pub mod conditions;
pub mod deployment;
pub mod duration;
pub mod egress_proxy;
pub mod exposure;
pub mod impersonation;
pub mod issuer_expressions;
pub mod issuer_rules;
pub mod kubeconfig;
pub mod lifecycle;
pub mod logging;
pub mod metrics;
pub mod network;
pub mod network_policy;
pub mod revision;
pub mod service;
pub mod serving;
pub mod settings;
pub mod status;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

pub use self::{
    audit::Audit, authentication::Authentication, deployment::Deployment, exposure::Exposure,
    impersonation::Impersonation, kubeconfig::Kubeconfig, lifecycle::Drain, lifecycle::Limits,
    lifecycle::Sessions, logging::Logging, metrics::Metrics, network_policy::NetworkPolicy,
    service::Service, serving::Serving, settings::Settings, status::OidcProxyStatus,
};

/// What is wanted of the login and of its proxy.
#[derive(CustomResource, KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[kube(
    group = "oidcproxy.dev",
    version = "v1alpha1",
    kind = "OidcProxy",
    namespaced,
    status = "OidcProxyStatus",
    shortname = "oidcp",
    category = "oidc",
    derive = "PartialEq",
    doc = "An OIDC login in front of this cluster's API server: the operator runs a proxy for it that authenticates id_tokens and forwards each request by impersonation.",
    scale(
        spec_replicas_path = ".spec.deployment.replicas",
        status_replicas_path = ".status.replicas.ready",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".status.endpoint"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.replicas.current"),
    printcolumn(name = "Issuer", type_ = "string", json_path = ".spec.authentication.jwt[0].issuer.url", priority = 1),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 50 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("metadata.name must be a DNS-1035 label of at most 50 characters: it names a Service")
)]
#[x_kube(validation = Rule::new("!has(self.kubeconfig) || !has(self.kubeconfig.issuer) || self.authentication.jwt.exists(j, j.name == self.kubeconfig.issuer)").message("kubeconfig.issuer must be the name of an entry of authentication.jwt"))]
#[serde(rename_all = "camelCase")]
pub struct OidcProxySpec {
    /// Who may log in: the issuers, and which of their claims become users and groups.
    pub authentication: Authentication,
    /// How requests are impersonated, and what `kubectl --as` may do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impersonation: Option<Impersonation>,
    /// Names, certificate and TLS of the serving port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<Serving>,
    /// The proxy's pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<Deployment>,
    /// The Service in front of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// Routes from outside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposure: Option<Exposure>,
    /// Who may reach the pods and what they may reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<NetworkPolicy>,
    /// Who reads the proxies' metrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
    /// The access lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logging: Option<Logging>,
    /// The audit trail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<Audit>,
    /// How long streams may live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<Sessions>,
    /// Bounds on what clients may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// How a pod takes its leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drain>,
    /// The kubeconfig that is published for users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<Kubeconfig>,
}
