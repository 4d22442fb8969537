//! Requests that two readers could read differently: nothing may be smuggled to the API server.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::time::Duration;

use oidcproxy_tests::{
    bed::Bed,
    client::{Call, H2Outcome, Protocol, send_h2_fields},
};

const PODS: &str = "/api/v1/pods";

/// What a smuggled request would look like; its own credential would be the proxy's.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test]
async fn ambiguous_lengths_smuggle_nothing() {
    let bed = Bed::start().await;
    let token = bed.token("alice", &["dev"]);
    let start = format!("POST {PODS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n");
    let cases = [
        format!("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        format!("Content-Length: 0\r\nContent-Length: 40\r\n\r\n{SMUGGLED}"),
        format!("Content-Length: 0, 40\r\n\r\n{SMUGGLED}"),
        format!("Content-Length: +0\r\n\r\n{SMUGGLED}"),
        format!("Content-Length: -1\r\n\r\n{SMUGGLED}"),
        format!("Content-Length: 0x0\r\n\r\n{SMUGGLED}"),
        format!("Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        format!("Transfer-Encoding: identity\r\n\r\n{SMUGGLED}"),
        format!("Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        format!("Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        format!("Transfer-Encoding:\u{b}chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        format!("X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        format!("X: y\nContent-Length: 0\n\n{SMUGGLED}"),
        format!(
            "Transfer-Encoding: chunked\r\n\r\n0;{}\r\n\r\n{SMUGGLED}",
            "a".repeat(40_000)
        ),
        format!("Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF1\r\n\r\n{SMUGGLED}"),
        format!("Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n{SMUGGLED}"),
        format!("Content-Length: 10\r\n\r\n0123456789{SMUGGLED}"),
    ];
    for case in cases {
        let before = bed.api.forwarded().len();
        let mut raw = bed.client.raw().await.unwrap();
        // The proxy may close before everything is written.
        let _ = raw.write(format!("{start}{case}")).await;
        // Each of them ends it: what follows has no credential.
        raw.rest().await.unwrap();
        let seen = &bed.api.forwarded()[before..];
        assert!(seen.len() <= 1, "{case:?}: {seen:#?}");
        for request in seen {
            assert_eq!(request.target, PODS, "{case:?}");
            assert_eq!(request.user().as_deref(), Some("alice"), "{case:?}");
        }
    }
}

#[tokio::test]
async fn malformed_heads_are_not_forwarded() {
    let bed = Bed::start().await;
    let bearer = format!("Authorization: Bearer {}", bed.token("alice", &["dev"]));
    for head in [
        format!("GET {PODS} HTTP/1.1\r\nHost: x\r\n{bearer}\r\nX-Re\0mote: a\r\n\r\n"),
        format!("GET {PODS} HTTP/1.1\r\nHost: x\r\n{bearer}\r\nX: a\0b\r\n\r\n"),
        format!("GET {PODS} HTTP/1.1\r\nHost: x\r\n{bearer}\r\nImpersonate-User : root\r\n\r\n"),
        format!("GET {PODS} HTTP/1.1\r\nHost: x\r\n{bearer}\r\n: a\r\n\r\n"),
        format!("GET {PODS} HTTP/1.1\r\nHost: x\r\n{bearer}\r\nno colon\r\n\r\n"),
        format!("GET {PODS} HTTP/9.9\r\nHost: x\r\n{bearer}\r\n\r\n"),
        format!("GET {PODS}\r\nHost: x\r\n{bearer}\r\n\r\n"),
        format!("GET  {PODS} HTTP/1.1\r\nHost: x\r\n{bearer}\r\n\r\n"),
        format!("GET /a b HTTP/1.1\r\nHost: x\r\n{bearer}\r\n\r\n"),
        format!(
            "GET {PODS} HTTP/1.1\r\nHost: x\r\n{bearer}\r\nX: a\r\n\tImpersonate-User: root\r\n\r\n"
        ),
    ] {
        let mut raw = bed.client.raw().await.unwrap();
        let _ = raw.write(&head).await;
        let answer = raw.rest().await.unwrap();
        let text = String::from_utf8_lossy(&answer);
        assert!(!text.starts_with("HTTP/1.1 200"), "{head:?}: {text}");
    }
    bed.api.assert_untouched();
}

#[tokio::test]
async fn two_host_headers_never_choose_the_server() {
    let bed = Bed::start().await;
    let bearer = format!("Authorization: Bearer {}", bed.token("alice", &["dev"]));
    let mut raw = bed.client.raw().await.unwrap();
    let lines = [&*bearer, "Host: evil.example"];
    raw.request(&format!("GET {PODS}"), &lines).await.unwrap();
    let reply = raw.reply().await.unwrap();
    reply.assert_status(200);
    let host = bed.api.only().value("host");
    assert_eq!(host, Some(bed.api.address().to_string()));
}

#[tokio::test]
async fn pipelined_requests_are_each_authenticated() {
    let bed = Bed::start().await;
    let token = bed.token("alice", &["dev"]);
    let good = format!("GET {PODS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
    let mut raw = bed.client.raw().await.unwrap();
    raw.write(format!("{good}{SMUGGLED}")).await.unwrap();
    raw.reply().await.unwrap().assert_status(200);
    raw.reply().await.unwrap().assert_refusal(401);
    assert_eq!(bed.api.only().target, PODS);
}

#[tokio::test]
async fn bodies_arrive_whole_by_either_framing() {
    let bed = Bed::start().await;
    let token = bed.token("alice", &["dev"]);
    let body: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    for protocol in Protocol::BOTH {
        let call = Call::new(http::Method::PUT, PODS)
            .bearer(&token)
            .body(body.clone());
        bed.send(protocol, call).await.assert_status(200);
    }
    let mut raw = bed.client.raw().await.unwrap();
    let head = format!(
        "POST {PODS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    );
    raw.write(head).await.unwrap();
    for piece in body.chunks(70_000) {
        raw.write(format!("{:x}\r\n", piece.len())).await.unwrap();
        raw.write(piece).await.unwrap();
        raw.write("\r\n").await.unwrap();
    }
    raw.write("0\r\n\r\n").await.unwrap();
    raw.reply().await.unwrap().assert_status(200);
    let seen = bed.api.forwarded();
    assert_eq!(seen.len(), 3);
    for request in seen {
        assert!(request.body == body, "{} bytes arrived", request.body.len());
    }
}

#[tokio::test]
async fn a_client_may_wait_to_be_asked_for_its_body() {
    let bed = Bed::start().await;
    let bearer = format!("Authorization: Bearer {}", bed.token("alice", &[]));
    let lines = [&*bearer, "Expect: 100-continue", "Content-Length: 5"];
    let mut raw = bed.client.raw().await.unwrap();
    raw.request(&format!("POST {PODS}"), &lines).await.unwrap();
    let asked = raw.within(Duration::from_secs(2)).await;
    assert_eq!(asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    raw.write("hello").await.unwrap();
    raw.reply().await.unwrap().assert_status(200);
    let seen = bed.api.only();
    assert_eq!(seen.body, b"hello");
    assert!(seen.values("expect").is_empty(), "{seen:?}");
    // Who is refused is not asked for anything.
    let mut raw = bed.client.raw().await.unwrap();
    raw.request(&format!("POST {PODS}"), &lines[1..])
        .await
        .unwrap();
    let answer = raw.within(Duration::from_secs(2)).await;
    assert!(answer.starts_with(b"HTTP/1.1 401 "), "{answer:?}");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_the_api_servers_fault() {
    let bed = Bed::start().await;
    let token = bed.token("alice", &[]);
    let head = format!(
        "POST {PODS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    for rest in ["2\r\n{}\r\nx\r\n", "2\n{}\n0\n\n", "2\r\n{}0\r\n\r\n"] {
        let mut raw = bed.client.raw().await.unwrap();
        raw.write(format!("{head}{rest}")).await.unwrap();
        let reply = raw.reply().await.unwrap();
        reply.assert_refusal(400);
        let message = reply.json()["message"].to_string();
        assert!(message.contains("the request's body broke off"), "{rest:?}");
    }
    let mut raw = bed.client.raw().await.unwrap();
    raw.write(format!("{head}2\r\n")).await.unwrap();
    drop(raw);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let metrics = bed.proxy.probe("/metrics").await.unwrap().text();
    for kind in ["broken", "unreachable", "timeout"] {
        let none = format!("oidc_proxy_upstream_errors_total{{kind=\"{kind}\"}} 0");
        assert!(metrics.contains(&none), "{metrics}");
    }
    assert!(bed.api.forwarded().is_empty(), "never a whole request");
}

#[tokio::test]
async fn headers_beyond_the_limit_are_refused() {
    let bed = Bed::start().await;
    let bearer = format!("Authorization: Bearer {}", bed.token("alice", &["dev"]));
    let many: Vec<String> = (0..300).map(|n| format!("X-{n}: y")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let long = format!("X: {}", "x".repeat(64 << 10));
    for lines in [vec![&*bearer, &*long], [vec![&*bearer], many].concat()] {
        let mut raw = bed.client.raw().await.unwrap();
        raw.request(&format!("GET {PODS}"), &lines).await.unwrap();
        raw.reply().await.unwrap().assert_status(431);
        assert!(raw.rest().await.unwrap().is_empty(), "and closed");
    }
    // Of one that goes on and on the answer may be lost: it is closed while it is still being written.
    let huge = format!("X: {}", "x".repeat(8 << 20));
    let mut raw = bed.client.raw().await.unwrap();
    let sent = raw.request(&format!("GET {PODS}"), &[&bearer, &huge]).await;
    let answer = raw.within(Duration::from_secs(10)).await;
    let is_refused = answer.starts_with(b"HTTP/1.1 431 ");
    assert!(
        is_refused || (sent.is_err() && answer.is_empty()),
        "{sent:?}"
    );
    bed.api.assert_untouched();
    bed.get_with(Protocol::H1, &bed.token("alice", &[]))
        .await
        .assert_status(200);
}

#[tokio::test]
async fn the_number_of_fields_is_bounded_over_http2_too() {
    let bed = Bed::start().await;
    let mut call = Call::get("/api/v1/pods").bearer(&bed.token("alice", &[]));
    for _ in 0..300 {
        call = call.header("a", "");
    }
    bed.send(Protocol::H2, call).await.assert_refusal(431);
    bed.api.assert_untouched();
}

#[tokio::test]
async fn an_empty_length_is_refused() {
    let bed = Bed::start().await;
    let bearer = format!("Bearer {}", bed.token("alice", &[]));
    let fields = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "k8s.example"),
        (":path", "/api/v1/pods"),
        ("authorization", bearer.as_str()),
        ("content-length", ""),
    ];
    let outcome = send_h2_fields(&bed.client, &fields).await.unwrap();
    assert_eq!(outcome, H2Outcome::Response);
    bed.api.assert_untouched();
    // By the proxy, before anything else was decided.
    let line = bed.proxy.access_line(PODS).await.unwrap();
    assert!(line.contains("AuFail"), "{line}");
}

/// The parser cuts it off before anybody sees it.
#[tokio::test]
async fn a_fragment_does_not_arrive() {
    let bed = Bed::start().await;
    let bearer = format!("Authorization: Bearer {}", bed.token("alice", &[]));
    let mut raw = bed.client.raw().await.unwrap();
    raw.request(&format!("GET {PODS}?limit=1#x"), &[&bearer])
        .await
        .unwrap();
    raw.reply().await.unwrap().assert_status(200);
    assert_eq!(bed.api.only().target, format!("{PODS}?limit=1"));
}

#[tokio::test]
async fn whoever_has_no_credential_keeps_no_connection() {
    let bed = Bed::start().await;
    for protocol in Protocol::BOTH {
        let mut connection = bed.connect(protocol).await;
        let refused = connection.send(Call::get("/api/v1/pods")).await.unwrap();
        refused.assert_refusal(401);
        tokio::time::sleep(Duration::from_millis(200)).await;
        let again = connection.send(Call::get("/api/v1/pods")).await;
        assert!(again.is_err(), "{protocol:?}: {again:?}");
    }
}

#[tokio::test]
async fn the_body_of_a_get_is_not_lost() {
    let bed = Bed::start().await;
    let bearer = format!("Authorization: Bearer {}", bed.token("alice", &[]));
    for method in ["GET", "HEAD", "DELETE", "POST"] {
        let mut raw = bed.client.raw().await.unwrap();
        raw.request(
            &format!("{method} /api/v1/pods"),
            &[&bearer, "Transfer-Encoding: chunked"],
        )
        .await
        .unwrap();
        raw.write("5\r\nhello\r\n0\r\n\r\n").await.unwrap();
        assert_eq!(raw.head().await.unwrap().status, 200, "{method}");
        let seen = bed.api.forwarded().pop().unwrap();
        assert_eq!((&*seen.method, &*seen.body), (method, &b"hello"[..]));
        let call = Call::new(method.parse().unwrap(), "/api/v1/pods")
            .bearer(&bed.token("alice", &[]))
            .body("over h2");
        bed.send(Protocol::H2, call).await.assert_status(200);
        let seen = bed.api.forwarded().pop().unwrap();
        assert_eq!((&*seen.method, &*seen.body), (method, &b"over h2"[..]));
    }
}
