//! Whether a user may act as somebody else: the `SubjectAccessReviews` that kube-apiserver would
//! ask itself, asked for the user, since the proxy's own right to impersonate says nothing.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use futures::future::try_join_all;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::{Api, Client, api::PostParams};
use moka::future::Cache;

use super::{ImpersonationError, client_request::service_account};
use crate::{identity::Identity, metrics::Metrics};

/// As long as kube-apiserver itself remembers an authorization that a webhook gave.
const REMEMBERED: Duration = Duration::from_secs(10);
/// For all reviews of one request together.
const BUDGET: Duration = Duration::from_secs(5);
const MAX_REMEMBERED: u64 = 8192;

type ReviewHash = [u8; 32];

/// Asks the cluster whether users may act as others.
#[derive(Clone)]
pub(crate) struct Reviewer {
    client: Client,
    decisions: Cache<ReviewHash, bool>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, thiserror::Error)]
enum ReviewError {
    #[error("the review cannot be encoded")]
    Encode(#[from] serde_json::Error),
    #[error("the review failed")]
    Ask(#[from] Box<kube::Error>),
    #[error("the answer has no status")]
    NoStatus,
}

impl Reviewer {
    pub(crate) fn new(client: Client, metrics: Arc<Metrics>) -> Self {
        let decisions = Cache::builder()
            .max_capacity(MAX_REMEMBERED)
            .time_to_live(REMEMBERED)
            .build();
        Self {
            client,
            decisions,
            metrics,
        }
    }

    /// Everything that the target is made of must be allowed. No answer is a no.
    pub(crate) async fn check(
        &self,
        requester: &Identity,
        target: &Identity,
    ) -> Result<(), ImpersonationError> {
        let reviews = attributes(target)
            .into_iter()
            .map(|attributes| self.decide(requester, attributes));
        let denied = tokio::time::timeout(BUDGET, try_join_all(reviews))
            .await
            .map_err(|_| {
                self.metrics.review("timeout");
                ImpersonationError::Unavailable(
                    "the cluster did not say in time whether the impersonation is allowed"
                        .to_owned(),
                )
            })??;
        match denied.into_iter().flatten().next() {
            None => Ok(()),
            Some(what) => Err(ImpersonationError::Forbidden(format!(
                "user {:?} cannot impersonate {what}",
                requester.username
            ))),
        }
    }

    /// `Some` names what is denied.
    async fn decide(
        &self,
        requester: &Identity,
        attributes: ResourceAttributes,
    ) -> Result<Option<String>, ImpersonationError> {
        let what = description(&attributes);
        let spec = SubjectAccessReviewSpec {
            user: Some(requester.username.clone()),
            uid: requester.uid.clone(),
            groups: Some(requester.groups.clone()),
            extra: Some(requester.extra.iter().cloned().collect()),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        };
        match self.remembered(spec).await {
            Ok(true) => Ok(None),
            Ok(false) => Ok(Some(what)),
            Err(error) => {
                self.metrics.review("error");
                tracing::warn!(
                    error = error.as_ref() as &dyn std::error::Error,
                    "review failed"
                );
                Err(ImpersonationError::Unavailable(
                    "the cluster could not say whether the impersonation is allowed".to_owned(),
                ))
            }
        }
    }

    /// The key is the whole review: requester and attributes. Equal reviews under way at the same
    /// time are asked once; errors are not remembered.
    async fn remembered(&self, spec: SubjectAccessReviewSpec) -> Result<bool, Arc<ReviewError>> {
        let content = serde_json::to_vec(&spec).map_err(|error| Arc::new(error.into()))?;
        let mut key = ReviewHash::default();
        key.copy_from_slice(digest(&SHA256, &content).as_ref());
        self.decisions.try_get_with(key, self.ask(spec)).await
    }

    async fn ask(&self, spec: SubjectAccessReviewSpec) -> Result<bool, ReviewError> {
        let review = SubjectAccessReview {
            spec,
            ..SubjectAccessReview::default()
        };
        let answer = Api::<SubjectAccessReview>::all(self.client.clone())
            .create(&PostParams::default(), &review)
            .await
            .map_err(Box::new)?;
        let status = answer.status.ok_or(ReviewError::NoStatus)?;
        let allowed = status.allowed && status.denied != Some(true);
        self.metrics
            .review(if allowed { "allowed" } else { "denied" });
        Ok(allowed)
    }
}

/// What kube-apiserver checks, in its order: the user, the groups, the extras, the uid.
fn attributes(target: &Identity) -> Vec<ResourceAttributes> {
    const GROUP: &str = "authentication.k8s.io";
    let on = |group: &str, resource: &str, name: &str| ResourceAttributes {
        verb: Some("impersonate".to_owned()),
        group: Some(group.to_owned()),
        version: Some("v1".to_owned()),
        resource: Some(resource.to_owned()),
        name: Some(name.to_owned()),
        ..ResourceAttributes::default()
    };
    let mut all = vec![match service_account(&target.username) {
        Some((namespace, name)) => ResourceAttributes {
            namespace: Some(namespace.to_owned()),
            ..on("", "serviceaccounts", name)
        },
        None => on("", "users", &target.username),
    }];
    all.extend(target.groups.iter().map(|group| on("", "groups", group)));
    for (key, values) in &target.extra {
        all.extend(values.iter().map(|value| ResourceAttributes {
            subresource: Some(key.clone()),
            ..on(GROUP, "userextras", value)
        }));
    }
    all.extend(target.uid.iter().map(|uid| on(GROUP, "uids", uid)));
    all
}

/// In the words of kube-apiserver's own refusals: `users "bob"`.
fn description(attributes: &ResourceAttributes) -> String {
    let part = |value: &Option<String>| value.clone().unwrap_or_default();
    let resource = match &attributes.subresource {
        Some(key) => format!("{}/{}", part(&attributes.resource), key.escape_debug()),
        None => part(&attributes.resource),
    };
    let name = part(&attributes.name);
    match &attributes.namespace {
        Some(namespace) => format!("{resource} {name:?} in namespace {namespace:?}"),
        None => format!("{resource} {name:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reviews_are_those_of_kube_apiserver() {
        let target = Identity {
            username: "system:serviceaccount:web:deployer".into(),
            uid: Some("7".into()),
            groups: vec!["dev".into()],
            extra: vec![("example.com/key".into(), vec!["v".into()])],
        };
        let described: Vec<_> = attributes(&target).iter().map(description).collect();
        assert_eq!(
            described,
            [
                r#"serviceaccounts "deployer" in namespace "web""#,
                r#"groups "dev""#,
                r#"userextras/example.com/key "v""#,
                r#"uids "7""#,
            ]
        );
        let extras: Vec<_> = attributes(&target)
            .into_iter()
            .map(|attributes| attributes.group.unwrap_or_default())
            .collect();
        assert_eq!(
            extras,
            ["", "", "authentication.k8s.io", "authentication.k8s.io"]
        );
    }
}
