//! `ProxyUnderTest`: the real `oidc-proxy` binary with files and flags.

mod setup;

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::Instant,
};

pub use self::setup::Setup;
use crate::{
    client::{Client, Reply},
    issuer::{AUDIENCE, FakeIssuer},
    process::Process,
    tls::{Leaf, TestCa},
};

/// Where the settings of an OidcProxy are watched.
pub(crate) const STATUS_PATH: &str = "/apis/oidcproxy.dev/v1alpha1/namespaces/auth/oidcproxies";

/// The proxy's own token towards the API server.
pub const OWN_TOKEN: &str = "proxy-own-token";

/// The AuthenticationConfiguration for `issuer`, to be changed by a test.
pub fn authentication_config(issuer: &FakeIssuer) -> Value {
    json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [{
            "issuer": {
                "url": issuer.url(),
                "audiences": [AUDIENCE],
                "certificateAuthority": issuer.ca_pem(),
            },
            "claimMappings": {
                "username": {"claim": "sub", "prefix": ""},
                "groups": {"claim": "groups", "prefix": ""},
            },
        }],
    })
}

/// A kubeconfig with one cluster and one user.
pub fn kubeconfig(server: &str, ca_pem: &str, user: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {
            "server": server,
            "certificate-authority-data": STANDARD.encode(ca_pem),
        }}],
        "users": [{"name": "proxy", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "proxy"}}],
    })
}

/// The binary beside the test executables, or `OIDC_PROXY_BIN`.
pub fn binary() -> Result<PathBuf> {
    beside_tests("oidc-proxy", "OIDC_PROXY_BIN")
}

/// The operator's, or `OIDC_PROXY_OPERATOR_BIN`.
pub fn operator_binary() -> Result<PathBuf> {
    beside_tests("oidc-proxy-operator", "OIDC_PROXY_OPERATOR_BIN")
}

fn beside_tests(name: &str, variable: &str) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Ok(PathBuf::from(path));
    }
    let test = std::env::current_exe()?;
    // target/<profile>/deps/<test>
    let profile = test.ancestors().nth(2).context("the test has a folder")?;
    let path = profile.join(name);
    if !path.exists() {
        bail!(
            "{} is missing: run `cargo build -p {name}` first (`make test` does), or set {variable}",
            path.display()
        );
    }
    Ok(path)
}

/// A running proxy. It is killed when dropped.
pub struct ProxyUnderTest {
    /// The process with its output; access lines are on standard output.
    pub process: Process,
    port: u16,
    probe_port: u16,
    ca: TestCa,
    dir: TempDir,
}

impl ProxyUnderTest {
    /// A client that trusts the proxy's certificate.
    pub fn client(&self) -> Client {
        Client::new(self.port, self.ca.pem())
    }

    /// The serving port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The root of the serving certificate.
    pub fn ca(&self) -> &TestCa {
        &self.ca
    }

    /// A file of the proxy: `kubeconfig`, `tls.crt`, `tls.key`, `own-token`, `authentication.yaml`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Replaces a file at once, as a mounted volume would.
    pub fn replace(&self, name: &str, content: &str) -> Result<()> {
        replace(&self.file(name), content)
    }

    /// Replaces certificate and key, the key first: in between they do not match.
    pub fn replace_certificate(&self, leaf: &Leaf) -> Result<()> {
        self.replace("tls.key", &leaf.key_pem)?;
        self.replace("tls.crt", &leaf.cert_pem)
    }

    /// `GET` on the plain HTTP port.
    pub async fn probe(&self, path: &str) -> Result<Reply> {
        plain_get(self.probe_port, path).await
    }

    /// Waits until `path` on the plain HTTP port answers `status`.
    pub async fn wait_probe(&self, path: &str, status: u16) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let last = self.probe(path).await;
            if matches!(&last, Ok(reply) if reply.status == status) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{path} is not {status} within 30 s: {last:?}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Asks it to end.
    pub fn terminate(&self) -> Result<()> {
        self.process.signal("TERM")
    }

    /// Access lines so far.
    pub fn access_lines(&self) -> Vec<String> {
        self.process.stdout.all()
    }

    /// Waits for an access line that contains `part`.
    pub async fn access_line(&self, part: &str) -> Result<String> {
        let line = self.process.stdout.wait(part, |line| line.contains(part));
        line.await
    }
}

fn replace(path: &Path, content: &str) -> Result<()> {
    let next = path.with_extension("next");
    std::fs::write(&next, content)?;
    Ok(std::fs::rename(next, path)?)
}

async fn plain_get(port: u16, path: &str) -> Result<Reply> {
    let exchange = async {
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await?;
        let mut bytes = Vec::new();
        socket.read_to_end(&mut bytes).await?;
        Ok::<_, anyhow::Error>(bytes)
    };
    let bytes = tokio::time::timeout(Duration::from_secs(5), exchange).await??;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").context("no end of head")?;
    let status = head.split(' ').nth(1).context("no status")?;
    Ok(Reply {
        status: status.parse()?,
        headers: http::HeaderMap::new(),
        body: body.to_owned().into(),
    })
}
