//! kube-apiserver's `AuthenticationConfiguration` file, read strictly: what it does not know is
//! an error, as it is there.

use oidcproxy_crds::v1alpha1::{
    authentication::{Anonymous, ClaimMappings, ClaimValidationRule, Issuer, UserValidationRule},
    settings::{AuthenticationSettings, IssuerSettings},
};
use serde::Deserialize;
use serde_json::Value;

const API_VERSIONS: [&str; 3] = [
    "apiserver.config.k8s.io/v1",
    "apiserver.config.k8s.io/v1beta1",
    "apiserver.config.k8s.io/v1alpha1",
];

/// Why an `AuthenticationConfiguration` is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthenticationConfigError {
    /// Not YAML, or not of the expected shape.
    #[error("{0}")]
    Decode(String),
    /// Of another kind.
    #[error("apiVersion and kind must be apiserver.config.k8s.io/v1 AuthenticationConfiguration")]
    Kind,
    /// A field that is not known.
    #[error("unknown field {0:?}")]
    UnknownField(String),
    /// A field that this proxy does not support so far.
    #[error("{0} is not supported by this version")]
    NotImplemented(&'static str),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuthenticationConfiguration {
    api_version: String,
    kind: String,
    #[serde(default)]
    jwt: Vec<JwtEntry>,
    #[serde(default)]
    anonymous: Option<Anonymous>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JwtEntry {
    issuer: Issuer,
    #[serde(default)]
    claim_validation_rules: Vec<ClaimValidationRule>,
    claim_mappings: ClaimMappings,
    #[serde(default)]
    user_validation_rules: Vec<UserValidationRule>,
}

/// Reads a file's text into the part of the settings that it holds.
pub(crate) fn parse(text: &str) -> Result<AuthenticationSettings, AuthenticationConfigError> {
    use AuthenticationConfigError as Error;
    let document: Value = serde_saphyr::from_str(text)
        .map_err(|error| Error::Decode(one_line(&error.to_string())))?;
    let mut unknown = None;
    let configuration: AuthenticationConfiguration = serde_ignored::deserialize(document, |path| {
        unknown.get_or_insert_with(|| path.to_string());
    })
    .map_err(|error| Error::Decode(one_line(&error.to_string())))?;
    if let Some(field) = unknown {
        return Err(Error::UnknownField(field));
    }
    let known_version = API_VERSIONS.contains(&configuration.api_version.as_str());
    if !known_version || configuration.kind != "AuthenticationConfiguration" {
        return Err(Error::Kind);
    }
    if configuration
        .anonymous
        .is_some_and(|anonymous| anonymous.enabled)
    {
        return Err(Error::NotImplemented("anonymous.enabled"));
    }
    let mut settings = AuthenticationSettings::default();
    for (index, entry) in configuration.jwt.into_iter().enumerate() {
        refuse_unimplemented(&entry)?;
        let name = format!("jwt-{index}");
        let authority = entry
            .issuer
            .certificate_authority
            .filter(|pem| !pem.is_empty());
        let authority = authority.map(|pem| {
            settings.certificate_authorities.insert(name.clone(), pem);
            name.clone()
        });
        settings.issuers.push(IssuerSettings {
            name,
            url: entry.issuer.url,
            discovery_url: entry.issuer.discovery_url.filter(|url| !url.is_empty()),
            certificate_authority: authority,
            audiences: entry.issuer.audiences,
            audience_match_policy: entry.issuer.audience_match_policy,
            claim_validation_rules: entry.claim_validation_rules,
            claim_mappings: entry.claim_mappings,
            user_validation_rules: Vec::new(),
            signing_algorithms: Vec::new(),
        });
    }
    Ok(settings)
}

fn refuse_unimplemented(entry: &JwtEntry) -> Result<(), AuthenticationConfigError> {
    use AuthenticationConfigError as Error;
    let mappings = &entry.claim_mappings;
    if entry.issuer.certificate_authority_from.is_some() {
        return Err(Error::UnknownField(
            "jwt.issuer.certificateAuthorityFrom".to_owned(),
        ));
    }
    if entry
        .issuer
        .egress_selector_type
        .as_ref()
        .is_some_and(|kind| !kind.is_empty())
    {
        return Err(Error::NotImplemented("jwt[].issuer.egressSelectorType"));
    }
    if !entry.user_validation_rules.is_empty() {
        return Err(Error::NotImplemented("jwt[].userValidationRules"));
    }
    let has_expression = mappings.username.expression.is_some()
        || mappings
            .groups
            .as_ref()
            .is_some_and(|groups| groups.expression.is_some())
        || mappings
            .uid
            .as_ref()
            .is_some_and(|uid| uid.expression.is_some())
        || !mappings.extra.is_empty()
        || entry
            .claim_validation_rules
            .iter()
            .any(|rule| rule.expression.is_some());
    if has_expression {
        return Err(Error::NotImplemented("a CEL expression"));
    }
    Ok(())
}

/// A parser's message may draw the place in the text; a log line has one line.
fn one_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer:
    url: https://id.example.com
    audiences: [kubernetes]
  claimMappings:
    username: {claim: sub, prefix: ''}
";

    #[test]
    fn a_plain_file_is_read() {
        let settings = parse(GOOD).unwrap();
        assert_eq!(settings.issuers[0].url, "https://id.example.com");
        assert_eq!(settings.issuers[0].audiences, ["kubernetes"]);
    }

    #[test]
    fn it_is_read_strictly() {
        for (from, to) in [
            ("jwt:", "jwts:"),
            ("audiences:", "Audiences:"),
            ("claim: sub,", "claim: sub, claim: sub,"),
            (
                "kind: AuthenticationConfiguration",
                "kind: AuthenticationConfig",
            ),
            ("/v1\n", "/v2\n"),
            ("    url:", "    certificateAuthorityFrom: {}\n    url:"),
        ] {
            assert!(parse(&GOOD.replace(from, to)).is_err(), "{to}");
        }
        assert!(parse("").is_err());
    }

    #[test]
    fn what_is_not_supported_is_refused() {
        let expression = GOOD.replace("{claim: sub, prefix: ''}", "{expression: claims.sub}");
        assert!(matches!(
            parse(&expression),
            Err(AuthenticationConfigError::NotImplemented(_))
        ));
        let anonymous = format!("{GOOD}anonymous: {{enabled: true}}\n");
        assert!(matches!(
            parse(&anonymous),
            Err(AuthenticationConfigError::NotImplemented(_))
        ));
    }
}
