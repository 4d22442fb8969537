//! The registered claims (RFC 7519, section 4.1), by kube-apiserver's rules.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use super::TokenError;

/// How long before its `nbf` a token is accepted; `exp` has no such leeway.
const NOT_BEFORE_LEEWAY: Duration = Duration::from_mins(1);

/// Seconds beyond which a Go time wraps around; no token of this world lasts that long.
const LATEST: f64 = 9.2e18;

/// kube-apiserver finds these whatever their case, and of several the last one. Here a token that
/// has one of them twice is refused.
const REGISTERED: [&str; 10] = [
    "iss",
    "aud",
    "exp",
    "iat",
    "nbf",
    "sub",
    "nonce",
    "at_hash",
    "_claim_names",
    "_claim_sources",
];

/// Checks who the token is for and when it is valid, and says when it expires.
pub(crate) fn check(
    claims: &Map<String, Value>,
    audiences: &[String],
    now: SystemTime,
) -> Result<SystemTime, TokenError> {
    for name in REGISTERED {
        if spellings(claims, name).count() > 1 {
            return Err(TokenError::RepeatedClaim(name));
        }
    }
    for name in ["sub", "nonce", "at_hash"] {
        if !matches!(
            registered(claims, name),
            None | Some(Value::Null | Value::String(_))
        ) {
            return Err(TokenError::ClaimType(name));
        }
    }
    check_audience(claims, audiences)?;
    // Its value says nothing, but it must be one.
    if registered(claims, "iat").is_some() {
        seconds(claims, "iat")?.ok_or(TokenError::ClaimType("iat"))?;
    }
    let expires = time(claims, "exp")?.ok_or(TokenError::Expired)?;
    if expires < now {
        return Err(TokenError::Expired);
    }
    if let Some(not_before) = time(claims, "nbf")?
        && now + NOT_BEFORE_LEEWAY < not_before
    {
        return Err(TokenError::NotYetValid);
    }
    Ok(expires)
}

/// A registered claim, as Go finds the field of a struct: by its name in any case.
pub(super) fn registered<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    spellings(claims, name).next()
}

pub(super) fn spellings<'a>(
    claims: &'a Map<String, Value>,
    name: &str,
) -> impl Iterator<Item = &'a Value> {
    let same = |key: &str| key.chars().map(folded).eq(name.chars());
    claims
        .iter()
        .filter(move |(key, _)| same(key))
        .map(|(_, value)| value)
}

/// Unicode's simple folding, as far as it leads to the letters of these names.
fn folded(letter: char) -> char {
    match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        _ => letter.to_ascii_lowercase(),
    }
}

fn check_audience(claims: &Map<String, Value>, audiences: &[String]) -> Result<(), TokenError> {
    let accepted = |audience: &str| audiences.iter().any(|known| known == audience);
    let matches = match registered(claims, "aud") {
        None | Some(Value::Null) => false,
        Some(Value::String(audience)) => accepted(audience),
        Some(Value::Array(list)) => {
            let mut found = false;
            for audience in list {
                match audience {
                    Value::String(audience) => found |= accepted(audience),
                    Value::Null => {}
                    _ => return Err(TokenError::ClaimType("aud")),
                }
            }
            found
        }
        Some(_) => return Err(TokenError::ClaimType("aud")),
    };
    if matches {
        Ok(())
    } else {
        Err(TokenError::Audience)
    }
}

/// A time claim: a number, or (as kube-apiserver takes it) a string that holds one. Nothing and
/// `null` are no time.
fn seconds(claims: &Map<String, Value>, name: &'static str) -> Result<Option<f64>, TokenError> {
    let seconds = match registered(claims, name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text
            .parse::<serde_json::Number>()
            .ok()
            .and_then(|n| n.as_f64()),
        Some(_) => None,
    };
    let seconds = seconds.filter(|seconds| seconds.is_finite());
    seconds.map(Some).ok_or(TokenError::ClaimType(name))
}

