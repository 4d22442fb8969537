//! Issuers that others wrote, as processes of a test: Keycloak and the npm package `oidc-provider`.
//!
//! `e2e-kind/ci/issuers.sh` installs them and says where they are.

mod keycloak;
mod oidc_provider;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;
use tokio::time::Instant;

pub use self::{keycloak::Keycloak, oidc_provider::OidcProvider};
use crate::{process::Process, tls::TestCa, web::WebClient};

/// The user that tokens are for; the password is the name.
pub const USER: &str = "alice";
/// The groups of [`USER`].
pub const GROUPS: [&str; 2] = ["dev", "ops"];
/// What kube-apiserver accepts, and so the proxy.
pub const ACCEPTED: [&str; 9] = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512",
];

/// The client, and so the audience, whose tokens are signed with `algorithm`.
pub fn client_id(algorithm: &str) -> String {
    format!("kubernetes-{algorithm}")
}

/// What the tests need of an issuer.
pub trait RealIssuer {
    /// The issuer URL.
    fn url(&self) -> &str;
    /// The root of its certificate, PEM.
    fn ca_pem(&self) -> &str;
    /// The claim with the name of [`USER`].
    fn username_claim(&self) -> &'static str;
    /// Algorithms it can sign with and that must be refused.
    fn refused(&self) -> &'static [&'static str];
    /// A fresh `id_token` of [`USER`].
    fn token(&self, algorithm: &str) -> impl Future<Output = Result<String>>;
    /// A new key signs with `algorithm`, the old one stays published.
    fn rotate(&mut self, algorithm: &str) -> impl Future<Output = Result<()>>;
    /// Only the newest key for `algorithm` stays published.
    fn withdraw(&mut self, algorithm: &str) -> impl Future<Output = Result<()>>;
}

/// A certificate on disk for a server on 127.0.0.1.
struct Certificate {
    ca_pem: String,
    dir: TempDir,
}

impl Certificate {
    fn new(name: &str) -> Result<Self> {
        let ca = TestCa::new(name)?;
        let leaf = ca.server(&["127.0.0.1"])?;
        let dir = tempfile::Builder::new().prefix("real-issuer-").tempdir()?;
        std::fs::write(dir.path().join("tls.crt"), &leaf.cert_pem)?;
        std::fs::write(dir.path().join("tls.key"), &leaf.key_pem)?;
        Ok(Self {
            ca_pem: ca.pem(),
            dir,
        })
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }
}

fn folder(variable: &str) -> Result<PathBuf> {
    let value = std::env::var_os(variable)
        .with_context(|| format!("{variable} is not set: run `make test-issuers`"))?;
    Ok(PathBuf::from(value))
}

/// Finds a program, since a child process gets no shell.
fn program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
        .with_context(|| format!("{name} is not installed: run `make test-issuers`"))
}

/// Waits for the answer of a server that starts.
async fn until_it_answers(process: &mut Process, web: &WebClient, url: &str) -> Result<()> {
    let deadline = Instant::now() + Duration::from_mins(3);
    loop {
        if let Some(status) = process.exited()? {
            bail!("the issuer ended with {status}\n{}", process.output());
        }
        match web.get(url).await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                bail!("{url} does not answer: {error:#}\n{}", process.output())
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

/// A fresh `id_token` of [`USER`], by the password grant.
async fn log_in(web: &WebClient, url: &str, algorithm: &str) -> Result<String> {
    let fields = [
        ("grant_type", "password"),
        ("client_id", &client_id(algorithm)),
        ("scope", "openid"),
        ("username", USER),
        ("password", USER),
    ];
    let answer = web.post_form(url, &fields).await?;
    let token = answer["id_token"].as_str().context("no id_token")?;
    Ok(token.to_owned())
}
