//! What arrives upstream: the identity always, the client's own credentials and hop-by-hop headers never.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod answers;
mod foreign_identity;
mod hop_by_hop;
mod targets;

use oidcproxy_tests::{api_server::Recorded, proxy::OWN_TOKEN};

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
