//! The NetworkPolicy on a cluster that enforces it.

use std::time::Duration;

use oidcproxy_e2e::{namespace::Namespace, oidc_proxy, suite::Suite, wait::until_true};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_mins(1);

#[test]
fn other_pods_reach_the_serving_port_and_nothing_else() {
    let suite = Suite::shared();
    let namespace = Namespace::new(&suite.admin);
    client_pod(suite, &namespace.name, "client");
    let pod = &proxies(suite, suite.namespace())[0];
    let address = pod["status"]["podIP"].as_str().unwrap();
    let service = suite
        .admin
        .json(&["-n", suite.namespace(), "get", "service", "corp"]);
    let service = service["spec"]["clusterIP"].as_str().unwrap();
    assert!(
        reaches(suite, &namespace.name, "client", service, 443),
        "the Service"
    );
    assert!(
        reaches(suite, &namespace.name, "client", address, 6443),
        "the serving port"
    );
    assert!(
        !reaches(suite, &namespace.name, "client", address, 8080),
        "the admin port"
    );
}

#[test]
fn the_proxy_reaches_no_other_ports_of_the_cluster() {
    let suite = Suite::shared();
    let pod = &proxies(suite, suite.namespace())[0];
    let proxy = pod["metadata"]["name"].as_str().unwrap();
    let target = suite
        .admin
        .json(&["-n", suite.namespace(), "get", "pod", "target"]);
    let target = target["status"]["podIP"].as_str().unwrap();
    let connects =
        |address: &str, port: &str| connects(suite, suite.namespace(), proxy, address, port);
    let api = ["-n", "default", "get", "service", "kubernetes"];
    let api = suite.admin.json(&api)["spec"]["clusterIP"].clone();
    assert!(connects(api.as_str().unwrap(), "443"), "the API server");
    assert!(!connects(target, "8080"), "another pod's port");
    // It is the policy that keeps it away: the port is open to others.
    let namespace = Namespace::new(&suite.admin);
    client_pod(suite, &namespace.name, "client");
    assert!(reaches(suite, &namespace.name, "client", target, 8080));
}

#[test]
fn a_policy_lets_in_who_is_named_and_out_to_what_is_named() {
    let suite = Suite::shared();
    let peer = |role: &str| json!({"podSelector": {"matchLabels": {"role": role}}});
    let issuer = suite.environment.get("ISSUER_URL");
    let port: u16 = issuer
        .split([':', '/'])
        .find_map(|part| part.parse().ok())
        .unwrap_or(443);
    let host = format!("{}/32", suite.environment.get("HOST_IP"));
    // Ready says that the operator gets in, and the proxies out to the API server.
    let (namespace, mut document) = oidc_proxy::own_with(suite, "corp", |spec| {
        spec["networkPolicy"] = json!({
            "from": [peer("user")], "metricsFrom": [peer("scraper")],
            "egress": {"mode": "Strict", "rules": [
                {"to": [{"ipBlock": {"cidr": host}}], "ports": [{"port": port, "protocol": "TCP"}]},
            ]},
        });
    });
    let name = namespace.name.as_str();
    oidc_proxy::until_condition(
        &suite.admin,
        &document,
        "IssuersReachable",
        ("True", "Reachable"),
    );
    for role in ["user", "scraper", "stranger"] {
        client_pod(suite, name, role);
    }
    let pod = &proxies(suite, name)[0];
    let proxy = pod["metadata"]["name"].as_str().unwrap();
    let address = pod["status"]["podIP"].as_str().unwrap();
    for (role, serving, metrics) in [
        ("user", true, false),
        ("scraper", false, true),
        ("stranger", false, false),
    ] {
        let found = [6443, 8080].map(|port| reaches(suite, name, role, address, port));
        assert_eq!(found, [serving, metrics], "{role}");
    }

    // The issuer's port, at an address that is not the issuer's.
    let listener = format!("httpd -f -p {port} -h /tmp");
    let exec = ["-n", name, "exec", "stranger", "--"];
    let listening = suite
        .admin
        .start(&[&exec[..], &["sh", "-c", &listener]].concat());
    let stranger = suite.admin.json(&["-n", name, "get", "pod", "stranger"]);
    let stranger = stranger["status"]["podIP"].as_str().unwrap();
    until_true("the listener", SOON, || {
        reaches(suite, name, "user", stranger, port)
    });
    let number = port.to_string();
    assert!(connects(
        suite,
        name,
        proxy,
        host.trim_end_matches("/32"),
        &number
    ));
    assert!(!connects(suite, name, proxy, stranger, &number), "Strict");
    document["spec"]["networkPolicy"]["egress"] = json!({"mode": "Ports"});
    assert_eq!(suite.admin.apply(&document).code, Some(0));
    until_true("the way out by port", SOON, || {
        connects(suite, name, proxy, stranger, &number)
    });
    drop(listening);
}

/// Whether a proxy's pod gets a connection.
fn connects(suite: &Suite, namespace: &str, proxy: &str, address: &str, port: &str) -> bool {
    let command = format!("timeout 3 bash -c 'exec 3<>/dev/tcp/{address}/{port}'");
    let exec = ["-n", namespace, "exec", proxy, "--", "bash", "-c", &command];
    suite.admin.run(&exec).code == Some(0)
}

fn proxies(suite: &Suite, namespace: &str) -> Vec<Value> {
    let selector = "app.kubernetes.io/name=oidc-proxy,app.kubernetes.io/instance=corp";
    let list = suite
        .admin
        .json(&["-n", namespace, "get", "pods", "-l", selector]);
    list["items"].as_array().unwrap().clone()
}

/// A pod that stays, called by its role.
fn client_pod(suite: &Suite, namespace: &str, role: &str) {
    let document = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": role, "namespace": namespace, "labels": {"role": role}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "main", "image": suite.environment.get("TOOLS_IMAGE"), "imagePullPolicy": "IfNotPresent",
                "command": ["sleep", "infinity"],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    });
    let output = suite.admin.apply(&document);
    assert_eq!(output.code, Some(0), "{output}");
    suite.admin.ok(&[
        "-n",
        namespace,
        "wait",
        &format!("pod/{role}"),
        "--for=condition=Ready",
        "--timeout=60s",
    ]);
}

fn reaches(suite: &Suite, namespace: &str, pod: &str, address: &str, port: u16) -> bool {
    let port = port.to_string();
    let nc = ["nc", "-w", "3", address, &port, "-e", "true"];
    let exec = ["-n", namespace, "exec", pod, "--"];
    suite.admin.run(&[&exec[..], &nc].concat()).code == Some(0)
}
