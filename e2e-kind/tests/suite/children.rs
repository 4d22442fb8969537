//! What the operator has made stays as it made it.

use std::time::Duration;

use oidcproxy_e2e::{
    oidc_proxy,
    suite::{Kubectl, Suite},
    wait::{until, until_true},
};

const SOON: Duration = Duration::from_mins(2);
/// With pods that come or go.
const GENEROUS: Duration = Duration::from_mins(4);

#[test]
fn a_child_that_is_deleted_comes_back() {
    let suite = Suite::shared();
    let (namespace, document) = oidc_proxy::own(suite, "corp");
    let cluster_wide = format!("oidcproxy:{}:corp", namespace.name);
    let children = [
        "deployment/corp",
        "service/corp",
        "serviceaccount/corp",
        "networkpolicy/corp",
        "poddisruptionbudget/corp",
        "role/corp",
        "rolebinding/corp",
        "configmap/corp-trust",
        "configmap/corp-kubeconfig",
        "secret/corp-serving",
    ];
    let cluster_children = [
        format!("clusterrole/{cluster_wide}"),
        format!("clusterrolebinding/{cluster_wide}"),
    ];
    for child in children
        .into_iter()
        .chain(cluster_children.iter().map(String::as_str))
    {
        let uid = || {
            let output = suite.admin.run(&[
                "-n",
                &namespace.name,
                "get",
                child,
                "-o",
                "jsonpath={.metadata.uid}",
            ]);
            (output.code == Some(0)).then_some(output.stdout)
        };
        let before = uid().unwrap_or_else(|| panic!("there is no {child}"));
        suite
            .admin
            .ok(&["-n", &namespace.name, "delete", child, "--wait=true"]);
        until(&format!("the return of {child}"), SOON, || {
            uid().filter(|now| *now != before)
        });
    }
    oidc_proxy::wait_ready(&suite.admin, &document);
}

#[test]
fn an_edited_kubeconfig_is_put_right_with_a_warning() {
    let suite = Suite::shared();
    let namespace = suite.namespace();
    let patch = r#"{"data":{"kubeconfig":"users: [{name: u, user: {exec: {command: evil}}}]"}}"#;
    suite.admin.ok(&[
        "-n",
        namespace,
        "patch",
        "configmap",
        "corp-kubeconfig",
        "--type=merge",
        "-p",
        patch,
    ]);
    until_true("the kubeconfig's return", SOON, || {
        let map = suite
            .admin
            .json(&["-n", namespace, "get", "configmap", "corp-kubeconfig"]);
        !map["data"]["kubeconfig"].as_str().unwrap().contains("evil")
    });
    until_true("the Event", SOON, || {
        let events = suite
            .admin
            .ok(&["-n", namespace, "get", "events.events.k8s.io"]);
        events.lines().any(|line| {
            line.contains("Warning") && line.contains("corp") && line.contains("Reverted")
        })
    });
}

#[test]
fn the_scale_subresource_sets_the_replicas() {
    let suite = Suite::shared();
    let (namespace, document) = oidc_proxy::own(suite, "corp");
    for replicas in [3, 1] {
        suite.admin.ok(&[
            "-n",
            &namespace.name,
            "scale",
            "oidcproxy/corp",
            &format!("--replicas={replicas}"),
        ]);
        until_true(&format!("{replicas} current pods"), GENEROUS, || {
            oidc_proxy::get(&suite.admin, &document)["status"]["replicas"]
                == serde_json::json!({"desired": replicas, "ready": replicas, "current": replicas})
        });
    }
    let gone = suite
        .admin
        .fails(&["-n", &namespace.name, "get", "poddisruptionbudget", "corp"]);
    assert!(
        gone.contains("NotFound"),
        "a budget for one pod would keep nodes from draining: {gone}"
    );
}

#[test]
fn a_lost_authority_is_replaced_and_said_so() {
    let suite = Suite::shared();
    let (namespace, document) = oidc_proxy::own(suite, "corp");
    let bundle = || oidc_proxy::get(&suite.admin, &document)["status"]["caBundle"].clone();
    let before = bundle();
    suite
        .admin
        .ok(&["-n", &namespace.name, "delete", "secret", "corp-ca"]);
    until_true("a new root", GENEROUS, || bundle() != before);
    oidc_proxy::wait_ready(&suite.admin, &document);
    let kubeconfig = oidc_proxy::kubeconfig(&suite.admin, &document, suite.directory());
    let token = oidcproxy_e2e::user::token("alice");
    suite
        .through(&kubeconfig, Kubectl::WebSocket, &token)
        .ok(&["auth", "whoami"]);
    until_true("the Event", SOON, || {
        let events = ["-n", &namespace.name, "get", "events.events.k8s.io"];
        suite.admin.ok(&events).contains("AuthorityReplaced")
    });
}
