//! What the pods may do: impersonate what their settings can lead to, and nothing else.

use std::collections::BTreeSet;

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject};
use oidcproxy_crds::v1alpha1::{impersonation::ClientRequests, settings::Settings};

use crate::controller::identity::Identity;

const AUTHENTICATION: &str = "authentication.k8s.io";

/// Any token with a `jti` leads to this extra.
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// What `kubectl --as` leaves of the original user.
const ORIGINAL_USER: [&str; 4] = [
    "originaluser.jetstack.io-user",
    "originaluser.jetstack.io-groups",
    "originaluser.jetstack.io-uid",
    "originaluser.jetstack.io-extra",
];

/// One verb on one resource.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Grant {
    group: &'static str,
    resource: String,
    verb: &'static str,
}

/// What a proxy with these settings needs.
pub fn grants(settings: &Settings) -> BTreeSet<Grant> {
    let impersonate = |group, resource: String| Grant {
        group,
        resource,
        verb: "impersonate",
    };
    let extra = |key: &str| impersonate(AUTHENTICATION, format!("userextras/{key}"));
    let mut all = BTreeSet::from([
        impersonate("", "users".into()),
        impersonate("", "groups".into()),
        impersonate(AUTHENTICATION, "uids".into()),
        extra(CREDENTIAL_ID),
    ]);
    all.extend(
        settings
            .impersonation
            .extra
            .iter()
            .map(|fixed| extra(&fixed.key)),
    );
    let mapped = settings
        .authentication
        .issuers
        .iter()
        .flat_map(|issuer| &issuer.claim_mappings.extra);
    all.extend(mapped.map(|mapping| extra(&mapping.key)));
    if settings.impersonation.client_requests == ClientRequests::Review {
        all.insert(impersonate("", "serviceaccounts".into()));
        all.extend(ORIGINAL_USER.into_iter().map(extra));
        all.extend(
            settings
                .impersonation
                .as_extra_keys
                .iter()
                .map(|key| extra(key)),
        );
        all.insert(Grant {
            group: "authorization.k8s.io",
            resource: "subjectaccessreviews".into(),
            verb: "create",
        });
    }
    all
}

pub(super) fn build(identity: &Identity, grants: &BTreeSet<Grant>) -> ClusterRole {
    let mut rules: Vec<PolicyRule> = Vec::new();
    let mut last = None;
    for grant in grants_by_rule(grants) {
        let key = (grant.group, grant.verb);
        match rules.last_mut().filter(|_| last == Some(key)) {
            Some(rule) => rule
                .resources
                .get_or_insert_default()
                .push(grant.resource.clone()),
            None => rules.push(PolicyRule {
                api_groups: Some(vec![grant.group.to_owned()]),
                resources: Some(vec![grant.resource.clone()]),
                verbs: vec![grant.verb.to_owned()],
                ..PolicyRule::default()
            }),
        }
        last = Some(key);
    }
    ClusterRole {
        metadata: identity.cluster_child(identity.cluster_role()),
        rules: Some(rules),
        ..ClusterRole::default()
    }
}

fn grants_by_rule(grants: &BTreeSet<Grant>) -> Vec<&Grant> {
    let mut all: Vec<&Grant> = grants.iter().collect();
    all.sort_by_key(|grant| (grant.group, grant.verb, &grant.resource));
    all
}

pub(super) fn build_binding(identity: &Identity) -> ClusterRoleBinding {
    ClusterRoleBinding {
        metadata: identity.cluster_child(identity.cluster_role()),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".into(),
            kind: "ClusterRole".into(),
            name: identity.cluster_role(),
        },
        subjects: Some(vec![subject(identity)]),
    }
}

/// The pods' account.
pub(super) fn subject(identity: &Identity) -> Subject {
    Subject {
        kind: "ServiceAccount".into(),
        name: identity.name.clone(),
        namespace: Some(identity.namespace.clone()),
        ..Subject::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::controller::resolve::tests::resolved;

    fn rules(spec: Value) -> Value {
        let resolved = resolved(spec);
        let role = build(&resolved.identity, &grants(&resolved.settings));
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
}
