//! The API of the project: the `OidcProxy` resource, the settings that its status carries to the
//! proxies, and the state that a proxy reports. Types and their rules only; no client.

// KubeSchema repeats each struct inside a function, where `pub` cannot be reached.
#![allow(unreachable_pub)]

pub mod certificate_bundle;
pub mod dns_name;
pub mod schema;
pub mod state;
pub mod v1alpha1;

pub use v1alpha1::{OidcProxy, OidcProxySpec, OidcProxyStatus};
