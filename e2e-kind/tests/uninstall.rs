//! The end of a release: with resources that remain, the hook's three ways; then what is left. After the suite, since it
//! takes the release away. Helm 3 and Helm 4 take turns.

// A step that fails ends the test.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::time::Duration;

use oidcproxy_e2e::{
    client::Client,
    environment::repository,
    oidc_proxy,
    release::{self, RELEASE, SYSTEM},
    suite::{Kubectl, Suite},
    user,
    wait::until_true,
};

const END: Duration = Duration::from_mins(3);
const HOOK: &str = "job/oidc-proxy-operator-e2e-uninstall";

/// One test: what each step finds is what the one before has left.
#[test]
fn a_release_ends_as_it_is_told() {
    let suite = Suite::shared();
    let helm4 = release::helm(&suite.environment, "HELM");
    let helm3 = release::helm(&suite.environment, "HELM3");

    for helm in [&helm3, &helm4] {
        is_stopped(suite, helm);
    }
    // A stopped release is one that Helm counts as half gone.
    let refused = helm4.fails(&upgrade(&["--set", "uninstall.policy=Orphan"]));
    assert!(refused.contains("has no deployed releases"), "{refused}");
    let history = helm4.json(&["history", RELEASE, "-n", SYSTEM]);
    let newest = history.as_array().unwrap().last().unwrap()["revision"].to_string();
    helm4.ok(&["rollback", RELEASE, &newest, "-n", SYSTEM, "--wait"]);

    helm3.ok(&upgrade(&[
        "--set",
        "uninstall.policy=Orphan",
        "--set",
        "logLevel=debug",
    ]));
    assert!(operator_arguments(suite).contains("--log-level=debug"));
    helm3.ok(&["rollback", RELEASE, "-n", SYSTEM, "--wait"]);
    assert!(operator_arguments(suite).contains("--log-level=info"));
    helm4.ok(&upgrade(&["--set", "uninstall.policy=Orphan"]));
    helm4.ok(&["test", RELEASE, "-n", SYSTEM]);
    orphans_serve_on(suite, &helm4);

    // Helm 3 knows the release by its name: what it left is its own. This time with the rights of the chart's default, by
    // Roles in the namespaces that are named.
    let namespaces = format!("namespaces={{{}}}", suite.namespace());
    let values = ["--set", "uninstall.policy=Delete", "--set", &namespaces];
    release::install(&suite.environment, "HELM3", &values);
    oidc_proxy::wait_ready(&suite.admin, &suite.document);
    roles_are_enough(suite);
    helm3.ok(&["test", RELEASE, "-n", SYSTEM]);
    uninstall(&helm3);
    let left = suite
        .admin
        .ok(&["get", "oidcproxies", "--all-namespaces", "-o", "name"]);
    assert_eq!(left, "");
    nothing_is_left(suite);
}

fn upgrade<'a>(values: &[&'a str]) -> Vec<&'a str> {
    // Leaked once or twice a run: the arguments are borrowed.
    let chart = repository().join("charts/oidc-proxy-operator");
    let chart: &'static str = Box::leak(chart.display().to_string().into_boxed_str());
    let fixed = [
        "upgrade",
        RELEASE,
        chart,
        "-n",
        SYSTEM,
        "--reuse-values",
        "--wait",
    ];
    [&fixed, values].concat()
}

fn uninstall(helm: &Client) {
    helm.ok(&["uninstall", RELEASE, "-n", SYSTEM, "--wait"]);
}

fn operator_arguments(suite: &Suite) -> String {
    let path = "jsonpath={.items[0].spec.template.spec.containers[0].args}";
    suite
        .admin
        .ok(&["-n", SYSTEM, "get", "deployment", "-o", path])
}

