//! Clients: HTTP/1.1 and HTTP/2 behind one interface, and raw sockets below them.

mod h2_frames;
mod raw;

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::JoinHandle};
use tokio_rustls::client::TlsStream;

pub use self::{
    h2_frames::{
        END_HEADERS, END_STREAM, H2Frame, H2Outcome, RawH2, frame, header_block, kind,
        send_h2_fields,
    },
    raw::{Head, RawConnection},
};
use crate::{
    server::{Body, full},
    tls::{Leaf, connector, connector_with, ip_name},
};

/// Longer than anything a healthy proxy needs on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// The protocol of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    H1,
    /// HTTP/2.
    H2,
}

impl Protocol {
    /// For cases that must hold over either.
    pub const BOTH: [Self; 2] = [Self::H1, Self::H2];

    fn alpn(self) -> &'static [u8] {
        match self {
            Self::H1 => b"http/1.1",
            Self::H2 => b"h2",
        }
    }
}

/// A request to send.
#[derive(Clone, Debug)]
pub struct Call {
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Bytes,
    trailers: Option<HeaderMap>,
}

impl Call {
    /// A `GET`.
    pub fn get(target: &str) -> Self {
        Self::new(Method::GET, target)
    }

    /// Any method, no body.
    pub fn new(method: Method, target: &str) -> Self {
        Self {
            method,
            target: target.to_owned(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            trailers: None,
        }
    }

    /// Adds a header line.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
        let value = HeaderValue::from_bytes(value.as_ref()).expect("a header value");
        self.headers.append(name, value);
        self
    }

    /// Another target.
    #[must_use]
    pub fn target(mut self, target: &str) -> Self {
        target.clone_into(&mut self.target);
        self
    }

    /// Adds a bearer token.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    /// Adds a trailer after the body; over HTTP/1.1 it must be announced too.
    #[must_use]
    pub fn trailer(mut self, name: &'static str, value: &'static str) -> Self {
        let value = HeaderValue::from_static(value);
        self.trailers
            .get_or_insert_default()
            .append(HeaderName::from_static(name), value);
        self
    }

    fn into_body(self) -> Body {
        let Some(trailers) = self.trailers else {
            return full(self.body);
        };
        let frames = [Frame::data(self.body), Frame::trailers(trailers)];
        let frames = frames.into_iter().map(Ok::<_, Infallible>);
        StreamBody::new(futures::stream::iter(frames)).boxed_unsync()
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}

/// A complete response.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// The body as JSON; anything else ends the test.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Checks that this is a refusal as clients expect it: a `Status` with this code, and a message.
    #[track_caller]
    pub fn assert_refusal(&self, code: u16) {
        assert_eq!(self.status, code, "{self:?}");
        assert_status_object(&self.json(), code);
    }

    /// Checks that the status is `code`.
    #[track_caller]
    pub fn assert_status(&self, code: u16) {
        assert_eq!(self.status, code, "{self:?}");
    }

    /// One header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Checks the shape of a `Status` object.
#[track_caller]
pub fn assert_status_object(status: &Value, code: u16) {
    let reason = status["reason"].as_str().unwrap_or("");
    let message = status["message"].as_str().unwrap_or("");
    let expected = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    });
    assert_eq!(status, &expected);
    let reason_of_code = match code {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        _ => reason,
    };
    assert_eq!(reason, reason_of_code);
    assert!(!message.is_empty(), "a refusal has a message: {status}");
    if code == 401 {
        assert_eq!(message, "Unauthorized");
    }
}

/// A response whose body is read piece by piece.
pub struct Streaming {
    /// The status code.
    pub status: u16,
    /// The header fields.
    pub headers: HeaderMap,
    body: Incoming,
    /// Kept open for as long as the body is read.
    connection: Option<Connection>,
}

