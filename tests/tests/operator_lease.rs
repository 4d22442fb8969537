//! Leader election over a real kube-apiserver.

// A step that fails ends the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use k8s_openapi::api::{coordination::v1::Lease, core::v1::Namespace};
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams},
};
use oidc_proxy_operator::lease::Elector;
use oidcproxy_tests::control_plane::ControlPlane;
use serde_json::json;
use tokio::time::{Instant, timeout};

const SOON: Duration = Duration::from_secs(30);

async fn client() -> Client {
    let plane = ControlPlane::shared().await;
    let client = plane.admin().await.unwrap();
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}});
    plane
        .create::<Namespace>(Api::all(client.clone()), namespace)
        .await
        .unwrap();
    client
}

fn candidate(client: &Client, lease: &str, identity: &str) -> Elector {
    Elector::new(client.clone(), "default", lease, identity)
}

async fn lease(client: &Client, name: &str) -> Lease {
    Api::namespaced(client.clone(), "default")
        .get(name)
        .await
        .unwrap()
}

fn holder(lease: &Lease) -> String {
    lease.spec.clone().unwrap().holder_identity.unwrap()
}

#[tokio::test]
async fn a_released_lead_is_taken_at_once_and_a_held_one_is_not() {
    let client = client().await;
    let mut first = candidate(&client, "handover", "first");
    timeout(SOON, first.acquire(|| ())).await.unwrap();
    assert_eq!(holder(&lease(&client, "handover").await), "first");

    let mut second = candidate(&client, "handover", "second");
    let early = timeout(Duration::from_secs(6), async {
        tokio::join!(first.hold(), second.acquire(|| ()))
    });
    assert!(early.await.is_err(), "two lead");
    let version = lease(&client, "handover").await.resource_version();

    first.release().await;
    assert_ne!(lease(&client, "handover").await.resource_version(), version);
    timeout(SOON, second.acquire(|| ())).await.unwrap();
    let taken = lease(&client, "handover").await;
    assert_eq!(holder(&taken), "second");
    assert_eq!(taken.spec.unwrap().lease_transitions, Some(2));
}

#[tokio::test]
async fn a_silent_holder_is_replaced_after_its_time() {
    let client = client().await;
    let mut first = candidate(&client, "silent", "first");
    timeout(SOON, first.acquire(|| ())).await.unwrap();
    let mut second = candidate(&client, "silent", "second");
    let started = Instant::now();
    timeout(Duration::from_mins(1), second.acquire(|| ()))
        .await
        .unwrap();
    assert!(
        started.elapsed() >= Duration::from_secs(13),
        "{:?}",
        started.elapsed()
    );
    // The first one notices at its next renewal and never writes again.
    let version = lease(&client, "silent").await.resource_version();
    timeout(SOON, first.hold()).await.unwrap();
    assert_eq!(lease(&client, "silent").await.resource_version(), version);
}

#[tokio::test]
async fn an_annotation_does_not_cost_the_lead() {
    let client = client().await;
    let mut first = candidate(&client, "touched", "first");
    timeout(SOON, first.acquire(|| ())).await.unwrap();
    let api: Api<Lease> = Api::namespaced(client.clone(), "default");
    let patch = json!({"metadata": {"annotations": {"note": "x"}}});
    api.patch("touched", &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
    let touched = lease(&client, "touched").await.resource_version();
    assert!(timeout(Duration::from_secs(9), first.hold()).await.is_err());
    let renewed = lease(&client, "touched").await;
    assert_ne!(renewed.resource_version(), touched);
    assert_eq!(
        renewed.annotations().get("note").map(String::as_str),
        Some("x")
    );
}
