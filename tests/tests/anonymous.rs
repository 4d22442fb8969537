//! Requests without a credential, where the settings let them in.

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
    jose::b64,
    proxy::authentication_config,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

const PODS: &str = "/api/v1/pods";
const WATCH: &str = "/api/v1/pods?watch=true";

async fn with(anonymous: Value) -> Bed {
    Bed::with(|setup, issuer| {
        let mut config = authentication_config(issuer);
        config["anonymous"] = anonymous;
        setup.config(&config)
    })
    .await
}

#[tokio::test]
async fn nobody_is_forwarded_as_system_anonymous() {
    let bed = with(json!({"enabled": true})).await;
    for protocol in Protocol::BOTH {
        let reply = bed.send(protocol, Call::get(PODS)).await;
        reply.assert_status(200);
        let identity = reply.json();
        assert_eq!(identity["user"], "system:anonymous");
        assert_eq!(identity["groups"], json!(["system:unauthenticated"]));
        assert_eq!(identity["extra"], json!({}));
    }
    let line = bed.proxy.access_line("AuSuccess").await.unwrap();
    assert!(
        line.contains("inbound:[system:anonymous / system:unauthenticated"),
        "{line}"
    );
    let alice = bed.token("alice", &["dev"]);
    let known = bed.get_with(Protocol::H2, &alice).await;
    assert_eq!(known.json()["user"], "alice");
}

#[tokio::test]
async fn a_credential_that_is_refused_does_not_become_nobody() {
    let bed = with(json!({"enabled": true})).await;
    let expired = bed.issuer.sign(&bed.issuer.claims("alice").expires_in(-10));
    let reserved = bed.token("system:admin", &[]);
    for protocol in Protocol::BOTH {
        for token in ["opaque", &expired] {
            bed.get_with(protocol, token).await.assert_refusal(401);
        }
        bed.get_with(protocol, &reserved).await.assert_refusal(403);
    }
    bed.api.assert_untouched();
}

#[tokio::test]
async fn a_credential_that_cannot_be_read_does_not_become_nobody() {
    let bed = with(json!({"enabled": true})).await;
    for protocol in Protocol::BOTH {
        let broken = Call::get(PODS).header("authorization", b"Bearer \xff\xfe");
        bed.send(protocol, broken).await.assert_refusal(401);
    }
    let websocket = |protocols: &str| {
        Call::get(PODS)
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-protocol", protocols)
    };
    let token = format!(
        "base64url.bearer.authorization.k8s.io.{}",
        b64(bed.token("alice", &[]))
    );
    for protocols in [
        token.as_str(),
        &format!("v5.channel.k8s.io, {token}, {token}"),
        &format!("v5.channel.k8s.io, {token}=="),
        "v5.channel.k8s.io, base64url.bearer.authorization.k8s.io._w",
        "v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.!",
    ] {
        let broken = websocket(protocols);
        bed.send(Protocol::H1, broken.clone())
            .await
            .assert_refusal(401);
        // But a good one of the other place counts.
        let good = broken.bearer(&bed.token("bob", &[]));
        let reply = bed.send(Protocol::H1, good).await;
        assert_eq!(reply.json()["user"], "bob", "{protocols}");
    }
    for nothing in [
        "v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.",
        "v5.channel.k8s.io",
    ] {
        let reply = bed.send(Protocol::H1, websocket(nothing)).await;
        assert_eq!(reply.json()["user"], "system:anonymous", "{nothing}");
    }
}

#[tokio::test]
async fn conditions_are_exact_paths() {
    let bed =
        with(json!({"enabled": true, "conditions": [{"path": "/healthz"}, {"path": "/version"}]}))
            .await;
    for protocol in Protocol::BOTH {
        for path in ["/healthz", "/version", "/healthz?verbose"] {
            bed.send(protocol, Call::get(path)).await.assert_status(200);
        }
        for path in [
            "/healthz/",
            "/healthz/x",
            "/HEALTHZ",
            "//healthz",
            "/",
            PODS,
        ] {
            bed.send(protocol, Call::get(path))
                .await
                .assert_refusal(401);
        }
    }
}

/// Strangers get no multiplexing: kube-apiserver's `UnauthenticatedHTTP2DOSMitigation`.
#[tokio::test]
async fn an_http2_connection_ends_after_nobody_has_asked() {
    let bed = with(json!({"enabled": true})).await;
    let mut connection = bed.connect(Protocol::H2).await;
    connection
        .send(Call::get(PODS))
        .await
        .unwrap()
        .assert_status(200);
    let start = Instant::now();
    while connection.send(Call::get(PODS)).await.is_ok() {
        assert!(start.elapsed() < Duration::from_secs(10), "it goes on");
        sleep(Duration::from_millis(50)).await;
    }
    let mut known = bed.connect(Protocol::H2).await;
    for _ in 0..3 {
        let call = Call::get(PODS).bearer(&bed.token("alice", &[]));
        known.send(call).await.unwrap().assert_status(200);
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn streams_end_when_nobody_is_let_in_any_more() {
    let bed = with(json!({"enabled": true})).await;
    bed.api.answer(WATCH, Answer::Watch(Events::default()));
    let stream = bed.client.stream(Protocol::H1, Call::get(WATCH)).await;
    let mut stream = stream.unwrap();
    let config = authentication_config(&bed.issuer);
    bed.proxy
        .replace("authentication.yaml", &config.to_string())
        .unwrap();
    assert_eq!(stream.next().await.unwrap(), None, "the watch ends");
    bed.send(Protocol::H1, Call::get(PODS))
        .await
        .assert_refusal(401);
}
