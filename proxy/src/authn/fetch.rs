//! Fetching documents from an issuer: over TLS that chains to the issuer's own authorities, never
//! following a redirect, never reading more than a document may be long.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};

/// The longest discovery document or key set that is read.
const MAX_DOCUMENT_BYTES: usize = 1024 * 1024;

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
    /// Too long, or broken off.
    #[error("{0} is longer than 1 MiB or was broken off")]
    Body(String),
}

/// A client for the documents of one issuer.
#[derive(Clone, Debug)]
pub(crate) struct DocumentClient {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

impl DocumentClient {
    /// Trusts the authorities of the PEM bundle only; without one, the system's.
    pub(crate) fn new(certificate_authority: Option<&str>) -> Result<Self, FetchError> {
        let roots = match certificate_authority {
            Some(pem) => bundle_roots(pem)?,
            None => system_roots()?,
        };
        let tls = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(Duration::from_secs(5)));
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .enable_http1()
            .wrap_connector(http);
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
        tokio::time::timeout(TIMEOUT, self.get_unbounded(url, name))
            .await
            .map_err(|_| FetchError::Timeout(name.to_owned()))?
    }

    async fn get_unbounded(&self, url: &str, name: &str) -> Result<Bytes, FetchError> {
        let uri: Uri = url.parse().map_err(|_| FetchError::Url(name.to_owned()))?;
        if uri.scheme_str() != Some("https") {
            return Err(FetchError::Url(name.to_owned()));
        }
        let request = Request::get(uri)
            .header(header::ACCEPT, "application/json")
            .header(
                header::USER_AGENT,
                concat!("oidc-proxy/", env!("CARGO_PKG_VERSION")),
            )
            .body(Empty::new())
            .map_err(|_| FetchError::Url(name.to_owned()))?;
        let response =
            self.client
                .request(request)
                .await
                .map_err(|error| FetchError::Unreachable {
                    url: name.to_owned(),
                    cause: innermost(&error),
                })?;
        if response.status() != StatusCode::OK {
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
    }
}

/// hyper says "client error (Connect)"; what a person can act on is the last cause in the chain.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn bundle_roots(pem: &str) -> Result<RootCertStore, FetchError> {
    let certificates: Vec<_> = rustls_pemfile::certs(&mut pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| FetchError::Authority("it is not PEM".to_owned()))?;
    let (store, _) = added(certificates);
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
