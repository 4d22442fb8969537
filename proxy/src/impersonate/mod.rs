//! `kubectl --as`: what a client asks for, whether the cluster allows it, and as whom the request
//! then runs.

mod checks;
mod client_request;
mod original_user;
mod request;
mod restriction;
mod review;
mod server_version;

use std::sync::Arc;

use oidcproxy_crds::v1alpha1::impersonation::StaticExtra;

pub(crate) use self::{
    client_request::ClientRequest,
    request::RequestUnderReview,
    restriction::Restriction,
    review::{AllowedBy, Reviewer},
};
use crate::identity::{Identity, IdentityHeaders};

/// Why a client may not act as somebody else.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImpersonationError {
    /// It can be read in more than one way, or in none.
    #[error("{0}")]
    BadRequest(String),
    /// The cluster, or the settings, say no.
    #[error("{0}")]
    Forbidden(String),
    /// More than is reviewed.
    #[error("{0}")]
    TooManyValues(String),
    /// The cluster could not be asked.
    #[error("{0}")]
    Unavailable(String),
}

/// The identity that a request runs as on behalf of somebody else, and its headers.
pub(crate) struct ImpersonatedTarget {
    pub(crate) identity: Arc<Identity>,
    pub(crate) headers: IdentityHeaders,
}

/// What a client asked for whose own token is forwarded: kube-apiserver reviews it.
pub(crate) fn own_target(
    request: &ClientRequest,
) -> Result<ImpersonatedTarget, ImpersonationError> {
    let identity = request.identity().clone();
    let headers = IdentityHeaders::encode(&identity).map_err(|error| {
        ImpersonationError::BadRequest(format!("the identity cannot be forwarded: {error}"))
    })?;
    Ok(ImpersonatedTarget {
        identity: Arc::new(identity),
        headers,
    })
}

/// Turns what a client asked for into what is forwarded, once it has been allowed.
pub(crate) fn target(
    request: ClientRequest,
    requester: &Identity,
    allowed_by: AllowedBy,
    static_extra: &[StaticExtra],
) -> Result<ImpersonatedTarget, ImpersonationError> {
    let mut identity = request.into_target(allowed_by);
    identity.add_extras(static_extra);
    original_user::add(&mut identity, requester);
    let headers = IdentityHeaders::encode(&identity).map_err(|error| {
        ImpersonationError::BadRequest(format!("the identity cannot be forwarded: {error}"))
    })?;
    Ok(ImpersonatedTarget {
        identity: Arc::new(identity),
        headers,
    })
}
