//! See [`crate::internals`].

use std::time::{Duration, UNIX_EPOCH};

use oidcproxy_crds::v1alpha1::settings::IssuerSettings;
use serde_json::json;

use super::{claims, key::KeySet, mapping::IdentityMapping, token};
use crate::{
    identity::IdentityHeaders,
    internals::{HeaderLine, lines},
};

/// A token whose signature nobody has looked at.
#[derive(Debug)]
pub struct ReadToken {
    /// Whose it says it is, by the first look that decides whose rules apply.
    pub issuer: String,
    /// The same by the second look, which refuses what is ambiguous.
    pub checked_issuer: Option<serde_json::Value>,
    /// The identities as headers, by each mapping that makes one of the claims.
    pub identities: Vec<Vec<HeaderLine>>,
}

/// An issuer's mappings, compiled.
#[derive(Debug)]
pub struct Mapping(IdentityMapping);

impl Mapping {
    /// As `claimMappings` has them.
    pub fn new(claim_mappings: &serde_json::Value) -> Result<Self, String> {
        let settings: IssuerSettings = serde_json::from_value(json!({
            "name": "corp", "url": "https://id.example.com", "audiences": ["kubernetes"],
            "claimMappings": claim_mappings,
        }))
        .map_err(|error| error.to_string())?;
        IdentityMapping::of(&settings)
            .map(Self)
            .map_err(|errors| format!("{errors:?}"))
    }

    /// The headers of whom the claims speak of.
    pub fn headers(
        &self,
        claims: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<Vec<HeaderLine>, String> {
        let mut identity = self.0.identity(claims).map_err(|error| error.to_string())?;
        identity.add_automatic_groups();
        let headers = IdentityHeaders::encode(&identity).map_err(|error| error.to_string())?;
        Ok(lines(&headers))
    }
}

/// Reads a token as far as that goes without keys.
pub fn read_token(token: &str, mappings: &[Mapping]) -> Result<ReadToken, String> {
    let issuer = token::claimed_issuer(token).ok_or("unclaimed")?;
    let parsed = token::UnverifiedToken::parse(token).map_err(|error| error.to_string())?;
    let now = UNIX_EPOCH + Duration::from_hours(500_000);
    let audiences = ["kubernetes".to_owned()];
    let checked = claims::check(&parsed.claims, &audiences, now);
    let identities = match checked {
        Err(_) => Vec::new(),
        Ok(_) => mappings
            .iter()
            .filter_map(|mapping| mapping.headers(&parsed.claims).ok())
            .collect(),
    };
    Ok(ReadToken {
        issuer,
        checked_issuer: claims::registered(&parsed.claims, "iss").cloned(),
        identities,
    })
}

/// The keys of an issuer.
#[derive(Debug)]
pub struct Verifier(KeySet);

impl Verifier {
    /// From a JWKS.
    pub fn new(key_set: &str) -> Result<Self, String> {
        let keys = KeySet::parse(key_set.as_bytes()).map_err(|error| error.to_string())?;
        Ok(Self(keys))
    }

    /// Whether one of them verifies a token.
    pub fn verifies(&self, token: &str) -> bool {
        token::UnverifiedToken::parse(token).is_ok_and(|token| {
            let key_id = token.key_id.as_deref();
            self.0
                .verify(key_id, token.algorithm, token.message, &token.signature)
                .is_some()
        })
    }
}
