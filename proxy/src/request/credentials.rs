//! Where a request carries its token: the `Authorization` header, or a WebSocket subprotocol,
//! since browsers cannot set headers on `WebSockets`.

use http::{HeaderMap, HeaderValue, header};

use super::{RequestError, Upgrade, UpgradeProtocol};
use crate::base64url::decode_leniently;

const BEARER_PROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";

/// What one place of a request holds. A token that cannot be read is not the same as none: whoever
/// presents one must not be taken for somebody anonymous.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) enum Presented {
    /// Nothing, or an empty token.
    #[default]
    Nothing,
    /// A token.
    Token(String),
    /// Something that is meant to be one; it says what is wrong.
    Unreadable(&'static str),
}

/// The tokens of a request, in the order in which kube-apiserver tries them.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Credentials {
    pub(crate) bearer: Presented,
    pub(crate) subprotocol: Presented,
    /// Two blanks after `Bearer`: no token there, and a warning.
    pub(crate) extra_space: bool,
}

impl Credentials {
    pub(crate) fn of(headers: &HeaderMap, upgrade: Option<Upgrade>) -> Result<Self, RequestError> {
        let mut lines = headers.get_all(header::AUTHORIZATION).iter();
        let line = lines.next();
        if lines.next().is_some() {
            return Err(RequestError::Ambiguous(
                "the Authorization header is given more than once",
            ));
        }
        let mut credentials = line.map(Self::from_authorization).unwrap_or_default();
        let websocket =
            upgrade.is_some_and(|upgrade| upgrade.protocol == UpgradeProtocol::WebSocket);
        if websocket {
            credentials.subprotocol = subprotocol_token(headers);
        }
        Ok(credentials)
    }

    /// What is there, in order.
    pub(crate) fn presented(&self) -> impl Iterator<Item = Result<&str, &'static str>> {
        [&self.bearer, &self.subprotocol]
            .into_iter()
            .filter_map(|presented| match presented {
                Presented::Nothing => None,
                Presented::Token(token) => Some(Ok(token.as_str())),
                Presented::Unreadable(reason) => Some(Err(*reason)),
            })
    }

    fn from_authorization(line: &HeaderValue) -> Self {
        let mut parts = trimmed(line.as_bytes()).splitn(3, |byte| *byte == b' ');
        let is_bearer = parts
            .next()
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer"));
        match parts.next() {
            Some([]) if is_bearer => Self {
                extra_space: true,
                ..Self::default()
            },
            Some(token) if is_bearer => Self {
                bearer: match std::str::from_utf8(token) {
                    Ok(token) => Presented::Token(token.to_owned()),
                    Err(_) => Presented::Unreadable("the bearer token is not UTF-8"),
                },
                ..Self::default()
            },
            _ => Self::default(),
        }
    }
}

/// Exactly one, and beside it another protocol that the server can answer with.
fn subprotocol_token(headers: &HeaderMap) -> Presented {
    let mut token = None;
    let mut others = false;
    for protocol in offered(headers) {
        match protocol.strip_prefix(BEARER_PROTOCOL.as_bytes()) {
            None => others = true,
            Some(_) if token.is_some() => {
                return Presented::Unreadable("there are two tokens among the subprotocols");
            }
            Some(encoded) => token = Some(encoded),
        }
    }
    let Some(encoded) = token.filter(|encoded| !encoded.is_empty()) else {
        return Presented::Nothing;
    };
    match decode_leniently(encoded).map(String::from_utf8) {
        Some(Ok(_)) if !others => {
            Presented::Unreadable("the token is the only one of the subprotocols")
        }
        Some(Ok(token)) => Presented::Token(token),
        _ => Presented::Unreadable("the token among the subprotocols is not base64url of UTF-8"),
    }
}

/// Every entry, even an empty one.
fn offered(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(trimmed)
}

/// Without blanks at the edges: Unicode's, too, where the text is Unicode, as Go has it.
fn trimmed(bytes: &[u8]) -> &[u8] {
    std::str::from_utf8(bytes).map_or_else(|_| bytes.trim_ascii(), |text| text.trim().as_bytes())
}

fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|protocol| !protocol.is_empty())
}

