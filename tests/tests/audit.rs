//! Audit events of `audit.k8s.io/v1`: what is recorded, where it goes, and what happens when it
//! cannot go there.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::{path::PathBuf, time::Duration};

use http::Method;
use oidcproxy_tests::{
    api_server::{Answer, Events, Upgrade},
    bed::Bed,
    client::{Call, Protocol},
    webhook::FakeWebhook,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

const PODS: &str = "/api/v1/namespaces/web/pods";
const EVERYTHING: &str = "- level: Metadata";

/// Files beside the proxy's own.
struct Files(TempDir);

impl Files {
    fn with_policy(rules: &str) -> Self {
        let this = Self(tempfile::tempdir().unwrap());
        this.write("policy.yaml", &policy(rules));
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn flag(&self, flag: &str, name: &str) -> String {
        format!("--audit-{flag}={}", self.path(name).display())
    }
}

fn policy(rules: &str) -> String {
    format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n{rules}\n")
}

/// A proxy that writes events to standard output.
async fn bed(rules: &str) -> (Bed, Files) {
    let files = Files::with_policy(rules);
    let bed = Bed::with(|setup, _| {
        setup
            .flag(files.flag("policy-file", "policy.yaml"))
            .flag("--audit-log-path=-")
    })
    .await;
    (bed, files)
}

fn is_event(line: &str) -> bool {
    line.contains("\"kind\":\"Event\"")
}

/// Waits for the event of this stage and target.
async fn event(bed: &Bed, stage: &str, target: &str) -> Value {
    let (stage, uri) = (
        format!("\"stage\":\"{stage}\""),
        format!("\"requestURI\":\"{target}\""),
    );
    let matches = |line: &str| is_event(line) && line.contains(&stage) && line.contains(&uri);
    let line = bed.proxy.process.stdout.wait(target, matches).await;
    serde_json::from_str(&line.unwrap_or_else(|error| panic!("{error:#}"))).unwrap()
}

/// The stages of this target so far.
fn stages(bed: &Bed, target: &str) -> Vec<String> {
    let lines = bed.proxy.access_lines();
    let events = lines.iter().filter(|line| is_event(line));
    events
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["requestURI"] == target)
        .map(|event| event["stage"].as_str().unwrap().to_owned())
        .collect()
}

/// Waits until something is lost, and says how much.
async fn lost(bed: &Bed, labels: &str) -> u64 {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let metrics = bed.proxy.probe("/metrics").await.unwrap();
        let text = String::from_utf8_lossy(&metrics.body).into_owned();
        let name = format!("oidc_proxy_audit_events_lost_total{{{labels}}} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&name));
        if let Some(value) = value.filter(|value| *value != "0") {
            return value.parse().unwrap();
        }
        assert!(Instant::now() < deadline, "{text}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn events_are_those_of_audit_k8s_io() {
    let (bed, _files) = bed(EVERYTHING).await;
    for protocol in Protocol::BOTH {
        let target = format!("{PODS}/a?{protocol:?}");
        let call = Call::get(&target)
            .bearer(&bed.token("jane", &["dev"]))
            .header("x-forwarded-for", "203.0.113.9")
            .header("user-agent", "kubectl/v1.36.3");
        let reply = bed.send(protocol, call).await;
        reply.assert_status(200);
        let mut received = event(&bed, "RequestReceived", &target).await;
        let mut complete = event(&bed, "ResponseComplete", &target).await;
        assert_eq!(received["auditID"].as_str(), reply.header("audit-id"));
        assert_eq!(
            received["stageTimestamp"],
            received["requestReceivedTimestamp"]
        );
        let mut expected = json!({
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": "Metadata",
            "auditID": received["auditID"],
            "stage": "RequestReceived",
            "requestURI": target,
            "verb": "get",
            "user": {"username": "jane", "groups": ["dev", "system:authenticated"]},
            "sourceIPs": ["127.0.0.1"],
            "userAgent": "kubectl/v1.36.3",
            "objectRef": {"resource": "pods", "namespace": "web", "name": "a", "apiVersion": "v1"},
        });
        for event in [&mut received, &mut complete] {
            for time in ["requestReceivedTimestamp", "stageTimestamp"] {
                let time = event.as_object_mut().unwrap().remove(time).unwrap();
                assert_eq!(time.as_str().unwrap().len(), 27, "{time}");
            }
        }
        assert_eq!(received, expected);
        expected["stage"] = json!("ResponseComplete");
        expected["responseStatus"] = json!({"metadata": {}, "code": 200});
        assert_eq!(complete, expected);
        assert_eq!(stages(&bed, &target).len(), 2);
    }
}

#[tokio::test]
async fn refusals_are_recorded() {
    let (bed, _files) = bed(EVERYTHING).await;
    bed.send(Protocol::H1, Call::get("/api/none"))
        .await
        .assert_refusal(401);
    let found = event(&bed, "ResponseStarted", "/api/none").await;
    assert_eq!(found["user"], json!({}));
    assert_eq!(found["responseStatus"]["code"], 401);
    assert_eq!(
        found["annotations"]["oidcproxy.dev/reason"],
        "no credential"
    );
    let expired = bed.issuer.sign(&bed.issuer.claims("jane").expires_in(-5));
    let call = Call::get("/api/expired").bearer(&expired);
    bed.send(Protocol::H2, call).await.assert_refusal(401);
    let found = event(&bed, "ResponseStarted", "/api/expired").await;
    assert_eq!(
        found["annotations"]["oidcproxy.dev/reason"],
        "token is expired"
    );

    let call = Call::get(PODS)
        .bearer(&bed.token("jane", &["dev"]))
        .header("impersonate-user", "bob");
    bed.send(Protocol::H1, call).await.assert_refusal(403);
    let found = event(&bed, "ResponseComplete", PODS).await;
    assert_eq!(found["user"]["username"], "jane");
    assert!(found.get("impersonatedUser").is_none());
    let status = &found["responseStatus"];
    assert_eq!(
        (&status["code"], &status["status"], &status["reason"]),
        (&json!(403), &json!("Failure"), &json!("Forbidden"))
    );
    let message = status["message"].as_str().unwrap();
    assert!(message.contains("cannot impersonate"), "{message}");

    let reserved = bed.token("jane", &["system:masters"]);
    let call = Call::get("/api/reserved").bearer(&reserved);
    bed.send(Protocol::H2, call).await.assert_refusal(403);
    let found = event(&bed, "ResponseComplete", "/api/reserved").await;
    assert_eq!(found["responseStatus"]["code"], 403);
    for target in ["/api/none", "/api/expired"] {
        assert_eq!(stages(&bed, target), ["ResponseStarted"]);
    }
    for target in [PODS, "/api/reserved"] {
        assert_eq!(
            stages(&bed, target),
            ["RequestReceived", "ResponseComplete"]
        );
    }
}

#[tokio::test]
async fn the_impersonated_user_is_recorded_beside_the_real_one() {
    let (bed, _files) = bed(EVERYTHING).await;
    bed.api
        .reviews()
        .allow("jane", json!({"verb": "impersonate"}));
    let call = Call::get("/acting")
        .bearer(&bed.token("jane", &["dev"]))
        .header("impersonate-user", "bob")
        .header("impersonate-group", "ops");
    bed.send(Protocol::H1, call).await.assert_status(200);
    let found = event(&bed, "ResponseComplete", "/acting").await;
    assert_eq!(found["user"]["username"], "jane");
    assert_eq!(found["impersonatedUser"]["username"], "bob");
    assert_eq!(found["impersonatedUser"]["groups"][0], "ops");
    let received = event(&bed, "RequestReceived", "/acting").await;
    assert!(received.get("impersonatedUser").is_none());
}

#[tokio::test]
async fn streams_are_recorded_when_they_start() {
    let (bed, _files) = bed(EVERYTHING).await;
    let events = Events::default();
    bed.api.answer(PODS, Answer::Watch(events.clone()));
    let exec = "/api/v1/namespaces/web/pods/a/exec?command=id";
    bed.api.answer(
        "/api/v1/namespaces/web/pods/a/exec",
        Answer::Upgrade(Upgrade::default()),
    );
    let token = bed.token("jane", &[]);
    let watch = format!("{PODS}?watch=1");
    let call = Call::get(&watch).bearer(&token);
    let mut stream = bed.client.stream(Protocol::H2, call).await.unwrap();
    let started = event(&bed, "ResponseStarted", &watch).await;
    assert_eq!(
        (&started["verb"], &started["responseStatus"]["code"]),
        (&json!("watch"), &json!(200))
    );
    let bearer = format!("Authorization: Bearer {token}");
    let mut raw = bed.client.raw().await.unwrap();
    let lines = [&*bearer, "Connection: Upgrade", "Upgrade: SPDY/3.1"];
    raw.request(&format!("POST {exec}"), &lines).await.unwrap();
    assert_eq!(raw.head().await.unwrap().status, 101);
    let started = event(&bed, "ResponseStarted", exec).await;
    assert_eq!(started["objectRef"]["subresource"], "exec");
    assert_eq!(started["responseStatus"]["code"], 101);
    assert_eq!(stages(&bed, exec).len(), 2);
    events.end();
    while stream.next().await.unwrap().is_some() {}
    drop(raw);
    for target in [&*watch, exec] {
        event(&bed, "ResponseComplete", target).await;
        let all = ["RequestReceived", "ResponseStarted", "ResponseComplete"];
        assert_eq!(stages(&bed, target), all);
    }
}

#[tokio::test]
async fn the_policy_decides() {
    let rules = "- {level: None, users: [quiet]}
- {level: Metadata, verbs: [get], resources: [{resources: ['pods/*']}], omitStages: [RequestReceived]}
- {level: None, nonResourceURLs: ['/apis*']}
- {level: Metadata, userGroups: [dev]}";
    let (bed, _files) = bed(rules).await;
    let pod = "/api/v1/namespaces/web/pods/a/status";
    for (user, group, target) in [
        ("quiet", "dev", "/quiet"),
        ("jane", "ops", pod),
        ("jane", "dev", "/apis/x"),
        ("jane", "ops", "/ops"),
        ("jane", "dev", "/dev"),
    ] {
        let call = Call::get(target).bearer(&bed.token(user, &[group]));
        bed.send(Protocol::H1, call).await.assert_status(200);
    }
    event(&bed, "ResponseComplete", "/dev").await;
    assert_eq!(stages(&bed, pod), ["ResponseComplete"]);
    for target in ["/quiet", "/apis/x", "/ops"] {
        assert_eq!(stages(&bed, target), Vec::<String>::new(), "{target}");
    }
}

#[tokio::test]
async fn bodies_are_recorded_up_to_a_bound() {
    let rules = "- {level: Request, users: [half], omitManagedFields: true}
- {level: RequestResponse}";
    let (bed, _files) = bed(rules).await;
    let object = json!({"kind": "ConfigMap", "metadata": {"name": "a", "managedFields": [{"manager": "kubectl"}]}});
    bed.api.answer(
        "/api/v1/namespaces/web/configmaps",
        Answer::Json(201, object.clone()),
    );
    for (user, target) in [
        ("half", "/api/v1/namespaces/web/configmaps?half"),
        ("jane", "/api/v1/namespaces/web/configmaps?full"),
    ] {
        let call = Call::new(Method::POST, target)
            .bearer(&bed.token(user, &[]))
            .header("content-type", "application/json")
            .body(object.to_string());
        let reply = bed.send(Protocol::H2, call).await;
        assert_eq!(reply.json(), object);
        let found = event(&bed, "ResponseComplete", target).await;
        if user == "half" {
            let slim = json!({"kind": "ConfigMap", "metadata": {"name": "a"}});
            assert_eq!(found["requestObject"], slim);
            assert!(found.get("responseObject").is_none());
        } else {
            assert_eq!(found["requestObject"], object);
            assert_eq!(found["responseObject"], object);
        }
    }
    let target = "/api/v1/namespaces/web/configmaps?large";
    let large = json!({"data": "x".repeat(300_000)}).to_string();
    let call = Call::new(Method::POST, target)
        .bearer(&bed.token("jane", &[]))
        .body(large.clone());
    bed.send(Protocol::H1, call).await.assert_status(201);
    let forwarded = bed
        .api
        .wait_request(|request| request.target == target)
        .await
        .unwrap();
    assert_eq!(forwarded.body, large.as_bytes());
    let found = event(&bed, "ResponseComplete", target).await;
    assert!(found.get("requestObject").is_none());
    assert_eq!(
        found["annotations"]["oidcproxy.dev/request-object-omitted"],
        "it is too large"
    );
}

#[tokio::test]
async fn the_log_is_rotated() {
    let files = Files::with_policy("- {level: Request}");
    let bed = Bed::with(|setup, _| {
        setup
            .flag(files.flag("policy-file", "policy.yaml"))
            .flag(files.flag("log-path", "log/audit.log"))
            .flag("--audit-log-maxsize=1")
            .flag("--audit-log-maxbackup=2")
    })
    .await;
    let token = bed.token("jane", &[]);
    let body = json!({"data": "x".repeat(250_000)}).to_string();
    let mut connection = bed.connect(Protocol::H1).await;
    for n in 0..20 {
        let call = Call::new(
            Method::POST,
            &format!("/api/v1/namespaces/web/configmaps?n={n}"),
        )
        .bearer(&token)
        .body(body.clone());
        connection.send(call).await.unwrap().assert_status(200);
    }
    let last = |text: &str| text.contains("configmaps?n=19") && text.contains("ResponseComplete");
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        // While it is put aside there is none.
        let text = std::fs::read_to_string(files.path("log/audit.log")).unwrap_or_default();
        if text.lines().any(last) {
            break;
        }
        assert!(Instant::now() < deadline, "{}", text.len());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let entries = std::fs::read_dir(files.path("log")).unwrap();
    let paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(paths.len(), 3, "{paths:?}");
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.len() <= 1024 * 1024, "{}", text.len());
        for line in text.lines() {
            serde_json::from_str::<Value>(line).unwrap();
        }
    }
    assert!(bed.proxy.access_lines().iter().all(|line| !is_event(line)));
}

#[tokio::test]
async fn a_full_disk_holds_up_nobody() {
    let files = Files::with_policy(EVERYTHING);
    let bed = Bed::with(|setup, _| {
        setup
            .flag(files.flag("policy-file", "policy.yaml"))
            .flag("--audit-log-path=/dev/full")
    })
    .await;
    let token = bed.token("jane", &[]);
    bed.get_with(Protocol::H1, &token).await.assert_status(200);
    assert!(lost(&bed, "backend=\"log\",reason=\"error\"").await >= 1);
    bed.get_with(Protocol::H2, &token).await.assert_status(200);
}

async fn bed_with_webhook(webhook: &FakeWebhook, flags: &[&str]) -> (Bed, Files) {
    let files = Files::with_policy(EVERYTHING);
    files.write("webhook.yaml", &webhook.kubeconfig());
    let bed = Bed::with(|setup, _| {
        let setup = setup
            .flag(files.flag("policy-file", "policy.yaml"))
            .flag(files.flag("webhook-config-file", "webhook.yaml"))
            .flag("--audit-webhook-initial-backoff=50ms")
            .flag("--drain-delay=0");
        flags.iter().fold(setup, |setup, flag| setup.flag(*flag))
    })
    .await;
    (bed, files)
}

fn is_complete(target: &'static str) -> impl Fn(&Value) -> bool {
    move |event| event["requestURI"] == target && event["stage"] == "ResponseComplete"
}

#[tokio::test]
async fn a_webhook_gets_batches() {
    let webhook = FakeWebhook::start().await.unwrap();
    let (bed, _files) = bed_with_webhook(
        &webhook,
        &[
            "--audit-webhook-batch-max-wait=1s",
            "--audit-webhook-batch-max-size=4",
        ],
    )
    .await;
    let token = bed.token("jane", &["dev"]);
    let mut connection = bed.connect(Protocol::H2).await;
    for n in 0..5 {
        let call = Call::get(&format!("/batch?n={n}")).bearer(&token);
        connection.send(call).await.unwrap().assert_status(200);
    }
    let found = webhook.event(is_complete("/batch?n=4")).await.unwrap();
    assert_eq!(found["user"]["username"], "jane");
    assert_eq!(found["apiVersion"], "audit.k8s.io/v1");
    let batches = webhook.batches();
    for batch in &batches {
        assert_eq!(
            (&batch["kind"], &batch["apiVersion"]),
            (&json!("EventList"), &json!("audit.k8s.io/v1"))
        );
        assert!(batch["items"].as_array().unwrap().len() <= 4, "{batch}");
    }
    assert_eq!(webhook.events().len(), 10);
    assert!(!bed.proxy.process.output().contains("webhook-secret-token"));
}

#[tokio::test]
async fn a_webhook_that_fails_is_asked_again() {
    let webhook = FakeWebhook::start().await.unwrap();
    webhook.refuse(3);
    let (bed, _files) = bed_with_webhook(&webhook, &["--audit-webhook-batch-max-wait=100ms"]).await;
    let call = Call::get("/again").bearer(&bed.token("jane", &[]));
    bed.send(Protocol::H1, call).await.assert_status(200);
    webhook.event(is_complete("/again")).await.unwrap();
    assert_eq!(webhook.refused(), 3);
}

#[tokio::test]
async fn what_a_webhook_never_takes_is_counted() {
    let webhook = FakeWebhook::start().await.unwrap();
    webhook.refuse(5);
    let (bed, _files) = bed_with_webhook(&webhook, &["--audit-webhook-batch-max-wait=1s"]).await;
    let token = bed.token("jane", &[]);
    let call = Call::get("/lost").bearer(&token);
    bed.send(Protocol::H1, call).await.assert_status(200);
    assert_eq!(lost(&bed, "backend=\"webhook\",reason=\"error\"").await, 2);
    assert_eq!(webhook.events(), Vec::<Value>::new());
    let call = Call::get("/later").bearer(&token);
    bed.send(Protocol::H1, call).await.assert_status(200);
    webhook.event(is_complete("/later")).await.unwrap();
}

#[tokio::test]
async fn a_slow_webhook_holds_up_nobody() {
    let webhook = FakeWebhook::start().await.unwrap();
    webhook.pause(Duration::from_mins(10));
    let (bed, _files) = bed_with_webhook(
        &webhook,
        &[
            "--audit-webhook-batch-max-size=1",
            "--audit-webhook-batch-buffer-size=3",
        ],
    )
    .await;
    let token = bed.token("jane", &[]);
    let mut connection = bed.connect(Protocol::H1).await;
    for n in 0..30 {
        let call = Call::get(&format!("/slow?n={n}")).bearer(&token);
        let sent = tokio::time::timeout(Duration::from_mins(1), connection.send(call));
        sent.await.unwrap().unwrap().assert_status(200);
    }
    // Of 60 events four are on their way, one waits for its turn and three wait behind it.
    let lost = lost(&bed, "backend=\"webhook\",reason=\"full\"").await;
    assert!((40..60).contains(&lost), "{lost}");
}

#[tokio::test]
async fn events_reach_the_webhook_when_the_proxy_leaves() {
    let webhook = FakeWebhook::start().await.unwrap();
    webhook.refuse(1);
    let (mut bed, _files) = bed_with_webhook(&webhook, &[]).await;
    let call = Call::get("/leaving").bearer(&bed.token("jane", &[]));
    bed.send(Protocol::H1, call).await.assert_status(200);
    bed.proxy.terminate().unwrap();
    bed.proxy
        .process
        .wait(Duration::from_mins(1))
        .await
        .unwrap();
    let found = webhook.events();
    assert!(found.iter().any(is_complete("/leaving")), "{found:#?}");
}

#[tokio::test]
async fn wrong_flags_end_the_start_with_one_line() {
    let files = Files::with_policy("- level: Everything");
    files.write("good.yaml", &policy(EVERYTHING));
    files.write("exec.yaml", "apiVersion: v1\nkind: Config\ncurrent-context: a\nclusters: [{name: a, cluster: {server: 'https://127.0.0.1'}}]\nusers: [{name: a, user: {exec: {apiVersion: v1, command: x}}}]\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n");
    let good = files.flag("policy-file", "good.yaml");
    for (flags, message) in [
        (vec![good.clone()], "--audit-policy-file needs"),
        (
            vec!["--audit-log-path=-".to_owned()],
            "need --audit-policy-file",
        ),
        (
            vec![
                files.flag("policy-file", "policy.yaml"),
                "--audit-log-path=-".to_owned(),
            ],
            "--audit-policy-file: rules[0].level: must be",
        ),
        (
            vec![
                files.flag("policy-file", "none.yaml"),
                "--audit-log-path=-".to_owned(),
            ],
            "--audit-policy-file: cannot read",
        ),
        (
            vec![
                good.clone(),
                "--audit-log-path=/proc/none/audit.log".to_owned(),
            ],
            "--audit-log-path: cannot write",
        ),
        (
            vec![good.clone(), files.flag("webhook-config-file", "none.yaml")],
            "--audit-webhook-config-file: ",
        ),
        (
            vec![good, files.flag("webhook-config-file", "exec.yaml")],
            "exec, auth-provider and basic authentication are not supported",
        ),
    ] {
        let started = Bed::try_with(|setup, _| {
            flags
                .iter()
                .fold(setup, |setup, flag| setup.flag(flag.clone()))
        })
        .await;
        let error = format!("{:#}", started.err().expect("it should not start"));
        assert!(error.contains(message), "{message}: {error}");
    }
}
