//! Which requests are looked at.

use http::{HeaderMap, HeaderValue, Method, Request, Version, header};

use super::RequestError;

/// Refuses what a proxy for one server has no use for: tunnels, echoes of the request's headers,
/// targets of other servers, a body of two lengths, and more fields than any client has. HTTP/1.1's parser counts them;
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
    if !has_one_length(request.headers()) {
        return Err(RequestError::Ambiguous("Content-Length must be one number"));
    }
    Ok(())
}

/// HTTP/2 carries any text under this name, and kube-apiserver would fail the connection of others.
fn has_one_length(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let is_number = |length: &HeaderValue| {
        !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit)
    };
    lengths.next().is_none_or(is_number) && lengths.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_one_number() {
        let check = |lengths: &[&'static str]| {
            let mut request = Request::new(());
            for length in lengths {
                let length = HeaderValue::from_static(length);
                request.headers_mut().append(header::CONTENT_LENGTH, length);
            }
            check_head(&request, 10).is_ok()
        };
        assert!(check(&[]) && check(&["0"]) && check(&["0042"]));
        for wrong in [
            &[""][..],
            &["+1"],
            &["-1"],
            &["1, 1"],
            &["0x1"],
            &["1", "1"],
        ] {
            assert!(!check(wrong), "{wrong:?}");
        }
    }
}
