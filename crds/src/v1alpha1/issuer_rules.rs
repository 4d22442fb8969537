//! What kube-apiserver demands of the `jwt` entries of an `AuthenticationConfiguration`, as pure
//! functions over [`IssuerSettings`]: the operator asks them before it publishes settings, the
//! proxy before it uses a file or flags.
//!
//! Expressions are checked for their place only; whether they compile is for whoever runs them.

use std::collections::{BTreeMap, BTreeSet};

use oidcproxy_expression::Url as GoUrl;
use url::Url;

use super::{
    authentication::{Anonymous, ClaimMappings, ClaimOrExpression, PrefixedClaimOrExpression},
    settings::IssuerSettings,
};
use crate::dns_name;

/// Domains whose extra keys belong to Kubernetes.
const KUBERNETES_DOMAINS: [&str; 2] = ["k8s.io", "kubernetes.io"];

/// One thing that is wrong, and where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FieldError {
    /// The field, from `jwt[..]` on.
    pub path: String,
    /// What is wrong with it; never quotes the field.
    pub message: String,
}

impl std::fmt::Display for FieldError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.path, self.message)
    }
}

/// As kube-apiserver has it.
const MAX_ISSUERS: usize = 64;

/// Everything that is wrong with these issuers; empty when they can be used.
pub fn check_issuers(issuers: &[IssuerSettings]) -> Vec<FieldError> {
    let mut found = Findings::default();
    let (mut urls, mut discovery_urls) = (BTreeSet::new(), BTreeSet::new());
    if issuers.len() > MAX_ISSUERS {
        found.add(
            "jwt".to_owned(),
            format!("must have at most {MAX_ISSUERS} entries"),
        );
    }
    for (index, issuer) in issuers.iter().enumerate() {
        let path = format!("jwt[{index}]");
        check_urls(issuer, &format!("{path}.issuer"), &mut found);
        if !urls.insert(issuer.url.as_str()) {
            found.add(format!("{path}.issuer.url"), "must be unique");
        }
        if let Some(discovery) = &issuer.discovery_url
            && !discovery_urls.insert(discovery.as_str())
        {
            found.add(format!("{path}.issuer.discoveryURL"), "must be unique");
        }
        check_audiences(issuer, &format!("{path}.issuer"), &mut found);
        check_claim_rules(issuer, &path, &mut found);
        check_user_rules(issuer, &path, &mut found);
        check_mappings(
            &issuer.claim_mappings,
            &format!("{path}.claimMappings"),
            &mut found,
        );
    }
    found.0
}

/// Entries that name an issuer which they must not: a service account's token would become a user.
pub fn check_disallowed(issuers: &[IssuerSettings], disallowed: &[String]) -> Vec<FieldError> {
    let mut found = Findings::default();
    for (index, issuer) in issuers.iter().enumerate() {
        if disallowed.contains(&issuer.url) {
            let path = format!("jwt[{index}].issuer.url");
            found.add(
                path,
                "must not be an issuer of the cluster's service account tokens",
            );
        }
    }
    found.0
}

/// What is wrong with the rules for requests without a credential.
pub fn check_anonymous(anonymous: &Anonymous) -> Vec<FieldError> {
    let mut found = Findings::default();
    if !anonymous.enabled && !anonymous.conditions.is_empty() {
        let message = "must not be given while enabled is false";
        found.add("anonymous.conditions".to_owned(), message);
    }
    found.0
}

/// Mappings that can be used and that hardly anybody wants: names which may mean somebody else.
pub fn doubtful_mappings(issuers: &[IssuerSettings]) -> Vec<FieldError> {
    let mut found = Findings::default();
    let mut prefixes: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, issuer) in issuers.iter().enumerate() {
        let mappings = &issuer.claim_mappings;
        let path = format!("jwt[{index}].claimMappings");
        if let Some(groups) = &mappings.groups
            && is_set(groups.claim.as_deref())
            && groups.prefix.as_deref().unwrap_or_default().is_empty()
        {
            let message = "is empty: groups of the issuer and of the cluster share their names";
            found.add(format!("{path}.groups.prefix"), message);
        }
        if !is_set(mappings.username.claim.as_deref()) {
            continue;
        }
        let prefix = mappings.username.prefix.as_deref().unwrap_or_default();
        if let Some(first) = prefixes.get(prefix) {
            let message = format!("is that of jwt[{first}]: users of both can have the same name");
            found.add(format!("{path}.username.prefix"), message);
        } else {
            prefixes.insert(prefix, index);
        }
    }
    found.0
}

