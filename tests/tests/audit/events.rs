//! What is recorded of a request.

use http::Method;
use oidcproxy_tests::{
    api_server::{Answer, Events, Upgrade},
    bed::Bed,
    client::{Call, Protocol},
};
use serde_json::{Value, json};

use super::{EVERYTHING, Files, is_event};

const PODS: &str = "/api/v1/namespaces/web/pods";

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
