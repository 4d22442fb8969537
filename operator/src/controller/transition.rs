//! Rights move in two steps: first old and new together, and once every pod runs the new
//! settings, the new alone. What is under way is lost on restart; then the pods that still run
//! old settings may meet refusals for a moment.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
};

use oidcproxy_crds::v1alpha1::Settings;

use super::build::{Grant, grants};

/// The rights of settings that pods may still run with, by the owner's UID.
#[derive(Debug, Default)]
pub(super) struct Transitions(Mutex<HashMap<String, BTreeSet<Grant>>>);

impl Transitions {
    /// What the role has to hold while the pods move from what was published to what comes next.
    pub(super) fn grants(
        &self,
        uid: &str,
        published: Option<&Settings>,
        next: &Settings,
    ) -> BTreeSet<Grant> {
        let mut wanted = grants(next);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(published) = published.filter(|published| published.revision != next.revision) {
            all.entry(uid.to_owned())
                .or_default()
                .extend(grants(published));
        }
        wanted.extend(all.get(uid).into_iter().flatten().cloned());
        wanted
    }

    /// Every pod has moved.
    pub(super) fn settle(&self, uid: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::controller::resolve::tests::resolved;

    #[test]
    fn old_and_new_until_settled() {
        let with = |key: &str| {
            resolved(json!({"impersonation": {"extra": [{"key": key, "values": ["x"]}]}})).settings
        };
        let (old, new) = (with("a"), with("b"));
        let transitions = Transitions::default();
        assert_eq!(transitions.grants("u", None, &old), grants(&old));
        let both: BTreeSet<Grant> = grants(&old).union(&grants(&new)).cloned().collect();
        assert_eq!(transitions.grants("u", Some(&old), &new), both);
        assert_eq!(transitions.grants("u", Some(&new), &new), both);
        transitions.settle("u");
        assert_eq!(transitions.grants("u", Some(&new), &new), grants(&new));
    }
}
