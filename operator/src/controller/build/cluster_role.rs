//! What the pods may do: impersonate what their settings can lead to, and nothing else.

use std::collections::BTreeSet;

use k8s_openapi::api::{
    authorization::v1::ResourceAttributes,
    rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject},
};
use oidcproxy_crds::v1alpha1::{
    impersonation::{ClientIpExtra, ClientRequests, REMOTE_CLIENT_IP},
    settings::Settings,
};

use crate::controller::identity::Identity;

const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";
const IMPERSONATE: &str = "impersonate";
const CREATE: &str = "create";
const TOKEN_REVIEWS: &str = "tokenreviews";
const ACCESS_REVIEWS: &str = "subjectaccessreviews";

/// Any token with a `jti` leads to this extra.
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// What `kubectl --as` leaves of the original user.
const ORIGINAL_USER: [&str; 4] = [
    "originaluser.jetstack.io-user",
    "originaluser.jetstack.io-groups",
    "originaluser.jetstack.io-uid",
    "originaluser.jetstack.io-extra",
];

/// What every user is in.
const AUTHENTICATED: &str = "system:authenticated";

/// What requests without a credential are in.
const UNAUTHENTICATED: &str = "system:unauthenticated";

/// How `ServiceAccounts` are called as users.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// One verb on one resource.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Grant {
    group: &'static str,
    resource: String,
    verb: &'static str,
    /// Empty for all.
    names: BTreeSet<String>,
}

/// What a proxy with these settings needs.
pub fn grants(settings: &Settings) -> BTreeSet<Grant> {
    let mut all = identities(settings);
    all.insert(impersonate(AUTHENTICATION, "uids"));
    if settings.impersonation.client_requests == ClientRequests::Review {
        all.insert(create(AUTHORIZATION, ACCESS_REVIEWS));
    }
    if settings.authentication.token_passthrough.is_some() {
        all.insert(create(AUTHENTICATION, TOKEN_REVIEWS));
    }
    let keys = extra_keys(settings);
    if keys.contains("*") {
        // There is no wildcard for subresources.
        all.retain(|grant| grant.group != AUTHENTICATION || grant.verb != IMPERSONATE);
        all.insert(impersonate(AUTHENTICATION, "*"));
    } else {
        let extra = |key| impersonate(AUTHENTICATION, &format!("userextras/{key}"));
        all.extend(keys.into_iter().map(extra));
    }
    all
}

impl Grant {
    /// As the API server can be asked about it. One name stands for all of them: RBAC knows a rule's
    /// names only together, and `restrictTo` may have hundreds.
    pub fn attributes(&self) -> ResourceAttributes {
        let (resource, subresource) = match self.resource.split_once('/') {
            Some((resource, subresource)) => (resource, Some(subresource)),
            None => (self.resource.as_str(), None),
        };
        ResourceAttributes {
            group: Some(self.group.to_owned()),
            resource: Some(resource.to_owned()),
            subresource: subresource.map(str::to_owned),
            verb: Some(self.verb.to_owned()),
            name: self.names.first().cloned(),
            ..ResourceAttributes::default()
        }
    }

    /// What stands in a role, if a proxy can need it.
    fn of(group: &str, resource: &str, verb: &str, names: &BTreeSet<String>) -> Option<Self> {
        let identities = ["users", "groups", "serviceaccounts"];
        let names = names.clone();
        match (group, verb) {
            ("", IMPERSONATE) if identities.contains(&resource) => Some(Self {
                names,
                ..impersonate("", resource)
            }),
            (AUTHENTICATION, IMPERSONATE)
                if resource == "uids" || resource == "*" || resource.starts_with("userextras/") =>
            {
                Some(Self {
                    names,
                    ..impersonate(AUTHENTICATION, resource)
                })
            }
            (AUTHENTICATION, CREATE) if resource == TOKEN_REVIEWS => {
                Some(create(AUTHENTICATION, TOKEN_REVIEWS))
            }
            (AUTHORIZATION, CREATE) if resource == ACCESS_REVIEWS => {
                Some(create(AUTHORIZATION, ACCESS_REVIEWS))
            }
            _ => None,
        }
    }
}

impl std::fmt::Display for Grant {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (verb, resource) = (self.verb, &self.resource);
        write!(formatter, "{verb} {resource}")
    }
}

