//! To read their own settings: the pods see their `OidcProxy` and no other.

use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef};

use super::cluster_role::subject;
use crate::controller::identity::Identity;

pub(super) fn build(identity: &Identity) -> Role {
    let list = |values: &[&str]| values.iter().map(ToString::to_string).collect::<Vec<_>>();
    Role {
        metadata: identity.child(&identity.name),
        rules: Some(vec![PolicyRule {
            api_groups: Some(list(&["oidcproxy.dev"])),
            resources: Some(list(&["oidcproxies"])),
            resource_names: Some(list(&[&identity.name])),
            verbs: list(&["get", "list", "watch"]),
            ..PolicyRule::default()
        }]),
    }
}

pub(super) fn build_binding(identity: &Identity) -> RoleBinding {
    RoleBinding {
        metadata: identity.child(&identity.name),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".into(),
            kind: "Role".into(),
            name: identity.name.clone(),
        },
        subjects: Some(vec![subject(identity)]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::controller::resolve::tests::resolved;

    #[test]
    fn one_object_and_reading_only() {
        let role = serde_json::to_value(build(&resolved(json!({})).identity)).unwrap();
        assert_eq!(
            role["rules"],
            json!([{
                "apiGroups": ["oidcproxy.dev"], "resources": ["oidcproxies"], "resourceNames": ["corp"],
                "verbs": ["get", "list", "watch"],
            }])
        );
        assert_eq!(role["metadata"]["ownerReferences"][0]["uid"], "uid-1");
        assert_eq!(role["metadata"]["ownerReferences"][0]["controller"], true);
    }
}
