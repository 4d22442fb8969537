//! Connections to issuers: straight, or through a proxy that is asked to CONNECT.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::{
    client::legacy::connect::{HttpConnector, proxy::Tunnel},
    rt::TokioIo,
};
use oidcproxy_crds::v1alpha1::egress_proxy::EgressProxy;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tower::Service;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const HTTPS: u16 = 443;

type Connection = MaybeHttpsStream<TokioIo<TcpStream>>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Connects to issuers; their TLS comes on top.
#[derive(Clone, Debug)]
pub(super) struct EgressConnector {
    direct: HttpConnector,
    proxy: Option<Way>,
}

#[derive(Clone, Debug)]
struct Way {
    proxy: Arc<EgressProxy>,
    tunnel: Tunnel<HttpsConnector<HttpConnector>>,
}

impl EgressConnector {
    pub(super) fn direct() -> Self {
        let mut direct = HttpConnector::new();
        direct.enforce_http(false);
        direct.set_connect_timeout(Some(CONNECT_TIMEOUT));
        Self {
            direct,
            proxy: None,
        }
    }

    /// `roots` are for a proxy that speaks TLS itself.
    pub(super) fn through(proxy: &EgressProxy, roots: RootCertStore) -> Result<Self, BoxError> {
        let Self { direct, .. } = Self::direct();
        let tls = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(direct.clone());
        let way = Way {
            tunnel: Tunnel::new(proxy.url().as_str().parse()?, connector),
            proxy: Arc::new(proxy.clone()),
        };
        Ok(Self {
            direct,
            proxy: Some(way),
        })
    }
}

impl Service<Uri> for EgressConnector {
    type Response = Connection;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Connection, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.direct.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        let host = server.host().unwrap_or_default();
        let port = server.port_u16().unwrap_or(HTTPS);
        match &mut self.proxy {
            Some(way) if way.proxy.is_for(host, port) => {
                let connection = way.tunnel.call(server);
                Box::pin(async move { Ok(connection.await?) })
            }
            _ => {
                let connection = self.direct.call(server);
                Box::pin(async move { Ok(MaybeHttpsStream::Http(connection.await?)) })
            }
        }
    }
}
