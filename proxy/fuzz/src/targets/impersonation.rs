//! The `Impersonate-*` headers of clients: lines of `name: value`.

use http::{HeaderMap, HeaderName, HeaderValue};
use oidc_proxy::internals;

use super::check_identity;

const REQUESTER: &str = "corp:requester";

/// `None` for what no HTTP parser lets through.
pub(super) fn headers(input: &str) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in input.lines() {
        let (name, value) = line.split_once(": ").unwrap_or((line, ""));
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).ok()?);
    }
    Some(headers)
}

pub(crate) fn run(input: &str) {
    let Some(headers) = headers(input) else {
        return;
    };
    let asked = headers
        .keys()
        .any(|name| name.as_str().starts_with("impersonate-"));
    match internals::impersonated(&headers, REQUESTER) {
        Err(message) => assert!(!message.is_empty(), "a refusal says why"),
        Ok(None) => assert!(!asked, "nothing that was asked for is ignored"),
        Ok(Some(lines)) => {
            check_identity(&lines);
            let original = "impersonate-extra-originaluser.jetstack.io-";
            let said = lines.iter().filter(|(name, _)| name.starts_with(original));
            let said: Vec<_> = said.map(|(_, value)| value.as_slice()).collect();
            assert_eq!(
                said,
                [REQUESTER.as_bytes()],
                "who asked is the proxy's to say"
            );
        }
    }
}
