//! A request's target in the first line, its headers in the others.

use http::{HeaderMap, Request, Uri};
use oidc_proxy::internals;

use super::impersonation::headers;

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
        for token in &read.tokens {
            let seen = |headers: &HeaderMap| format!("{headers:?}").contains(token.as_str());
            assert!(
                token.is_empty() || !read.is_websocket || !seen(&read.subprotocols),
                "a token stays among the subprotocols"
            );
        }
    }
}
