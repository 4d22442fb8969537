//! Whom a 401 speaks of: us, or the client.
//!
//! Behind kube-apiserver there are aggregated API servers, and whatever else it proxies to. What they
//! say to a user it passes on, in the very words in which it would refuse our own credential, and no
//! path tells the two apart. So it is asked who we are, with the credential that was sent.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use moka::future::Cache;
use serde_json::Value;

use super::{connector::BoundedConnector, upstream::IDLE_TIMEOUT};
use crate::identity::ANONYMOUS;

pub(super) const PATH: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
const REVIEW: &str = r#"{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1"}"#;
/// The client waits for as long with a 401 that may be its own.
const PATIENCE: Duration = Duration::from_secs(3);
/// Whoever is answered 401 again and again costs kube-apiserver one more request in this time.
const REMEMBERED: Duration = Duration::from_secs(5);
/// The credential, and the one before it.
const MAX_REMEMBERED: u64 = 8;
const MAX_ANSWER: usize = 64 * 1024;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Asks kube-apiserver whether it knows us.
#[derive(Clone, Debug)]
pub(super) struct CredentialCheck {
    client: Client<BoundedConnector, Full<Bytes>>,
    verdicts: Cache<Option<HeaderValue>, bool>,
}

impl CredentialCheck {
    pub(super) fn new(connector: BoundedConnector) -> Self {
        Self {
            client: Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE_TIMEOUT)
                .build(connector),
            verdicts: Cache::builder()
                .max_capacity(MAX_REMEMBERED)
                .time_to_live(REMEMBERED)
                .build(),
        }
    }

    /// Whether kube-apiserver knows whose this credential is; none stands for our certificate. No
    /// answer is a no, and nothing that is remembered. Asked once at a time, at [`PATH`].
    pub(super) async fn accepts(&self, review: Uri, credential: Option<HeaderValue>) -> bool {
        let asked = self.verdicts.try_get_with(credential.clone(), async {
            tokio::time::timeout(PATIENCE, self.ask(review, credential)).await?
        });
        match asked.await {
            Ok(true) => true,
            Ok(false) => {
                tracing::error!("kube-apiserver does not accept our credential");
                false
            }
            Err(error) => {
                let error = error.as_ref().as_ref() as &dyn std::error::Error;
                tracing::error!(
                    error,
                    "kube-apiserver answered 401 and does not say whether it accepts our credential"
                );
                false
            }
        }
    }

    async fn ask(&self, review: Uri, credential: Option<HeaderValue>) -> Result<bool, BoxError> {
        let mut request = Request::new(Full::from(REVIEW));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = review;
        let headers = request.headers_mut();
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json.clone());
        headers.insert(header::ACCEPT, json);
        let has_token = credential.is_some();
        if let Some(credential) = credential {
            headers.insert(header::AUTHORIZATION, credential);
        }
        let answer = self.client.request(request).await?;
        match answer.status() {
            StatusCode::CREATED => {
                let body = Limited::new(answer.into_body(), MAX_ANSWER);
                let review = body.collect().await?.to_bytes();
                Ok(is_somebody(&serde_json::from_slice(&review)?))
            }
            StatusCode::UNAUTHORIZED => Ok(false),
            // Whoever may not ask is known. A certificate may just not have been asked for.
            StatusCode::FORBIDDEN if has_token => Ok(true),
            other => Err(format!("the review was answered with {other}").into()),
        }
    }
}

/// Nobody in particular is whoever has shown no credential: a certificate that was not asked for.
fn is_somebody(review: &Value) -> bool {
    let name = review
        .pointer("/status/userInfo/username")
        .and_then(Value::as_str);
    name.is_some_and(|name| !name.is_empty() && name != ANONYMOUS)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nobody_in_particular_has_no_credential() {
        let review = |status: Value| json!({"kind": "SelfSubjectReview", "status": status});
        let named = |name: &str| review(json!({"userInfo": {"username": name}}));
        assert!(is_somebody(&named("system:serviceaccount:auth:corp")));
        for nobody in [
            named(""),
            named("system:anonymous"),
            review(json!({})),
            json!(1),
        ] {
            assert!(!is_somebody(&nobody), "{nobody}");
        }
    }
}
