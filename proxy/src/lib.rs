//! An OIDC login in front of kube-apiserver.
//!
//! `settings -> request -> authn -> impersonate -> forward -> audit`: the rooms of a request's
//! way, which `pipeline` walks in one function. What is known of a request so far stands in its
//! `audit::Exchange`, from the first step on.

mod admin;
mod app;
mod args;
mod audit;
mod authn;
mod base64url;
mod body;
mod certificate_files;
mod cluster;
mod descriptors;
mod drain;
mod early_end;
mod first_line;
mod forward;
mod identity;
mod impersonate;
#[cfg(feature = "internals")]
pub mod internals;
mod metrics;
mod pipeline;
mod rate;
mod readiness;
mod refusal;
mod request;
mod server;
mod settings;
mod telemetry;
mod traces;

pub use self::{app::run, args::Args};
