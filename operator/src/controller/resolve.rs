//! Second step: every default filled in. What the proxies run with becomes [`Settings`], what
//! only their surroundings need becomes the rest of [`Resolved`].

use std::time::Duration;

use oidcproxy_crds::v1alpha1::{
    authentication::{RESERVED_PREFIXES, TokenPassthroughMode},
    deployment::Deployment,
    duration,
    exposure::Exposure,
    lifecycle::{Drain, Sessions},
    metrics::PodMonitor,
    network_policy::{EgressMode, NetworkPolicy, NetworkPolicyMode},
    service::{Service, ServiceType},
    serving::SelfIssued,
    settings::{
        AuthenticationSettings, DrainSettings, ImpersonationSettings, LoggingSettings,
        MAX_SETTINGS_BYTES, ServingSettings, SessionSettings, Settings, TokenPassthroughSettings,
    },
};

use super::{
    identity::Identity,
    options::Options,
    refusal::{Reason, Refusal},
    validate::{
        Validated,
        audit::{AuditTrail, AuditWebhook},
    },
};

const HTTPS: i32 = 443;
/// As many pods as there are unless the spec says otherwise.
const REPLICAS: i32 = 2;
/// In percent of what is requested.
const CPU_UTILIZATION: i32 = 80;

/// A spec with every default filled in.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Whose it is.
    pub identity: Identity,
    /// The generation of the spec.
    pub generation: i64,
    /// What the proxies run with.
    pub settings: Settings,
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
    /// The domain of the cluster's DNS.
    pub cluster_domain: String,
}

/// How many pods there are, or who decides that.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scaling {
    /// The spec.
    Fixed(i32),
    /// A HorizontalPodAutoscaler, within bounds.
    Automatic {
        /// At least.
        min: i32,
        /// At most.
        max: i32,
        /// Share of the requested CPU to aim at, in percent.
        cpu: Option<i32>,
        /// Open streams of a pod to aim at.
        streams: Option<i32>,
    },
}

impl Scaling {
    fn of(deployment: &Deployment) -> Self {
        let Some(given) = &deployment.autoscaling else {
            return Self::Fixed(deployment.replicas.unwrap_or(REPLICAS));
        };
        let (cpu, streams) = (given.target_cpu_utilization, given.target_streams);
        Self::Automatic {
            min: given
                .min_replicas
                .unwrap_or_else(|| REPLICAS.min(given.max_replicas)),
            max: given.max_replicas,
            cpu: cpu.or_else(|| streams.is_none().then_some(CPU_UTILIZATION)),
            streams,
        }
    }

    /// The fewest that there should ever be.
    pub fn least(self) -> i32 {
        match self {
            Self::Fixed(replicas) => replicas,
            Self::Automatic { min, .. } => min,
        }
    }
}

/// How long certificates live.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lifetimes {
    /// The serving certificate.
    pub leaf: Duration,
    /// How long before its end it is renewed.
    pub renew_before: Duration,
    /// The authority.
    pub authority: Duration,
    /// How long two authorities are valid together.
    pub overlap: Duration,
}

/// A certificate that somebody else looks after.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Provided {
    /// The Secret with `tls.crt` and `tls.key`.
    pub secret: String,
    /// What clients trust for it; nothing with a public authority.
    pub ca_bundle: Option<String>,
}

/// How users log in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Login {
    /// The issuer's URL.
    pub issuer_url: String,
    /// Its certificate authority, if it has its own.
    pub certificate_authority: Option<String>,
    /// The client to log in as.
    pub client_id: String,
    /// Scopes beside `openid`.
    pub extra_scopes: Vec<String>,
}

