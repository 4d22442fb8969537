//! How the clauses of `format` write values.

use super::{Clause, DEFAULT_PRECISION};
use crate::{
    error::Failure,
    eval::{
        Context,
        value::{List, Map, Value},
    },
    library::{conversions, strings, times},
};

pub(super) fn apply(
    context: &mut Context<'_>,
    clause: Clause,
    value: &Value,
) -> Result<String, Failure> {
    let wrong = || {
        Failure::new(format!(
            "%{} cannot format a {}",
            clause.verb,
            value.type_name()
        ))
    };
    Ok(match (clause.verb, value) {
        ('s', _) => return shown(context, value),
        ('d', Value::Int(int)) => int.to_string(),
        ('d', Value::Uint(uint)) => uint.to_string(),
        ('f', _) => fixed(number(value).ok_or_else(wrong)?, clause.precision),
        ('e', _) => format!(
            "{:>width$}",
            scientific(number(value).ok_or_else(wrong)?),
            width = clause.precision
        ),
        ('b', Value::Bool(value)) => if *value { "1" } else { "0" }.to_owned(),
        ('b', Value::Int(int)) => signed(*int, format!("{:b}", int.unsigned_abs())),
        ('b', Value::Uint(uint)) => format!("{uint:b}"),
        ('o', Value::Int(int)) => signed(*int, format!("{:o}", int.unsigned_abs())),
        ('o', Value::Uint(uint)) => format!("{uint:o}"),
        ('x' | 'X', _) => {
            let text = hexadecimal(value).ok_or_else(wrong)?;
            if clause.verb == 'X' {
                text.to_uppercase()
            } else {
                text
            }
        }
        _ => return Err(wrong()),
    })
}

fn signed(int: i64, digits: String) -> String {
    if int < 0 {
        format!("-{digits}")
    } else {
        digits
    }
}

fn hexadecimal(value: &Value) -> Option<String> {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    let bytes = |bytes: &[u8]| {
        bytes
            .iter()
            .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
            .collect()
    };
    Some(match value {
        Value::Int(int) => signed(*int, format!("{:x}", int.unsigned_abs())),
        Value::Uint(uint) => format!("{uint:x}"),
        Value::String(text) => bytes(text.as_bytes()),
        Value::Bytes(octets) => bytes(octets),
        _ => return None,
    })
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Double(double) => Some(*double),
        Value::String(text) => match text.as_ref() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

fn special(double: f64) -> Option<&'static str> {
    match double {
        _ if double.is_nan() => Some("NaN"),
        f64::INFINITY => Some("\u{221e}"),
        f64::NEG_INFINITY => Some("-\u{221e}"),
        _ => None,
    }
}

/// With the thousands grouped, as Go's printer for English does.
fn fixed(double: f64, precision: usize) -> String {
    if let Some(special) = special(double) {
        return special.to_owned();
    }
    let text = format!("{double:.precision$}");
    let (sign, digits) = text
        .strip_prefix('-')
        .map_or(("", text.as_str()), |digits| ("-", digits));
    let (whole, fraction) = digits
        .split_once('.')
        .map_or((digits, None), |(whole, fraction)| (whole, Some(fraction)));
    let mut grouped = String::from(sign);
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if let Some(fraction) = fraction {
        grouped.push('.');
        grouped.push_str(fraction);
    }
    grouped
}

/// `1.500000×10⁰³`, as Go's printer for English writes it. Upstream takes a precision for the width of the whole.
fn scientific(double: f64) -> String {
    if let Some(special) = special(double) {
        return special.to_owned();
    }
    let text = format!("{double:.DEFAULT_PRECISION$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let raised: String = format!("{:02}", exponent.unsigned_abs())
        .chars()
        .map(|digit| match digit {
            '1' => '\u{b9}',
            '2' => '\u{b2}',
            '3' => '\u{b3}',
            '4' => '\u{2074}',
            '5' => '\u{2075}',
            '6' => '\u{2076}',
            '7' => '\u{2077}',
            '8' => '\u{2078}',
            '9' => '\u{2079}',
            _ => '\u{2070}',
        })
        .collect();
    let sign = if exponent < 0 { "\u{207b}" } else { "" };
    format!("{mantissa}\u{d7}10{sign}{raised}")
}

fn shown(context: &mut Context<'_>, value: &Value) -> Result<String, Failure> {
    context.budget.step()?;
    match value {
        Value::List(list, _) => list_shown(context, list),
        Value::Map(map, _) => map_shown(context, map),
        Value::Null => Ok("null".to_owned()),
        Value::String(text) => {
            context.budget.bytes(text.len())?;
            Ok(text.to_string())
        }
        Value::Ip(_) | Value::Cidr(_) => Err(Failure::no_overload("format")),
        other => conversions::text(other)
            .ok_or_else(|| Failure::new(format!("%s cannot format a {}", other.type_name()))),
    }
}

/// Inside of lists and maps, texts and times are written as literals.
fn literal(context: &mut Context<'_>, value: &Value) -> Result<String, Failure> {
    let text = shown(context, value)?;
    context.budget.bytes(text.len())?;
    Ok(match value {
        Value::String(_) => strings::quote(&text),
        Value::Bytes(_) => format!("b{}", strings::quote(&text)),
        Value::Double(double) if double.is_finite() => fixed(*double, DEFAULT_PRECISION),
        Value::Double(_) => format!("\"{text}\""),
        Value::Duration(nanoseconds) => {
            format!("duration(\"{}\")", times::show_duration(*nanoseconds))
        }
        Value::Timestamp(time) => format!("timestamp(\"{}\")", time.show()),
        _ => text,
    })
}

fn list_shown(context: &mut Context<'_>, list: &List) -> Result<String, Failure> {
    let mut text = String::from("[");
    for (index, item) in list.items.iter().enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        text.push_str(&literal(context, item)?);
    }
    text.push(']');
    Ok(text)
}

fn map_shown(context: &mut Context<'_>, map: &Map) -> Result<String, Failure> {
    let mut entries = Vec::new();
    for (key, value) in map.entries() {
        entries.push((literal(context, &key)?, literal(context, value)?));
    }
    entries.sort();
    let entries: Vec<String> = entries
        .into_iter()
        .map(|(key, value)| format!("{key}:{value}"))
        .collect();
    Ok(format!("{{{}}}", entries.join(", ")))
}
