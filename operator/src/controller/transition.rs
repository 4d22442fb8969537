//! Rights move in two steps: first old and new together, and once every pod runs the new
//! settings, the new alone. What the old ones are stands in the role itself, so that an operator
//! that begins in between takes nothing away too early.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
};

use k8s_openapi::api::rbac::v1::ClusterRole;
use oidcproxy_crds::v1alpha1::Settings;

use super::build::{Grant, granted, grants};

/// The revision that every pod was seen with, by the owner's UID.
#[derive(Debug, Default)]
pub(super) struct Transitions(Mutex<HashMap<String, String>>);

impl Transitions {
    /// Whether every pod was seen with these settings.
    pub(super) fn is_settled(&self, uid: &str, next: &Settings) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(uid) == Some(&next.revision)
    }

    /// What the role has to hold: with what it holds now and what was published before, until every
    /// pod was seen with what comes next.
    pub(super) fn grants(
        &self,
        uid: &str,
        published: Option<&Settings>,
        role: Option<&ClusterRole>,
        next: Option<&Settings>,
    ) -> BTreeSet<Grant> {
        let mut wanted = next.map(grants).unwrap_or_default();
        if !next.is_some_and(|next| self.is_settled(uid, next)) {
            wanted.extend(published.into_iter().flat_map(grants));
            wanted.extend(role.into_iter().flat_map(granted));
        }
        wanted
    }

    /// Every pod has moved.
    pub(super) fn settle(&self, uid: &str, current: &Settings) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(uid.to_owned(), current.revision.clone());
    }

    /// The owner is gone.
    pub(super) fn forget(&self, uid: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(uid);
    }

    /// Only these owners are left.
    pub(super) fn retain(&self, uids: &BTreeSet<String>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|uid, _| uids.contains(uid));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::controller::{
        build::{Surroundings, foundation},
        resolve::{Resolved, tests::resolved},
        validate::tests::options,
    };

    fn with(key: &str) -> Resolved {
        resolved(json!({"impersonation": {"extra": [{"key": key, "values": ["x"]}]}}))
    }

    fn role(resolved: &Resolved, grants: &BTreeSet<Grant>) -> ClusterRole {
        foundation(resolved, grants, &Surroundings::default(), &options()).cluster_role
    }

    #[test]
    fn old_and_new_until_settled() {
        let (old, new) = (with("a"), with("b"));
        let (old, new) = (old.settings(), new.settings());
        let transitions = Transitions::default();
        assert_eq!(transitions.grants("u", None, None, Some(old)), grants(old));
        let both: BTreeSet<Grant> = grants(old).union(&grants(new)).cloned().collect();
        assert_eq!(transitions.grants("u", Some(old), None, Some(new)), both);
        transitions.settle("u", old);
        assert_eq!(transitions.grants("u", Some(old), None, Some(new)), both);
        transitions.settle("u", new);
        assert_eq!(
            transitions.grants("u", Some(new), None, Some(new)),
            grants(new)
        );
        transitions.forget("u");
        assert!(!transitions.is_settled("u", new));
    }

    #[test]
    fn an_operator_that_begins_in_between_takes_nothing_away() {
        let (old, new) = (with("a"), with("b"));
        let before = Transitions::default();
        let both = before.grants("u", Some(old.settings()), None, Some(new.settings()));
        let live = role(&new, &both);
        // The new settings are published, pods still run the old ones, and this memory is empty.
        let after = Transitions::default();
        let kept = after.grants("u", Some(new.settings()), Some(&live), Some(new.settings()));
        assert_eq!(kept, both);
        after.settle("u", new.settings());
        let moved = after.grants("u", Some(new.settings()), Some(&live), Some(new.settings()));
        assert_eq!(moved, grants(new.settings()));
    }

    #[test]
    fn reviews_stay_until_nobody_asks_for_them() {
        let old =
            resolved(json!({"authentication": {"tokenPassthrough": {"mode": "TokenReview"}}}));
        let new = resolved(json!({"impersonation": {"clientRequests": "Deny"}}));
        let live = role(&old, &grants(old.settings()));
        let begun = Transitions::default();
        let kept = begun.grants("u", Some(new.settings()), Some(&live), Some(new.settings()));
        assert!(kept.is_superset(&grants(old.settings())), "{kept:?}");
    }

    #[test]
    fn without_settings_nothing_is_taken_away() {
        let old = with("a");
        let live = role(&old, &grants(old.settings()));
        let transitions = Transitions::default();
        let kept = transitions.grants("u", None, Some(&live), None);
        assert_eq!(kept, grants(old.settings()));
        assert!(transitions.grants("u", None, None, None).is_empty());
    }
}
