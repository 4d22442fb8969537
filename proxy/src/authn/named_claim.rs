//! What the values of claims mean for an identity where mappings and rules name claims, as
//! kube-apiserver takes them.

use oidcproxy_crds::v1alpha1::authentication::{ClaimMappings, ClaimValidationRule};
use serde_json::{Map, Value};

use super::TokenError;

pub(super) fn username(
    claims: &Map<String, Value>,
    mappings: &ClaimMappings,
) -> Result<String, TokenError> {
    let claim = mappings.username.claim.as_deref().unwrap_or_default();
    let name = match claims.get(claim) {
        Some(Value::String(name)) => name.as_str(),
        Some(Value::Null) => "",
        None => return Err(TokenError::ClaimMissing(claim.to_owned())),
        Some(_) => return Err(TokenError::MappedClaimType(claim.to_owned())),
    };
    // An address that its issuer has not verified may be anybody's. Only for the claim of exactly
    // this name, as kube-apiserver does.
    if claim == "email" && !matches!(claims.get("email_verified"), None | Some(Value::Bool(true))) {
        return Err(TokenError::EmailNotVerified);
    }
    let prefix = mappings.username.prefix.as_deref().unwrap_or_default();
    Ok(format!("{prefix}{name}"))
}

pub(super) fn groups(
    claims: &Map<String, Value>,
    mappings: &ClaimMappings,
) -> Result<Vec<String>, TokenError> {
    let Some(mapping) = &mappings.groups else {
        return Ok(Vec::new());
    };
    let Some(claim) = mapping.claim.as_deref().filter(|claim| !claim.is_empty()) else {
        return Ok(Vec::new());
    };
    let prefix = mapping.prefix.as_deref().unwrap_or_default();
    let prefixed = |name: &str| format!("{prefix}{name}");
    match claims.get(claim) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(group)) => Ok(vec![prefixed(group)]),
        Some(Value::Array(list)) => list
            .iter()
            .map(|group| match group {
                Value::String(group) => Ok(prefixed(group)),
                Value::Null => Ok(prefixed("")),
                _ => Err(TokenError::MappedClaimType(claim.to_owned())),
            })
            .collect(),
        Some(_) => Err(TokenError::MappedClaimType(claim.to_owned())),
    }
}

pub(super) fn uid(
    claims: &Map<String, Value>,
    mappings: &ClaimMappings,
) -> Result<Option<String>, TokenError> {
    let claim = mappings.uid.as_ref().and_then(|uid| uid.claim.as_deref());
    let Some(claim) = claim.filter(|claim| !claim.is_empty()) else {
        return Ok(None);
    };
    match claims.get(claim) {
        Some(Value::String(uid)) => Ok(Some(uid.clone()).filter(|uid| !uid.is_empty())),
        Some(Value::Null) => Ok(None),
        None => Err(TokenError::ClaimMissing(claim.to_owned())),
        Some(_) => Err(TokenError::MappedClaimType(claim.to_owned())),
    }
}

pub(super) fn required(
    claims: &Map<String, Value>,
    rule: &ClaimValidationRule,
) -> Result<(), TokenError> {
    let Some(claim) = rule.claim.as_deref().filter(|claim| !claim.is_empty()) else {
        return Ok(());
    };
    let value = match claims.get(claim) {
        None => return Err(TokenError::ClaimMissing(claim.to_owned())),
        Some(Value::String(value)) => value.as_str(),
        Some(Value::Null) => "",
        Some(_) => return Err(TokenError::MappedClaimType(claim.to_owned())),
    };
    if value == rule.required_value.as_deref().unwrap_or_default() {
        Ok(())
    } else {
        Err(TokenError::RequiredClaim(claim.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_required_claim_must_be_the_string() {
        let rule = ClaimValidationRule {
            claim: Some("hd".to_owned()),
            required_value: Some("corp".to_owned()),
            ..ClaimValidationRule::default()
        };
        let check = |claims: Value| required(claims.as_object().unwrap(), &rule);
        assert!(check(json!({"hd": "corp"})).is_ok());
        assert!(matches!(
            check(json!({"hd": "Corp"})),
            Err(TokenError::RequiredClaim(_))
        ));
        assert!(matches!(
            check(json!({"hd": ["corp"]})),
            Err(TokenError::MappedClaimType(_))
        ));
        assert!(matches!(check(json!({})), Err(TokenError::ClaimMissing(_))));
    }
}
