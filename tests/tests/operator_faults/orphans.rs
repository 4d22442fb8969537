//! What is left of objects that have vanished without their finalizer's pass.

use std::time::{Duration, Instant};

use http::Method;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use oidc_proxy_operator::controller::sweep;
use oidcproxy_tests::faulty_api::{Asked, Fault, FaultyApi};
use serde_json::{Value, json};
use tokio::{sync::Mutex, time::sleep};

use crate::{
    bed::{Bed, KIND, RBAC, SOON},
    operator::Operator,
};

/// A sweep looks at the whole cluster, so also at what the other test has an operator remove.
static TURN: Mutex<()> = Mutex::const_new(());

const KINDS: [&str; 2] = ["ClusterRoleBinding", "ClusterRole"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_vanishes_without_a_last_pass_leaves_nothing() {
    let _turn = TURN.lock().await;
    let bed = Bed::new("f-vanished").await;
    let operator = Operator::start(&bed);
    bed.apply("beside", "a.example.com").await;
    bed.wait_settled("beside", "before").await;
    let proxies = bed.objects(KIND.0, KIND.1);
    let none = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    loop {
        bed.apply("forced", "a.example.com").await;
        bed.wait_settled("forced", "before").await;
        let params = PatchParams::default();
        proxies.patch("forced", &params, &none).await.unwrap();
        let deleted = proxies.delete("forced", &DeleteParams::default()).await;
        bed.wait_gone(KIND, "forced").await;
        // Unless the operator was quick enough to put its finalizer back.
        if deleted.unwrap().is_right() {
            break;
        }
    }
    for kind in KINDS {
        bed.wait_gone((RBAC, kind), &bed.cluster_role("forced"))
            .await;
        assert!(bed.is_there(RBAC, kind, &bed.cluster_role("beside")).await);
    }
    let deadline = Instant::now() + SOON;
    while operator.metrics.encode().contains("name=\"forced\"") {
        assert!(Instant::now() < deadline, "its metrics are still there");
        sleep(Duration::from_millis(500)).await;
    }
    bed.remove("beside").await;
    drop(operator);
}

/// A ClusterRole and a binding of this name.
async fn create(bed: &Bed, name: &str, labels: &Value, owner: Option<&str>) {
    let annotations =
        owner.map_or_else(|| json!({}), |uid| json!({"oidcproxy.dev/owner-uid": uid}));
    for kind in KINDS {
        let object = json!({
            "apiVersion": RBAC, "kind": kind,
            "metadata": {"name": name, "labels": labels, "annotations": annotations},
            "rules": [], "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        });
        let object = serde_json::from_value(object).unwrap();
        let objects = bed.objects(RBAC, kind);
        objects
            .create(&PostParams::default(), &object)
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_takes_orphans_and_nothing_else() {
    let _turn = TURN.lock().await;
    let bed = Bed::new("f-sweep").await;
    // No operator runs: what is removed, the sweep has removed.
    bed.apply("alive", "a.example.com").await;
    let alive = bed.objects(KIND.0, KIND.1).get("alive").await.unwrap();
    let alive = alive.metadata.uid.unwrap();
    let ours = |owner: &str| {
        json!({
            "app.kubernetes.io/managed-by": "oidc-proxy-operator",
            "oidcproxy.dev/owner-namespace": bed.namespace, "oidcproxy.dev/owner-name": owner,
        })
    };
    let theirs = json!({"app.kubernetes.io/managed-by": "Helm"});
    let bare = json!({"app.kubernetes.io/managed-by": "oidc-proxy-operator"});
    let gone = Some("7f0c4f66-0000-0000-0000-000000000000");
    let rows = [
        ("s:gone", ours("gone"), gone, false),
        ("s:former", ours("alive"), gone, false),
        ("s:alive", ours("alive"), Some(alive.as_str()), true),
        ("s:unmarked", ours("gone"), None, true),
        ("s:bare", bare, gone, true),
        ("s:theirs", theirs, gone, true),
    ];
    for (name, labels, owner, _) in &rows {
        create(&bed, name, labels, *owner).await;
    }
    let api = FaultyApi::start(bed.plane).unwrap();
    let client = api.client(&bed.token).await.unwrap();
    // What may not be removed, or not just now, keeps none of the others.
    let kept = |asked: &Asked| asked.method == Method::DELETE && asked.target.contains("s:former");
    let lost = |asked: &Asked| asked.method == Method::DELETE && asked.target.contains("s:gone");
    api.fail(Fault::Answer(403), 0, 2, kept);
    api.fail(Fault::Answer(500), 0, 1, lost);
    // The other tests' orphans may be among those that it removes.
    let report = sweep::all(&client).await;
    assert!(
        report.removed >= 1 && report.failed.len() == 3,
        "{report:?}"
    );
    let mut left = 0;
    for (name, _, _, stays) in &rows {
        for kind in KINDS {
            let is_there = bed.is_there(RBAC, kind, name).await;
            assert!(is_there || !stays, "{kind} {name}");
            left += usize::from(is_there && !stays);
        }
    }
    let removed = api.seen().into_iter();
    let removed: Vec<_> = removed
        .filter(|asked| asked.method == Method::DELETE)
        .collect();
    assert_eq!(left, 3, "those that could not be removed: {removed:#?}");
    let report = sweep::all(&client).await;
    assert!(
        report.removed >= 3 && report.failed.is_empty(),
        "{report:?}"
    );
    for (name, _, _, stays) in &rows {
        for kind in KINDS {
            assert_eq!(
                bed.is_there(RBAC, kind, name).await,
                *stays,
                "{kind} {name}"
            );
            if *stays {
                let objects = bed.objects(RBAC, kind);
                objects
                    .delete(name, &DeleteParams::default())
                    .await
                    .unwrap();
            }
        }
    }
    let proxies = bed.objects(KIND.0, KIND.1);
    proxies
        .delete("alive", &DeleteParams::default())
        .await
        .unwrap();
}
