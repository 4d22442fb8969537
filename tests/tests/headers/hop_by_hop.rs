//! What is about one connection ends with it, and takes nothing of ours along.

use oidcproxy_tests::{
    bed::Bed,
    client::{H2Outcome, send_h2_fields},
};

use super::{PODS, assert_identity};

#[tokio::test]
async fn connection_headers_never_remove_the_identity() {
    let bed = Bed::start().await;
    let token = bed.token("alice", &["dev"]);
    let bearer = format!("Authorization: Bearer {token}");
    let cases: &[&[&str]] = &[
        &["Connection: Impersonate-User"],
        &["Connection: impersonate-user, impersonate-group"],
        &["Connection: IMPERSONATE-USER"],
        &["Connection: Authorization"],
        &["Connection: Impersonate-Group, Authorization"],
        &["Connection: Keep-Alive, Impersonate-Group"],
        &["Connection: Impersonate-User,,close,"],
        &["Connection: \tImpersonate-User\t"],
        &["Connection: keep-alive", "Connection: Impersonate-User"],
        &[
            "Connection: Impersonate-User",
            "Connection: Impersonate-Group",
        ],
        &["Connection: ,"],
        &["Connection:"],
        &["Connection: \u{b}Impersonate-User"],
        &["Connection: \"Impersonate-User\""],
        &["Connection: Impersonate-Extra-a"],
        &["Connection: Host"],
        &["Proxy-Connection: Impersonate-User"],
    ];
    for case in cases {
        let before = bed.api.forwarded().len();
        let mut raw = bed.client.raw().await.unwrap();
        let lines = [&[bearer.as_str()], *case].concat();
        raw.request(&format!("GET {PODS}"), &lines).await.unwrap();
        let reply = raw
            .reply()
            .await
            .unwrap_or_else(|error| panic!("{case:?}: {error:#}"));
        let seen = bed.api.forwarded();
        if case.iter().any(|line| line.contains('\u{b}')) {
            reply.assert_status(400);
            assert_eq!(seen.len(), before, "{case:?}");
            continue;
        }
        assert_eq!(reply.status, 200, "{case:?}: {reply:?}");
        assert_eq!(seen.len(), before + 1, "{case:?}");
        assert_identity(&seen[before]);
        let host = seen[before].value("host");
        assert_eq!(host, Some(bed.api.address().to_string()), "{case:?}");
    }
}

#[tokio::test]
async fn http2_with_connection_headers_is_malformed() {
    let bed = Bed::start().await;
    let bearer = format!("Bearer {}", bed.token("alice", &["dev"]));
    let common = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "k8s.example"),
        (":path", PODS),
        ("authorization", &bearer),
    ];
    let outcome = send_h2_fields(&bed.client, &common).await.unwrap();
    assert_eq!(outcome, H2Outcome::Response);
    assert_identity(&bed.api.only());
    for extra in [
        ("connection", "impersonate-user"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "impersonate-user"),
        ("Impersonate-User", "root"),
        ("x", "a\r\nimpersonate-user: root"),
        ("x", "a\0b"),
        ("te", "gzip"),
        (":path", "/other"),
    ] {
        let fields = [&common[..], &[extra]].concat();
        let outcome = send_h2_fields(&bed.client, &fields).await.unwrap();
        // Either the frame is an error, or an answer of the proxy's own.
        let seen = bed.api.forwarded();
        assert_eq!(seen.len(), 1, "{extra:?} ended with {outcome:?}: {seen:#?}");
    }
}

#[tokio::test]
async fn hop_by_hop_headers_end_here() {
    let bed = Bed::start().await;
    let bearer = format!("Authorization: Bearer {}", bed.token("alice", &["dev"]));
    let mut raw = bed.client.raw().await.unwrap();
    let lines = [
        &*bearer,
        "Connection: keep-alive, X-Hop",
        "X-Hop: 1",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "Proxy-Authorization: Basic eDp5",
        "Proxy-Authenticate: Basic",
        "TE: gzip, trailers",
        "Trailer: X-T",
        "Upgrade: websocket",
        "HTTP2-Settings: AAMAAABkAAQAAP__",
        "Accept: application/json",
        "Accept: application/yaml",
        "User-Agent: kubectl/v1",
    ];
    raw.request(&format!("GET {PODS}"), &lines).await.unwrap();
    raw.reply().await.unwrap().assert_status(200);
    let seen = bed.api.only();
    assert_identity(&seen);
    for name in [
        "x-hop",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "proxy-authenticate",
        "trailer",
        "upgrade",
        "http2-settings",
    ] {
        assert!(seen.values(name).is_empty(), "{name}: {seen:?}");
    }
    assert!(
        seen.values("te").iter().all(|te| te == "trailers"),
        "{seen:?}"
    );
    assert!(
        seen.values("connection")
            .iter()
            .all(|value| value == "keep-alive"),
        "{seen:?}"
    );
    assert_eq!(
        seen.values("accept"),
        ["application/json", "application/yaml"]
    );
    assert_eq!(seen.value("user-agent").as_deref(), Some("kubectl/v1"));
}
