//! The issuers: upstream's rules, and their certificate authorities without the reference.

use std::collections::BTreeMap;

use oidcproxy_crds::v1alpha1::{
    authentication::{Authentication, Issuer, RESERVED_PREFIXES},
    issuer_expressions::check_expressions,
    issuer_rules::{check_anonymous, check_disallowed, check_issuers, check_reserved_prefixes},
    settings::{IssuerSettings, MAX_CERTIFICATE_AUTHORITY_BYTES},
};

use super::{Findings, Reason};
use crate::{
    controller::dereference::{Missing, References},
    pki::pem,
};

type Authorities = BTreeMap<String, String>;

pub(super) fn check(
    authentication: &Authentication,
    references: &References,
    findings: &mut Findings,
) -> (Vec<IssuerSettings>, Authorities) {
    if authentication.jwt.is_empty() {
        findings.invalid("authentication.jwt", "at least one issuer is required");
    }
    let mut authorities = Authorities::new();
    let mut issuers = Vec::new();
    for (index, entry) in authentication.jwt.iter().enumerate() {
        let path = format!("authentication.jwt[{index}].issuer");
        if authentication
            .jwt
            .iter()
            .take(index)
            .any(|other| other.name == entry.name)
        {
            findings.invalid(
                format_args!("authentication.jwt[{index}].name"),
                "must be unique",
            );
        }
        let bundle = authority(
            &entry.issuer,
            references.authorities.get(&index),
            &path,
            findings,
        );
        issuers.push(IssuerSettings {
            name: entry.name.clone(),
            url: entry.issuer.url.clone(),
            discovery_url: entry.issuer.discovery_url.clone(),
            certificate_authority: bundle.map(|bundle| {
                let key = pem::fingerprint(&bundle);
                authorities.insert(key.clone(), bundle);
                key
            }),
            audiences: entry.issuer.audiences.clone(),
            audience_match_policy: entry.issuer.audience_match_policy,
            claim_validation_rules: entry.claim_validation_rules.clone(),
            claim_mappings: entry.claim_mappings.clone(),
            user_validation_rules: entry.user_validation_rules.clone(),
            signing_algorithms: Vec::new(),
        });
    }
    let reserved: Vec<String> = RESERVED_PREFIXES
        .iter()
        .map(ToString::to_string)
        .chain(authentication.reserved_prefixes.iter().cloned())
        .collect();
    let anonymous = authentication.anonymous.as_ref();
    let errors = check_issuers(&issuers)
        .into_iter()
        .chain(check_disallowed(
            &issuers,
            references.service_account_issuer.as_slice(),
        ))
        .chain(check_reserved_prefixes(&issuers, &reserved))
        .chain(check_expressions(&issuers))
        .chain(anonymous.map_or_else(Vec::new, check_anonymous));
    for error in errors {
        findings.invalid(format_args!("authentication.{}", error.path), error.message);
    }
    (issuers, authorities)
}

/// The issuer's certificates, and nothing else that may stand beside them.
fn authority(
    issuer: &Issuer,
    referenced: Option<&Result<Vec<u8>, Missing>>,
    path: &str,
    findings: &mut Findings,
) -> Option<String> {
    let (field, content) = match (&issuer.certificate_authority, referenced) {
        (Some(_), Some(_)) => {
            let message = "certificateAuthority and certificateAuthorityFrom exclude each other";
            findings.invalid(path, message);
            return None;
        }
        (Some(inline), None) => ("certificateAuthority", inline.as_bytes()),
        (None, Some(Ok(content))) => ("certificateAuthorityFrom", content.as_slice()),
        (None, Some(Err(Missing(what)))) => {
            let path = format!("{path}.certificateAuthorityFrom");
            findings.missing(Reason::ReferenceNotFound, path, what);
            return None;
        }
        (None, None) => return None,
    };
    let path = format!("{path}.{field}");
    match pem::reencode_certificates(content) {
        Ok(bundle) if bundle.len() > MAX_CERTIFICATE_AUTHORITY_BYTES => {
            let message =
                format_args!("more than {MAX_CERTIFICATE_AUTHORITY_BYTES} bytes of certificates");
            if referenced.is_some() {
                findings.missing(Reason::SettingsTooLarge, path, message);
            } else {
                findings.add(Reason::SettingsTooLarge, path, message);
            }
            None
        }
        Ok(bundle) => Some(bundle),
        Err(error) if referenced.is_some() => {
            findings.unusable(path, error);
            None
        }
        Err(error) => {
            findings.invalid(path, error);
            None
        }
    }
}
