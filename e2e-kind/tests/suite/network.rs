//! The NetworkPolicy on a cluster that enforces it.

use oidcproxy_e2e::{namespace::Namespace, suite::Suite};
use serde_json::{Value, json};

#[test]
fn other_pods_reach_the_serving_port_and_nothing_else() {
    let suite = Suite::shared();
    let namespace = Namespace::new(&suite.admin);
    client_pod(suite, &namespace.name);
    let pod = &proxies(suite)[0];
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
    let pod = &proxies(suite)[0];
    let proxy = pod["metadata"]["name"].as_str().unwrap();
    let target = suite
        .admin
        .json(&["-n", suite.namespace(), "get", "pod", "target"]);
    let target = target["status"]["podIP"].as_str().unwrap();
    let connects = |address: &str, port: &str| {
        let command = format!("timeout 3 bash -c 'exec 3<>/dev/tcp/{address}/{port}'");
        let exec = [
            "-n",
            suite.namespace(),
            "exec",
            proxy,
            "--",
            "bash",
            "-c",
            &command,
        ];
        suite.admin.run(&exec).code == Some(0)
    };
    assert!(connects("10.96.0.1", "443"), "the API server");
    assert!(!connects(target, "8080"), "another pod's port");
    // It is the policy that keeps it away: the port is open to others.
    let namespace = Namespace::new(&suite.admin);
    client_pod(suite, &namespace.name);
    assert!(reaches(suite, &namespace.name, "client", target, 8080));
}

fn proxies(suite: &Suite) -> Vec<Value> {
    let selector = "app.kubernetes.io/name=oidc-proxy,app.kubernetes.io/instance=corp";
    let list = suite
        .admin
        .json(&["-n", suite.namespace(), "get", "pods", "-l", selector]);
    list["items"].as_array().unwrap().clone()
}

fn client_pod(suite: &Suite, namespace: &str) {
    let document = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "client", "namespace": namespace},
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
        "pod/client",
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
