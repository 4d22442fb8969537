//! A compact JWS (RFC 7515) as far as it can be read before its signature is checked.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use super::{TokenError, algorithm::Algorithm, claims, embedded_key, strict_json};

/// The largest token that is looked at, whatever heads the settings let in.
pub(crate) const MAX_TOKEN_BYTES: usize = 1024 * 1024;

/// A token with a header that can be worked with; nothing in it is verified.
#[derive(Debug)]
pub(crate) struct UnverifiedToken<'a> {
    pub(crate) algorithm: Algorithm,
    pub(crate) key_id: Option<String>,
    pub(crate) claims: Map<String, Value>,
    /// The header and the payload as they were signed.
    pub(crate) message: &'a [u8],
    pub(crate) signature: Vec<u8>,
}

/// Whose token it says it is: read first, since only that issuer's rules apply to all the rest.
pub(crate) fn claimed_issuer(token: &str) -> Option<String> {
    let [_, payload, _] = segments(token)?;
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    let claims: Map<String, Value> = serde_json::from_slice(&payload).ok()?;
    claims::registered(&claims, "iss")
        .and_then(Value::as_str)
        .map(str::to_owned)
}

fn segments(token: &str) -> Option<[&str; 3]> {
    let mut parts = token.split('.');
    let segments = [parts.next()?, parts.next()?, parts.next()?];
    parts.next().is_none().then_some(segments)
}

impl<'a> UnverifiedToken<'a> {
    pub(crate) fn parse(token: &'a str) -> Result<Self, TokenError> {
        let [header, payload, signature] =
            segments(token).ok_or(TokenError::Malformed("not three segments"))?;
        let message = token
            .as_bytes()
            .get(..header.len() + 1 + payload.len())
            .ok_or(TokenError::Malformed("not three segments"))?;
        let header = decode(header)?;
        let header = strict_json::object(&header)
            .map_err(|_| TokenError::Malformed("the header is not an object of unique keys"))?;
        check_critical(&header)?;
        embedded_key::check(&header)?;
        let algorithm = match header.get("alg") {
            Some(Value::String(name)) => {
                Algorithm::from_name(name).ok_or(TokenError::UnsupportedAlgorithm)?
            }
            _ => return Err(TokenError::UnsupportedAlgorithm),
        };
        let key_id = match header.get("kid") {
            None | Some(Value::Null) => None,
            Some(Value::String(id)) => Some(id.clone()).filter(|id| !id.is_empty()),
            Some(_) => return Err(TokenError::Malformed("the header's kid is not a string")),
        };
        if !matches!(
            header.get("nonce"),
            None | Some(Value::Null | Value::String(_))
        ) {
            return Err(TokenError::Malformed("the header's nonce is not a string"));
        }
        let claims = strict_json::object(&decode(payload)?)
            .map_err(|_| TokenError::Malformed("the claims are not an object of unique keys"))?;
        Ok(Self {
            algorithm,
            key_id,
            claims,
            message,
            signature: decode(signature)?,
        })
    }
}

/// What must be understood and is not, must be refused (RFC 7515, section 4.1.11), and nothing that
/// can stand in `crit` is understood here; nor is a payload that is not encoded (RFC 7797).
fn check_critical(header: &Map<String, Value>) -> Result<(), TokenError> {
    let critical = match header.get("crit") {
        None | Some(Value::Null) => false,
        Some(Value::Array(names)) => !names.is_empty(),
        Some(_) => true,
    };
    if critical {
        return Err(TokenError::Malformed("the header has critical extensions"));
    }
    if !matches!(
        header.get("b64"),
        None | Some(Value::Null | Value::Bool(true))
    ) {
        return Err(TokenError::Malformed("the payload is not encoded"));
    }
    Ok(())
}

/// Strict base64url: no padding, no unused bits set. A token has one spelling only, so that the
/// cache, which goes by the spelling, has one entry for it.
fn decode(segment: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD
        .decode(segment)
        .map_err(|_| TokenError::Malformed("a segment is not base64url"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(header: &str, payload: &str) -> String {
        format!(
            "{}.{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(payload),
            URL_SAFE_NO_PAD.encode("signature")
        )
    }

    #[test]
    fn the_issuer_is_read_without_trusting_anything_else() {
        let good = token(r#"{"alg":"none"}"#, r#"{"iss":"https://id.example.com"}"#);
        assert_eq!(
            claimed_issuer(&good).as_deref(),
            Some("https://id.example.com")
        );
        assert_eq!(claimed_issuer("opaque"), None);
        assert_eq!(claimed_issuer("a.b.c.d.e"), None);
        assert_eq!(claimed_issuer(&token("{}", r#"{"iss":7}"#)), None);
    }

    #[test]
    fn only_known_algorithms_pass() {
        for header in [
            r#"{"alg":"none"}"#,
            r#"{"alg":"HS256"}"#,
            r#"{"alg":"EdDSA"}"#,
            r#"{"alg":"rs256"}"#,
            r#"{"alg":["RS256"]}"#,
            "{}",
        ] {
            let text = token(header, "{}");
            assert!(
                matches!(
                    UnverifiedToken::parse(&text),
                    Err(TokenError::UnsupportedAlgorithm)
                ),
                "{header}"
            );
        }
        let text = token(r#"{"alg":"ES512","kid":"a"}"#, "{}");
        let parsed = UnverifiedToken::parse(&text).unwrap();
        assert_eq!(
            (parsed.algorithm, parsed.key_id.as_deref()),
            (Algorithm::Es512, Some("a"))
        );
    }

    #[test]
    fn ambiguous_headers_are_refused() {
        for header in [
            r#"{"alg":"RS256","alg":"none"}"#,
            r#"{"alg":"RS256","crit":["exp"]}"#,
            r#"{"alg":"RS256","crit":"b64"}"#,
            r#"{"alg":"RS256","b64":false}"#,
            r#"{"alg":"RS256","kid":1}"#,
            r#"{"alg":"RS256","nonce":1}"#,
            r#"{"alg":"RS256","jwk":{}}"#,
        ] {
            let text = token(header, "{}");
            assert!(UnverifiedToken::parse(&text).is_err(), "{header}");
        }
    }

    #[test]
    fn a_header_that_is_null_is_none() {
        for name in ["kid", "jwk", "x5c", "nonce", "crit", "b64", "typ"] {
            let text = token(&format!(r#"{{"alg":"RS256","{name}":null}}"#), "{}");
            assert!(UnverifiedToken::parse(&text).is_ok(), "{name}");
        }
    }

    #[test]
    fn another_spelling_of_a_token_is_refused() {
        let good = token(r#"{"alg":"RS256"}"#, r#"{"a":1}"#);
        assert!(UnverifiedToken::parse(&good).is_ok());
        assert!(UnverifiedToken::parse(&format!("{good}=")).is_err());
        assert!(UnverifiedToken::parse(&format!("{good}.")).is_err());
        assert!(UnverifiedToken::parse(&format!(" {good}")).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,200}") {
            let _ = claimed_issuer(&text);
            let _ = UnverifiedToken::parse(&text);
        }
    }
}
