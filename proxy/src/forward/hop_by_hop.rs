//! Fields that are for one connection only (RFC 9110, section 7.6.1), and those that no client
//! may send on.

use http::{HeaderMap, HeaderName, header};

use crate::request::strip_subprotocol_tokens;

const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// A request's fields that end here: credentials of others, addresses that only a trusted proxy
/// may claim, and `Expect`, which has been answered.
const ENDING_HERE: [HeaderName; 6] = [
    header::AUTHORIZATION,
    header::PROXY_AUTHORIZATION,
    header::EXPECT,
    header::FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-real-ip"),
];

/// Names of which kube-apiserver, something before it or a server that it proxies to believes who a
/// request is from: `Impersonate-*`, `X-Remote-*`, and what other front ends and meshes use. With
/// any character between the words: some servers take `_` for `-`.
const IDENTITY_PREFIXES: [&str; 12] = [
    "impersonate",
    "x-remote-",
    "remote-user",
    "remote-group",
    "front-proxy-",
    "x-auth-request-",
    "x-forwarded-access-token",
    "x-forwarded-client-cert",
    "x-forwarded-email",
    // Groups, too.
    "x-forwarded-group",
    "x-forwarded-preferred-username",
    "x-forwarded-user",
];

/// Leaves what a client may say to kube-apiserver. The identity is added after this, so that a
/// client's `Connection` cannot name it away (CVE-2022-23652 and its kin).
pub(crate) fn strip_request(headers: &mut HeaderMap) {
    strip_nominated(headers);
    for name in HOP_BY_HOP.iter().chain(&ENDING_HERE) {
        headers.remove(name);
    }
    let forged: Vec<_> = headers
        .keys()
        .filter(|name| speaks_of_identity(name))
        .cloned()
        .collect();
    for name in forged {
        headers.remove(name);
    }
    strip_subprotocol_tokens(headers);
}

/// Leaves what a server may say to its client.
pub(crate) fn strip_response(headers: &mut HeaderMap) {
    strip_nominated(headers);
    // It overrules the length (RFC 9112, section 6.3), which would be the body's for our clients.
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

fn speaks_of_identity(name: &HeaderName) -> bool {
    let folded = |byte: u8| {
        if matches!(byte, b'_' | b'.') {
            b'-'
        } else {
            byte
        }
    };
    let name = name.as_str().bytes().map(folded);
    IDENTITY_PREFIXES.iter().any(|prefix| {
        let start = name.clone().take(prefix.len());
        start.eq(prefix.bytes())
    })
}

/// Removes the fields that `Connection` names.
fn strip_nominated(headers: &mut HeaderMap) {
    // Nearly every request has no such field, or one that says `keep-alive`.
    let nominated: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|token| token.trim().parse().ok())
        .collect();
    for name in nominated {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn stripped(lines: &[(&str, &str)]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        strip_request(&mut headers);
        headers
            .keys()
            .map(|name| name.as_str().to_owned())
            .collect()
    }

    #[test]
    fn what_connection_names_is_gone() {
        let left = stripped(&[
            ("connection", "close, X-Secret"),
            ("connection", ",  x-other ,,"),
            ("x-secret", "1"),
            ("x-other", "1"),
            ("accept", "*/*"),
        ]);
        assert_eq!(left, ["accept"]);
    }

    #[test]
    fn nobody_says_who_they_are_but_by_token() {
        let left = stripped(&[
            ("iMPERSONATE-uSER", "a"),
            ("Impersonate_User", "a"),
            ("Impersonate-Future", "a"),
            ("X-Remote-User", "a"),
            ("X_Remote_Group", "a"),
            ("X-Remote-Extra-a", "a"),
            ("X-Forwarded-User", "a"),
            ("X_Forwarded_Groups", "a"),
            ("X-Forwarded-Group", "a"),
            ("x-forwarded-email", "a"),
            ("X-Forwarded.Preferred-Username", "a"),
            ("X-Forwarded-Access-Token", "a"),
            ("X-Forwarded-Client-Cert", "a"),
            ("Front-Proxy-User", "a"),
            ("X-Auth-Request-User", "a"),
            ("Remote-User", "a"),
            ("Remote_Groups", "a"),
            ("Authorization", "Bearer a"),
            ("X-Forwarded-For", "10.0.0.1"),
            ("user-agent", "kubectl"),
            ("x-forwarded-proto", "https"),
            ("remote-", "a"),
        ]);
        assert_eq!(left, ["user-agent", "x-forwarded-proto", "remote-"]);
    }

    proptest! {
        #[test]
        fn no_spelling_gets_through(
            prefix in prop::sample::select(vec![
                "impersonate-", "x-remote-", "IMPERSONATE_", "X_Remote_",
                "x-forwarded_user", "X-Forwarded-Group", "front_proxy_", "X-Auth-Request-",
            ]),
            rest in "[a-zA-Z0-9_.%-]{0,20}",
            connection in "[a-zA-Z, -]{0,30}",
        ) {
            let name = format!("{prefix}{rest}");
            let left = stripped(&[(&name, "v"), ("connection", &connection)]);
            prop_assert_eq!(left, Vec::<String>::new());
        }
    }
}
