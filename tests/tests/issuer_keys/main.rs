//! Keys of the issuer: rotation, floods of unknown keys, outages, and issuers that misbehave.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod outages;
mod rotation;
mod untrusted;

use std::time::Duration;

use oidcproxy_tests::client::{Call, Client, Protocol};
use tokio::time::Instant;

const PODS: &str = "/api/v1/pods";

/// Sends until the status is `code`; how many other answers came before.
async fn until(client: &Client, token: &str, code: u16, within: Duration) -> usize {
    let deadline = Instant::now() + within;
    for others in 0.. {
        let reply = client
            .send(Protocol::H1, Call::get(PODS).bearer(token))
            .await;
        let status = reply.as_ref().map(|reply| reply.status);
        if matches!(status, Ok(status) if status == code) {
            return others;
        }
        assert!(
            Instant::now() < deadline,
            "no {code} within {within:?}: {reply:?}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    unreachable!("the loop has no end")
}
