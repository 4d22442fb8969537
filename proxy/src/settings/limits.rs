//! What one client may use, of settings or by default.

use oidcproxy_crds::v1alpha1::lifecycle::Limits;

use crate::{rate::RateLimit, request::ClientNetwork};

/// A token, its groups and a browser's headers need a tenth of it. What one client can make the
/// proxy hold is this times its streams.
const HEADER_BYTES: usize = 64 * 1024;
const HEADER_COUNT: usize = 256;
/// As kube-apiserver.
const STREAMS: u32 = 100;

/// What clients may use.
#[derive(Debug)]
pub(crate) struct ClientLimits {
    /// At a time, if fewer than there are descriptors for.
    pub(crate) connections: Option<usize>,
    pub(crate) streams_per_connection: u32,
    pub(crate) header_bytes: usize,
    pub(crate) header_count: usize,
    pub(crate) requests_per_user: Option<RateLimit<String>>,
    pub(crate) unauthenticated_per_address: Option<RateLimit<ClientNetwork>>,
}

impl Default for ClientLimits {
    fn default() -> Self {
        (&Limits::default()).into()
    }
}

impl From<&Limits> for ClientLimits {
    fn from(limits: &Limits) -> Self {
        let size = |value: Option<i32>| value.and_then(|value| usize::try_from(value).ok());
        let rate = |value: Option<i32>| value.and_then(|value| u32::try_from(value).ok());
        Self {
            connections: size(limits.connections),
            streams_per_connection: rate(limits.streams_per_connection).unwrap_or(STREAMS),
            // hyper's buffer cannot be smaller.
            header_bytes: size(limits.header_bytes).unwrap_or(HEADER_BYTES).max(8192),
            header_count: size(limits.header_count).unwrap_or(HEADER_COUNT),
            requests_per_user: rate(limits.requests_per_user).map(RateLimit::new),
            unauthenticated_per_address: rate(limits.unauthenticated_per_address)
                .map(RateLimit::new),
        }
    }
}