/// What a role grants of all that proxies can need. Whatever else somebody has put into it does not
/// count.
pub fn granted(role: &ClusterRole) -> BTreeSet<Grant> {
    let mut found = BTreeSet::new();
    for rule in role.rules.iter().flatten() {
        let names: BTreeSet<String> = rule.resource_names.iter().flatten().cloned().collect();
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                let all = rule.verbs.iter();
                found.extend(all.filter_map(|verb| Grant::of(group, resource, verb, &names)));
            }
        }
    }
    found
}

/// The users and groups; all of them, unless the settings name the only ones.
fn identities(settings: &Settings) -> BTreeSet<Grant> {
    let reviews = settings.impersonation.client_requests == ClientRequests::Review;
    let restriction = &settings.impersonation.restrict_to;
    let mut all = BTreeSet::new();
    let mut add = |resource: &str, names: BTreeSet<String>| {
        all.insert(Grant {
            names,
            ..impersonate("", resource)
        });
    };
    match &restriction.users {
        None => {
            add("users", BTreeSet::new());
            if reviews {
                add("serviceaccounts", BTreeSet::new());
            }
        }
        Some(users) => {
            let account = |name: &&String| name.starts_with(SERVICE_ACCOUNT);
            let (accounts, users): (Vec<_>, Vec<_>) = users.names.iter().partition(account);
            let accounts: BTreeSet<String> = accounts
                .into_iter()
                .filter_map(|name| name.rsplit_once(':'))
                .map(|(_, name)| name.to_owned())
                .collect();
            if !users.is_empty() {
                add("users", users.into_iter().cloned().collect());
            }
            if reviews && !accounts.is_empty() {
                add("serviceaccounts", accounts);
            }
        }
    }
    match &restriction.groups {
        None => add("groups", BTreeSet::new()),
        Some(groups) => {
            let anonymous = settings.authentication.anonymous.as_ref();
            let automatic = anonymous
                .filter(|anonymous| anonymous.enabled)
                .map(|_| UNAUTHENTICATED);
            let automatic = automatic.into_iter().chain([AUTHENTICATED]);
            let listed = groups.names.iter().cloned();
            add(
                "groups",
                listed.chain(automatic.map(str::to_owned)).collect(),
            );
        }
    }
    all
}

/// The keys of every extra that a request can carry.
fn extra_keys(settings: &Settings) -> BTreeSet<&str> {
    let impersonation = &settings.impersonation;
    let mut keys = BTreeSet::from([CREDENTIAL_ID]);
    if impersonation.client_ip_extra == ClientIpExtra::Enabled {
        keys.insert(REMOTE_CLIENT_IP);
    }
    keys.extend(impersonation.extra.iter().map(|fixed| fixed.key.as_str()));
    let mapped = settings
        .authentication
        .issuers
        .iter()
        .flat_map(|issuer| &issuer.claim_mappings.extra);
    keys.extend(mapped.map(|mapping| mapping.key.as_str()));
    if impersonation.client_requests == ClientRequests::Review {
        keys.extend(ORIGINAL_USER);
        keys.extend(impersonation.as_extra_keys.iter().map(String::as_str));
    }
    keys
}

fn impersonate(group: &'static str, resource: &str) -> Grant {
    Grant {
        group,
        resource: resource.to_owned(),
        verb: IMPERSONATE,
        names: BTreeSet::new(),
    }
}

fn create(group: &'static str, resource: &str) -> Grant {
    Grant {
        group,
        resource: resource.to_owned(),
        verb: CREATE,
        names: BTreeSet::new(),
    }
}

pub(super) fn build(identity: &Identity, grants: &BTreeSet<Grant>) -> ClusterRole {
    let mut rules: Vec<PolicyRule> = Vec::new();
    let mut last = None;
    for grant in grants_by_rule(grants) {
        let key = (grant.group, grant.verb, &grant.names);
        match rules.last_mut().filter(|_| last == Some(key)) {
            Some(rule) => rule
                .resources
                .get_or_insert_default()
                .push(grant.resource.clone()),
            None => rules.push(PolicyRule {
                api_groups: Some(vec![grant.group.to_owned()]),
                resources: Some(vec![grant.resource.clone()]),
                resource_names: (!grant.names.is_empty())
                    .then(|| grant.names.iter().cloned().collect()),
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
    all.sort_by_key(|grant| (grant.group, grant.verb, &grant.names, &grant.resource));
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
        let wanted = grants(&resolved.settings);
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
        let all = grants(&resolved.settings);
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
}
