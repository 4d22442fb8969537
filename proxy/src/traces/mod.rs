//! OpenTelemetry traces, in builds with the feature `otel`: a span for each request and one for
//! each of its steps. Without the feature nothing of this costs anything, and `traceparent` and
//! `tracestate` are headers like others.

#[cfg(feature = "otel")]
mod collector;
#[cfg(feature = "otel")]
mod environment;
#[cfg(not(feature = "otel"))]
mod off;
#[cfg(feature = "otel")]
mod spans;

#[cfg(not(feature = "otel"))]
pub(crate) use self::off::{RequestTrace, Traces};
#[cfg(feature = "otel")]
pub(crate) use self::spans::{RequestTrace, Traces};

/// What a request goes through that may take long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// Whose token it is.
    Authenticate,
    /// Whether its user may act as somebody else.
    Review,
    /// kube-apiserver, until the head of its answer.
    Upstream,
}
