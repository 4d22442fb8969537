//! What kubectl can do to an API server it can do through the proxy, over WebSocket and SPDY.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use oidcproxy_e2e::{
    suite::{
        Kubectl::{self, Spdy, WebSocket},
        Suite,
    },
    wait::until,
};
use oidcproxy_tests::jose::random_hex;
use serde_json::json;

const SOON: Duration = Duration::from_mins(1);

/// Each promise is kept for both generations of kubectl.
macro_rules! with_both {
    ($($name:ident),* $(,)?) => {
        mod websocket { $(#[test] fn $name() { super::$name(super::WebSocket); })* }
        mod spdy { $(#[test] fn $name() { super::$name(super::Spdy); })* }
    };
}

with_both!(
    whoami_is_the_tokens_user,
    objects_are_created_read_changed_and_deleted,
    a_watch_tells_of_changes_at_once,
    logs_are_followed,
    exec_carries_input_output_and_exit_code,
    files_are_copied_both_ways,
    attach_reaches_a_running_process,
    ports_are_forwarded,
);

fn whoami_is_the_tokens_user(kubectl: Kubectl) {
    let alice = Suite::shared().user(kubectl, "alice");
    let me = alice.json(&["auth", "whoami"]);
    let user = &me["status"]["userInfo"];
    assert_eq!(user["username"], "corp:alice", "{me}");
    let mut groups: Vec<_> = user["groups"].as_array().unwrap().iter().collect();
    groups.sort_by_key(ToString::to_string);
    assert_eq!(groups, ["corp:dev", "corp:ops", "system:authenticated"]);
}

fn objects_are_created_read_changed_and_deleted(kubectl: Kubectl) {
    let suite = Suite::shared();
    let alice = suite.user(kubectl, "alice");
    let name = format!("note-{}", random_hex(3));
    let namespaced =
        |arguments: &[&str]| alice.ok(&[&["-n", suite.namespace()], arguments].concat());
    namespaced(&["create", "configmap", &name, "--from-literal=a=1"]);
    assert_eq!(
        namespaced(&["get", "configmap", &name, "-o", "jsonpath={.data.a}"]),
        "1"
    );
    namespaced(&[
        "patch",
        "configmap",
        &name,
        "--patch",
        r#"{"data":{"a":"2"}}"#,
    ]);
    let listed = namespaced(&[
        "get",
        "configmaps",
        "-o",
        "jsonpath={.items[*].metadata.name}",
    ]);
    assert!(listed.split(' ').any(|listed| listed == name), "{listed}");
    let yaml =
        namespaced(&["get", "configmap", &name, "-o", "yaml"]).replace("a: \"2\"", "a: \"3\"");
    alice.ok_with(
        &[
            "-n",
            suite.namespace(),
            "apply",
            "--server-side",
            "--force-conflicts",
            "-f",
            "-",
        ],
        strip_managed(&yaml).as_bytes(),
    );
    assert_eq!(
        namespaced(&["get", "configmap", &name, "-o", "jsonpath={.data.a}"]),
        "3"
    );
    // By the client: it compares with what it wrote down at its last apply, and patches.
    for value in ["4", "5"] {
        let document = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": suite.namespace()},
            "data": {"a": value},
        });
        let applied = alice.apply(&document);
        assert_eq!(applied.code, Some(0), "{applied}");
    }
    assert_eq!(
        namespaced(&["get", "configmap", &name, "-o", "jsonpath={.data.a}"]),
        "5"
    );
    namespaced(&["delete", "configmap", &name]);
    let gone = alice.fails(&["-n", suite.namespace(), "get", "configmap", &name]);
    assert!(gone.contains("NotFound"), "{gone}");
}

/// A server-side apply wants no `managedFields`, and kubectl does not print them.
fn strip_managed(yaml: &str) -> String {
    let unwanted = ["resourceVersion:", "uid:", "creationTimestamp:"];
    let keep = |line: &&str| {
        !unwanted
            .iter()
            .any(|field| line.trim_start().starts_with(field))
    };
    yaml.lines().filter(keep).collect::<Vec<_>>().join("\n")
}

fn a_watch_tells_of_changes_at_once(kubectl: Kubectl) {
    let suite = Suite::shared();
    let alice = suite.user(kubectl, "alice");
    let name = format!("seen-{}", random_hex(3));
    let watch = alice.start(&["-n", suite.namespace(), "get", "configmaps", "--watch-only"]);
    // Its first event is one that comes after it has begun.
    std::thread::sleep(Duration::from_secs(2));
    suite
        .admin
        .ok(&["-n", suite.namespace(), "create", "configmap", &name]);
    watch.until_prints(&name, Duration::from_secs(20));
    suite
        .admin
        .ok(&["-n", suite.namespace(), "delete", "configmap", &name]);
}

fn logs_are_followed(kubectl: Kubectl) {
    let suite = Suite::shared();
    let alice = suite.user(kubectl, "alice");
    let logs = alice.start(&[
        "-n",
        suite.namespace(),
        "logs",
        "target",
        "-c",
        "main",
        "-f",
        "--tail=1",
    ]);
    let first = logs.until_prints("tick ", SOON);
    let number: u32 = first.trim().rsplit(' ').next().unwrap().parse().unwrap();
    logs.until_prints(&format!("tick {}\n", number + 2), Duration::from_secs(20));
}

fn exec_carries_input_output_and_exit_code(kubectl: Kubectl) {
    let suite = Suite::shared();
    let alice = suite.user(kubectl, "alice");
    let marker = format!("marker-{}", random_hex(6));
    let exec = [
        "-n",
        suite.namespace(),
        "exec",
        "target",
        "-c",
        "main",
        "-i",
        "--",
    ];
    let big = "0123456789abcdef\n".repeat(20_000);
    // The input's end must get through while the output goes on.
    let counted = alice.ok_with(
        &[&exec[..], &["sh", "-c", "wc -c; echo done"]].concat(),
        big.as_bytes(),
    );
    assert_eq!(
        counted.split_whitespace().collect::<Vec<_>>(),
        ["340000", "done"]
    );
    let failed = alice.run(&[&exec[..], &["sh", "-c", "echo out; echo err >&2; exit 7"]].concat());
    assert_eq!(
        (failed.code, failed.stdout.trim()),
        (Some(7), "out"),
        "{failed}"
    );
    assert!(failed.stderr.contains("err"), "{failed}");
    let kind = match kubectl {
        WebSocket => "websocket",
        Spdy => "spdy",
    };
    let before = suite.streams(kind);
    alice.ok(&[&exec[..], &["echo", &marker]].concat());
    assert!(suite.streams(kind) > before, "it was no {kind} stream");
    // kubectl falls back to SPDY when WebSocket fails, which would be a second request.
    let lines = until("the access line", SOON, || {
        let lines = suite.access_lines(&marker);
        (!lines.is_empty()).then_some(lines)
    });
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains("AuSuccess") && lines[0].contains("inbound:[corp:alice / "),
        "{lines:?}"
    );
}

fn files_are_copied_both_ways(kubectl: Kubectl) {
    let suite = Suite::shared();
    let alice = suite.user(kubectl, "alice");
    let name = random_hex(6);
    let (there, back) = (
        suite.directory().join(&name),
        suite.directory().join(format!("{name}-back")),
    );
    let content = random_hex(200_000);
    std::fs::write(&there, &content).unwrap();
    let remote = format!("{}/target:/tmp/{name}", suite.namespace());
    alice.ok(&["cp", "-c", "main", there.to_str().unwrap(), &remote]);
    alice.ok(&["cp", "-c", "main", &remote, back.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(back).unwrap(), content);
}

fn attach_reaches_a_running_process(kubectl: Kubectl) {
    let suite = Suite::shared();
    let alice = suite.user(kubectl, "alice");
    let word = random_hex(4);
    let mut attach = alice.start(&[
        "-n",
        suite.namespace(),
        "attach",
        "target",
        "-c",
        "echo",
        "-i",
    ]);
    // What is written before the stream is there waits in the pipe.
    attach.write(format!("{word}\n").as_bytes());
    attach.until_prints(&format!("echo: {word}"), SOON);
}

fn ports_are_forwarded(kubectl: Kubectl) {
    let suite = Suite::shared();
    let alice = suite.user(kubectl, "alice");
    let forward = alice.start(&[
        "-n",
        suite.namespace(),
        "port-forward",
        "pod/target",
        ":8080",
    ]);
    let printed = forward.until_prints("Forwarding from 127.0.0.1:", SOON);
    let port: u16 = printed
        .split("127.0.0.1:")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .and_then(|port| port.parse().ok())
        .unwrap_or_else(|| panic!("{printed}"));
    for _ in 0..3 {
        let mut connection = TcpStream::connect(("127.0.0.1", port)).unwrap();
        connection.set_read_timeout(Some(SOON)).unwrap();
        connection
            .write_all(b"GET /hello HTTP/1.0\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("hello from the pod\n"), "{answer}");
    }
}
