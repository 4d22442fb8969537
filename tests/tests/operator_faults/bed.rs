//! The API server with a namespace for each test, and an intermediary that fails in front of it.
//!
//! An operator looks at every `OidcProxy` of the cluster. So that each test can have operators of
//! its own, the intermediary shows them one namespace alone.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use futures::future::join_all;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, DynamicObject, Patch, PatchParams},
};
use oidcproxy_crds::OidcProxy;
use oidcproxy_tests::{
    chart::Chart,
    control_plane::ControlPlane,
    faulty_api::FaultyApi,
    objects::{objects, oidc_proxy},
};
use serde_json::{Value, json};
use tokio::{
    sync::OnceCell,
    time::{Instant, sleep},
};

pub(crate) const HOME: &str = "default";
pub(crate) const SOON: Duration = Duration::from_secs(150);
const ACCOUNT: &str = "operator";
/// Where the operators may work.
const ALLOWED: [&str; 20] = [
    "f-back-off",
    "f-change",
    "f-cut-off",
    "f-death-0",
    "f-death-1",
    "f-death-2",
    "f-death-3",
    "f-farewell",
    "f-fault-0",
    "f-fault-1",
    "f-fault-2",
    "f-flapping",
    "f-left",
    "f-older",
    "f-paused",
    "f-root",
    "f-steady",
    "f-sweep",
    "f-turns",
    "f-vanished",
];
/// By which those lead that run as processes.
pub(crate) const LEASES: [&str; 2] = ["paused", "cut-off"];
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

pub(crate) const KIND: (&str, &str) = ("oidcproxy.dev/v1alpha1", "OidcProxy");
pub(crate) const RBAC: &str = "rbac.authorization.k8s.io/v1";

/// One test's view of the cluster.
pub(crate) struct Bed {
    pub(crate) plane: &'static ControlPlane,
    pub(crate) admin: Client,
    pub(crate) api: FaultyApi,
    pub(crate) token: String,
    pub(crate) namespace: &'static str,
}

impl Bed {
    /// One of [`ALLOWED`], of a test's own.
    pub(crate) async fn new(namespace: &'static str) -> Self {
        static PREPARED: OnceCell<()> = OnceCell::const_new();
        let plane = ControlPlane::shared().await;
        let admin = plane.admin().await.unwrap();
        PREPARED.get_or_init(|| prepare(plane, &admin)).await;
        let api = FaultyApi::within(plane, namespace).unwrap();
        let token = plane.service_account_token(ACCOUNT).await.unwrap();
        Self {
            plane,
            admin,
            api,
            token,
            namespace,
        }
    }

    pub(crate) fn cluster_role(&self, name: &str) -> String {
        format!("oidcproxy:{}:{name}", self.namespace)
    }

    pub(crate) fn proxies(&self) -> Api<OidcProxy> {
        Api::namespaced(self.admin.clone(), self.namespace)
    }

    pub(crate) async fn apply(&self, name: &str, hostname: &str) {
        let spec = json!({"serving": {"hostnames": [hostname]}});
        self.apply_spec(name, &spec, false).await.unwrap();
    }

    /// Applies one with these parts of a spec.
    pub(crate) async fn apply_spec(
        &self,
        name: &str,
        spec: &Value,
        dry_run: bool,
    ) -> kube::Result<()> {
        let object = oidc_proxy(name, spec);
        let params = PatchParams {
            dry_run,
            ..PatchParams::apply("test").force()
        };
        let proxies = self.objects(KIND.0, KIND.1);
        let patched = proxies.patch(name, &params, &Patch::Apply(&object)).await;
        patched.map(drop)
    }

    /// Waits until a condition says this of the newest generation, whether the object can be read or not.
    pub(crate) async fn wait_condition(
        &self,
        name: &str,
        type_: &str,
        status: &str,
        reason: &str,
    ) -> Value {
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

    pub(crate) async fn is_there(&self, group: &str, kind: &str, name: &str) -> bool {
        let found = self.objects(group, kind).get_opt(name).await.unwrap();
        found.is_some()
    }

    /// Waits until it is gone.
    pub(crate) async fn wait_gone(&self, (group, kind): (&str, &str), name: &str) {
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
    pub(crate) async fn versions(&self, name: &str) -> Option<BTreeMap<String, String>> {
        let cluster = self.cluster_role(name);
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

    pub(crate) fn objects(&self, group: &str, kind: &str) -> Api<DynamicObject> {
        objects(&self.admin, self.namespace, group, kind)
    }

    /// What is published is what is stored: no root was made twice, or forgotten.
    pub(crate) async fn assert_sound(&self, name: &str) {
        let secrets: Api<Secret> = Api::namespaced(self.admin.clone(), self.namespace);
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

    pub(crate) async fn remove(&self, name: &str) {
        let proxies = self.objects(KIND.0, KIND.1);
        proxies
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
        self.wait_gone(KIND, name).await;
        for kind in ["ClusterRoleBinding", "ClusterRole"] {
            let left = self.is_there(RBAC, kind, &self.cluster_role(name)).await;
            assert!(!left, "{kind} of {name}");
        }
    }
}

async fn prepare(plane: &ControlPlane, admin: &Client) {
    for name in ALLOWED.iter().chain([&HOME]) {
        let object = json!({"metadata": {"name": name}});
        plane
            .create::<Namespace>(Api::all(admin.clone()), object)
            .await
            .unwrap();
    }
    // A release for each Lease: a Role names the one that it is about.
    for lease in LEASES {
        let values = [
            &*format!("namespaces={{{}}}", ALLOWED.join(",")),
            &format!("serviceAccount.name={ACCOUNT}"),
            &format!("leaderElection.leaseName={lease}"),
        ];
        let chart = Chart::render(lease, HOME, &values).unwrap();
        chart.apply(admin, &RIGHTS).await.unwrap();
    }
}

/// Works through all of it, in these namespaces at the same time.
pub(crate) async fn in_each<T>(
    namespaces: &[&'static str],
    all: impl IntoIterator<Item = T>,
    work: impl AsyncFn(&Bed, T),
) {
    let rest = Mutex::new(all.into_iter());
    let next = || rest.lock().unwrap().next();
    let lanes = namespaces.iter().map(async |namespace| {
        let bed = Bed::new(namespace).await;
        while let Some(one) = next() {
            work(&bed, one).await;
        }
    });
    join_all(lanes).await;
}
