//! What the proxies run with, complete and without references.

use std::time::Duration;

use oidcproxy_crds::v1alpha1::{
    authentication::{RESERVED_PREFIXES, TokenPassthroughMode},
    duration,
    lifecycle::{Drain, Sessions},
    settings::{
        AuthenticationSettings, DrainSettings, ImpersonationSettings, LoggingSettings,
        MAX_SETTINGS_BYTES, ServingSettings, SessionSettings, Settings, TokenPassthroughSettings,
    },
};

use super::time;
use crate::controller::{
    refusal::{Reason, Refusal},
    validate::{Validated, audit::AuditTrail},
};

/// The settings that the spec asks for; without what it refers to there are none.
pub fn settings(validated: &Validated) -> Result<Settings, Refusal> {
    if let Some(missing) = &validated.missing {
        return Err(missing.clone());
    }
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
