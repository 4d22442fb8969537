//! The `--oidc-*` flags, by kube-apiserver's rules.

use std::path::PathBuf;

use clap::Args;
use oidcproxy_crds::v1alpha1::{
    authentication::{
        ClaimMappings, ClaimValidationRule, NEVER_ALLOWED_GROUPS, PrefixedClaimOrExpression,
        RESERVED_PREFIXES,
    },
    settings::{DrainSettings, IssuerSettings, LoggingSettings, Settings},
};

use crate::authn::Algorithm;

/// kube-apiserver's OIDC flags. As there, a value may begin with a hyphen.
#[derive(Args, Clone, Debug)]
#[allow(clippy::struct_field_names, reason = "they are the flags' names")]
#[command(next_help_heading = "OIDC flags, as kube-apiserver's")]
pub(crate) struct OidcFlags {
    /// The issuer's https URL, the `iss` of its tokens
    #[arg(long, value_name = "URL", allow_hyphen_values = true)]
    oidc_issuer_url: Option<String>,
    /// The audience of the tokens
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    oidc_client_id: Option<String>,
    /// PEM certificates that the issuer's TLS must chain to, instead of the system's
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    oidc_ca_file: Option<String>,
    /// The claim that is the username [default: sub]
    #[arg(long, value_name = "CLAIM", allow_hyphen_values = true)]
    oidc_username_claim: Option<String>,
    /// Put before the username; "-" for nothing; unless set, the issuer's URL and "#", but nothing for the claim "email"
    #[arg(long, value_name = "PREFIX", allow_hyphen_values = true)]
    oidc_username_prefix: Option<String>,
    /// The claim that holds the groups
    #[arg(long, value_name = "CLAIM", allow_hyphen_values = true)]
    oidc_groups_claim: Option<String>,
    /// Put before each group
    #[arg(long, value_name = "PREFIX", allow_hyphen_values = true)]
    oidc_groups_prefix: Option<String>,
    /// Signature algorithms that are accepted, separated by commas; may be repeated [default: RS256]
    #[arg(long, value_name = "ALG", allow_hyphen_values = true)]
    oidc_signing_algs: Vec<String>,
    /// A claim that must have a value, as claim=value; may be repeated
    #[arg(long, value_name = "CLAIM=VALUE", allow_hyphen_values = true)]
    oidc_required_claim: Vec<String>,
}

/// Why flags cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FlagError {
    /// One without the other.
    #[error("with any --oidc flag, --oidc-issuer-url and --oidc-client-id must be given together")]
    Incomplete,
    /// There is nobody to trust.
    #[error("one of --oidc-proxy, --authentication-config and --oidc-issuer-url is needed")]
    NoSource,
    /// An algorithm that is not known.
    #[error(
        "--oidc-signing-algs: {0:?} is not one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and ES512"
    )]
    Algorithm(String),
    /// Not of the form claim=value.
    #[error("--oidc-required-claim: {0:?} is not of the form claim=value")]
    RequiredClaim(String),
    /// The CA file cannot be read.
    #[error("--oidc-ca-file: cannot read {path}: {cause}")]
    CertificateAuthority {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
    /// A group that can never be allowed.
    #[error("--allow-reserved-groups: {0:?} can never be allowed")]
    NeverAllowed(String),
}

/// What settings from files and flags hold beside the issuers.
pub(crate) fn base_settings(
    allowed_reserved_groups: Vec<String>,
    drain: DrainSettings,
    logging: LoggingSettings,
) -> Result<Settings, FlagError> {
    let never = |group: &&String| NEVER_ALLOWED_GROUPS.contains(&group.as_str());
    if let Some(group) = allowed_reserved_groups.iter().find(never) {
        return Err(FlagError::NeverAllowed(group.clone()));
    }
    let mut settings = Settings::default();
    settings.authentication.reserved_prefixes = RESERVED_PREFIXES.map(str::to_owned).to_vec();
    settings.authentication.allowed_reserved_groups = allowed_reserved_groups;
    // Whoever runs the proxy by hand grants it the keys by hand: the cluster decides.
    settings.impersonation.as_extra_keys = vec!["*".to_owned()];
    settings.drain = drain;
    settings.logging = logging;
    Ok(settings)
}

