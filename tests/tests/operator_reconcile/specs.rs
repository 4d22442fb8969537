//! Specs that cannot be had as they are: refused, waited for, or not the operator's business.

use kube::ResourceExt as _;
use serde_json::json;

use crate::{
    bed::{Bed, ELSEWHERE, condition},
    tools::{RBAC, settled, wait_event},
};

#[tokio::test]
async fn a_bad_spec_changes_nothing_and_says_why() {
    let bed = Bed::new("t-refused").await;
    bed.apply(json!({})).await;
    let good = settled(&bed).await.status.unwrap();
    bed.apply(json!({"deployment": {"image": "other:1"}})).await;
    let refused = bed.wait_condition("Stalled", "True", "InvalidSpec").await;
    let message = condition(&refused, "Stalled").unwrap()["message"].clone();
    assert_eq!(
        message,
        "spec.deployment.image: needs an operator that allows it (its chart's allowImageOverride)"
    );
    assert_eq!(
        condition(&refused, "Ready").unwrap()["reason"],
        "InvalidSpec"
    );
    assert_eq!(condition(&refused, "SpecValid").unwrap()["status"], "False");
    let status = refused.status.unwrap();
    assert_eq!(
        (status.settings, status.certificate),
        (good.settings, good.certificate)
    );
    wait_event(&bed, "InvalidSpec").await;

    let labels = json!({"deployment": {"podLabels": {"not a label": "x"}}});
    bed.apply(labels).await;
    let refused = bed.wait_condition("Stalled", "True", "InvalidSpec").await;
    let message = condition(&refused, "Stalled").unwrap()["message"].to_string();
    assert!(message.contains("Deployment corp"), "{message}");

    bed.apply(json!({})).await;
    let good = settled(&bed).await;
    assert!(condition(&good, "Stalled").is_none());
}

#[tokio::test]
async fn the_clusters_own_tokens_make_no_users() {
    let bed = Bed::new("t-own-issuer").await;
    bed.apply(json!({})).await;
    let good = settled(&bed).await;
    let own = "https://kubernetes.default.svc";
    let settings = serde_json::to_value(&good.status).unwrap()["settings"].clone();
    assert_eq!(
        settings["authentication"]["disallowedIssuers"],
        json!([own])
    );
    bed.apply(json!({"authentication": {"jwt": [{
        "name": "corp",
        "issuer": {"url": own, "audiences": ["kubernetes"]},
        "claimMappings": {"username": {"claim": "sub", "prefix": "corp:"}},
    }]}}))
    .await;
    let refused = bed.wait_condition("Stalled", "True", "InvalidSpec").await;
    let message = condition(&refused, "Stalled").unwrap()["message"].to_string();
    assert!(
        message.contains(
            "spec.authentication.jwt[0].issuer.url: must not be an issuer of the cluster"
        ),
        "{message}"
    );
}

#[tokio::test]
async fn expressions_are_compiled_before_a_proxy_sees_them() {
    let bed = Bed::new("t-expressions").await;
    let entry = |username: &str| {
        json!({"authentication": {"jwt": [{
            "name": "corp",
            "issuer": {"url": "https://id.example.com", "audiences": ["kubernetes"]},
            "claimMappings": {
                "username": {"expression": username},
                "groups": {"claim": "groups", "prefix": ""},
                "extra": [{"key": "example.org/tenant", "valueExpression": "claims.?tenant.orValue('none')"}],
            },
            "claimValidationRules": [{"expression": "claims.?hd.orValue('') == 'example.org'", "message": "not ours"}],
            "userValidationRules": [{"expression": "!user.username.startsWith('x')"}],
        }]}})
    };
    bed.apply(entry("'corp:' + claims.sub")).await;
    let first = settled(&bed).await;
    let settings = first.status.clone().unwrap().settings.unwrap();
    let issuer = &settings.authentication.issuers[0];
    assert_eq!(issuer.claim_mappings.extra[0].key, "example.org/tenant");
    assert_eq!(issuer.user_validation_rules.len(), 1);
    let warning = condition(&first, "MappingWarning").unwrap();
    assert_eq!(warning["reason"], "NamesOverlap");
    let role = format!("oidcproxy:{}:corp", bed.namespace);
    let role = bed.api(RBAC, "ClusterRole").get(&role).await.unwrap();
    let role = serde_json::to_string(&role).unwrap();
    assert!(role.contains("userextras/example.org/tenant"), "{role}");

    bed.apply(entry("'corp:' + claims.sub +")).await;
    let stalled = bed.wait_condition("Stalled", "True", "InvalidSpec").await;
    let message = condition(&stalled, "Stalled").unwrap()["message"].clone();
    let place = "spec.authentication.jwt[0].claimMappings.username.expression: line 1, column ";
    assert!(message.as_str().unwrap().starts_with(place), "{message}");
    let kept = stalled.status.unwrap().settings.unwrap();
    assert_eq!(
        kept.revision, settings.revision,
        "the last good settings stay"
    );
}

#[tokio::test]
async fn other_namespaces_are_told_so() {
    let bed = Bed::new(ELSEWHERE).await;
    bed.apply(json!({})).await;
    let told = bed
        .wait_condition("Stalled", "True", "NamespaceNotAllowed")
        .await;
    assert!(told.finalizers().is_empty());
    assert!(told.status.unwrap().settings.is_none());
    let role = format!("oidcproxy:{ELSEWHERE}:corp");
    assert!(
        bed.api(RBAC, "ClusterRole")
            .get_opt(&role)
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn what_the_operator_does_not_hold_it_cannot_grant() {
    let bed = Bed::new("t-forbidden").await;
    let extra = |key: &str| json!({"impersonation": {"extra": [{"key": key, "values": ["x"]}]}});
    bed.apply(extra("not-held")).await;
    let refused = bed.wait_condition("RBACReady", "False", "Forbidden").await;
    assert!(condition(&refused, "Stalled").is_none());
    let granted = condition(&refused, "RBACReady").unwrap();
    let message = granted["message"].as_str().unwrap();
    assert!(
        message.contains("its chart's impersonation.extraKeys") && message.contains("not-held"),
        "{message}"
    );
    assert!(!message.contains('\n'), "{message}");
    assert!(refused.status.unwrap().settings.is_none());
    bed.apply(extra("held")).await;
    settled(&bed).await;
    let role = format!("oidcproxy:{}:corp", bed.namespace);
    let role = bed.api(RBAC, "ClusterRole").get(&role).await.unwrap();
    assert!(role.data["rules"].to_string().contains("userextras/held"));
}
