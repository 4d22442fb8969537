//! What a request says of itself, before anybody is asked about it.

mod client_address;
mod client_network;
mod credentials;
mod info;
mod known_resource;
mod list_options;
mod resource_path;
mod target;
mod upgrade;

use http::Method;

pub(crate) use self::{
    client_address::TrustedProxies,
    client_network::ClientNetwork,
    credentials::{Credentials, strip_subprotocol_tokens},
    info::{Attributes, LongRunning, ObjectReference, RequestInfo},
    target::check_head,
    upgrade::{Upgrade, UpgradeProtocol},
};

/// Why a request is not even looked at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    /// It can be read in more than one way, or in none.
    #[error("{0}")]
    Ambiguous(&'static str),
    /// CONNECT and TRACE.
    #[error("the method {0} is not served")]
    Method(Method),
    /// More header fields than are read.
    #[error("a request may have at most {0} header fields")]
    TooManyFields(usize),
}