/// Takes tokens out of the subprotocols, used or not: they would travel on to the kubelet.
pub(crate) fn strip_subprotocol_tokens(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    // Subprotocols are tokens of RFC 9110: what cannot be read could hide one of ours.
    let is_readable = lines.all(|line| line.to_str().is_ok());
    if is_readable && !protocols(headers).any(|protocol| protocol.starts_with(BEARER_PROTOCOL)) {
        return;
    }
    let others: Vec<_> = protocols(headers)
        .filter(|protocol| !protocol.starts_with(BEARER_PROTOCOL))
        .collect();
    match HeaderValue::from_str(&others.join(",")) {
        Ok(value) if !others.is_empty() => {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value);
        }
        _ => {
            headers.remove(header::SEC_WEBSOCKET_PROTOCOL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn token(text: &str) -> Presented {
        Presented::Token(text.to_owned())
    }

    fn bearer(line: &[u8]) -> Presented {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_bytes(line).unwrap());
        Credentials::of(&headers, None).unwrap().bearer
    }

    const WEBSOCKET: Option<Upgrade> = Some(Upgrade {
        protocol: UpgradeProtocol::WebSocket,
    });

    #[test]
    fn bearer_is_read_as_kube_apiserver_reads_it() {
        for line in [
            "Bearer abc",
            "bearer abc",
            "BEARER abc",
            "Bearer abc trailing words",
            "\u{a0}Bearer abc \u{a0}",
        ] {
            assert_eq!(bearer(line.as_bytes()), token("abc"), "{line}");
        }
        for line in ["Bearer", "Bearer  abc", "Bearer\tabc", "Basic abc", "abc"] {
            assert_eq!(bearer(line.as_bytes()), Presented::Nothing, "{line}");
        }
    }

    #[test]
    fn a_token_that_is_no_text_is_not_the_same_as_none() {
        let unreadable = |line: &[u8]| matches!(bearer(line), Presented::Unreadable(_));
        assert!(unreadable(b"Bearer a\xffc"));
        assert!(unreadable(b"Bearer \xff words"));
        assert_eq!(bearer(b"Bearer abc \xff"), token("abc"));
        assert_eq!(bearer(b"Basic \xff"), Presented::Nothing);
    }

    #[test]
    fn two_authorization_headers_are_refused() {
        let twice = headers(&[("authorization", "Bearer a"), ("authorization", "Bearer a")]);
        assert!(matches!(
            Credentials::of(&twice, None),
            Err(RequestError::Ambiguous(_))
        ));
    }

    fn subprotocol(lines: &[&[u8]]) -> Presented {
        let mut headers = HeaderMap::new();
        for line in lines {
            let value = HeaderValue::from_bytes(line).unwrap();
            headers.append("sec-websocket-protocol", value);
        }
        Credentials::of(&headers, WEBSOCKET).unwrap().subprotocol
    }

    #[test]
    fn a_subprotocol_token_needs_another_protocol() {
        let good = "v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.YWJj";
        assert_eq!(subprotocol(&[good.as_bytes()]), token("abc"));
        let plain = headers(&[("sec-websocket-protocol", good)]);
        let plain = Credentials::of(&plain, None).unwrap();
        assert_eq!(plain.subprotocol, Presented::Nothing);
        // Go leaves the last bits alone, and takes nothing for a protocol, too.
        for line in [
            "a, base64url.bearer.authorization.k8s.io.YWK",
            "base64url.bearer.authorization.k8s.io.YWI,",
        ] {
            assert_eq!(subprotocol(&[line.as_bytes()]), token("ab"), "{line}");
        }
    }

    #[test]
    fn a_broken_subprotocol_token_is_not_the_same_as_none() {
        let one = "base64url.bearer.authorization.k8s.io.YWJj";
        let twice = format!("a, {one}, {one}");
        for lines in [
            &[one.as_bytes()][..],
            &[b"a, base64url.bearer.authorization.k8s.io.YWI="],
            &[b"a, base64url.bearer.authorization.k8s.io._w"],
            &[b"a, base64url.bearer.authorization.k8s.io.a\xffc"],
            &[twice.as_bytes()],
            &[b"a", one.as_bytes(), one.as_bytes()],
            &[b"a, base64url.bearer.authorization.k8s.io.", one.as_bytes()],
        ] {
            let found = subprotocol(lines);
            assert!(matches!(found, Presented::Unreadable(_)), "{lines:?}");
        }
        for lines in [
            &[&b"a, base64url.bearer.authorization.k8s.io."[..]][..],
            &[b"base64url.bearer.authorization.k8s.io."],
            &[b"a"],
            &[],
        ] {
            assert_eq!(subprotocol(lines), Presented::Nothing, "{lines:?}");
        }
    }

    #[test]
    fn tokens_never_travel_on() {
        let mut lines = headers(&[
            (
                "sec-websocket-protocol",
                "v5.channel.k8s.io, v4.channel.k8s.io",
            ),
            (
                "sec-websocket-protocol",
                "base64url.bearer.authorization.k8s.io.YWJj",
            ),
        ]);
        strip_subprotocol_tokens(&mut lines);
        let left: Vec<_> = lines.get_all("sec-websocket-protocol").iter().collect();
        assert_eq!(left, ["v5.channel.k8s.io,v4.channel.k8s.io"]);
    }
}
