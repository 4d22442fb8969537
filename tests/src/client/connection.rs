//! An open connection over either protocol.

use anyhow::Result;
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_rustls::client::TlsStream;

use super::{
    Call, PATIENCE, Protocol,
    call::{h1_request, h2_request},
    in_time,
    reply::{Reply, Streaming, read},
};
use crate::server::Body;

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
    /// Over a stream whose ALPN has agreed on `protocol`.
    pub(super) async fn open(
        stream: TlsStream<TcpStream>,
        protocol: Protocol,
        authority: String,
    ) -> Result<Self> {
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
        Ok(Self {
            sender,
            authority,
            driver,
        })
    }

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
        match &mut self.sender {
            Sender::H1(sender) => {
                let request = h1_request(&self.authority, call)?;
                // The end of the last answer may not have reached the connection's task so far.
                sender.ready().await?;
                Ok(in_time("no response", sender.send_request(request)).await?)
            }
            Sender::H2(sender) => {
                let request = h2_request(&self.authority, call)?;
                Ok(in_time("no response", sender.send_request(request)).await?)
            }
        }
    }

    /// Sends and leaves the body to be read piece by piece, while this connection stays open.
    pub async fn stream(&mut self, call: Call) -> Result<Streaming> {
        Ok(Streaming::new(self.start(call).await?))
    }
}
