//! What is left when the operator is uninstalled. After the suite, since it takes the release away.

// A step that fails ends the test.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use oidcproxy_e2e::{client::Client, suite::Suite};

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
        let selector = "app.kubernetes.io/part-of=oidc-proxy-operator";
        let inside = admin.ok(&[
            "-n",
            namespace,
            "get",
            "all,secrets,configmaps,roles,rolebindings",
            "-l",
            selector,
            "-o",
            "name",
        ]);
        assert_eq!(inside, "", "in {namespace}");
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
