//! The operator behind an API server that fails, and operators that die or lose touch half-way.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "operator/backing_off.rs"]
mod backing_off;
#[path = "operator/deaf.rs"]
mod deaf;
#[path = "operator/deaths.rs"]
mod deaths;
#[path = "operator/older_definition.rs"]
mod older_definition;
#[path = "operator/orphans.rs"]
mod orphans;
#[path = "operator/steady.rs"]
mod steady;

use std::{collections::BTreeMap, sync::Arc, thread, time::Duration};

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, DynamicObject, Patch, PatchParams},
    core::{ApiResource, GroupVersionKind},
};
use oidc_proxy_operator::{
    controller::{
        Context,
        options::{Namespaces, Options},
        watch,
    },
    events::Events,
    metrics::Metrics,
};
use oidcproxy_crds::OidcProxy;
use oidcproxy_tests::{
    chart::Chart,
    control_plane::ControlPlane,
    faulty_api::{Asked, Fault, FaultyApi},
};
use serde_json::{Value, json};
use tokio::{
    sync::{Mutex, OnceCell, oneshot},
    time::{Instant, sleep},
};

const HOME: &str = "default";
pub(crate) const NAMESPACE: &str = "faults";
const ACCOUNT: &str = "operator";
const SOON: Duration = Duration::from_secs(150);
const RIGHTS: [&str; 6] = [
    "CustomResourceDefinition",
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
];
/// Everything that one `OidcProxy` is made of, but for the Secrets.
const CHILDREN: [(&str, &str, &str); 9] = [
    ("v1", "ServiceAccount", ""),
    ("v1", "Service", ""),
    ("v1", "ConfigMap", "-trust"),
    ("v1", "ConfigMap", "-kubeconfig"),
    ("rbac.authorization.k8s.io/v1", "Role", ""),
    ("rbac.authorization.k8s.io/v1", "RoleBinding", ""),
    ("networking.k8s.io/v1", "NetworkPolicy", ""),
    ("policy/v1", "PodDisruptionBudget", ""),
    ("apps/v1", "Deployment", ""),
];

const KIND: (&str, &str) = ("oidcproxy.dev/v1alpha1", "OidcProxy");
const RBAC: &str = "rbac.authorization.k8s.io/v1";

fn cluster_role(name: &str) -> String {
    format!("oidcproxy:{NAMESPACE}:{name}")
}

/// One operator looks at the whole cluster: the tests take turns.
static TURN: Mutex<()> = Mutex::const_new(());

pub(crate) struct Bed {
    pub(crate) plane: &'static ControlPlane,
    pub(crate) admin: Client,
    pub(crate) api: FaultyApi,
    pub(crate) token: String,
}

impl Bed {
    pub(crate) async fn new() -> Self {
        static PREPARED: OnceCell<()> = OnceCell::const_new();
        let plane = ControlPlane::shared().await;
        let admin = plane.admin().await.unwrap();
        PREPARED
            .get_or_init(|| async {
                for name in [HOME, NAMESPACE] {
                    let object = json!({"metadata": {"name": name}});
                    plane
                        .create::<Namespace>(Api::all(admin.clone()), object)
                        .await
                        .unwrap();
                }
                let values = [
                    &*format!("namespaces={{{NAMESPACE}}}"),
                    &format!("serviceAccount.name={ACCOUNT}"),
                    "leaderElection.leaseName=lead",
                ];
                let chart = Chart::render("operator", HOME, &values).unwrap();
                chart.apply(&admin, &RIGHTS).await.unwrap();
            })
            .await;
        let api = FaultyApi::start(plane).unwrap();
        let token = plane.service_account_token(ACCOUNT).await.unwrap();
        Self {
            plane,
            admin,
            api,
            token,
        }
    }

    pub(crate) fn proxies(&self) -> Api<OidcProxy> {
        Api::namespaced(self.admin.clone(), NAMESPACE)
    }

    pub(crate) async fn apply(&self, name: &str, hostname: &str) {
        let spec = json!({"serving": {"hostnames": [hostname]}});
        self.apply_spec(name, &spec, false).await.unwrap();
    }

    /// Applies one with these parts of a spec.
    async fn apply_spec(&self, name: &str, spec: &Value, dry_run: bool) -> kube::Result<()> {
        let mut whole = json!({"authentication": {"jwt": [{
            "name": "corp",
            "issuer": {"url": "https://id.example.com", "audiences": ["kubernetes"]},
            "claimMappings": {"username": {"claim": "sub", "prefix": "corp:"}},
        }]}});
        for (key, value) in spec.as_object().unwrap() {
            whole[key] = value.clone();
        }
        let object = json!({
            "apiVersion": "oidcproxy.dev/v1alpha1", "kind": "OidcProxy", "metadata": {"name": name}, "spec": whole,
        });
        let params = PatchParams {
            dry_run,
            ..PatchParams::apply("test").force()
        };
        let proxies = self.objects(KIND.0, KIND.1);
        let patched = proxies.patch(name, &params, &Patch::Apply(&object)).await;
        patched.map(drop)
    }

