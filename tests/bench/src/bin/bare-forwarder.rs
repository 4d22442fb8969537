//! The least that a proxy can do: TLS, hyper, a pool of connections. What the proxy costs is measured against it.
//! usage: bare-forwarder PORT FOLDER UPSTREAM; the folder has `tls.crt`, `tls.key` and `upstream-ca.crt`.

use std::{convert::Infallible, error::Error, fs, net::Ipv4Addr, sync::Arc};

use http::{
    HeaderValue, Request, Response, StatusCode, Uri, Version, header,
    uri::{Authority, Scheme},
};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use oidcproxy_tests::tls::{Leaf, client_config};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

type Failure = Box<dyn Error + Send + Sync>;

struct Forwarder {
    client: Client<HttpsConnector<HttpConnector>, Incoming>,
    upstream: Authority,
    host: HeaderValue,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let mut next = || {
        args.next()
            .ok_or("usage: bare-forwarder PORT FOLDER UPSTREAM")
    };
    let (port, folder, upstream) = (next()?, next()?, next()?);
    let read = |name: &str| fs::read_to_string(format!("{folder}/{name}"));
    let mut tls = Leaf::from_pem(&read("tls.crt")?, &read("tls.key")?)?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(tls));

    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(client_config(&read("upstream-ca.crt")?, &[])?)
        .https_only()
        .enable_http1()
        .wrap_connector(http);
    let client = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .set_host(false)
        .build(connector);
    let forwarder = Arc::new(Forwarder {
        client,
        host: upstream.parse()?,
        upstream: upstream.parse()?,
    });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse()?)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(Arc::clone(&forwarder).serve(stream, acceptor.clone()));
    }
}

impl Forwarder {
    async fn serve(self: Arc<Self>, stream: TcpStream, acceptor: TlsAcceptor) {
        let _ = stream.set_nodelay(true);
        let Ok(stream) = acceptor.accept(stream).await else {
            return;
        };
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let service = service_fn(move |request| {
            let this = Arc::clone(&self);
            async move {
                let failed = |_| {
                    // A load generator that meets it fails the run.
                    std::process::exit(1);
                };
                Ok::<_, Infallible>(this.forward(request).await.unwrap_or_else(failed))
            }
        });
        let stream = TokioIo::new(stream);
        let _ = if is_http2 {
            http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .serve_connection(stream, service)
                .await
        } else {
            http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(stream, service)
                .await
        };
    }

    async fn forward(&self, mut request: Request<Incoming>) -> Result<Response<Incoming>, Failure> {
        let mut uri = request.uri().clone().into_parts();
        uri.scheme = Some(Scheme::HTTPS);
        uri.authority = Some(self.upstream.clone());
        *request.uri_mut() = Uri::from_parts(uri)?;
        *request.version_mut() = Version::HTTP_11;
        request
            .headers_mut()
            .insert(header::HOST, self.host.clone());
        let response = self.client.request(request).await?;
        if response.status() != StatusCode::OK {
            return Err("not 200".into());
        }
        Ok(response)
    }
}
