//! Long answers: every event at once, ends of either side are passed on, and many of them hold up nobody.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::time::Duration;

use oidcproxy_tests::{
    api_server::{Answer, Events},
    bed::Bed,
    client::{Call, Protocol},
};
use tokio::time::Instant;

const WATCH: &str = "/api/v1/pods?watch=1";
const LIST: &str = "/api/v1/nodes";

#[tokio::test]
async fn every_event_arrives_at_once_and_the_end_is_an_end() {
    let bed = Bed::start().await;
    let events = Events::default();
    bed.api
        .answer("/api/v1/pods?watch", Answer::Watch(events.clone()));
    let token = bed.token("alice", &[]);
    for protocol in Protocol::BOTH {
        let mut stream = bed
            .client
            .stream(protocol, Call::get(WATCH).bearer(&token))
            .await
            .unwrap();
        assert_eq!(stream.status, 200);
        for n in 0..5 {
            let event = format!("{{\"n\":{n}}}\n");
            let start = Instant::now();
            events.send(&event);
            assert_eq!(stream.next().await.unwrap().unwrap(), event);
            assert!(
                start.elapsed() < Duration::from_secs(1),
                "{:?}",
                start.elapsed()
            );
        }
        events.end();
        assert_eq!(stream.next().await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_upstream_request() {
    let bed = Bed::start().await;
    bed.api
        .answer("/api/v1/pods?watch", Answer::Watch(Events::default()));
    let token = bed.token("alice", &[]);
    for protocol in Protocol::BOTH {
        let before = bed.api.forwarded().len();
        // One stream of a connection that stays open, where the protocol has such a thing.
        let mut connection = bed.connect(protocol).await;
        let stream = connection
            .stream(Call::get(WATCH).bearer(&token))
            .await
            .unwrap();
        let id = bed.api.forwarded()[before].connection;
        assert!(!bed.api.connection(id).closed);
        stream.abort();
        if protocol == Protocol::H1 {
            drop(connection);
        }
        bed.api
            .wait_connection(id, |state| state.closed)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_client_that_goes_away_before_the_answer_ends_the_upstream_request() {
    let bed = Bed::start().await;
    bed.api.answer("/api", Answer::Hang);
    let token = bed.token("alice", &[]);
    for protocol in Protocol::BOTH {
        let before = bed.api.forwarded().len();
        let call = bed.client.send(protocol, Call::get(LIST).bearer(&token));
        let unanswered = tokio::time::timeout(Duration::from_secs(1), call).await;
        assert!(unanswered.is_err());
        let id = bed.api.forwarded()[before].connection;
        bed.api
            .wait_connection(id, |state| state.closed)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_body_that_is_cut_is_not_a_proper_end() {
    let bed = Bed::start().await;
    bed.api.answer("/api", Answer::CutMidBody);
    let token = bed.token("alice", &[]);
    for protocol in Protocol::BOTH {
        let call = Call::get(LIST).bearer(&token);
        let mut stream = match bed.client.stream(protocol, call).await {
            Ok(stream) => stream,
            // The reset may overtake the head.
            Err(error) if protocol == Protocol::H2 => {
                assert!(error.to_string().contains("http2"), "{error:#}");
                continue;
            }
            Err(error) => panic!("{error:#}"),
        };
        let end = loop {
            match stream.next().await {
                Ok(Some(_)) => {}
                end => break end,
            }
        };
        assert!(
            end.is_err(),
            "{protocol:?}: a clean end after ten of a thousand bytes"
        );
    }
}

#[tokio::test]
async fn many_watches_do_not_hold_up_a_request() {
    let bed = Bed::start().await;
    let events = Events::default();
    bed.api
        .answer("/api/v1/pods?watch", Answer::Watch(events.clone()));
    let token = bed.token("alice", &[]);
    // Like kube-apiserver, a connection takes a hundred; the way upstream takes any number.
    let mut first = bed.connect(Protocol::H2).await;
    let mut connection = bed.connect(Protocol::H2).await;
    let mut streams = Vec::new();
    for _ in 0..80 {
        for connection in [&mut first, &mut connection] {
            let call = Call::get(WATCH).bearer(&token);
            streams.push(connection.stream(call).await.unwrap());
        }
    }
    let start = Instant::now();
    let reply = connection
        .send(Call::get(LIST).bearer(&token))
        .await
        .unwrap();
    reply.assert_status(200);
    bed.send(Protocol::H1, Call::get(LIST).bearer(&token))
        .await
        .assert_status(200);
    assert!(
        start.elapsed() < Duration::from_secs(3),
        "{:?}",
        start.elapsed()
    );
    events.send("event\n");
    for stream in &mut streams {
        assert_eq!(stream.next().await.unwrap().unwrap(), "event\n");
    }
}

#[tokio::test]
async fn a_reader_that_stops_does_not_stop_others() {
    let bed = Bed::start().await;
    let events = Events::default();
    bed.api
        .answer("/api/v1/pods?watch", Answer::Watch(events.clone()));
    let token = bed.token("alice", &[]);
    let mut connection = bed.connect(Protocol::H2).await;
    let _unread = connection
        .stream(Call::get(WATCH).bearer(&token))
        .await
        .unwrap();
    let line = "x".repeat(64 * 1024);
    for _ in 0..100 {
        events.send(&line);
        tokio::task::yield_now().await;
    }
    bed.send(Protocol::H1, Call::get(LIST).bearer(&token))
        .await
        .assert_status(200);
    let mut fresh = bed.connect(Protocol::H2).await;
    fresh
        .send(Call::get(LIST).bearer(&token))
        .await
        .unwrap()
        .assert_status(200);
}

#[tokio::test]
async fn an_upstream_that_is_gone_is_answered_as_such() {
    let bed = Bed::start().await;
    bed.api.answer(
        "/api/v1/broken",
        Answer::Raw(b"not HTTP at all\r\n\r\n".to_vec()),
    );
    let token = bed.token("alice", &[]);
    for protocol in Protocol::BOTH {
        let broken = bed
            .send(protocol, Call::get("/api/v1/broken").bearer(&token))
            .await;
        broken.assert_refusal(502);
    }
    let Bed {
        issuer,
        api,
        client,
        proxy,
    } = bed;
    drop(api);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let call = Call::get(LIST).bearer(&issuer.token("alice", &[]));
    let gone = client.send(Protocol::H1, call).await.unwrap();
    assert!(matches!(gone.status, 502 | 503), "{gone:?}");
    gone.assert_refusal(gone.status);
    drop(proxy);
}
