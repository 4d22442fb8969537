//! A length of time as Go writes it. Whatever text the API server has stored decodes: an older
//! definition let anything through, and one object must not hide behind its mistake, let alone stop
//! the watch of all others.

use std::{borrow::Cow, time};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// What Go's `time.Duration` holds.
const MAX_NANOSECONDS: u128 = i64::MAX as u128;
/// A digit beyond the ninth behind the point is below a nanosecond, in any unit but hours and minutes.
const MAX_DIGITS: usize = 18;

/// Why a text is not a length of time.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Invalid {
    /// Not in Go's syntax.
    #[error("must be a duration like 1h30m or 45s")]
    Malformed,
    /// Below nothing.
    #[error("must not be negative")]
    Negative,
    /// Beyond what Go can hold.
    #[error("must be less than 292 years")]
    TooLong,
}

/// A length of time, as it was written.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Duration(String);

impl Duration {
    /// How long it is.
    pub fn parsed(&self) -> Result<time::Duration, Invalid> {
        let text = self.0.as_str();
        let (text, negative) = match text.strip_prefix('-') {
            Some(rest) => (rest, true),
            None => (text.strip_prefix('+').unwrap_or(text), false),
        };
        let nanoseconds = if text == "0" { 0 } else { sum(text)? };
        if negative && nanoseconds > 0 {
            return Err(Invalid::Negative);
        }
        let nanoseconds = u64::try_from(nanoseconds).map_err(|_| Invalid::TooLong)?;
        Ok(time::Duration::from_nanos(nanoseconds))
    }
}

impl From<&str> for Duration {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

fn sum(text: &str) -> Result<u128, Invalid> {
    let (mut rest, mut total) = (text, 0_u128);
    loop {
        let (whole, after) = digits(rest);
        let (part, after) = after.strip_prefix('.').map_or(("", after), digits);
        if whole.is_empty() && part.is_empty() {
            return Err(Invalid::Malformed);
        }
        let end = after.find(|c: char| c == '.' || c.is_ascii_digit());
        let (unit, next) = after.split_at(end.unwrap_or(after.len()));
        let unit = nanoseconds(unit).ok_or(Invalid::Malformed)?;
        let term = term(whole, part, unit).ok_or(Invalid::TooLong)?;
        total = total.saturating_add(term);
        if total > MAX_NANOSECONDS {
            return Err(Invalid::TooLong);
        }
        if next.is_empty() {
            return Ok(total);
        }
        rest = next;
    }
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit());
    text.split_at(end.unwrap_or(text.len()))
}

fn nanoseconds(unit: &str) -> Option<u128> {
    Some(match unit {
        "ns" => 1,
        // The micro sign and the Greek letter.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// Nothing where it is beyond all bounds.
fn term(whole: &str, part: &str, unit: u128) -> Option<u128> {
    let number = |digits: &str| match digits {
        "" => Some(0),
        digits => digits.parse::<u128>().ok(),
    };
    let part = part.get(..part.len().min(MAX_DIGITS)).unwrap_or_default();
    let scale = 10_u128.checked_pow(u32::try_from(part.len()).ok()?)?;
    let fraction = number(part)?.checked_mul(unit)?.checked_div(scale)?;
    number(whole)?.checked_mul(unit)?.checked_add(fraction)
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 32,
            "pattern": r"^(0|([0-9]{1,9}(\.[0-9]{1,9})?(ns|us|ms|s|m|h))+)$",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prop_assert, proptest};

    use super::*;

    #[test]
    fn as_go_reads_it() {
        let hours = time::Duration::from_hours;
        for (text, expected) in [
            ("0", time::Duration::ZERO),
            ("0s", time::Duration::ZERO),
            ("-0s", time::Duration::ZERO),
            ("2160h", hours(2160)),
            ("+1h30m", time::Duration::from_mins(90)),
            ("1.5h", time::Duration::from_mins(90)),
            (".5s", time::Duration::from_millis(500)),
            ("1.s", time::Duration::from_secs(1)),
            ("1500ms", time::Duration::from_millis(1500)),
            ("1h1m1s1ms1us1ns", time::Duration::new(3661, 1_001_001)),
            ("1\u{b5}s", time::Duration::from_micros(1)),
            (
                "0.3333333333333333333h",
                time::Duration::from_nanos(1_199_999_999_999),
            ),
            (
                "9223372036854775807ns",
                time::Duration::from_nanos(i64::MAX.unsigned_abs()),
            ),
        ] {
            assert_eq!(Duration::from(text).parsed(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn whatever_is_stored_is_refused_in_words() {
        for (text, expected) in [
            ("", Invalid::Malformed),
            ("soon", Invalid::Malformed),
            ("1", Invalid::Malformed),
            ("h", Invalid::Malformed),
            (".h", Invalid::Malformed),
            ("1d", Invalid::Malformed),
            ("5s-3s", Invalid::Malformed),
            ("--5s", Invalid::Malformed),
            ("5s ", Invalid::Malformed),
            ("1e9s", Invalid::Malformed),
            ("-1s", Invalid::Negative),
            ("100000000000000000000h", Invalid::TooLong),
            ("9223372036854775808ns", Invalid::TooLong),
            ("2562047h48m", Invalid::TooLong),
        ] {
            assert_eq!(Duration::from(text).parsed(), Err(expected), "{text}");
        }
        let huge = "9".repeat(10_000) + "h";
        assert_eq!(Duration::from(&*huge).parsed(), Err(Invalid::TooLong));
    }

    proptest! {
        #[test]
        fn any_text_decodes_and_is_kept(text in ".{0,40}") {
            let decoded: Duration = serde_json::from_value(text.clone().into()).unwrap();
            let _ = decoded.parsed();
            prop_assert!(serde_json::to_value(&decoded).unwrap() == text);
        }

        #[test]
        fn what_looks_like_one_never_panics(text in r"[-+]?([0-9.]{0,25}(ns|us|ms|s|m|h)?){0,5}") {
            let _ = Duration::from(&*text).parsed();
        }
    }
}
