//! Tokens that no issuer claims, passed on: here those of service accounts.

use oidcproxy_e2e::{
    oidc_proxy,
    suite::{Kubectl, Suite},
    user,
};
use serde_json::json;

#[test]
fn a_service_account_is_itself_through_the_proxy() {
    let suite = Suite::shared();
    let (namespace, document) = oidc_proxy::own_with(suite, "corp", |spec| {
        spec["authentication"]["tokenPassthrough"] = json!({"mode": "TokenReview"});
    });
    let kubeconfig = oidc_proxy::kubeconfig(&suite.admin, &document, suite.directory());
    let through = |token: &str| suite.through(&kubeconfig, Kubectl::WebSocket, token);
    let inside = ["-n", &namespace.name];
    suite
        .admin
        .ok(&[&inside[..], &["create", "serviceaccount", "robot"]].concat());
    let create = [&inside[..], &["create", "token", "robot"]].concat();
    let token = suite.admin.ok(&create);
    let robot = through(token.trim());
    let me = robot.json(&["auth", "whoami"])["status"]["userInfo"].clone();
    let name = format!("system:serviceaccount:{}:robot", namespace.name);
    assert_eq!(me["username"], name.as_str(), "{me}");
    // It is the token itself that arrived: the API server knows which one it was.
    let extra = me["extra"].as_object().unwrap();
    assert!(
        extra.contains_key("authentication.kubernetes.io/credential-id"),
        "{me}"
    );
    let refused = robot.fails(&[&inside[..], &["get", "secrets"]].concat());
    assert!(
        refused.contains(&name) && refused.contains("forbidden"),
        "{refused}"
    );

    let elsewhere = suite
        .admin
        .ok(&[&create[..], &["--audience=elsewhere"]].concat());
    let refused = through(elsewhere.trim()).fails(&["auth", "whoami"]);
    assert!(
        refused.contains("Unauthorized") || refused.contains("logged in"),
        "{refused}"
    );
    let alice = through(&user::token("alice")).json(&["auth", "whoami"]);
    assert_eq!(
        alice["status"]["userInfo"]["username"], "corp:alice",
        "{alice}"
    );
}
