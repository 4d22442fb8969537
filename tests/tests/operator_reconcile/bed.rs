//! The operator over a real kube-apiserver: in this process, with the rights that the chart gives
//! it and none else.
//!
//! One operator serves all tests: it looks at every `OidcProxy` of the cluster, so each test has
//! a namespace of its own out of those that are allowed.

use std::{sync::Arc, thread, time::Duration};

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams},
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
    objects::{objects, oidc_proxy},
};
use serde_json::{Value, json};
use tokio::{
    sync::OnceCell,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

const HOME: &str = "default";
const ACCOUNT: &str = "operator";
/// What of the chart is installed here; the operator itself runs in this process.
const RIGHTS: [&str; 6] = [
    "CustomResourceDefinition",
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
];

/// Where the operator honours what it finds; one for each test that makes something.
pub(crate) const ALLOWED: [&str; 27] = [
    "t-children",
    "t-drift",
    "t-refused",
    "t-own-issuer",
    "t-missing",
    "t-lost",
    "t-bundle",
    "t-upkeep",
    "t-ways",
    "t-foreign",
    "t-gone",
    "t-names",
    "t-forbidden",
    "t-less",
    "t-gitops",
    "t-marks",
    "t-roots",
    "t-provided",
    "t-scaled",
    "t-exposed",
    "t-strict",
    "t-balanced",
    "t-expressions",
    "t-maximal",
    "t-conflicts",
    "t-swapped",
    "t-monitored",
];
/// Where it does not.
pub(crate) const ELSEWHERE: &str = "t-elsewhere";

/// Long enough for a slow machine.
pub(crate) const SOON: Duration = Duration::from_secs(90);

/// One test's view of the cluster.
pub(crate) struct Bed {
    pub(crate) client: Client,
    pub(crate) namespace: &'static str,
}

impl Bed {
    /// A namespace with an operator that looks at it.
    pub(crate) async fn new(namespace: &'static str) -> Self {
        static STARTED: OnceCell<()> = OnceCell::const_new();
        let plane = ControlPlane::shared().await;
        let client = plane.admin().await.unwrap();
        STARTED
            .get_or_init(|| async {
                prepare(plane, &client).await;
                start_operator(plane);
            })
            .await;
        Self { client, namespace }
    }

    /// Any kind of the namespace, or of the cluster, as JSON.
    pub(crate) fn api(&self, group: &str, kind: &str) -> Api<DynamicObject> {
        objects(&self.client, self.namespace, group, kind)
    }

    pub(crate) fn proxies(&self) -> Api<OidcProxy> {
        Api::namespaced(self.client.clone(), self.namespace)
    }

    /// Applies `corp` with these parts of a spec.
    pub(crate) async fn apply(&self, spec: Value) -> OidcProxy {
        self.apply_named("corp", spec).await
    }

    /// Applies one of this name.
    pub(crate) async fn apply_named(&self, name: &str, spec: Value) -> OidcProxy {
        let object = oidc_proxy(name, &spec);
        let params = PatchParams::apply("test").force();
        self.proxies()
            .patch(name, &params, &Patch::Apply(&object))
            .await
            .unwrap()
    }

    /// Waits until `corp` is as it should be.
    pub(crate) async fn wait(&self, what: &str, check: impl Fn(&OidcProxy) -> bool) -> OidcProxy {
        let deadline = Instant::now() + SOON;
        loop {
            let proxy = self.proxies().get("corp").await.unwrap();
            if check(&proxy) {
                return proxy;
            }
            let status = serde_json::to_string_pretty(&proxy.status).unwrap();
            assert!(
                Instant::now() < deadline,
                "{what}: not within {SOON:?}: {status}"
            );
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until a condition says this about the newest generation.
    pub(crate) async fn wait_condition(
        &self,
        type_: &str,
        status: &str,
        reason: &str,
    ) -> OidcProxy {
        self.wait(&format!("{type_}={status} {reason}"), |proxy| {
            condition(proxy, type_).is_some_and(|found| {
                found["status"] == status
                    && found["reason"] == reason
                    && found["observedGeneration"] == json!(proxy.metadata.generation)
            })
        })
        .await
    }

    /// Waits until an object is as it should be.
    pub(crate) async fn wait_object(
        &self,
        (group, kind, name): (&str, &str, &str),
        check: impl Fn(Option<&Value>) -> bool,
    ) -> Value {
        let deadline = Instant::now() + SOON;
        let api = self.api(group, kind);
        loop {
            let found = api.get_opt(name).await.unwrap();
            let found = found.map(|object| serde_json::to_value(object).unwrap());
            if check(found.as_ref()) {
                return found.unwrap_or_default();
            }
            assert!(
                Instant::now() < deadline,
                "{kind} {name}: not within {SOON:?}: {found:#?}"
            );
            sleep(Duration::from_millis(200)).await;
        }
    }
}

/// A condition of an `OidcProxy`.
pub(crate) fn condition(proxy: &OidcProxy, type_: &str) -> Option<Value> {
    let status = serde_json::to_value(proxy.status.as_ref()?).unwrap();
    let all = status["conditions"].as_array()?.clone();
    all.into_iter().find(|condition| condition["type"] == type_)
}

async fn prepare(plane: &ControlPlane, admin: &Client) {
    for namespace in ALLOWED.iter().chain([&ELSEWHERE, &HOME]) {
        let object =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        plane
            .create::<Namespace>(Api::all(admin.clone()), object)
            .await
            .unwrap();
    }
    // Without the policy that keeps OidcProxies out of other namespaces: what the operator makes of one is seen here,
    // and the policies in a suite of their own.
    let chart = Chart::render(
        "operator",
        HOME,
        &[
            &format!("namespaces={{{}}}", ALLOWED.join(",")),
            &format!("serviceAccount.name={ACCOUNT}"),
            "impersonation.extraKeys={held,example.org/tenant}",
        ],
    )
    .unwrap();
    chart.apply(admin, &RIGHTS).await.unwrap();
}

/// A client with the operator's own rights.
async fn operator_client(plane: &ControlPlane) -> Client {
    let token = plane.service_account_token(ACCOUNT).await.unwrap();
    plane.client(&json!({"token": token})).await.unwrap()
}

/// On a thread of its own: the runtime of a test ends with the test.
fn start_operator(plane: &'static ControlPlane) {
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let client = operator_client(plane).await;
            let options = Options {
                namespaces: Namespaces::Listed(ALLOWED.iter().map(ToString::to_string).collect()),
                proxy_image: "proxy:test".into(),
                image_pull_policy: None,
                cluster_domain: "cluster.local".into(),
                allow_image_override: false,
                operator_namespace: HOME.into(),
                operator_pod_labels: std::iter::once(("app".to_owned(), "operator".to_owned()))
                    .collect(),
            };
            let events = Events::new(client.clone(), "test");
            let context = Context::new(client, options, events, Metrics::default());
            watch::run(Arc::new(context), CancellationToken::new()).await;
        });
    });
}
