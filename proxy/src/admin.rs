//! The plain port for the kubelet, Prometheus and the operator. It says nothing of any user.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use oidcproxy_crds::{state::ProxyState, v1alpha1::settings::FORMAT_VERSION};
use tokio::net::TcpListener;

use crate::{
    drain::Drain,
    metrics::{Metrics, Present},
    readiness::Readiness,
    server::ServingCertificate,
    settings::SettingsStore,
};

/// What the port tells of.
pub(crate) struct Admin {
    pub(crate) settings: Arc<SettingsStore>,
    pub(crate) certificate: Arc<ServingCertificate>,
    pub(crate) readiness: Readiness,
    pub(crate) drain: Drain,
    pub(crate) metrics: Arc<Metrics>,
}

impl Admin {
    /// For as long as the process lives: even while it drains, somebody may want to know.
    pub(crate) async fn run(self: Arc<Self>, listener: TcpListener) {
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection on the admin port");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    continue;
                }
            };
            let admin = Arc::clone(&self);
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let admin = Arc::clone(&admin);
                    async move { Ok::<_, Infallible>(admin.answer(&request)) }
                });
                let mut builder = http1::Builder::new();
                builder.timer(TokioTimer::new()).keep_alive(false);
                // A probe that went away has no use for the error.
                let _ = builder
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        }
        match request.uri().path() {
            "/live" => text(StatusCode::OK, "ok\n"),
            "/ready" if self.readiness.is_ready() => text(StatusCode::OK, "ok\n"),
            "/ready" => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
            "/metrics" => {
                let content = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                typed(content, self.metrics.text(self.present()))
            }
            "/state" => match serde_json::to_string(&self.state()) {
                Ok(state) => typed("application/json", state),
                Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "no state\n"),
            },
            _ => text(StatusCode::NOT_FOUND, "/ready, /live, /metrics or /state\n"),
        }
    }

    fn present(&self) -> Present {
        let settings = self.settings.current();
        Present {
            is_ready: self.readiness.is_ready(),
            keys: settings
                .as_ref()
                .map(|settings| settings.keys_fetched())
                .unwrap_or_default(),
            settings: settings.map(|settings| (settings.revision.clone(), settings.taken)),
        }
    }

    fn state(&self) -> ProxyState {
        let settings = self.settings.current();
        ProxyState {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            format_version: FORMAT_VERSION,
            revision: settings.as_ref().map(|settings| settings.revision.clone()),
            settings_error: self.settings.error(),
            certificate_serial: self.certificate.serial(),
            draining: self.drain.leaving.is_cancelled(),
            issuers: settings
                .map(|settings| settings.issuer_reports())
                .unwrap_or_default(),
        }
    }
}

fn text(code: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::from(text));
    *answer.status_mut() = code;
    answer
}

fn typed(content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::from(body));
    let value = http::HeaderValue::from_static(content_type);
    answer.headers_mut().insert(header::CONTENT_TYPE, value);
    answer
}
