//! Batches of spans to a collector, over the same HTTP and TLS as everything else.

use std::{path::Path, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use opentelemetry_http::{HttpClient, HttpError};
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Handle;

use super::environment::Way;

/// Of an answer, which says little more than that the batch was taken.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What is wrong with the authorities to trust.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CollectorError {
    /// The file cannot be read, or has no certificate.
    #[error("OTEL_EXPORTER_OTLP_CERTIFICATE: {path}: {cause}", path = .0.display(), cause = .1)]
    Certificate(Box<Path>, String),
}

/// Sends batches. The SDK's thread asks it, which knows no reactor: ours does the work.
#[derive(Clone, Debug)]
pub(super) struct Collector {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    timeout: Duration,
    runtime: Handle,
}

impl Collector {
    /// Within the runtime that is to send.
    pub(super) fn new(way: &Way) -> Result<Self, CollectorError> {
        let tls = ClientConfig::builder()
            .with_root_certificates(roots(way.certificate.as_deref())?)
            .with_no_client_auth();
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(1)
            .build(connector);
        Ok(Self {
            client,
            timeout: way.timeout,
            runtime: Handle::current(),
        })
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let exchange = async move {
            let (parts, body) = client.request(request.map(Full::new)).await?.into_parts();
            let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await?;
            Ok(Response::from_parts(parts, body.to_bytes()))
        };
        let timeout = self.timeout;
        let sent = self
            .runtime
            .spawn(async move { tokio::time::timeout(timeout, exchange).await });
        sent.await??
    }
}

fn roots(certificate: Option<&Path>) -> Result<RootCertStore, CollectorError> {
    let mut store = RootCertStore::empty();
    let Some(path) = certificate else {
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(store);
    };
    let wrong = |cause: &str| CollectorError::Certificate(path.into(), cause.to_owned());
    let pem = std::fs::read(path).map_err(|error| wrong(&error.to_string()))?;
    for certificate in rustls_pemfile::certs(&mut pem.as_slice()) {
        let certificate = certificate.map_err(|_| wrong("it is not PEM"))?;
        store
            .add(certificate)
            .map_err(|error| wrong(&error.to_string()))?;
    }
    if store.is_empty() {
        return Err(wrong("it holds no certificate"));
    }
    Ok(store)
}
