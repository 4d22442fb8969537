//! What the chart brings beside the operator, against a real kube-apiserver: the admission policies, and the hook that
//! runs before the release goes.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::time::Duration;

use k8s_openapi::api::{
    core::v1::Namespace,
    rbac::v1::{ClusterRole, ClusterRoleBinding},
};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use oidcproxy_crds::OidcProxy;
use oidcproxy_tests::{
    chart::Chart,
    control_plane::ControlPlane,
    process::Process,
    proxy::{kubeconfig, operator_binary},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

const RELEASE: &str = "release";
const ACCOUNTS: [&str; 4] = [
    "CustomResourceDefinition",
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
];
const POLICIES: [&str; 2] = [
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
];

/// The chart's objects in a control plane of these tests, with a release in `default` that serves `namespace` only.
async fn installed(namespace: &str, values: &[&str], kinds: &[&str]) -> Client {
    let plane = ControlPlane::shared().await;
    let admin = plane.admin().await.unwrap();
    for name in [namespace, "elsewhere"] {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        plane
            .create::<Namespace>(Api::all(admin.clone()), object)
            .await
            .unwrap();
    }
    let mut all = vec!["fullnameOverride=op"];
    all.extend(values);
    let chart = Chart::render(RELEASE, "default", &all).unwrap();
    chart.apply(&admin, kinds).await.unwrap();
    admin
}

fn proxy(name: &str) -> OidcProxy {
    serde_json::from_value(json!({
        "apiVersion": "oidcproxy.dev/v1alpha1", "kind": "OidcProxy", "metadata": {"name": name},
        "spec": {"authentication": {"jwt": [{
            "name": "corp",
            "issuer": {"url": "https://id.example.com", "audiences": ["kubernetes"]},
            "claimMappings": {"username": {"claim": "sub", "prefix": "corp:"}},
        }]}},
    }))
    .unwrap()
}

async fn patch(
    api: &Api<OidcProxy>,
    name: &str,
    status: bool,
    change: Value,
) -> Result<OidcProxy, kube::Error> {
    let (params, change) = (PatchParams::default(), Patch::Merge(change));
    if status {
        api.patch_status(name, &params, &change).await
    } else {
        api.patch(name, &params, &change).await
    }
}

fn message<T: std::fmt::Debug>(result: Result<T, kube::Error>) -> String {
    match result {
        Err(kube::Error::Api(status)) if status.code == 403 => status.message,
        other => panic!("not forbidden: {other:?}"),
    }
}

/// One test, since policies hold in the whole cluster.
#[tokio::test]
async fn policies_and_hook() {
    let admin = installed("served", &["namespaces={served}"], &ACCOUNTS).await;
    let (served, elsewhere): (Api<OidcProxy>, Api<OidcProxy>) = (
        Api::namespaced(admin.clone(), "served"),
        Api::namespaced(admin.clone(), "elsewhere"),
    );
    // From before the policies were there.
    elsewhere
        .create(&PostParams::default(), &proxy("old"))
        .await
        .unwrap();
    installed("served", &["namespaces={served}"], &POLICIES).await;

    served
        .create(&PostParams::default(), &proxy("corp"))
        .await
        .unwrap();
    until_refused(&served).await;
    the_status_is_the_operators(&served).await;
    the_operator_keeps_to_its_own_roles(&admin).await;
    other_namespaces_are_refused(&elsewhere).await;

    hook(
        "Stop",
        30,
        1,
        "2 OidcProxies remain: elsewhere/old, served/corp; nothing was uninstalled",
    )
    .await;
    hook(
        "Orphan",
        30,
        0,
        "their proxies go on with their last settings",
    )
    .await;
    assert!(served.get_opt("corp").await.unwrap().is_some());
    // As the operator's finalizer: what it waits for may never come.
    let hold = json!({"metadata": {"finalizers": ["example.com/hold"]}});
    patch(&served, "corp", false, hold).await.unwrap();
    hook(
        "Delete",
        2,
        1,
        "1 OidcProxy remains: served/corp; nothing was uninstalled",
    )
    .await;
    let releasing = async {
        sleep(Duration::from_secs(2)).await;
        let release = json!({"metadata": {"finalizers": null}});
        patch(&served, "corp", false, release).await.unwrap();
    };
    tokio::join!(releasing, hook("Delete", 60, 0, "all are gone"));
    assert!(served.get_opt("corp").await.unwrap().is_none());
    assert!(elsewhere.get_opt("old").await.unwrap().is_none());
    hook("Stop", 30, 0, "no OidcProxy remains").await;
}

/// The API server takes a moment to compile new policies.
async fn until_refused(served: &Api<OidcProxy>) {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let probe = json!({"status": {"endpoint": "https://evil.example.com"}});
        if patch(served, "corp", true, probe).await.is_err() {
            return;
        }
        assert!(Instant::now() < deadline, "the policies are not in force");
        sleep(Duration::from_millis(200)).await;
    }
}

