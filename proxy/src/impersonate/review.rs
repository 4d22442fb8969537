//! Whether a user may act as somebody else: the `SubjectAccessReviews` that kube-apiserver would
//! ask itself, asked for the user, since the proxy's own right to impersonate says nothing.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use aws_lc_rs::digest::{SHA256, digest};
use futures::future::try_join_all;
use k8s_openapi::api::authorization::v1::{SubjectAccessReview, SubjectAccessReviewSpec};
use kube::{Api, Client, api::PostParams};
use moka::future::Cache;
use tokio::sync::Semaphore;

use super::{
    ImpersonationError,
    checks::{Check, Checks, Mode, legacy},
    request::RequestUnderReview,
    server_version::ServerVersion,
};
use crate::{identity::Identity, metrics::Metrics};

/// As long as kube-apiserver itself remembers an authorization that a webhook gave.
const REMEMBERED: Duration = Duration::from_secs(10);
/// For all reviews of one request together.
const BUDGET: Duration = Duration::from_secs(5);
const MAX_REMEMBERED: u64 = 8192;
/// One request may ask for as many; the cluster is not asked about all requests at once.
const AT_A_TIME: usize = 64;

type ReviewHash = [u8; 32];

/// Asks the cluster whether users may act as others.
#[derive(Clone)]
pub(crate) struct Reviewer {
    client: Client,
    server: ServerVersion,
    decisions: Cache<ReviewHash, bool>,
    places: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

/// By which rights somebody may act as somebody else.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum AllowedBy {
    /// The `impersonate` verb.
    Legacy,
    /// Constrained impersonation; of a node, whose group comes with it.
    ConstrainedNode,
    /// Constrained impersonation.
    Constrained,
}

#[derive(Debug, thiserror::Error)]
enum ReviewError {
    #[error("the review cannot be encoded")]
    Encode(#[from] serde_json::Error),
    #[error("the review failed")]
    Ask(#[from] Box<kube::Error>),
    #[error("the answer has no status")]
    NoStatus,
    #[error("no more reviews are asked")]
    Closed(#[from] tokio::sync::AcquireError),
}

impl Reviewer {
    pub(crate) fn new(client: Client, metrics: Arc<Metrics>) -> Self {
        let decisions = Cache::builder()
            .max_capacity(MAX_REMEMBERED)
            .time_to_live(REMEMBERED)
            .build();
        Self {
            server: ServerVersion::follow(client.clone()),
            client,
            decisions,
            places: Arc::new(Semaphore::new(AT_A_TIME)),
            metrics,
        }
    }

    /// Everything that the target is made of must be allowed, by constrained impersonation for
    /// this very request or by the `impersonate` verb for all. No answer is a no. `request` is
    /// absent where constrained impersonation is not to be asked about.
    pub(crate) async fn check(
        &self,
        requester: &Identity,
        target: &Identity,
        request: Option<&RequestUnderReview>,
    ) -> Result<AllowedBy, ImpersonationError> {
        tokio::time::timeout(BUDGET, self.decide(requester, target, request))
            .await
            .map_err(|_| {
                self.metrics.review("timeout");
                ImpersonationError::Unavailable(
                    "the cluster did not say in time whether the impersonation is allowed"
                        .to_owned(),
                )
            })?
    }

    async fn decide(
        &self,
        requester: &Identity,
        target: &Identity,
        request: Option<&RequestUnderReview>,
    ) -> Result<AllowedBy, ImpersonationError> {
        let mut constrained = None;
        if let Some(request) = request
            && self.server.has_constrained_impersonation().await
            && let Some(mode) = Mode::of(target)
        {
            constrained = self.denied_in(mode, requester, target, request).await?;
            if constrained.is_none() {
                return Ok(match mode {
                    Mode::ArbitraryNode => AllowedBy::ConstrainedNode,
                    Mode::ServiceAccount | Mode::UserInfo => AllowedBy::Constrained,
                });
            }
        }
        let each = legacy(target)
            .into_iter()
            .map(|check| self.denied(requester, check));
        let Some(check) = try_join_all(each).await?.into_iter().flatten().next() else {
            return Ok(AllowedBy::Legacy);
        };
        let constrained = constrained.map(|denied| format!(", and cannot {denied} either"));
        Err(ImpersonationError::Forbidden(format!(
            "user {:?} cannot {check}{}",
            requester.username,
            constrained.unwrap_or_default()
        )))
    }

    /// `Some` names what constrained impersonation lacks.
    async fn denied_in(
        &self,
        mode: Mode,
        requester: &Identity,
        target: &Identity,
        request: &RequestUnderReview,
    ) -> Result<Option<Check>, ImpersonationError> {
        if let Some(denied) = self.denied(requester, mode.on(request)).await? {
            return Ok(Some(denied));
        }
        let parts = mode.identity(target).into_iter();
        let parts = parts.map(|checks| self.denied_of(requester, checks));
        Ok(try_join_all(parts).await?.into_iter().flatten().next())
    }

    async fn denied_of(
        &self,
        requester: &Identity,
        Checks { at_once, each }: Checks,
    ) -> Result<Option<Check>, ImpersonationError> {
        if let Some(all) = at_once
            && self.denied(requester, all).await?.is_none()
        {
            return Ok(None);
        }
        let each = each.into_iter().map(|check| self.denied(requester, check));
        Ok(try_join_all(each).await?.into_iter().flatten().next())
    }

    /// The check again, if it is denied.
    async fn denied(
        &self,
        requester: &Identity,
        check: Check,
    ) -> Result<Option<Check>, ImpersonationError> {
        let mut spec = SubjectAccessReviewSpec {
            user: Some(requester.username.clone()),
            uid: requester.uid.clone(),
            groups: Some(requester.groups.clone()),
            extra: Some(requester.extra.iter().cloned().collect()),
            ..SubjectAccessReviewSpec::default()
        };
        match &check {
            Check::Resource(attributes) => {
                spec.resource_attributes = Some(attributes.as_ref().clone());
            }
            Check::Path(attributes) => spec.non_resource_attributes = Some(attributes.clone()),
        }
        match self.remembered(spec).await {
            Ok(allowed) => Ok((!allowed).then_some(check)),
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
        let decision = self.decisions.entry(key);
        let decision = decision.or_try_insert_with(self.ask(spec)).await?;
        if !decision.is_fresh() {
            self.metrics.remembered_review();
        }
        Ok(decision.into_value())
    }

    async fn ask(&self, spec: SubjectAccessReviewSpec) -> Result<bool, ReviewError> {
        // Whoever waits for a place spends the budget of their own request.
        let _place = self.places.acquire().await?;
        let review = SubjectAccessReview {
            spec,
            ..SubjectAccessReview::default()
        };
        let began = Instant::now();
        let answer = Api::<SubjectAccessReview>::all(self.client.clone())
            .create(&PostParams::default(), &review)
            .await;
        self.metrics.reviewed_in(began.elapsed());
        let answer = answer.map_err(Box::new)?;
        let status = answer.status.ok_or(ReviewError::NoStatus)?;
        let allowed = status.allowed && status.denied != Some(true);
        self.metrics
            .review(if allowed { "allowed" } else { "denied" });
        Ok(allowed)
    }
}
