//! Who somebody is: what tokens are mapped to, what is reviewed, forwarded and logged.

pub(crate) mod headers;

use oidcproxy_crds::v1alpha1::impersonation::StaticExtra;

pub(crate) use self::headers::{IdentityHeaders, UnsafeIdentity};

/// The group that every authenticated user is in.
pub(crate) const AUTHENTICATED: &str = "system:authenticated";
/// The group of requests without a user.
pub(crate) const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The user of requests without a credential.
pub(crate) const ANONYMOUS: &str = "system:anonymous";

/// A user with all that kube-apiserver knows of one.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Identity {
    pub(crate) username: String,
    pub(crate) uid: Option<String>,
    /// In the order of the claim; kube-apiserver keeps it, and duplicates too.
    pub(crate) groups: Vec<String>,
    /// Values by lower-case keys, in order.
    pub(crate) extra: Vec<(String, Vec<String>)>,
}

impl Identity {
    /// The groups that kube-apiserver adds by itself. They are sent explicitly, since a request
    /// with at least one `Impersonate-Group` and no user is an error there and not a request of
    /// the proxy's own.
    pub(crate) fn add_automatic_groups(&mut self) {
        let has = |name: &str| self.groups.iter().any(|group| group == name);
        let group = if self.username == ANONYMOUS {
            UNAUTHENTICATED
        } else if has(UNAUTHENTICATED) {
            return;
        } else {
            AUTHENTICATED
        };
        if !has(group) {
            self.groups.push(group.to_owned());
        }
    }

    /// Extras that every request carries; they win over a client's own of the same key.
    pub(crate) fn add_extras(&mut self, extras: &[StaticExtra]) {
        for StaticExtra { key, values } in extras {
            self.extra.retain(|(known, _)| known != key);
            self.extra.push((key.clone(), values.clone()));
        }
    }

    /// Bytes of all names and values.
    pub(crate) fn size(&self) -> usize {
        let extra = |(key, values): &(String, Vec<String>)| {
            key.len() + values.iter().map(String::len).sum::<usize>()
        };
        self.username.len()
            + self.uid.as_ref().map_or(0, String::len)
            + self.groups.iter().map(String::len).sum::<usize>()
            + self.extra.iter().map(extra).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(username: &str, groups: &[&str]) -> Vec<String> {
        let mut identity = Identity {
            username: username.into(),
            groups: groups.iter().map(|group| (*group).into()).collect(),
            ..Identity::default()
        };
        identity.add_automatic_groups();
        identity.groups
    }

    #[test]
    fn groups_are_added_as_kube_apiserver_does() {
        assert_eq!(groups("alice", &["dev"]), ["dev", AUTHENTICATED]);
        assert_eq!(groups("alice", &[AUTHENTICATED]), [AUTHENTICATED]);
        assert_eq!(groups("alice", &[UNAUTHENTICATED]), [UNAUTHENTICATED]);
        assert_eq!(groups(ANONYMOUS, &[]), [UNAUTHENTICATED]);
        assert_eq!(groups(ANONYMOUS, &[UNAUTHENTICATED]), [UNAUTHENTICATED]);
    }
}
