//! `FakeCollector`: takes batches of spans over OTLP, HTTP with protobuf.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Result, bail};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use oidcproxy_tests::{
    server::{Body, full, serve},
    tls::TestCa,
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value,
    trace::v1::Span as WireSpan,
};
use prost::Message as _;
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::Notify, time::Instant};
use tokio_util::sync::{CancellationToken, DropGuard};

/// One span, as far as the tests ask.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) name: String,
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    pub(crate) kind: i32,
    pub(crate) is_error: bool,
    pub(crate) attributes: BTreeMap<String, String>,
}

#[derive(Default)]
struct Shared {
    spans: Mutex<Vec<Span>>,
    /// Everything that came, as it came.
    bytes: Mutex<Vec<u8>>,
    changed: Notify,
}

/// The collector. It stops when dropped.
pub(crate) struct FakeCollector {
    address: SocketAddr,
    shared: Arc<Shared>,
    folder: TempDir,
    _stop: DropGuard,
}

impl FakeCollector {
    /// Starts it on a loopback port.
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let ca = TestCa::new("collector CA")?;
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("ca.crt"), ca.pem())?;
        let tls = ca.server(&["127.0.0.1"])?.acceptor(&[b"http/1.1"])?;
        let shared = Arc::<Shared>::default();
        let stop = CancellationToken::new();
        let handler = {
            let shared = shared.clone();
            move |request| take(shared.clone(), request)
        };
        tokio::spawn(serve(listener, tls, stop.clone(), Duration::ZERO, handler));
        Ok(Self {
            address,
            shared,
            folder,
            _stop: stop.drop_guard(),
        })
    }

    /// The address of its OTLP receiver.
    pub(crate) fn endpoint(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The root of its certificate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// The spans so far.
    pub(crate) fn spans(&self) -> Vec<Span> {
        self.shared.spans.lock().unwrap().clone()
    }

    /// Whether this text came, wherever.
    pub(crate) fn has_heard(&self, text: &str) -> bool {
        let bytes = self.shared.bytes.lock().unwrap();
        bytes
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    }

    /// Waits for a span that matches.
    pub(crate) async fn span(&self, matches: impl Fn(&Span) -> bool) -> Result<Span> {
        let deadline = Instant::now() + Duration::from_secs(15);
        loop {
            let changed = self.shared.changed.notified();
            if let Some(span) = self.spans().into_iter().find(&matches) {
                return Ok(span);
            }
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                bail!("no such span within 15 s: {:#?}", self.spans());
            }
        }
    }
}

async fn take(shared: Arc<Shared>, request: Request<Incoming>) -> Response<Body> {
    let status = |code: u16| {
        let mut response = Response::new(full(""));
        *response.status_mut() = http::StatusCode::from_u16(code).unwrap();
        response
    };
    if request.method() != http::Method::POST || request.uri().path() != "/v1/traces" {
        return status(404);
    }
    let Ok(body) = request.into_body().collect().await else {
        return status(400);
    };
    let body = body.to_bytes();
    let Ok(batch) = ExportTraceServiceRequest::decode(body.clone()) else {
        return status(400);
    };
    shared.bytes.lock().unwrap().extend_from_slice(&body);
    for resource in batch.resource_spans {
        let of_the_service = resource.resource.unwrap_or_default().attributes;
        for span in resource.scope_spans.into_iter().flat_map(|s| s.spans) {
            let mut span = read(span);
            for attribute in &of_the_service {
                let value = attribute.value.as_ref().and_then(|v| v.value.as_ref());
                span.attributes.insert(attribute.key.clone(), text(value));
            }
            shared.spans.lock().unwrap().push(span);
        }
    }
    shared.changed.notify_waiters();
    status(200)
}

fn read(span: WireSpan) -> Span {
    let attributes = span.attributes.into_iter().map(|attribute| {
        let value = attribute.value.and_then(|value| value.value);
        (attribute.key, text(value.as_ref()))
    });
    Span {
        name: span.name,
        trace: hex::encode(span.trace_id),
        id: hex::encode(span.span_id),
        parent: hex::encode(span.parent_span_id),
        kind: span.kind,
        is_error: span.status.is_some_and(|status| status.code == 2),
        attributes: attributes.collect(),
    }
}

fn text(value: Option<&Value>) -> String {
    match value {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}
