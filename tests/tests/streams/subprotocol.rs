//! Tokens of browsers, who have only a WebSocket subprotocol to put them into.

use oidcproxy_tests::jose::b64;

use super::{WEBSOCKET, agreeing, assert_forwarded, bearer, open};

const PREFIX: &str = "base64url.bearer.authorization.k8s.io.";

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
        format!("{PREFIX}{token}, v5.channel.k8s.io"),
        format!("v5.channel.k8s.io,{PREFIX}{token}"),
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
    let mut lines = with_protocols(&format!("v5.channel.k8s.io, {PREFIX}{token}"));
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
        format!("{PREFIX}{token}"),
        format!("{PREFIX}{token}, {PREFIX}{token}, v5.channel.k8s.io"),
        format!("{PREFIX}{token}=, v5.channel.k8s.io"),
        format!("{PREFIX}, v5.channel.k8s.io"),
        format!("{PREFIX}!!!, v5.channel.k8s.io"),
        format!("{}{token}, v5.channel.k8s.io", PREFIX.to_uppercase()),
    ] {
        let lines = with_protocols(&protocols);
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let reply = open(&bed, "GET", &lines).await.reply().await.unwrap();
        assert_eq!(reply.status, 401, "{protocols}: {reply:?}");
    }
    // Without an upgrade it is none either.
    let lines = with_protocols(&format!("v5.channel.k8s.io, {PREFIX}{token}"));
    let lines: Vec<&str> = lines[2..].iter().map(String::as_str).collect();
    open(&bed, "GET", &lines)
        .await
        .reply()
        .await
        .unwrap()
        .assert_refusal(401);
    bed.api.assert_untouched();
}
