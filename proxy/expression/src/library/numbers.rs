//! Numbers to text and back, as Go writes and reads them.

/// `%g` with the shortest digits: a million is `1e+06`.
pub(crate) fn general(double: f64) -> String {
    if double.is_nan() {
        return "NaN".to_owned();
    }
    if double.is_infinite() {
        return if double > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{double:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..EXPONENT_FROM).contains(&exponent) {
        return format!("{double}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
}

/// The first exponent of ten that is written as such.
const EXPONENT_FROM: i32 = 6;

/// `strconv.ParseFloat`, without its hexadecimal notation.
pub(super) fn parse_double(text: &str) -> Option<f64> {
    let double: f64 = text.parse().ok()?;
    let infinite = text
        .trim_start_matches(['+', '-'])
        .to_ascii_lowercase()
        .starts_with("inf");
    (double.is_finite() || double.is_nan() || infinite).then_some(double)
}

/// Truncates towards zero; nothing outside of the range.
pub(super) fn to_int(double: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
    (double > -9_223_372_036_854_775_808.0 && double < 9_223_372_036_854_775_808.0)
        .then_some(double as i64)
}

/// Truncates towards zero; nothing outside of the range.
pub(super) fn to_uint(double: f64) -> Option<u64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range is checked"
    )]
    (0.0..18_446_744_073_709_551_616.0)
        .contains(&double)
        .then_some(double as u64)
}
