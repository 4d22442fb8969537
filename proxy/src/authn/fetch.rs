//! Fetching documents from an issuer: over TLS that chains to the issuer's own authorities, never
//! following a redirect to elsewhere, never reading more than a document may be long.

use std::{ops::RangeInclusive, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use oidcproxy_crds::{certificate_bundle, v1alpha1::egress_proxy::EgressProxy};
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};

use super::egress::EgressConnector;

/// The longest discovery document or key set that is read.
const MAX_DOCUMENT_BYTES: usize = 1024 * 1024;

/// Redirects that stay with the same host, as kube-apiserver follows them; the rest it follows, too,
/// but whoever answers there need not be the issuer.
const MAX_REDIRECTS: usize = 5;

/// For one document, from the first packet to the last byte.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why a document could not be had. None of these quotes what the issuer sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// The address is none.
    #[error("the address of {0} is not an https URL")]
    Url(String),
    /// The certificates to trust cannot be used.
    #[error("its certificateAuthority cannot be used: {0}")]
    Authority(String),
    /// The proxy on the way cannot be used.
    #[error("the proxy towards issuers cannot be used: {0}")]
    Proxy(String),
    /// No answer.
    #[error("{url} cannot be reached: {cause}")]
    Unreachable {
        /// The document's address.
        url: String,
        /// The innermost cause.
        cause: String,
    },
    /// No answer in time.
    #[error("{0} did not answer within {TIMEOUT:?}")]
    Timeout(String),
    /// Another status than 200.
    #[error("{url} answered {status}")]
    Status {
        /// The document's address.
        url: String,
        /// The status.
        status: StatusCode,
    },
    /// Another host is said to have it.
    #[error("{0} redirects to elsewhere, or too often")]
    Redirect(String),
    /// Too long, or broken off.
    #[error("{0} is longer than 1 MiB or was broken off")]
    Body(String),
}

/// A client for the documents of one issuer.
#[derive(Clone, Debug)]
pub(crate) struct DocumentClient {
    client: Client<HttpsConnector<EgressConnector>, Empty<Bytes>>,
}

/// How an issuer is reached.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Route {
    /// PEM bundle of the only authorities that are trusted; unless set, the system's.
    pub(crate) certificate_authority: Option<String>,
    /// What stands between, unless nothing does.
    pub(crate) proxy: Option<EgressProxy>,
}

impl DocumentClient {
    pub(crate) fn new(route: &Route) -> Result<Self, FetchError> {
        let roots = match &route.certificate_authority {
            Some(pem) => bundle_roots(pem)?,
            None => system_roots()?,
        };
        let tls = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let egress = match &route.proxy {
            None => EgressConnector::direct(),
            Some(proxy) => through(proxy)?,
        };
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .enable_http1()
            .wrap_connector(egress);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(1)
            .build(connector);
        Ok(Self { client })
    }

    /// The body of a 200. Errors call the document by its name: its address may be a text of the
    /// issuer's.
    pub(crate) async fn get(&self, url: &str, name: &str) -> Result<Bytes, FetchError> {
        self.get_with(url, name, None, 200..=200).await
    }

    /// The same with a credential, and with other statuses that count as an answer.
    pub(crate) async fn get_with(
        &self,
        url: &str,
        name: &str,
        authorization: Option<HeaderValue>,
        accepted: RangeInclusive<u16>,
    ) -> Result<Bytes, FetchError> {
        let answer = async {
            let response = self.follow(url, name, authorization).await?;
            if !accepted.contains(&response.status().as_u16()) {
                return Err(FetchError::Status {
                    url: name.to_owned(),
                    status: response.status(),
                });
            }
            let body = Limited::new(response.into_body(), MAX_DOCUMENT_BYTES);
            let collected = body
                .collect()
                .await
                .map_err(|_| FetchError::Body(name.to_owned()))?;
            Ok(collected.to_bytes())
        };
        tokio::time::timeout(TIMEOUT, answer)
            .await
            .map_err(|_| FetchError::Timeout(name.to_owned()))?
    }

    async fn follow(
        &self,
        url: &str,
        name: &str,
        authorization: Option<HeaderValue>,
    ) -> Result<Response<Incoming>, FetchError> {
        let mut address = url::Url::parse(url).map_err(|_| FetchError::Url(name.to_owned()))?;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(&address, name, authorization.clone()).await?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            address = next_address(&address, &response)
                .ok_or_else(|| FetchError::Redirect(name.to_owned()))?;
        }
        Err(FetchError::Redirect(name.to_owned()))
    }

    async fn send(
        &self,
        address: &url::Url,
        name: &str,
        authorization: Option<HeaderValue>,
    ) -> Result<Response<Incoming>, FetchError> {
        let uri: Uri = address
            .as_str()
            .parse()
            .map_err(|_| FetchError::Url(name.to_owned()))?;
        if uri.scheme_str() != Some("https") {
            return Err(FetchError::Url(name.to_owned()));
        }
        let mut request = Request::get(uri)
            .header(header::ACCEPT, "application/json")
            .header(
                header::USER_AGENT,
                concat!("oidc-proxy/", env!("CARGO_PKG_VERSION")),
            )
            .body(Empty::new())
            .map_err(|_| FetchError::Url(name.to_owned()))?;
        if let Some(value) = authorization {
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        self.client
            .request(request)
            .await
            .map_err(|error| FetchError::Unreachable {
                url: name.to_owned(),
                cause: innermost(&error),
            })
    }
}

/// Where a redirect leads, if that is the same scheme, host and port.
fn next_address(from: &url::Url, response: &Response<Incoming>) -> Option<url::Url> {
    let location = response.headers().get(header::LOCATION)?.to_str().ok()?;
    let mut next = from.join(location).ok()?;
    next.set_fragment(None);
    let anonymous = next.username().is_empty() && next.password().is_none();
    (next.origin() == from.origin() && anonymous).then_some(next)
}

/// hyper says "client error (Connect)"; what a person can act on is the last cause in the chain.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// A proxy that speaks TLS is known to the system; an issuer's authorities say nothing of it.
fn through(proxy: &EgressProxy) -> Result<EgressConnector, FetchError> {
    let roots = match proxy.url().scheme() {
        "https" => system_roots()?,
        _ => RootCertStore::empty(),
    };
    EgressConnector::through(proxy, roots).map_err(|error| FetchError::Proxy(error.to_string()))
}

fn bundle_roots(pem: &str) -> Result<RootCertStore, FetchError> {
    let certificates = certificate_bundle::certificates(pem.as_bytes())
        .map_err(|error| FetchError::Authority(error.to_string()))?;
    let (store, _) = added(certificates.into_iter().map(CertificateDer::from).collect());
    if store.is_empty() {
        return Err(FetchError::Authority(
            "it holds no usable certificate".to_owned(),
        ));
    }
    Ok(store)
}

fn system_roots() -> Result<RootCertStore, FetchError> {
    let (store, _) = added(rustls_native_certs::load_native_certs().certs);
    if store.is_empty() {
        return Err(FetchError::Authority(
            "the system has none, and the issuer names none of its own".to_owned(),
        ));
    }
    Ok(store)
}

fn added(certificates: Vec<CertificateDer<'static>>) -> (RootCertStore, usize) {
    let mut store = RootCertStore::empty();
    let (_, ignored) = store.add_parsable_certificates(certificates);
    (store, ignored)
}
