//! `FakeApiServer`: an upstream that records requests as they came over the wire and answers what a test scripted.

mod connection;
mod record;
mod reviews;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Result, bail};
use serde_json::Value;
use tokio::{
    net::TcpListener,
    sync::{Notify, broadcast},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

pub use self::{
    record::Recorded,
    reviews::{ReviewMode, Reviews},
};
use crate::tls::TestCa;

/// What the server answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// 200 with the identity the request carries, as JSON.
    Identity,
    /// A status with a JSON body.
    Json(u16, Value),
    /// A status with these header lines and this body.
    Full(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// These bytes, whatever they are; the connection goes on.
    Raw(Vec<u8>),
    /// A chunked 200 whose chunks the test sends.
    Watch(Events),
    /// Another answer, later.
    Later(Duration, Box<Self>),
    /// These bytes, then the connection is cut.
    Cut(Vec<u8>),
    /// 200 with `Content-Length: 1000`, ten bytes, then the connection is cut.
    CutMidBody,
    /// Nothing until the peer goes away.
    Hang,
    /// An answer to an upgrade.
    Upgrade(Upgrade),
}

/// How an upgrade is answered with 101.
#[derive(Clone, Debug, Default)]
pub struct Upgrade {
    /// The `Upgrade` header; `None`: what was asked for.
    pub protocol: Option<String>,
    /// Header lines besides `Connection` and `Upgrade`.
    pub headers: Vec<(&'static str, String)>,
    /// Bytes in the same segment as the 101.
    pub early: Vec<u8>,
    /// Sent after the peer's end of stream, before closing.
    pub farewell: Vec<u8>,
    /// Closes at once, whatever the peer still has to say.
    pub hang_up: bool,
}

/// The sending end of [`Answer::Watch`]; every request that matched gets every event sent after it came in.
#[derive(Clone, Debug)]
pub struct Events(broadcast::Sender<Vec<u8>>);

impl Default for Events {
    fn default() -> Self {
        Self(broadcast::channel(1024).0)
    }
}

impl Events {
    /// Sends one chunk.
    pub fn send(&self, text: &str) {
        let _ = self.0.send(text.as_bytes().to_vec());
    }

    /// Ends the streams properly.
    pub fn end(&self) {
        let _ = self.0.send(Vec::new());
    }
}

/// What is known of one connection.
#[derive(Clone, Debug, Default)]
pub struct ConnectionState {
    /// The peer or this side has closed it.
    pub closed: bool,
    /// Bytes that came after a 101.
    pub tunnel: Vec<u8>,
    /// The peer ended its direction of the tunnel.
    pub tunnel_eof: bool,
    /// The peer's certificate, DER.
    pub client_certificate: Option<Vec<u8>>,
}

type Matcher = Box<dyn Fn(&Recorded) -> bool + Send>;

#[derive(Default)]
pub(crate) struct Shared {
    requests: Mutex<Vec<Recorded>>,
    connections: Mutex<BTreeMap<u64, ConnectionState>>,
    answers: Mutex<Vec<(Matcher, Answer)>>,
    reviews: Reviews,
    changed: Notify,
    cut: Notify,
}

/// The server. It stops when dropped.
pub struct FakeApiServer {
    address: SocketAddr,
    ca: TestCa,
    tls: Arc<Mutex<TlsAcceptor>>,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl FakeApiServer {
    /// Starts it on a loopback port; everything answers [`Answer::Identity`].
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let ca = TestCa::new("API server CA")?;
        let tls = ca.server(&["127.0.0.1"])?.acceptor(&[b"http/1.1"])?;
        let tls = Arc::new(Mutex::new(tls));
        let shared = Arc::new(Shared::default());
        let task = tokio::spawn(connection::accept(listener, tls.clone(), shared.clone()));
        Ok(Self {
            address,
            ca,
            tls,
            shared,
            task,
        })
    }

    /// Goes on with a certificate of another root, and cuts every connection.
    pub fn reissue(&self, ca: &TestCa) -> Result<()> {
        let leaf = ca.server(&["127.0.0.1"])?;
        self.exchange(leaf.acceptor(&[b"http/1.1"])?);
        Ok(())
    }

    /// Asks for client certificates of this root, PEM, from now on, and cuts every connection.
    pub fn ask_for_certificates(&self, clients: &str) -> Result<()> {
        let leaf = self.ca.server(&["127.0.0.1"])?;
        self.exchange(leaf.acceptor_asking(&[b"http/1.1"], clients)?);
        Ok(())
    }

    fn exchange(&self, tls: TlsAcceptor) {
        *self.tls.lock().unwrap() = tls;
        self.cut();
    }

    /// Cuts every connection.
    pub fn cut(&self) {
        self.shared.cut.notify_one();
    }

    /// `https://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The root of its serving certificate, PEM.
    pub fn ca_pem(&self) -> String {
        self.ca.pem()
    }

    /// Requests whose target starts with `prefix` get `answer`; the latest match counts.
    pub fn answer(&self, prefix: &'static str, answer: Answer) {
        self.answer_if(move |request| request.target.starts_with(prefix), answer);
    }

    /// Requests that match get `answer`; the latest match counts.
    pub fn answer_if(&self, matches: impl Fn(&Recorded) -> bool + Send + 'static, answer: Answer) {
        let mut answers = self.shared.answers.lock().unwrap();
        answers.push((Box::new(matches), answer));
    }

    /// The scripted reviews.
    pub fn reviews(&self) -> &Reviews {
        &self.shared.reviews
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Requests so far without the proxy's own: reviews, and the health and version checks it makes as itself.
    pub fn forwarded(&self) -> Vec<Recorded> {
        let mut requests = self.requests();
        requests.retain(|request| !request.is_own());
        requests
    }

    /// The one forwarded request; anything else ends the test.
    pub fn only(&self) -> Recorded {
        let mut forwarded = self.forwarded();
        assert_eq!(
            forwarded.len(),
            1,
            "exactly one request should reach the API server: {forwarded:#?}"
        );
        forwarded.remove(0)
    }

    /// Ends the test if anything was forwarded.
    pub fn assert_untouched(&self) {
        let forwarded = self.forwarded();
        assert!(
            forwarded.is_empty(),
            "nothing should reach the API server: {forwarded:#?}"
        );
    }

    /// What is known of a connection.
    pub fn connection(&self, id: u64) -> ConnectionState {
        let connections = self.shared.connections.lock().unwrap();
        connections.get(&id).cloned().unwrap_or_default()
    }

    /// Waits for a forwarded request that matches.
    pub async fn wait_request(&self, matches: impl Fn(&Recorded) -> bool) -> Result<Recorded> {
        let found = || self.forwarded().into_iter().find(&matches);
        self.wait("a matching request", found).await
    }

    /// Waits until the connection is in a state.
    pub async fn wait_connection(
        &self,
        id: u64,
        reached: impl Fn(&ConnectionState) -> bool,
    ) -> Result<ConnectionState> {
        let found = || Some(self.connection(id)).filter(&reached);
        self.wait("a state of a connection", found).await
    }

    async fn wait<T>(&self, what: &str, found: impl Fn() -> Option<T>) -> Result<T> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        loop {
            let changed = self.shared.changed.notified();
            if let Some(value) = found() {
                return Ok(value);
            }
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                bail!("API server: waited 10 s for {what}: {:#?}", self.requests());
            }
        }
    }
}

impl Drop for FakeApiServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn script(&self, request: &Recorded) -> Answer {
        if let Some(review) = self.reviews.answer(request) {
            return review;
        }
        let answers = self.answers.lock().unwrap();
        let found = answers.iter().rev().find(|(matches, _)| matches(request));
        found.map_or(Answer::Identity, |(_, answer)| answer.clone())
    }

    fn record(&self, request: Recorded) {
        self.requests.lock().unwrap().push(request);
        self.changed.notify_waiters();
    }

    fn update(&self, id: u64, change: impl FnOnce(&mut ConnectionState)) {
        change(self.connections.lock().unwrap().entry(id).or_default());
        self.changed.notify_waiters();
    }
}
