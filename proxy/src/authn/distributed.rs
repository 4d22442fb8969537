//! Distributed claims (`OpenID` Connect Core 1.0, section 5.6.2), as far as kube-apiserver knows
//! them: for the groups claim only.
//!
//! kube-apiserver believes whatever issuer the fetched token names. Here it must be the issuer of
//! the first token: it says where the claims are, so it can sign them, too.

use std::collections::BTreeMap;

use http::HeaderValue;
use serde_json::{Map, Value};

use super::{
    TokenError,
    claims::{registered, spellings},
    fetch::DocumentClient,
    key_keeper::is_fetchable,
};

const NAMES: &str = "_claim_names";
const SOURCES: &str = "_claim_sources";
/// As kube-apiserver has it: everything from OK to IM Used.
const ANSWERS: std::ops::RangeInclusive<u16> = 200..=226;

/// Where a claim is to be had.
#[derive(Clone, Debug, Default)]
pub(super) struct Source {
    endpoint: String,
    access_token: String,
}

/// Where the groups of this token are, if not in it.
pub(super) fn source_of(
    claims: &Map<String, Value>,
    groups_claim: Option<&str>,
) -> Result<Option<Source>, TokenError> {
    let sources = check_sources(claims)?;
    // Unlike those of the check, these two names have one spelling only.
    let (Some(groups), Some(names)) = (groups_claim, claims.get(NAMES)) else {
        return Ok(None);
    };
    if claims.contains_key(groups) {
        return Ok(None);
    }
    if !claims.contains_key(SOURCES) {
        return Err(refused("there are no sources"));
    }
    for source in members(claims, SOURCES)?.into_iter().flatten() {
        if let Value::Object(source) = source.1 {
            text(source, "jwt")?;
        }
    }
    let name = names.get(groups).and_then(Value::as_str);
    let found = name.and_then(|name| sources.get(name)).cloned();
    Ok(found.filter(|source| !source.endpoint.is_empty()))
}

/// The sources. Every name must have one, whichever claim it is for, and in whichever token.
pub(super) fn check_sources(
    claims: &Map<String, Value>,
) -> Result<BTreeMap<&str, Source>, TokenError> {
    let mut sources = BTreeMap::new();
    for (name, source) in members(claims, SOURCES)?.into_iter().flatten() {
        let source = match source {
            Value::Null => Source::default(),
            Value::Object(source) => Source {
                endpoint: text(source, "endpoint")?,
                access_token: text(source, "access_token")?,
            },
            _ => return Err(TokenError::ClaimType(SOURCES)),
        };
        sources.insert(name.as_str(), source);
    }
    for name in members(claims, NAMES)?
        .into_iter()
        .flatten()
        .map(|(_, name)| name)
    {
        let name = match name {
            Value::Null => "",
            Value::String(name) => name,
            _ => return Err(TokenError::ClaimType(NAMES)),
        };
        if name.is_empty() {
            return Err(refused("a claim has a source without a name"));
        }
        if !sources.contains_key(name) {
            return Err(refused("a source does not exist"));
        }
    }
    Ok(sources)
}

/// Fetches the token that holds the claims; nothing in it is verified so far.
pub(super) async fn fetch(client: &DocumentClient, source: &Source) -> Result<String, TokenError> {
    let endpoint = source.endpoint.as_str();
    if !is_fetchable(endpoint) {
        return Err(refused("the endpoint is not an https URL"));
    }
    let token = source.access_token.as_str();
    let authorization = if token.is_empty() {
        None
    } else {
        let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| refused("the access token does not fit into a header"))?;
        value.set_sensitive(true);
        Some(value)
    };
    let body = client
        .get_with(endpoint, "the claim source", authorization, ANSWERS)
        .await
        .map_err(|error| TokenError::DistributedClaims(error.to_string()))?;
    String::from_utf8(body.to_vec()).map_err(|_| refused("the answer is not a token"))
}

/// The members of a claim that is an object; nothing if there is none.
fn members<'a>(
    claims: &'a Map<String, Value>,
    name: &'static str,
) -> Result<Option<&'a Map<String, Value>>, TokenError> {
    match registered(claims, name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(members)) => Ok(Some(members)),
        Some(_) => Err(TokenError::ClaimType(name)),
    }
}

/// A member of a source, which Go finds in any case.
fn text(source: &Map<String, Value>, name: &str) -> Result<String, TokenError> {
    if spellings(source, name).nth(1).is_some() {
        return Err(TokenError::RepeatedClaim(SOURCES));
    }
    match registered(source, name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(TokenError::ClaimType(SOURCES)),
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
        Ok(found.map(|source| source.endpoint))
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
        let loud = json!({"s": {"EndPoint": "https://id.example.com/g"}});
        let loud = claims(&json!({"groups": "s"}), &loud);
        assert!(endpoint(&loud).unwrap().is_some());
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
            (json!({"groups": "s"}), json!({"s": {"JWT": 1}})),
            (json!({}), json!({"s": []})),
        ] {
            assert!(endpoint(&claims(&names, &sources)).is_err(), "{names}");
        }
        for names in [json!({}), json!(null)] {
            assert!(
                endpoint(&json!({"_claim_names": names})).is_err(),
                "{names}"
            );
        }
    }
}
