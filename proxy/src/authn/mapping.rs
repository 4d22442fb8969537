//! From verified claims to an identity, by kube-apiserver's claim mappings and rules.

use oidcproxy_crds::v1alpha1::{
    authentication::{ClaimMappings, ClaimValidationRule},
    issuer_expressions::{self, IssuerExpressions},
    issuer_rules::FieldError,
    settings::IssuerSettings,
};
use serde_json::{Map, Value};

use super::{TokenError, expression, named_claim};
use crate::identity::Identity;

/// The extra under which kube-apiserver records a token's `jti`.
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// An issuer's mappings and rules, with their expressions compiled.
#[derive(Debug)]
pub(crate) struct IdentityMapping {
    mappings: ClaimMappings,
    rules: Vec<ClaimValidationRule>,
    expressions: IssuerExpressions,
}

impl IdentityMapping {
    /// Compiles what the issuer's settings hold.
    pub(crate) fn of(issuer: &IssuerSettings) -> Result<Self, Vec<FieldError>> {
        Ok(Self {
            mappings: issuer.claim_mappings.clone(),
            rules: issuer.claim_validation_rules.clone(),
            expressions: issuer_expressions::compile(issuer, &format!("issuer {}", issuer.name))?,
        })
    }

    /// The claim that distributed claims may stand in for: a groups expression has none.
    pub(crate) fn groups_claim(&self) -> Option<&str> {
        let groups = self.mappings.groups.as_ref()?;
        groups.claim.as_deref().filter(|claim| !claim.is_empty())
    }

    /// Maps the claims and checks the rules, in kube-apiserver's order.
    pub(crate) fn identity(&self, claims: &Map<String, Value>) -> Result<Identity, TokenError> {
        let mappings = &self.mappings;
        let expressions = &self.expressions;
        let username = match &expressions.username {
            Some(program) => expression::username(program, claims)?,
            None => named_claim::username(claims, mappings)?,
        };
        let groups = match &expressions.groups {
            Some(program) => expression::strings(program, claims, "claimMappings.groups")?,
            None => named_claim::groups(claims, mappings)?,
        };
        let uid = match &expressions.uid {
            Some(program) => expression::uid(program, claims)?,
            None => named_claim::uid(claims, mappings)?,
        };
        let mut extra = Vec::new();
        for (key, program) in &expressions.extra {
            let values = expression::strings(program, claims, "claimMappings.extra")?;
            if !values.is_empty() {
                extra.push((key.clone(), values));
            }
        }
        if let Some(Value::String(id)) = claims.get("jti")
            && !id.is_empty()
        {
            extra.push((CREDENTIAL_ID.to_owned(), vec![format!("JTI={id}")]));
        }
        let identity = Identity {
            username,
            uid,
            groups,
            extra,
        };
        self.rules
            .iter()
            .try_for_each(|rule| named_claim::required(claims, rule))?;
        expression::check_claims(&expressions.claim_rules, claims)?;
        expression::check_user(&expressions.user_rules, &identity)?;
        Ok(identity)
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
        mapped_by(&IssuerSettings {
            claim_mappings: mappings.clone(),
            ..IssuerSettings::default()
        })(claims)
    }

    fn mapped_by(
        issuer: &IssuerSettings,
    ) -> impl Fn(&Value) -> Result<Identity, TokenError> + use<> {
        let mapping = IdentityMapping::of(issuer).unwrap();
        move |claims| mapping.identity(claims.as_object().unwrap())
    }

    fn by_expression(field: &str, expression: &str) -> IssuerSettings {
        let mut claim_mappings = json!({"username": {"claim": "sub", "prefix": ""}});
        claim_mappings[field] = json!({"expression": expression});
        serde_json::from_value(json!({
            "name": "corp", "url": "https://id.example.com", "audiences": ["a"],
            "claimMappings": claim_mappings,
        }))
        .unwrap()
    }

