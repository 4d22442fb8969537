//! Upgrades: bytes pass both ways from the first on, and only where an upgrade was asked for and agreed to.

use std::time::Duration;

use oidcproxy_tests::{
    api_server::{Answer, Recorded, Upgrade},
    bed::Bed,
    client::{Protocol, RawConnection},
    jose::b64,
    proxy::OWN_TOKEN,
};
use serde_json::json;

const EXEC: &str = "/api/v1/namespaces/default/pods/web/exec?command=sh&command=-c&stdin=true";
const SPDY: [&str; 4] = [
    "Connection: Upgrade",
    "Upgrade: SPDY/3.1",
    "X-Stream-Protocol-Version: v4.channel.k8s.io",
    "X-Stream-Protocol-Version: channel.k8s.io",
];
const WEBSOCKET: [&str; 5] = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol: v5.channel.k8s.io",
];
const TOKEN_PROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";

fn bearer(bed: &Bed) -> String {
    format!("Authorization: Bearer {}", bed.token("alice", &["dev"]))
}

/// A bed whose exec answers like a server that agrees.
async fn agreeing(headers: Vec<(&'static str, String)>) -> Bed {
    let bed = Bed::start().await;
    let upgrade = Upgrade {
        headers,
        ..Upgrade::default()
    };
    bed.api.answer(
        "/api/v1/namespaces/default/pods/web/exec",
        Answer::Upgrade(upgrade),
    );
    bed
}

async fn open(bed: &Bed, method: &str, lines: &[&str]) -> RawConnection {
    let mut raw = bed.client.raw().await.unwrap();
    raw.request(&format!("{method} {EXEC}"), lines)
        .await
        .unwrap();
    raw
}

#[track_caller]
fn assert_forwarded(request: &Recorded, protocol: &str) {
    assert_eq!(request.target, EXEC);
    assert_eq!(request.user().as_deref(), Some("alice"), "{request:?}");
    assert_eq!(request.groups(), ["dev", "system:authenticated"]);
    assert_eq!(
        request.values("authorization"),
        [format!("Bearer {OWN_TOKEN}")]
    );
    assert_eq!(request.values("connection"), ["Upgrade"]);
    assert_eq!(request.values("upgrade"), [protocol]);
}

#[tokio::test]
async fn spdy_is_spliced() {
    let chosen = vec![("X-Stream-Protocol-Version", "v4.channel.k8s.io".to_owned())];
    let bed = agreeing(chosen).await;
    let mut raw = open(&bed, "POST", &[&[&*bearer(&bed)], &SPDY[..]].concat()).await;
    let head = raw.head().await.unwrap();
    assert_eq!(head.status, 101);
    assert_eq!(head.header("upgrade"), Some("SPDY/3.1"));
    assert!(
        head.header("connection")
            .unwrap()
            .eq_ignore_ascii_case("upgrade")
    );
    assert_eq!(
        head.header("x-stream-protocol-version"),
        Some("v4.channel.k8s.io")
    );
    let seen = bed.api.only();
    assert_forwarded(&seen, "SPDY/3.1");
    assert_eq!(
        seen.values("x-stream-protocol-version"),
        ["v4.channel.k8s.io", "channel.k8s.io"]
    );
    for size in [1, 10, 70_000] {
        let bytes: Vec<u8> = (0..size).map(|n: u32| (n % 253) as u8).collect();
        raw.write(&bytes).await.unwrap();
        assert!(
            raw.exactly(bytes.len()).await.unwrap() == bytes,
            "{size} bytes come back"
        );
    }
}

#[tokio::test]
async fn websockets_are_spliced() {
    let accept = vec![
        (
            "Sec-WebSocket-Accept",
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned(),
        ),
        ("Sec-WebSocket-Protocol", "v5.channel.k8s.io".to_owned()),
    ];
    let bed = agreeing(accept).await;
    let mut raw = open(&bed, "GET", &[&[&*bearer(&bed)], &WEBSOCKET[..]].concat()).await;
    let head = raw.head().await.unwrap();
    assert_eq!(
        (head.status, head.header("upgrade")),
        (101, Some("websocket"))
    );
    assert_eq!(
        head.header("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    assert_eq!(
        head.header("sec-websocket-protocol"),
        Some("v5.channel.k8s.io")
    );
    let seen = bed.api.only();
    assert_forwarded(&seen, "websocket");
    assert_eq!(
        seen.value("sec-websocket-key").as_deref(),
        Some("dGhlIHNhbXBsZSBub25jZQ==")
    );
    assert_eq!(seen.value("sec-websocket-version").as_deref(), Some("13"));
    assert_eq!(
        seen.value("sec-websocket-protocol").as_deref(),
        Some("v5.channel.k8s.io")
    );
    raw.write("\u{1}frame").await.unwrap();
    assert_eq!(raw.exactly(6).await.unwrap(), b"\x01frame");
}

#[tokio::test]
async fn early_bytes_of_both_sides_arrive() {
    let bed = Bed::start().await;
    let upgrade = Upgrade {
        early: b"server first;".to_vec(),
        ..Upgrade::default()
    };
    bed.api.answer("/api", Answer::Upgrade(upgrade));
    let mut raw = bed.client.raw().await.unwrap();
    let lines = [&[&*bearer(&bed)], &SPDY[..]].concat().join("\r\n");
    let request = format!("POST {EXEC} HTTP/1.1\r\nHost: x\r\n{lines}\r\n\r\nclient first;");
    raw.write(request).await.unwrap();
    assert_eq!(raw.head().await.unwrap().status, 101);
    assert_eq!(
        raw.exactly(26).await.unwrap(),
        b"server first;client first;"
    );
}

#[tokio::test]
async fn the_end_of_input_is_not_the_end_of_output() {
    let bed = Bed::start().await;
    let upgrade = Upgrade {
        farewell: b"the rest of the output".to_vec(),
        ..Upgrade::default()
    };
    bed.api.answer("/api", Answer::Upgrade(upgrade));
    let mut raw = open(&bed, "POST", &[&[&*bearer(&bed)], &SPDY[..]].concat()).await;
    assert_eq!(raw.head().await.unwrap().status, 101);
    raw.write("input;").await.unwrap();
    raw.finish().await.unwrap();
    assert_eq!(raw.rest().await.unwrap(), b"input;the rest of the output");
    let id = bed.api.only().connection;
    assert!(bed.api.connection(id).tunnel_eof);
}

#[tokio::test]
async fn a_client_that_goes_away_closes_the_upstream_side() {
    let bed = agreeing(Vec::new()).await;
    let mut raw = open(&bed, "POST", &[&[&*bearer(&bed)], &SPDY[..]].concat()).await;
    assert_eq!(raw.head().await.unwrap().status, 101);
    let id = bed.api.only().connection;
    drop(raw);
    bed.api
        .wait_connection(id, |state| state.closed)
        .await
        .unwrap();
}

#[tokio::test]
async fn another_protocol_in_the_101_is_a_bad_gateway() {
    let bed = Bed::start().await;
    for (lines, answered) in [(&SPDY[..], "websocket"), (&WEBSOCKET[..], "h2c")] {
        let upgrade = Upgrade {
            protocol: Some(answered.to_owned()),
            early: b"secret".to_vec(),
            ..Upgrade::default()
        };
        bed.api.answer("/api", Answer::Upgrade(upgrade));
        let mut raw = open(&bed, "POST", &[&[&*bearer(&bed)], lines].concat()).await;
        let reply = raw.reply().await.unwrap();
        reply.assert_refusal(502);
        let id = bed.api.forwarded().last().unwrap().connection;
        bed.api
            .wait_connection(id, |state| state.closed)
            .await
            .unwrap();
        assert!(bed.api.connection(id).tunnel.is_empty());
    }
}

#[tokio::test]
async fn a_101_that_nobody_asked_for_is_a_bad_gateway() {
    let bed = agreeing(Vec::new()).await;
    let token = bed.token("alice", &["dev"]);
    for protocol in Protocol::BOTH {
        let call = oidcproxy_tests::client::Call::get(EXEC).bearer(&token);
        bed.send(protocol, call).await.assert_refusal(502);
    }
}

#[tokio::test]
async fn a_refused_upgrade_opens_no_tunnel() {
    let bed = Bed::start().await;
    let status = json!({"kind": "Status", "code": 403, "message": "no exec"});
    bed.api.answer("/api", Answer::Json(403, status.clone()));
    // What follows would run with the proxy's own credential if it reached the API server.
    let smuggled = format!("GET /smuggled HTTP/1.1\r\nHost: x\r\nImpersonate-User: root\r\n\r\n");
    for lines in [&SPDY[..], &WEBSOCKET[..]] {
        let before = bed.api.forwarded().len();
        let mut raw = bed.client.raw().await.unwrap();
        let lines = [&[&*bearer(&bed)], lines].concat().join("\r\n");
        let request = format!("POST {EXEC} HTTP/1.1\r\nHost: x\r\n{lines}\r\n\r\n{smuggled}");
        raw.write(request).await.unwrap();
        let reply = raw.reply().await.unwrap();
        reply.assert_status(403);
        assert_eq!(reply.json(), status, "the answer passes as it is");
        raw.write(&smuggled).await.ok();
        raw.within(Duration::from_millis(300)).await;
        let seen = &bed.api.requests();
        assert!(
            seen.iter().all(|request| request.target != "/smuggled"),
            "{seen:#?}"
        );
        assert_eq!(bed.api.forwarded().len(), before + 1);
    }
}

#[tokio::test]
async fn a_redirected_upgrade_is_not_followed() {
    let bed = Bed::start().await;
    let location = vec![("Location", format!("{}/elsewhere", bed.api.url()))];
    bed.api
        .answer("/api", Answer::Full(302, location, Vec::new()));
    let mut raw = open(&bed, "POST", &[&[&*bearer(&bed)], &SPDY[..]].concat()).await;
    raw.reply().await.unwrap().assert_refusal(502);
    assert_eq!(bed.api.only().target, EXEC);
}

#[tokio::test]
async fn unauthenticated_upgrades_get_a_plain_answer() {
    let bed = agreeing(Vec::new()).await;
    for lines in [&SPDY[..], &WEBSOCKET[..]] {
        open(&bed, "POST", lines)
            .await
            .reply()
            .await
            .unwrap()
            .assert_refusal(401);
        let garbage = [&["Authorization: Bearer x"], lines].concat();
        open(&bed, "GET", &garbage)
            .await
            .reply()
            .await
            .unwrap()
            .assert_refusal(401);
    }
    bed.api.assert_untouched();
}

#[tokio::test]
async fn other_protocols_are_never_upgraded_to() {
    let bed = agreeing(Vec::new()).await;
    bed.api.answer("/api", Answer::Identity);
    for protocol in [
        "h2c",
        "TLS/1.0",
        "websocket, h2c",
        "h2c, websocket",
        "HTTP/2.0",
        "foo",
    ] {
        let upgrade = format!("Upgrade: {protocol}");
        let bearer = bearer(&bed);
        let lines = [
            &*bearer,
            "Connection: Upgrade, HTTP2-Settings",
            &*upgrade,
            "HTTP2-Settings: AAMAAABkAAQAAP__",
        ];
        let reply = open(&bed, "GET", &lines).await.reply().await.unwrap();
        assert!(matches!(reply.status, 200 | 400), "{protocol}: {reply:?}");
    }
    for request in bed.api.forwarded() {
        assert!(request.values("upgrade").is_empty(), "{request:?}");
        assert!(request.values("http2-settings").is_empty(), "{request:?}");
    }
}

#[tokio::test]
async fn connection_headers_do_not_remove_the_identity_of_upgrades() {
    let bed = agreeing(Vec::new()).await;
    for line in [
        "Connection: Upgrade, Impersonate-User",
        "Connection: Impersonate-User, Impersonate-Group, Authorization, upgrade",
    ] {
        let bearer = bearer(&bed);
        let before = bed.api.forwarded().len();
        let lines = [&[&*bearer, line], &SPDY[1..]].concat();
        let head = open(&bed, "POST", &lines).await.head().await.unwrap();
        let seen = bed.api.forwarded();
        if head.status == 101 {
            assert_forwarded(&seen[before], "SPDY/3.1");
        } else {
            assert_eq!((head.status, seen.len()), (400, before));
        }
    }
}

#[tokio::test]
async fn acting_as_somebody_else_is_reviewed_for_streams_too() {
    let bed = agreeing(Vec::new()).await;
    bed.api
        .reviews()
        .allow_impersonate("alice", "", "users", "bob");
    for lines in [&SPDY[..], &WEBSOCKET[..]] {
        let bearer = bearer(&bed);
        let with = |user| [&[&*bearer, user], lines].concat();
        let denied = open(&bed, "POST", &with("Impersonate-User: carol"))
            .await
            .reply()
            .await;
        denied.unwrap().assert_refusal(403);
        bed.api.assert_untouched();
    }
    let bearer = bearer(&bed);
    let lines = [&[&*bearer, "Impersonate-User: bob"], &SPDY[..]].concat();
    assert_eq!(
        open(&bed, "POST", &lines)
            .await
            .head()
            .await
            .unwrap()
            .status,
        101
    );
    assert_eq!(bed.api.only().user().as_deref(), Some("bob"));
}

/// WebSocket lines whose subprotocols are these.
fn with_protocols(protocols: &str) -> Vec<String> {
    let mut lines: Vec<String> = WEBSOCKET[..4].iter().map(ToString::to_string).collect();
    lines.push(format!("Sec-WebSocket-Protocol: {protocols}"));
    lines
}

#[tokio::test]
async fn a_token_in_the_subprotocol_authenticates_and_ends_here() {
    let bed = agreeing(Vec::new()).await;
    let token = b64(bed.token("alice", &["dev"]));
    for protocols in [
        format!("{TOKEN_PROTOCOL}{token}, v5.channel.k8s.io"),
        format!("v5.channel.k8s.io,{TOKEN_PROTOCOL}{token}"),
    ] {
        let before = bed.api.forwarded().len();
        let lines = with_protocols(&protocols);
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let head = open(&bed, "GET", &lines).await.head().await.unwrap();
        assert_eq!(head.status, 101);
        let seen = &bed.api.forwarded()[before];
        assert_forwarded(seen, "websocket");
        assert_eq!(
            seen.value("sec-websocket-protocol").as_deref(),
            Some("v5.channel.k8s.io")
        );
    }
    // Unused beside an Authorization header, it still ends here.
    let mut lines = with_protocols(&format!("v5.channel.k8s.io, {TOKEN_PROTOCOL}{token}"));
    lines.push(bearer(&bed));
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let head = open(&bed, "GET", &lines).await.head().await.unwrap();
    assert_eq!(head.status, 101);
    for request in bed.api.forwarded() {
        assert!(!format!("{request:?}").contains(&token), "{request:?}");
    }
}

#[tokio::test]
async fn odd_subprotocol_tokens_are_no_credential() {
    let bed = agreeing(Vec::new()).await;
    let token = b64(bed.token("alice", &["dev"]));
    for protocols in [
        format!("{TOKEN_PROTOCOL}{token}"),
        format!("{TOKEN_PROTOCOL}{token}, {TOKEN_PROTOCOL}{token}, v5.channel.k8s.io"),
        format!("{TOKEN_PROTOCOL}{token}=, v5.channel.k8s.io"),
        format!("{TOKEN_PROTOCOL}, v5.channel.k8s.io"),
        format!("{TOKEN_PROTOCOL}!!!, v5.channel.k8s.io"),
        format!(
            "{}{token}, v5.channel.k8s.io",
            TOKEN_PROTOCOL.to_uppercase()
        ),
    ] {
        let lines = with_protocols(&protocols);
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let reply = open(&bed, "GET", &lines).await.reply().await.unwrap();
        assert_eq!(reply.status, 401, "{protocols}: {reply:?}");
    }
    // Without an upgrade it is none either.
    let lines = with_protocols(&format!("v5.channel.k8s.io, {TOKEN_PROTOCOL}{token}"));
    let lines: Vec<&str> = lines[2..].iter().map(String::as_str).collect();
    open(&bed, "GET", &lines)
        .await
        .reply()
        .await
        .unwrap()
        .assert_refusal(401);
    bed.api.assert_untouched();
}