impl OidcFlags {
    /// Whether any of them was given.
    pub(crate) fn are_given(&self) -> bool {
        let Self {
            oidc_issuer_url,
            oidc_client_id,
            oidc_ca_file,
            oidc_username_claim,
            oidc_username_prefix,
            oidc_groups_claim,
            oidc_groups_prefix,
            oidc_signing_algs,
            oidc_required_claim,
        } = self;
        let texts = [
            oidc_issuer_url,
            oidc_client_id,
            oidc_ca_file,
            oidc_username_claim,
            oidc_username_prefix,
            oidc_groups_claim,
            oidc_groups_prefix,
        ];
        texts.into_iter().any(Option::is_some)
            || !(oidc_signing_algs.is_empty() && oidc_required_claim.is_empty())
    }

    /// The settings that they stand for.
    pub(crate) fn settings(&self, base: Settings) -> Result<Settings, FlagError> {
        let (Some(url), Some(client_id)) = (&self.oidc_issuer_url, &self.oidc_client_id) else {
            return Err(FlagError::Incomplete);
        };
        let signing_algorithms = self.signing_algorithms()?;
        let mut settings = base;
        let name = "oidc".to_owned();
        let file = self.oidc_ca_file.as_deref().filter(|path| !path.is_empty());
        let authority = match file.map(PathBuf::from) {
            None => None,
            Some(path) => {
                let pem = std::fs::read_to_string(&path).map_err(|cause| {
                    FlagError::CertificateAuthority {
                        path: path.clone(),
                        cause,
                    }
                })?;
                settings
                    .authentication
                    .certificate_authorities
                    .insert(name.clone(), pem);
                Some(name.clone())
            }
        };
        settings.authentication.issuers.push(IssuerSettings {
            name,
            url: url.clone(),
            certificate_authority: authority,
            audiences: vec![client_id.clone()],
            claim_mappings: ClaimMappings {
                username: mapped(self.username_claim(), &self.username_prefix(url)),
                groups: self.groups(),
                ..ClaimMappings::default()
            },
            claim_validation_rules: self.required_claims()?,
            signing_algorithms,
            ..IssuerSettings::default()
        });
        Ok(settings)
    }

    /// A value that is empty as a whole names none; if none is left, RS256 is accepted.
    fn signing_algorithms(&self) -> Result<Vec<String>, FlagError> {
        let given = self.oidc_signing_algs.iter();
        let mut names: Vec<_> = given
            .filter(|value| !value.is_empty())
            .flat_map(|value| value.split(','))
            .map(str::to_owned)
            .collect();
        if names.is_empty() {
            names.push("RS256".to_owned());
        }
        match names
            .iter()
            .find(|name| Algorithm::from_name(name).is_none())
        {
            Some(unknown) => Err(FlagError::Algorithm(unknown.clone())),
            None => Ok(names),
        }
    }

    fn username_claim(&self) -> &str {
        self.oidc_username_claim.as_deref().unwrap_or("sub")
    }

    fn groups(&self) -> Option<PrefixedClaimOrExpression> {
        let claim = self.oidc_groups_claim.as_deref()?;
        let prefix = self.oidc_groups_prefix.as_deref().unwrap_or_default();
        (!claim.is_empty()).then(|| mapped(claim, prefix))
    }

    fn username_prefix(&self, url: &str) -> String {
        match self.oidc_username_prefix.as_deref().unwrap_or_default() {
            "-" => String::new(),
            "" if self.username_claim() == "email" => String::new(),
            "" => format!("{url}#"),
            prefix => prefix.to_owned(),
        }
    }

    /// Later ones of the same claim win, as in kube-apiserver's map flag.
    fn required_claims(&self) -> Result<Vec<ClaimValidationRule>, FlagError> {
        let mut rules: Vec<ClaimValidationRule> = Vec::new();
        for pair in &self.oidc_required_claim {
            let (claim, value) = pair
                .split_once('=')
                .ok_or_else(|| FlagError::RequiredClaim(pair.clone()))?;
            let claim = Some(claim.trim().to_owned());
            rules.retain(|rule| rule.claim != claim);
            rules.push(ClaimValidationRule {
                claim,
                required_value: Some(value.trim().to_owned()),
                ..ClaimValidationRule::default()
            });
        }
        Ok(rules)
    }
}

