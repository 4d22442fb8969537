//! Against an API server that answers as a script says, for what a real one does not do on demand.

use std::pin::pin;

use http::{Method, Request, Response};
use kube::{Client, client::Body};
use oidcproxy_crds::{OidcProxy, state::IssuerState};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tower_test::mock;

use super::{
    apply::{Applier, Memory, Turns},
    build::{self, Surroundings, grants},
    status::damper::Damper,
    *,
};
use crate::controller::{
    resolve::tests::resolved,
    validate::tests::{options, proxy},
};

/// A request that is expected, and its answer.
struct Step(Method, &'static str, u16, Value);

/// A client whose server expects exactly these requests, in this order; yields their bodies.
fn scripted(steps: Vec<Step>) -> (Client, JoinHandle<Vec<Value>>) {
    let (service, handle) = mock::pair::<Request<Body>, Response<Body>>();
    let served = tokio::spawn(async move {
        let mut handle = pin!(handle);
        let mut bodies = Vec::new();
        for Step(method, path, code, answer) in steps {
            let (request, reply) = handle.next_request().await.expect("one more request");
            let (parts, body) = request.into_parts();
            assert_eq!((&parts.method, parts.uri.path()), (&method, path));
            let body = body.collect_bytes().await.unwrap();
            bodies.push(serde_json::from_slice(&body).unwrap_or_default());
            let answer = serde_json::to_vec(&answer).unwrap();
            let response = Response::builder().status(code);
            reply.send_response(response.body(Body::from(answer)).unwrap());
        }
        bodies
    });
    (Client::new(service, "default"), served)
}

fn failure(code: u16, reason: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code,
        "message": format!("the server says {reason}"),
    })
}

const ACCOUNT: &str = "/api/v1/namespaces/auth/serviceaccounts/corp";
const ROLE: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles/oidcproxy:auth:corp";
const BINDING: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/oidcproxy:auth:corp";
const PROXY: &str = "/apis/oidcproxy.dev/v1alpha1/namespaces/auth/oidcproxies/corp";
const STATUS: &str = "/apis/oidcproxy.dev/v1alpha1/namespaces/auth/oidcproxies/corp/status";

fn identity() -> Identity {
    Identity::of(&proxy(json!({}))).unwrap()
}

async fn apply_foundation(client: &Client, memory: &Memory) -> Error {
    let resolved = resolved(json!({}));
    let prepared = build::foundation(
        &resolved,
        &grants(resolved.settings()),
        &Surroundings::default(),
        &options(),
    );
    let applier = Applier {
        client,
        identity: &resolved.identity,
        memory,
        turns: &Turns::default(),
    };
    applier
        .foundation(prepared, false)
        .await
        .unwrap_err()
        .into()
}

fn own_account(uid: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "corp", "namespace": "auth", "uid": "child-1", "resourceVersion": "5", "ownerReferences": [
            {"apiVersion": "oidcproxy.dev/v1alpha1", "kind": "OidcProxy", "name": "corp", "uid": uid, "controller": true},
        ]},
    })
}

#[tokio::test]
async fn a_foreign_object_is_never_written() {
    let steps = vec![Step(
        Method::GET,
        ACCOUNT,
        200,
        own_account("somebody else"),
    )];
    let (client, served) = scripted(steps);
    let error = apply_foundation(&client, &Memory::default()).await;
    let problem = error.problem(0).unwrap();
    assert!(
        problem.stalled && problem.reason == "Conflict",
        "{problem:?}"
    );
    assert_eq!(problem.condition, "RBACReady");
    assert_eq!(
        problem.message,
        "ServiceAccount corp exists and belongs to somebody else"
    );
    served.await.unwrap();
}

