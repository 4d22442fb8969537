//! The end-to-end suite: the chart, the images, real kubectl of two generations, Keycloak, and a
//! cluster that enforces NetworkPolicy. `make test-cluster` brings up what it needs.

// A step that fails ends the test.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod bad_input;
mod changes;
mod children;
mod clients;
mod deletion;
mod eviction;
mod network;
mod other_clients;
mod passthrough;
mod provided;
mod refusals;
mod rest;
mod traffic;
