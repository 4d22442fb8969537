//! Deleting a resource leaves nothing behind.

use std::time::Duration;

use oidcproxy_e2e::{oidc_proxy, suite::Suite, wait::until_true};

#[test]
fn nothing_of_a_deleted_resource_is_left() {
    let suite = Suite::shared();
    let (namespace, _) = oidc_proxy::own(suite, "gone");
    let ours = "app.kubernetes.io/managed-by=oidc-proxy-operator";
    // Of every kind that there is, in the namespace and beside it.
    let scopes = [
        (
            "--namespaced=true",
            format!("{ours},app.kubernetes.io/instance=gone"),
        ),
        (
            "--namespaced=false",
            format!("{ours},oidcproxy.dev/owner-namespace={}", namespace.name),
        ),
    ];
    let scopes = scopes.map(|(scope, selector)| (kinds(suite, scope), selector));
    let left = || {
        let found = scopes.iter().map(|(kinds, selector)| {
            let get = ["-n", &namespace.name, "get", kinds, "-l", selector];
            suite
                .admin
                .ok(&[&get[..], &["-o", "name", "--ignore-not-found"]].concat())
        });
        let found = found.collect::<String>();
        found.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let before = left();
    let cluster_wide = format!("oidcproxy:{}:gone", namespace.name);
    for child in [
        "deployment.apps/gone",
        "secret/gone-ca",
        "secret/gone-serving",
        "service/gone",
        "networkpolicy.networking.k8s.io/gone",
        &format!("clusterrole.rbac.authorization.k8s.io/{cluster_wide}"),
        &format!("clusterrolebinding.rbac.authorization.k8s.io/{cluster_wide}"),
    ] {
        assert!(
            before.iter().any(|left| left == child),
            "{child} is not in {before:?}"
        );
    }
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

/// All that can be listed, but for the metrics of nodes and pods, which have no server here.
fn kinds(suite: &Suite, scope: &str) -> String {
    let list = ["api-resources", "--verbs=list", scope, "-o", "name"];
    let kinds = suite.admin.ok(&list);
    let kinds = kinds
        .lines()
        .filter(|kind| !kind.contains("metrics.k8s.io"));
    kinds.collect::<Vec<_>>().join(",")
}

#[test]
fn a_namespace_with_a_resource_in_it_can_be_deleted() {
    let suite = Suite::shared();
    let (namespace, _) = oidc_proxy::own(suite, "corp");
    suite
        .admin
        .ok(&["delete", "namespace", &namespace.name, "--timeout=180s"]);
    let rights = suite
        .admin
        .ok(&["get", "clusterroles,clusterrolebindings", "-o", "name"]);
    assert!(!rights.contains(&namespace.name), "{rights}");
}
