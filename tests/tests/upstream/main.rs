//! The way to kube-apiserver: its faults, and what is renewed on either side.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod faults;
mod renewal;
mod unauthorized;
