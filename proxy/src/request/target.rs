//! Which request targets are served.

use http::{Method, Request, Version};

use crate::refusal::Refusal;

/// Refuses what a proxy for one server has no use for: tunnels, echoes of the request's headers,
/// and targets of other servers.
pub(crate) fn check_target<B>(request: &Request<B>) -> Result<(), Refusal> {
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        return Err(Refusal::Method(request.method().clone()));
    }
    let uri = request.uri();
    // In HTTP/2 the authority is a field of its own; in HTTP/1.1 it makes the target an absolute
    // one, for a forward proxy (RFC 9112, section 3.2.2).
    let absolute = request.version() < Version::HTTP_2 && uri.authority().is_some();
    if absolute || !uri.path().starts_with('/') {
        return Err(Refusal::BadRequest(
            "the request target must be a path".to_owned(),
        ));
    }
    Ok(())
}
