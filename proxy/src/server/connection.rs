//! From a TCP connection to its requests.
//!
//! HTTP/1.1 and HTTP/2 have builders of their own rather than hyper-util's automatic one, which
//! has no limit for the size of HTTP/1.1 headers. What ALPN says decides; kubectl's upgrades come
//! without ALPN and speak HTTP/1.1.

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use http::{Request, Response, StatusCode};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use super::{
    ServerTls,
    client_connection::{Busy, BusyBody, ClientConnection},
};
use crate::{
    body::LastOfConnection, descriptors::raise_limit, drain::Drain, metrics::Metrics,
    pipeline::Pipeline,
};

/// Connections at a time, where there are descriptors for that many; the next ones wait in the
/// kernel.
const MAX_CONNECTIONS: u64 = 16 * 1024;
/// For files, the admin port, issuers and the watch.
const RESERVED_DESCRIPTORS: u64 = 128;
/// An HTTP/2 connection on which nothing happens is closed; in HTTP/1.1 the header timeout does.
const IDLE_TIMEOUT: Duration = Duration::from_mins(5);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// In hyper this is also how long a kept-alive connection may be idle.
const HEADER_TIMEOUT: Duration = Duration::from_mins(1);
/// A token, its groups and a browser's headers need a tenth of it. What one client can make the
/// proxy hold is this times its streams.
const MAX_HEADER_BYTES: usize = 64 * 1024;
const MAX_HEADERS: usize = 256;
/// As kube-apiserver.
const MAX_STREAMS: u32 = 100;
/// Load balancers forget idle connections after minutes.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Serves connections.
pub(crate) struct Server {
    pub(crate) tls: Arc<ServerTls>,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) drain: Drain,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) connections: TaskTracker,
}

impl Server {
    /// Until the drain closes the door.
    pub(crate) async fn run(self: Arc<Self>, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(places()));
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.drain.closing.cancelled() => break,
                accepted = next(&listener, &places) => accepted,
            };
            match accepted {
                Ok((stream, peer, place)) => {
                    let server = Arc::clone(&self);
                    self.connections.spawn(async move {
                        server.serve(stream, peer).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    // Out of file descriptors, mostly: a pause lets some be closed.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        self.connections.close();
    }

    async fn serve(self: Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        if tune(&stream).is_err() {
            return;
        }
        let _counted = self.metrics.connection();
        let acceptor = TlsAcceptor::from(self.tls.current());
        let stream = match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            // Port scanners and probes; nothing that anybody could act on.
            Ok(Err(error)) => return tracing::debug!(%peer, %error, "no TLS"),
            Err(_) => return tracing::debug!(%peer, "no TLS in time"),
        };
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let pipeline = Arc::clone(&self.pipeline);
        let client = Arc::new(ClientConnection::default());
        let answers = Arc::clone(&client);
        let service = service_fn(move |request: Request<Incoming>| {
            let pipeline = Arc::clone(&pipeline);
            let busy = Busy::new(&answers);
            async move { Ok::<_, Infallible>(answer(&pipeline, request, peer, busy).await) }
        });
        let stream = TokioIo::new(stream);
        let ended = if is_http2 {
            let connection = pin!(http2_builder().serve_connection(stream, service));
            self.until_drained(connection, &client, http2::Connection::graceful_shutdown)
                .await
        } else {
            let connection = http1_builder()
                .serve_connection(stream, service)
                .with_upgrades();
            self.until_drained(
                pin!(connection),
                &client,
                http1::UpgradeableConnection::graceful_shutdown,
            )
            .await
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "a connection broke");
        }
    }

    /// Serves a connection; when the drain closes, it finishes what is under way and then ends.
    async fn until_drained<C, E>(
        &self,
        mut connection: std::pin::Pin<&mut C>,
        client: &ClientConnection,
        shut_down: impl FnOnce(std::pin::Pin<&mut C>),
    ) -> Result<(), E>
    where
        C: Future<Output = Result<(), E>>,
    {
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = self.drain.closing.cancelled() => shut_down(connection.as_mut()),
            () = client.should_end(IDLE_TIMEOUT) => shut_down(connection.as_mut()),
        }
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.drain.end.cancelled() => Ok(()),
        }
    }
}

/// Each connection may need one to kube-apiserver.
fn places() -> usize {
    let free = raise_limit().saturating_sub(RESERVED_DESCRIPTORS) / 2;
    usize::try_from(free.clamp(64, MAX_CONNECTIONS)).unwrap_or(usize::MAX)
}

async fn answer(
    pipeline: &Pipeline,
    request: Request<Incoming>,
    peer: SocketAddr,
    busy: Busy,
) -> Response<BusyBody> {
    let answer = pipeline.answer(request, peer).await;
    let refused = answer.status() == StatusCode::UNAUTHORIZED && answer.body().is_own();
    if refused || answer.extensions().get::<LastOfConnection>().is_some() {
        busy.connection().dismiss();
    }
    answer.map(|body| BusyBody { body, _busy: busy })
}

async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, place))
}

/// It fails for a client that has gone already.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

fn http1_builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_header_size(MAX_HEADER_BYTES)
        .max_headers(MAX_HEADERS);
    builder
}

fn http2_builder() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        // hyper's 16 KiB are too few for a token with many groups.
        .max_header_list_size(u32::try_from(MAX_HEADER_BYTES).unwrap_or(u32::MAX))
        // Rapid Reset and its kin (CVE-2023-44487, CVE-2025-8671).
        .max_pending_accept_reset_streams(50)
        .max_local_error_reset_streams(256)
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}