/// The same in whole seconds; zero and less are a time that has long passed.
fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<SystemTime>, TokenError> {
    let Some(seconds) = seconds(claims, name)? else {
        return Ok(None);
    };
    if seconds >= LATEST {
        return Err(TokenError::ClaimType(name));
    }
    Ok(Some(
        UNIX_EPOCH
            .checked_add(Duration::from_secs_f64(seconds.trunc().max(0.0)))
            .ok_or(TokenError::ClaimType(name))?,
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn checked(claims: &Value) -> Result<SystemTime, TokenError> {
        check(
            claims.as_object().unwrap(),
            &["kubernetes".to_owned(), "other".to_owned()],
            UNIX_EPOCH + Duration::from_millis(NOW * 1000 + 500),
        )
    }

    #[test]
    fn expiry_has_no_leeway() {
        let with = |exp: Value| json!({"aud": "kubernetes", "exp": exp});
        assert!(checked(&with(json!(NOW + 1))).is_ok());
        assert!(matches!(
            checked(&with(json!(NOW))),
            Err(TokenError::Expired)
        ));
        assert!(matches!(checked(&with(json!(0))), Err(TokenError::Expired)));
        assert!(matches!(
            checked(&with(json!(-5))),
            Err(TokenError::Expired)
        ));
        assert!(matches!(
            checked(&json!({"aud": "kubernetes"})),
            Err(TokenError::Expired)
        ));
        for odd in [json!(true), json!([NOW]), json!("soon"), json!(1e300)] {
            assert!(matches!(
                checked(&with(odd)),
                Err(TokenError::ClaimType("exp"))
            ));
        }
        assert!(checked(&with(json!(1_800_000_010.7))).is_ok());
    }

    #[test]
    fn the_time_of_issue_must_only_be_one() {
        let with = |iat: Value| json!({"aud": "kubernetes", "exp": NOW + 100, "iat": iat});
        for fine in [
            json!(NOW + 1000),
            json!(-1.5),
            json!("12"),
            json!(i64::MAX),
            json!(1e300),
        ] {
            assert!(checked(&with(fine.clone())).is_ok(), "{fine}");
        }
        for odd in [
            json!(null),
            json!("now"),
            json!(true),
            json!("+5"),
            json!(" 5"),
            json!("1e400"),
        ] {
            assert!(
                matches!(
                    checked(&with(odd.clone())),
                    Err(TokenError::ClaimType("iat"))
                ),
                "{odd}"
            );
        }
    }

    #[test]
    fn not_before_has_a_minute() {
        let with = |nbf: u64| json!({"aud": "kubernetes", "exp": NOW + 100, "nbf": nbf});
        assert!(checked(&with(NOW + 60)).is_ok());
        assert!(matches!(
            checked(&with(NOW + 62)),
            Err(TokenError::NotYetValid)
        ));
    }

    #[test]
    fn one_audience_in_common_is_enough() {
        let with = |aud: Value| json!({"aud": aud, "exp": NOW + 100});
        assert!(checked(&with(json!("other"))).is_ok());
        assert!(checked(&with(json!(["x", "kubernetes"]))).is_ok());
        assert!(matches!(
            checked(&with(json!(["x", null]))),
            Err(TokenError::Audience)
        ));
        assert!(matches!(
            checked(&with(json!([]))),
            Err(TokenError::Audience)
        ));
        assert!(matches!(
            checked(&with(json!(["kubernetes", 7]))),
            Err(TokenError::ClaimType("aud"))
        ));
    }

    #[test]
    fn a_registered_claim_is_found_in_any_case_but_not_twice() {
        assert!(checked(&json!({"AUD": "kubernetes", "Exp": NOW + 100})).is_ok());
        assert!(matches!(
            checked(&json!({"AUD": "kubernetes", "eXp": NOW - 1})),
            Err(TokenError::Expired)
        ));
        let twice = json!({"aud": "kubernetes", "exp": NOW + 100, "i\u{17f}s": "x", "ISS": "x"});
        assert!(matches!(
            checked(&twice),
            Err(TokenError::RepeatedClaim("iss"))
        ));
    }
}