/// The prefixes of usernames and groups that begin with a reserved one: nobody could ever log in
/// with them.
pub fn check_reserved_prefixes(issuers: &[IssuerSettings], reserved: &[String]) -> Vec<FieldError> {
    let mut found = Findings::default();
    for (index, issuer) in issuers.iter().enumerate() {
        let mappings = &issuer.claim_mappings;
        let prefixes = [
            ("username", mappings.username.prefix.as_deref()),
            (
                "groups",
                mappings
                    .groups
                    .as_ref()
                    .and_then(|groups| groups.prefix.as_deref()),
            ),
        ];
        for (field, prefix) in prefixes {
            if prefix.is_some_and(|value| {
                reserved
                    .iter()
                    .any(|taken| value.starts_with(taken.as_str()))
            }) {
                found.add(
                    format!("jwt[{index}].claimMappings.{field}.prefix"),
                    "must not start with a reserved prefix",
                );
            }
        }
    }
    found.0
}

/// Why this is not a URL that an issuer may have, or nothing.
pub fn check_issuer_url(value: &str) -> Option<&'static str> {
    if value.is_empty() {
        return Some("is required");
    }
    // Go takes blanks and backslashes for a part of the path. Whoever fetches from there must not
    // read another address.
    let odd = |c: char| c.is_whitespace() || c == '\\';
    let Some(url) = GoUrl::parse(value).filter(|_| !value.contains(odd)) else {
        return Some("must be a URL");
    };
    if url.scheme() != "https" {
        return Some("must have the scheme https");
    }
    if url.host().is_empty() {
        return Some("must have a host");
    }
    if url.has_userinfo() {
        return Some("must not have a username or password");
    }
    if !url.query().is_empty() {
        return Some("must not have a query");
    }
    if url.has_fragment() {
        return Some("must not have a fragment");
    }
    // The documents are fetched with this one.
    Url::parse(value).is_err().then_some("must be a URL")
}

/// Why this is not a key that an issuer's extra may have, or nothing.
pub fn check_extra_key(key: &str) -> Option<&'static str> {
    if let Some(wrong) = check_prefixed_key(key) {
        return Some(wrong);
    }
    key.split_once('/')
        .is_some_and(|(domain, _)| is_kubernetes_domain(domain))
        .then_some("must not be in a domain of Kubernetes (k8s.io, kubernetes.io)")
}

/// What is wrong with a key that has to be a path with a domain before it, in lower case.
pub fn check_prefixed_key(key: &str) -> Option<&'static str> {
    let Some((domain, path)) = key.split_once('/') else {
        return Some("must be a domain-prefixed path, as example.org/tenant");
    };
    if !dns_name::is_subdomain(domain) {
        return Some("must start with a lower-case DNS domain");
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "/-._~%!$&'()*+,;=:".contains(c);
    if path.is_empty() || !path.chars().all(allowed) {
        return Some("must have a path of URL characters after its domain");
    }
    if key.chars().any(|c| c.is_ascii_uppercase()) {
        return Some("must be lower case");
    }
    None
}