fn is_stopped(suite: &Suite, helm: &Client) {
    let failed = helm.fails(&["uninstall", RELEASE, "-n", SYSTEM]);
    assert!(failed.contains("uninstall"), "{failed}");
    let log = suite.admin.ok(&["-n", SYSTEM, "logs", HOOK]);
    let named = format!("{}/corp", suite.namespace());
    assert!(
        log.contains(&named) && log.contains("nothing was uninstalled"),
        "{log}"
    );
    suite.admin.ok(&[
        "-n",
        SYSTEM,
        "wait",
        "deployment",
        "--all",
        "--for=condition=Available",
        "--timeout=10s",
    ]);
    oidc_proxy::wait_ready(&suite.admin, &suite.document);
}

fn orphans_serve_on(suite: &Suite, helm: &Client) {
    uninstall(helm);
    until_true("the end of the operator", END, || {
        suite
            .admin
            .ok(&["-n", SYSTEM, "get", "pods", "-o", "name"])
            .is_empty()
    });
    let before = oidc_proxy::get(&suite.admin, &suite.document);
    suite
        .user(Kubectl::WebSocket, "alice")
        .ok(&["auth", "whoami"]);
    let after = oidc_proxy::get(&suite.admin, &suite.document);
    assert_eq!(after["status"], before["status"]);
    assert!(after["metadata"]["deletionTimestamp"].is_null());
}

/// The operator goes on with what its Roles allow: it puts children back, follows a change and stays out of the rest.
fn roles_are_enough(suite: &Suite) {
    let (admin, namespace) = (&suite.admin, suite.namespace());
    let cluster_wide = admin.ok(&[
        "get",
        "clusterrole",
        "oidc-proxy-operator-e2e",
        "-o",
        "json",
    ]);
    assert!(!cluster_wide.contains("\"deployments\""), "{cluster_wide}");
    let uid = || {
        let get = ["-n", namespace, "get", "service,role,secret", "-o"];
        let path = "jsonpath={.items[?(@.metadata.name=='corp')].metadata.uid}";
        let output = admin.run(&[&get[..], &[path]].concat());
        (output.code == Some(0)).then_some(output.stdout)
    };
    let before = uid();
    admin.ok(&["-n", namespace, "delete", "role/corp", "service/corp"]);
    until_true("the return of both", END, || {
        uid().is_some_and(|now| {
            let old = before.as_deref().unwrap_or_default();
            now.split(' ').count() == old.split(' ').count()
                && now.split(' ').all(|one| !old.contains(one))
        })
    });
    let mut changed = suite.document.clone();
    changed["spec"]["authentication"]["jwt"][0]["claimMappings"]["groups"]["prefix"] =
        "people:".into();
    oidc_proxy::apply_until_ready(admin, &changed);
    let kubeconfig = oidc_proxy::kubeconfig(admin, &changed, suite.directory());
    until_true("the new groups", END, || {
        let alice = suite.through(&kubeconfig, Kubectl::WebSocket, &user::token("alice"));
        let output = alice.run(&["auth", "whoami", "-o", "json"]);
        output.stdout.contains("people:dev")
    });
    let mut elsewhere = suite.document.clone();
    elsewhere["metadata"]["namespace"] = "default".into();
    let refused = admin.apply(&elsewhere);
    assert!(
        refused.stderr.contains("served in these namespaces only"),
        "{refused}"
    );
}

fn nothing_is_left(suite: &Suite) {
    let admin = &suite.admin;
    let kinds = "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings";
    let left = admin.ok(&["get", kinds, "-o", "name"]);
    let ours: Vec<_> = left.lines().filter(|name| name.contains("oidc")).collect();
    assert_eq!(ours, Vec::<&str>::new());
    for namespace in [SYSTEM, suite.namespace()] {
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
        SYSTEM,
        suite.namespace(),
        "--timeout=90s",
    ]);
    // Whoever installs next has another release, which Helm would not let adopt it.
    admin.ok(&[
        "delete",
        "customresourcedefinition",
        "oidcproxies.oidcproxy.dev",
        "--timeout=60s",
    ]);
}
