//! In front of a real kube-apiserver, with an account that may impersonate and review, nothing else.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod acting_as;
mod aggregated;
mod paths;

use k8s_openapi::api::{
    core::v1::{ConfigMap, Namespace, ServiceAccount},
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
};
use kube::{Api, Client as KubeClient};
use oidcproxy_tests::{
    client::{Call, Client, Protocol, Reply},
    control_plane::ControlPlane,
    issuer::FakeIssuer,
    proxy::{ProxyUnderTest, Setup},
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const SELF: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
const RBAC: &str = "rbac.authorization.k8s.io/v1";

/// A proxy in front of the shared control plane.
struct Bed {
    issuer: FakeIssuer,
    proxy: ProxyUnderTest,
    client: Client,
}

fn binding(kind: &str, name: &str, role_kind: &str, role: &str, subject: &Value) -> Value {
    json!({
        "apiVersion": RBAC, "kind": kind, "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role},
        "subjects": [subject],
    })
}

fn user(name: &str) -> Value {
    json!({"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": name})
}

/// What the proxy's account may do: the rights the chart would give it, and none else.
async fn prepare() -> anyhow::Result<String> {
    let plane = ControlPlane::shared().await;
    let admin = plane.admin().await?;
    plane
        .create::<Namespace>(
            Api::all(admin.clone()),
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}),
        )
        .await?;
    for name in ["oidc-proxy", "deployer"] {
        let account =
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
        plane
            .create::<ServiceAccount>(Api::namespaced(admin.clone(), "default"), account)
            .await?;
    }
    let original = ["user", "groups", "uid", "extra"]
        .map(|part| format!("userextras/originaluser.jetstack.io-{part}"));
    let mut resources = vec![
        "uids".to_owned(),
        "userextras/example.org/team".to_owned(),
        "userextras/authentication.kubernetes.io/credential-id".to_owned(),
    ];
    resources.extend(original);
    let rules = json!([
        {"apiGroups": [""], "resources": ["users", "groups", "serviceaccounts"], "verbs": ["impersonate"]},
        {"apiGroups": ["authentication.k8s.io"], "resources": resources, "verbs": ["impersonate"]},
        {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]},
    ]);
    cluster_role(
        &admin,
        "oidc-proxy",
        &rules,
        &json!({"kind": "ServiceAccount", "namespace": "default", "name": "oidc-proxy"}),
    )
    .await?;

    let reader = json!({
        "apiVersion": RBAC, "kind": "Role", "metadata": {"name": "reader"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]}],
    });
    plane
        .create::<Role>(Api::namespaced(admin.clone(), "default"), reader)
        .await?;
    let groups = json!({"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "dev"});
    let deployer = json!({"kind": "ServiceAccount", "namespace": "default", "name": "deployer"});
    for (name, subject) in [
        ("dev", groups),
        ("bob", user("bob")),
        ("deployer", deployer),
    ] {
        let object = binding("RoleBinding", name, "Role", "reader", &subject);
        plane
            .create::<RoleBinding>(Api::namespaced(admin.clone(), "default"), object)
            .await?;
    }
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "sample"}, "data": {"k": "v"}});
    plane
        .create::<ConfigMap>(Api::namespaced(admin.clone(), "default"), map)
        .await?;

    let users = json!([{"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"], "resourceNames": ["bob", "system:serviceaccount:default:deployer"]}]);
    cluster_role(&admin, "acts-as-bob", &users, &user("acts-as-bob")).await?;
    let accounts = json!([{"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"], "resourceNames": ["deployer"]}]);
    cluster_role(
        &admin,
        "acts-as-deployer",
        &accounts,
        &user("acts-as-deployer"),
    )
    .await?;
    plane.service_account_token("oidc-proxy").await
}

