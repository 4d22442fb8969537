//! The way back.

use oidcproxy_tests::{
    api_server::Answer,
    bed::Bed,
    client::{Call, Protocol},
};
use serde_json::json;

use super::PODS;

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
        // Passed on, and not followed.
        moved.assert_status(302);
        bed.send(protocol, Call::new(http::Method::HEAD, PODS).bearer(&token))
            .await
            .assert_status(200);
    }
}