/// Not even an administrator writes it, and the operator does.
async fn the_status_is_the_operators(served: &Api<OidcProxy>) {
    let change = json!({"status": {"endpoint": "https://evil.example.com"}});
    let refused = message(patch(served, "corp", true, change.clone()).await);
    assert!(refused.contains("only the operator writes it"), "{refused}");
    let plane = ControlPlane::shared().await;
    let token = plane.service_account_token("op").await.unwrap();
    let operator = plane.client(&json!({"token": token})).await.unwrap();
    let own: Api<OidcProxy> = Api::namespaced(operator, "served");
    let change = json!({"status": {"endpoint": "https://k8s.example.com"}});
    patch(&own, "corp", true, change).await.unwrap();
}

/// Whatever its own role lets it do with `ClusterRoles`, which RBAC cannot bound by name.
async fn the_operator_keeps_to_its_own_roles(admin: &Client) {
    let plane = ControlPlane::shared().await;
    let token = plane.service_account_token("op").await.unwrap();
    let operator = plane.client(&json!({"token": token})).await.unwrap();
    let role = |name: &str| -> ClusterRole {
        serde_json::from_value(json!({"metadata": {"name": name}, "rules": []})).unwrap()
    };
    let binding = |name: &str, role: &str| -> ClusterRoleBinding {
        let group = "rbac.authorization.k8s.io";
        serde_json::from_value(json!({
            "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": "corp", "namespace": "served"}],
        }))
        .unwrap()
    };
    let (own, foreign) = ("oidcproxy:served:corp", "somebody-elses");
    let (post, none) = (PostParams::default(), DeleteParams::default());
    let roles: Api<ClusterRole> = Api::all(admin.clone());
    let bindings: Api<ClusterRoleBinding> = Api::all(admin.clone());
    // Nobody else is bound.
    roles.create(&post, &role(foreign)).await.unwrap();
    bindings
        .create(&post, &binding(foreign, foreign))
        .await
        .unwrap();

    let roles: Api<ClusterRole> = Api::all(operator.clone());
    let bindings: Api<ClusterRoleBinding> = Api::all(operator);
    let apply = PatchParams::apply("test").force();
    let labelled = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": own, "labels": {"a": "b"}}, "rules": [],
    });
    roles
        .patch(own, &apply, &Patch::Apply(&labelled))
        .await
        .unwrap();
    let change = Patch::Merge(json!({"metadata": {"labels": {"a": "c"}}}));
    let params = PatchParams::default();
    let deadline = Instant::now() + Duration::from_mins(1);
    while roles.patch(foreign, &params, &change).await.is_ok() {
        assert!(Instant::now() < deadline, "the policy is not in force");
        sleep(Duration::from_millis(200)).await;
    }
    roles.patch(own, &params, &change).await.unwrap();
    let only = "writes and deletes only the ClusterRoles";
    for refused in [
        message(roles.create(&post, &role("of-its-own-making")).await),
        message(roles.patch(foreign, &params, &change).await),
        message(roles.delete(foreign, &none).await),
        message(bindings.create(&post, &binding("of-its-own", own)).await),
        message(bindings.delete(foreign, &none).await),
    ] {
        assert!(refused.contains(only), "{refused}");
    }
    let refused = message(bindings.create(&post, &binding(own, foreign)).await);
    assert!(refused.contains("of its own name"), "{refused}");
    bindings.create(&post, &binding(own, own)).await.unwrap();
    bindings.delete(own, &none).await.unwrap();
    roles.delete(own, &none).await.unwrap();
}

