//! From verified claims to an identity, by kube-apiserver's claim mappings.

use oidcproxy_crds::v1alpha1::authentication::{ClaimMappings, ClaimValidationRule};
use serde_json::{Map, Value};

use super::TokenError;
use crate::identity::Identity;

/// The extra under which kube-apiserver records a token's `jti`.
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// Maps the claims and checks the claim rules, in kube-apiserver's order.
pub(crate) fn identity(
    claims: &Map<String, Value>,
    mappings: &ClaimMappings,
    rules: &[ClaimValidationRule],
) -> Result<Identity, TokenError> {
    let mut identity = Identity {
        username: username(claims, mappings)?,
        groups: groups(claims, mappings)?,
        uid: uid(claims, mappings)?,
        extra: Vec::new(),
    };
    if let Some(Value::String(id)) = claims.get("jti")
        && !id.is_empty()
    {
        let values = vec![format!("JTI={id}")];
        identity.extra.push((CREDENTIAL_ID.to_owned(), values));
    }
    rules.iter().try_for_each(|rule| required(claims, rule))?;
    Ok(identity)
}

fn username(claims: &Map<String, Value>, mappings: &ClaimMappings) -> Result<String, TokenError> {
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

fn groups(
    claims: &Map<String, Value>,
    mappings: &ClaimMappings,
) -> Result<Vec<String>, TokenError> {
    let Some(mapping) = &mappings.groups else {
        return Ok(Vec::new());
    };
    let claim = mapping.claim.as_deref().unwrap_or_default();
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

fn uid(
    claims: &Map<String, Value>,
    mappings: &ClaimMappings,
) -> Result<Option<String>, TokenError> {
    let Some(claim) = mappings.uid.as_ref().and_then(|uid| uid.claim.as_deref()) else {
        return Ok(None);
    };
    match claims.get(claim) {
        Some(Value::String(uid)) => Ok(Some(uid.clone()).filter(|uid| !uid.is_empty())),
        Some(Value::Null) => Ok(None),
        None => Err(TokenError::ClaimMissing(claim.to_owned())),
        Some(_) => Err(TokenError::MappedClaimType(claim.to_owned())),
    }
}

fn required(claims: &Map<String, Value>, rule: &ClaimValidationRule) -> Result<(), TokenError> {
    let Some(claim) = rule.claim.as_deref() else {
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
    use oidcproxy_crds::v1alpha1::authentication::{ClaimOrExpression, PrefixedClaimOrExpression};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn mapped(claim: &str, prefix: &str) -> PrefixedClaimOrExpression {
        PrefixedClaimOrExpression {
            claim: Some(claim.to_owned()),
            prefix: Some(prefix.to_owned()),
            expression: None,
        }
    }

    fn mappings() -> ClaimMappings {
        ClaimMappings {
            username: mapped("sub", "corp:"),
            groups: Some(mapped("groups", "corp:")),
            ..ClaimMappings::default()
        }
    }

    fn map(claims: &Value, mappings: &ClaimMappings) -> Result<Identity, TokenError> {
        identity(claims.as_object().unwrap(), mappings, &[])
    }

    #[test]
    fn groups_may_be_one_string_or_a_list() {
        let of = |groups: Value| map(&json!({"sub": "alice", "groups": groups}), &mappings());
        assert_eq!(of(json!("dev")).unwrap().groups, ["corp:dev"]);
        assert_eq!(
            of(json!(["b", "a", "b"])).unwrap().groups,
            ["corp:b", "corp:a", "corp:b"]
        );
        assert_eq!(of(json!(null)).unwrap().groups, Vec::<String>::new());
        for odd in [json!(42), json!({"a": 1}), json!(["a", 1])] {
            assert!(matches!(of(odd), Err(TokenError::MappedClaimType(_))));
        }
    }

    #[test]
    fn an_unverified_address_is_nobody() {
        let email = ClaimMappings {
            username: mapped("email", ""),
            ..ClaimMappings::default()
        };
        let of = |claims: Value| map(&claims, &email);
        let address = "alice@mail.example";
        assert!(of(json!({"email": address})).is_ok());
        assert!(of(json!({"email": address, "email_verified": true})).is_ok());
        for odd in [json!(false), json!("true"), json!(null), json!(1)] {
            let claims = json!({"email": address, "email_verified": odd});
            assert!(matches!(of(claims), Err(TokenError::EmailNotVerified)));
        }
    }

    #[test]
    fn a_token_id_becomes_the_credential_id() {
        let identity = map(&json!({"sub": "alice", "jti": "1234"}), &mappings()).unwrap();
        let expected = (CREDENTIAL_ID.to_owned(), vec!["JTI=1234".to_owned()]);
        assert_eq!(identity.extra, [expected]);
        assert!(
            map(&json!({"sub": "alice", "jti": 7}), &mappings())
                .unwrap()
                .extra
                .is_empty()
        );
    }

    #[test]
    fn a_configured_uid_must_be_there() {
        let mut with_uid = mappings();
        with_uid.uid = Some(ClaimOrExpression {
            claim: Some("oid".to_owned()),
            expression: None,
        });
        assert!(matches!(
            map(&json!({"sub": "a"}), &with_uid),
            Err(TokenError::ClaimMissing(_))
        ));
        let identity = map(&json!({"sub": "a", "oid": "77"}), &with_uid).unwrap();
        assert_eq!(identity.uid.as_deref(), Some("77"));
    }

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

    proptest! {
        #[test]
        fn every_name_carries_its_prefix(name in ".*", groups in prop::collection::vec(".*", 0..5)) {
            let identity = map(&json!({"sub": name, "groups": groups}), &mappings()).unwrap();
            prop_assert_eq!(&identity.username, &format!("corp:{name}"));
            prop_assert_eq!(identity.groups.len(), groups.len());
            prop_assert!(identity.groups.iter().all(|group| group.starts_with("corp:")));
        }
    }
}
