//! What all tests share: one release of the chart, one `OidcProxy`, one pod to look at.

use std::{
    io::Write as _,
    path::Path,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    client::Client,
    environment::Environment,
    oidc_proxy,
    release::{self, RELEASE, SYSTEM},
    traffic::MakeClient,
    user,
};

const SHARED: &str = "oidc-proxy-e2e";

/// The two generations of kubectl: the old one speaks SPDY, the new one WebSocket.
#[derive(Clone, Copy, Debug)]
pub enum Kubectl {
    /// 1.36
    WebSocket,
    /// 1.28
    Spdy,
}

/// What all tests share.
#[derive(Debug)]
pub struct Suite {
    /// Where the cluster is.
    pub environment: Environment,
    /// kubectl of the cluster's administrator, straight to the API server.
    pub admin: Client,
    /// The shared resource.
    pub document: Value,
    /// From apply to Ready.
    pub ready_after: Duration,
    directory: TempDir,
    kubeconfig: std::path::PathBuf,
}

impl Suite {
    /// Made by the first test that asks; when that fails, no other test tries again.
    pub fn shared() -> &'static Self {
        static SUITE: OnceLock<Option<Suite>> = OnceLock::new();
        let mut failed = None;
        let suite = SUITE.get_or_init(|| {
            std::panic::catch_unwind(|| Self::start(install))
                .map_err(|panic| failed = Some(panic))
                .ok()
        });
        if let Some(panic) = failed {
            std::panic::resume_unwind(panic);
        }
        suite
            .as_ref()
            .expect("the suite's preparation has failed in another test")
    }

    /// The same with a release that `install` makes, for a test that needs another one.
    pub fn start(install: impl Fn(&Environment, &Client)) -> Self {
        let environment = Environment::load().unwrap_or_else(|error| panic!("{error:#}"));
        let admin = Client::new(environment.get("KUBECTL"), environment.get("KUBECONFIG"));
        // A run that was killed leaves its namespaces; theirs are no other's.
        install(&environment, &admin);
        prepare_shared(&environment, &admin);
        let document = oidc_proxy::document(&environment, SHARED, "corp");
        let started = Instant::now();
        oidc_proxy::apply_until_ready(&admin, &document);
        let ready_after = started.elapsed();
        report(&format!("from apply to Ready: {ready_after:.1?}"));
        let directory = tempfile::tempdir().expect("there is a directory for temporary files");
        let kubeconfig = oidc_proxy::kubeconfig(&admin, &document, directory.path());
        Self {
            environment,
            admin,
            document,
            ready_after,
            directory,
            kubeconfig,
        }
    }

    /// A directory for the tests' files.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The kubeconfig that the shared resource publishes, without a user.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The namespace of the shared resource and its pod `target`.
    pub fn namespace(&self) -> &'static str {
        SHARED
    }

    /// The chart's release.
    pub fn release(&self) -> &'static str {
        RELEASE
    }

    /// The operator's namespace.
    pub fn system_namespace(&self) -> &'static str {
        SYSTEM
    }

    /// kubectl of a user, through the shared proxy.
    pub fn user(&self, kubectl: Kubectl, name: &str) -> Client {
        self.with_token(kubectl, &user::token(name))
    }

    /// kubectl with any token, through the shared proxy.
    pub fn with_token(&self, kubectl: Kubectl, token: &str) -> Client {
        self.through(&self.kubeconfig, kubectl, token)
    }

    /// kubectl with any token, through the proxy of this kubeconfig.
    pub fn through(&self, kubeconfig: &Path, kubectl: Kubectl, token: &str) -> Client {
        let program = self.environment.get(match kubectl {
            Kubectl::WebSocket => "KUBECTL",
            Kubectl::Spdy => "KUBECTL_SPDY",
        });
        let mut client = Client::new(program, kubeconfig);
        client.arguments.push(format!("--token={token}"));
        client
    }

    /// A user through the proxy of this kubeconfig, with a fresh token for each request.
    pub fn traffic_of(
        &'static self,
        name: &'static str,
        kubeconfig: &Path,
        kubectl: Kubectl,
    ) -> MakeClient {
        let kubeconfig = kubeconfig.to_owned();
        Arc::new(move || self.through(&kubeconfig, kubectl, &user::token(name)))
    }

    /// How many streams of a kind the shared proxies have carried, as their metrics say.
    pub fn streams(&self, kind: &str) -> u64 {
        let selector = "app.kubernetes.io/name=oidc-proxy,app.kubernetes.io/instance=corp";
        let list = self
            .admin
            .json(&["-n", SHARED, "get", "pods", "-l", selector]);
        let pods = list["items"].as_array().expect("a list has items").iter();
        let metric = format!("oidc_proxy_streams_total{{kind=\"{kind}\"}} ");
        pods.map(|pod| {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            let path = format!("--raw=/api/v1/namespaces/{SHARED}/pods/{name}:8080/proxy/metrics");
            let metrics = self.admin.ok(&["get", &path]);
            let line = metrics.lines().find_map(|line| line.strip_prefix(&metric));
            line.and_then(|count| count.parse::<u64>().ok())
                .unwrap_or(0)
        })
        .sum()
    }

    /// The shared proxies' access lines with this text.
    pub fn access_lines(&self, text: &str) -> Vec<String> {
        let selector = "app.kubernetes.io/name=oidc-proxy,app.kubernetes.io/instance=corp";
        let log = self
            .admin
            .ok(&["-n", SHARED, "logs", "-l", selector, "--tail=-1"]);
        log.lines()
            .filter(|line| line.contains(text))
            .map(str::to_owned)
            .collect()
    }
}

