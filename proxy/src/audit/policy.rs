//! Which requests are recorded, and how much of them: kube-apiserver's rules.

use oidcproxy_crds::v1alpha1::audit_policy::{
    AuditLevel, AuditPolicy, AuditPolicyRule, AuditStage, GroupResources,
};

use crate::{
    identity::Identity,
    request::{Attributes, ObjectReference},
};

/// What a policy says of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) level: AuditLevel,
    omitted: [bool; 4],
    pub(crate) omit_managed_fields: bool,
}

impl Verdict {
    /// Whether an event is made at this stage.
    pub(crate) fn wants(self, stage: AuditStage) -> bool {
        let omitted = self.omitted.get(stage as usize);
        self.level != AuditLevel::None && omitted == Some(&false)
    }
}

/// The first rule that matches decides; without one nothing is recorded. `None` is a request
/// whose user is not known: rules for users do not match it.
pub(crate) fn evaluate(
    policy: &AuditPolicy,
    user: Option<&Identity>,
    attributes: &Attributes,
) -> Verdict {
    let rule = policy
        .rules
        .iter()
        .find(|rule| matches(rule, user, attributes));
    let mut omitted = [false; 4];
    let of_rule = rule.map_or(&[][..], |rule| &rule.omit_stages);
    for stage in policy.omit_stages.iter().chain(of_rule) {
        if let Some(is_omitted) = omitted.get_mut(*stage as usize) {
            *is_omitted = true;
        }
    }
    Verdict {
        level: rule.map(|rule| rule.level).unwrap_or_default(),
        omitted,
        omit_managed_fields: rule
            .and_then(|rule| rule.omit_managed_fields)
            .unwrap_or(policy.omit_managed_fields),
    }
}

fn matches(rule: &AuditPolicyRule, user: Option<&Identity>, attributes: &Attributes) -> bool {
    let is_user =
        rule.users.is_empty() || user.is_some_and(|user| has(&rule.users, &user.username));
    let is_in_group = rule.user_groups.is_empty()
        || user.is_some_and(|user| {
            let mut groups = user.groups.iter();
            groups.any(|group| has(&rule.user_groups, group))
        });
    let is_verb = rule.verbs.is_empty() || has(&rule.verbs, &attributes.verb);
    if !(is_user && is_in_group && is_verb) {
        return false;
    }
    if !rule.namespaces.is_empty() || !rule.resources.is_empty() {
        let resource = attributes.resource.as_ref();
        return resource.is_some_and(|resource| matches_resource(rule, resource));
    }
    if rule.non_resource_urls.is_empty() {
        return true;
    }
    let mut urls = rule.non_resource_urls.iter();
    attributes.resource.is_none() && urls.any(|url| matches_path(url, &attributes.path))
}

fn matches_resource(rule: &AuditPolicyRule, object: &ObjectReference) -> bool {
    if !rule.namespaces.is_empty() && !has(&rule.namespaces, &object.namespace) {
        return false;
    }
    let mut groups = rule.resources.iter();
    rule.resources.is_empty() || groups.any(|group| matches_group(group, object))
}

fn matches_group(group: &GroupResources, object: &ObjectReference) -> bool {
    if group.group != object.group {
        return false;
    }
    if group.resources.is_empty() {
        return true;
    }
    let is_named = group.resource_names.is_empty() || has(&group.resource_names, &object.name);
    let mut resources = group.resources.iter();
    is_named && resources.any(|pattern| matches_name(pattern, object))
}

/// `pods/*` matches pods themselves, too, as it does in kube-apiserver.
fn matches_name(pattern: &str, object: &ObjectReference) -> bool {
    if pattern == "*" {
        return true;
    }
    match pattern.split_once('/') {
        None => pattern == object.resource && object.subresource.is_empty(),
        Some(("*", subresource)) => {
            !object.subresource.is_empty() && subresource == object.subresource
        }
        Some((resource, "*")) => resource == object.resource,
        Some((resource, subresource)) => {
            resource == object.resource && subresource == object.subresource
        }
    }
}

fn matches_path(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => pattern == path,
    }
}