    /// Waits until a condition says this of the newest generation, whether the object can be read or not.
    async fn wait_condition(&self, name: &str, type_: &str, status: &str, reason: &str) -> Value {
        let deadline = Instant::now() + SOON;
        loop {
            let found = self.objects(KIND.0, KIND.1).get(name).await.unwrap();
            let said = found.data["status"]["conditions"].as_array();
            let said = said.into_iter().flatten().any(|condition| {
                condition["type"] == type_
                    && condition["status"] == status
                    && condition["reason"] == reason
                    && condition["observedGeneration"] == json!(found.metadata.generation)
            });
            if said {
                return found.data;
            }
            let status_now = &found.data["status"];
            assert!(
                Instant::now() < deadline,
                "{name}: no {type_}={status} {reason}: {status_now:#}"
            );
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn is_there(&self, group: &str, kind: &str, name: &str) -> bool {
        let found = self.objects(group, kind).get_opt(name).await.unwrap();
        found.is_some()
    }

    /// Waits until it is gone.
    async fn wait_gone(&self, (group, kind): (&str, &str), name: &str) {
        let deadline = Instant::now() + SOON;
        while self.is_there(group, kind, name).await {
            assert!(Instant::now() < deadline, "{kind} {name} is still there");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// As far as it gets without nodes: everything is there and said.
    pub(crate) async fn wait_settled(&self, name: &str, what: &str) {
        let deadline = Instant::now() + SOON;
        loop {
            let proxy = self.proxies().get(name).await.unwrap();
            let status = serde_json::to_value(&proxy.status).unwrap();
            let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
            let settled = conditions.iter().any(|condition| {
                condition["type"] == "Ready"
                    && condition["reason"] == "DeploymentProgressing"
                    && condition["observedGeneration"] == json!(proxy.metadata.generation)
            });
            if settled && self.versions(name).await.is_some() {
                break;
            }
            assert!(Instant::now() < deadline, "{what}: {status:#}");
            sleep(Duration::from_millis(200)).await;
        }
        self.assert_sound(name).await;
    }

    /// The resource versions of all children and of the object itself; nothing while one is missing.
    async fn versions(&self, name: &str) -> Option<BTreeMap<String, String>> {
        let cluster = cluster_role(name);
        let mut wanted: Vec<(&str, &str, String)> = CHILDREN
            .map(|(group, kind, suffix)| (group, kind, format!("{name}{suffix}")))
            .to_vec();
        for suffix in ["-ca", "-serving"] {
            wanted.push(("v1", "Secret", format!("{name}{suffix}")));
        }
        for kind in ["ClusterRole", "ClusterRoleBinding"] {
            wanted.push(("rbac.authorization.k8s.io/v1", kind, cluster.clone()));
        }
        wanted.push(("oidcproxy.dev/v1alpha1", "OidcProxy", name.to_owned()));
        let mut all = BTreeMap::new();
        for (group, kind, name) in wanted {
            let found = self.objects(group, kind).get_opt(&name).await.unwrap()?;
            all.insert(format!("{kind}/{name}"), found.resource_version()?);
        }
        Some(all)
    }

    fn objects(&self, group: &str, kind: &str) -> Api<DynamicObject> {
        let (group, version) = group.rsplit_once('/').unwrap_or(("", group));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        if kind.starts_with("Cluster") || kind.ends_with("Definition") {
            Api::all_with(self.admin.clone(), &resource)
        } else {
            Api::namespaced_with(self.admin.clone(), NAMESPACE, &resource)
        }
    }

    /// What is published is what is stored: no root was made twice, or forgotten.
    async fn assert_sound(&self, name: &str) {
        let secrets: Api<Secret> = Api::namespaced(self.admin.clone(), NAMESPACE);
        let root = secrets.get(&format!("{name}-ca")).await.unwrap();
        let root = String::from_utf8(root.data.unwrap()["ca.crt"].0.clone()).unwrap();
        let status = self.proxies().get(name).await.unwrap().status.unwrap();
        assert_eq!(status.ca_bundle.as_deref(), Some(root.as_str()), "{name}");
        let trust = self
            .objects("v1", "ConfigMap")
            .get(&format!("{name}-trust"))
            .await
            .unwrap();
        assert_eq!(trust.data["data"]["ca.crt"], json!(root), "{name}");
    }

    async fn remove(&self, name: &str) {
        let proxies = self.objects(KIND.0, KIND.1);
        proxies
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
        self.wait_gone(KIND, name).await;
        for kind in ["ClusterRoleBinding", "ClusterRole"] {
            let left = self.is_there(RBAC, kind, &cluster_role(name)).await;
            assert!(!left, "{kind} of {name}");
        }
    }
}

/// An operator on a thread of its own; dropping it is its death, whatever it was at.
struct Operator {
    metrics: Metrics,
    kill: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Operator {
    fn start(bed: &Bed) -> Self {
        Self::start_in(bed, NAMESPACE)
    }

    /// One that honours this namespace alone.
    fn start_in(bed: &Bed, namespace: &'static str) -> Self {
        let metrics = Metrics::default();
        let shown = metrics.clone();
        let (kill, killed) = oneshot::channel();
        let (api, token) = (bed.api.clone(), bed.token.clone());
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let client = api.client(&token).await.unwrap();
                let options = Options {
                    namespaces: Namespaces::Listed([namespace.to_owned()].into()),
                    proxy_image: "proxy:test".into(),
                    image_pull_policy: None,
                    cluster_domain: "cluster.local".into(),
                    allow_image_override: false,
                    operator_namespace: HOME.into(),
                    operator_pod_labels: BTreeMap::new(),
                };
                let events = Events::new(client.clone(), "test");
                let context = Context::new(client, options, events, metrics);
                let running = watch::run(
                    Arc::new(context),
                    tokio_util::sync::CancellationToken::new(),
                );
                tokio::select! {
                    () = running => {}
                    _ = killed => {}
                }
            });
        });
        Self {
            metrics: shown,
            kill: Some(kill),
            thread: Some(thread),
        }
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        drop(self.kill.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

type Matches = fn(&Asked) -> bool;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_converges_whatever_the_api_server_does() {
    let _turn = TURN.lock().await;
    let bed = Bed::new().await;
    let operator = Operator::start(&bed);
    bed.apply("first", "a.example.com").await;
    bed.wait_settled("first", "the start").await;
    let any: Matches = |asked| !asked.is_watch() && !asked.target.contains("/events");
    let deployment: Matches = |asked| asked.is_write() && asked.target.contains("/deployments/");
    let rows: [(&str, Fault, usize, Matches); 9] = [
        ("409 to writes", Fault::Answer(409), 8, Asked::is_write),
        ("429 with Retry-After", Fault::Answer(429), 8, any),
        ("500 to writes", Fault::Answer(500), 6, Asked::is_write),
        ("503 to everything", Fault::Answer(503), 6, any),
        ("connection cut before", Fault::Cut, 6, any),
        ("answer lost", Fault::LoseAnswer, 6, Asked::is_write),
        ("watch expired (410)", Fault::Expired, 12, Asked::is_watch),
        ("500 to watches", Fault::Answer(500), 6, Asked::is_watch),
        ("no answer ever", Fault::Hang, 1, deployment),
    ];
    for (number, (what, fault, times, matches)) in rows.into_iter().enumerate() {
        let name = format!("f{number}");
        let started = Instant::now();
        bed.api.fail(fault, 0, times, matches);
        if matches as usize == Asked::is_watch as Matches as usize {
            bed.api.cut_streams();
        }
        bed.apply(&name, "a.example.com").await;
        bed.wait_settled(&name, what).await;
        let (left, first) = (bed.api.heal(), started.elapsed());
        // It still follows what is changed, and what was there before has not suffered.
        bed.apply(&name, "b.example.com").await;
        bed.wait_settled(&name, what).await;
        bed.assert_sound("first").await;
        println!("{what}: {} times, settled after {first:.1?}", times - left);
        assert_eq!(left, 0, "{what}: not all of it has struck");
        bed.remove(&name).await;
    }
    let before = bed.versions("first").await.unwrap();
    sleep(Duration::from_secs(8)).await;
    assert_eq!(bed.versions("first").await.unwrap(), before);
    bed.remove("first").await;
    drop(operator);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_can_die_at_every_write() {
    let _turn = TURN.lock().await;
    let bed = Bed::new().await;
    // How many writes there are is seen first.
    let operator = Operator::start(&bed);
    let count = || {
        bed.api
            .seen()
            .iter()
            .filter(|asked| asked.is_write())
            .count()
    };
    let before = count();
    bed.apply("whole", "a.example.com").await;
    bed.wait_settled("whole", "without a fault").await;
    let writes = count() - before;
    bed.remove("whole").await;
    drop(operator);
    assert!((15..40).contains(&writes), "{writes}");

    for step in 0..writes {
        let name = format!("k{step}");
        let after = step % 2 == 0;
        bed.api.fail(Fault::Die(after), step, 1, Asked::is_write);
        let operator = Operator::start(&bed);
        bed.apply(&name, "a.example.com").await;
        // The last steps may not come: a pass that is quicker needs fewer.
        let died = tokio::time::timeout(Duration::from_secs(20), bed.api.died()).await;
        drop(operator);
        bed.api.heal();
        let started = Instant::now();
        let operator = Operator::start(&bed);
        bed.wait_settled(&name, &format!("killed at write {step}"))
            .await;
        println!(
            "killed {} write {step} ({}): settled after {:.1?}",
            if after { "after" } else { "before" },
            if died.is_ok() {
                "struck"
            } else {
                "not reached"
            },
            started.elapsed()
        );
        assert!(died.is_ok() || step + 3 > writes, "write {step}");
        bed.remove(&name).await;
        drop(operator);
    }
}

/// A value of a Secret.
pub(crate) async fn stored(admin: &Client, secret: &str) -> (String, Value) {
    let secrets: Api<Secret> = Api::namespaced(admin.clone(), NAMESPACE);
    let secret = secrets.get(secret).await.unwrap();
    let version = secret.resource_version().unwrap();
    (version, serde_json::to_value(secret.data).unwrap())
}
