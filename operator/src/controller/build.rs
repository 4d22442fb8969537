//! Third step: the desired objects, from values alone. No client in here, so that each of them
//! can be looked at in a test.

mod cluster_role;
mod deployment;
mod horizontal_pod_autoscaler;
mod ingress;
mod kubeconfig;
mod network_policy;
mod pod_disruption_budget;
mod pod_monitor;
mod role;
mod service;
mod service_account;
mod tls_route;
mod trust;

use std::{
    collections::{BTreeMap, BTreeSet},
    marker::PhantomData,
    net::IpAddr,
};

use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{ConfigMap, Service, ServiceAccount},
    networking::v1::{Ingress, NetworkPolicy},
    policy::v1::PodDisruptionBudget,
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
};
use oidcproxy_crds::v1alpha1::Settings;

pub use self::{
    cluster_role::{Grant, granted, grants},
    deployment::mounted,
    pod_monitor::pod_monitor,
    tls_route::tls_route,
};
use super::{options::Options, resolve::Resolved};

/// How a container port and the Service's target are called.
const HTTPS_PORT: &str = "https";
/// How the plain port is called.
const ADMIN: &str = "admin";
/// Where the pods serve.
pub const SECURE_PORT: i32 = 6443;
/// Where the pods answer probes, metrics and their state.
pub const ADMIN_PORT: i32 = 8080;

/// Objects as they should be.
#[derive(Clone, Copy, Debug)]
pub struct Prepared;

/// Objects as the API server returned them.
#[derive(Clone, Copy, Debug)]
pub struct Applied;

/// What must be there before certificates can be issued and settings published: the proxy's
/// rights, its way out and the Service, whose addresses go into the certificate.
#[derive(Clone, Debug)]
pub struct Foundation<Stage> {
    /// Who the pods are.
    pub service_account: ServiceAccount,
    /// What they may do.
    pub cluster_role: ClusterRole,
    /// Who may do it.
    pub cluster_role_binding: ClusterRoleBinding,
    /// To read their own settings.
    pub role: Role,
    /// Who may do that.
    pub role_binding: RoleBinding,
    /// Who may reach them and what they may reach.
    pub network_policy: Option<NetworkPolicy>,
    /// The way in.
    pub service: Service,
    /// How far these objects have come.
    pub stage: PhantomData<Stage>,
}

/// What runs on that foundation.
#[derive(Clone, Debug)]
pub struct Workload<Stage> {
    /// What clients trust.
    pub trust: Option<ConfigMap>,
    /// What users log in with; nothing while it waits for the issuer that it is to name.
    pub kubeconfig: Option<ConfigMap>,
    /// How many pods may be away at a time.
    pub pod_disruption_budget: Option<PodDisruptionBudget>,
    /// Who decides how many pods there are, if not the spec.
    pub horizontal_pod_autoscaler: Option<HorizontalPodAutoscaler>,
    /// The pods.
    pub deployment: Deployment,
    /// How far these objects have come.
    pub stage: PhantomData<Stage>,
}

/// What the cluster is like, as far as it matters here.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Surroundings {
    /// The ports of the API server: its Service's and its endpoints'.
    pub api_ports: BTreeSet<i32>,
    /// Its addresses with the ports there, as far as they are known.
    pub api_endpoints: BTreeMap<i32, BTreeSet<IpAddr>>,
}

/// What the steps before have come to, as far as other objects carry it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Published {
    /// What clients trust; nothing with a public authority.
    pub ca_bundle: Option<String>,
    /// Where users reach the proxy.
    pub endpoint: String,
    /// A name that the certificate is for, within the cluster.
    pub server_name: String,
    /// Which account the pods run as: one that was deleted comes back as another.
    pub account_uid: String,
}

/// The foundation; `grants` are those of the settings, and of earlier ones still in use.
pub fn foundation(
    resolved: &Resolved,
    grants: &BTreeSet<Grant>,
    surroundings: &Surroundings,
    options: &Options,
) -> Foundation<Prepared> {
    let identity = &resolved.identity;
    Foundation {
        service_account: service_account::build(identity),
        cluster_role: cluster_role::build(identity, grants),
        cluster_role_binding: cluster_role::build_binding(identity),
        role: role::build(identity),
        role_binding: role::build_binding(identity),
        network_policy: network_policy::build(resolved, surroundings, options),
        service: service::build(resolved),
        stage: PhantomData,
    }
}

/// The workload, for pods that run with these settings.
pub fn workload(
    resolved: &Resolved,
    settings: &Settings,
    published: &Published,
) -> Workload<Prepared> {
    Workload {
        trust: published
            .ca_bundle
            .as_ref()
            .map(|bundle| trust::build(&resolved.identity, bundle)),
        kubeconfig: (!resolved.login_waits()).then(|| kubeconfig::build(resolved, published)),
        pod_disruption_budget: pod_disruption_budget::build(resolved),
        horizontal_pod_autoscaler: horizontal_pod_autoscaler::build(resolved),
        deployment: deployment::build(resolved, settings, &published.account_uid),
        stage: PhantomData,
    }
}

/// The Ingress, if it is asked for.
pub fn ingress(resolved: &Resolved) -> Option<Ingress> {
    ingress::build(resolved)
}

/// The Service's URL within the cluster.
pub fn in_cluster_url(resolved: &Resolved) -> String {
    url(&resolved.identity.service_dns(), resolved.port)
}

/// An https URL; IPv6 addresses get their brackets, the usual port is left out.
pub fn url(host: &str, port: i32) -> String {
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    if port == 443 {
        format!("https://{host}")
    } else {
        format!("https://{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::url;

    #[test]
    fn urls() {
        assert_eq!(url("a.example.com", 443), "https://a.example.com");
        assert_eq!(url("10.0.0.1", 8443), "https://10.0.0.1:8443");
        assert_eq!(url("fd00::1", 443), "https://[fd00::1]");
    }
}