/// A figure for whoever reads the run's output; `println!` is shown for failed tests only.
pub fn report(figure: &str) {
    let _ = writeln!(std::io::stderr(), "\nmeasured: {figure}");
}

fn install(environment: &Environment, admin: &Client) {
    refuse_a_second_release(environment);
    release::forget_unfinished(admin);
    let started = Instant::now();
    // The CRD stays when a release goes.
    release::install(environment, "HELM", &["--take-ownership"]);
    // The tag is the same for every build.
    admin.ok(&["-n", SYSTEM, "rollout", "restart", "deployment"]);
    admin.ok(&[
        "-n",
        SYSTEM,
        "rollout",
        "status",
        "deployment",
        "--timeout=180s",
    ]);
    report(&format!("helm install: {:.1?}", started.elapsed()));
}

/// The policies of a release are for the whole cluster: two would lock each other out.
pub fn refuse_a_second_release(environment: &Environment) {
    let helm = Client::new(environment.get("HELM"), environment.get("KUBECONFIG"));
    let releases = helm.json(&["list", "--all-namespaces"]);
    for release in releases.as_array().into_iter().flatten() {
        let chart = release["chart"].as_str().unwrap_or_default();
        assert!(
            !chart.starts_with("oidc-proxy-operator") || release["name"] == RELEASE,
            "release {} is installed in {}: end it first (e2e-kind/cluster/releases.sh end)",
            release["name"],
            release["namespace"]
        );
    }
}

fn prepare_shared(environment: &Environment, admin: &Client) {
    let binding = |name: &str, role: &str, subject: Value| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": name, "namespace": SHARED},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [subject],
        })
    };
    let group = |name: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": name});
    let documents = [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SHARED}}),
        oidc_proxy::issuer_ca(environment, SHARED),
        binding("dev", "edit", group("corp:dev")),
        target_pod(environment),
    ];
    admin.run(&[
        "-n",
        SHARED,
        "delete",
        "oidcproxy",
        "--all",
        "--timeout=60s",
    ]);
    for document in documents {
        let output = admin.apply(&document);
        assert_eq!(output.code, Some(0), "{output}");
    }
    admin.ok(&[
        "-n",
        SHARED,
        "wait",
        "pod/target",
        "--for=condition=Ready",
        "--timeout=60s",
    ]);
}

/// A pod that says something each second, answers on a port and echoes its input.
fn target_pod(environment: &Environment) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "target", "namespace": SHARED, "labels": {"app": "target"}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "main", "image": environment.get("TOOLS_IMAGE"), "imagePullPolicy": "IfNotPresent",
                    "command": ["sh", "-c", "mkdir -p /tmp/www; echo hello from the pod >/tmp/www/hello; httpd -p 8080 -h /tmp/www; n=0; while true; do n=$((n+1)); echo tick $n; sleep 1; done"],
                },
                {
                    "name": "echo", "image": environment.get("TOOLS_IMAGE"), "imagePullPolicy": "IfNotPresent",
                    "stdin": true, "command": ["sh", "-c", "while read line; do echo echo: $line; done; sleep infinity"],
                },
            ],
        },
    })
}
