//! `sessions`: how long watches and upgraded connections live, and why they end.

use std::time::Duration;

use oidcproxy_crds::v1alpha1::{logging::LogFormat, settings::SessionSettings};
use oidcproxy_tests::{
    api_server::{Answer, Events, Upgrade},
    client::{Call, Protocol, RawConnection},
};
use serde_json::Value;
use tokio::time::Instant;

use super::Bed;

const WATCH: &str = "/api/v1/pods?watch=true";
const EXEC: &str = "/api/v1/namespaces/default/pods/web/exec?command=sh";

async fn bed(sessions: SessionSettings) -> Bed {
    let bed = Bed::with(|settings| {
        settings.sessions = sessions;
        settings.logging.format = LogFormat::Json;
    })
    .await;
    bed.api
        .answer("/api/v1/pods?watch", Answer::Watch(Events::default()));
    bed.api.answer(
        "/api/v1/namespaces/default/pods/web/exec",
        Answer::Upgrade(Upgrade::default()),
    );
    bed
}

async fn exec(bed: &Bed, token: &str) -> RawConnection {
    let mut raw = bed.client.raw().await.unwrap();
    let bearer = format!("Authorization: Bearer {token}");
    raw.request(
        &format!("POST {EXEC}"),
        &[&bearer, "Connection: Upgrade", "Upgrade: SPDY/3.1"],
    )
    .await
    .unwrap();
    assert_eq!(raw.head().await.unwrap().status, 101);
    raw
}

/// The reason of the line about the request's end.
async fn reason(bed: &Bed, target: &str) -> Value {
    let line = bed.proxy.process.stdout.wait(target, |line| {
        line.contains("completed") && line.contains(target)
    });
    let line: Value = serde_json::from_str(&line.await.unwrap()).unwrap();
    line["reason"].clone()
}

/// A watch over either protocol and an exec end by themselves, after `least`.
async fn assert_ends(bed: &Bed, token: &str, least: Duration, why: &str) {
    let began = Instant::now();
    let mut raw = exec(bed, token).await;
    for protocol in Protocol::BOTH {
        let call = Call::get(WATCH).bearer(token);
        let mut watch = bed.client.stream(protocol, call).await.unwrap();
        assert_eq!(watch.status, 200);
        assert_eq!(watch.next().await.unwrap(), None, "{protocol:?}");
        assert!(began.elapsed() >= least, "{:?}", began.elapsed());
    }
    assert!(raw.rest().await.unwrap().is_empty());
    assert_eq!(reason(bed, "watch=true").await, why);
    assert_eq!(reason(bed, "pods/web/exec").await, why);
}

#[tokio::test]
async fn streams_end_after_their_longest_time() {
    let bed = bed(SessionSettings {
        max_duration_seconds: Some(1),
        ..SessionSettings::default()
    })
    .await;
    let token = bed.issuer.token("alice", &[]);
    assert_ends(&bed, &token, Duration::from_millis(900), "max_duration").await;
}

/// The Classic line of a stream is written when it begins.
#[tokio::test]
async fn the_end_of_a_stream_is_told_with_what_it_was() {
    let bed = Bed::with(|settings| settings.sessions.max_duration_seconds = Some(1)).await;
    bed.api
        .answer("/api/v1/pods?watch", Answer::Watch(Events::default()));
    bed.api.answer(
        "/api/v1/namespaces/default/pods/web/exec",
        Answer::Upgrade(Upgrade::default()),
    );
    let token = bed.issuer.token("alice", &[]);
    let call = Call::get(WATCH)
        .bearer(&token)
        .header("audit-id", "of-the-watch");
    let mut watch = bed.client.stream(Protocol::H2, call).await.unwrap();
    let mut raw = exec(&bed, &token).await;
    assert_eq!(watch.next().await.unwrap(), None);
    assert!(raw.rest().await.unwrap().is_empty());
    let exec_id = bed
        .api
        .forwarded()
        .pop()
        .unwrap()
        .value("audit-id")
        .unwrap();
    for (id, path) in [
        ("of-the-watch", "/api/v1/pods"),
        (&*exec_id, "/api/v1/namespaces/default/pods/web/exec"),
    ] {
        let told = format!("reason=\"max_duration\" audit_id=\"{id}\" path=\"{path}\"");
        let line = bed.proxy.process.stderr.wait(&told, |line| {
            line.contains("a stream was cut") && line.contains(&told)
        });
        line.await.unwrap();
    }
}

#[tokio::test]
async fn streams_end_with_their_token() {
    let bed = bed(SessionSettings {
        end_at_token_expiry: true,
        ..SessionSettings::default()
    })
    .await;
    // Long enough to open all three on a slow machine.
    let token = bed.issuer.claims("alice").expires_in(10);
    let token = bed.issuer.sign(&token);
    let mut raw = exec(&bed, &token).await;
    let mut watch = bed
        .client
        .stream(Protocol::H2, Call::get(WATCH).bearer(&token))
        .await
        .unwrap();
    assert_eq!(watch.next().await.unwrap(), None);
    assert!(raw.rest().await.unwrap().is_empty());
    assert_eq!(reason(&bed, "watch=true").await, "token_expired");
    assert_eq!(reason(&bed, "pods/web/exec").await, "token_expired");
}

#[tokio::test]
async fn silent_streams_end() {
    let bed = bed(SessionSettings {
        idle_timeout_seconds: Some(2),
        ..SessionSettings::default()
    })
    .await;
    let token = bed.issuer.token("alice", &[]);
    assert_ends(&bed, &token, Duration::from_millis(1900), "idle_timeout").await;
    let mut talking = exec(&bed, &token).await;
    let began = Instant::now();
    // Every half second a byte, and back it comes.
    while began.elapsed() < Duration::from_secs(5) {
        talking.write("x").await.unwrap();
        assert_eq!(talking.exactly(1).await.unwrap(), b"x");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test]
async fn short_requests_have_no_session() {
    let bed = bed(SessionSettings {
        max_duration_seconds: Some(1),
        ..SessionSettings::default()
    })
    .await;
    let answer = Answer::Later(Duration::from_secs(3), Box::new(Answer::Identity));
    bed.api.answer("/api/v1/pods?slow", answer);
    let call = Call::get("/api/v1/pods?slow").bearer(&bed.issuer.token("alice", &[]));
    let reply = bed.client.send(Protocol::H1, call).await.unwrap();
    reply.assert_status(200);
    assert_eq!(reply.json()["user"], "alice");
}