#[tokio::test]
async fn a_refused_write_is_said_and_a_lost_race_is_not() {
    for (code, reason, expected) in [
        (403, "Forbidden", Some("Forbidden")),
        (409, "Conflict", None),
        (422, "Invalid", Some("InvalidSpec")),
        (500, "InternalError", None),
    ] {
        let steps = vec![
            Step(Method::GET, ACCOUNT, 404, failure(404, "NotFound")),
            Step(Method::PATCH, ACCOUNT, code, failure(code, reason)),
        ];
        let (client, served) = scripted(steps);
        let error = apply_foundation(&client, &Memory::default()).await;
        let said = error.problem(0).map(|problem| problem.reason);
        assert_eq!(said.as_deref(), expected, "{code}");
        assert_eq!(error.is_conflict(), code == 409);
        if code == 500 {
            let later = error.problem(3).unwrap();
            assert_eq!(
                (later.reason.as_str(), later.stalled),
                ("ApplyFailed", false)
            );
        }
        served.await.unwrap();
    }
}

#[tokio::test]
async fn what_has_not_changed_is_not_written_again() {
    let role_fails = |code| Step(Method::GET, ROLE, code, failure(code, "Forbidden"));
    let steps = vec![
        Step(Method::GET, ACCOUNT, 200, own_account("uid-1")),
        Step(Method::PATCH, ACCOUNT, 200, own_account("uid-1")),
        role_fails(403),
        Step(Method::GET, ACCOUNT, 200, own_account("uid-1")),
        role_fails(403),
    ];
    let (client, served) = scripted(steps);
    let memory = Memory::default();
    apply_foundation(&client, &memory).await;
    apply_foundation(&client, &memory).await;
    let bodies = served.await.unwrap();
    // The very object that was looked at, by server-side apply.
    assert_eq!(bodies[1]["metadata"]["uid"], "child-1");
    assert_eq!(bodies[1]["automountServiceAccountToken"], false);
}

fn leftover(kind: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
        "metadata": {
            "name": "oidcproxy:auth:corp", "uid": kind, "annotations": {"oidcproxy.dev/owner-uid": "uid-1"},
            "labels": {
                "app.kubernetes.io/managed-by": "oidc-proxy-operator",
                "oidcproxy.dev/owner-namespace": "auth", "oidcproxy.dev/owner-name": "corp",
            },
        },
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "oidcproxy:auth:corp"},
    })
}

fn leaving() -> OidcProxy {
    let mut leaving = proxy(json!({}));
    leaving.metadata.finalizers = Some(vec!["other".into(), cleanup::FINALIZER.into()]);
    leaving
}

#[tokio::test]
async fn rights_go_before_the_object_does() {
    let gone = json!({"kind": "Status", "apiVersion": "v1", "status": "Success"});
    let after = serde_json::to_value(proxy(json!({}))).unwrap();
    let steps = vec![
        Step(Method::GET, BINDING, 200, leftover("ClusterRoleBinding")),
        Step(Method::DELETE, BINDING, 200, gone.clone()),
        Step(Method::GET, ROLE, 200, leftover("ClusterRole")),
        Step(Method::DELETE, ROLE, 200, gone),
        Step(Method::PATCH, PROXY, 200, after),
    ];
    let (client, served) = scripted(steps);
    cleanup::release(&client, &identity(), &leaving())
        .await
        .unwrap();
    let bodies = served.await.unwrap();
    assert_eq!(bodies[1]["preconditions"]["uid"], "ClusterRoleBinding");
    assert_eq!(
        bodies[4]["metadata"],
        json!({"finalizers": ["other"], "resourceVersion": "1"})
    );
}

#[tokio::test]
async fn without_rights_to_take_away_the_object_stays() {
    let steps = vec![
        Step(Method::GET, BINDING, 200, leftover("ClusterRoleBinding")),
        Step(Method::DELETE, BINDING, 403, failure(403, "Forbidden")),
    ];
    let (client, served) = scripted(steps);
    assert!(
        cleanup::release(&client, &identity(), &leaving())
            .await
            .is_err()
    );
    served.await.unwrap();
}

