//! Connections and what they may cost: clients that say little, much or nothing, and the leave.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod descriptors;
mod http2;
mod kept_open;
mod silent;
mod uploads;

const PODS: &str = "/api/v1/pods";
