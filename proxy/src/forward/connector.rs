//! Connections to kube-apiserver, up to the end of the TLS handshake.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_rustls::{
    FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream,
};
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use kube::Config;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tower::Service;

use super::{client_certificate, upstream::UpstreamConfigError};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// TCP and TLS together.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_RETRIES: u32 = 3;
/// What has been sent and is not acknowledged: a watch that is asked for on a connection whose server
/// is gone would wait a quarter of an hour. As long as keep-alive takes to notice the same.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_mins(2);

/// One for requests and one for streams.
pub(super) struct Connectors {
    pub(super) pooled: BoundedConnector,
    pub(super) streams: BoundedConnector,
}

impl Connectors {
    pub(super) async fn new(config: &Config) -> Result<Self, UpstreamConfigError> {
        let tls = client_certificate::tls(config).await?;
        let name = match &config.tls_server_name {
            None => None,
            Some(name) => Some(
                ServerName::try_from(name.clone())
                    .map_err(|_| UpstreamConfigError::ServerName(name.clone()))?,
            ),
        };
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_keepalive(Some(KEEPALIVE));
        http.set_keepalive_interval(Some(KEEPALIVE));
        http.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        // Linux takes a reader that stands still for one that is gone. In a stream that is a terminal
        // that was stopped, or a program that does not read its input: keep-alive has to do there.
        let streams = BoundedConnector::new(http.clone(), tls.clone(), name.clone());
        #[cfg(target_os = "linux")]
        http.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        Ok(Self {
            pooled: BoundedConnector::new(http, tls, name),
            streams,
        })
    }
}

type Connection = MaybeHttpsStream<TokioIo<TcpStream>>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A connector that gives up: hyper's own timeout covers TCP only, and a server that accepts and
/// then says nothing would hold a request for ever.
#[derive(Clone, Debug)]
pub(super) struct BoundedConnector(HttpsConnector<HttpConnector>);

impl BoundedConnector {
    fn new(http: HttpConnector, tls: ClientConfig, name: Option<ServerName<'static>>) -> Self {
        let builder = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only();
        let builder = match name {
            None => builder,
            Some(name) => builder.with_server_name_resolver(FixedServerNameResolver::new(name)),
        };
        Self(builder.enable_http1().wrap_connector(http))
    }
}

impl Service<Uri> for BoundedConnector {
    type Response = Connection;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Connection, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        let connection = self.0.call(server);
        Box::pin(async move { tokio::time::timeout(HANDSHAKE_TIMEOUT, connection).await? })
    }
}
