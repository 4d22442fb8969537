//! Where a request carries its token: the `Authorization` header, or a WebSocket subprotocol,
//! since browsers cannot set headers on `WebSockets`.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, header};

use super::{RequestError, Upgrade, UpgradeProtocol};

const BEARER_PROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";

/// The tokens of a request, in the order in which kube-apiserver tries them.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Credentials {
    pub(crate) bearer: Option<String>,
    pub(crate) subprotocol: Option<String>,
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

    /// In order.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = &str> {
        [&self.bearer, &self.subprotocol]
            .into_iter()
            .flatten()
            .map(String::as_str)
    }

    fn from_authorization(line: &HeaderValue) -> Self {
        let Ok(line) = std::str::from_utf8(line.as_bytes()) else {
            return Self::default();
        };
        let mut parts = line.trim().splitn(3, ' ');
        let is_bearer = parts
            .next()
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer"));
        match parts.next() {
            Some("") if is_bearer => Self {
                extra_space: true,
                ..Self::default()
            },
            Some(token) if is_bearer => Self {
                bearer: Some(token.to_owned()),
                ..Self::default()
            },
            _ => Self::default(),
        }
    }
}

/// Exactly one, and beside it another protocol that the server can answer with.
fn subprotocol_token(headers: &HeaderMap) -> Option<String> {
    let (tokens, others): (Vec<_>, Vec<_>) =
        protocols(headers).partition(|protocol| protocol.starts_with(BEARER_PROTOCOL));
    let [protocol] = tokens.as_slice() else {
        return None;
    };
    if others.is_empty() {
        return None;
    }
    let token = URL_SAFE_NO_PAD
        .decode(protocol.strip_prefix(BEARER_PROTOCOL)?)
        .ok()?;
    String::from_utf8(token)
        .ok()
        .filter(|token| !token.is_empty())
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

    fn bearer(line: &'static str) -> Option<String> {
        Credentials::of(&headers(&[("authorization", line)]), None)
            .unwrap()
            .bearer
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
        ] {
            assert_eq!(bearer(line).as_deref(), Some("abc"), "{line}");
        }
        for line in ["Bearer", "Bearer  abc", "Bearer\tabc", "Basic abc", "abc"] {
            assert_eq!(bearer(line), None, "{line}");
        }
    }

    #[test]
    fn two_authorization_headers_are_refused() {
        let twice = headers(&[("authorization", "Bearer a"), ("authorization", "Bearer a")]);
        assert!(matches!(
            Credentials::of(&twice, None),
            Err(RequestError::Ambiguous(_))
        ));
    }

    #[test]
    fn a_subprotocol_token_needs_another_protocol() {
        let token = |value| {
            let headers = headers(&[("sec-websocket-protocol", value)]);
            Credentials::of(&headers, WEBSOCKET).unwrap().subprotocol
        };
        let good = "v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.YWJj";
        assert_eq!(token(good).as_deref(), Some("abc"));
        assert_eq!(token("base64url.bearer.authorization.k8s.io.YWJj"), None);
        assert_eq!(token("a, base64url.bearer.authorization.k8s.io.YWI="), None);
        assert_eq!(token("a, base64url.bearer.authorization.k8s.io."), None);
        let twice = "a, base64url.bearer.authorization.k8s.io.YWJj, base64url.bearer.authorization.k8s.io.YWJj";
        assert_eq!(token(twice), None);
        let plain = headers(&[("sec-websocket-protocol", good)]);
        assert_eq!(Credentials::of(&plain, None).unwrap().subprotocol, None);
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