fn has(list: &[String], value: &str) -> bool {
    list.iter().any(|entry| entry == value)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn identity(username: &str, groups: &[&str]) -> Identity {
        Identity {
            username: username.to_owned(),
            groups: groups.iter().map(ToString::to_string).collect(),
            ..Identity::default()
        }
    }

    fn verdict(rules: &str, user: Option<&Identity>, method: &Method, target: &str) -> Verdict {
        let text = format!(
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [Panic]\nrules:\n{rules}"
        );
        let policy = AuditPolicy::from_yaml(&text).unwrap();
        evaluate(&policy, user, &Attributes::of(method, target))
    }

    /// Whether a rule with these fields matches.
    fn is_matched(fields: &str, method: &Method, target: &str) -> bool {
        let jane = identity("jane", &["dev", "ops"]);
        let rules = format!("- {{level: Metadata, {fields}}}");
        verdict(&rules, Some(&jane), method, target).level == AuditLevel::Metadata
    }

    #[test]
    fn rules_match_as_in_kube_apiserver() {
        let pods = "/api/v1/namespaces/web/pods";
        let pod = "/api/v1/namespaces/web/pods/a";
        let log = "/api/v1/namespaces/web/pods/a/log";
        let scale = "/apis/apps/v1/namespaces/web/deployments/a/scale";
        for (fields, target, expected) in [
            ("", pods, true),
            ("", "/healthz", true),
            ("users: [jane]", pods, true),
            ("users: [bob]", pods, false),
            ("userGroups: [ops, x]", pods, true),
            ("userGroups: [x]", pods, false),
            ("verbs: [list]", pods, true),
            ("verbs: [get]", pods, false),
            ("verbs: [get]", "/healthz", true),
            ("namespaces: [web]", pods, true),
            ("namespaces: ['']", pods, false),
            ("namespaces: ['']", "/api/v1/nodes", true),
            ("namespaces: ['']", "/healthz", false),
            ("namespaces: [web]", "/api/v1/namespaces/web", true),
            ("resources: [{resources: [pods]}]", pods, true),
            ("resources: [{resources: [pods]}]", log, false),
            ("resources: [{resources: [pods/log]}]", log, true),
            ("resources: [{resources: [pods/log]}]", pod, false),
            ("resources: [{resources: ['pods/*']}]", log, true),
            ("resources: [{resources: ['pods/*']}]", pod, true),
            ("resources: [{resources: ['*/log']}]", log, true),
            ("resources: [{resources: ['*/log']}]", pod, false),
            ("resources: [{resources: ['*']}]", log, true),
            ("resources: [{resources: ['*']}]", scale, false),
            (
                "resources: [{group: apps, resources: ['*/scale']}]",
                scale,
                true,
            ),
            ("resources: [{group: apps}]", scale, true),
            ("resources: [{group: ''}]", pods, true),
            (
                "resources: [{resources: [pods], resourceNames: [a]}]",
                pod,
                true,
            ),
            (
                "resources: [{resources: [pods], resourceNames: [b]}]",
                pod,
                false,
            ),
            (
                "resources: [{resources: [pods], resourceNames: [a]}]",
                pods,
                false,
            ),
            (
                "resources: [{resources: [nodes]}, {resources: [pods]}]",
                pod,
                true,
            ),
            ("nonResourceURLs: ['*']", "/healthz", true),
            ("nonResourceURLs: ['*']", pods, false),
            ("nonResourceURLs: ['/healthz*']", "/healthz/etcd", true),
            ("nonResourceURLs: ['/healthz']", "/healthz/etcd", false),
            ("nonResourceURLs: ['/api']", "/api?timeout=32s", true),
        ] {
            assert_eq!(
                is_matched(fields, &Method::GET, target),
                expected,
                "{fields} {target}"
            );
        }
        assert!(is_matched(
            "verbs: [deletecollection]",
            &Method::DELETE,
            pods
        ));
    }

    #[test]
    fn rules_for_users_need_a_user() {
        let level = |rules| verdict(rules, None, &Method::GET, "/api").level;
        assert_eq!(level("- {level: Metadata, users: ['']}"), AuditLevel::None);
        assert_eq!(
            level("- {level: Metadata, userGroups: ['']}"),
            AuditLevel::None
        );
        assert_eq!(level("- {level: Metadata}"), AuditLevel::Metadata);
    }

    #[test]
    fn the_first_rule_counts_and_stages_add_up() {
        let rules = "- {level: None, verbs: [watch]}\n- {level: Request, omitStages: [RequestReceived], omitManagedFields: true}\n- {level: Metadata}";
        let found = verdict(rules, None, &Method::GET, "/api/v1/pods");
        assert_eq!(found.level, AuditLevel::Request);
        assert!(found.omit_managed_fields);
        assert!(!found.wants(AuditStage::RequestReceived) && !found.wants(AuditStage::Panic));
        assert!(found.wants(AuditStage::ResponseComplete));
        let watch = verdict(rules, None, &Method::GET, "/api/v1/pods?watch=1");
        assert_eq!(watch.level, AuditLevel::None);
        assert!(!watch.wants(AuditStage::ResponseComplete));
    }
}
