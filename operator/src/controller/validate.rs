//! First step: is the spec something that can be realised? Everything that is wrong is found at
//! once; nothing is changed, nothing asked.

pub mod audit;
mod durations;
mod exposure;
mod issuers;
mod not_implemented;
mod pods;
mod serving;

use std::collections::BTreeMap;

use oidcproxy_crds::{
    OidcProxy, OidcProxySpec,
    v1alpha1::{
        authentication::NEVER_ALLOWED_GROUPS,
        egress_proxy::EgressProxy,
        impersonation::{ClientIpExtra, Impersonation, Names, REMOTE_CLIENT_IP},
        issuer_rules,
        settings::IssuerSettings,
    },
};

use self::audit::AuditTrail;
use super::{
    dereference::References,
    identity::Identity,
    options::Options,
    refusal::{Finding, Reason, Refusal},
};

/// Extras that only the proxy itself may write: who `kubectl --as` was.
const ORIGINAL_USER: &str = "originaluser.jetstack.io";

/// A spec that can be realised.
#[derive(Clone, Debug)]
pub struct Validated {
    /// Whose it is.
    pub identity: Identity,
    /// The generation that was looked at.
    pub generation: i64,
    /// As it was written.
    pub spec: OidcProxySpec,
    /// The issuers, without references.
    pub issuers: Vec<IssuerSettings>,
    /// Issuers that none of them is, nor may become.
    pub disallowed_issuers: Vec<String>,
    /// The authorities that they name.
    pub certificate_authorities: BTreeMap<String, String>,
    /// What clients trust for a certificate of somebody else's.
    pub ca_bundle: Option<String>,
    /// The audit trail, if one is asked for.
    pub audit: Option<AuditTrail>,
    /// What the spec refers to and cannot be used; then what is taken from there is not whole.
    pub missing: Option<Refusal>,
}

/// Checks a spec against what the CRD's schema and rules cannot say. What it refers to and cannot be
/// used is no reason to refuse the rest.
pub fn validate(
    proxy: &OidcProxy,
    identity: Identity,
    references: &References,
    options: &Options,
) -> Result<Validated, Refusal> {
    let spec = &proxy.spec;
    let mut findings = Findings::default();
    not_implemented::check(spec, &mut findings);
    let (issuers, certificate_authorities) =
        issuers::check(&spec.authentication, references, &mut findings);
    check_allowed_groups(&spec.authentication.allowed_reserved_groups, &mut findings);
    if let Some(Err(error)) = spec.authentication.http_proxy.as_ref().map(EgressProxy::of) {
        findings.invalid("authentication.httpProxy", error);
    }
    check_impersonation(spec.impersonation.as_ref(), &mut findings);
    let ca_bundle = serving::check(spec.serving.as_ref(), &identity, references, &mut findings);
    let audit = audit::check(spec.audit.as_ref(), references, &mut findings);
    exposure::check(spec, &mut findings);
    pods::check(spec, options, &mut findings);
    match Refusal::of(&findings.all()) {
        Some(refusal) if !findings.spec.is_empty() => Err(refusal),
        missing => Ok(Validated {
            identity,
            generation: proxy.metadata.generation.unwrap_or_default(),
            spec: spec.clone(),
            issuers,
            disallowed_issuers: references.service_account_issuer.iter().cloned().collect(),
            certificate_authorities,
            ca_bundle,
            audit,
            missing,
        }),
    }
}

/// What was found so far.
#[derive(Debug, Default)]
struct Findings {
    /// About the spec itself.
    spec: Vec<Finding>,
    /// About what it refers to.
    references: Vec<Finding>,
}

impl Findings {
    fn add(
        &mut self,
        reason: Reason,
        path: impl std::fmt::Display,
        message: impl std::fmt::Display,
    ) {
        self.spec.push(finding(reason, path, message));
    }

    fn missing(
        &mut self,
        reason: Reason,
        path: impl std::fmt::Display,
        message: impl std::fmt::Display,
    ) {
        self.references.push(finding(reason, path, message));
    }

