//! `FakeIssuer`: an OIDC issuer that does what a test says, also wrong things.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures::stream;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{
    jose::{Alg, SigningKey, TokenBuilder, random_hex, shared_rsa},
    server::{Body, free_port, full, serve},
    tls::TestCa,
};

/// The audience of tokens and of the proxies that trust them.
pub const AUDIENCE: &str = "kubernetes";

/// A name in its certificate that does not resolve (RFC 6761): only a proxy can find it.
pub const KNOWN_BY_PROXIES: &str = "issuer.test";

/// What an endpoint of the issuer answers.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// What it should.
    Normal,
    /// What it should, with this `Cache-Control`.
    Cached(String),
    /// What it should, later.
    Delayed(Duration),
    /// Another status with a JSON error.
    Status(u16),
    /// 200 with this text instead.
    Text(String),
    /// 200 with an endless body of spaces, up to so many bytes.
    Huge(u64),
    /// 302 to this location.
    Redirect(String),
    /// Never.
    Hang,
}

struct Inner {
    keys: Vec<Arc<SigningKey>>,
    more_jwks: Vec<Value>,
    discovery: Behaviour,
    document: Option<Value>,
    jwks: Behaviour,
}

struct State {
    url: String,
    inner: Mutex<Inner>,
    discovery_fetches: AtomicUsize,
    jwks_fetches: AtomicUsize,
    other_fetches: AtomicUsize,
}

/// An issuer on its own loopback port with its own CA.
pub struct FakeIssuer {
    address: SocketAddr,
    ca: TestCa,
    tls: TlsAcceptor,
    state: Arc<State>,
    running: Mutex<Option<(CancellationToken, JoinHandle<()>)>>,
}

impl FakeIssuer {
    /// An issuer that answers, with an ES256 key `es-1`.
    pub async fn start() -> Result<Self> {
        Self::start_on(Ipv4Addr::LOCALHOST.into()).await
    }

    /// The same on another address of this machine, for proxies that run elsewhere.
    pub async fn start_on(address: IpAddr) -> Result<Self> {
        let issuer = Self::new(address)?;
        issuer.up().await?;
        Ok(issuer)
    }

    /// The same, but nobody listens until [`Self::up`].
    pub fn start_down() -> Result<Self> {
        Self::new(Ipv4Addr::LOCALHOST.into())
    }

    fn new(address: IpAddr) -> Result<Self> {
        let address = SocketAddr::from((address, free_port()));
        let ca = TestCa::new("issuer CA")?;
        let name = address.ip().to_string();
        let tls = ca
            .server(&[name.as_str(), "localhost", KNOWN_BY_PROXIES])?
            .acceptor(&[b"http/1.1"])?;
        let key = SigningKey::generate(Alg::ES256, "es-1")?;
        let inner = Inner {
            keys: vec![Arc::new(key)],
            more_jwks: Vec::new(),
            discovery: Behaviour::Normal,
            document: None,
            jwks: Behaviour::Normal,
        };
        let state = Arc::new(State {
            url: format!("https://{address}"),
            inner: Mutex::new(inner),
            discovery_fetches: AtomicUsize::new(0),
            jwks_fetches: AtomicUsize::new(0),
            other_fetches: AtomicUsize::new(0),
        });
        Ok(Self {
            address,
            ca,
            tls,
            state,
            running: Mutex::new(None),
        })
    }

    /// Listens again, on the same port.
    pub async fn up(&self) -> Result<()> {
        let listener = TcpListener::bind(self.address)
            .await
            .with_context(|| format!("issuer: cannot listen on {}", self.address))?;
        let stop = CancellationToken::new();
        let state = self.state.clone();
        let handler = move |request| {
            let state = state.clone();
            async move { state.answer(&request).await }
        };
        let server = serve(
            listener,
            self.tls.clone(),
            stop.clone(),
            Duration::ZERO,
            handler,
        );
        *self.running.lock().unwrap() = Some((stop, tokio::spawn(server)));
        Ok(())
    }

    /// Stops listening and cuts every connection.
    pub async fn down(&self) {
        let running = self.running.lock().unwrap().take();
        if let Some((stop, task)) = running {
            stop.cancel();
            let _ = task.await;
        }
    }

    /// The issuer URL, also the `iss` of tokens.
    pub fn url(&self) -> &str {
        &self.state.url
    }

    /// The same server by another name: somebody else, as far as redirects go.
    pub fn elsewhere(&self) -> String {
        format!("https://localhost:{}/elsewhere", self.address.port())
    }

    /// The root of its serving certificate, PEM.
    pub fn ca_pem(&self) -> String {
        self.ca.pem()
    }

    /// The current signing key.
    pub fn key(&self) -> Arc<SigningKey> {
        let inner = self.state.inner.lock().unwrap();
        inner.keys.last().expect("the issuer has a key").clone()
    }

    /// Publishes a key; new tokens are signed with it.
    pub fn add_key(&self, key: SigningKey) {
        self.edit(|inner| inner.keys.push(Arc::new(key)));
    }

