//! The parts of a timestamp or a duration: `getHours` and the like.

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
    let seconds = time.seconds + offset(zone).ok_or_else(|| Failure::new("unknown time zone"))?;
    Ok(Local {
        day: seconds.div_euclid(DAY),
        second: seconds.rem_euclid(DAY),
        nanoseconds: time.nanoseconds,
    })
}

/// The offset of a time zone from UTC in seconds. There is no database of named zones here.
fn offset(zone: &str) -> Option<i64> {
    let Some((hours, minutes)) = zone.split_once(':') else {
        return matches!(
            zone,
            "" | "UTC" | "GMT" | "Etc/UTC" | "Etc/GMT" | "Zulu" | "Etc/Zulu"
        )
        .then_some(0);
    };
    let negative = zone.starts_with('-');
    let hours: i64 = hours.parse().ok().filter(|hours: &i64| hours.abs() <= 24)?;
    let minutes: i64 = minutes
        .parse()
        .ok()
        .filter(|minutes| (0..1_000).contains(minutes))?;
    Some((hours * 60 + if negative { -minutes } else { minutes }) * 60)
}

/// Accessors that durations have too: there they give the whole duration in a unit.
fn clock(args: &[Value], of_local: fn(&Local) -> i64, unit: i64) -> Result<Value, Failure> {
    match args {
        [Value::Duration(nanoseconds)] => Ok(Value::Int(nanoseconds / unit)),
        _ => local(args).map(|local| Value::Int(of_local(&local))),
    }
}
