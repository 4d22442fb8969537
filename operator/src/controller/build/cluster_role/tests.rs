use serde_json::{Value, json};

use super::*;
use crate::controller::resolve::tests::resolved;

fn rules(spec: Value) -> Value {
    let resolved = resolved(spec);
    let role = build(&resolved.identity, &grants(resolved.settings()));
    serde_json::to_value(role.rules).unwrap()
}

#[test]
fn review_needs_what_as_can_lead_to() {
    let spec = json!({"impersonation": {"asExtraKeys": ["scopes"], "extra": [{"key": "example.org/via", "values": ["x"]}]}});
    assert_eq!(
        rules(spec),
        json!([
            {"apiGroups": [""], "resources": ["groups", "serviceaccounts", "users"], "verbs": ["impersonate"]},
            {"apiGroups": ["authentication.k8s.io"], "resources": [
                "uids",
                "userextras/authentication.kubernetes.io/credential-id",
                "userextras/example.org/via",
                "userextras/originaluser.jetstack.io-extra",
                "userextras/originaluser.jetstack.io-groups",
                "userextras/originaluser.jetstack.io-uid",
                "userextras/originaluser.jetstack.io-user",
                "userextras/scopes",
            ], "verbs": ["impersonate"]},
            {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]},
        ])
    );
}

#[test]
fn passed_tokens_need_reviews() {
    let spec = json!({"authentication": {"tokenPassthrough": {"mode": "TokenReview"}}});
    let rule = json!({"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]});
    assert!(rules(spec).as_array().unwrap().contains(&rule));
    assert!(!rules(json!({})).as_array().unwrap().contains(&rule));
}

#[test]
fn the_clients_address_is_an_extra() {
    let rules = rules(json!({"impersonation": {"clientIPExtra": "Enabled"}}));
    let resources = rules[1]["resources"].as_array().unwrap();
    assert!(
        resources.contains(&json!("userextras/remote-client-ip")),
        "{rules}"
    );
}

#[test]
fn any_extra_key_needs_the_whole_group() {
    assert_eq!(
        rules(json!({"impersonation": {"asExtraKeys": ["*"]}})),
        json!([
            {"apiGroups": [""], "resources": ["groups", "serviceaccounts", "users"], "verbs": ["impersonate"]},
            {"apiGroups": ["authentication.k8s.io"], "resources": ["*"], "verbs": ["impersonate"]},
            {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]},
        ])
    );
}

#[test]
fn who_is_restricted_to_names_may_impersonate_nobody_else() {
    let spec = json!({"impersonation": {"restrictTo": {
        "users": {"names": ["jane", "system:serviceaccount:web:deployer"]},
        "groups": {"names": ["dev"]},
    }}});
    let rules = rules(spec);
    assert_eq!(
        rules.as_array().unwrap()[..3],
        [
            json!({"apiGroups": [""], "resources": ["serviceaccounts"], "resourceNames": ["deployer"], "verbs": ["impersonate"]}),
            json!({"apiGroups": [""], "resources": ["groups"], "resourceNames": ["dev", "system:authenticated"], "verbs": ["impersonate"]}),
            json!({"apiGroups": [""], "resources": ["users"], "resourceNames": ["jane"], "verbs": ["impersonate"]}),
        ]
    );
    let groups = json!({"impersonation": {"restrictTo": {"groups": {"names": ["dev"]}}}});
    assert_eq!(
        self::rules(groups)[0],
        json!({"apiGroups": [""], "resources": ["serviceaccounts", "users"], "verbs": ["impersonate"]})
    );
}

#[test]
fn deny_needs_less() {
    let spec = json!({"impersonation": {"clientRequests": "Deny", "asExtraKeys": ["scopes"]}});
    assert_eq!(
        rules(spec),
        json!([
            {"apiGroups": [""], "resources": ["groups", "users"], "verbs": ["impersonate"]},
            {"apiGroups": ["authentication.k8s.io"], "resources": [
                "uids", "userextras/authentication.kubernetes.io/credential-id",
            ], "verbs": ["impersonate"]},
        ])
    );
}

#[test]
fn names_and_owner_of_what_lies_outside_the_namespace() {
    let resolved = resolved(json!({}));
    let binding = serde_json::to_value(build_binding(&resolved.identity)).unwrap();
    assert_eq!(binding["metadata"]["name"], "oidcproxy:auth:corp");
    assert_eq!(
        binding["metadata"]["annotations"]["oidcproxy.dev/owner-uid"],
        "uid-1"
    );
    assert_eq!(
        binding["metadata"]["labels"]["oidcproxy.dev/owner-namespace"],
        "auth"
    );
    assert!(binding["metadata"].get("ownerReferences").is_none());
    assert_eq!(binding["roleRef"]["name"], "oidcproxy:auth:corp");
    assert_eq!(
        binding["subjects"],
        json!([{"kind": "ServiceAccount", "name": "corp", "namespace": "auth"}])
    );
}

#[test]
fn a_role_is_read_back_and_what_no_proxy_needs_is_not() {
    let spec = json!({
        "authentication": {"tokenPassthrough": {"mode": "TokenReview"}},
        "impersonation": {
            "extra": [{"key": "example.org/via", "values": ["x"]}],
            "restrictTo": {"groups": {"names": ["dev"]}},
        },
    });
    let resolved = resolved(spec);
    let wanted = grants(resolved.settings());
    let mut role = build(&resolved.identity, &wanted);
    assert_eq!(granted(&role), wanted);
    let odd = json!([
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["secrets", "*"], "verbs": ["impersonate", "get"]},
        {"apiGroups": [""], "resources": ["users"], "verbs": ["*"]},
        {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["get", "impersonate"]},
        {"apiGroups": ["authorization.k8s.io"], "resources": ["localsubjectaccessreviews"], "verbs": ["create"]},
    ]);
    role.rules = serde_json::from_value(odd).unwrap();
    assert!(granted(&role).is_empty());
}

#[test]
fn grants_can_be_asked_about() {
    let resolved =
        resolved(json!({"impersonation": {"restrictTo": {"groups": {"names": ["dev"]}}}}));
    let all = grants(resolved.settings());
    let asked: Vec<Value> = all
        .iter()
        .map(|grant| serde_json::to_value(grant.attributes()).unwrap())
        .collect();
    assert!(asked.contains(&json!({
        "group": "authentication.k8s.io", "resource": "userextras",
        "subresource": "authentication.kubernetes.io/credential-id", "verb": "impersonate",
    })));
    assert!(asked.contains(
        &json!({"group": "", "resource": "groups", "verb": "impersonate", "name": "dev"})
    ));
}
