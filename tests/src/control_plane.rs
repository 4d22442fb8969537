//! `ControlPlane`: a real etcd and kube-apiserver with RBAC, without a node.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{
    Api, Client, Config,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::{sync::OnceCell, time::Instant};

use crate::{
    chart::assets,
    process::Process,
    proxy::kubeconfig,
    server::free_port,
    tls::{Leaf, TestCa},
};

/// Service accounts, which is what the binaries are, when their request is answered.
const AUDIT_POLICY: &str = r#"{
  "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived", "ResponseStarted"],
  "rules": [{"level": "Metadata", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}]
}"#;
const DIR_PREFIX: &str = "oidcproxy-control-plane-";

/// The control plane of this test process.
pub struct ControlPlane {
    url: String,
    ca_pem: String,
    admin: Leaf,
    client_ca: TestCa,
    audit_log: PathBuf,
    processes: [Process; 2],
}

impl ControlPlane {
    /// The one instance, started by the first test that asks.
    pub async fn shared() -> &'static Self {
        Self::shared_with(&[]).await
    }

    /// The one instance, with further flags of kube-apiserver's if this is what starts it.
    pub async fn shared_with(flags: &[String]) -> &'static Self {
        static CELL: OnceCell<ControlPlane> = OnceCell::const_new();
        let started = CELL.get_or_try_init(|| Self::start(flags)).await;
        started.unwrap_or_else(|error| panic!("{error:#}"))
    }

    async fn start(flags: &[String]) -> Result<Self> {
        let assets = assets()?;
        let apiserver = assets.join("kube-apiserver");
        ensure!(apiserver.exists(), "{} is missing", apiserver.display());
        let dir = fresh_dir()?;

        let (etcd_port, peer_port, port) = (free_port(), free_port(), free_port());
        let etcd = start_detached(find_etcd(&assets)?, etcd_args(&dir, etcd_port, peer_port))?;

        let serving_ca = TestCa::new("control plane CA")?;
        let client_ca = TestCa::new("client CA")?;
        let serving = serving_ca.server(&["127.0.0.1", "kubernetes.default.svc"])?;
        let write = |name: &str, text: &str| std::fs::write(dir.join(name), text);
        write("serving.crt", &serving.cert_pem)?;
        write("serving.key", &serving.key_pem)?;
        write("client-ca.crt", &client_ca.pem())?;
        // A certificate counts as the public half of the key that signs service account tokens.
        let accounts = client_ca.client("service-accounts", &[])?;
        write("service-accounts.crt", &accounts.cert_pem)?;
        write("service-accounts.key", &accounts.key_pem)?;
        write("audit-policy.yaml", AUDIT_POLICY)?;
        let mut args = apiserver_args(&dir, etcd_port, port);
        args.extend_from_slice(flags);
        let apiserver = start_detached(apiserver, args)?;

        let mut this = Self {
            url: format!("https://127.0.0.1:{port}"),
            ca_pem: serving_ca.pem(),
            admin: client_ca.client("admin", &["system:masters"])?,
            client_ca,
            audit_log: dir.join("audit.log"),
            processes: [etcd, apiserver],
        };
        this.wait_ready().await?;
        Ok(this)
    }

    async fn wait_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(90);
        let client = self.admin().await?;
        loop {
            for process in &mut self.processes {
                if let Some(status) = process.exited()? {
                    bail!(
                        "the control plane ended with {status}\n{}",
                        process.output()
                    );
                }
            }
            let request = http::Request::get("/readyz").body(Vec::new())?;
            let ready = tokio::time::timeout(Duration::from_secs(5), client.request_text(request));
            let last = match ready.await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer".to_owned(),
            };
            ensure!(
                Instant::now() < deadline,
                "kube-apiserver is not ready within 90 s: {last}"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// `https://127.0.0.1:port`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The root of its serving certificate, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// A certificate that makes a client this user, in no groups.
    pub fn user(&self, name: &str) -> Leaf {
        let leaf = self.client_ca.client(name, &[]);
        leaf.expect("a name that a certificate can carry")
    }

    /// What a service account in `default` has asked since the log was this long: verb and resource with their number. And
    /// how long the log is now.
    pub fn requests_of(&self, account: &str, since: u64) -> Result<(BTreeMap<String, u64>, u64)> {
        let mut file = std::fs::File::open(&self.audit_log)?;
        file.seek(SeekFrom::Start(since))?;
        let mut end = since;
        let mut counts = BTreeMap::new();
        let user = format!("system:serviceaccount:default:{account}");
        for line in BufReader::new(file).split(b'\n') {
            let line = line?;
            // One that is being written counts next time.
            let Ok(event) = serde_json::from_slice::<Value>(&line) else {
                break;
            };
            end += line.len() as u64 + 1;
            if event["user"]["username"] != user.as_str() {
                continue;
            }
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let object = &event["objectRef"];
            let mut what = format!("{} {}", text(&event["verb"]), text(&object["resource"]));
            if object["subresource"].is_string() {
                what = format!("{what}/{}", text(&object["subresource"]));
            }
            *counts.entry(what).or_default() += 1;
        }
        Ok((counts, end))
    }

    /// A client in `system:masters`, for the runtime of the calling test.
    pub async fn admin(&self) -> Result<Client> {
        self.client(&self.admin_user()).await
    }

    /// The kubeconfig user of that client.
    pub fn admin_user(&self) -> Value {
        json!({
            "client-certificate-data": STANDARD.encode(&self.admin.cert_pem),
            "client-key-data": STANDARD.encode(&self.admin.key_pem),
        })
    }

    /// A client with any kubeconfig user.
    pub async fn client(&self, user: &Value) -> Result<Client> {
        let config = kubeconfig(&self.url, &self.ca_pem, user);
        let config: Kubeconfig = serde_json::from_value(config)?;
        let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
        Ok(Client::try_from(config)?)
    }

    /// Creates a cluster-scoped or default-namespace object from JSON; one that exists already is kept.
    pub async fn create<K>(&self, api: Api<K>, object: Value) -> Result<()>
    where
        K: Clone + DeserializeOwned + Serialize + std::fmt::Debug,
    {
        let object: K = serde_json::from_value(object)?;
        match api.create(&PostParams::default(), &object).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
            other => other.map(drop).context("cannot create an object"),
        }
    }

    /// A token of a service account in `default`, as the proxy would have it mounted.
    pub async fn service_account_token(&self, name: &str) -> Result<String> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.admin().await?, "default");
        let request: TokenRequest = serde_json::from_value(json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "metadata": {},
            "spec": {"audiences": [], "expirationSeconds": 3600},
        }))?;
        let params = PostParams::default();
        let request = accounts.create_token_request(name, &params, &request);
        let status = request
            .await?
            .status
            .context("the token request has a status")?;
        Ok(status.token)
    }
}

