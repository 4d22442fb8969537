//! What is left when the operator is uninstalled. After the suite, since it takes the release away.

// A step that fails ends the test.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::time::Duration;

use oidcproxy_e2e::{client::Client, suite::Suite, wait::until_true};

const END: Duration = Duration::from_mins(2);

#[test]
fn an_uninstalled_release_leaves_only_the_definition() {
    let suite = Suite::shared();
    let admin = &suite.admin;
    admin.ok(&[
        "delete",
        "oidcproxies",
        "--all",
        "--all-namespaces",
        "--timeout=90s",
    ]);
    let helm = Client::new(
        suite.environment.get("HELM"),
        suite.environment.get("KUBECONFIG"),
    );
    helm.ok(&[
        "uninstall",
        suite.release(),
        "--namespace",
        suite.system_namespace(),
        "--wait",
    ]);
    let kinds = "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings";
    let left = admin.ok(&["get", kinds, "-o", "name"]);
    let ours: Vec<_> = left.lines().filter(|name| name.contains("oidc")).collect();
    assert_eq!(ours, Vec::<&str>::new());
    for namespace in [suite.system_namespace(), suite.namespace()] {
        // Pods take leave of their clients first.
        until_true(
            &format!("the end of everything in {namespace}"),
            END,
            || {
                let selector = "app.kubernetes.io/part-of=oidc-proxy-operator";
                let kinds = "all,secrets,configmaps,roles,rolebindings";
                let left = ["-n", namespace, "get", kinds, "-l", selector, "-o", "name"];
                admin.ok(&left).is_empty()
            },
        );
    }
    admin.ok(&[
        "get",
        "customresourcedefinition",
        "oidcproxies.oidcproxy.dev",
    ]);
    // Nothing holds the namespaces back.
    admin.ok(&[
        "delete",
        "namespace",
        suite.system_namespace(),
        suite.namespace(),
        "--timeout=90s",
    ]);
}
