//! One name for a request from its client to kube-apiserver's own audit log.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

/// The header that carries it, in both directions.
pub(crate) const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

/// kube-apiserver's own logs cut it here.
const MAX_LENGTH: usize = 64;

/// The `Audit-ID` of a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct AuditId(HeaderValue);

impl AuditId {
    /// The client's, as kube-apiserver takes it, if it is one short word; otherwise a new one.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut given = headers.get_all(AUDIT_ID).iter();
        match (given.next(), given.next()) {
            (Some(id), None) if is_word(id.as_bytes()) => Self(id.clone()),
            _ => Self::random(),
        }
    }

    fn random() -> Self {
        let id = Uuid::new_v4().to_string();
        Self(HeaderValue::try_from(id).unwrap_or_else(|_| HeaderValue::from_static("-")))
    }

    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

impl fmt::Display for AuditId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn is_word(id: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/".contains(byte);
    (1..=MAX_LENGTH).contains(&id.len()) && id.iter().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&'static str]) -> String {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUDIT_ID, HeaderValue::from_static(value));
        }
        AuditId::of(&headers).to_string()
    }

    #[test]
    fn a_word_of_the_clients_is_kept() {
        let id = "5f1c0f8e-2a3b-4c5d-8e9f-0a1b2c3d4e5f";
        assert_eq!(of(&[id]), id);
        for odd in [&["a b"][..], &[""], &["a\"b"], &["a", "a"], &[]] {
            let made = of(odd);
            assert!(Uuid::parse_str(&made).is_ok(), "{odd:?}: {made}");
        }
        assert_ne!(of(&[]), of(&[]));
    }
}
