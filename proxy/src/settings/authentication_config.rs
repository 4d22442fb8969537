//! kube-apiserver's `AuthenticationConfiguration` file, read strictly: what it does not know is
//! an error, as it is there.

mod shape;
mod text;

use oidcproxy_crds::v1alpha1::{
    authentication::{
        Anonymous, AudienceMatchPolicy, ClaimMappings, ClaimValidationRule, UserValidationRule,
    },
    issuer_rules::check_anonymous,
    settings::{AuthenticationSettings, IssuerSettings},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::first_line::first_line;

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
    /// A field with a value that it must not have.
    #[error("{0}")]
    Invalid(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuthenticationConfiguration {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    jwt: Vec<JwtEntry>,
    #[serde(default)]
    anonymous: Option<Anonymous>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JwtEntry {
    #[serde(default)]
    issuer: Issuer,
    #[serde(default)]
    claim_validation_rules: Vec<ClaimValidationRule>,
    #[serde(default)]
    claim_mappings: ClaimMappings,
    #[serde(default)]
    user_validation_rules: Vec<UserValidationRule>,
}

/// Upstream's; the one of an `OidcProxy` can refer to objects, too.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Issuer {
    #[serde(default)]
    url: String,
    #[serde(default, rename = "discoveryURL")]
    discovery_url: String,
    #[serde(default)]
    certificate_authority: String,
    #[serde(default)]
    audiences: Vec<String>,
    #[serde(default)]
    audience_match_policy: String,
    #[serde(default)]
    egress_selector_type: String,
}

/// Reads a file's text into the part of the settings that it holds.
pub(crate) fn parse(text: &str) -> Result<AuthenticationSettings, AuthenticationConfigError> {
    use AuthenticationConfigError as Error;
    let mut document = text::read(text)?;
    let unknown = shape::fit(&mut document)?;
    fill_required(&mut document);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(document, &mut track);
    let decoded = AuthenticationConfiguration::deserialize(tracked);
    let configuration = decoded.map_err(|error| {
        let (path, error) = (track.path(), first_line(&error));
        Error::Decode(format!("{path}: {error}"))
    })?;
    let known_version = API_VERSIONS.contains(&configuration.api_version.as_str());
    if !known_version || configuration.kind != "AuthenticationConfiguration" {
        return Err(Error::Kind);
    }
    if let Some(field) = unknown {
        return Err(Error::UnknownField(field));
    }
    let anonymous = configuration.anonymous.unwrap_or_default();
    if let Some(wrong) = check_anonymous(&anonymous).first() {
        return Err(Error::Invalid(wrong.to_string()));
    }
    let mut settings = AuthenticationSettings {
        anonymous: Some(anonymous).filter(|anonymous| anonymous.enabled),
        ..AuthenticationSettings::default()
    };
    for (index, entry) in configuration.jwt.into_iter().enumerate() {
        let name = format!("jwt-{index}");
        if !entry.issuer.certificate_authority.is_empty() {
            let pem = entry.issuer.certificate_authority.clone();
            settings.certificate_authorities.insert(name.clone(), pem);
        }
        settings.issuers.push(issuer_settings(name, entry, index)?);
    }
    Ok(settings)
}

fn issuer_settings(
    name: String,
    entry: JwtEntry,
    index: usize,
) -> Result<IssuerSettings, AuthenticationConfigError> {
    let wrong = |field: &str, reason: &str| {
        AuthenticationConfigError::Invalid(format!("jwt[{index}].issuer.{field}: {reason}"))
    };
    let issuer = entry.issuer;
    let audience_match_policy = match issuer.audience_match_policy.as_str() {
        "" => None,
        "MatchAny" => Some(AudienceMatchPolicy::MatchAny),
        _ => return Err(wrong("audienceMatchPolicy", "must be MatchAny or empty")),
    };
    // There are no egress selectors here; kube-apiserver without an EgressSelectorConfiguration
    // refuses the field as well.
    if !issuer.egress_selector_type.is_empty() {
        return Err(wrong(
            "egressSelectorType",
            "there is no egress selector of this name",
        ));
    }
    Ok(IssuerSettings {
        certificate_authority: Some(name.clone())
            .filter(|_| !issuer.certificate_authority.is_empty()),
        name,
        url: issuer.url,
        discovery_url: Some(issuer.discovery_url).filter(|url| !url.is_empty()),
        audiences: issuer.audiences,
        audience_match_policy,
        claim_validation_rules: entry.claim_validation_rules,
        claim_mappings: entry.claim_mappings,
        user_validation_rules: entry.user_validation_rules,
        signing_algorithms: Vec::new(),
    })
}

/// Go takes a field that is missing for an empty one, and leaves it to the rules to say where it is.
fn fill_required(document: &mut Value) {
    let entries = list(document.get_mut("jwt"));
    for entry in entries {
        for rule in list(entry.get_mut("userValidationRules")) {
            fill(rule, "expression", &json!(""));
        }
        if let Some(mappings) = entry.get_mut("claimMappings") {
            fill(mappings, "username", &json!({}));
            for extra in list(mappings.get_mut("extra")) {
                fill(extra, "key", &json!(""));
                fill(extra, "valueExpression", &json!(""));
            }
        }
    }
    let anonymous = document.get_mut("anonymous");
    for condition in list(anonymous.and_then(|anonymous| anonymous.get_mut("conditions"))) {
        fill(condition, "path", &json!(""));
    }
}

fn list(value: Option<&mut Value>) -> impl Iterator<Item = &mut Value> {
    value.and_then(Value::as_array_mut).into_iter().flatten()
}

fn fill(object: &mut Value, field: &str, empty: &Value) {
    if let Value::Object(members) = object {
        members.entry(field).or_insert_with(|| empty.clone());
    }
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
            ("jwt:", "nothing: null\njwt:"),
            ("claim: sub,", "claim: sub, suffix: null,"),
            ("{claim: sub, prefix: ''}", "[sub, '']"),
            ("    url:", "    certificateAuthorityFrom: {}\n    url:"),
        ] {
            assert!(parse(&GOOD.replace(from, to)).is_err(), "{to}");
        }
        assert!(parse("").is_err());
    }

    #[test]
    fn what_is_wrong_has_its_path() {
        let wrong = |from: &str, to: &str| {
            let text = GOOD.replace(from, to);
            assert_ne!(text, GOOD, "{from}");
            parse(&text).unwrap_err().to_string()
        };
        let unknown = wrong("prefix: ''}", "prefix: '', suffix: ''}");
        assert_eq!(
            unknown,
            "unknown field \"jwt[0].claimMappings.username.suffix\""
        );
        for (from, to, path) in [
            ("[kubernetes]", "[[]]", "jwt[0].issuer.audiences[0]: "),
            ("[kubernetes]", "kubernetes", "jwt[0].issuer.audiences: "),
            (
                "claim: sub",
                "claim: 7",
                "jwt[0].claimMappings.username.claim: ",
            ),
            (
                "{claim: sub, prefix: ''}",
                "sub",
                "jwt[0].claimMappings.username: ",
            ),
        ] {
            let message = wrong(from, to);
            assert!(message.starts_with(path), "{message}");
        }
    }

    #[test]
    fn what_is_missing_is_for_the_rules() {
        let mut text = GOOD.replace(
            "    username: {claim: sub, prefix: ''}\n",
            "    extra: [{}]\n",
        );
        text +=
            "  userValidationRules: [{message: x}]\nanonymous: {enabled: true, conditions: [{}]}\n";
        let issuers = parse(&text).unwrap().issuers;
        let found = oidcproxy_crds::v1alpha1::issuer_rules::check_issuers(&issuers);
        let paths: Vec<_> = found.iter().map(|error| error.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "jwt[0].userValidationRules[0].expression",
                "jwt[0].claimMappings.username",
                "jwt[0].claimMappings.extra[0].key",
                "jwt[0].claimMappings.extra[0].valueExpression",
            ]
        );
    }

    #[test]
    fn anonymous_requests_are_a_matter_of_the_file() {
        assert!(parse(GOOD).unwrap().anonymous.is_none());
        let with = |text: &str| parse(&format!("{GOOD}anonymous: {text}\n"));
        assert!(with("{enabled: false}").unwrap().anonymous.is_none());
        assert!(with("{enabled: true}").unwrap().anonymous.is_some());
        let wrong = with("{enabled: false, conditions: [{path: /healthz}]}").unwrap_err();
        assert!(
            wrong.to_string().starts_with("anonymous.conditions: "),
            "{wrong}"
        );
    }

    #[test]
    fn empty_and_null_are_as_upstream_has_them() {
        let with = |text: &str| parse(&GOOD.replace("    audiences:", text));
        assert!(with("    audienceMatchPolicy: ''\n    audiences:").is_ok());
        assert!(with("    discoveryURL: null\n    audiences:").is_ok());
        assert!(with("    audienceMatchPolicy: All\n    audiences:").is_err());
        assert!(with("    egressSelectorType: cluster\n    audiences:").is_err());
        let empty = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt: null\n";
        assert!(parse(empty).unwrap().issuers.is_empty());
    }
}
