//! Which requests are looked at.

use http::{Method, Request, Version};

use super::RequestError;

/// Refuses what a proxy for one server has no use for: tunnels, echoes of the request's headers,
/// targets of other servers, and more fields than any client has. HTTP/1.1's parser counts them;
/// HTTP/2 bounds the bytes of a head only, and its compression makes a field of one byte.
pub(crate) fn check_head<B>(request: &Request<B>, max_fields: usize) -> Result<(), RequestError> {
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        return Err(RequestError::Method(request.method().clone()));
    }
    let uri = request.uri();
    // In HTTP/2 the authority is a field of its own; in HTTP/1.1 it makes the target an absolute
    // one, for a forward proxy (RFC 9112, section 3.2.2).
    let absolute = request.version() < Version::HTTP_2 && uri.authority().is_some();
    if absolute || !uri.path().starts_with('/') {
        return Err(RequestError::Ambiguous("the request target must be a path"));
    }
    if request.headers().len() > max_fields {
        return Err(RequestError::TooManyFields(max_fields));
    }
    Ok(())
}
