//! `ProxyUnderTest`: the real `oidc-proxy` binary with files and flags.

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

use crate::{
    api_server::{Answer, Events, FakeApiServer, Recorded},
    client::{Client, Reply},
    issuer::{AUDIENCE, FakeIssuer},
    process::Process,
    server::free_port,
    tls::{Leaf, TestCa},
};

/// Where the settings of an OidcProxy are watched.
pub(crate) const STATUS_PATH: &str = "/apis/oidcproxy.dev/v1alpha1/namespaces/auth/oidcproxies";

/// The proxy's own token towards the API server.
pub const OWN_TOKEN: &str = "proxy-own-token";

/// How the proxy gets its authentication settings.
#[derive(Clone, Debug)]
enum Authentication {
    File(String),
    Flags(Vec<String>),
    /// The status of an OidcProxy.
    Status,
}

/// What a proxy is started with. Files are written when it starts.
pub struct Setup {
    kubeconfig: Value,
    authentication: Authentication,
    flags: Vec<String>,
    replaced: Vec<(String, String)>,
    env: Vec<(String, String)>,
    ready_path: &'static str,
    own_token_file: bool,
    output_is_read: bool,
    descriptors: Option<u32>,
    authority_file: bool,
    issuer_ca: Option<String>,
    upstream: String,
    upstream_ca: String,
}

impl Setup {
    /// In front of `api`, trusting `issuer`: user name from `sub`, groups from `groups`, no prefixes.
    pub fn new(api: &FakeApiServer, issuer: &FakeIssuer) -> Self {
        Self::with_upstream(&api.url(), &api.ca_pem(), issuer)
    }

    /// The same in front of any API server.
    pub fn with_upstream(url: &str, ca_pem: &str, issuer: &FakeIssuer) -> Self {
        Self {
            kubeconfig: json!({"token": OWN_TOKEN}),
            authentication: Authentication::File(authentication_config(issuer).to_string()),
            flags: Vec::new(),
            replaced: Vec::new(),
            env: Vec::new(),
            ready_path: "/ready",
            own_token_file: false,
            output_is_read: true,
            descriptors: None,
            authority_file: false,
            issuer_ca: None,
            upstream: url.to_owned(),
            upstream_ca: ca_pem.to_owned(),
        }
    }

