//! An identity as `Impersonate-*` headers, exactly as kube-apiserver decodes them.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::Identity;

pub(crate) const USER: HeaderName = HeaderName::from_static("impersonate-user");
pub(crate) const UID: HeaderName = HeaderName::from_static("impersonate-uid");
pub(crate) const GROUP: HeaderName = HeaderName::from_static("impersonate-group");
pub(crate) const EXTRA_PREFIX: &str = "impersonate-extra-";

/// More groups than this are more headers than servers in between take.
const MAX_GROUPS: usize = 2000;

/// What is not a token character (RFC 9110, section 5.6.2) is escaped, and so is `%` itself,
/// since kube-apiserver decodes the name once. Capital letters are escaped before this is used.
const ESCAPED_IN_KEYS: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'*')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// Why an identity cannot be carried in headers. It is refused, never trimmed or stripped: the
/// request would run as somebody else.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum UnsafeIdentity {
    /// kube-apiserver would take the request for one of the proxy's own.
    #[error("the username is empty or blank")]
    EmptyUsername,
    /// Somewhere a value is empty.
    #[error("the {0} is empty")]
    Empty(&'static str),
    /// Control characters, or blanks at an edge.
    #[error("the {0} has control characters or blanks at its edges")]
    Unencodable(&'static str),
    /// More groups than can be carried.
    #[error("there are more than {MAX_GROUPS} groups")]
    TooManyGroups,
}

/// An identity's headers, encoded once and shared by all requests that carry it.
#[derive(Clone, Debug)]
pub(crate) struct IdentityHeaders(Vec<(HeaderName, HeaderValue)>);

impl IdentityHeaders {
    pub(crate) fn encode(identity: &Identity) -> Result<Self, UnsafeIdentity> {
        if identity.username.trim().is_empty() {
            return Err(UnsafeIdentity::EmptyUsername);
        }
        if identity.groups.len() > MAX_GROUPS {
            return Err(UnsafeIdentity::TooManyGroups);
        }
        let mut headers = vec![(USER, value(&identity.username, "username")?)];
        if let Some(uid) = &identity.uid {
            headers.push((UID, value(uid, "uid")?));
        }
        for group in &identity.groups {
            headers.push((GROUP, value(group, "group")?));
        }
        for (key, values) in &identity.extra {
            let name = extra_name(key)?;
            for extra in values {
                headers.push((name.clone(), value(extra, "extra value")?));
            }
        }
        Ok(Self(headers))
    }

    /// Adds them; whatever the client sent under these names must be gone before.
    pub(crate) fn add_to(&self, headers: &mut HeaderMap) {
        headers.reserve(self.0.len());
        for (name, value) in &self.0 {
            headers.append(name.clone(), value.clone());
        }
    }
}

/// A header value that arrives as the bytes that were sent: HTTP/1.1 trims blanks at the edges,
/// and control characters end the value or the request.
pub(crate) fn value(text: &str, what: &'static str) -> Result<HeaderValue, UnsafeIdentity> {
    if text.is_empty() {
        return Err(UnsafeIdentity::Empty(what));
    }
    if !is_faithful(text.as_bytes()) {
        return Err(UnsafeIdentity::Unencodable(what));
    }
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| UnsafeIdentity::Unencodable(what))
}

/// Whether bytes pass through HTTP/1.1 and HTTP/2 unchanged as a field value.
pub(crate) fn is_faithful(bytes: &[u8]) -> bool {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    !is_blank(bytes.first())
        && !is_blank(bytes.last())
        && bytes
            .iter()
            .all(|byte| *byte == b'\t' || (*byte >= 0x20 && *byte != 0x7f))
}

