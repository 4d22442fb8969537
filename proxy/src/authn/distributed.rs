//! Distributed claims (`OpenID` Connect Core 1.0, section 5.6.2), as far as kube-apiserver knows
//! them: for the groups claim only.
//!
//! kube-apiserver believes whatever issuer the fetched token names. Here it must be the issuer of
//! the first token: it says where the claims are, so it can sign them, too.

use std::collections::BTreeMap;

use http::HeaderValue;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{TokenError, fetch::DocumentClient, key_keeper::is_fetchable};

const NAMES: &str = "_claim_names";
const SOURCES: &str = "_claim_sources";
/// As kube-apiserver has it: everything from OK to IM Used.
const ANSWERS: std::ops::RangeInclusive<u16> = 200..=226;

/// Where a claim is to be had.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Source {
    #[serde(default)]
    endpoint: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
}

/// Where the groups of this token are, if not in it. Every name must have a source, whichever
/// claim it is for.
pub(super) fn source_of(
    claims: &Map<String, Value>,
    groups_claim: Option<&str>,
) -> Result<Option<Source>, TokenError> {
    let names: BTreeMap<String, Option<String>> = member(claims, NAMES)?;
    let sources: BTreeMap<String, Option<Source>> = member(claims, SOURCES)?;
    let mut found = None;
    for (claim, name) in names {
        let name = name.unwrap_or_default();
        if name.is_empty() {
            return Err(refused("a claim has a source without a name"));
        }
        let source = sources
            .get(&name)
            .ok_or_else(|| refused("a source does not exist"))?;
        if Some(claim.as_str()) == groups_claim {
            found.clone_from(source);
        }
    }
    let inline = groups_claim.is_some_and(|claim| claims.contains_key(claim));
    let has_endpoint =
        |source: &Source| source.endpoint.as_ref().is_some_and(|url| !url.is_empty());
    Ok(found.filter(|source| !inline && has_endpoint(source)))
}

/// Fetches the token that holds the claims; nothing in it is verified so far.
pub(super) async fn fetch(client: &DocumentClient, source: &Source) -> Result<String, TokenError> {
    let endpoint = source.endpoint.as_deref().unwrap_or_default();
    if !is_fetchable(endpoint) {
        return Err(refused("the endpoint is not an https URL"));
    }
    let token = source.access_token.as_deref().unwrap_or_default();
    let authorization = if token.is_empty() {
        None
    } else {
        let value = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| refused("the access token does not fit into a header"))?;
        Some(value)
    };
    let body = client
        .get_with(endpoint, "the claim source", authorization, ANSWERS)
        .await
        .map_err(|error| TokenError::DistributedClaims(error.to_string()))?;
    String::from_utf8(body.to_vec()).map_err(|_| refused("the answer is not a token"))
}

fn member<T: Default + for<'de> Deserialize<'de>>(
    claims: &Map<String, Value>,
    name: &'static str,
) -> Result<T, TokenError> {
    match super::claims::registered(claims, name) {
        None | Some(Value::Null) => Ok(T::default()),
        Some(value) => T::deserialize(value).map_err(|_| TokenError::ClaimType(name)),
    }
}

pub(super) fn refused(reason: &str) -> TokenError {
    TokenError::DistributedClaims(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn endpoint(claims: &Value) -> Result<Option<String>, TokenError> {
        let found = source_of(claims.as_object().unwrap(), Some("groups"))?;
        Ok(found.and_then(|source| source.endpoint))
    }

    fn claims(names: &Value, sources: &Value) -> Value {
        json!({"_claim_names": names, "_claim_sources": sources})
    }

    #[test]
    fn only_groups_that_are_not_there_are_looked_for() {
        let source = json!({"s": {"endpoint": "https://id.example.com/g"}});
        let mut there = claims(&json!({"groups": "s"}), &source);
        assert!(endpoint(&there).unwrap().is_some());
        there["groups"] = Value::Null;
        assert_eq!(endpoint(&there).unwrap(), None);
        let other = claims(&json!({"other": "s"}), &source);
        assert_eq!(endpoint(&other).unwrap(), None);
        let nothing = claims(&json!(null), &json!(null));
        assert_eq!(endpoint(&nothing).unwrap(), None);
        let aggregated = claims(&json!({"groups": "s"}), &json!({"s": {"JWT": "a.b.c"}}));
        assert_eq!(endpoint(&aggregated).unwrap(), None);
    }

    #[test]
    fn every_name_needs_its_source() {
        for (names, sources) in [
            (json!({"other": "s"}), json!({})),
            (json!({"other": ""}), json!({"": {}})),
            (json!({"other": null}), json!({})),
            (json!({"other": 1}), json!({})),
            (json!([]), json!({})),
            (json!({"other": "s"}), json!({"s": {"endpoint": 1}})),
        ] {
            assert!(endpoint(&claims(&names, &sources)).is_err(), "{names}");
        }
    }
}