impl Streaming {
    /// The next piece; `None` at the proper end; an error when the body is cut short.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await;
            match frame.context("no piece of the body in time")? {
                None => return Ok(None),
                Some(frame) => {
                    // HTTP/2 may end a stream with a frame without data.
                    let data = frame?.into_data().unwrap_or_default();
                    if !data.is_empty() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// Stops without reading on: closes a connection of its own, resets a stream of a shared one.
    pub fn abort(self) {
        drop(self);
    }
}

enum Sender {
    H1(http1::SendRequest<Body>),
    H2(http2::SendRequest<Body>),
}

/// An open connection for several requests.
pub struct Connection {
    sender: Sender,
    authority: String,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    /// Sends and reads the whole response.
    pub async fn send(&mut self, call: Call) -> Result<Reply> {
        let response = self.start(call).await?;
        read(response).await
    }

    /// Sends all at once over HTTP/2 and reads every response.
    pub async fn send_all(&mut self, calls: Vec<Call>) -> Result<Vec<Reply>> {
        let Sender::H2(sender) = &self.sender else {
            anyhow::bail!("only HTTP/2 carries several requests at once");
        };
        let each = calls.into_iter().map(|call| {
            let request = h2_request(&self.authority, call);
            let mut sender = sender.clone();
            async move {
                let exchange = async { read(sender.send_request(request?).await?).await };
                tokio::time::timeout(PATIENCE * 4, exchange).await?
            }
        });
        futures::future::try_join_all(each).await
    }

    async fn start(&mut self, call: Call) -> Result<http::Response<Incoming>> {
        let answer = match &mut self.sender {
            Sender::H1(sender) => {
                let request = h1_request(&self.authority, call)?;
                // The end of the last answer may not have reached the connection's task so far.
                sender.ready().await?;
                tokio::time::timeout(PATIENCE, sender.send_request(request)).await
            }
            Sender::H2(sender) => {
                let request = h2_request(&self.authority, call)?;
                tokio::time::timeout(PATIENCE, sender.send_request(request)).await
            }
        };
        Ok(answer.context("no response in time")??)
    }

    /// Sends and leaves the body to be read piece by piece, while this connection stays open.
    pub async fn stream(&mut self, call: Call) -> Result<Streaming> {
        let (parts, body) = self.start(call).await?.into_parts();
        Ok(Streaming {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
            connection: None,
        })
    }
}

fn h1_request(authority: &str, call: Call) -> Result<Request<Body>> {
    let mut request = Request::builder()
        .method(call.method.clone())
        .uri(&call.target);
    if !call.headers.contains_key("host") {
        request = request.header("host", authority);
    }
    if let Some(headers) = request.headers_mut() {
        headers.extend(call.headers.clone());
    }
    Ok(request.body(call.into_body())?)
}

fn h2_request(authority: &str, call: Call) -> Result<Request<Body>> {
    let uri = format!("https://{authority}{}", call.target);
    let mut request = Request::builder().method(call.method.clone()).uri(uri);
    if let Some(headers) = request.headers_mut() {
        headers.extend(call.headers.clone());
    }
    Ok(request.body(call.into_body())?)
}

async fn read(response: http::Response<Incoming>) -> Result<Reply> {
    let (parts, body) = response.into_parts();
    let body = tokio::time::timeout(PATIENCE, body.collect()).await;
    Ok(Reply {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: body.context("the body did not end in time")??.to_bytes(),
    })
}

/// Connects to the proxy.
#[derive(Clone)]
pub struct Client {
    address: SocketAddr,
    roots: String,
    certificate: Option<Arc<Leaf>>,
    preface: Vec<u8>,
}

impl Client {
    /// A client of the proxy on a loopback port that trusts `roots` (PEM).
    pub fn new(port: u16, roots: String) -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            roots,
            certificate: None,
            preface: Vec::new(),
        }
    }

    /// Writes these bytes before TLS begins, as a load balancer does.
    #[must_use]
    pub fn with_preface(mut self, bytes: &[u8]) -> Self {
        self.preface = bytes.to_vec();
        self
    }

    /// The same, with a certificate of its own.
    pub fn with_certificate(port: u16, roots: String, certificate: Leaf) -> Self {
        Self {
            certificate: Some(Arc::new(certificate)),
            ..Self::new(port, roots)
        }
    }

    /// A TLS connection that offers `alpn`.
    pub async fn tls(&self, alpn: &[&[u8]]) -> Result<TlsStream<TcpStream>> {
        let connect = async {
            let mut socket = TcpStream::connect(self.address).await?;
            socket.set_nodelay(true)?;
            socket.write_all(&self.preface).await?;
            let name = ip_name(self.address.ip());
            let connector = match &self.certificate {
                None => connector(&self.roots, alpn)?,
                Some(leaf) => connector_with(&self.roots, alpn, leaf)?,
            };
            Ok::<_, anyhow::Error>(connector.connect(name, socket).await?)
        };
        let connected = tokio::time::timeout(PATIENCE, connect).await;
        connected.map_err(|_| anyhow!("no TLS connection in time"))?
    }

    /// A raw HTTP/1.1 connection, without ALPN as client-go dials for upgrades.
    pub async fn raw(&self) -> Result<RawConnection> {
        Ok(RawConnection::new(self.tls(&[]).await?))
    }

    /// A raw HTTP/2 connection whose client has these settings.
    pub async fn raw_h2(&self, settings: &[(u16, u32)]) -> Result<RawH2> {
        RawH2::connect(self, settings).await
    }

    /// A TCP connection, as far as TLS.
    pub async fn tcp(&self) -> Result<TcpStream> {
        Ok(TcpStream::connect(self.address).await?)
    }

    /// A connection for requests.
    pub async fn connect(&self, protocol: Protocol) -> Result<Connection> {
        let stream = self.tls(&[protocol.alpn()]).await?;
        let agreed = stream.get_ref().1.alpn_protocol();
        anyhow::ensure!(agreed == Some(protocol.alpn()), "ALPN agreed on {agreed:?}");
        let io = TokioIo::new(stream);
        let (sender, driver) = match protocol {
            Protocol::H1 => {
                let (sender, connection) = http1::handshake(io).await?;
                let driver = tokio::spawn(async { drop(connection.await) });
                (Sender::H1(sender), driver)
            }
            Protocol::H2 => {
                let mut builder = http2::Builder::new(TokioExecutor::new());
                builder.max_header_list_size(1 << 20);
                let (sender, connection) = builder.handshake(io).await?;
                let driver = tokio::spawn(async { drop(connection.await) });
                (Sender::H2(sender), driver)
            }
        };
        Ok(Connection {
            sender,
            authority: self.address.to_string(),
            driver,
        })
    }

    /// One request over a connection of its own.
    pub async fn send(&self, protocol: Protocol, call: Call) -> Result<Reply> {
        self.connect(protocol).await?.send(call).await
    }

    /// One request whose response is read piece by piece.
    pub async fn stream(&self, protocol: Protocol, call: Call) -> Result<Streaming> {
        let mut connection = self.connect(protocol).await?;
        let mut stream = connection.stream(call).await?;
        stream.connection = Some(connection);
        Ok(stream)
    }
}