fn extra_name(key: &str) -> Result<HeaderName, UnsafeIdentity> {
    if key.is_empty() {
        return Err(UnsafeIdentity::Empty("extra key"));
    }
    let mut name = EXTRA_PREFIX.to_owned();
    for character in key.chars() {
        if character.is_ascii_uppercase() {
            // A header's name is lowered before it is decoded: only escaped does the letter stay.
            // Writing to a String cannot fail.
            let _ = write!(name, "%{:02x}", u32::from(character));
        } else {
            let mut buffer = [0; 4];
            let text = character.encode_utf8(&mut buffer);
            name.extend(utf8_percent_encode(text, ESCAPED_IN_KEYS));
        }
    }
    // The escape's hexadecimal digits are lowered too; they decode to the same byte.
    HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes())
        .map_err(|_| UnsafeIdentity::Unencodable("extra key"))
}

/// An extra's key as kube-apiserver reads it from a header's name; an escape that is none is
/// taken as it stands.
pub(crate) fn extra_key(suffix: &str) -> String {
    let lowered = suffix.to_ascii_lowercase();
    if !has_only_whole_escapes(lowered.as_bytes()) {
        return lowered;
    }
    percent_encoding::percent_decode_str(&lowered)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .unwrap_or(lowered)
}

fn has_only_whole_escapes(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'%')
        .all(|(at, _)| {
            bytes
                .get(at + 1..at + 3)
                .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn named(username: &str) -> Identity {
        Identity {
            username: username.into(),
            groups: vec!["dev".into()],
            ..Identity::default()
        }
    }

    #[test]
    fn names_that_would_become_others_are_refused() {
        for name in ["", " ", "\t", "  "] {
            let refused = IdentityHeaders::encode(&named(name)).unwrap_err();
            assert_eq!(refused, UnsafeIdentity::EmptyUsername, "{name:?}");
        }
        for name in [
            " alice",
            "alice ",
            "\talice",
            "ali\nce",
            "ali\rce",
            "ali\0ce",
            "ali\x7fce",
        ] {
            let refused = IdentityHeaders::encode(&named(name)).unwrap_err();
            assert_eq!(refused, UnsafeIdentity::Unencodable("username"), "{name:?}");
        }
        for name in ["alice", "ali\tce", "ali ce", "Ünal", "a,b"] {
            assert!(IdentityHeaders::encode(&named(name)).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn an_empty_group_is_refused() {
        let mut identity = named("alice");
        identity.groups.push(String::new());
        let refused = IdentityHeaders::encode(&identity).unwrap_err();
        assert_eq!(refused, UnsafeIdentity::Empty("group"));
    }

    #[test]
    fn extra_keys_are_escaped_as_kube_apiserver_decodes_them() {
        let name = |key| extra_name(key).unwrap().as_str().to_owned();
        assert_eq!(
            name("authentication.kubernetes.io/credential-id"),
            "impersonate-extra-authentication.kubernetes.io%2fcredential-id"
        );
        assert_eq!(name("a%2fb"), "impersonate-extra-a%252fb");
        assert_eq!(extra_key("Example.com%2Fkey"), "example.com/key");
        assert_eq!(
            extra_key("almost%zzpercent%xxencoded"),
            "almost%zzpercent%xxencoded"
        );
    }

    proptest! {
        #[test]
        fn a_key_survives_the_way(key in "\\PC{1,40}") {
            let name = extra_name(&key).unwrap();
            let suffix = name.as_str().strip_prefix(EXTRA_PREFIX).unwrap();
            prop_assert_eq!(extra_key(suffix), key);
        }

        #[test]
        fn what_is_encoded_is_what_was_meant(username in ".*", group in ".*") {
            let mut identity = named(&username);
            identity.groups.push(group.clone());
            if let Ok(IdentityHeaders(headers)) = IdentityHeaders::encode(&identity) {
                prop_assert_eq!(headers.len(), 3);
                for (_, value) in &headers {
                    prop_assert!(is_faithful(value.as_bytes()) && !value.is_empty());
                }
                prop_assert_eq!(headers[0].1.as_bytes(), username.as_bytes());
                prop_assert_eq!(headers[2].1.as_bytes(), group.as_bytes());
            }
        }
    }
}
