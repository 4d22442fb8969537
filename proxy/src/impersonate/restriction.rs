//! `spec.impersonation.restrictTo`: the only identities that are forwarded. An identity is refused,
//! never cut down to what is listed: somebody without a group that they have is somebody else.

use std::collections::HashSet;

use oidcproxy_crds::v1alpha1::impersonation::{Names, RestrictTo};

use super::ImpersonationError;
use crate::identity::{AUTHENTICATED, Identity, UNAUTHENTICATED};

/// Which users and groups are forwarded; `None` for all of them.
#[derive(Debug, Default)]
pub(crate) struct Restriction {
    users: Option<HashSet<String>>,
    groups: Option<HashSet<String>>,
}

impl From<RestrictTo> for Restriction {
    fn from(RestrictTo { users, groups }: RestrictTo) -> Self {
        let set = |names: Option<Names>| names.map(|names| names.names.into_iter().collect());
        Self {
            users: set(users),
            groups: set(groups),
        }
    }
}

impl Restriction {
    /// Looks at the identity as it will be forwarded. The groups that the proxy itself adds to
    /// everybody need not be listed.
    pub(crate) fn check(&self, identity: &Identity) -> Result<(), ImpersonationError> {
        let username = &identity.username;
        if let Some(users) = &self.users
            && !users.contains(username)
        {
            return Err(ImpersonationError::Forbidden(format!(
                "the user {username:?} is not listed in spec.impersonation.restrictTo.users"
            )));
        }
        let Some(groups) = &self.groups else {
            return Ok(());
        };
        let automatic = |group: &str| matches!(group, AUTHENTICATED | UNAUTHENTICATED);
        let mut all = identity.groups.iter();
        match all.find(|group| !automatic(group) && !groups.contains(*group)) {
            None => Ok(()),
            Some(group) => Err(ImpersonationError::Forbidden(format!(
                "the group {group:?} is not listed in spec.impersonation.restrictTo.groups"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(restriction: &Restriction, username: &str, groups: &[&str]) -> bool {
        let mut identity = Identity {
            username: username.into(),
            groups: groups.iter().map(|group| (*group).into()).collect(),
            ..Identity::default()
        };
        identity.add_automatic_groups();
        restriction.check(&identity).is_ok()
    }

    #[test]
    fn only_what_is_listed_passes() {
        let names = |names: &[&str]| {
            Some(Names {
                names: names.iter().map(|name| (*name).into()).collect(),
            })
        };
        let nobody_asked = Restriction::default();
        assert!(passes(&nobody_asked, "anybody", &["any"]));
        let users = Restriction::from(RestrictTo {
            users: names(&["alice"]),
            groups: None,
        });
        assert!(passes(&users, "alice", &["any"]));
        assert!(!passes(&users, "Alice", &[]));
        let groups = Restriction::from(RestrictTo {
            users: None,
            groups: names(&["dev", "ops"]),
        });
        assert!(passes(&groups, "anybody", &["dev"]));
        assert!(passes(&groups, "anybody", &[]));
        assert!(!passes(&groups, "anybody", &["dev", "sec"]));
        assert!(!passes(&groups, "anybody", &["dev "]));
    }
}
