//! Clients: HTTP/1.1 and HTTP/2 behind one interface, and raw sockets below them.

mod call;
mod connection;
mod h2_frames;
mod raw;
mod reply;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::Result;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use tokio_rustls::client::TlsStream;

pub use self::{
    call::Call,
    connection::Connection,
    h2_frames::{
        END_HEADERS, END_STREAM, H2Frame, H2Outcome, RawH2, frame, header_block, kind,
        send_h2_fields,
    },
    raw::{Head, RawConnection},
    reply::{Reply, Streaming, assert_status_object},
};
use crate::tls::{Leaf, connector, connector_with, ip_name};

/// Longer than anything a healthy proxy needs on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// What has neither come nor failed by then ends the test: a silence is not taken for an end.
async fn in_time<T>(what: &str, awaited: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(PATIENCE, awaited).await;
    outcome.unwrap_or_else(|_| panic!("{what} within {PATIENCE:?}"))
}

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
        in_time("no TLS connection", connect).await
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
        Connection::open(stream, protocol, self.address.to_string()).await
    }

    /// One request over a connection of its own.
    pub async fn send(&self, protocol: Protocol, call: Call) -> Result<Reply> {
        self.connect(protocol).await?.send(call).await
    }

    /// One request whose response is read piece by piece.
    pub async fn stream(&self, protocol: Protocol, call: Call) -> Result<Streaming> {
        let mut connection = self.connect(protocol).await?;
        let stream = connection.stream(call).await?;
        Ok(stream.over(connection))
    }
}