async fn cluster_role(
    admin: &KubeClient,
    name: &str,
    rules: &Value,
    subject: &Value,
) -> anyhow::Result<()> {
    let plane = ControlPlane::shared().await;
    let role = json!({"apiVersion": RBAC, "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules});
    plane
        .create::<ClusterRole>(Api::all(admin.clone()), role)
        .await?;
    let object = binding("ClusterRoleBinding", name, "ClusterRole", name, subject);
    plane
        .create::<ClusterRoleBinding>(Api::all(admin.clone()), object)
        .await
}

impl Bed {
    async fn start() -> Self {
        static TOKEN: OnceCell<String> = OnceCell::const_new();
        let token = TOKEN.get_or_try_init(prepare).await;
        let token = token.unwrap_or_else(|error| panic!("{error:#}"));
        let plane = ControlPlane::shared().await;
        let issuer = FakeIssuer::start().await.unwrap();
        let setup = Setup::with_upstream(plane.url(), plane.ca_pem(), &issuer);
        let proxy = setup
            .kubeconfig_user(json!({"token": token}))
            .start(&issuer)
            .await;
        let proxy = proxy.unwrap_or_else(|error| panic!("{error:#}"));
        let client = proxy.client();
        Self {
            issuer,
            proxy,
            client,
        }
    }

    async fn send(&self, protocol: Protocol, call: Call) -> Reply {
        let reply = self.client.send(protocol, call).await;
        reply.unwrap_or_else(|error| panic!("{error:#}\n{}", self.proxy.process.output()))
    }

    /// What kube-apiserver takes a request with these headers for.
    async fn who(&self, token: &str, headers: &[(&str, &str)]) -> Reply {
        let call = review(headers).bearer(token);
        self.send(Protocol::H1, call).await
    }
}

/// Asks kube-apiserver what it takes a request with these headers for.
fn review(headers: &[(&str, &str)]) -> Call {
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let call = Call::new(http::Method::POST, SELF)
        .header("content-type", "application/json")
        .body(body.to_string());
    headers
        .iter()
        .fold(call, |call, (name, value)| call.header(name, value))
}

#[tokio::test]
async fn the_control_plane_itself_answers() {
    let plane = ControlPlane::shared().await;
    let token = prepare().await.unwrap_or_else(|error| panic!("{error:#}"));
    let port = plane.url().rsplit(':').next().unwrap().parse().unwrap();
    let direct = Client::new(port, plane.ca_pem().to_owned());
    let call = Call::get(CONFIG_MAPS).bearer(&token);
    direct
        .send(Protocol::H2, call)
        .await
        .unwrap()
        .assert_status(403);
    let call = Call::get(CONFIG_MAPS)
        .bearer(&token)
        .header("impersonate-user", "bob");
    direct
        .send(Protocol::H2, call)
        .await
        .unwrap()
        .assert_status(200);
}

#[tokio::test]
async fn kube_apiserver_sees_the_user_groups_and_extra() {
    let bed = Bed::start().await;
    let token = bed
        .issuer
        .claims("zoë\u{308}")
        .groups(&["dev", "a, b"])
        .claim("jti", "t-1");
    let reply = bed.who(&bed.issuer.sign(&token), &[]).await;
    reply.assert_status(201);
    let info = &reply.json()["status"]["userInfo"];
    assert_eq!(info["username"], "zoë\u{308}");
    assert_eq!(
        info["groups"],
        json!(["dev", "a, b", "system:authenticated"])
    );
    assert_eq!(
        info["extra"],
        json!({"authentication.kubernetes.io/credential-id": ["JTI=t-1"]})
    );
}

#[tokio::test]
async fn rights_are_those_of_the_user() {
    let bed = Bed::start().await;
    for protocol in Protocol::BOTH {
        let call = Call::get(CONFIG_MAPS).bearer(&bed.issuer.token("alice", &["dev"]));
        let allowed = bed.send(protocol, call).await;
        allowed.assert_status(200);
        assert_eq!(allowed.json()["kind"], "ConfigMapList");
        let call = Call::get(CONFIG_MAPS).bearer(&bed.issuer.token("mallory", &["guests"]));
        let denied = bed.send(protocol, call).await;
        denied.assert_status(403);
        let message = denied.json()["message"].as_str().unwrap().to_owned();
        assert!(
            message.contains("User \"mallory\" cannot list"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn the_proxys_own_rights_are_nobodys() {
    let bed = Bed::start().await;
    // Its account may review anything; a user may not.
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {"user": "root", "resourceAttributes": {"verb": "get", "resource": "secrets"}},
    });
    let call = Call::new(
        http::Method::POST,
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
    )
    .bearer(&bed.issuer.token("alice", &["dev"]))
    .header("content-type", "application/json")
    .body(review.to_string());
    bed.send(Protocol::H1, call).await.assert_status(403);
}

#[tokio::test]
async fn acting_as_a_user_needs_the_right() {
    let bed = Bed::start().await;
    let denied = bed
        .who(
            &bed.issuer.token("alice", &["dev"]),
            &[("impersonate-user", "bob")],
        )
        .await;
    denied.assert_refusal(403);

    let token = bed.issuer.token("acts-as-bob", &["guests"]);
    let reply = bed.who(&token, &[("impersonate-user", "bob")]).await;
    reply.assert_status(201);
    let info = &reply.json()["status"]["userInfo"];
    assert_eq!(info["username"], "bob");
    assert_eq!(info["groups"], json!(["system:authenticated"]));
    assert_eq!(
        info["extra"]["originaluser.jetstack.io-user"],
        json!(["acts-as-bob"])
    );
    let call = Call::get(CONFIG_MAPS).bearer(&token);
    bed.send(Protocol::H1, call.clone())
        .await
        .assert_status(403);
    bed.send(Protocol::H1, call.header("impersonate-user", "bob"))
        .await
        .assert_status(200);

    for header in [("impersonate-group", "dev"), ("impersonate-uid", "7")] {
        let more = bed
            .who(&token, &[("impersonate-user", "bob"), header])
            .await;
        more.assert_refusal(403);
    }
}

#[tokio::test]
async fn acting_as_a_service_account_needs_the_right_to_be_that() {
    let bed = Bed::start().await;
    let name = "system:serviceaccount:default:deployer";
    // The right to be a user of that name does not do.
    let denied = bed
        .who(
            &bed.issuer.token("acts-as-bob", &[]),
            &[("impersonate-user", name)],
        )
        .await;
    denied.assert_refusal(403);
    let reply = bed
        .who(
            &bed.issuer.token("acts-as-deployer", &[]),
            &[("impersonate-user", name)],
        )
        .await;
    reply.assert_status(201);
    let info = &reply.json()["status"]["userInfo"];
    assert_eq!(info["username"], name);
    assert_eq!(
        info["groups"],
        json!([
            "system:serviceaccounts",
            "system:serviceaccounts:default",
            "system:authenticated"
        ])
    );
}

#[tokio::test]
async fn a_watch_of_kube_apiserver_streams() {
    let bed = Bed::start().await;
    let target = format!("{CONFIG_MAPS}?watch=true&resourceVersion=0");
    let admin = ControlPlane::shared().await.admin().await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(admin, "default");
    for (protocol, name) in Protocol::BOTH.into_iter().zip(["watched-1", "watched-2"]) {
        let call = Call::get(&target).bearer(&bed.issuer.token("alice", &["dev"]));
        let mut stream = bed.client.stream(protocol, call).await.unwrap();
        assert_eq!(stream.status, 200);
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
        let map = serde_json::from_value(map).unwrap();
        maps.create(&kube::api::PostParams::default(), &map)
            .await
            .unwrap();
        let mut text = String::new();
        while !text.contains(name) {
            let piece = stream.next().await.unwrap();
            let piece = piece.unwrap_or_else(|| panic!("the watch ended after {text:?}"));
            text.push_str(&String::from_utf8_lossy(&piece));
        }
    }
}

#[tokio::test]
async fn a_proxy_without_the_right_to_impersonate_lets_nobody_in() {
    let bed = Bed::start().await;
    let plane = ControlPlane::shared().await;
    let token = plane.service_account_token("deployer").await.unwrap();
    let setup = Setup::with_upstream(plane.url(), plane.ca_pem(), &bed.issuer);
    let powerless = setup
        .kubeconfig_user(json!({"token": token}))
        .start(&bed.issuer)
        .await
        .unwrap();
    // That account may list ConfigMaps itself; nobody may through it.
    let call = Call::get(CONFIG_MAPS).bearer(&bed.issuer.token("alice", &["dev"]));
    let reply = powerless.client().send(Protocol::H1, call).await.unwrap();
    reply.assert_status(403);
}
