//! Audit events beside kube-apiserver's own: the same requests, sent to both by the same users under
//! the same policy, give the same events, field by field.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::{path::PathBuf, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{Method, Request};
use k8s_openapi::api::{core::v1::Namespace, rbac::v1::ClusterRoleBinding};
use kube::{Api, client::Body};
use oidcproxy_tests::{
    client::{Call, Protocol},
    control_plane::ControlPlane,
    issuer::FakeIssuer,
    proxy::{ProxyUnderTest, Setup},
};
use serde_json::{Value, json};
use tokio::time::Instant;

/// The proxy and the tests themselves are masters.
const POLICY: &str = "
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [Panic]
rules:
- {level: None, userGroups: ['system:masters']}
- {level: None, nonResourceURLs: ['/healthz*', /version]}
- {level: Metadata, verbs: [list], resources: [{resources: [secrets]}], omitStages: [RequestReceived]}
- {level: Request, namespaces: [default], resources: [{resources: [configmaps]}], omitManagedFields: true}
- {level: None, resources: [{resources: ['*/status']}]}
- {level: RequestResponse, resources: [{group: coordination.k8s.io}]}
- {level: None, users: [bob], verbs: [watch]}
- {level: Metadata}
";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Who, how, where, what.
type Case = (
    &'static str,
    Method,
    &'static str,
    Option<(&'static str, Value)>,
);

fn cases() -> Vec<Case> {
    let json = "application/json";
    let merge = "application/merge-patch+json";
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "audited"}, "data": {"k": "v"}});
    let mut updated = map.clone();
    updated["data"]["k"] = json!("w");
    let get = |user, target| (user, Method::GET, target, None);
    vec![
        get("alice", "/api/v1/namespaces/default/configmaps?limit=5"),
        get(
            "alice",
            "/api/v1/namespaces/default/configmaps?fieldSelector=metadata.name%3Da",
        ),
        get(
            "alice",
            "/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=1",
        ),
        get(
            "alice",
            "/api/v1/namespaces/default/configmaps?watch=0&timeoutSeconds=1",
        ),
        get(
            "alice",
            "/api/v1/watch/namespaces/default/configmaps?timeoutSeconds=1",
        ),
        ("alice", Method::POST, MAPS, Some((json, map))),
        get("alice", "/api/v1/namespaces/default/configmaps/audited"),
        (
            "alice",
            Method::PUT,
            "/api/v1/namespaces/default/configmaps/audited",
            Some((json, updated)),
        ),
        (
            "alice",
            Method::PATCH,
            "/api/v1/namespaces/default/configmaps/audited",
            Some((merge, json!({"data": {"k": "x"}}))),
        ),
        (
            "alice",
            Method::DELETE,
            "/api/v1/namespaces/default/configmaps/audited",
            None,
        ),
        get("alice", "/api/v1/namespaces/default/configmaps/audited"),
        (
            "alice",
            Method::DELETE,
            "/api/v1/namespaces/default/configmaps?labelSelector=a%3Db",
            None,
        ),
        ("alice", Method::OPTIONS, MAPS, None),
        ("alice", Method::HEAD, MAPS, None),
        get("alice", "/api/v1/secrets"),
        get("bob", "/api/v1/secrets"),
        get("bob", "/api/v1/pods?watch=1"),
        get("bob", "/api/v1/namespaces/default/pods/a/log"),
        get("alice", "/api/v1/namespaces/default/pods/a/log"),
        (
            "alice",
            Method::POST,
            "/api/v1/namespaces/default/pods/a/exec?command=id",
            None,
        ),
        get("alice", "/api/v1/namespaces/default"),
        get("alice", "/api/v1/namespaces/default/status"),
        get("alice", "/api/v1/nodes"),
        get(
            "alice",
            "/apis/coordination.k8s.io/v1/namespaces/default/leases",
        ),
        get(
            "bob",
            "/apis/apps/v1/namespaces/default/deployments/a/scale",
        ),
        get("alice", "/apis"),
        get("alice", "/apis/apps/v1"),
        get("alice", "/version"),
        get("alice", "/healthz"),
        get("alice", "/nowhere"),
        get("bob", "/nowhere?x=%20y"),
        get("", "/api/v1/pods"),
        get("", "/api"),
        get("", "/version"),
    ]
}

/// Sends one request to kube-apiserver itself.
async fn direct(plane: &ControlPlane, case: &Case, id: &str) {
    let (user, method, target, body) = case;
    let login = if user.is_empty() {
        json!({"token": "not.a.token"})
    } else {
        let leaf = plane.user(user);
        json!({
            "client-certificate-data": STANDARD.encode(&leaf.cert_pem),
            "client-key-data": STANDARD.encode(&leaf.key_pem),
        })
    };
    let client = plane.client(&login).await.unwrap();
    let mut request = Request::builder()
        .method(method)
        .uri(*target)
        .header("audit-id", id)
        .header("user-agent", "audit-test");
    let mut content = Vec::new();
    if let Some((kind, body)) = body {
        request = request.header("content-type", *kind);
        content = body.to_string().into_bytes();
    }
    let request = request.body(Body::from(content)).unwrap();
    let answer = client.send(request).await.unwrap();
    let body = http_body_util::BodyExt::collect(answer.into_body());
    body.await.unwrap();
}

