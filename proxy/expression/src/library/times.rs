//! Timestamps and durations: RFC 3339, Go's notation of durations, the accessors.

mod accessors;

pub(super) use accessors::find;

/// 0001-01-01T00:00:00Z.
pub(crate) const MIN_SECONDS: i64 = -62_135_596_800;

/// 9999-12-31T23:59:59Z.
pub(crate) const MAX_SECONDS: i64 = 253_402_300_799;

const DAY: i64 = 86_400;
const SECOND: i128 = 1_000_000_000;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Timestamp {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
    /// The offset it was written with, in minutes; only `string()` shows it.
    pub(crate) offset: i16,
}

impl PartialEq for Timestamp {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Timestamp {}

impl PartialOrd for Timestamp {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timestamp {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.seconds, self.nanoseconds).cmp(&(other.seconds, other.nanoseconds))
    }
}

impl Timestamp {
    /// The beginning of the year 1, which is Go's time zero.
    pub(crate) fn is_zero(self) -> bool {
        self.seconds == MIN_SECONDS && self.nanoseconds == 0
    }

    pub(crate) fn total_nanoseconds(self) -> i128 {
        i128::from(self.seconds) * SECOND + i128::from(self.nanoseconds)
    }

    pub(crate) fn from_nanoseconds(total: i128, offset: i16) -> Option<Self> {
        let seconds = i64::try_from(total.div_euclid(SECOND)).ok()?;
        Some(Self {
            seconds,
            nanoseconds: u32::try_from(total.rem_euclid(SECOND)).ok()?,
            offset,
        })
    }

    pub(super) fn show(self) -> String {
        let local = self.seconds + i64::from(self.offset) * 60;
        let (year, month, day) = date(local.div_euclid(DAY));
        let time = local.rem_euclid(DAY);
        let fraction = if self.nanoseconds == 0 {
            String::new()
        } else {
            format!(".{:09}", self.nanoseconds)
                .trim_end_matches('0')
                .to_owned()
        };
        let zone = if self.offset == 0 {
            "Z".to_owned()
        } else {
            let sign = if self.offset < 0 { '-' } else { '+' };
            let minutes = self.offset.unsigned_abs();
            format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
        };
        format!(
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}{fraction}{zone}",
            time / 3600,
            time / 60 % 60,
            time % 60
        )
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar. Years are counted from March, so that
/// the leap day comes last.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The inverse of [`date`].
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// A number of exactly `width` digits at the start of the text.
fn digits(text: &mut &str, width: usize) -> Option<i64> {
    let (number, rest) = text.split_at_checked(width)?;
    number
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then_some(())?;
    *text = rest;
    number.parse().ok()
}

fn literal(text: &mut &str, wanted: char) -> Option<()> {
    *text = text.strip_prefix(wanted)?;
    Some(())
}

/// A date as days from 1970-01-01.
pub(super) fn parse_date(text: &mut &str) -> Option<i64> {
    let year = digits(text, 4)?;
    literal(text, '-')?;
    let month = digits(text, 2)?;
    literal(text, '-')?;
    let day = digits(text, 2)?;
    let number = days(year, month, day);
    ((1..=12).contains(&month) && date(number) == (year, month, day)).then_some(number)
}

/// A time of day as seconds and nanoseconds.
pub(super) fn parse_time(text: &mut &str) -> Option<(i64, u32)> {
    // Go takes an hour of one digit.
    let hour = digits(text, 2).or_else(|| digits(text, 1))?;
    literal(text, ':')?;
    let minute = digits(text, 2)?;
    literal(text, ':')?;
    let second = digits(text, 2)?;
    (hour < 24 && minute < 60 && second < 60).then_some(())?;
    let mut nanoseconds = 0;
    if let Some(rest) = text.strip_prefix(['.', ',']) {
        let length = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (fraction, rest) = rest.split_at_checked(length)?;
        (length > 0).then_some(())?;
        let nine: String = fraction
            .chars()
            .chain("000000000".chars())
            .take(9)
            .collect();
        nanoseconds = nine.parse().ok()?;
        *text = rest;
    }
    Some((hour * 3600 + minute * 60 + second, nanoseconds))
}

/// RFC 3339 as Go reads it.
pub(crate) fn parse_timestamp(text: &str) -> Option<Timestamp> {
    let mut rest = text;
    let day = parse_date(&mut rest)?;
    literal(&mut rest, 'T')?;
    let (time, nanoseconds) = parse_time(&mut rest)?;
    let offset = if rest == "Z" {
        0
    } else {
        let sign = if rest.starts_with('-') { -1 } else { 1 };
        rest = rest.strip_prefix(['+', '-'])?;
        let hours = digits(&mut rest, 2)?;
        literal(&mut rest, ':')?;
        let minutes = digits(&mut rest, 2)?;
        (rest.is_empty() && hours <= 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))?
    };
    let seconds = day * DAY + time - offset * 60;
    (MIN_SECONDS..=MAX_SECONDS)
        .contains(&seconds)
        .then_some(())?;
    Some(Timestamp {
        seconds,
        nanoseconds,
        offset: i16::try_from(offset).ok()?,
    })
}

/// Durations as Go reads them: `1h30m`, `-1.5s`, `0`.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    let negative = text.starts_with('-');
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return Some(0);
    }
    (!rest.is_empty()).then_some(())?;
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let number = rest
            .bytes()
            .take_while(|byte| byte.is_ascii_digit() || *byte == b'.')
            .count();
        let (number, after) = rest.split_at_checked(number)?;
        let unit_length = after
            .find(|character: char| character.is_ascii_digit() || character == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit_length)?;
        let unit: i128 = match unit {
            "ns" => 1,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
            "ms" => 1_000_000,
            "s" => SECOND,
            "m" => 60 * SECOND,
            "h" => 3600 * SECOND,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        (!(fraction.contains('.') || whole.is_empty() && fraction.is_empty())).then_some(())?;
        let whole: i128 = if whole.is_empty() {
            0
        } else {
            whole.parse().ok()?
        };
        // Further digits are below a nanosecond for every unit.
        let fraction: String = fraction.chars().take(18).collect();
        let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let fraction: i128 = if fraction.is_empty() {
            0
        } else {
            fraction.parse().ok()?
        };
        total = total
            .checked_add(whole.checked_mul(unit)?)?
            .checked_add(fraction.checked_mul(unit)? / scale)?;
        rest = after;
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

/// Seconds, with as many decimals as there are.
pub(super) fn show_duration(nanoseconds: i64) -> String {
    let (seconds, rest) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
    #[expect(
        clippy::cast_precision_loss,
        reason = "upstream shows the duration as a double"
    )]
    let seconds = seconds as f64 + rest as f64 / 1e9;
    format!("{seconds}s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_keep_their_text() {
        for text in [
            "2020-02-29T23:59:59.123Z",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59.999999999Z",
            "2020-06-01T23:30:00-02:00",
        ] {
            assert_eq!(parse_timestamp(text).expect("valid").show(), text);
        }
        for text in [
            "2021-02-29T00:00:00Z",
            "2020-01-01",
            "2020-01-01t00:00:00Z",
            "2020-01-01T24:00:00Z",
            "2020-01-01T00:00:00",
        ] {
            assert!(parse_timestamp(text).is_none(), "{text}");
        }
    }

    #[test]
    fn durations_are_go_durations() {
        assert_eq!(parse_duration("1h30m"), Some(5_400_000_000_000));
        assert_eq!(
            parse_duration("-1.5s").map(show_duration).as_deref(),
            Some("-1.5s")
        );
        for text in ["", "1", "abc", "1d", ".s", "9999999h"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