fn mapped(claim: &str, prefix: &str) -> PrefixedClaimOrExpression {
    PrefixedClaimOrExpression {
        claim: Some(claim.to_owned()),
        prefix: Some(prefix.to_owned()),
        expression: None,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    #[command(args_override_self = true)]
    struct Command {
        #[command(flatten)]
        oidc: OidcFlags,
    }

    fn issuer(arguments: &[&str]) -> IssuerSettings {
        let base = [
            "proxy",
            "--oidc-issuer-url=https://id.example.com",
            "--oidc-client-id=k",
        ];
        let command = Command::parse_from(base.iter().chain(arguments));
        let settings = command.oidc.settings(Settings::default()).unwrap();
        settings.authentication.issuers.into_iter().next().unwrap()
    }

    #[test]
    fn the_username_prefix_has_kube_apiservers_default() {
        let prefix = |arguments: &[&str]| issuer(arguments).claim_mappings.username.prefix.unwrap();
        assert_eq!(prefix(&[]), "https://id.example.com#");
        assert_eq!(prefix(&["--oidc-username-claim=email"]), "");
        assert_eq!(prefix(&["--oidc-username-prefix=-"]), "");
        assert_eq!(prefix(&["--oidc-username-prefix=corp:"]), "corp:");
    }

    #[test]
    fn the_last_of_a_repeated_flag_counts() {
        let twice = issuer(&["--oidc-client-id=other", "--oidc-username-claim=a"]);
        assert_eq!(twice.audiences, ["other"]);
        let twice = issuer(&["--oidc-username-claim=a", "--oidc-username-claim=b"]);
        assert_eq!(twice.claim_mappings.username.claim.as_deref(), Some("b"));
    }

    #[test]
    fn a_value_may_begin_with_a_hyphen() {
        let issuer = issuer(&[
            "--oidc-username-prefix",
            "-",
            "--oidc-groups-claim",
            "groups",
            "--oidc-groups-prefix",
            "-x",
        ]);
        assert_eq!(issuer.claim_mappings.username.prefix.as_deref(), Some(""));
        let groups = issuer.claim_mappings.groups.unwrap();
        assert_eq!(groups.prefix.as_deref(), Some("-x"));
    }

    #[test]
    fn algorithms_are_separated_by_commas() {
        let algorithms = |arguments: &[&str]| issuer(arguments).signing_algorithms;
        assert_eq!(algorithms(&[]), ["RS256"]);
        assert_eq!(algorithms(&["--oidc-signing-algs="]), ["RS256"]);
        let both = [
            "--oidc-signing-algs=ES256,PS256",
            "--oidc-signing-algs=RS256",
        ];
        assert_eq!(algorithms(&both), ["ES256", "PS256", "RS256"]);
        let command = Command::parse_from([
            "proxy",
            "--oidc-issuer-url=https://id.example.com",
            "--oidc-client-id=k",
            "--oidc-signing-algs=RS256,",
        ]);
        assert!(matches!(
            command.oidc.settings(Settings::default()),
            Err(FlagError::Algorithm(name)) if name.is_empty()
        ));
    }

    #[test]
    fn an_empty_file_name_stands_for_the_systems_authorities() {
        assert_eq!(issuer(&["--oidc-ca-file="]).certificate_authority, None);
    }

    #[test]
    fn a_required_value_may_hold_commas() {
        let rules = issuer(&["--oidc-required-claim=a=b,c=d"]).claim_validation_rules;
        assert_eq!(rules.len(), 1);
        assert_eq!(rules[0].required_value.as_deref(), Some("b,c=d"));
    }

    #[test]
    fn required_claims_are_split_at_the_first_sign() {
        let rules = issuer(&["--oidc-required-claim=a = b=c", "--oidc-required-claim=a=d"]);
        let [rule] = rules.claim_validation_rules.as_slice() else {
            panic!("one rule a claim");
        };
        assert_eq!(rule.claim.as_deref(), Some("a"));
        assert_eq!(rule.required_value.as_deref(), Some("d"));
    }
}
