//! Upgrades, over SPDY and WebSocket.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod acting_as;
mod refusals;
mod splice;
mod subprotocol;

use oidcproxy_tests::{
    api_server::{Answer, Recorded, Upgrade},
    bed::Bed,
    client::RawConnection,
    proxy::OWN_TOKEN,
};

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
