//! The connections to kube-apiserver.
//!
//! HTTP/1.1 only, from a pool. hyper-util keeps one HTTP/2 connection for a server and
//! kube-apiserver allows a hundred requests on it: a hundred watches would stop everybody else.

use std::{error::Error, sync::Arc, time::Duration};

use http::{
    HeaderValue, Request, Response, StatusCode, Uri,
    uri::{Authority, PathAndQuery, Scheme},
};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use kube::Config;
use tower::Service as _;

use super::{
    connector::{BoundedConnector, Connectors},
    credential::{CredentialError, OwnCredential},
    credential_check::{self, CredentialCheck},
    own_client,
    places::{NoPlace, Place, Places},
};
use crate::{audit::RequestBody, certificate_files::CertificateError, identity::Identity};

/// kube-apiserver ends a request after 60 s itself; whoever says nothing for longer is gone.
const HEADER_TIMEOUT: Duration = Duration::from_secs(75);
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_mins(1);
const MAX_IDLE: usize = 256;
/// Of an answer; a server may send a warning for each object.
const MAX_HEADERS: usize = 512;

/// What is wrong with kube-apiserver's address or our credential for it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamConfigError {
    /// Not an https URL with a host.
    #[error("the server {0} of the kubeconfig is not an https URL")]
    Server(String),
    /// Its certificates cannot be used.
    #[error("the certificates for kube-apiserver cannot be used: {0}")]
    Tls(#[source] Box<kube::Error>),
    /// Our own certificate cannot be used.
    #[error("the client certificate for kube-apiserver cannot be used: {0}")]
    ClientCertificate(#[from] CertificateError),
    /// What else the configuration asks for cannot be had.
    #[error("cannot make a client for kube-apiserver: {0}")]
    Client(#[source] Box<kube::Error>),
    /// The name to expect in its certificate is none.
    #[error("tls-server-name {0:?} of the kubeconfig is not a host name")]
    ServerName(String),
    /// Our token cannot be used.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// A login that needs a program or a password.
    #[error(
        "the kubeconfig's user needs a token, a token file or a client certificate; exec, auth-provider and basic authentication are not supported"
    )]
    Login,
}

/// What is wrong with an answer of kube-apiserver's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    /// No connection.
    #[error("the API server cannot be reached")]
    Unreachable,
    /// No answer in time.
    #[error("the API server did not answer in time")]
    Timeout,
    /// The connection broke before an answer.
    #[error("the connection to the API server broke")]
    Broken,
    /// 101 without being asked for it, or for another protocol.
    #[error("the API server changed to a protocol that it was not asked for")]
    Protocol,
    /// 3xx on an upgrade: following it would carry our credential elsewhere.
    #[error("the API server redirected a stream")]
    Redirect,
    /// It does not know our token. Told as it is, a 401 would send the client to log in again.
    #[error("the API server does not accept the proxy's own credential")]
    Credential,
    /// The request cannot be written.
    #[error("the request cannot be forwarded")]
    Request,
    /// Its body ends before it should, or cannot be read: the API server has no part in it.
    #[error("the request's body broke off")]
    Body,
}

impl UpstreamError {
    /// All that [`Self::kind`] can say.
    pub(crate) const KINDS: [&str; 7] = [
        "unreachable",
        "timeout",
        "broken",
        "protocol",
        "redirect",
        "credential",
        "request",
    ];

    /// What the client is answered with.
    pub(crate) fn code(&self) -> StatusCode {
        match self {
            Self::Unreachable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Broken | Self::Protocol | Self::Redirect | Self::Credential => {
                StatusCode::BAD_GATEWAY
            }
            Self::Request | Self::Body => StatusCode::BAD_REQUEST,
        }
    }

    /// For metrics.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Broken => "broken",
            Self::Protocol => "protocol",
            Self::Redirect => "redirect",
            Self::Credential => "credential",
            Self::Request | Self::Body => "request",
        }
    }
}

/// The way to kube-apiserver.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    client: Client<BoundedConnector, RequestBody>,
    pooled: BoundedConnector,
    streams: BoundedConnector,
    authority: Authority,
    /// The authority as a header.
    host: HeaderValue,
    base_path: String,
    credential: OwnCredential,
    credential_check: CredentialCheck,
    places: Places,
}

