//! A node is drained: its pods are evicted, one at a time as their budget has it, and nobody notices.

use std::time::Duration;

use oidcproxy_e2e::{
    client::Output,
    kept::{Kept, Protocol},
    oidc_proxy,
    suite::{Kubectl, Suite},
    traffic::Traffic,
    wait::{until, until_true},
};
use serde_json::{Value, json};

const MOVED: Duration = Duration::from_mins(3);

/// The request that `kubectl drain` makes for each pod. The node itself stays open: it is the only one.
fn evict(suite: &Suite, namespace: &str, pod: &str) -> Output {
    let path = format!("--raw=/api/v1/namespaces/{namespace}/pods/{pod}/eviction");
    let eviction = json!({
        "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace},
    });
    let create = ["create", &path, "-f", "-"];
    suite
        .admin
        .run_with(&create, eviction.to_string().as_bytes())
}

fn pods(suite: &Suite, namespace: &str) -> Vec<String> {
    let list = suite.admin.json(&["-n", namespace, "get", "pods"]);
    let pods = list["items"].as_array().unwrap().iter();
    let names = pods.filter_map(|pod| pod["metadata"]["name"].as_str());
    names.map(str::to_owned).collect()
}

fn allowed(suite: &Suite, namespace: &str) -> Value {
    let budget = ["-n", namespace, "get", "poddisruptionbudget", "corp"];
    suite.admin.json(&budget)["status"]["disruptionsAllowed"].clone()
}

#[test]
fn pods_are_evicted_one_by_one_and_no_request_fails() {
    let suite = Suite::shared();
    let (namespace, document) = oidc_proxy::own(suite, "corp");
    let kubeconfig = oidc_proxy::kubeconfig(&suite.admin, &document, suite.directory());
    let client = suite.traffic_of("alice", &kubeconfig, Kubectl::WebSocket);
    let mut traffic = Traffic::start(client, suite.namespace());
    for protocol in [Protocol::Http2, Protocol::Http1] {
        let kept = Kept::start(suite, "alice", &kubeconfig, protocol, suite.namespace());
        traffic.keep(kept);
    }
    traffic.some_more("before", 3);
    let before = pods(suite, &namespace.name);
    assert_eq!(before.len(), 2, "{before:?}");
    for pod in &before {
        let others = before.iter().find(|other| *other != pod).unwrap();
        until_true("the budget's leave", MOVED, || {
            allowed(suite, &namespace.name) == 1
        });
        let evicted = evict(suite, &namespace.name, pod);
        assert_eq!(evicted.code, Some(0), "{evicted}");
        if pods(suite, &namespace.name).contains(others) && allowed(suite, &namespace.name) == 0 {
            let refused = evict(suite, &namespace.name, others);
            assert!(refused.stderr.contains("disruption budget"), "{refused}");
        }
        until("another pod in its place", MOVED, || {
            let now = pods(suite, &namespace.name);
            (now.len() == 2 && !now.contains(pod)).then_some(())
        });
        traffic.some_more("after an eviction", 3);
    }
    oidc_proxy::wait_ready(&suite.admin, &document);
    traffic.some_more("on other pods", 3);
    traffic.finish("two evictions");
}