impl Resolved {
    /// Whether the pods may reach named peers only.
    pub fn has_strict_egress(&self) -> bool {
        let policy = self.network_policy.as_ref();
        let egress = policy.and_then(|policy| policy.egress.as_ref());
        egress.is_some_and(|egress| egress.mode == Some(EgressMode::Strict))
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

/// Fills in every default.
pub fn resolve(validated: Validated, options: &Options) -> Result<Resolved, Refusal> {
    let settings = settings(&validated)?;
    let login = login(&validated);
    let Validated {
        identity,
        generation,
        spec,
        issuers: _,
        disallowed_issuers: _,
        certificate_authorities: _,
        ca_bundle,
        audit,
    } = validated;
    let serving = spec.serving.unwrap_or_default();
    let deployment = spec.deployment.unwrap_or_default();
    let service = spec.service.unwrap_or_default();
    let issued = serving
        .certificate
        .as_ref()
        .and_then(|given| given.self_issued.as_ref());
    let secret = serving
        .certificate
        .as_ref()
        .and_then(|given| given.secret.as_ref());
    Ok(Resolved {
        identity,
        generation,
        settings,
        lifetimes: lifetimes(issued),
        provided: secret.map(|secret| Provided {
            secret: secret.name.clone(),
            ca_bundle,
        }),
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
        audit_webhook: audit.and_then(|audit| audit.webhook),
        login,
        cluster_domain: options.cluster_domain.clone(),
    })
}

/// The lifetimes, with the defaults of cert-manager.
pub fn lifetimes(issued: Option<&SelfIssued>) -> Lifetimes {
    let authority = issued.and_then(|issued| issued.authority.as_ref());
    let or_hours = |value: Option<&duration::Duration>, hours| {
        time(value).unwrap_or_else(|| Duration::from_hours(hours))
    };
    Lifetimes {
        leaf: or_hours(issued.and_then(|issued| issued.duration.as_ref()), 2160),
        renew_before: or_hours(issued.and_then(|issued| issued.renew_before.as_ref()), 720),
        authority: or_hours(authority.and_then(|root| root.duration.as_ref()), 87_600),
        overlap: or_hours(authority.and_then(|root| root.overlap.as_ref()), 8760),
    }
}

fn settings(validated: &Validated) -> Result<Settings, Refusal> {
    let spec = &validated.spec;
    let authentication = &spec.authentication;
    let impersonation = spec.impersonation.clone().unwrap_or_default();
    let mut reserved_prefixes: Vec<String> =
        RESERVED_PREFIXES.iter().map(ToString::to_string).collect();
    for prefix in &authentication.reserved_prefixes {
        if !reserved_prefixes.contains(prefix) {
            reserved_prefixes.push(prefix.clone());
        }
    }
    let serving = spec.serving.as_ref();
    let tls = serving.and_then(|serving| serving.tls.as_ref());
    let logging = spec.logging.as_ref();
    let settings = Settings {
        authentication: AuthenticationSettings {
            issuers: validated.issuers.clone(),
            certificate_authorities: validated.certificate_authorities.clone(),
            reserved_prefixes,
            allowed_reserved_groups: authentication.allowed_reserved_groups.clone(),
            token_passthrough: authentication
                .token_passthrough
                .as_ref()
                .filter(|passthrough| passthrough.mode == TokenPassthroughMode::TokenReview)
                .map(|passthrough| TokenPassthroughSettings {
                    audiences: passthrough.audiences.clone(),
                }),
            anonymous: authentication
                .anonymous
                .clone()
                .filter(|anonymous| anonymous.enabled),
            http_proxy: authentication
                .http_proxy
                .clone()
                .filter(|proxy| proxy.url.is_some()),
            disallowed_issuers: validated.disallowed_issuers.clone(),
        },
        impersonation: ImpersonationSettings {
            client_requests: impersonation.client_requests.unwrap_or_default(),
            as_extra_keys: impersonation.as_extra_keys,
            constrained: impersonation.constrained.unwrap_or_default(),
            restrict_to: impersonation.restrict_to.unwrap_or_default(),
            client_ip_extra: impersonation.client_ip_extra.unwrap_or_default(),
            extra: impersonation.extra,
        },
        serving: ServingSettings {
            min_tls_version: tls.and_then(|tls| tls.min_version).unwrap_or_default(),
            trusted_proxies: serving
                .map(|serving| serving.trusted_proxies.clone())
                .unwrap_or_default(),
            proxy_protocol: serving
                .and_then(|serving| serving.proxy_protocol)
                .unwrap_or_default(),
        },
        logging: LoggingSettings {
            format: logging
                .and_then(|logging| logging.format)
                .unwrap_or_default(),
            query_values: logging
                .and_then(|logging| logging.query_values)
                .unwrap_or_default(),
        },
        sessions: sessions(spec.sessions.as_ref()),
        limits: spec.limits.clone().unwrap_or_default(),
        audit: validated.audit.as_ref().map(AuditTrail::settings),
        drain: drain(spec.drain.as_ref()),
        ..Settings::default()
    };
    let unusable = |_| Refusal::new(Reason::InvalidSpec, "spec: cannot be written as settings");
    let sealed = settings.sealed().map_err(unusable)?;
    let size = serde_json::to_vec(&sealed).map_err(unusable)?.len();
    if size > MAX_SETTINGS_BYTES {
        let message =
            format!("spec: the settings have {size} bytes, more than {MAX_SETTINGS_BYTES}");
        return Err(Refusal::new(Reason::SettingsTooLarge, message));
    }
    Ok(sealed)
}

fn sessions(sessions: Option<&Sessions>) -> SessionSettings {
    let Some(sessions) = sessions else {
        return SessionSettings::default();
    };
    SessionSettings {
        end_at_token_expiry: sessions.end_at_token_expiry.unwrap_or_default(),
        max_duration_seconds: time(sessions.max_duration.as_ref()).map(whole_seconds),
        idle_timeout_seconds: time(sessions.idle_timeout.as_ref()).map(whole_seconds),
    }
}

/// How long it is; that it can be told was found out before.
fn time(value: Option<&duration::Duration>) -> Option<Duration> {
    value.and_then(|value| value.parsed().ok())
}

/// Rounded up.
fn whole_seconds(duration: Duration) -> u32 {
    let whole = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    u32::try_from(whole).unwrap_or(u32::MAX)
}

fn drain(drain: Option<&Drain>) -> DrainSettings {
    let seconds =
        |value: Option<&duration::Duration>, default| time(value).map_or(default, whole_seconds);
    DrainSettings {
        delay_seconds: seconds(drain.and_then(|drain| drain.delay.as_ref()), 5),
        deadline_seconds: seconds(drain.and_then(|drain| drain.deadline.as_ref()), 30),
    }
}

fn login(validated: &Validated) -> Option<Login> {
    let kubeconfig = validated.spec.kubeconfig.as_ref()?;
    let name = kubeconfig.issuer.as_ref()?;
    let issuer = validated
        .issuers
        .iter()
        .find(|issuer| issuer.name == *name)?;
    let authority = issuer.certificate_authority.as_ref();
    Some(Login {
        issuer_url: issuer.url.clone(),
        certificate_authority: authority
            .and_then(|key| validated.certificate_authorities.get(key).cloned()),
        client_id: kubeconfig.client_id.clone()?,
        extra_scopes: kubeconfig.extra_scopes.clone(),
    })
}

#[cfg(test)]
pub(super) mod tests;