    /// Publishes the RSA key of the process under the id it has, and returns it.
    pub fn publish_rsa(&self) -> &'static SigningKey {
        let key = shared_rsa();
        self.publish_jwk(key.jwk());
        key
    }

    /// Adds any JSON to the key set.
    pub fn publish_jwk(&self, jwk: Value) {
        self.edit(|inner| inner.more_jwks.push(jwk));
    }

    /// A new key signs; the old ones stay published.
    pub fn rotate(&self) -> Result<Arc<SigningKey>> {
        let key = SigningKey::generate(Alg::ES256, &format!("es-{}", random_hex(4)))?;
        self.add_key(key);
        Ok(self.key())
    }

    /// Takes a key out of the key set.
    pub fn withdraw(&self, kid: &str) {
        self.edit(|inner| {
            inner.keys.retain(|key| key.kid != kid);
            inner.more_jwks.retain(|jwk| jwk["kid"] != kid);
        });
    }

    /// What discovery answers from now on.
    pub fn set_discovery(&self, behaviour: Behaviour) {
        self.edit(|inner| inner.discovery = behaviour);
    }

    /// The discovery document from now on.
    pub fn set_document(&self, document: Value) {
        self.edit(|inner| inner.document = Some(document));
    }

    /// What the key endpoint answers from now on.
    pub fn set_jwks(&self, behaviour: Behaviour) {
        self.edit(|inner| inner.jwks = behaviour);
    }

    fn edit(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut self.state.inner.lock().unwrap());
    }

    /// A valid token of `subject`, still open for changes.
    pub fn claims(&self, subject: &str) -> TokenBuilder {
        TokenBuilder::new(self.url(), AUDIENCE, subject)
    }

    /// A valid token of `subject` in these groups.
    pub fn token(&self, subject: &str, groups: &[&str]) -> String {
        self.sign(&self.claims(subject).groups(groups))
    }

    /// Signs with the current key.
    pub fn sign(&self, token: &TokenBuilder) -> String {
        token.sign(&self.key())
    }

    /// Requests for the discovery document so far.
    pub fn discovery_fetches(&self) -> usize {
        self.state.discovery_fetches.load(Ordering::SeqCst)
    }

    /// Requests for the key set so far.
    pub fn jwks_fetches(&self) -> usize {
        self.state.jwks_fetches.load(Ordering::SeqCst)
    }

    /// Requests for anything else so far, for example redirect targets.
    pub fn other_fetches(&self) -> usize {
        self.state.other_fetches.load(Ordering::SeqCst)
    }
}

impl Drop for FakeIssuer {
    fn drop(&mut self) {
        if let Ok(mut running) = self.running.lock()
            && let Some((stop, task)) = running.take()
        {
            stop.cancel();
            task.abort();
        }
    }
}

impl State {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        let (behaviour, document) = match request.uri().path() {
            "/.well-known/openid-configuration" => {
                self.discovery_fetches.fetch_add(1, Ordering::SeqCst);
                self.discovery()
            }
            // Where a redirect of the discovery document may lead.
            "/moved" => (Behaviour::Normal, self.discovery().1),
            "/jwks" => {
                self.jwks_fetches.fetch_add(1, Ordering::SeqCst);
                self.jwks()
            }
            _ => {
                self.other_fetches.fetch_add(1, Ordering::SeqCst);
                (Behaviour::Status(404), json!({"error": "not_found"}))
            }
        };
        behave(behaviour, &document).await
    }

    fn discovery(&self) -> (Behaviour, Value) {
        let inner = self.inner.lock().unwrap();
        let document = json!({
            "issuer": self.url,
            "authorization_endpoint": format!("{}/authorize", self.url),
            "jwks_uri": format!("{}/jwks", self.url),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
        });
        let document = inner.document.clone().unwrap_or(document);
        (inner.discovery.clone(), document)
    }

    fn jwks(&self) -> (Behaviour, Value) {
        let inner = self.inner.lock().unwrap();
        let keys: Vec<Value> = inner.keys.iter().map(|key| key.jwk()).collect();
        let keys = [keys, inner.more_jwks.clone()].concat();
        (inner.jwks.clone(), json!({"keys": keys}))
    }
}

async fn behave(behaviour: Behaviour, document: &Value) -> Response<Body> {
    let mut response = Response::new(full(document.to_string()));
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    match behaviour {
        Behaviour::Normal => {}
        Behaviour::Cached(value) => {
            let value = value.parse().expect("a header value");
            response.headers_mut().insert(header::CACHE_CONTROL, value);
        }
        Behaviour::Delayed(time) => tokio::time::sleep(time).await,
        Behaviour::Status(status) => {
            *response.status_mut() = StatusCode::from_u16(status).expect("a status code");
            *response.body_mut() = full(r#"{"error":"scripted"}"#);
        }
        Behaviour::Text(text) => *response.body_mut() = full(text),
        Behaviour::Huge(bytes) => *response.body_mut() = spaces(bytes),
        Behaviour::Redirect(location) => {
            *response.status_mut() = StatusCode::FOUND;
            let location = location.parse().expect("a header value");
            response.headers_mut().insert(header::LOCATION, location);
        }
        Behaviour::Hang => std::future::pending().await,
    }
    response
}

fn spaces(bytes: u64) -> Body {
    const CHUNK: Bytes = Bytes::from_static(&[b' '; 64 * 1024]);
    let chunks = bytes / CHUNK.len() as u64;
    let frames = (0..chunks).map(|_| Ok::<_, Infallible>(Frame::data(CHUNK)));
    StreamBody::new(stream::iter(frames)).boxed_unsync()
}
