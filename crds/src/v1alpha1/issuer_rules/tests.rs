use super::*;
use crate::v1alpha1::authentication::{
    AudienceMatchPolicy, ClaimValidationRule, ExtraMapping, UserValidationRule,
};

fn issuer() -> IssuerSettings {
    IssuerSettings {
        name: "corp".into(),
        url: "https://id.example.com/realms/corp".into(),
        audiences: vec!["kubernetes".into()],
        claim_mappings: ClaimMappings {
            username: PrefixedClaimOrExpression {
                claim: Some("sub".into()),
                prefix: Some("corp:".into()),
                expression: None,
            },
            ..ClaimMappings::default()
        },
        ..IssuerSettings::default()
    }
}

fn paths(change: impl FnOnce(&mut IssuerSettings)) -> Vec<String> {
    let mut changed = issuer();
    change(&mut changed);
    check_issuers(&[changed])
        .into_iter()
        .map(|error| error.path)
        .collect()
}

#[test]
fn a_plain_issuer_is_fine() {
    assert_eq!(check_issuers(&[issuer()]), []);
    assert_eq!(check_issuers(&[]), []);
}

#[test]
fn urls_are_held_to_the_upstream_rules() {
    for fine in [
        "https://a",
        "https://a:8443/x/",
        "https://[::1]:8443",
        "https://a/x@y",
        "HTTPS://a",
        "https://a/%20",
        "https://a?",
    ] {
        assert_eq!(check_issuer_url(fine), None, "{fine}");
    }
    for wrong in [
        "",
        "a",
        "http://a",
        "https://",
        "https:///x",
        "https:a",
        "https://u@a",
        "https://u:p@a",
        "https://a?x=1",
        "https://a#x",
        "https://a b",
        " https://a",
        "https:\\\\a",
        "https://a\n",
        "https://a/%zz",
        "https://a/%2",
        "https://%61",
        "https://[foo]",
        "https://a:b",
        "https://::1",
        "https://a/b c",
        "https://a/b\\c",
    ] {
        assert!(check_issuer_url(wrong).is_some(), "{wrong:?}");
    }
}

#[test]
fn each_rule_names_its_field() {
    assert_eq!(paths(|i| i.url = "http://x".into()), ["jwt[0].issuer.url"]);
    assert_eq!(
        paths(|i| i.discovery_url = Some("https://id.example.com/realms/corp/".into())),
        ["jwt[0].issuer.discoveryURL"]
    );
    assert_eq!(paths(|i| i.audiences.clear()), ["jwt[0].issuer.audiences"]);
    assert_eq!(paths(|i| i.audiences.push(String::new())).len(), 2);
    assert_eq!(
        paths(|i| i.audiences.push("b".into())),
        ["jwt[0].issuer.audienceMatchPolicy"]
    );
    assert_eq!(
        paths(|i| {
            i.audiences = vec!["a".into(), "a".into()];
            i.audience_match_policy = Some(AudienceMatchPolicy::MatchAny);
        }),
        ["jwt[0].issuer.audiences[1]"]
    );
    assert_eq!(
        paths(|i| i.claim_mappings.username.prefix = None),
        ["jwt[0].claimMappings.username.prefix"]
    );
    assert_eq!(
        paths(|i| i.claim_mappings.username.expression = Some("claims.sub".into())),
        ["jwt[0].claimMappings.username"]
    );
    assert_eq!(
        paths(|i| i.claim_mappings.username = PrefixedClaimOrExpression::default()),
        ["jwt[0].claimMappings.username"]
    );
    // As upstream, where a mapping without anything is the same as none.
    assert!(
        paths(|i| i.claim_mappings.groups = Some(PrefixedClaimOrExpression::default())).is_empty()
    );
    assert!(paths(|i| i.claim_mappings.uid = Some(ClaimOrExpression::default())).is_empty());
    let both = ClaimOrExpression {
        claim: Some("a".into()),
        expression: Some("claims.a".into()),
    };
    assert_eq!(
        paths(|i| i.claim_mappings.uid = Some(both)),
        ["jwt[0].claimMappings.uid"]
    );
}

