//! From a TCP connection to its requests.
//!
//! HTTP/1.1 and HTTP/2 have builders of their own rather than hyper-util's automatic one, which
//! has no limit for the size of HTTP/1.1 headers. What ALPN says decides; kubectl's upgrades come
//! without ALPN and speak HTTP/1.1.

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
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
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::task::TaskTracker;

use super::{
    ServerTls,
    admission::{Admission, Occupied, Place},
    client_connection::{Busy, ClientBody, ClientConnection},
    proxy_protocol::read_source,
};
use crate::{
    body::ForStranger,
    drain::Drain,
    metrics::Metrics,
    pipeline::Pipeline,
    settings::{ClientLimits, Settings},
};

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// In hyper this is also how long a kept-alive connection may be idle.
const HEADER_TIMEOUT: Duration = Duration::from_mins(1);
/// Of all places, how many one address may have: the next ones find room, whatever it does. Clients
/// behind one load balancer share an address, unless it is a trusted proxy.
const SHARE: usize = 2;
/// Load balancers forget idle connections after minutes.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// A client that is gone without a word is noticed after two minutes.
const KEEPALIVE_RETRIES: u32 = 3;

/// Serves connections.
pub(crate) struct Server {
    pub(crate) tls: Arc<ServerTls>,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) drain: Drain,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) connections: TaskTracker,
    pub(crate) admission: Arc<Admission>,
    /// Connections at a time; the next ones wait in the kernel.
    pub(crate) places: usize,
}

impl Server {
    /// Until the drain closes the door.
    pub(crate) async fn run(self: Arc<Self>, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(self.places));
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
                        server.serve(stream, peer, place).await;
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

    async fn serve(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        permit: OwnedSemaphorePermit,
    ) {
        if tune(&stream).is_err() {
            return;
        }
        let counted = self.metrics.connection();
        let settings = self.pipeline.settings.current();
        let defaults = ClientLimits::default();
        let limits = settings
            .as_ref()
            .map_or(&defaults, |settings| &settings.limits);
        let connections = limits.connections.unwrap_or(usize::MAX);
        let most = connections.min(self.places);
        if counted.count() > most {
            self.metrics.connection_refused("limit");
            return tracing::debug!(%peer, "as many connections as there may be");
        }
        let accepted = timeout(
            HANDSHAKE_TIMEOUT,
            self.accept(stream, peer, settings.as_deref(), most),
        );
        let (stream, peer, place) = match accepted.await {
            Ok(Ok(accepted)) => accepted,
            // Port scanners and probes; nothing that anybody could act on.
            Ok(Err(error)) => return tracing::debug!(%peer, %error, "no TLS"),
            Err(_) => return tracing::debug!(%peer, "no TLS in time"),
        };
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        // What the settings say later is for later connections.
        let (http1, http2) = (http1_builder(limits), http2_builder(limits));
        drop(settings);
        let pipeline = Arc::clone(&self.pipeline);
        let client = Arc::new(ClientConnection::default());
        let answers = Arc::clone(&client);
        let occupied = Occupied::new(permit, counted, place);
        let service = service_fn(move |mut request: Request<Incoming>| {
            let pipeline = Arc::clone(&pipeline);
            let busy = Busy::new(&answers);
            request.extensions_mut().insert(occupied.clone());
            async move { Ok::<_, Infallible>(answer(&pipeline, request, peer, busy).await) }
        });
        let stream = TokioIo::new(stream);
        let ended = if is_http2 {
            let connection = pin!(http2.serve_connection(stream, service));
            self.until_drained(connection, &client, http2::Connection::graceful_shutdown)
                .await
        } else {
            let connection = http1.serve_connection(stream, service).with_upgrades();
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

    /// Up to the end of the TLS handshake, and who the client is.
    async fn accept(
        &self,
        mut stream: TcpStream,
        peer: SocketAddr,
        settings: Option<&Settings>,
        most: usize,
    ) -> io::Result<(TlsStream<TcpStream>, SocketAddr, Option<Place>)> {
        let mut client = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let trusted =
            |address| settings.is_some_and(|settings| settings.trusted_proxies.contains(address));
        if settings.is_some_and(|settings| settings.proxy_protocol)
            && trusted(client.ip())
            && let Some(source) = read_source(&mut stream).await?
        {
            client.set_ip(source);
        }
        let place = if trusted(client.ip()) {
            None
        } else {
            let share = (most / SHARE).max(1);
            let place = self.admission.enter(client.ip(), share);
            if place.is_none() {
                self.metrics.connection_refused("address");
                return Err(io::Error::other(
                    "as many connections as an address may have",
                ));
            }
            place
        };
        let acceptor = TlsAcceptor::from(self.tls.current());
        Ok((acceptor.accept(stream).await?, client, place))
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
            () = client.should_end() => shut_down(connection.as_mut()),
        }
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = client.is_deserted() => Ok(()),
            () = self.drain.end.cancelled() => Ok(()),
        }
    }
}

async fn answer(
    pipeline: &Pipeline,
    request: Request<Incoming>,
    peer: SocketAddr,
    busy: Busy,
) -> Response<ClientBody> {
    let is_http2 = request.version() == Version::HTTP_2;
    let is_head = *request.method() == Method::HEAD;
    let mut answer = pipeline.answer(request, peer).await;
    if is_head && let Some(length) = answer.body_mut().leave_out_own() {
        let length = HeaderValue::from(length);
        answer.headers_mut().insert(header::CONTENT_LENGTH, length);
    }
    let is_own = answer.body().is_own();
    let is_for_stranger = answer.extensions().get::<ForStranger>().is_some();
    let is_refused = is_own && answer.status() == StatusCode::UNAUTHORIZED;
    // Strangers get no multiplexing, as in kube-apiserver (`UnauthenticatedHTTP2DOSMitigation`).
    if is_refused || (is_for_stranger && is_http2) {
        busy.connection().dismiss();
    }
    // Load balancers still send new connections: those that are kept come to an end as they are used.
    // In HTTP/2 GOAWAY follows.
    let is_switched = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
    if !is_http2 && !is_switched && pipeline.drain.leaving.is_cancelled() {
        let close = HeaderValue::from_static("close");
        answer.headers_mut().insert(header::CONNECTION, close);
    }
    answer.map(|body| {
        if is_own || is_for_stranger {
            busy.while_it_moves(body)
        } else {
            busy.until_the_end_of(body)
        }
    })
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

/// It fails for a client that has gone already. `TCP_USER_TIMEOUT` would say so of one that reads
/// nothing for a while, such as a terminal that is stopped; HTTP/2 asks by itself.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE)
        .with_retries(KEEPALIVE_RETRIES);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

fn http1_builder(limits: &ClientLimits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_header_size(limits.header_bytes)
        .max_headers(limits.header_count);
    builder
}

fn http2_builder(limits: &ClientLimits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_per_connection)
        // hyper's 16 KiB are too few for a token with many groups.
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        // Rapid Reset and its kin (CVE-2023-44487, CVE-2025-8671).
        .max_pending_accept_reset_streams(50)
        .max_local_error_reset_streams(256)
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}