async fn other_namespaces_are_refused(elsewhere: &Api<OidcProxy>) {
    let refused = message(
        elsewhere
            .create(&PostParams::default(), &proxy("new"))
            .await,
    );
    assert!(
        refused.contains("served in these namespaces only: served"),
        "{refused}"
    );
    let spec = json!({"spec": {"serving": {"hostnames": ["k8s.example.com"]}}});
    let refused = message(patch(elsewhere, "old", false, spec).await);
    assert!(
        refused.contains("served in these namespaces only: served"),
        "{refused}"
    );
    // What garbage collection and namespace deletion do is not held up.
    for finalizers in [json!(["example.com/hold"]), json!(null)] {
        let change = json!({"metadata": {"finalizers": finalizers, "labels": {"a": "b"}}});
        patch(elsewhere, "old", false, change).await.unwrap();
    }
    elsewhere
        .delete("old", &DeleteParams::default())
        .await
        .unwrap();
    assert!(elsewhere.get_opt("old").await.unwrap().is_none());
    // For the hook: as the operator itself would be allowed to, were its policy off.
    let admin = elsewhere.clone().into_client();
    let bindings: Api<
        k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding,
    > = Api::all(admin);
    bindings
        .delete("op-namespaces", &DeleteParams::default())
        .await
        .unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    while elsewhere
        .create(&PostParams::default(), &proxy("old"))
        .await
        .is_err()
    {
        assert!(Instant::now() < deadline, "the policy still holds");
        sleep(Duration::from_millis(200)).await;
    }
}

/// Runs the hook as its Job would, with its rights and none else.
async fn hook(policy: &str, limit: u32, code: i32, says: &str) {
    let value = format!("uninstall.policy={policy}");
    installed("served", &[&value], &ACCOUNTS).await;
    let plane = ControlPlane::shared().await;
    let token = plane.service_account_token("op-uninstall").await.unwrap();
    let hook = plane.client(&json!({"token": token})).await.unwrap();
    let own: Api<OidcProxy> = Api::namespaced(hook.clone(), "served");
    // To list, to delete for Delete alone, and nothing else. The API server takes a moment to know the new role.
    let deadline = Instant::now() + Duration::from_mins(1);
    while own
        .delete("none", &DeleteParams::default())
        .await
        .is_err_and(forbidden)
        == (policy == "Delete")
    {
        assert!(Instant::now() < deadline, "{policy}: the right to delete");
        sleep(Duration::from_millis(200)).await;
    }
    assert!(own.get("corp").await.is_err_and(forbidden));
    let names: Api<Namespace> = Api::all(hook);
    let listed = names.list(&kube::api::ListParams::default()).await;
    assert!(listed.is_err_and(forbidden));

    let config = kubeconfig(plane.url(), plane.ca_pem(), &json!({"token": token}));
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("kubeconfig");
    std::fs::write(&path, config.to_string()).unwrap();
    let arguments = [
        "uninstall".to_owned(),
        format!("--policy={policy}"),
        format!("--timeout-seconds={limit}"),
    ];
    let environment = [("KUBECONFIG".to_owned(), path.display().to_string())];
    let mut process =
        Process::start(&operator_binary().unwrap(), &arguments, &environment).unwrap();
    let ended = process.wait(Duration::from_secs(90)).await.unwrap();
    let output = process.output();
    assert_eq!(ended.code(), Some(code), "{policy}: {output}");
    assert!(output.contains(says), "{policy}: {output}");
}

#[allow(clippy::needless_pass_by_value, reason = "is_err_and gives it away")]
fn forbidden(error: kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_forbidden())
}
