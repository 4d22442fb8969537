//! What is not forwarded, and what the client is told: always a `Status`, since `kubectl` shows
//! its message and falls back to "unknown" without one.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::json;

use crate::{
    authn::{AuthenticationError, TokenReviewUnavailable},
    forward::UpstreamError,
    impersonate::ImpersonationError,
    request::RequestError,
};

/// Why a request is not forwarded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// No credential.
    #[error("no credential")]
    NoCredential {
        /// Whether two blanks after `Bearer` made the token invisible, as in kube-apiserver.
        extra_space: bool,
    },
    /// A credential that is not accepted.
    #[error(transparent)]
    Authentication(#[from] AuthenticationError),
    /// Known who, but may not act as somebody else.
    #[error(transparent)]
    Impersonation(#[from] ImpersonationError),
    /// Not even looked at.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A token that only the cluster could know.
    #[error(transparent)]
    TokenReview(#[from] TokenReviewUnavailable),
    /// More often than it is allowed.
    #[error("{0}")]
    TooManyRequests(&'static str),
    /// More at a time than the proxy has descriptors for.
    #[error("the proxy has as many requests under way as it can; please try again later")]
    Overloaded,
    /// More of one user's at a time than one may have of all.
    #[error("this user has as many requests under way as one may; please try again later")]
    UserShare,
    /// Not now.
    #[error("{0}")]
    ServiceUnavailable(String),
    /// kube-apiserver did not answer as it should.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
}

impl Refusal {
    /// The status code.
    pub(crate) fn code(&self) -> StatusCode {
        match self {
            Self::NoCredential { .. } | Self::Authentication(AuthenticationError::Token(_)) => {
                StatusCode::UNAUTHORIZED
            }
            Self::Authentication(AuthenticationError::Reserved(_))
            | Self::Impersonation(ImpersonationError::Forbidden(_)) => StatusCode::FORBIDDEN,
            Self::Impersonation(ImpersonationError::BadRequest(_))
            | Self::Request(RequestError::Ambiguous(_)) => StatusCode::BAD_REQUEST,
            Self::Request(RequestError::Method(_)) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Impersonation(ImpersonationError::TooManyValues(_))
            | Self::Request(RequestError::TooManyFields(_)) => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            // kube-apiserver says the same, and clients come again by themselves.
            Self::TooManyRequests(_) | Self::Overloaded | Self::UserShare => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::Impersonation(ImpersonationError::Unavailable(_))
            | Self::TokenReview(_)
            | Self::ServiceUnavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Upstream(error) => error.code(),
        }
    }

    /// A short word for metrics, of a closed set.
    pub(crate) fn metric_reason(&self) -> &'static str {
        match self {
            Self::NoCredential { .. } => "no_credential",
            Self::Authentication(error) => error.metric_reason(),
            Self::Impersonation(_) => "impersonation",
            Self::Request(_) | Self::Upstream(UpstreamError::Body) => "request",
            Self::TooManyRequests(_) => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::UserShare => "user_share",
            Self::TokenReview(_) | Self::ServiceUnavailable(_) => "unavailable",
            Self::Upstream(_) => "upstream",
        }
    }

    /// What a client without a valid credential learns is that it has none.
    pub(crate) fn message(&self) -> String {
        if self.code() == StatusCode::UNAUTHORIZED {
            "Unauthorized".to_owned()
        } else {
            self.to_string()
        }
    }

    /// The reason of the `Status` that the client is told.
    pub(crate) fn status_reason(&self) -> &'static str {
        reason(self.code())
    }

    /// The answer.
    pub(crate) fn to_response(&self) -> Response<Full<Bytes>> {
        let code = self.code();
        let status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message(),
            "reason": reason(code),
            "code": code.as_u16(),
        });
        let mut response = Response::new(Full::new(Bytes::from(status.to_string())));
        *response.status_mut() = code;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        headers.insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("no-cache, private"),
        );
        if matches!(self, Self::NoCredential { extra_space: true }) {
            headers.insert(
                header::WARNING,
                HeaderValue::from_static(
                    "299 - \"the provided Authorization header contains extra space before the bearer token, and is ignored\"",
                ),
            );
        }
        if matches!(
            code,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
        ) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// The reasons of `metav1.Status` for these codes.
fn reason(code: StatusCode) -> &'static str {
    match code {
        StatusCode::UNAUTHORIZED => "Unauthorized",
        StatusCode::FORBIDDEN => "Forbidden",
        StatusCode::BAD_REQUEST => "BadRequest",
        StatusCode::METHOD_NOT_ALLOWED => "MethodNotAllowed",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "RequestHeaderFieldsTooLarge",
        StatusCode::TOO_MANY_REQUESTS => "TooManyRequests",
        StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailable",
        StatusCode::GATEWAY_TIMEOUT => "Timeout",
        _ => "InternalError",
    }
}