fn etcd_args(dir: &Path, port: u16, peer_port: u16) -> Vec<String> {
    let (client, peer) = (local(port), local(peer_port));
    vec![
        format!("--data-dir={}", dir.join("etcd").display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        "--unsafe-no-fsync".to_owned(),
    ]
}

fn apiserver_args(dir: &Path, etcd_port: u16, port: u16) -> Vec<String> {
    let path = |name: &str| dir.join(name).display().to_string();
    vec![
        format!("--etcd-servers={}", local(etcd_port)),
        format!("--cert-dir={}", path("certs")),
        "--bind-address=127.0.0.1".to_owned(),
        "--advertise-address=127.0.0.1".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        format!("--secure-port={port}"),
        format!("--tls-cert-file={}", path("serving.crt")),
        format!("--tls-private-key-file={}", path("serving.key")),
        format!("--client-ca-file={}", path("client-ca.crt")),
        "--authorization-mode=RBAC".to_owned(),
        // Room for the Services of a thousand proxies.
        "--service-cluster-ip-range=10.0.0.0/16".to_owned(),
        format!("--audit-policy-file={}", path("audit-policy.yaml")),
        format!("--audit-log-path={}", path("audit.log")),
        // One file to the end: requests are counted by their place in it.
        "--audit-log-maxsize=4096".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!(
            "--service-account-key-file={}",
            path("service-accounts.crt")
        ),
        format!(
            "--service-account-signing-key-file={}",
            path("service-accounts.key")
        ),
        // No controller manager: nothing would create the default service accounts.
        "--disable-admission-plugins=ServiceAccount".to_owned(),
    ]
}

fn local(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// The assets may hold etcd; otherwise the system has it.
fn find_etcd(assets: &Path) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = vec![assets.to_owned()];
    folders.extend(std::env::split_paths(&path));
    let found = folders
        .into_iter()
        .map(|dir| dir.join("etcd"))
        .find(|file| file.exists());
    found.with_context(|| format!("no etcd in {} or PATH", assets.display()))
}

/// A folder of this process; those of processes that are gone are removed.
fn fresh_dir() -> Result<PathBuf> {
    let temp = std::env::temp_dir();
    for entry in std::fs::read_dir(&temp)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(pid) = name.strip_prefix(DIR_PREFIX) else {
            continue;
        };
        if !Path::new("/proc").join(pid).exists() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    let dir = temp.join(format!("{DIR_PREFIX}{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// Starts a child that lives as long as this process: its parent thread never ends before.
fn start_detached(program: PathBuf, args: Vec<String>) -> Result<Process> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let _ = sender.send(Process::start(&program, &args, &[]));
        loop {
            thread::park();
        }
    });
    receiver.recv()?
}
