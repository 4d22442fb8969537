//! What the pods may do: impersonate what their settings can lead to, and nothing else.

mod grants;

use std::collections::BTreeSet;

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject};

pub use self::grants::{Grant, granted, grants};
use crate::controller::identity::Identity;

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
mod tests;