#[test]
fn rules_are_a_claim_or_an_expression_and_unique() {
    let claim = |name: &str| ClaimValidationRule {
        claim: Some(name.into()),
        required_value: Some("x".into()),
        ..ClaimValidationRule::default()
    };
    assert!(paths(|i| i.claim_validation_rules = vec![claim("a"), claim("b")]).is_empty());
    assert_eq!(
        paths(|i| i.claim_validation_rules = vec![claim("a"), claim("a")]),
        ["jwt[0].claimValidationRules[1].claim"]
    );
    assert_eq!(
        paths(|i| i.claim_validation_rules = vec![ClaimValidationRule::default()]),
        ["jwt[0].claimValidationRules[0]"]
    );
    let expression = ClaimValidationRule {
        expression: Some("true".into()),
        required_value: Some("x".into()),
        ..ClaimValidationRule::default()
    };
    assert_eq!(
        paths(|i| i.claim_validation_rules = vec![expression]),
        ["jwt[0].claimValidationRules[0].requiredValue"]
    );
    let user = UserValidationRule {
        expression: "true".into(),
        message: None,
    };
    assert_eq!(
        paths(|i| i.user_validation_rules = vec![user.clone(), user]),
        ["jwt[0].userValidationRules[1].expression"]
    );
}

#[test]
fn issuers_must_differ() {
    let found = check_issuers(&[issuer(), issuer()]);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].path, "jwt[1].issuer.url");
}

#[test]
fn extra_keys() {
    for fine in [
        "example.org/tenant",
        "a/b",
        "example.org/a/b",
        "ak8s.io/x",
        "example.org/%2f",
    ] {
        assert_eq!(check_extra_key(fine), None, "{fine}");
    }
    for wrong in [
        "tenant",
        "/x",
        "example.org/",
        "example.org/Tenant",
        "Example.org/t",
        "example.org/a b",
        "k8s.io/x",
        "x.kubernetes.io/y",
        "-a.org/x",
        "a..b/x",
        "example.org/a@b",
    ] {
        assert!(check_extra_key(wrong).is_some(), "{wrong}");
    }
    let extra = ExtraMapping {
        key: "example.org/tenant".into(),
        value_expression: "claims.tenant".into(),
    };
    assert_eq!(
        paths(|i| i.claim_mappings.extra = vec![extra.clone(), extra]),
        ["jwt[0].claimMappings.extra[1].key"]
    );
}

#[test]
fn some_issuers_are_not_allowed_and_not_too_many() {
    let own = ["https://id.example.com/realms/corp".to_owned()];
    assert_eq!(
        check_disallowed(&[issuer()], &own)[0].path,
        "jwt[0].issuer.url"
    );
    let many = (0..65).map(|n| IssuerSettings {
        url: format!("https://{n}.example.com"),
        ..issuer()
    });
    assert_eq!(check_issuers(&many.collect::<Vec<_>>())[0].path, "jwt");
}

#[test]
fn conditions_go_with_enabled() {
    let mut anonymous: Anonymous =
        serde_json::from_str(r#"{"conditions":[{"path":"/healthz"}]}"#).unwrap();
    assert_eq!(check_anonymous(&anonymous)[0].path, "anonymous.conditions");
    anonymous.enabled = true;
    assert!(check_anonymous(&anonymous).is_empty());
}

#[test]
fn names_that_may_mean_somebody_else_are_doubtful() {
    let mut first = issuer();
    let mut second = issuer();
    second.claim_mappings.username.prefix = Some("other:".into());
    assert!(doubtful_mappings(&[first.clone(), second]).is_empty());
    first.claim_mappings.groups = Some(PrefixedClaimOrExpression {
        claim: Some("groups".into()),
        prefix: Some(String::new()),
        expression: None,
    });
    let found = doubtful_mappings(&[first, issuer()]);
    let paths: Vec<_> = found.iter().map(|error| error.path.as_str()).collect();
    let expected = [
        "jwt[0].claimMappings.groups.prefix",
        "jwt[1].claimMappings.username.prefix",
    ];
    assert_eq!(paths, expected);
}

#[test]
fn reserved_prefixes_cannot_be_handed_out() {
    let reserved = ["system:".to_owned()];
    let mut one = issuer();
    one.claim_mappings.username.prefix = Some("system:x".into());
    assert_eq!(
        check_reserved_prefixes(&[one], &reserved)[0].path,
        "jwt[0].claimMappings.username.prefix"
    );
    assert_eq!(check_reserved_prefixes(&[issuer()], &reserved), []);
}
