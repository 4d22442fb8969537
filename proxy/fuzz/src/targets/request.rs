//! A request's target in the first line, its headers in the others.

use http::{Request, Uri, header::SEC_WEBSOCKET_PROTOCOL};
use oidc_proxy::internals;

use super::impersonation::headers;

/// How every subprotocol begins that is a token.
const TOKEN_PROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";

pub(crate) fn run(input: &str) {
    let (target, lines) = input.split_once('\n').unwrap_or((input, ""));
    let (Ok(uri), Some(fields)) = (Uri::try_from(target), headers(lines)) else {
        return;
    };
    let mut request = Request::new(());
    *request.uri_mut() = uri;
    *request.headers_mut() = fields;
    if let Ok(read) = internals::read_request(&request) {
        assert!(request.uri().path().starts_with('/'));
        assert!(
            request.uri().authority().is_none(),
            "a target of another server"
        );
        assert!(read.tokens.len() <= 2);
        for line in read.subprotocols.get_all(SEC_WEBSOCKET_PROTOCOL) {
            // What cannot be read as text could hide one.
            let left = line.to_str().unwrap_or(TOKEN_PROTOCOL);
            assert!(
                left.split(',')
                    .all(|protocol| !protocol.trim().starts_with(TOKEN_PROTOCOL)),
                "a token stays among the subprotocols"
            );
        }
    }
}
