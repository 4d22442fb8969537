//! Requests that go on after their answer has begun.

use std::time::Duration;

use oidcproxy_tests::{
    api_server::{Answer, Events, Upgrade},
    bed::Bed,
    client::{Call, Protocol},
};
use serde_json::{Value, json};

use super::{bed, line, lines_of, settled};

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
