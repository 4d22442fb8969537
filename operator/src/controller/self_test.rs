//! Whether the pods' account really may do what it was granted: a role says so only where the
//! cluster's authorizer goes by roles.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::{
    authorization::v1::{SubjectAccessReview, SubjectAccessReviewSpec},
    rbac::v1::ClusterRole,
};
use kube::{Api, Client, ResourceExt as _, api::PostParams};
use oidcproxy_crds::v1alpha1::Settings;

use super::{
    build::{Applied, Foundation, Grant, grants},
    identity::Identity,
    refusal::{Fault, truncated},
};

/// The authorizer learns of a new role a moment later.
const LAG: Duration = Duration::from_millis(300);
const ATTEMPTS: usize = 4;

/// As many passes new settings wait for rights that are written and not in effect: a cache of the
/// authorizer may lag, and one that will never grant them must not keep all else from being published.
const HELD: u32 = 5;

/// What was found, by the owner's UID.
#[derive(Debug, Default)]
pub(super) struct SelfTest(Mutex<HashMap<String, Found>>);

/// What was found of one role and its binding.
#[derive(Debug)]
struct Found {
    state: String,
    /// Passes in a row that something was missing in; none when all is in effect.
    refused: u32,
}

/// Rights that are written and not in effect.
#[derive(Debug)]
pub(super) struct Missing {
    grants: BTreeSet<Grant>,
    passes: u32,
}

impl Missing {
    /// Whether settings that need more than those before should wait.
    pub(super) fn holds_up(&self, published: Option<&Settings>, next: &Settings) -> bool {
        let Some(published) = published else {
            return false;
        };
        let widened = &grants(next) - &grants(published);
        self.passes <= HELD && !self.grants.is_disjoint(&widened)
    }

    /// As the status says it.
    pub(super) fn fault(&self) -> Fault {
        let missing: Vec<String> = self.grants.iter().map(ToString::to_string).collect();
        let missing = missing.join(", ");
        let message = format!("the role is there, and the cluster still refuses: {missing}");
        Fault::new("GrantMissing", truncated(message))
    }
}

impl SelfTest {
    /// Asks about each grant, once for each state of the role and its binding.
    pub(super) async fn check(
        &self,
        client: &Client,
        identity: &Identity,
        foundation: &Foundation<Applied>,
        grants: &BTreeSet<Grant>,
    ) -> Option<Missing> {
        let version = |object: Option<String>| object.unwrap_or_default();
        let role: &ClusterRole = &foundation.cluster_role;
        let state = format!(
            "{} {}",
            version(role.resource_version()),
            version(foundation.cluster_role_binding.resource_version())
        );
        let is_known = |found: &Found| found.state == state && found.refused == 0;
        if self.with(|known| known.get(&identity.uid).is_some_and(is_known)) {
            return None;
        }
        let mut missing: Vec<&Grant> = grants.iter().collect();
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(LAG).await;
            }
            match denied(client, identity, &missing).await {
                Ok(still) => missing = still,
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(error, "the proxy's grants could not be tried");
                    return None;
                }
            }
            if missing.is_empty() {
                self.note(&identity.uid, state, true);
                return None;
            }
        }
        Some(Missing {
            grants: missing.into_iter().cloned().collect(),
            passes: self.note(&identity.uid, state, false),
        })
    }

    /// In how many passes in a row something was missing.
    fn note(&self, uid: &str, state: String, complete: bool) -> u32 {
        self.with(|known| {
            let before = known.get(uid).filter(|found| found.state == state);
            let before = before.map_or(0, |found| found.refused);
            let refused = if complete {
                0
            } else {
                before.saturating_add(1)
            };
            known.insert(uid.to_owned(), Found { state, refused });
            refused
        })
    }

    /// The owner is gone.
    pub(super) fn forget(&self, uid: &str) {
        self.with(|known| known.remove(uid));
    }

    /// Only these owners are left.
    pub(super) fn retain(&self, uids: &BTreeSet<String>) {
        self.with(|known| known.retain(|uid, _| uids.contains(uid)));
    }

    fn with<T>(&self, change: impl FnOnce(&mut HashMap<String, Found>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn denied<'a>(
    client: &Client,
    identity: &Identity,
    grants: &[&'a Grant],
) -> kube::Result<Vec<&'a Grant>> {
    let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
    let Identity {
        name, namespace, ..
    } = identity;
    let mut denied = Vec::new();
    for &grant in grants {
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(format!("system:serviceaccount:{namespace}:{name}")),
                groups: Some(vec![
                    "system:serviceaccounts".to_owned(),
                    format!("system:serviceaccounts:{namespace}"),
                    "system:authenticated".to_owned(),
                ]),
                resource_attributes: Some(grant.attributes()),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let answer = reviews.create(&PostParams::default(), &review).await?;
        if !answer.status.is_some_and(|status| status.allowed) {
            denied.push(grant);
        }
    }
    Ok(denied)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::controller::resolve::tests::resolved;

    #[test]
    fn wider_settings_wait_for_their_rights_and_not_for_ever() {
        let with = |key: &str| {
            resolved(json!({"impersonation": {"extra": [{"key": key, "values": ["x"]}]}}))
                .settings()
                .clone()
        };
        let (old, new) = (with("a"), with("b"));
        let tested = SelfTest::default();
        let missing = |of: &BTreeSet<Grant>| Missing {
            grants: of.clone(),
            passes: tested.note("u", "1 1".into(), false),
        };
        let (wanted, before) = (grants(&new), grants(&old));
        assert!(!missing(&wanted).holds_up(None, &new), "nothing runs yet");
        assert!(missing(&wanted).holds_up(Some(&old), &new));
        assert!(!missing(&before).holds_up(Some(&new), &new), "not wider");
        let later = (0..HELD).map(|_| missing(&wanted).holds_up(Some(&old), &new));
        assert_eq!(later.filter(|holds| *holds).count(), 2);
        // Another state of the role is tried anew.
        assert_eq!(tested.note("u", "2 1".into(), false), 1);
        assert_eq!(tested.note("u", "2 1".into(), true), 0);
    }
}