impl Upstream {
    pub(crate) async fn new(config: &Config, requests: usize) -> Result<Self, UpstreamConfigError> {
        let server = &config.cluster_url;
        let not_https = || UpstreamConfigError::Server(server.to_string());
        if server.scheme() != Some(&Scheme::HTTPS) {
            return Err(not_https());
        }
        let authority = server.authority().cloned().ok_or_else(not_https)?;
        let host = HeaderValue::try_from(authority.as_str()).map_err(|_| not_https())?;
        let connectors = Connectors::new(config).await?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE)
            .set_host(false)
            .http1_max_headers(MAX_HEADERS)
            .build(connectors.pooled.clone());
        Ok(Self {
            client,
            credential_check: CredentialCheck::new(connectors.pooled.clone()),
            pooled: connectors.pooled,
            streams: connectors.streams,
            authority,
            host,
            base_path: server.path().trim_end_matches('/').to_owned(),
            credential: own_credential(config).await?,
            places: Places::new(requests),
        })
    }

    /// A request's place among those under way, up to the last byte of its answer.
    pub(crate) fn enter(&self, user: &Arc<Identity>) -> Result<Place, NoPlace> {
        self.places.enter(user)
    }

    /// Whether kube-apiserver knows whose this credential of ours is.
    pub(super) async fn accepts_us(&self, credential: Option<HeaderValue>) -> bool {
        let review = PathAndQuery::from_static(credential_check::PATH);
        match self.uri(Some(&review)) {
            Ok(review) => self.credential_check.accepts(review, credential).await,
            Err(_) => false,
        }
    }

    pub(crate) fn own_client(&self, config: &Config) -> Result<kube::Client, UpstreamConfigError> {
        own_client::of(config, self.pooled.clone())
    }

    pub(crate) fn credential(&self) -> &OwnCredential {
        &self.credential
    }

    pub(crate) fn host(&self) -> HeaderValue {
        self.host.clone()
    }

    /// A request's target on kube-apiserver: path and query byte for byte.
    pub(crate) fn uri(&self, target: Option<&PathAndQuery>) -> Result<Uri, UpstreamError> {
        let path_and_query = match target {
            Some(target) if self.base_path.is_empty() => target.clone(),
            target => {
                let target = target.map_or("/", PathAndQuery::as_str);
                format!("{}{target}", self.base_path)
                    .parse()
                    .map_err(|_| UpstreamError::Request)?
            }
        };
        Uri::builder()
            .scheme(Scheme::HTTPS)
            .authority(self.authority.clone())
            .path_and_query(path_and_query)
            .build()
            .map_err(|_| UpstreamError::Request)
    }

    /// Sends a request over the pool. What was never written is sent again on a fresh connection;
    /// nothing else ever is.
    pub(crate) async fn send(
        &self,
        request: Request<RequestBody>,
        may_be_slow: bool,
    ) -> Result<Response<Incoming>, UpstreamError> {
        let answer = self.client.request(request);
        let answer = if may_be_slow {
            answer.await
        } else {
            tokio::time::timeout(HEADER_TIMEOUT, answer)
                .await
                .map_err(|_| UpstreamError::Timeout)?
        };
        answer.map_err(|error| {
            if error.is_connect() {
                failed(&error, UpstreamError::Unreachable)
            } else {
                failed(&error, UpstreamError::Broken)
            }
        })
    }

    /// Sends a request that asks to leave HTTP, on a connection of its own that no other request
    /// ever uses: whatever becomes of it, nobody else reads from it (CVE-2018-1002105).
    pub(crate) async fn send_alone(
        &self,
        mut request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, UpstreamError> {
        let connection = self
            .streams
            .clone()
            .call(request.uri().clone())
            .await
            .map_err(|error| {
                tracing::warn!(
                    error = error.as_ref() as &dyn Error,
                    "no connection to kube-apiserver"
                );
                UpstreamError::Unreachable
            })?;
        let (mut sender, connection) = http1::handshake(connection)
            .await
            .map_err(|_| UpstreamError::Broken)?;
        tokio::spawn(connection.with_upgrades());
        // On the wire the target is the path; the pooled client does the same by itself.
        let target = request.uri().path_and_query().cloned();
        *request.uri_mut() = target.map(Uri::from).ok_or(UpstreamError::Request)?;
        tokio::time::timeout(HEADER_TIMEOUT, sender.send_request(request))
            .await
            .map_err(|_| UpstreamError::Timeout)?
            .map_err(|error| failed(&error, UpstreamError::Broken))
    }
}

/// What a request failed for: its own body, or else this.
fn failed(error: &(dyn Error + 'static), otherwise: UpstreamError) -> UpstreamError {
    let is_of_body = std::iter::successors(Some(error), |&error| error.source())
        .filter_map(|error| error.downcast_ref::<hyper::Error>())
        .any(hyper::Error::is_user);
    if is_of_body {
        tracing::info!(error, "the body of a request broke off");
        return UpstreamError::Body;
    }
    tracing::warn!(error, "request to kube-apiserver failed");
    otherwise
}

async fn own_credential(config: &Config) -> Result<OwnCredential, UpstreamConfigError> {
    use kube::config::AuthInfo;
    let AuthInfo {
        username,
        token,
        token_file,
        exec,
        auth_provider,
        ..
    } = &config.auth_info;
    if username.is_some() || exec.is_some() || auth_provider.is_some() {
        return Err(UpstreamConfigError::Login);
    }
    Ok(match (token_file, token) {
        (Some(path), _) => OwnCredential::file(path.into()).await?,
        (None, Some(token)) => {
            use secrecy::ExposeSecret as _;
            OwnCredential::token(token.expose_secret())?
        }
        (None, None) => OwnCredential::none(),
    })
}
