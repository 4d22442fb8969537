//! What a proxy is started with.

use std::{path::Path, time::Duration};

use anyhow::{Result, bail};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{OWN_TOKEN, ProxyUnderTest, STATUS_PATH, authentication_config, binary, kubeconfig};
use crate::{
    api_server::{Answer, Events, FakeApiServer, Recorded},
    issuer::FakeIssuer,
    process::Process,
    server::free_port,
    tls::TestCa,
};

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
