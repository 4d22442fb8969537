//! What arrives upstream: the identity always, the client's own credentials and hop-by-hop headers never.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use oidcproxy_tests::{
    api_server::{Answer, Recorded},
    bed::Bed,
    client::{Call, H2Outcome, Protocol, send_h2_fields},
    proxy::OWN_TOKEN,
};
use serde_json::json;

const PODS: &str = "/api/v1/pods";

/// The request runs as alice in dev, with the proxy's own token, and as nobody else.
#[track_caller]
fn assert_identity(request: &Recorded) {
    assert_eq!(request.user().as_deref(), Some("alice"), "{request:?}");
    assert_eq!(
        request.groups(),
        ["dev", "system:authenticated"],
        "{request:?}"
    );
    assert_eq!(
        request.values("authorization"),
        [format!("Bearer {OWN_TOKEN}")],
        "{request:?}"
    );
}

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
        if reply.status == 200 {
            assert_eq!(seen.len(), before + 1, "{case:?}");
            assert_identity(&seen[before]);
            assert!(
                seen[before]
                    .value("host")
                    .is_some_and(|host| !host.is_empty())
            );
        } else {
            assert!(matches!(reply.status, 400 | 401), "{case:?}: {reply:?}");
            assert_eq!(seen.len(), before, "{case:?}");
        }
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

#[tokio::test]
async fn front_proxy_headers_end_here() {
    let bed = Bed::start().await;
    let token = bed.token("alice", &["dev"]);
    let names = [
        "x-remote-user",
        "x-remote-uid",
        "x-remote-group",
        "x-remote-extra-scopes",
        "X-rEMOTE-uSER",
        "remote-user",
        "remote-groups",
        "front-proxy-user",
        "x-auth-request-email",
        "x-forwarded-access-token",
        "x-forwarded-client-cert",
        "x-forwarded-email",
        "x-forwarded-group",
        "x-forwarded-groups",
        "x-forwarded-preferred-username",
        "x-forwarded-user",
    ];
    for protocol in Protocol::BOTH {
        let call = names
            .iter()
            .fold(Call::get(PODS).bearer(&token), |call, name| {
                call.header(name, "root")
            });
        bed.send(protocol, call).await.assert_status(200);
    }
    for request in bed.api.forwarded() {
        assert_identity(&request);
        for name in names {
            let name = name.to_lowercase();
            assert!(request.names(&name).is_empty(), "{name}: {request:?}");
        }
    }
}

#[tokio::test]
async fn lookalikes_of_protected_headers_do_not_arrive() {
    let bed = Bed::start().await;
    let token = bed.token("alice", &["dev"]);
    let names = [
        "impersonate_user",
        "impersonate_group",
        "Impersonate-User_",
        "impersonate_extra_a",
        "x_remote_user",
        "x-remote_user",
        "x_forwarded_user",
        "x-forwarded_groups",
        "front_proxy-user",
    ];
    for protocol in Protocol::BOTH {
        for name in names {
            let before = bed.api.forwarded().len();
            let call = Call::get(PODS).bearer(&token).header(name, "root");
            let reply = bed.send(protocol, call).await;
            let seen = bed.api.forwarded();
            if reply.status == 200 {
                assert_identity(&seen[before]);
                let names = seen[before].names("");
                assert!(
                    !names.contains(&name.to_lowercase()),
                    "{name}: {:?}",
                    seen[before]
                );
            } else {
                assert!(matches!(reply.status, 400 | 403), "{name}: {reply:?}");
                assert_eq!(seen.len(), before);
            }
        }
    }
}

#[tokio::test]
async fn trailers_do_not_carry_an_identity() {
    let bed = Bed::start().await;
    let token = bed.token("alice", &["dev"]);
    let mut raw = bed.client.raw().await.unwrap();
    let head = format!(
        "POST {PODS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nTransfer-Encoding: chunked\r\nTrailer: Impersonate-User, X-Remote-User\r\n\r\n"
    );
    let body = "2\r\n{}\r\n0\r\nImpersonate-User: root\r\nX-Remote-User: root\r\n\r\n";
    raw.write(head + body).await.unwrap();
    raw.reply().await.unwrap().assert_status(200);
    let call = Call::new(http::Method::POST, PODS)
        .bearer(&token)
        .body("{}");
    let call = call
        .trailer("impersonate-user", "root")
        .trailer("x-remote-user", "root");
    bed.send(Protocol::H2, call).await.assert_status(200);
    let seen = bed.api.forwarded();
    assert_eq!(seen.len(), 2);
    for request in seen {
        assert_identity(&request);
        assert_eq!(request.body, b"{}");
        assert!(request.trailers.is_empty(), "{:?}", request.trailers);
        assert!(request.names("x-remote-").is_empty());
    }
}