#[tokio::test]
async fn what_is_gone_already_does_not_keep_the_object() {
    let missing = |path| Step(Method::GET, path, 404, failure(404, "NotFound"));
    let steps = vec![
        missing(BINDING),
        missing(ROLE),
        Step(Method::PATCH, PROXY, 404, failure(404, "NotFound")),
    ];
    let (client, served) = scripted(steps);
    cleanup::release(&client, &identity(), &leaving())
        .await
        .unwrap();
    served.await.unwrap();
}

#[tokio::test]
async fn the_status_carries_its_resource_version_and_says_nothing_twice() {
    let mut seen = proxy(json!({}));
    seen.status = Some(status::first_sight(
        &seen.status.clone().unwrap_or_default(),
        3,
        k8s_now(),
    ));
    let stored = serde_json::to_value(&seen).unwrap();
    let steps = vec![
        Step(Method::PUT, STATUS, 200, stored),
        Step(Method::PUT, STATUS, 409, failure(409, "Conflict")),
    ];
    let (client, served) = scripted(steps);
    let mut writer = Writer::new(&client, &identity(), proxy(json!({})));
    writer.first_sight().await.unwrap();
    writer.first_sight().await.unwrap();
    let refusal = Refusal::new(Reason::InvalidSpec, "wrong");
    let progress = Progress {
        problem: Some((&refusal).into()),
        ..Progress::default()
    };
    let lost = Error::from(
        writer
            .publish_progress(&progress, &Damper::default())
            .await
            .unwrap_err(),
    );
    assert!(lost.is_conflict() && lost.problem(9).is_none());
    let bodies = served.await.unwrap();
    assert_eq!(bodies[0]["metadata"]["resourceVersion"], "1");
    assert_eq!(bodies[0]["status"]["conditions"][0]["type"], "Ready");
}

fn say_of_issuers(progress: &mut Progress, state: IssuerState) {
    for pod in progress.pods.as_mut().unwrap().states.values_mut() {
        pod.as_mut().unwrap().issuers[0].state = state;
    }
}

#[tokio::test]
async fn what_is_only_observed_is_not_written_with_every_look() {
    let mut seen = proxy(json!({}));
    let mut progress = status::tests::good(json!({}));
    say_of_issuers(&mut progress, IssuerState::Ready);
    let before = seen.status.clone().unwrap_or_default();
    seen.status = Some(status::derive(
        &before,
        &identity(),
        3,
        &progress,
        k8s_now(),
    ));
    let stored = serde_json::to_value(&seen).unwrap();
    // One answer: a second write would be one too many.
    let (client, served) = scripted(vec![Step(Method::PUT, STATUS, 200, stored)]);
    let mut writer = Writer::new(&client, &identity(), proxy(json!({})));
    let damper = Damper::default();
    writer.publish_progress(&progress, &damper).await.unwrap();
    assert_eq!(writer.held(), None);
    say_of_issuers(&mut progress, IssuerState::Failed);
    writer.publish_progress(&progress, &damper).await.unwrap();
    assert!(writer.held().is_some());
    served.await.unwrap();
}

fn k8s_now() -> k8s_openapi::jiff::Timestamp {
    k8s_openapi::jiff::Timestamp::from_second(1_800_000_000).unwrap()
}

#[tokio::test]
async fn settings_that_an_older_crd_prunes_are_noticed() {
    let mut pruned = proxy(json!({}));
    pruned.status = Some(oidcproxy_crds::OidcProxyStatus::default());
    let steps = vec![Step(
        Method::PUT,
        STATUS,
        200,
        serde_json::to_value(&pruned).unwrap(),
    )];
    let (client, served) = scripted(steps);
    let mut writer = Writer::new(&client, &identity(), proxy(json!({})));
    let progress = status::tests::good(json!({}));
    writer.publish_settings(&progress).await.unwrap();
    assert!(writer.is_pruned(&progress));
    served.await.unwrap();
}
