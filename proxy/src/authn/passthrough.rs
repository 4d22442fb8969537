//! Tokens that no issuer of ours claims: the cluster says whose they are, and they are forwarded as
//! they are, so that it decides about them as it always does.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::digest::{Context, SHA256};
use http::HeaderValue;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::{Api, Client, api::PostParams};
use moka::future::Cache;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{requester::bearer, token::MAX_TOKEN_BYTES};
use crate::{identity::Identity, metrics::Metrics};

/// As kube-apiserver remembers tokens itself.
const REMEMBERED: Duration = Duration::from_secs(10);
const MAX_REMEMBERED: u64 = 8192;
const BUDGET: Duration = Duration::from_secs(5);
/// Anybody can send a token that nobody knows; the cluster is not asked about all of them at once.
const AT_A_TIME: usize = 64;

type TokenHash = [u8; 32];

/// Whether tokens that no issuer claims are passed on, and for which audiences.
#[derive(Clone, Debug)]
pub(crate) struct Passthrough {
    pub(crate) audiences: Vec<String>,
    /// Cancelled once they are not passed on any more.
    pub(crate) withdrawn: CancellationToken,
}

/// A token that the cluster knows.
#[derive(Debug)]
pub(crate) struct PassedToken {
    pub(super) identity: Arc<Identity>,
    pub(super) credential: HeaderValue,
    pub(super) withdrawn: CancellationToken,
}

/// Asks the cluster whose tokens are.
#[derive(Clone)]
pub(crate) struct TokenReviewer {
    client: Client,
    verdicts: Cache<TokenHash, Option<Arc<Identity>>>,
    places: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
#[error("the cluster could not say whose the token is")]
pub(crate) struct TokenReviewUnavailable;

impl TokenReviewer {
    pub(crate) fn new(client: Client, metrics: Arc<Metrics>) -> Self {
        let verdicts = Cache::builder()
            .max_capacity(MAX_REMEMBERED)
            .time_to_live(REMEMBERED)
            .build();
        Self {
            client,
            verdicts,
            places: Arc::new(Semaphore::new(AT_A_TIME)),
            metrics,
        }
    }

    /// `None` when the cluster does not know the token either. Equal tokens are asked about once
    /// at a time; no answer is no verdict, and nothing that is remembered.
    pub(crate) async fn review(
        &self,
        token: &str,
        passthrough: &Passthrough,
    ) -> Result<Option<Arc<PassedToken>>, TokenReviewUnavailable> {
        if token.len() > MAX_TOKEN_BYTES {
            return Ok(None);
        }
        let Some(credential) = bearer(token) else {
            return Ok(None);
        };
        let asked = self
            .verdicts
            .try_get_with(key(token, &passthrough.audiences), async {
                self.ask(token, &passthrough.audiences)
                    .await
                    .inspect_err(|error| {
                        tracing::warn!(
                            error = error.as_ref() as &dyn std::error::Error,
                            "token review failed"
                        );
                    })
            });
        let verdict = tokio::time::timeout(BUDGET, asked).await;
        let Ok(Ok(verdict)) = verdict else {
            self.metrics.token_review("error");
            return Err(TokenReviewUnavailable);
        };
        Ok(verdict.map(|identity| {
            Arc::new(PassedToken {
                identity,
                credential,
                withdrawn: passthrough.withdrawn.clone(),
            })
        }))
    }

    async fn ask(
        &self,
        token: &str,
        audiences: &[String],
    ) -> Result<Option<Arc<Identity>>, Box<dyn std::error::Error + Send + Sync>> {
        let _place = self.places.acquire().await?;
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                audiences: (!audiences.is_empty()).then(|| audiences.to_vec()),
            },
            ..TokenReview::default()
        };
        let answer = Api::<TokenReview>::all(self.client.clone())
            .create(&PostParams::default(), &review)
            .await?;
        let identity = answer.status.and_then(|status| accepted(status, audiences));
        let verdict = if identity.is_some() {
            "authenticated"
        } else {
            "refused"
        };
        self.metrics.token_review(verdict);
        Ok(identity.map(Arc::new))
    }
}

/// An authenticator that knows nothing of audiences answers without any: then the token is good
/// for the API server, which is not what was asked for.
fn accepted(status: TokenReviewStatus, audiences: &[String]) -> Option<Identity> {
    let is_error = status.error.is_some_and(|error| !error.is_empty());
    let meant = status.audiences.unwrap_or_default();
    let is_for_us = audiences.is_empty() || meant.iter().any(|one| audiences.contains(one));
    if status.authenticated != Some(true) || is_error || !is_for_us {
        return None;
    }
    let user = status.user?;
    let username = user.username.filter(|name| !name.is_empty())?;
    Some(Identity {
        username,
        uid: user.uid.filter(|uid| !uid.is_empty()),
        groups: user.groups.unwrap_or_default(),
        extra: user.extra.unwrap_or_default().into_iter().collect(),
    })
}

fn key(token: &str, audiences: &[String]) -> TokenHash {
    let mut context = Context::new(&SHA256);
    context.update(token.as_bytes());
    for audience in audiences {
        // No token has a zero byte.
        context.update(&[0]);
        context.update(audience.as_bytes());
    }
    let mut hash = TokenHash::default();
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_answers_audiences_count() {
        let accepted = |status: serde_json::Value, audiences: &[&str]| {
            let audiences: Vec<_> = audiences.iter().map(ToString::to_string).collect();
            accepted(serde_json::from_value(status).unwrap(), &audiences).is_some()
        };
        let user = json!({"username": "jane"});
        let plain = json!({"authenticated": true, "user": user});
        assert!(accepted(plain.clone(), &[]));
        assert!(!accepted(plain, &["a"]));
        let with = |audiences: &[&str]| json!({"authenticated": true, "user": user, "audiences": audiences});
        assert!(accepted(with(&["b", "a"]), &["a"]));
        assert!(!accepted(with(&["b"]), &["a"]));
        for wrong in [
            json!({"authenticated": false, "user": user}),
            json!({"user": user}),
            json!({"authenticated": true}),
            json!({"authenticated": true, "user": {"username": ""}}),
            json!({"authenticated": true, "user": user, "error": "no"}),
        ] {
            assert!(!accepted(wrong.clone(), &[]), "{wrong}");
        }
    }
}
