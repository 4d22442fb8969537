//! Who is not let in, and who is not let do it.

use std::{net::IpAddr, process::Command, time::Duration};

use oidcproxy_e2e::{
    oidc_proxy,
    suite::{Kubectl, Suite},
    user,
    wait::{until, until_true},
};
use oidcproxy_tests::issuer::FakeIssuer;
use serde_json::json;

#[test]
fn a_user_without_rights_is_refused_by_the_cluster() {
    let suite = Suite::shared();
    for kubectl in [Kubectl::WebSocket, Kubectl::Spdy] {
        let bob = suite.user(kubectl, "bob");
        let refused = bob.fails(&["-n", suite.namespace(), "get", "pods"]);
        assert!(
            refused.contains(r#"User "corp:bob" cannot list resource "pods""#),
            "{refused}"
        );
        let refused = bob.fails(&[
            "-n",
            suite.namespace(),
            "exec",
            "target",
            "-c",
            "main",
            "--",
            "id",
        ]);
        assert!(
            refused.contains("corp:bob") && refused.contains("orbidden"),
            "{refused}"
        );
    }
}

#[test]
fn acting_as_somebody_else_is_the_clusters_to_allow() {
    let suite = Suite::shared();
    let alice = suite.user(Kubectl::WebSocket, "alice");
    let as_bob = ["--as=corp:bob", "--as-group=corp:guests", "auth", "whoami"];
    let name = "e2e-act-as-bob";
    // A run that was broken off may have left them.
    let revoke = [
        "delete",
        "clusterrole,clusterrolebinding",
        name,
        "--ignore-not-found",
    ];
    suite.admin.ok(&revoke);
    // kubectl says "unknown" of a refused discovery, with and without a proxy.
    let refusal = r#"user "corp:alice" cannot impersonate"#;
    until_true("the refusal", Duration::from_mins(1), || {
        let output = alice.run(&["--as=corp:bob", "get", "--raw=/api/v1/namespaces"]);
        output.code != Some(0) && output.stderr.contains(refusal)
    });
    let rules = json!([
        {"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"], "resourceNames": ["corp:bob"]},
        {"apiGroups": [""], "resources": ["groups"], "verbs": ["impersonate"], "resourceNames": ["corp:guests"]},
    ]);
    let role_ref =
        json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name});
    let subjects =
        json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "corp:ops"}]);
    for document in [
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name}, "roleRef": role_ref, "subjects": subjects}),
    ] {
        assert_eq!(suite.admin.apply(&document).code, Some(0));
    }
    // Each replica remembers a no for ten seconds.
    let me = until("the grant", Duration::from_mins(2), || {
        let output = alice.run(&[&as_bob[..], &["-o", "json"]].concat());
        (output.code == Some(0)).then_some(output.stdout)
    });
    assert!(
        me.contains(r#""corp:bob""#) && me.contains(r#""corp:guests""#),
        "{me}"
    );
    assert!(me.contains("originaluser.jetstack.io-user"), "{me}");
    suite.admin.ok(&revoke);
    let refused = alice.fails(&[
        "--as=system:serviceaccount:kube-system:default",
        "get",
        "--raw=/api/v1/namespaces",
    ]);
    assert!(
        refused.contains("cannot impersonate serviceaccounts"),
        "{refused}"
    );
}

#[test]
fn tokens_that_are_not_good_are_401() {
    let suite = Suite::shared();
    let good = user::token("alice");
    let (rest, signature) = good.rsplit_once('.').unwrap();
    let flipped: String = signature.chars().rev().collect();
    for token in [
        "garbage",
        "a.b.c",
        &format!("{rest}.{flipped}"),
        &format!("{rest}."),
    ] {
        let refused = suite
            .with_token(Kubectl::WebSocket, token)
            .fails(&["get", "namespaces"]);
        assert!(is_unauthorized(&refused), "{token:?}: {refused}");
    }
}

#[test]
fn expired_foreign_and_misdirected_tokens_are_401() {
    let suite = Suite::shared();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let host: IpAddr = suite.environment.get("HOST_IP").parse().unwrap();
    let issuer = runtime.block_on(FakeIssuer::start_on(host)).unwrap();
    let stranger = runtime.block_on(FakeIssuer::start_on(host)).unwrap();
    let (_namespace, document) = oidc_proxy::own_with(suite, "second", |spec| {
        spec["authentication"]["jwt"] = json!([{
            "name": "own",
            "issuer": {"url": issuer.url(), "audiences": ["kubernetes"], "certificateAuthority": issuer.ca_pem()},
            "claimMappings": {"username": {"claim": "sub", "prefix": "own:"}},
        }]);
    });
    let kubeconfig = oidc_proxy::kubeconfig(&suite.admin, &document, suite.directory());
    let whoami = |token: &str| {
        suite
            .through(&kubeconfig, Kubectl::WebSocket, token)
            .run(&["auth", "whoami"])
    };
    let accepted = whoami(&issuer.token("carol", &[]));
    assert!(accepted.stdout.contains("own:carol"), "{accepted}");
    let claims = || issuer.claims("carol");
    for (what, token) in [
        ("expired", issuer.sign(&claims().expires_in(-1))),
        (
            "another audience",
            issuer.sign(&claims().claim("aud", "somebody-else")),
        ),
        ("another issuer", stranger.token("carol", &[])),
        ("signed by another issuer", stranger.sign(&claims())),
        ("unsigned", claims().unsigned()),
    ] {
        let refused = whoami(&token);
        assert!(is_unauthorized(&refused.stderr), "{what}: {refused}");
    }
    let reserved = whoami(&issuer.token("carol", &[]));
    assert_eq!(reserved.code, Some(0), "the good one still is: {reserved}");
}

#[test]
fn no_token_is_401_with_a_status() {
    let suite = Suite::shared();
    let service = suite
        .admin
        .json(&["-n", suite.namespace(), "get", "service", "corp"]);
    let address = service["spec"]["clusterIP"].as_str().unwrap();
    for path in [
        "/api",
        "/version",
        "/healthz",
        "/openid/v1/jwks",
        "/readyz/x",
    ] {
        // kubectl asks for a password when it has no token.
        let output = Command::new("curl")
            .args([
                "--silent",
                "--insecure",
                "--noproxy",
                "*",
                "--max-time",
                "20",
            ])
            .arg(format!("https://{address}{path}"))
            .output()
            .unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (&answer["kind"], &answer["code"]),
            (&json!("Status"), &json!(401)),
            "{path}"
        );
    }
}

fn is_unauthorized(stderr: &str) -> bool {
    stderr.contains("Unauthorized") || stderr.contains("You must be logged in to the server")
}
