//! What the proxy runs with. Whatever the source — an `OidcProxy`'s status, files, flags — it
//! becomes one [`Settings`], swapped as a whole while requests go on.

mod authentication_config;
mod environment;
mod file;
mod flags;
#[cfg(feature = "internals")]
pub(crate) mod internals;
mod limits;
mod request_path;
mod store;
mod watch;

use std::{sync::Arc, time::SystemTime};

use tokio_util::sync::CancellationToken;

pub(crate) use self::{
    environment::egress_proxy,
    file::follow_file,
    flags::{FlagError, OidcFlags, base_settings},
    limits::ClientLimits,
    request_path::RequestPathFlags,
    store::SettingsStore,
    watch::{OidcProxyName, follow_status},
};
use crate::{
    audit::{AuditBackends, Auditor, PolicyError},
    authn::{
        AnonymousUser, Authenticator, IssuerAuthenticator, IssuerError, Passthrough, ReservedNames,
        Route,
    },
    forward::SessionLimits,
    identity::UnsafeIdentity,
    impersonate::Restriction,
    metrics::Metrics,
    request::TrustedProxies,
};
use oidcproxy_crds::{
    certificate_bundle,
    state::IssuerReport,
    v1alpha1::{
        self,
        egress_proxy::{EgressProxy, EgressProxyError},
        impersonation::{ClientIpExtra, ClientRequests, Constrained, StaticExtra},
        issuer_expressions,
        issuer_rules::{self, FieldError},
        network::{Network, NetworkError},
        serving::{ProxyProtocol, TlsVersion},
        settings::{AuthenticationSettings, DrainSettings, LoggingSettings},
    },
};

/// Settings that requests are served with.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) revision: String,
    /// When they were taken.
    pub(crate) taken: SystemTime,
    pub(crate) authenticator: Authenticator,
    pub(crate) passthrough: Option<Passthrough>,
    pub(crate) client_requests: ClientRequests,
    pub(crate) as_extra_keys: Vec<String>,
    pub(crate) constrained: Constrained,
    pub(crate) restrict_to: Restriction,
    pub(crate) static_extra: Vec<StaticExtra>,
    pub(crate) client_ip_extra: bool,
    pub(crate) trusted_proxies: TrustedProxies,
    /// Connections of trusted proxies begin with a PROXY protocol header.
    pub(crate) proxy_protocol: bool,
    pub(crate) sessions: SessionLimits,
    pub(crate) limits: ClientLimits,
    pub(crate) min_tls_version: TlsVersion,
    pub(crate) logging: LoggingSettings,
    pub(crate) auditor: Option<Arc<Auditor>>,
    pub(crate) drain: DrainSettings,
}

