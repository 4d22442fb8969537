//! Fakes, clients and process handling of the black-box suites.
//!
//! Everything speaks over real sockets: the proxy under test is the real binary.

// Harness code: a step that cannot happen should end the test with its reason.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc
)]

pub mod api_server;
pub mod bed;
pub mod chart;
pub mod client;
pub mod connect_proxy;
pub mod control_plane;
pub mod demo_issuer;
pub mod faulty_api;
pub mod issuer;
pub mod jose;
pub mod objects;
pub mod process;
pub mod proxy;
pub mod real_issuer;
pub mod server;
pub mod tls;
pub mod web;
pub mod webhook;
