//! The operator: it turns each `OidcProxy` into a running proxy and says in its status how far
//! that has come.

pub mod admin;
pub mod app;
pub mod args;
pub mod controller;
pub mod events;
pub mod lease;
pub mod metrics;
pub mod pki;
pub mod telemetry;
pub mod uninstall;
