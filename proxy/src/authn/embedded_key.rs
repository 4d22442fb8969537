//! Keys and certificates inside a token's header (RFC 7515, sections 4.1.3 and 4.1.6). They are never used: whoever makes a
//! token writes them. But kube-apiserver refuses a token whose own ones are broken, and so does this.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ParsedPublicKey,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::TokenError;
use crate::base64url::decode_leniently;

/// What is text in a key, if it is there.
const MEMBERS: [&str; 11] = [
    "kty", "kid", "use", "alg", "crv", "n", "e", "x", "y", "x5t", "x5t#S256",
];

/// Refuses a `jwk` that is no public key and an `x5c` that holds no certificates.
pub(super) fn check(header: &Map<String, Value>) -> Result<(), TokenError> {
    let jwk = header.get("jwk").filter(|jwk| !jwk.is_null());
    if jwk.is_some_and(|jwk| !is_public_key(jwk)) {
        return Err(TokenError::Malformed("the header's jwk is no public key"));
    }
    if header.get("x5c").is_some_and(|chain| !is_chain(chain)) {
        return Err(TokenError::Malformed(
            "the header's x5c holds no certificates",
        ));
    }
    Ok(())
}

fn is_public_key(jwk: &Value) -> bool {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let number = |name: &str| decode_leniently(text(name)?);
    let is_set = |name: &str| jwk.get(name).is_some_and(|value| !value.is_null());
    if !MEMBERS
        .iter()
        .all(|name| !is_set(name) || text(name).is_some())
        || is_set("d")
        || is_set("x5u")
        || jwk.get("x5c").is_some_and(|chain| !is_chain(chain))
        || !is_digest(text("x5t"), 20)
        || !is_digest(text("x5t#S256"), 32)
    {
        return false;
    }
    match text("kty") {
        Some("RSA") => {
            number("n").is_some() && number("e").is_some_and(|e| e.iter().any(|byte| *byte != 0))
        }
        Some("EC") => {
            let (Some(curve), Some(x), Some(y)) = (text("crv"), number("x"), number("y")) else {
                return false;
            };
            let point = [&[4][..], &x, &y].concat();
            match curve {
                "P-256" => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).is_ok(),
                "P-384" => ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).is_ok(),
                "P-521" => ParsedPublicKey::new(&ECDSA_P521_SHA512_FIXED, point).is_ok(),
                _ => false,
            }
        }
        Some("OKP") => text("crv") == Some("Ed25519") && number("x").is_some(),
        _ => false,
    }
}

/// Nothing, or a certificate's digest, in bytes or in hexadecimal.
fn is_digest(text: Option<&str>, bytes: usize) -> bool {
    text.is_none_or(|text| {
        text.is_empty()
            || decode_leniently(text)
                .is_some_and(|digest| digest.len() == bytes || digest.len() == 2 * bytes)
    })
}

fn is_chain(chain: &Value) -> bool {
    let is_certificate = |entry: &Value| {
        let der = entry.as_str().and_then(|text| STANDARD.decode(text).ok());
        der.is_some_and(|der| {
            X509Certificate::from_der(&der).is_ok_and(|(rest, _)| rest.is_empty())
        })
    };
    match chain {
        Value::Null => true,
        Value::Array(entries) => entries.iter().all(is_certificate),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn public_keys_pass_and_nothing_else() {
        // RFC 7515, appendix A.3.1
        let ec = json!({
            "kty": "EC", "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        });
        assert!(is_public_key(&ec));
        assert!(is_public_key(
            &json!({"kty": "RSA", "n": "sXch", "e": "AQAB"})
        ));
        let mut private = ec.clone();
        private["d"] = json!("AQAB");
        let mut elsewhere = ec.clone();
        elsewhere["y"] = ec["x"].clone();
        for odd in [
            private,
            elsewhere,
            json!({"kty": "oct", "k": "AAAA"}),
            json!({"kty": "RSA", "e": "AQAB"}),
            json!({"kty": "RSA", "n": "sXch", "e": "AA"}),
            json!({"kty": "RSA", "n": "sXch", "e": "AQAB", "kid": 1}),
            json!({"kty": "RSA", "n": "sXch", "e": "AQAB", "x5t": "AAAA"}),
            json!({"kty": "RSA", "n": "sXch", "e": "AQAB", "x5u": "https://id.example.com"}),
            json!({"kty": "AKP"}),
            json!({}),
            json!("x"),
            json!(null),
        ] {
            assert!(!is_public_key(&odd), "{odd}");
        }
    }

    #[test]
    fn a_chain_is_certificates() {
        assert!(is_chain(&json!([])));
        for odd in [json!(["AAAA"]), json!("AAAA"), json!([1]), json!({})] {
            assert!(!is_chain(&odd), "{odd}");
        }
    }
}
