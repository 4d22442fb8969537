//! Programs that are not kubectl: client libraries of three languages, and Helm.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use oidcproxy_e2e::{
    client::Client,
    environment::repository,
    suite::{
        Kubectl::{self, Spdy, WebSocket},
        Suite,
    },
    user,
};
use oidcproxy_tests::jose::random_hex;

/// Longer than load balancers and proxies mostly wait.
const IDLE: Duration = Duration::from_mins(3);

/// alice's kubeconfig with the token in it, as programs read it by themselves.
fn kubeconfig(suite: &Suite) -> PathBuf {
    let path = suite.directory().join(format!("alice-{}", random_hex(4)));
    std::fs::copy(suite.kubeconfig(), &path).unwrap();
    let kubectl = Client::new(suite.environment.get("KUBECTL"), &path);
    let token = format!("--token={}", user::token("alice"));
    kubectl.ok(&["config", "set-credentials", "alice", &token]);
    kubectl.ok(&["config", "set-context", "--current", "--user=alice"]);
    path
}

/// Runs a program of `e2e-kind/other-clients`: it lists, watches and executes, and says so.
fn run(folder: &str, program: impl AsRef<Path>, arguments: &[&str]) {
    let suite = Suite::shared();
    let name = format!("client-{}", random_hex(4));
    let output = Command::new("timeout")
        .arg("180")
        .arg(program.as_ref())
        .args(arguments)
        .args([suite.namespace(), &name])
        .current_dir(installed(folder))
        .env("KUBECONFIG", kubeconfig(suite))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{folder}: {said}\n{errors}");
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(
        lines,
        [
            "list: the pod is there",
            "watch: ADDED DELETED",
            "exec: input, output and exit code"
        ],
        "{errors}"
    );
    let requests = suite.access_lines(&name);
    let by_alice = |line: &String| line.contains("AuSuccess") && line.contains("corp:alice");
    assert!(requests.iter().all(by_alice), "{requests:?}");
    assert!(
        requests.iter().any(|line| line.contains("/exec?")),
        "{requests:?}"
    );
}

fn installed(folder: &str) -> PathBuf {
    let root = std::env::var_os("OTHER_CLIENTS")
        .expect("OTHER_CLIENTS is not set: run `make test-cluster` or `make test-clients`");
    Path::new(&root).join(folder)
}

#[test]
fn python_lists_watches_and_executes() {
    run(
        "python",
        installed("python").join("venv/bin/python"),
        &["client.py"],
    );
}

#[test]
fn javascript_lists_watches_and_executes() {
    run("javascript", "node", &["client.mjs"]);
}

#[test]
fn java_lists_watches_and_executes() {
    run(
        "java",
        "java",
        &["-XX:TieredStopAtLevel=1", "-cp", "lib/*:classes", "Client"],
    );
}

#[test]
fn helm_4_installs_and_upgrades() {
    helm("HELM");
}

#[test]
fn helm_3_installs_and_upgrades() {
    helm("HELM3");
}

fn helm(program: &str) {
    let suite = Suite::shared();
    let helm = Client::new(suite.environment.get(program), kubeconfig(suite));
    let chart = repository()
        .join("e2e-kind/tests/data/chart")
        .display()
        .to_string();
    let (release, namespace) = (format!("notes-{}", random_hex(3)), suite.namespace());
    helm.ok(&[
        "install",
        &release,
        &chart,
        "-n",
        namespace,
        "--wait",
        "--timeout",
        "2m",
    ]);
    helm.ok(&[
        "upgrade",
        &release,
        &chart,
        "-n",
        namespace,
        "--wait",
        "--timeout",
        "2m",
        "--set",
        "text=second",
    ]);
    let text = [
        "-n",
        namespace,
        "get",
        "configmap",
        &release,
        "-o",
        "jsonpath={.data.text}",
    ];
    assert_eq!(suite.admin.ok(&text), "second");
    let history = helm.json(&["history", &release, "-n", namespace]);
    assert_eq!(history.as_array().map(Vec::len), Some(2), "{history}");
    helm.ok(&["uninstall", &release, "-n", namespace, "--wait"]);
    suite
        .admin
        .fails(&["-n", namespace, "get", "configmap", &release]);
}

#[test]
#[ignore = "three minutes: make test-all"]
fn an_idle_exec_survives_over_websocket() {
    idle_exec(WebSocket);
}

#[test]
#[ignore = "three minutes: make test-all"]
fn an_idle_exec_survives_over_spdy() {
    idle_exec(Spdy);
}

fn idle_exec(kubectl: Kubectl) {
    let suite = Suite::shared();
    let alice = suite.user(kubectl, "alice");
    let script = "read line; echo first $line; read line; echo second $line";
    let exec = [
        "exec", "target", "-c", "main", "-i", "--", "sh", "-c", script,
    ];
    let mut session = alice.start(&[&["-n", suite.namespace()], &exec[..]].concat());
    session.write(b"a\n");
    session.until_prints("first a", Duration::from_mins(1));
    std::thread::sleep(IDLE);
    session.write(b"b\n");
    session.until_prints("second b", Duration::from_mins(1));
    let output = session.finish(Duration::from_mins(1));
    assert_eq!(output.code, Some(0), "{output}");
}