    #[test]
    fn expressions_map_what_kube_apiserver_maps() {
        let username = mapped_by(&by_expression("username", "'u:' + claims.sub"));
        assert_eq!(username(&json!({"sub": "a"})).unwrap().username, "u:a");
        let bare = mapped_by(&by_expression("username", "claims.sub"));
        for odd in [
            json!({"sub": ""}),
            json!({"sub": 1}),
            json!({"sub": null}),
            json!({}),
        ] {
            assert!(
                matches!(bare(&odd), Err(TokenError::Expression { .. })),
                "{odd}"
            );
        }
        let groups = mapped_by(&by_expression("groups", "claims.g"));
        let of = |value: Value| groups(&json!({"sub": "a", "g": value})).map(|user| user.groups);
        assert_eq!(of(json!("x")).unwrap(), ["x"]);
        assert_eq!(of(json!(["x", "", "y"])).unwrap(), ["x", "y"]);
        for none in [json!(""), json!([]), json!(null)] {
            assert!(of(none).unwrap().is_empty());
        }
        assert!(of(json!(["x", 1])).is_err());
        assert!(groups(&json!({"sub": "a"})).is_err());
    }

    #[test]
    fn rules_over_claims_and_users_decide() {
        let mut issuer = by_expression("groups", "claims.?g.orValue([])");
        issuer.claim_validation_rules = vec![ClaimValidationRule {
            expression: Some("claims.exp - claims.iat <= 3600".to_owned()),
            message: Some("an hour is enough".to_owned()),
            ..ClaimValidationRule::default()
        }];
        issuer.user_validation_rules = serde_json::from_value(json!([
            {"expression": "user.groups.all(g, g != 'admin')", "message": "no admin"},
            {"expression": "!user.extra.exists(k, k.startsWith('x'))"},
        ]))
        .unwrap();
        let map = mapped_by(&issuer);
        let claims = |exp: i64, group: &str| json!({"sub": "a", "iat": 0, "exp": exp, "g": [group], "jti": "1"});
        assert!(map(&claims(3600, "dev")).is_ok());
        let late = map(&claims(3601, "dev")).unwrap_err();
        assert_eq!(
            late.to_string(),
            "a claim validation rule is not met: an hour is enough"
        );
        let admin = map(&claims(10, "admin")).unwrap_err();
        assert_eq!(
            admin.to_string(),
            "a user validation rule is not met: no admin"
        );
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

    /// Any JSON, a few levels deep.
    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(|number| json!(number)),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".*", inner, 0..4).prop_map(|map| json!(map)),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_name_carries_its_prefix(name in ".*", groups in prop::collection::vec(".*", 0..5)) {
            let identity = map(&json!({"sub": name, "groups": groups}), &mappings()).unwrap();
            prop_assert_eq!(&identity.username, &format!("corp:{name}"));
            prop_assert_eq!(identity.groups.len(), groups.len());
            prop_assert!(identity.groups.iter().all(|group| group.starts_with("corp:")));
        }

        #[test]
        fn claims_of_any_type_map_to_texts_or_to_nobody(sub in any_json(), groups in any_json(), jti in any_json()) {
            let claims = json!({"sub": sub, "groups": groups, "jti": jti});
            match map(&claims, &mappings()) {
                Ok(identity) => {
                    prop_assert!(sub.is_string() || sub.is_null());
                    prop_assert!(identity.username.starts_with("corp:"));
                    let wanted = match &groups {
                        Value::Array(list) => list.len(),
                        Value::String(_) => 1,
                        _ => 0,
                    };
                    prop_assert_eq!(identity.groups.len(), wanted);
                    prop_assert_eq!(identity.extra.is_empty(), jti.as_str().is_none_or(str::is_empty));
                }
                Err(TokenError::MappedClaimType(_)) => {}
                Err(other) => prop_assert!(false, "{other}"),
            }
        }

        #[test]
        fn an_expression_maps_as_the_claim_that_it_names(name in ".+", groups in prop::collection::vec(".+", 0..5)) {
            let expressions = mapped_by(&serde_json::from_value(json!({
                "name": "corp", "url": "https://id.example.com", "audiences": ["a"],
                "claimMappings": {
                    "username": {"expression": "'corp:' + claims.sub"},
                    "groups": {"expression": "dyn(claims.groups).map(g, 'corp:' + g)"},
                },
            })).unwrap());
            let claims = json!({"sub": name, "groups": groups});
            prop_assert_eq!(expressions(&claims).unwrap(), map(&claims, &mappings()).unwrap());
        }
    }
}
