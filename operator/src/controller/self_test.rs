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

use super::{
    build::{Applied, Foundation, Grant},
    identity::Identity,
    refusal::{Fault, truncated},
};

/// The authorizer learns of a new role a moment later.
const LAG: Duration = Duration::from_millis(300);
const ATTEMPTS: usize = 4;

/// The rights that were found in effect, by the owner's UID.
#[derive(Debug, Default)]
pub(super) struct SelfTest(Mutex<HashMap<String, String>>);

impl SelfTest {
    /// Asks about each grant, once for each state of the role and its binding.
    pub(super) async fn check(
        &self,
        client: &Client,
        identity: &Identity,
        foundation: &Foundation<Applied>,
        grants: &BTreeSet<Grant>,
    ) -> Option<Fault> {
        let version = |object: Option<String>| object.unwrap_or_default();
        let role: &ClusterRole = &foundation.cluster_role;
        let state = format!(
            "{} {}",
            version(role.resource_version()),
            version(foundation.cluster_role_binding.resource_version())
        );
        if self.with(|known| known.get(&identity.uid) == Some(&state)) {
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
                self.with(|known| known.insert(identity.uid.clone(), state));
                return None;
            }
        }
        let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
        let missing = missing.join(", ");
        let message = format!("the role is there, and the cluster still refuses: {missing}");
        Some(Fault::new("GrantMissing", truncated(message)))
    }

    /// The owner is gone.
    pub(super) fn forget(&self, uid: &str) {
        self.with(|known| known.remove(uid));
    }

    fn with<T>(&self, change: impl FnOnce(&mut HashMap<String, String>) -> T) -> T {
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
