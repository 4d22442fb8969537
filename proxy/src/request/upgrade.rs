//! Whether a request asks to leave HTTP.

use http::{HeaderMap, HeaderValue, Request, Version, header};

/// The protocols that Kubernetes streams over. Nothing else is ever upgraded: what speaks another
/// protocol behind our credential speaks it as the proxy (h2c smuggling).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum UpgradeProtocol {
    WebSocket,
    Spdy,
}

/// A request's wish to leave HTTP, to be forwarded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Upgrade {
    pub(crate) protocol: UpgradeProtocol,
}

impl UpgradeProtocol {
    fn from_header(value: &HeaderValue) -> Option<Self> {
        let value = value.to_str().ok()?.trim();
        if value.eq_ignore_ascii_case("websocket") {
            Some(Self::WebSocket)
        } else if value.eq_ignore_ascii_case("spdy/3.1") {
            Some(Self::Spdy)
        } else {
            None
        }
    }

    /// As kube-apiserver writes it.
    pub(crate) fn header_value(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::WebSocket => "websocket",
            Self::Spdy => "SPDY/3.1",
        })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Spdy => "spdy",
        }
    }

    /// What an answer has agreed to.
    pub(crate) fn of_answer(headers: &HeaderMap) -> Option<Self> {
        only(headers).and_then(Self::from_header)
    }

    /// Whether headers agree to this very protocol.
    pub(crate) fn is_in(self, headers: &HeaderMap) -> bool {
        Self::of_answer(headers) == Some(self)
    }
}

impl Upgrade {
    /// Only HTTP/1.1 has it, and only with both `Connection: upgrade` and one `Upgrade`.
    pub(crate) fn asked_for<B>(request: &Request<B>) -> Option<Self> {
        if request.version() != Version::HTTP_11 || !connection_says_upgrade(request.headers()) {
            return None;
        }
        let protocol = only(request.headers()).and_then(UpgradeProtocol::from_header)?;
        Some(Self { protocol })
    }
}

fn only(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut values = headers.get_all(header::UPGRADE).iter();
    values.next().filter(|_| values.next().is_none())
}

fn connection_says_upgrade(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case("upgrade"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(lines: &[(&'static str, &'static str)]) -> Option<UpgradeProtocol> {
        let mut request = Request::new(());
        for (name, value) in lines {
            request
                .headers_mut()
                .append(*name, HeaderValue::from_static(value));
        }
        Upgrade::asked_for(&request).map(|upgrade| upgrade.protocol)
    }

    #[test]
    fn only_the_protocols_of_kubernetes_are_upgraded() {
        let with = |value| asked(&[("connection", "keep-alive, Upgrade"), ("upgrade", value)]);
        assert_eq!(with("WebSocket"), Some(UpgradeProtocol::WebSocket));
        assert_eq!(with("SPDY/3.1"), Some(UpgradeProtocol::Spdy));
        for other in ["h2c", "TLS/1.0", "websocket, h2c", "", "SPDY/3"] {
            assert_eq!(with(other), None, "{other}");
        }
        assert_eq!(asked(&[("upgrade", "websocket")]), None);
        let twice = [
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("upgrade", "h2c"),
        ];
        assert_eq!(asked(&twice), None);
    }
}
