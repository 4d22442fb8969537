//! Tokens, valid and broken.

use aws_lc_rs::hmac;
use serde_json::{Map, Value, json};

use super::{SigningKey, b64, now};

/// A token under construction. Nothing about it needs to be valid.
#[derive(Clone, Debug, Default)]
pub struct TokenBuilder {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    raw_header: Option<Vec<u8>>,
    raw_payload: Option<Vec<u8>>,
    dropped: Vec<String>,
}

impl TokenBuilder {
    /// The claims every valid token has.
    pub fn new(issuer: &str, audience: &str, subject: &str) -> Self {
        let mut builder = Self::default();
        let now = now();
        let claims =
            json!({"iss": issuer, "aud": audience, "sub": subject, "iat": now, "exp": now + 600});
        if let Value::Object(claims) = claims {
            builder.claims = claims;
        }
        builder
    }

    /// Sets a claim.
    #[must_use]
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Sets `groups`.
    #[must_use]
    pub fn groups(self, groups: &[&str]) -> Self {
        self.claim("groups", json!(groups))
    }

    /// `exp` relative to now.
    #[must_use]
    pub fn expires_in(self, seconds: i64) -> Self {
        self.claim("exp", now() + seconds)
    }

    /// Removes a claim.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Sets a header member, also `alg` and `kid`.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    /// Leaves a header member out that signing would set.
    #[must_use]
    pub fn without_header(mut self, name: &str) -> Self {
        self.dropped.push(name.to_owned());
        self
    }

    /// The first segment's bytes as they are.
    #[must_use]
    pub fn raw_header(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.raw_header = Some(bytes.into());
        self
    }

    /// The second segment's bytes as they are.
    #[must_use]
    pub fn raw_payload(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.raw_payload = Some(bytes.into());
        self
    }

    /// Header and payload, encoded and joined.
    fn input(&self, alg: &str, kid: Option<&str>) -> String {
        let mut header = Map::new();
        header.insert("alg".into(), alg.into());
        header.insert("typ".into(), "JWT".into());
        if let Some(kid) = kid {
            header.insert("kid".into(), kid.into());
        }
        header.extend(self.header.clone());
        for name in &self.dropped {
            header.remove(name);
        }
        let encode = |raw: &Option<Vec<u8>>, map: &Map<String, Value>| match raw {
            Some(bytes) => b64(bytes),
            None => b64(Value::Object(map.clone()).to_string()),
        };
        let payload = encode(&self.raw_payload, &self.claims);
        format!("{}.{payload}", encode(&self.raw_header, &header))
    }

    /// Signs with `key`.
    pub fn sign(&self, key: &SigningKey) -> String {
        let input = self.input(key.alg.name(), Some(&key.kid));
        let signature = key.sign(input.as_bytes()).expect("signing with a test key");
        format!("{input}.{}", b64(signature))
    }

    /// `alg: none` with an empty signature.
    pub fn unsigned(&self) -> String {
        format!("{}.", self.input("none", None))
    }

    /// HS256 with any secret.
    pub fn hmac(&self, secret: &[u8], kid: &str) -> String {
        let input = self.input("HS256", Some(kid));
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let signature = hmac::sign(&key, input.as_bytes());
        format!("{input}.{}", b64(signature))
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

    use super::*;
    use crate::jose::Alg;

    fn decode(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    #[test]
    fn headers_and_claims_can_be_overridden_and_left_out() {
        let key = SigningKey::generate(Alg::ES256, "e").unwrap();
        let token = TokenBuilder::new("i", "a", "s")
            .without("exp")
            .header("kid", "other")
            .without_header("typ")
            .sign(&key);
        let parts: Vec<&str> = token.split('.').collect();
        let header: Value = serde_json::from_slice(&decode(parts[0])).unwrap();
        let claims: Value = serde_json::from_slice(&decode(parts[1])).unwrap();
        assert_eq!(header, json!({"alg": "ES256", "kid": "other"}));
        assert!(claims.get("exp").is_none());
    }
}
