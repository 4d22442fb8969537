//! The parts of a timestamp or a duration: `getHours` and the like.

use std::sync::LazyLock;

use jiff::{Timestamp, tz::TimeZoneDatabase};

use super::{DAY, date, days};
use crate::{error::Failure, eval::value::Value, library::Implementation};

pub(in crate::library) fn find(name: &str) -> Option<Implementation> {
    Some(match name {
        "getFullYear" => |_, args| local(args).map(|local| Value::Int(date(local.day).0)),
        "getMonth" => |_, args| local(args).map(|local| Value::Int(date(local.day).1 - 1)),
        "getDayOfMonth" => |_, args| local(args).map(|local| Value::Int(date(local.day).2 - 1)),
        "getDate" => |_, args| local(args).map(|local| Value::Int(date(local.day).2)),
        "getDayOfWeek" => {
            |_, args| local(args).map(|local| Value::Int((local.day + 4).rem_euclid(7)))
        }
        "getDayOfYear" => {
            |_, args| local(args).map(|local| Value::Int(local.day - days(date(local.day).0, 1, 1)))
        }
        "getHours" => |_, args| clock(args, |local| local.second / 3600, 3_600_000_000_000),
        "getMinutes" => |_, args| clock(args, |local| local.second / 60 % 60, 60_000_000_000),
        "getSeconds" => |_, args| clock(args, |local| local.second % 60, 1_000_000_000),
        "getMilliseconds" => |_, args| {
            clock(
                args,
                |local| i64::from(local.nanoseconds) / 1_000_000,
                1_000_000,
            )
        },
        _ => return None,
    })
}

/// A timestamp in the time zone of an accessor.
struct Local {
    day: i64,
    second: i64,
    nanoseconds: u32,
}

fn local(args: &[Value]) -> Result<Local, Failure> {
    let (time, zone) = match args {
        [Value::Timestamp(time)] => (time, "UTC"),
        [Value::Timestamp(time), Value::String(zone)] => (time, zone.as_ref()),
        _ => return Err(Failure::no_overload("timestamp accessor")),
    };
    let offset = offset(zone, time.seconds).ok_or_else(|| Failure::new("unknown time zone"))?;
    let seconds = time.seconds + offset;
    Ok(Local {
        day: seconds.div_euclid(DAY),
        second: seconds.rem_euclid(DAY),
        nanoseconds: time.nanoseconds,
    })
}

/// The offset of a time zone from UTC at a time, both in seconds.
fn offset(zone: &str, time: i64) -> Option<i64> {
    let Some((hours, minutes)) = zone.split_once(':') else {
        return named_offset(zone, time);
    };
    let negative = zone.starts_with('-');
    let hours: i64 = hours
        .parse()
        .ok()
        .filter(|hours: &i64| hours.abs() < 1_000)?;
    let minutes: i64 = minutes
        .parse()
        .ok()
        .filter(|minutes| (0..1_000).contains(minutes))?;
    Some((hours * 60 + if negative { -minutes } else { minutes }) * 60)
}

/// As Go finds a location: by its exact name. "Local" is UTC, whatever the machine has.
fn named_offset(zone: &str, time: i64) -> Option<i64> {
    /// Comes with the program: an image need not have one.
    static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);
    if matches!(zone, "" | "UTC" | "Local") {
        return Some(0);
    }
    let found = ZONES.get(zone).ok()?;
    (found.iana_name() == Some(zone)).then_some(())?;
    // The database ends a day before the last timestamp.
    let time = time.min(Timestamp::MAX.as_second());
    let time = Timestamp::from_second(time).ok()?;
    Some(found.to_offset(time).seconds().into())
}

/// Accessors that durations have too: there they give the whole duration in a unit.
fn clock(args: &[Value], of_local: fn(&Local) -> i64, unit: i64) -> Result<Value, Failure> {
    match args {
        [Value::Duration(nanoseconds)] => Ok(Value::Int(nanoseconds / unit)),
        _ => local(args).map(|local| Value::Int(of_local(&local))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Observed of Go 1.26.
    #[test]
    fn zones_have_the_offsets_of_go() {
        const SUMMER: i64 = 1_593_561_600;
        const WINTER: i64 = 1_577_836_800;
        for (zone, time, offset_there) in [
            ("", SUMMER, 0),
            ("UTC", SUMMER, 0),
            ("Local", SUMMER, 0),
            ("America/New_York", SUMMER, -14_400),
            ("America/New_York", WINTER, -18_000),
            ("America/New_York", 4_102_444_800, -18_000),
            ("Asia/Kolkata", SUMMER, 19_800),
            ("Asia/Calcutta", SUMMER, 19_800),
            ("Etc/GMT+5", SUMMER, -18_000),
            ("US/Central", WINTER, -21_600),
            ("Europe/Berlin", -62_135_596_800, 3_208),
            ("Europe/Berlin", 253_402_300_799, 3_600),
            ("-02:30", SUMMER, -9_000),
        ] {
            assert_eq!(offset(zone, time), Some(offset_there), "{zone} {time}");
        }
        for zone in [
            "america/new_york",
            "../UTC",
            "Mars/Base",
            "UTC ",
            "utc",
            "x:y",
        ] {
            assert_eq!(offset(zone, SUMMER), None, "{zone}");
        }
    }
}
