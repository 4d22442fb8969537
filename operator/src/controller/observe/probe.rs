//! `GET /state` of a pod.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use oidcproxy_crds::state::ProxyState;

/// As long as a pod may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// As much as it may say.
const MAX_BYTES: usize = 256 * 1024;

/// Why a pod did not say anything.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Too slow.
    #[error("no answer in time")]
    Timeout,
    /// No such address.
    #[error("not an address")]
    Address(#[from] http::uri::InvalidUri),
    /// No connection, or a broken one.
    #[error("no connection")]
    Connection(#[from] hyper_util::client::legacy::Error),
    /// Not the answer that was hoped for.
    #[error("status {0}")]
    Status(http::StatusCode),
    /// Too much, or cut off.
    #[error("unreadable answer")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Something else than a state.
    #[error("not a state")]
    Decode(#[from] serde_json::Error),
}

/// Asks pods for their state.
#[derive(Clone, Debug)]
pub struct Probe {
    client: Client<HttpConnector, Empty<Bytes>>,
    port: i32,
}

impl Probe {
    /// Asks at this port.
    pub fn new(port: i32) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(PATIENCE));
        // Pods come and go: a kept connection would outlive its pod's address.
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(connector);
        Self { client, port }
    }

    /// What the pod at this address says of itself.
    pub async fn state(&self, address: &str) -> Result<ProxyState, Error> {
        tokio::time::timeout(PATIENCE, self.ask(address))
            .await
            .unwrap_or(Err(Error::Timeout))
    }

    async fn ask(&self, address: &str) -> Result<ProxyState, Error> {
        let host = if address.contains(':') {
            format!("[{address}]")
        } else {
            address.to_owned()
        };
        let uri = format!("http://{host}:{}/state", self.port).parse()?;
        let response = self.client.get(uri).await?;
        if response.status() != http::StatusCode::OK {
            return Err(Error::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), MAX_BYTES);
        let bytes = body.collect().await.map_err(Error::Body)?.to_bytes();
        Ok(serde_json::from_slice(&bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    async fn answering(answer: &'static str) -> i32 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0_u8; 1024];
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        });
        i32::from(port)
    }

    #[tokio::test]
    async fn a_state_is_read() {
        let body = r#"{"version":"1","formatVersion":1,"revision":"r"}"#;
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let port = answering(answer.leak()).await;
        let state = Probe::new(port).state("127.0.0.1").await.unwrap();
        assert_eq!(state.revision.as_deref(), Some("r"));
    }

    #[tokio::test]
    async fn anything_else_is_an_error() {
        let port = answering("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n").await;
        let state = Probe::new(port).state("127.0.0.1").await;
        assert!(matches!(state, Err(Error::Status(_))), "{state:?}");
        assert!(Probe::new(1).state("127.0.0.1").await.is_err());
    }
}
