//! As whom a request runs: identities, their headers, and `kubectl --as`.

mod client_request;
mod headers;
mod identity;
mod original_user;
mod review;

use oidcproxy_crds::v1alpha1::impersonation::StaticExtra;

pub(crate) use self::{
    client_request::ClientRequest,
    headers::{IdentityHeaders, UnsafeIdentity},
    identity::Identity,
    review::Reviewer,
};
use crate::refusal::Refusal;

/// The identity that a request runs as on behalf of somebody else, and its headers.
pub(crate) struct ImpersonatedTarget {
    pub(crate) identity: Identity,
    pub(crate) headers: IdentityHeaders,
}

/// Turns what a client asked for into what is forwarded, once it has been allowed.
pub(crate) fn target(
    request: ClientRequest,
    requester: &Identity,
    static_extra: &[StaticExtra],
) -> Result<ImpersonatedTarget, Refusal> {
    let mut identity = request.into_target();
    identity.add_extras(static_extra);
    original_user::add(&mut identity, requester);
    let headers = IdentityHeaders::encode(&identity).map_err(|error| {
        Refusal::BadRequest(format!("the identity cannot be forwarded: {error}"))
    })?;
    Ok(ImpersonatedTarget { identity, headers })
}