    /// Adds a flag.
    #[must_use]
    pub fn flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// Gives another value to a flag that is always set, such as `--secure-port`.
    #[must_use]
    pub fn replacing(mut self, flag: &str, value: &str) -> Self {
        self.replaced.push((format!("{flag}="), value.to_owned()));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Another AuthenticationConfiguration.
    #[must_use]
    pub fn config(mut self, config: &Value) -> Self {
        self.authentication = Authentication::File(config.to_string());
        self
    }

    /// The text of the AuthenticationConfiguration.
    #[must_use]
    pub fn config_text(mut self, text: &str) -> Self {
        self.authentication = Authentication::File(text.to_owned());
        self
    }

    /// The `--oidc-*` flags instead of a file; `{dir}` becomes the directory with `issuer-ca.crt`.
    #[must_use]
    pub fn oidc_flags(mut self, flags: &[&str]) -> Self {
        self.authentication =
            Authentication::Flags(flags.iter().map(ToString::to_string).collect());
        self
    }

    /// The settings of an OidcProxy that `api` serves, as the operator would publish them, instead of a file.
    #[must_use]
    pub fn status(mut self, api: &FakeApiServer, settings: &Value) -> Self {
        let object = json!({
            "apiVersion": "oidcproxy.dev/v1alpha1", "kind": "OidcProxy",
            "metadata": {"name": "corp", "namespace": "auth", "uid": "u", "resourceVersion": "1"},
            "spec": {"authentication": {"jwt": []}},
            "status": {"settings": settings},
        });
        let list = json!({
            "apiVersion": "oidcproxy.dev/v1alpha1", "kind": "OidcProxyList",
            "metadata": {"resourceVersion": "1"}, "items": [object],
        });
        api.answer(STATUS_PATH, Answer::Json(200, list));
        let is_watch = |request: &Recorded| {
            request.target.starts_with(STATUS_PATH) && request.target.contains("watch=true")
        };
        api.answer_if(is_watch, Answer::Watch(Events::default()));
        self.authentication = Authentication::Status;
        self
    }

    /// What `issuer-ca.crt` holds, instead of the issuer's CA.
    #[must_use]
    pub fn issuer_ca(mut self, pem: &str) -> Self {
        self.issuer_ca = Some(pem.to_owned());
        self
    }

    /// The user of the kubeconfig.
    #[must_use]
    pub fn kubeconfig_user(mut self, user: Value) -> Self {
        self.kubeconfig = user;
        self
    }

    /// The kubeconfig names a token file (`own-token` in the directory) instead of holding the token.
    #[must_use]
    pub fn own_token_file(mut self) -> Self {
        self.own_token_file = true;
        self
    }

    /// Nobody reads the proxy's standard output.
    #[must_use]
    pub fn unread_output(mut self) -> Self {
        self.output_is_read = false;
        self
    }

    /// The process may have so many descriptors.
    #[must_use]
    pub fn descriptors(mut self, most: u32) -> Self {
        self.descriptors = Some(most);
        self
    }

    /// The kubeconfig names a file with the API server's root (`ca.crt` in the directory).
    #[must_use]
    pub fn authority_file(mut self) -> Self {
        self.authority_file = true;
        self
    }

    /// Which path tells that the start is complete, instead of `/ready`.
    #[must_use]
    pub fn wait_for(mut self, path: &'static str) -> Self {
        self.ready_path = path;
        self
    }

    /// Starts the proxy and waits until it is ready.
    pub async fn start(self, issuer: &FakeIssuer) -> Result<ProxyUnderTest> {
        let path = self.ready_path;
        let mut proxy = self.spawn(issuer)?;
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = proxy.process.exited()? {
                bail!("oidc-proxy ended with {status}\n{}", proxy.process.output());
            }
            if let Ok(reply) = proxy.probe(path).await
                && reply.status == 200
            {
                return Ok(proxy);
            }
            if Instant::now() > deadline {
                bail!("{path} is not 200 within 30 s\n{}", proxy.process.output());
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Starts the proxy without waiting.
    pub fn spawn(self, issuer: &FakeIssuer) -> Result<ProxyUnderTest> {
        let dir = tempfile::Builder::new().prefix("oidc-proxy-").tempdir()?;
        let path = |name: &str| dir.path().join(name);
        let ca = TestCa::new("proxy CA")?;
        let leaf = ca.server(&["127.0.0.1", "::1", "localhost", "k8s.example"])?;
        std::fs::write(path("tls.crt"), &leaf.cert_pem)?;
        std::fs::write(path("tls.key"), &leaf.key_pem)?;
        std::fs::write(path("own-token"), OWN_TOKEN)?;
        let issuer_ca = self.issuer_ca.unwrap_or_else(|| issuer.ca_pem());
        std::fs::write(path("issuer-ca.crt"), issuer_ca)?;
        let user = if self.own_token_file {
            json!({"tokenFile": path("own-token")})
        } else {
            self.kubeconfig.clone()
        };
        let mut kubeconfig = kubeconfig(&self.upstream, &self.upstream_ca, &user);
        if self.authority_file {
            std::fs::write(path("ca.crt"), &self.upstream_ca)?;
            let server = &self.upstream;
            kubeconfig["clusters"][0]["cluster"] =
                json!({"server": server, "certificate-authority": path("ca.crt")});
        }
        std::fs::write(path("kubeconfig"), kubeconfig.to_string())?;

        let (port, probe_port) = (free_port(), free_port());
        let mut args = vec![
            format!("--kubeconfig={}", path("kubeconfig").display()),
            format!("--secure-port={port}"),
            format!("--readiness-probe-port={probe_port}"),
            format!("--tls-cert-file={}", path("tls.crt").display()),
            format!("--tls-private-key-file={}", path("tls.key").display()),
        ];
        for (flag, value) in &self.replaced {
            for arg in args.iter_mut().filter(|arg| arg.starts_with(flag)) {
                *arg = format!("{flag}{value}");
            }
        }
        match &self.authentication {
            Authentication::File(text) => {
                std::fs::write(path("authentication.yaml"), text)?;
                let file = path("authentication.yaml");
                args.push(format!("--authentication-config={}", file.display()));
            }
            Authentication::Flags(flags) => args.extend(flags.iter().cloned()),
            Authentication::Status => args.push("--oidc-proxy=auth/corp".to_owned()),
        }
        args.extend(self.flags);
        let folder = dir.path().display().to_string();
        for arg in &mut args {
            *arg = arg.replace("{dir}", &folder);
        }
        let binary = binary()?;
        let process = match (self.descriptors, self.output_is_read) {
            (Some(most), _) => {
                let script = format!("ulimit -n {most} && exec \"$0\" \"$@\"");
                let words = ["-c".to_owned(), script, binary.display().to_string()];
                let args = [&words[..], &args].concat();
                Process::start(Path::new("/bin/sh"), &args, &self.env)?
            }
            (None, true) => Process::start(&binary, &args, &self.env)?,
            (None, false) => Process::start_unread(&binary, &args, &self.env)?,
        };
        Ok(ProxyUnderTest {
            process,
            port,
            probe_port,
            ca,
            dir,
        })
    }
}

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