/// Whether this domain belongs to Kubernetes.
pub fn is_kubernetes_domain(domain: &str) -> bool {
    KUBERNETES_DOMAINS.iter().any(|reserved| {
        domain
            .strip_suffix(reserved)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

#[derive(Default)]
struct Findings(Vec<FieldError>);

impl Findings {
    fn add(&mut self, path: String, message: impl Into<String>) {
        self.0.push(FieldError {
            path,
            message: message.into(),
        });
    }
}

fn check_urls(issuer: &IssuerSettings, path: &str, found: &mut Findings) {
    if let Some(wrong) = check_issuer_url(&issuer.url) {
        found.add(format!("{path}.url"), wrong);
    }
    let Some(discovery) = &issuer.discovery_url else {
        return;
    };
    if let Some(wrong) = check_issuer_url(discovery) {
        found.add(format!("{path}.discoveryURL"), wrong);
    }
    if discovery.trim_end_matches('/') == issuer.url.trim_end_matches('/') {
        found.add(format!("{path}.discoveryURL"), "must differ from url");
    }
}

fn check_audiences(issuer: &IssuerSettings, path: &str, found: &mut Findings) {
    let path = format!("{path}.audiences");
    let mut seen = BTreeSet::new();
    if issuer.audiences.is_empty() {
        found.add(path.clone(), "at least one audience is required");
    }
    for (index, audience) in issuer.audiences.iter().enumerate() {
        if audience.is_empty() {
            found.add(format!("{path}[{index}]"), "must not be empty");
        } else if !seen.insert(audience) {
            found.add(format!("{path}[{index}]"), "must be unique");
        }
    }
    if issuer.audiences.len() > 1 && issuer.audience_match_policy.is_none() {
        found.add(
            path.replace(".audiences", ".audienceMatchPolicy"),
            "must be MatchAny when there are several audiences",
        );
    }
}

fn check_claim_rules(issuer: &IssuerSettings, path: &str, found: &mut Findings) {
    let (mut claims, mut expressions) = (BTreeSet::new(), BTreeSet::new());
    for (index, rule) in issuer.claim_validation_rules.iter().enumerate() {
        let path = format!("{path}.claimValidationRules[{index}]");
        let claim = rule.claim.as_deref().unwrap_or_default();
        let expression = rule.expression.as_deref().unwrap_or_default();
        match (claim.is_empty(), expression.is_empty()) {
            (true, true) | (false, false) => {
                found.add(path, "exactly one of claim and expression is needed");
            }
            (false, true) => {
                if is_set(rule.message.as_deref()) {
                    found.add(format!("{path}.message"), "goes with expression only");
                }
                if !claims.insert(claim) {
                    found.add(format!("{path}.claim"), "must be unique");
                }
            }
            (true, false) => {
                if is_set(rule.required_value.as_deref()) {
                    found.add(format!("{path}.requiredValue"), "goes with claim only");
                }
                if !expressions.insert(expression) {
                    found.add(format!("{path}.expression"), "must be unique");
                }
            }
        }
    }
}

fn check_user_rules(issuer: &IssuerSettings, path: &str, found: &mut Findings) {
    let mut expressions = BTreeSet::new();
    for (index, rule) in issuer.user_validation_rules.iter().enumerate() {
        let path = format!("{path}.userValidationRules[{index}].expression");
        if rule.expression.is_empty() {
            found.add(path, "is required");
        } else if !expressions.insert(&rule.expression) {
            found.add(path, "must be unique");
        }
    }
}

fn check_mappings(mappings: &ClaimMappings, path: &str, found: &mut Findings) {
    let username = &mappings.username;
    if !is_set(username.claim.as_deref()) && !is_set(username.expression.as_deref()) {
        found.add(
            format!("{path}.username"),
            "claim or expression is required",
        );
    }
    check_prefixed(username, &format!("{path}.username"), found);
    if let Some(groups) = &mappings.groups {
        check_prefixed(groups, &format!("{path}.groups"), found);
    }
    if let Some(ClaimOrExpression { claim, expression }) = &mappings.uid
        && is_set(claim.as_deref())
        && is_set(expression.as_deref())
    {
        found.add(
            format!("{path}.uid"),
            "claim and expression exclude each other",
        );
    }
    let mut keys = BTreeSet::new();
    for (index, extra) in mappings.extra.iter().enumerate() {
        let path = format!("{path}.extra[{index}]");
        if let Some(wrong) = check_extra_key(&extra.key) {
            found.add(format!("{path}.key"), wrong);
        }
        if !keys.insert(&extra.key) {
            found.add(format!("{path}.key"), "must be unique");
        }
        if extra.value_expression.is_empty() {
            found.add(format!("{path}.valueExpression"), "is required");
        }
    }
}

fn check_prefixed(mapping: &PrefixedClaimOrExpression, path: &str, found: &mut Findings) {
    match (
        is_set(mapping.claim.as_deref()),
        is_set(mapping.expression.as_deref()),
    ) {
        (true, true) => {
            found.add(path.to_owned(), "claim and expression exclude each other");
        }
        (true, false) if mapping.prefix.is_none() => found.add(
            format!("{path}.prefix"),
            "is required with claim; it may be empty",
        ),
        (false, true) if mapping.prefix.is_some() => {
            found.add(format!("{path}.prefix"), "goes with claim only");
        }
        _ => {}
    }
}

fn is_set(value: Option<&str>) -> bool {
    value.is_some_and(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
