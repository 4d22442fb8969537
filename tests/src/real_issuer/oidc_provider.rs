//! `e2e-kind/cluster/issuers/oidc-provider/issuer.mjs` under Node.

use anyhow::Result;
use http::Method;
use serde_json::Value;

use super::{Certificate, RealIssuer, folder, log_in, program, until_it_answers};
use crate::{process::Process, server::free_port, web::WebClient};

/// The certified implementation `oidc-provider`.
pub struct OidcProvider {
    url: String,
    certificate: Certificate,
    web: WebClient,
    _process: Process,
}

impl OidcProvider {
    /// Starts it and waits until it answers.
    pub async fn start() -> Result<Self> {
        let folder = folder("OIDC_PROVIDER_DIR")?;
        let port = free_port();
        let url = format!("https://127.0.0.1:{port}");
        let certificate = Certificate::new("oidc-provider CA")?;
        let env = [
            ("PORT", port.to_string()),
            ("TLS_CERT", certificate.file("tls.crt")),
            ("TLS_KEY", certificate.file("tls.key")),
        ]
        .map(|(name, value)| (name.to_owned(), value));
        let script = folder.join("issuer.mjs").display().to_string();
        let mut process = Process::start(&program("node")?, &[script], &env)?;
        let web = WebClient::new(&certificate.ca_pem)?;
        let discovery = format!("{url}/.well-known/openid-configuration");
        until_it_answers(&mut process, &web, &discovery).await?;
        Ok(Self {
            url,
            certificate,
            web,
            _process: process,
        })
    }

    async fn control(&self, action: &str) -> Result<()> {
        let url = format!("{}/control/{action}", self.url);
        self.web.call(Method::POST, &url, "", &Value::Null).await?;
        Ok(())
    }
}

impl RealIssuer for OidcProvider {
    fn url(&self) -> &str {
        &self.url
    }

    fn ca_pem(&self) -> &str {
        &self.certificate.ca_pem
    }

    fn username_claim(&self) -> &'static str {
        "sub"
    }

    fn refused(&self) -> &'static [&'static str] {
        &["EdDSA", "Ed25519"]
    }

    async fn token(&self, algorithm: &str) -> Result<String> {
        let url = format!("{}/token", self.url);
        log_in(&self.web, &url, algorithm).await
    }

    async fn rotate(&mut self, _algorithm: &str) -> Result<()> {
        self.control("rotate").await
    }

    async fn withdraw(&mut self, _algorithm: &str) -> Result<()> {
        self.control("withdraw").await
    }
}