#[tokio::test]
async fn paths_and_queries_arrive_byte_for_byte() {
    let bed = Bed::start().await;
    let token = bed.token("alice", &["dev"]);
    let bearer = format!("Authorization: Bearer {token}");
    let targets = [
        "/",
        "/api/v1/namespaces/a%2fb/pods/c%2Fd",
        "//api//v1/",
        "/api/../secret",
        "/api/./v1/..",
        "/api/%2e%2e/%2E./x",
        "/a;b=c/d;e",
        "/a%00b%0d%0ac",
        "/api?",
        "/api?a=b&a=c&&=&d",
        "/api?watch=1;x=y&z=%zz",
        "/api?command=sh&command=-c&command=a+b%20%26%26c",
        "/api?a=/../?b=?&c=%E2%82%AC",
        "/api/v1/namespaces/~!$&'()*+,=:@/x",
    ];
    for target in targets {
        let before = bed.api.forwarded().len();
        let mut raw = bed.client.raw().await.unwrap();
        raw.request(&format!("GET {target}"), &[&bearer])
            .await
            .unwrap();
        raw.reply().await.unwrap().assert_status(200);
        bed.send(Protocol::H2, Call::get(target).bearer(&token))
            .await
            .assert_status(200);
        for request in &bed.api.forwarded()[before..] {
            assert_eq!(request.target, target);
            assert_identity(request);
        }
    }
}

#[tokio::test]
async fn requests_go_to_the_configured_server_whatever_they_name() {
    let bed = Bed::start().await;
    let bearer = format!("Authorization: Bearer {}", bed.token("alice", &["dev"]));
    for line in [
        "GET http://evil.example/api/v1/pods",
        "GET https://evil.example:1/api/v1/pods",
        "GET /api/v1/pods",
    ] {
        let before = bed.api.forwarded().len();
        let mut raw = bed.client.raw().await.unwrap();
        raw.request(line, &[&bearer]).await.unwrap();
        let reply = raw.reply().await.unwrap();
        let seen = bed.api.forwarded();
        if reply.status == 200 {
            assert_eq!(seen[before].target, PODS);
            assert_eq!(
                seen[before].value("host"),
                Some(bed.api.address().to_string())
            );
        } else {
            reply.assert_status(400);
            assert_eq!(seen.len(), before);
        }
    }
    let before = bed.api.forwarded().len();
    for line in [
        "CONNECT evil.example:443",
        "CONNECT /api",
        "TRACE /api/v1/pods",
    ] {
        let mut raw = bed.client.raw().await.unwrap();
        raw.request(line, &[&bearer]).await.unwrap();
        let reply = raw.reply().await.unwrap();
        assert!(matches!(reply.status, 400 | 405 | 501), "{line}: {reply:?}");
    }
    assert_eq!(bed.api.forwarded().len(), before);
}

#[tokio::test]
async fn answers_pass_without_their_hop_by_hop_headers() {
    let bed = Bed::start().await;
    let token = bed.token("alice", &["dev"]);
    let headers = vec![
        ("Connection", "X-Internal".to_owned()),
        ("X-Internal", "1".to_owned()),
        ("Keep-Alive", "timeout=5".to_owned()),
        ("Retry-After", "7".to_owned()),
        ("Warning", "299 - \"deprecated\"".to_owned()),
        ("Audit-Id", "another".to_owned()),
        ("Content-Type", "application/json".to_owned()),
    ];
    let answer = json!({"kind": "Status", "code": 429}).to_string();
    bed.api.answer(
        "/busy",
        Answer::Full(429, headers, answer.clone().into_bytes()),
    );
    let location = vec![("Location", "https://evil.example/".to_owned())];
    bed.api
        .answer("/moved", Answer::Full(302, location, Vec::new()));
    for protocol in Protocol::BOTH {
        let call = Call::get("/busy").bearer(&token).header("audit-id", "abc");
        let reply = bed.send(protocol, call).await;
        reply.assert_status(429);
        assert_eq!(reply.body, answer);
        assert_eq!(reply.header("retry-after"), Some("7"));
        assert_eq!(reply.header("warning"), Some("299 - \"deprecated\""));
        assert_eq!(reply.header("audit-id"), Some("abc"));
        for name in ["x-internal", "keep-alive"] {
            assert_eq!(reply.header(name), None, "{name}");
        }
        let moved = bed.send(protocol, Call::get("/moved").bearer(&token)).await;
        assert!(
            matches!(moved.status, 302 | 502),
            "redirects are not followed: {moved:?}"
        );
        bed.send(protocol, Call::new(http::Method::HEAD, PODS).bearer(&token))
            .await
            .assert_status(200);
    }
}

#[tokio::test]
async fn a_trace_of_the_clients_passes_through() {
    let bed = Bed::start().await;
    let token = bed.token("alice", &["dev"]);
    let context = [
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
        ("tracestate", "vendor=1,other=2"),
        ("baggage", "key=value"),
    ];
    for protocol in Protocol::BOTH {
        let mut call = Call::get(PODS).bearer(&token);
        for (name, value) in context {
            call = call.header(name, value);
        }
        bed.send(protocol, call).await.assert_status(200);
        let seen = bed.api.forwarded().pop().unwrap();
        for (name, value) in context {
            assert_eq!(seen.values(name), [value], "{protocol:?}");
        }
    }
}
