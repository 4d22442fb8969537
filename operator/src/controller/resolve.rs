//! Second step: every default filled in. What the proxies run with becomes [`Running`], what
//! only their surroundings need becomes the rest of [`Resolved`].

mod lifetimes;
mod login;
mod running;
mod scaling;
mod settings;

use std::time::Duration;

use oidcproxy_crds::v1alpha1::{
    deployment::Deployment,
    duration,
    exposure::Exposure,
    metrics::PodMonitor,
    network_policy::{EgressMode, NetworkPolicy, NetworkPolicyMode},
    service::{Service, ServiceType},
};

pub use self::{
    lifetimes::{Lifetimes, lifetimes},
    login::Login,
    running::{LastGood, Mounted, Provided, Running},
    scaling::Scaling,
    settings::settings,
};
use super::{
    identity::Identity,
    options::Options,
    validate::{Validated, audit::AuditWebhook},
};

pub(super) const HTTPS: i32 = 443;

/// A spec with every default filled in.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Whose it is.
    pub identity: Identity,
    /// The generation of the spec.
    pub generation: i64,
    /// What the proxies run with.
    pub running: Running,
    /// The names that users reach the proxy by.
    pub hostnames: Vec<String>,
    /// What `status.endpoint` says, if set.
    pub external_url: Option<String>,
    /// How long certificates live.
    pub lifetimes: Lifetimes,
    /// The certificate of somebody else's, if not the operator's own.
    pub provided: Option<Provided>,
    /// The image of the proxies.
    pub image: String,
    /// When nodes pull it.
    pub image_pull_policy: Option<String>,
    /// How many pods.
    pub scaling: Scaling,
    /// The rest of `spec.deployment`.
    pub deployment: Deployment,
    /// Routes from outside the cluster.
    pub exposure: Exposure,
    /// Who reads the metrics, if asked for.
    pub pod_monitor: Option<PodMonitor>,
    /// `spec.service`.
    pub service: Service,
    /// The Service's port.
    pub port: i32,
    /// `spec.networkPolicy`, unless disabled.
    pub network_policy: Option<NetworkPolicy>,
    /// Where audit events are sent.
    pub audit_webhook: Option<AuditWebhook>,
    /// How users log in, if the kubeconfig is to say so.
    pub login: Option<Login>,
    /// The issuer that the kubeconfig names.
    pub login_issuer: Option<String>,
    /// The domain of the cluster's DNS.
    pub cluster_domain: String,
}

impl Resolved {
    /// Whether the pods may reach named peers only.
    pub fn has_strict_egress(&self) -> bool {
        let policy = self.network_policy.as_ref();
        let egress = policy.and_then(|policy| policy.egress.as_ref());
        egress.is_some_and(|egress| egress.mode == Some(EgressMode::Strict))
    }

    /// Whether the kubeconfig waits for its issuer, which the proxies do not know so far.
    pub fn login_waits(&self) -> bool {
        self.running.missing().is_some() && self.login_issuer.is_some() && self.login.is_none()
    }

    /// Whether the ways in and out stay as they are: those of a newer spec were asked for together
    /// with settings that are not in use so far, and might lead strangers to the ones before.
    pub fn keeps_ways(&self) -> bool {
        self.running.generation(self.generation) != Some(self.generation)
    }

    /// The names that a route can be chosen by; addresses are not sent by clients.
    pub fn dns_hostnames(&self) -> Vec<String> {
        let names = self.hostnames.iter();
        names
            .filter(|name| name.parse::<std::net::IpAddr>().is_err())
            .cloned()
            .collect()
    }

    /// Whether the address is known only once a load balancer has one.
    pub fn waits_for_load_balancer(&self) -> bool {
        self.service.type_ == Some(ServiceType::LoadBalancer)
            && self.hostnames.is_empty()
            && self.external_url.is_none()
    }
}

/// Fills in every default around what the proxies run with.
pub fn resolve(validated: Validated, running: Running, options: &Options) -> Resolved {
    let Validated {
        identity,
        generation,
        spec,
        issuers: _,
        disallowed_issuers: _,
        certificate_authorities: _,
        ca_bundle,
        audit,
        missing: _,
    } = validated;
    let serving = spec.serving.unwrap_or_default();
    let deployment = spec.deployment.unwrap_or_default();
    let service = spec.service.unwrap_or_default();
    let certificate = serving.certificate.as_ref();
    let issued = certificate.and_then(|given| given.self_issued.as_ref());
    let secret = certificate
        .and_then(|given| given.secret.as_ref())
        .map(|secret| secret.name.clone());
    Resolved {
        lifetimes: lifetimes(issued),
        provided: running.provided(&identity, secret, ca_bundle),
        hostnames: serving.hostnames,
        external_url: serving.external_url,
        image: deployment
            .image
            .clone()
            .unwrap_or_else(|| options.proxy_image.clone()),
        image_pull_policy: options.image_pull_policy.clone(),
        scaling: Scaling::of(&deployment),
        deployment,
        exposure: spec.exposure.unwrap_or_default(),
        pod_monitor: spec.metrics.and_then(|metrics| metrics.pod_monitor),
        port: service.port.unwrap_or(HTTPS),
        service,
        network_policy: Some(spec.network_policy.unwrap_or_default())
            .filter(|policy| policy.mode.unwrap_or_default() == NetworkPolicyMode::Managed),
        audit_webhook: running.audit_webhook(spec.audit.as_ref(), audit),
        login: login::login(spec.kubeconfig.as_ref(), running.settings()),
        login_issuer: spec.kubeconfig.and_then(|kubeconfig| kubeconfig.issuer),
        cluster_domain: options.cluster_domain.clone(),
        identity,
        generation,
        running,
    }
}

/// How long it is; that it can be told was found out before.
fn time(value: Option<&duration::Duration>) -> Option<Duration> {
    value.and_then(|value| value.parsed().ok())
}

#[cfg(test)]
pub(super) mod tests;
