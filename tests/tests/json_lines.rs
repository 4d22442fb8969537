//! Access lines in the JSON format: what happened to a request, and how it ended.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::time::Duration;

use http::Method;
use oidcproxy_tests::{
    api_server::{Answer, Events, Upgrade},
    bed::Bed,
    client::{Call, Protocol},
};
use serde_json::{Value, json};

async fn bed() -> Bed {
    Bed::with(|setup, _| setup.flag("--log-format=json").flag("--drain-delay=0")).await
}

/// The first line of this event that speaks of this path.
async fn line(bed: &Bed, event: &str, path: &str) -> Value {
    let wanted = format!("\"requestURI\":\"{path}\"");
    let event = format!("\"event\":\"{event}\"");
    let lines = &bed.proxy.process.stdout;
    let line = lines
        .wait(path, |line| line.contains(&event) && line.contains(&wanted))
        .await
        .unwrap_or_else(|error| panic!("{error:#}"));
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn lines_of(bed: &Bed, path: &str) -> Vec<Value> {
    let lines = bed.proxy.access_lines();
    let mut lines: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    lines.retain(|line| line["requestURI"] == path);
    lines
}

/// Takes out what differs each time, after looking at it.
#[track_caller]
fn settled(mut line: Value) -> Value {
    let fields = line.as_object_mut().unwrap();
    let time = fields.remove("time").unwrap();
    let time = time.as_str().unwrap();
    assert!(time.len() == 27 && time.ends_with('Z'), "{time}");
    let id = fields.remove("auditID").unwrap();
    assert_eq!(id.as_str().unwrap().len(), 36, "{id}");
    if let Some(seconds) = fields.remove("durationSeconds") {
        assert!(seconds.as_f64().unwrap() < 60.0, "{seconds}");
    }
    line
}

#[tokio::test]
async fn a_request_is_one_line_when_it_is_over() {
    let bed = bed().await;
    bed.api.answer(
        "/api/v1/pods",
        Answer::Json(200, json!({"kind": "PodList"})),
    );
    let token = bed
        .issuer
        .claims("jane")
        .groups(&["dev"])
        .claim("jti", "t-1");
    let token = bed.issuer.sign(&token);
    for (protocol, path) in Protocol::BOTH
        .into_iter()
        .zip(["/api/v1/pods?limit=500", "/api/v1/pods?limit=5"])
    {
        let call = Call::get(path)
            .bearer(&token)
            .header("user-agent", "kubectl/v1.36.3")
            .header("x-forwarded-for", "203.0.113.9");
        let reply = bed.send(protocol, call).await;
        reply.assert_status(200);
        let found = line(&bed, "completed", path).await;
        assert_eq!(reply.header("audit-id"), found["auditID"].as_str());
        let expected = json!({
            "event": "completed",
            "decision": "AuSuccess",
            "source": {"peer": "127.0.0.1", "forwardedFor": "203.0.113.9"},
            "method": "GET",
            "requestURI": path,
            "verb": "list",
            "userAgent": "kubectl/v1.36.3",
            "user": {
                "username": "jane",
                "groups": ["dev", "system:authenticated"],
                "extra": {"authentication.kubernetes.io/credential-id": ["JTI=t-1"]},
            },
            "status": 200,
            "bytesIn": 0,
            "bytesOut": reply.body.len(),
        });
        assert_eq!(settled(found), expected);
        assert_eq!(lines_of(&bed, path).len(), 1);
    }
}

#[tokio::test]
async fn bytes_are_counted_both_ways() {
    let bed = bed().await;
    for protocol in Protocol::BOTH {
        let path = format!("/api/v1/namespaces/web/configmaps?{protocol:?}");
        let call = Call::new(Method::POST, &path)
            .bearer(&bed.token("jane", &[]))
            .body(vec![b'x'; 100_000]);
        let reply = bed.send(protocol, call).await;
        reply.assert_status(200);
        let found = line(&bed, "completed", &path).await;
        assert_eq!(found["bytesIn"], 100_000);
        assert_eq!(found["bytesOut"], reply.body.len());
        assert_eq!(
            (&found["verb"], &found["method"]),
            (&json!("create"), &json!("POST"))
        );
    }
}

#[tokio::test]
async fn refusals_say_why() {
    let bed = bed().await;
    let good = bed.token("jane", &["dev"]);
    let expired = bed.issuer.sign(&bed.issuer.claims("jane").expires_in(-5));
    let calls = [
        (
            "/no-token",
            Call::get("/no-token"),
            401,
            "no_credential",
            "no credential",
            false,
        ),
        (
            "/expired",
            Call::get("/expired").bearer(&expired),
            401,
            "expired",
            "token is expired",
            false,
        ),
        (
            "/reserved",
            Call::get("/reserved").bearer(&bed.token("jane", &["system:masters"])),
            403,
            "reserved_identity",
            "the token's group is reserved",
            false,
        ),
        (
            "/denied",
            Call::get("/denied")
                .bearer(&good)
                .header("impersonate-user", "bob"),
            403,
            "impersonation",
            "user \"jane\" cannot impersonate",
            true,
        ),
    ];
    for protocol in Protocol::BOTH {
        for (path, call, code, reason, message, is_known) in &calls {
            let path = format!("{path}?{protocol:?}");
            let call = call.clone().target(&path);
            let reply = bed.send(protocol, call).await;
            reply.assert_refusal(*code);
            let found = line(&bed, "completed", &path).await;
            assert_eq!(reply.header("audit-id"), found["auditID"].as_str());
            assert_eq!(found["decision"], "AuFail", "{found}");
            assert_eq!(found["status"], *code);
            assert_eq!(found["reason"], *reason);
            let text = found["message"].as_str().unwrap();
            assert!(text.starts_with(message), "{text}");
            assert_eq!(found.get("user").is_some(), *is_known, "{found}");
        }
    }
    bed.api.assert_untouched();
}

#[tokio::test]
async fn a_fault_of_the_api_server_is_named() {
    let bed = bed().await;
    bed.api.answer("/cut", Answer::CutMidBody);
    let token = bed.token("jane", &[]);
    let call = Call::get("/cut").bearer(&token);
    assert!(bed.client.send(Protocol::H1, call).await.is_err());
    let found = line(&bed, "completed", "/cut").await;
    assert_eq!(
        (&found["decision"], &found["status"], &found["reason"]),
        (&json!("AuSuccess"), &json!(200), &json!("upstream_broke"))
    );
    bed.api
        .answer("/unasked", Answer::Upgrade(Upgrade::default()));
    let call = Call::get("/unasked").bearer(&token);
    bed.send(Protocol::H2, call).await.assert_status(502);
    let found = line(&bed, "completed", "/unasked").await;
    assert_eq!(
        (&found["status"], &found["reason"]),
        (&json!(502), &json!("upstream"))
    );
    assert_eq!(found["decision"], "AuSuccess");
}

#[tokio::test]
async fn acting_as_somebody_else_names_both() {
    let bed = bed().await;
    bed.api
        .reviews()
        .allow("jane", json!({"verb": "impersonate"}));
    let call = Call::get("/acting")
        .bearer(&bed.token("jane", &["dev"]))
        .header("impersonate-user", "bob")
        .header("impersonate-uid", "7");
    bed.send(Protocol::H2, call).await.assert_status(200);
    let found = line(&bed, "completed", "/acting").await;
    assert_eq!(found["user"]["username"], "jane");
    assert_eq!(found["impersonatedUser"]["username"], "bob");
    assert_eq!(found["impersonatedUser"]["uid"], "7");
}

#[tokio::test]
async fn watches_are_seen_while_they_run() {
    let bed = bed().await;
    let events = Events::default();
    bed.api
        .answer("/api/v1/pods", Answer::Watch(events.clone()));
    for protocol in Protocol::BOTH {
        let path = format!("/api/v1/pods?watch=1&{protocol:?}");
        let call = Call::get(&path).bearer(&bed.token("jane", &[]));
        let mut stream = bed.client.stream(protocol, call).await.unwrap();
        let started = settled(line(&bed, "started", &path).await);
        let expected = json!({
            "event": "started",
            "decision": "AuSuccess",
            "source": {"peer": "127.0.0.1", "forwardedFor": ""},
            "method": "GET",
            "requestURI": path,
            "verb": "watch",
            "userAgent": "",
            "user": {"username": "jane", "groups": ["system:authenticated"]},
            "status": 200,
        });
        assert_eq!(started, expected);
        events.send("0123456789");
        stream.next().await.unwrap();
        if protocol == Protocol::H1 {
            events.end();
            while stream.next().await.unwrap().is_some() {}
        } else {
            stream.abort();
        }
        let found = line(&bed, "completed", &path).await;
        assert_eq!(found["bytesOut"], 10);
        let reason = (protocol == Protocol::H2).then_some("client_closed");
        assert_eq!(found.get("reason").and_then(Value::as_str), reason);
        assert_eq!(lines_of(&bed, &path).len(), 2);
    }
}

#[tokio::test]
async fn whatever_may_run_for_long_is_seen_while_it_runs() {
    let bed = bed().await;
    let events = Events::default();
    bed.api.answer("/api/v1", Answer::Watch(events.clone()));
    let token = bed.token("jane", &[]);
    for protocol in Protocol::BOTH {
        for path in [
            "/api/v1/namespaces/web/pods/a/log?follow=true",
            "/api/v1/namespaces/web/pods/a/proxy/events?",
            "/api/v1/namespaces/web/services/a/proxy/?",
            "/api/v1/nodes/n/proxy/logs/?",
        ] {
            let path = format!("{path}&{protocol:?}");
            let call = Call::get(&path).bearer(&token);
            let mut answer = bed.client.stream(protocol, call).await.unwrap();
            assert_eq!(line(&bed, "started", &path).await["status"], 200);
            assert_eq!(lines_of(&bed, &path).len(), 1);
            events.end();
            assert_eq!(answer.next().await.unwrap(), None);
            line(&bed, "completed", &path).await;
        }
    }
    // What fails at once has not begun, and a list never takes long.
    bed.api
        .answer("/api/v1/namespaces", Answer::Json(403, json!({})));
    for path in [
        "/api/v1/namespaces/web/pods/b/log",
        "/api/v1/namespaces/web/pods",
    ] {
        let call = Call::get(path).bearer(&token);
        bed.send(Protocol::H1, call).await.assert_status(403);
        line(&bed, "completed", path).await;
        assert_eq!(lines_of(&bed, path).len(), 1);
    }
}

#[tokio::test]
async fn streams_are_counted_until_they_end() {
    let bed = bed().await;
    bed.api.answer("/exec", Answer::Upgrade(Upgrade::default()));
    let bearer = format!("Authorization: Bearer {}", bed.token("jane", &[]));
    let mut raw = bed.client.raw().await.unwrap();
    let lines = [&*bearer, "Connection: Upgrade", "Upgrade: SPDY/3.1"];
    raw.request("POST /exec?command=id", &lines).await.unwrap();
    assert_eq!(raw.head().await.unwrap().status, 101);
    let started = line(&bed, "started", "/exec?command=id").await;
    assert_eq!(started["status"], 101);
    raw.write("top secret payload").await.unwrap();
    raw.exactly(18).await.unwrap();
    assert_eq!(lines_of(&bed, "/exec?command=id").len(), 1);
    drop(raw);
    let found = line(&bed, "completed", "/exec?command=id").await;
    assert_eq!(
        (&found["bytesIn"], &found["bytesOut"]),
        (&json!(18), &json!(18))
    );
    assert_eq!(found["auditID"], started["auditID"]);
    assert!(!bed.proxy.process.output().contains("top secret payload"));
}

#[tokio::test]
async fn what_is_cut_at_the_end_is_still_told() {
    let mut bed = Bed::with(|setup, _| {
        setup
            .flag("--log-format=JSON")
            .flag("--drain-delay=0")
            .flag("--drain-deadline=1")
    })
    .await;
    bed.api.answer("/exec", Answer::Upgrade(Upgrade::default()));
    let events = Events::default();
    bed.api
        .answer("/api/v1/pods", Answer::Watch(events.clone()));
    let token = bed.token("jane", &[]);
    let bearer = format!("Authorization: Bearer {token}");
    let mut raw = bed.client.raw().await.unwrap();
    let lines = [&*bearer, "Connection: Upgrade", "Upgrade: websocket"];
    raw.request("GET /exec", &lines).await.unwrap();
    assert_eq!(raw.head().await.unwrap().status, 101);
    let call = Call::get("/api/v1/pods?watch=1").bearer(&token);
    let _watch = bed.client.stream(Protocol::H2, call).await.unwrap();
    line(&bed, "started", "/api/v1/pods?watch=1").await;
    bed.proxy.terminate().unwrap();
    bed.proxy
        .process
        .wait(Duration::from_mins(1))
        .await
        .unwrap();
    let found = line(&bed, "completed", "/exec").await;
    assert_eq!(found["reason"], "drain_deadline");
    let found = line(&bed, "completed", "/api/v1/pods?watch=1").await;
    assert_eq!(found["reason"], "proxy_leaving");
}

#[tokio::test]
async fn nothing_forges_a_line() {
    let bed = bed().await;
    let names = [
        "ja\"ne\u{85}",
        "a\",\"decision\":\"AuSuccess",
        "line\u{2028}end",
        "turn\u{202e}round",
    ];
    for (n, name) in names.into_iter().enumerate() {
        let path = format!("/forge?n={n}");
        let call = Call::get(&path)
            .bearer(&bed.token(name, &[name]))
            .header("user-agent", "a\"}\t{\"event\":\"completed\"");
        bed.send(Protocol::H1, call).await;
        line(&bed, "completed", &path).await;
        let found = lines_of(&bed, &path);
        assert_eq!(found.len(), 1);
        if found[0]["decision"] == "AuSuccess" {
            assert_eq!(found[0]["user"]["username"], name);
            assert_eq!(found[0]["user"]["groups"][0], name);
        }
    }
    for line in bed.proxy.access_lines() {
        let odd = |c: char| c.is_control() || "\u{2028}\u{2029}\u{202e}".contains(c);
        assert!(!line.chars().any(odd), "{line:?}");
    }
}

#[tokio::test]
async fn one_audit_id_from_end_to_end() {
    for format in ["json", "classic"] {
        let bed = Bed::with(|setup, _| setup.flag(format!("--log-format={format}"))).await;
        let token = bed.token("jane", &[]);
        let given = "0a1b2c3d-0000-4000-8000-000000000001";
        let call = Call::get("/given").bearer(&token).header("audit-id", given);
        let reply = bed.send(Protocol::H2, call).await;
        assert_eq!(reply.header("audit-id"), Some(given));
        let call = Call::get("/odd")
            .bearer(&token)
            .header("audit-id", "a b\"c");
        let reply = bed.send(Protocol::H1, call).await;
        let made = reply.header("audit-id").unwrap().to_owned();
        assert_eq!(made.len(), 36);
        let refused = bed.send(Protocol::H1, Call::get("/no")).await;
        assert!(refused.header("audit-id").is_some());
        let upstream: Vec<_> = bed
            .api
            .forwarded()
            .iter()
            .map(|request| request.value("audit-id").unwrap())
            .collect();
        assert_eq!(upstream, [given, &made]);
    }
}
