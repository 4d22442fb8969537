//! What kube-apiserver checks before somebody may act as somebody else: of the `impersonate` verb
//! for each part of the identity, and of constrained impersonation (KEP-5284) the mode that the
//! identity falls into.

use k8s_openapi::api::authorization::v1::{
    FieldSelectorAttributes, LabelSelectorAttributes, NonResourceAttributes, ResourceAttributes,
};
use oidcproxy_crds::v1alpha1::issuer_rules::check_prefixed_key;

use super::{client_request::service_account, request::RequestUnderReview};
use crate::identity::Identity;

const AUTHENTICATION: &str = "authentication.k8s.io";
/// From here on all values of a kind are asked for at once before they are asked for one by one.
const MANY: usize = 4;
/// Never by constrained impersonation, whatever the rights.
const MASTERS: &str = "system:masters";

/// One thing that must be allowed.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Check {
    Resource(Box<ResourceAttributes>),
    Path(NonResourceAttributes),
}

/// A check that stands for several, and those, which are asked when it is denied.
#[derive(Debug)]
pub(super) struct Checks {
    pub(super) at_once: Option<Check>,
    pub(super) each: Vec<Check>,
}

/// The modes of constrained impersonation that a user of ours can come into. A node that is bound
/// to a `ServiceAccount` acts through a fifth, but their tokens are passed through.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mode {
    ArbitraryNode,
    ServiceAccount,
    UserInfo,
}

impl Mode {
    /// At most one applies to an identity.
    pub(super) fn of(target: &Identity) -> Option<Self> {
        let only_named =
            target.uid.is_none() && target.groups.is_empty() && target.extra.is_empty();
        if node(&target.username).is_some() {
            only_named.then_some(Self::ArbitraryNode)
        } else if service_account(&target.username).is_some() {
            only_named.then_some(Self::ServiceAccount)
        } else {
            is_fit_for_user_info(target).then_some(Self::UserInfo)
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::ArbitraryNode => "arbitrary-node",
            Self::ServiceAccount => "serviceaccount",
            Self::UserInfo => "user-info",
        }
    }

    /// Whether this very request may be made in this mode; asked first.
    pub(super) fn on(self, request: &RequestUnderReview) -> Check {
        let attributes = &request.attributes;
        let verb = format!("impersonate-on:{}:{}", self.name(), attributes.verb);
        let Some(target) = &attributes.resource else {
            return Check::Path(NonResourceAttributes {
                path: Some(attributes.path.clone()),
                verb: Some(verb),
            });
        };
        let field = |selector| FieldSelectorAttributes {
            raw_selector: Some(selector),
            ..FieldSelectorAttributes::default()
        };
        let label = |selector| LabelSelectorAttributes {
            raw_selector: Some(selector),
            ..LabelSelectorAttributes::default()
        };
        Check::Resource(Box::new(ResourceAttributes {
            verb: Some(verb),
            group: Some(target.group.clone()),
            version: Some(target.version.clone()),
            namespace: Some(target.namespace.clone()),
            resource: Some(target.resource.clone()),
            subresource: Some(target.subresource.clone()),
            name: Some(target.name.clone()),
            field_selector: request.field_selector.clone().map(field),
            label_selector: request.label_selector.clone().map(label),
        }))
    }

    /// Whether the identity may be taken on in this mode.
    pub(super) fn identity(self, target: &Identity) -> Vec<Checks> {
        let verb = format!("impersonate:{}", self.name());
        let on = |resource: &str, name: &str| on(&verb, AUTHENTICATION, resource, name);
        let user = match (node(&target.username), service_account(&target.username)) {
            (Some(name), _) => on("nodes", name),
            (None, Some((namespace, name))) => ResourceAttributes {
                namespace: Some(namespace.to_owned()),
                ..on("serviceaccounts", name)
            },
            (None, None) => on("users", &target.username),
        };
        let mut all = vec![Checks::one(user)];
        all.extend(target.uid.iter().map(|uid| Checks::one(on("uids", uid))));
        let groups = target.groups.iter().map(|group| on("groups", group));
        all.push(Checks::many(groups, on("groups", "*")));
        let any = ResourceAttributes {
            subresource: Some("*".to_owned()),
            ..on("userextras", "*")
        };
        let keys = target.extra.len();
        let mut extras = Checks::many(extras(&verb, target), any.clone());
        if keys >= MANY {
            extras.at_once = Some(Check::Resource(Box::new(any)));
        }
        all.push(extras);
        all
    }
}

impl Checks {
    fn one(attributes: ResourceAttributes) -> Self {
        Self {
            at_once: None,
            each: vec![Check::Resource(Box::new(attributes))],
        }
    }

    fn many(each: impl Iterator<Item = ResourceAttributes>, all: ResourceAttributes) -> Self {
        let each: Vec<_> = each
            .map(|attributes| Check::Resource(Box::new(attributes)))
            .collect();
        Self {
            at_once: (each.len() >= MANY).then(|| Check::Resource(Box::new(all))),
            each,
        }
    }
}

/// What the `impersonate` verb needs: the user, the groups, the extras, the uid.
pub(super) fn legacy(target: &Identity) -> Vec<Check> {
    const VERB: &str = "impersonate";
    let mut all = vec![match service_account(&target.username) {
        Some((namespace, name)) => ResourceAttributes {
            namespace: Some(namespace.to_owned()),
            ..on(VERB, "", "serviceaccounts", name)
        },
        None => on(VERB, "", "users", &target.username),
    }];
    all.extend(
        target
            .groups
            .iter()
            .map(|group| on(VERB, "", "groups", group)),
    );
    all.extend(extras(VERB, target));
    all.extend(
        target
            .uid
            .iter()
            .map(|uid| on(VERB, AUTHENTICATION, "uids", uid)),
    );
    all.into_iter()
        .map(|attributes| Check::Resource(Box::new(attributes)))
        .collect()
}

