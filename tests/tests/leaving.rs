//! Streams when the proxy leaves, and when their issuer does.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::time::Duration;

use oidcproxy_tests::{
    api_server::{Answer, Events, Upgrade},
    bed::Bed,
    client::{Call, Protocol, RawConnection, Streaming},
    issuer::FakeIssuer,
    proxy::authentication_config,
};
use serde_json::json;
use tokio::time::Instant;

const WATCH: &str = "/api/v1/pods?watch=1";
const LOG: &str = "/api/v1/namespaces/default/pods/web/log?follow=true";
const EXEC: &str = "/api/v1/namespaces/default/pods/web/exec?command=sh";
/// A watch in other letters.
const SPELLED: &str = "/api/v1/pods?w%61tch=1";

/// A bed with watches, logs and exec, and a short leave.
async fn streaming(delay: u32, deadline: u32) -> (Bed, Events) {
    let bed = Bed::with(|setup, _| {
        setup
            .flag(format!("--drain-delay={delay}"))
            .flag(format!("--drain-deadline={deadline}"))
    })
    .await;
    let events = Events::default();
    bed.api.answer(WATCH, Answer::Watch(events.clone()));
    bed.api.answer(LOG, Answer::Watch(events.clone()));
    bed.api.answer(EXEC, Answer::Upgrade(Upgrade::default()));
    (bed, events)
}

async fn exec(bed: &Bed, token: &str) -> RawConnection {
    let mut raw = bed.client.raw().await.unwrap();
    let bearer = format!("Authorization: Bearer {token}");
    let lines = [&*bearer, "Connection: Upgrade", "Upgrade: SPDY/3.1"];
    raw.request(&format!("POST {EXEC}"), &lines).await.unwrap();
    assert_eq!(raw.head().await.unwrap().status, 101);
    raw
}

/// Until both have ended. A watch that goes on would end its wait only later.
async fn until_cut(exec: &mut RawConnection, watch: &mut Streaming) {
    let ended = async {
        while echoes(exec).await {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        while let Ok(Some(_)) = watch.next().await {}
    };
    let cut = tokio::time::timeout(Duration::from_secs(10), ended).await;
    cut.expect("the streams outlive their issuer");
}

/// Whether what is written still comes back.
async fn echoes(raw: &mut RawConnection) -> bool {
    raw.write("ping").await.is_ok() && matches!(raw.exactly(4).await.as_deref(), Ok(b"ping"))
}

#[tokio::test]
async fn watches_end_properly_when_the_proxy_leaves_and_it_ends_soon() {
    let (mut bed, events) = streaming(1, 30).await;
    let token = bed.token("alice", &[]);
    let mut streams = Vec::new();
    for protocol in Protocol::BOTH {
        let call = Call::get(WATCH).bearer(&token);
        streams.push(bed.client.stream(protocol, call).await.unwrap());
    }
    let start = Instant::now();
    bed.proxy.terminate().unwrap();
    events.send("event\n");
    for stream in &mut streams {
        assert_eq!(stream.next().await.unwrap().unwrap(), "event\n");
        let end = stream.next().await;
        assert!(
            matches!(end, Ok(None)),
            "a watch ends as if the server closed it: {end:?}"
        );
    }
    let status = bed
        .proxy
        .process
        .wait(Duration::from_secs(20))
        .await
        .unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(
        start.elapsed() < Duration::from_secs(15),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn other_streams_go_on_until_the_deadline() {
    let (mut bed, events) = streaming(1, 4).await;
    let token = bed.token("alice", &[]);
    let mut session = exec(&bed, &token).await;
    let call = Call::get(LOG).bearer(&token);
    let mut log = bed.client.stream(Protocol::H2, call).await.unwrap();
    let start = Instant::now();
    bed.proxy.terminate().unwrap();
    // While it is not ready but still serving, and again after that.
    for pause in [500, 2000] {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        assert!(
            echoes(&mut session).await,
            "cut after {:?}",
            start.elapsed()
        );
        events.send("line\n");
        assert_eq!(log.next().await.unwrap().unwrap(), "line\n");
    }
    let status = bed
        .proxy
        .process
        .wait(Duration::from_secs(20))
        .await
        .unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(!echoes(&mut session).await);
    let took = start.elapsed();
    assert!(
        took > Duration::from_secs(4) && took < Duration::from_secs(12),
        "{took:?}"
    );
}

#[tokio::test]
async fn new_connections_are_served_during_the_delay_and_refused_after_it() {
    let (bed, _) = streaming(2, 20).await;
    let token = bed.token("alice", &[]);
    let _session = exec(&bed, &token).await;
    bed.proxy.terminate().unwrap();
    bed.proxy.wait_probe("/ready", 503).await.unwrap();
    bed.get_with(Protocol::H2, &token).await.assert_status(200);
    bed.send(Protocol::H1, Call::get("/readyz"))
        .await
        .assert_status(503);
    let deadline = Instant::now() + Duration::from_secs(6);
    while bed.client.tls(&[]).await.is_ok() {
        assert!(Instant::now() < deadline, "it still accepts connections");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn an_issuer_that_is_dropped_takes_its_streams_along() {
    let other = FakeIssuer::start().await.unwrap();
    let mut dropped = json!(null);
    let bed = Bed::with(|setup, issuer| {
        let mut config = authentication_config(issuer);
        dropped = config.clone();
        let second = authentication_config(&other)["jwt"][0].clone();
        config["jwt"].as_array_mut().unwrap().push(second);
        setup.config(&config)
    })
    .await;
    let events = Events::default();
    bed.api.answer(WATCH, Answer::Watch(events.clone()));
    bed.api.answer(EXEC, Answer::Upgrade(Upgrade::default()));
    let (stays, goes) = (bed.token("alice", &[]), other.token("bob", &[]));
    let mut kept = exec(&bed, &stays).await;
    let mut cut = exec(&bed, &goes).await;
    let mut watch = bed
        .client
        .stream(Protocol::H2, Call::get(WATCH).bearer(&goes))
        .await
        .unwrap();
    assert!(echoes(&mut kept).await && echoes(&mut cut).await);

    bed.proxy
        .replace("authentication.yaml", &dropped.to_string())
        .unwrap();
    until_cut(&mut cut, &mut watch).await;
    bed.get_with(Protocol::H1, &goes).await.assert_refusal(401);
    assert!(echoes(&mut kept).await, "another issuer's stream goes on");
    bed.get_with(Protocol::H1, &stays).await.assert_status(200);
}

#[tokio::test]
async fn an_issuer_that_was_changed_before_it_is_dropped_takes_all_its_streams_along() {
    let bed = Bed::start().await;
    bed.api.answer(SPELLED, Answer::Watch(Events::default()));
    bed.api.answer(EXEC, Answer::Upgrade(Upgrade::default()));
    let token = bed.token("alice", &[]);
    let mut stream = exec(&bed, &token).await;
    let call = Call::get(SPELLED).bearer(&token);
    let mut watch = bed.client.stream(Protocol::H2, call).await.unwrap();
    let mut config = authentication_config(&bed.issuer);
    config["jwt"][0]["claimMappings"]["groups"]["prefix"] = json!("people:");
    bed.proxy
        .replace("authentication.yaml", &config.to_string())
        .unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(echoes(&mut stream).await, "a change ends no stream");

    config["jwt"] = json!([]);
    bed.proxy
        .replace("authentication.yaml", &config.to_string())
        .unwrap();
    until_cut(&mut stream, &mut watch).await;
}
