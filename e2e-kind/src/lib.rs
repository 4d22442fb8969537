//! What the end-to-end suite works with: the running test cluster, real clients, and one release
//! of the chart with one `OidcProxy` that all read-only tests share.

// Harness code: a step that fails ends the test.
#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

pub mod client;
pub mod environment;
pub mod kept;
pub mod namespace;
pub mod oidc_proxy;
pub mod release;
pub mod suite;
pub mod traffic;
pub mod user;
pub mod wait;