    /// What is referred to is there and cannot be used.
    fn unusable(&mut self, path: impl std::fmt::Display, message: impl std::fmt::Display) {
        self.missing(Reason::ReferenceUnusable, path, message);
    }

    fn all(&self) -> Vec<Finding> {
        [self.spec.as_slice(), &self.references].concat()
    }

    fn invalid(&mut self, path: impl std::fmt::Display, message: impl std::fmt::Display) {
        self.add(Reason::InvalidSpec, path, message);
    }
}

fn finding(
    reason: Reason,
    path: impl std::fmt::Display,
    message: impl std::fmt::Display,
) -> Finding {
    Finding {
        reason,
        message: format!("spec.{path}: {message}"),
    }
}

fn check_allowed_groups(groups: &[String], findings: &mut Findings) {
    for (index, group) in groups.iter().enumerate() {
        if NEVER_ALLOWED_GROUPS.contains(&group.as_str()) {
            findings.invalid(
                format_args!("authentication.allowedReservedGroups[{index}]"),
                "system:masters and system:nodes can never be allowed",
            );
        }
    }
}

fn check_impersonation(impersonation: Option<&Impersonation>, findings: &mut Findings) {
    let Some(impersonation) = impersonation else {
        return;
    };
    for (index, key) in impersonation.as_extra_keys.iter().enumerate() {
        if key != "*"
            && let Some(wrong) = wrong_extra_key(key)
        {
            findings.invalid(format_args!("impersonation.asExtraKeys[{index}]"), wrong);
        }
    }
    if let Some(restriction) = &impersonation.restrict_to {
        check_names(restriction.users.as_ref(), "users", findings);
        check_names(restriction.groups.as_ref(), "groups", findings);
    }
    for (index, extra) in impersonation.extra.iter().enumerate() {
        let path = format!("impersonation.extra[{index}]");
        if let Some(wrong) = wrong_extra_key(&extra.key) {
            findings.invalid(format_args!("{path}.key"), wrong);
        } else if extra.key == REMOTE_CLIENT_IP
            && impersonation.client_ip_extra == Some(ClientIpExtra::Enabled)
        {
            findings.invalid(format_args!("{path}.key"), "is what clientIPExtra writes");
        } else if extra
            .key
            .split_once('/')
            .is_some_and(|(domain, _)| issuer_rules::is_kubernetes_domain(domain))
        {
            findings.invalid(
                format_args!("{path}.key"),
                "must not be in a domain of Kubernetes",
            );
        }
        if impersonation
            .extra
            .iter()
            .take(index)
            .any(|other| other.key == extra.key)
        {
            findings.invalid(format_args!("{path}.key"), "must be unique");
        }
        if extra.values.is_empty() {
            findings.invalid(
                format_args!("{path}.values"),
                "at least one value is required",
            );
        }
        if extra
            .values
            .iter()
            .any(|value| value.chars().any(char::is_control))
        {
            findings.invalid(
                format_args!("{path}.values"),
                "must not hold control characters",
            );
        }
    }
}

/// A name that no request can carry would be one that somebody meant otherwise.
fn check_names(names: Option<&Names>, kind: &str, findings: &mut Findings) {
    let Some(names) = names.map(|names| &names.names) else {
        return;
    };
    let path = format!("impersonation.restrictTo.{kind}.names");
    if names.is_empty() {
        findings.invalid(&path, "at least one name is required");
    }
    for (index, name) in names.iter().enumerate() {
        if name.is_empty() || name.trim() != name || name.chars().any(char::is_control) {
            let message = "must be a name without blanks at its edges and control characters";
            findings.invalid(format_args!("{path}[{index}]"), message);
        }
    }
}

fn wrong_extra_key(key: &str) -> Option<&'static str> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "/._-".contains(c);
    if key.is_empty() || !key.chars().all(allowed) {
        Some("must be lower-case letters, digits and any of / . _ -")
    } else if key.starts_with(ORIGINAL_USER) {
        Some("is what the proxy itself writes for --as")
    } else {
        None
    }
}

#[cfg(test)]
mod rows;
#[cfg(test)]
pub(super) mod tests;
