//! Deleting a resource leaves nothing behind.

use std::time::Duration;

use oidcproxy_e2e::{namespace::Namespace, oidc_proxy, suite::Suite, wait::until_true};

#[test]
fn nothing_of_a_deleted_resource_is_left() {
    let suite = Suite::shared();
    let namespace = Namespace::new(&suite.admin);
    let document = oidc_proxy::document(&suite.environment, &namespace.name, "gone");
    suite
        .admin
        .apply(&oidc_proxy::issuer_ca(&suite.environment, &namespace.name));
    oidc_proxy::apply_until_ready(&suite.admin, &document);
    let selector =
        "app.kubernetes.io/managed-by=oidc-proxy-operator,app.kubernetes.io/instance=gone";
    let kinds = suite.admin.ok(&[
        "api-resources",
        "--verbs=list",
        "--namespaced=true",
        "-o",
        "name",
    ]);
    // The metrics of nodes and pods have no server here.
    let kinds: Vec<_> = kinds
        .lines()
        .filter(|kind| !kind.contains("metrics.k8s.io"))
        .collect();
    let left = || {
        let all = kinds.join(",");
        let inside = suite.admin.ok(&[
            "-n",
            &namespace.name,
            "get",
            &all,
            "-l",
            selector,
            "-o",
            "name",
            "--ignore-not-found",
        ]);
        let rights = suite
            .admin
            .ok(&["get", "clusterroles,clusterrolebindings", "-o", "name"]);
        let name = format!("oidcproxy:{}:gone", namespace.name);
        let rights = rights
            .lines()
            .filter(|line| line.contains(&name))
            .map(str::to_owned);
        let inside = inside.lines().map(str::to_owned);
        inside.chain(rights).collect::<Vec<_>>()
    };
    let before = left();
    for child in [
        "deployment.apps/gone",
        "secret/gone-ca",
        "secret/gone-serving",
        "service/gone",
        "networkpolicy.networking.k8s.io/gone",
    ] {
        assert!(
            before.iter().any(|left| left == child),
            "{child} is not in {before:?}"
        );
    }
    assert!(
        before
            .iter()
            .filter(|left| left.contains("oidcproxy:"))
            .count()
            == 2,
        "{before:?}"
    );
    suite.admin.ok(&[
        "-n",
        &namespace.name,
        "delete",
        "oidcproxy",
        "gone",
        "--timeout=60s",
    ]);
    until_true("the end of all children", Duration::from_mins(1), || {
        left().is_empty()
    });
}

#[test]
fn a_namespace_with_a_resource_in_it_can_be_deleted() {
    let suite = Suite::shared();
    let namespace = Namespace::new(&suite.admin);
    let document = oidc_proxy::document(&suite.environment, &namespace.name, "corp");
    suite
        .admin
        .apply(&oidc_proxy::issuer_ca(&suite.environment, &namespace.name));
    oidc_proxy::apply_until_ready(&suite.admin, &document);
    suite
        .admin
        .ok(&["delete", "namespace", &namespace.name, "--timeout=180s"]);
    let rights = suite
        .admin
        .ok(&["get", "clusterroles,clusterrolebindings", "-o", "name"]);
    assert!(!rights.contains(&namespace.name), "{rights}");
}