fn extras(verb: &str, target: &Identity) -> impl Iterator<Item = ResourceAttributes> {
    target.extra.iter().flat_map(move |(key, values)| {
        values.iter().map(move |value| ResourceAttributes {
            subresource: Some(key.clone()),
            ..on(verb, AUTHENTICATION, "userextras", value)
        })
    })
}

fn on(verb: &str, group: &str, resource: &str, name: &str) -> ResourceAttributes {
    ResourceAttributes {
        verb: Some(verb.to_owned()),
        group: Some(group.to_owned()),
        version: Some("v1".to_owned()),
        resource: Some(resource.to_owned()),
        name: Some(name.to_owned()),
        ..ResourceAttributes::default()
    }
}

/// The name in `system:node:<name>`.
pub(super) fn node(username: &str) -> Option<&str> {
    username
        .strip_prefix("system:node:")
        .filter(|name| !name.is_empty())
}

/// What constrained impersonation refuses before it asks anybody.
fn is_fit_for_user_info(target: &Identity) -> bool {
    let group = |group: &String| !group.is_empty() && group != MASTERS;
    let extra = |(key, values): &(String, Vec<String>)| {
        check_prefixed_key(key).is_none() && values.iter().all(|value| !value.is_empty())
    };
    target.groups.iter().all(group) && target.extra.iter().all(extra)
}

impl std::fmt::Display for Check {
    /// In the words of kube-apiserver's own refusals: `impersonate users "bob"`.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let part = |value: &Option<String>| value.clone().unwrap_or_default();
        match self {
            Self::Path(path) => write!(formatter, "{} {:?}", part(&path.verb), part(&path.path)),
            Self::Resource(attributes) => {
                write!(
                    formatter,
                    "{} {}",
                    part(&attributes.verb),
                    part(&attributes.resource).escape_debug()
                )?;
                let subresource = part(&attributes.subresource);
                if !subresource.is_empty() {
                    write!(formatter, "/{}", subresource.escape_debug())?;
                }
                let name = part(&attributes.name);
                if !name.is_empty() {
                    write!(formatter, " {name:?}")?;
                }
                let namespace = part(&attributes.namespace);
                if !namespace.is_empty() {
                    write!(formatter, " in namespace {namespace:?}")?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(checks: &[Check]) -> Vec<String> {
        checks.iter().map(ToString::to_string).collect()
    }

    fn named(username: &str) -> Identity {
        Identity {
            username: username.into(),
            ..Identity::default()
        }
    }

    fn with_groups(groups: &[&str]) -> Identity {
        Identity {
            groups: groups.iter().map(|group| (*group).into()).collect(),
            ..named("bob")
        }
    }

    #[test]
    fn the_checks_are_those_of_kube_apiserver() {
        let target = Identity {
            username: "system:serviceaccount:web:deployer".into(),
            uid: Some("7".into()),
            groups: vec!["dev".into()],
            extra: vec![("example.com/key".into(), vec!["v".into()])],
        };
        assert_eq!(
            described(&legacy(&target)),
            [
                r#"impersonate serviceaccounts "deployer" in namespace "web""#,
                r#"impersonate groups "dev""#,
                r#"impersonate userextras/example.com/key "v""#,
                r#"impersonate uids "7""#,
            ]
        );
        let groups: Vec<_> = legacy(&target)
            .into_iter()
            .map(|check| match check {
                Check::Resource(attributes) => attributes.group.unwrap_or_default(),
                Check::Path(_) => panic!("not of a path"),
            })
            .collect();
        assert_eq!(groups, ["", "", AUTHENTICATION, AUTHENTICATION]);
    }

    #[test]
    fn an_identity_falls_into_one_mode() {
        assert_eq!(Mode::of(&named("bob")), Some(Mode::UserInfo));
        assert_eq!(
            Mode::of(&named("system:node:n1")),
            Some(Mode::ArbitraryNode)
        );
        let account = named("system:serviceaccount:web:deployer");
        assert_eq!(Mode::of(&account), Some(Mode::ServiceAccount));
        for named in ["system:node:n1", "system:serviceaccount:web:deployer"] {
            let mut more = with_groups(&["dev"]);
            more.username = named.into();
            assert_eq!(Mode::of(&more), None, "{named}");
        }
        assert_eq!(Mode::of(&with_groups(&["dev"])), Some(Mode::UserInfo));
        assert_eq!(Mode::of(&with_groups(&["dev", "system:masters"])), None);
        let mut extra = named("bob");
        extra.extra = vec![("scopes".into(), vec!["v".into()])];
        assert_eq!(Mode::of(&extra), None);
    }

    #[test]
    fn many_values_are_asked_for_at_once() {
        let few = Mode::UserInfo.identity(&with_groups(&["a", "b", "c"]));
        assert!(few.iter().all(|checks| checks.at_once.is_none()));
        let many = Mode::UserInfo.identity(&with_groups(&["a", "b", "c", "d"]));
        let at_once: Vec<_> = many.into_iter().filter_map(|one| one.at_once).collect();
        assert_eq!(described(&at_once), [r#"impersonate:user-info groups "*""#]);
    }
}