/// Sends the same one through the proxy.
async fn proxied(proxy: &ProxyUnderTest, issuer: &FakeIssuer, case: &Case, id: &str) {
    let (user, method, target, body) = case;
    let token = if user.is_empty() {
        "not.a.token".to_owned()
    } else {
        issuer.token(user, &[])
    };
    let mut call = Call::new(method.clone(), target)
        .bearer(&token)
        .header("audit-id", id)
        .header("user-agent", "audit-test");
    if let Some((kind, body)) = body {
        call = call.header("content-type", kind).body(body.to_string());
    }
    proxy.client().send(Protocol::H2, call).await.unwrap();
}

/// All events of these requests, once there is one of the last.
async fn events(text: impl Fn() -> String, prefix: &str, last: &str) -> Vec<Value> {
    let deadline = Instant::now() + Duration::from_mins(1);
    let last = format!("\"auditID\":\"{last}\"");
    loop {
        let text = text();
        let is_last = |line: &str| line.contains("\"kind\":\"Event\"") && line.contains(&last);
        if text.lines().filter(|line| line.ends_with('}')).any(is_last) {
            let lines = text
                .lines()
                .filter(|line| line.contains("\"kind\":\"Event\""));
            let events = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
            return events
                .filter(|event| event["auditID"].as_str().unwrap().starts_with(prefix))
                .collect();
        }
        assert!(
            Instant::now() < deadline,
            "no event of the last request:\n{text}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Without what must differ: times, addresses, credentials, the identity of objects, and what only
/// kube-apiserver knows.
fn comparable(mut event: Value) -> Value {
    let fields = event.as_object_mut().unwrap();
    for field in [
        "auditID",
        "sourceIPs",
        "annotations",
        "requestReceivedTimestamp",
        "stageTimestamp",
    ] {
        fields.remove(field);
    }
    if let Some(user) = event["user"].as_object_mut() {
        user.remove("extra");
    }
    if let Some(details) = event
        .pointer_mut("/responseStatus/details")
        .and_then(Value::as_object_mut)
    {
        details.remove("uid");
    }
    // The proxy passes a stream's answer on before it has read it, and a HEAD's has no body.
    let is_beginning =
        event["stage"] == "ResponseStarted" && event["objectRef"]["subresource"] != Value::Null;
    if is_beginning || event["responseStatus"]["code"] == 405 {
        event["responseStatus"] = json!({"code": event["responseStatus"]["code"]});
    }
    for field in ["requestObject", "responseObject"] {
        if let Some(object) = event.get_mut(field) {
            let there = json!({"kind": object["kind"], "data": object["data"]});
            *object = there;
        }
    }
    event
}

#[tokio::test]
async fn events_are_those_of_kube_apiserver() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    std::fs::write(path("policy.yaml"), POLICY).unwrap();
    let policy = format!("--audit-policy-file={}", path("policy.yaml").display());
    let log = format!("--audit-log-path={}", path("audit.log").display());
    let plane = ControlPlane::shared_with(&[policy.clone(), log]).await;
    let admin = plane.admin().await.unwrap();
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}});
    plane
        .create::<Namespace>(Api::all(admin.clone()), namespace)
        .await
        .unwrap();
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "alice"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "alice"}],
    });
    plane
        .create::<ClusterRoleBinding>(Api::all(admin), binding)
        .await
        .unwrap();

    let issuer = FakeIssuer::start().await.unwrap();
    let setup = Setup::with_upstream(plane.url(), plane.ca_pem(), &issuer)
        .kubeconfig_user(plane.admin_user())
        .flag(policy)
        .flag("--audit-log-path=-");
    let proxy = setup.start(&issuer).await.unwrap();

    let cases = cases();
    for (n, case) in cases.iter().enumerate() {
        direct(plane, case, &format!("direct-{n}-")).await;
    }
    for (n, case) in cases.iter().enumerate() {
        proxied(&proxy, &issuer, case, &format!("proxied-{n}-")).await;
    }
    let last: Case = ("alice", Method::GET, "/last", None);
    direct(plane, &last, "direct-last").await;
    proxied(&proxy, &issuer, &last, "proxied-last").await;
    let own = || std::fs::read_to_string(path("audit.log")).unwrap_or_default();
    let own = events(own, "direct-", "direct-last").await;
    let ours = || proxy.access_lines().join("\n");
    let ours = events(ours, "proxied-", "proxied-last").await;

    let mut differences = Vec::new();
    for (n, case) in cases.iter().enumerate() {
        let of = |events: &[Value], id: &str| -> Vec<Value> {
            let mut events = events.to_vec();
            events.retain(|event| event["auditID"] == id);
            events.into_iter().map(comparable).collect()
        };
        let (own, ours) = (
            of(&own, &format!("direct-{n}-")),
            of(&ours, &format!("proxied-{n}-")),
        );
        if own != ours {
            let (own, ours) = (json!(own), json!(ours));
            differences.push(format!(
                "{case:?}\n  kube-apiserver {own}\n  the proxy {ours}"
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}