/// Why settings cannot be served with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// They were changed or lost something on the way here.
    #[error(transparent)]
    Decode(#[from] v1alpha1::revision::SettingsError),
    /// A rule about issuers is broken. The operator checks the same rules; whoever writes a
    /// status by hand does not.
    #[error("{0}")]
    Issuers(String),
    /// The static extras cannot be carried in headers.
    #[error("impersonation.extra: {0}")]
    StaticExtra(#[from] UnsafeIdentity),
    /// An issuer refers to certificates that are not there.
    #[error("issuer {0} refers to a certificate authority that the settings do not hold")]
    MissingAuthority(String),
    /// The audit policy is wrong.
    #[error(transparent)]
    Audit(#[from] PolicyError),
    /// There is no such way to issuers.
    #[error("authentication.httpProxy.{0}")]
    HttpProxy(#[from] EgressProxyError),
    /// Not a network.
    #[error("serving.trustedProxies: {0:?} {1}")]
    TrustedProxies(String, NetworkError),
    /// An issuer's certificates cannot be used.
    #[error("issuer {name}: {cause}")]
    Issuer {
        /// The issuer's name.
        name: String,
        /// Why not.
        cause: IssuerError,
    },
}

impl Settings {
    /// Takes over the issuers that stay as they are, with the keys that they have.
    fn build(
        wire: v1alpha1::Settings,
        previous: Option<&Self>,
        metrics: &Arc<Metrics>,
        audit: &AuditBackends,
    ) -> Result<Self, SettingsError> {
        check(&wire)?;
        let known = previous.and_then(|previous| previous.auditor.as_deref());
        let auditor = match &wire.audit {
            None => None,
            Some(settings) => Some(Arc::new(audit.auditor(settings, known)?)),
        };
        let authentication = wire.authentication;
        let proxy = authentication.http_proxy.as_ref();
        let proxy = proxy.map(EgressProxy::of).transpose()?.flatten();
        let mut issuers = Vec::with_capacity(authentication.issuers.len());
        for issuer in authentication.issuers {
            let authority = match &issuer.certificate_authority {
                None => None,
                Some(name) => Some(
                    authentication
                        .certificate_authorities
                        .get(name)
                        .cloned()
                        .ok_or_else(|| SettingsError::MissingAuthority(issuer.name.clone()))?,
                ),
            };
            let route = Route {
                certificate_authority: authority,
                proxy: proxy.clone(),
            };
            let known = previous.map_or(&[][..], |previous| previous.authenticator.issuers());
            let same = known.iter().find(|known| known.is_for(&issuer, &route));
            issuers.push(if let Some(same) = same {
                Arc::clone(same)
            } else {
                let changed = known.iter().find(|known| known.url() == issuer.url);
                let changed = changed.map(AsRef::as_ref);
                let name = issuer.name.clone();
                let metrics = Arc::clone(metrics);
                let started = IssuerAuthenticator::start(issuer, route, changed, metrics);
                Arc::new(started.map_err(|cause| SettingsError::Issuer { name, cause })?)
            });
        }
        let extra = &wire.impersonation.extra;
        let anonymous = match &authentication.anonymous {
            Some(anonymous) if anonymous.enabled => {
                let known = previous.and_then(|previous| previous.authenticator.anonymous());
                let withdrawn =
                    known.map_or_else(CancellationToken::new, |known| known.withdrawn().clone());
                Some(Arc::new(AnonymousUser::new(anonymous, extra, withdrawn)?))
            }
            _ => None,
        };
        let reserved = ReservedNames {
            prefixes: authentication.reserved_prefixes,
            allowed_groups: authentication.allowed_reserved_groups,
        };
        let passthrough = authentication.token_passthrough.map(|settings| {
            let known = previous.and_then(|previous| previous.passthrough.as_ref());
            Passthrough {
                audiences: settings.audiences,
                withdrawn: known
                    .map(|known| known.withdrawn.clone())
                    .unwrap_or_default(),
            }
        });
        Ok(Self {
            revision: wire.revision,
            taken: SystemTime::now(),
            passthrough,
            authenticator: Authenticator::new(
                issuers,
                anonymous,
                reserved,
                wire.impersonation.extra.clone(),
                Arc::clone(metrics),
            ),
            static_extra: wire.impersonation.extra,
            client_requests: wire.impersonation.client_requests,
            as_extra_keys: wire.impersonation.as_extra_keys,
            constrained: wire.impersonation.constrained,
            restrict_to: wire.impersonation.restrict_to.into(),
            client_ip_extra: wire.impersonation.client_ip_extra == ClientIpExtra::Enabled,
            trusted_proxies: trusted_proxies(&wire.serving.trusted_proxies)?,
            proxy_protocol: wire.serving.proxy_protocol == ProxyProtocol::Required,
            sessions: wire.sessions.into(),
            limits: (&wire.limits).into(),
            min_tls_version: wire.serving.min_tls_version,
            logging: wire.logging,
            auditor,
            drain: wire.drain,
        })
    }

    pub(crate) fn issuer_reports(&self) -> Vec<IssuerReport> {
        self.authenticator
            .issuers()
            .iter()
            .map(|issuer| issuer.report())
            .collect()
    }

    /// When each issuer's keys were last fetched, of those that ever were.
    pub(crate) fn keys_fetched(&self) -> Vec<(String, SystemTime)> {
        let issuers = self.authenticator.issuers().iter();
        issuers
            .filter_map(|issuer| Some((issuer.name().to_owned(), issuer.keys_fetched()?)))
            .collect()
    }

    /// Every issuer has been tried once: before that, tokens that are good would be refused.
    async fn issuers_tried(&self) {
        for issuer in self.authenticator.issuers() {
            issuer.first_attempt().await;
        }
    }
}

fn trusted_proxies(networks: &[String]) -> Result<TrustedProxies, SettingsError> {
    let parse = |network: &String| {
        let parsed = network.parse::<Network>();
        parsed.map_err(|error| SettingsError::TrustedProxies(network.clone(), error))
    };
    let networks: Result<_, _> = networks.iter().map(parse).collect();
    Ok(TrustedProxies::new(networks?))
}

fn wrong_authorities(authentication: &AuthenticationSettings) -> Vec<FieldError> {
    let known = &authentication.certificate_authorities;
    let issuers = authentication.issuers.iter().enumerate();
    issuers
        .filter_map(|(index, issuer)| {
            let bundle = known.get(issuer.certificate_authority.as_ref()?)?;
            let error = certificate_bundle::certificates(bundle.as_bytes()).err()?;
            Some(FieldError {
                path: format!("jwt[{index}].issuer.certificateAuthority"),
                message: error.to_string(),
            })
        })
        .collect()
}

/// Reserved prefixes are the operator's business: here the guard over the final names decides.
fn check(wire: &v1alpha1::Settings) -> Result<(), SettingsError> {
    let authentication = &wire.authentication;
    let issuers = &authentication.issuers;
    let anonymous = authentication.anonymous.as_ref();
    let broken: Vec<_> = issuer_rules::check_issuers(issuers)
        .into_iter()
        .chain(issuer_rules::check_disallowed(
            issuers,
            &authentication.disallowed_issuers,
        ))
        .chain(issuer_expressions::check_expressions(issuers))
        .chain(wrong_authorities(authentication))
        .chain(anonymous.map_or_else(Vec::new, issuer_rules::check_anonymous))
        .map(|error| format!("{}: {}", error.path, error.message))
        .collect();
    if broken.is_empty() {
        Ok(())
    } else {
        Err(SettingsError::Issuers(broken.join("; ")))
    }
}
