//! Spans of requests and their steps. They say what is in an access line without its user: no
//! token, no name, no query.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version};
use opentelemetry::{
    Context, KeyValue,
    propagation::TextMapPropagator as _,
    trace::{
        Span as _, SpanBuilder, SpanKind, Status, TraceContextExt as _, Tracer as _,
        TracerProvider as _,
    },
};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{SdkTracer, SdkTracerProvider, Span},
};
use tokio::time::Instant;

use super::{
    Step,
    collector::{Collector, CollectorError},
    environment::{EnvironmentError, Way},
};
use crate::audit::RequestRecord;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Of a path: a span waits in a queue, and a head may be long.
const MAX_PATH_BYTES: usize = 1024;

/// Why there are no traces although a collector is named.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TracesError {
    /// A variable cannot be used.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// The authorities cannot be used.
    #[error(transparent)]
    Collector(#[from] CollectorError),
    /// The exporter refuses what the environment says.
    #[error("the OTEL variables cannot be used: {0}")]
    Exporter(#[from] ExporterBuildError),
}

/// Where spans go; nowhere without a collector.
#[derive(Clone, Debug)]
pub(crate) struct Traces(Option<Provider>);

#[derive(Clone, Debug)]
struct Provider {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Traces {
    /// As the environment says.
    pub(crate) fn start() -> Result<Self, TracesError> {
        let variable = |name: &str| std::env::var(name).ok();
        let Some(way) = Way::of(variable)? else {
            return Ok(Self(None));
        };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector::new(&way)?)
            .build()?;
        let mut resource = Resource::builder();
        if variable("OTEL_SERVICE_NAME").is_none_or(|name| name.is_empty()) {
            resource = resource.with_service_name("oidc-proxy");
        }
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.with_attribute(version).build())
            .build();
        let tracer = provider.tracer("oidc-proxy");
        tracing::info!("traces go to an OpenTelemetry collector");
        Ok(Self(Some(Provider { provider, tracer })))
    }

    /// The span of a request that has just come, within the trace of its client if that has one.
    pub(crate) fn request<B>(&self, record: &RequestRecord, request: &Request<B>) -> RequestTrace {
        let Some(Provider { tracer, .. }) = &self.0 else {
            return RequestTrace(None);
        };
        let parent = TraceContextPropagator::new()
            .extract_with_context(&Context::new(), &HeaderExtractor(request.headers()));
        let method = known_method(&record.method);
        let name = method.unwrap_or("HTTP");
        let attributes = vec![
            KeyValue::new("http.request.method", method.unwrap_or("_OTHER")),
            KeyValue::new("url.scheme", "https"),
            KeyValue::new("url.path", path(&record.target).to_owned()),
            KeyValue::new(
                "network.protocol.version",
                protocol_version(request.version()),
            ),
            KeyValue::new("kubernetes.verb", record.verb),
            KeyValue::new("kubernetes.audit_id", record.audit_id.to_string()),
        ];
        let builder = SpanBuilder::from_name(name)
            .with_kind(SpanKind::Server)
            .with_attributes(attributes);
        let span = tracer.build_with_context(builder, &parent);
        RequestTrace(Some(Open {
            tracer: tracer.clone(),
            context: parent.with_span(span),
        }))
    }

    /// Sends what waits, as long as there is time.
    pub(crate) async fn close(self, deadline: Instant) {
        let Some(Provider { provider, .. }) = self.0 else {
            return;
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let closed = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(left));
        if let Ok(Err(error)) = closed.await {
            tracing::warn!(%error, "the last spans may be lost");
        }
    }
}

/// The span of one request; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct RequestTrace(Option<Open>);

#[derive(Debug)]
struct Open {
    tracer: SdkTracer,
    context: Context,
}

impl RequestTrace {
    pub(crate) fn answered(&self, status: StatusCode) {
        if let Some(Open { context, .. }) = &self.0 {
            let span = context.span();
            span.set_attribute(status_attribute(status));
            // A client's mistakes are no errors of the server's, by the semantic conventions.
            if status.is_server_error() {
                span.set_status(Status::error(""));
            }
        }
    }

    pub(crate) fn refused(&self, reason: &'static str) {
        if let Some(Open { context, .. }) = &self.0 {
            context
                .span()
                .set_attribute(KeyValue::new("error.type", reason));
        }
    }

    /// A child for a step; it ends when it is dropped.
    pub(crate) fn step(&self, step: Step) -> StepTrace {
        let Some(Open { tracer, context }) = &self.0 else {
            return StepTrace(None);
        };
        let (name, kind) = match step {
            Step::Authenticate => ("authenticate", SpanKind::Internal),
            Step::Review => ("review", SpanKind::Internal),
            Step::Upstream => ("upstream", SpanKind::Client),
        };
        let builder = SpanBuilder::from_name(name).with_kind(kind);
        StepTrace(Some(tracer.build_with_context(builder, context)))
    }
}

/// The span of a step.
#[derive(Debug)]
pub(crate) struct StepTrace(Option<Span>);

impl StepTrace {
    /// Whoever gets these headers goes on with the trace from here.
    pub(crate) fn inject(&self, headers: &mut HeaderMap) {
        let Some(span) = &self.0 else {
            return;
        };
        headers.remove(TRACEPARENT);
        headers.remove(TRACESTATE);
        let context = Context::new().with_remote_span_context(span.span_context().clone());
        TraceContextPropagator::new().inject_context(&context, &mut HeaderInjector(headers));
        if headers.get(TRACESTATE).is_some_and(HeaderValue::is_empty) {
            headers.remove(TRACESTATE);
        }
    }

    pub(crate) fn answered(&mut self, status: StatusCode) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(status_attribute(status));
            if status.is_client_error() || status.is_server_error() {
                span.set_status(Status::error(""));
            }
        }
    }

    pub(crate) fn end(self) {
        if let Some(mut span) = self.0 {
            span.end();
        }
    }

    pub(crate) fn failed(&mut self) {
        if let Some(span) = &mut self.0 {
            span.set_status(Status::error(""));
        }
    }
}

fn status_attribute(status: StatusCode) -> KeyValue {
    KeyValue::new("http.response.status_code", i64::from(status.as_u16()))
}

/// Methods are a client's text: others would be names without end.
fn known_method(method: &Method) -> Option<&'static str> {
    [
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
    ]
    .into_iter()
    .find(|known| *known == method.as_str())
}

fn protocol_version(version: Version) -> &'static str {
    if version == Version::HTTP_2 {
        "2"
    } else {
        "1.1"
    }
}

/// Without the query, which may hold anything.
fn path(target: &str) -> &str {
    let path = target.split('?').next().unwrap_or_default();
    path.get(..path.floor_char_boundary(MAX_PATH_BYTES))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_short_and_have_no_query() {
        assert_eq!(path("/api/v1/pods?token=a"), "/api/v1/pods");
        assert_eq!(path("/a"), "/a");
        let long = format!("/{}ü", "a".repeat(MAX_PATH_BYTES - 2));
        assert_eq!(path(&long).len(), MAX_PATH_BYTES - 1);
    }

    #[test]
    fn only_known_methods_are_names() {
        assert_eq!(known_method(&Method::PATCH), Some("PATCH"));
        assert_eq!(known_method(&Method::from_bytes(b"BREW").unwrap()), None);
    }
}
