//! Names that kube-apiserver gives a meaning of its own: no issuer may hand them out.
//!
//! The guard looks at the final names, after prefixes, and before anything is reviewed: a forged
//! group would steer the review itself. A name is refused, never stripped: whoever is served
//! without a group that they claim has been told something wrong about who they are.

use crate::identity::Identity;

/// What is refused.
#[derive(Debug, Default)]
pub(crate) struct ReservedNames {
    /// Prefixes of usernames and groups.
    pub(crate) prefixes: Vec<String>,
    /// Groups that may pass all the same, by their exact names.
    pub(crate) allowed_groups: Vec<String>,
}

impl ReservedNames {
    /// The first reserved name in an identity: `username` or `group`, for the log.
    pub(crate) fn found_in(&self, identity: &Identity) -> Option<&'static str> {
        if self.is_reserved(&identity.username) {
            return Some("username");
        }
        let reserved =
            |group: &String| self.is_reserved(group) && !self.allowed_groups.contains(group);
        identity.groups.iter().any(reserved).then_some("group")
    }

    fn is_reserved(&self, name: &str) -> bool {
        self.prefixes.iter().any(|prefix| name.starts_with(prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(username: &str, groups: &[&str]) -> Option<&'static str> {
        let reserved = ReservedNames {
            prefixes: vec!["system:".into(), "kubeadm:".into()],
            allowed_groups: vec!["system:auditors".into()],
        };
        reserved.found_in(&Identity {
            username: username.into(),
            groups: groups.iter().map(|group| (*group).into()).collect(),
            ..Identity::default()
        })
    }

    #[test]
    fn reserved_names_are_found() {
        assert_eq!(found("alice", &["dev"]), None);
        assert_eq!(found("system:admin", &[]), Some("username"));
        assert_eq!(found("kubeadm:x", &[]), Some("username"));
        assert_eq!(found("alice", &["dev", "system:masters"]), Some("group"));
        assert_eq!(found("alice", &["system:auditors"]), None);
        assert_eq!(found("system:auditors", &[]), Some("username"));
        assert_eq!(found("System:admin", &["my-system:masters"]), None);
    }
}
