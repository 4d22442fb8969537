//! Conversions between types, `size` and `type`.

use std::sync::Arc;

use super::{
    Implementation, numbers,
    times::{self, Timestamp},
};
use crate::{
    error::Failure,
    eval::{Context, cost, value::Value},
};

pub(super) fn find(name: &str) -> Option<Implementation> {
    Some(match name {
        "size" => |_, args| match args {
            [Value::String(_) | Value::Bytes(_) | Value::List(..) | Value::Map(..)] => {
                Ok(Value::Int(args.first().map_or(0, |value| {
                    i64::try_from(cost::size(value)).unwrap_or(i64::MAX)
                })))
            }
            _ => Err(Failure::no_overload("size")),
        },
        "type" => |_, args| {
            one(args, "type", |value| {
                Some(Value::Type(Arc::from(value.type_name())))
            })
        },
        "dyn" => |_, args| one(args, "dyn", |value| Some(value.clone())),
        "bool" => |_, args| one(args, "bool", bool),
        "bytes" => bytes,
        "double" => |_, args| one(args, "double", double),
        "int" => |_, args| one(args, "int", int),
        "uint" => |_, args| one(args, "uint", uint),
        "duration" => |_, args| one(args, "duration", duration),
        "timestamp" => |_, args| one(args, "timestamp", timestamp),
        _ => return None,
    })
}

fn one(
    args: &[Value],
    name: &'static str,
    convert: impl Fn(&Value) -> Option<Value>,
) -> Result<Value, Failure> {
    args.first()
        .and_then(convert)
        .ok_or_else(|| Failure::new(format!("type conversion error: {name}")))
}

fn bool(value: &Value) -> Option<Value> {
    match value {
        Value::Bool(_) => Some(value.clone()),
        Value::String(text) => match text.as_ref() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(Value::Bool(false)),
            _ => None,
        },
        _ => None,
    }
}

fn bytes(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Failure> {
    match args {
        [Value::String(text)] => {
            context.budget.bytes(text.len())?;
            Ok(Value::Bytes(Arc::from(text.as_bytes())))
        }
        [value @ Value::Bytes(_)] => Ok(value.clone()),
        _ => Err(Failure::no_overload("bytes")),
    }
}

#[expect(clippy::cast_precision_loss, reason = "the conversion rounds")]
fn double(value: &Value) -> Option<Value> {
    Some(Value::Double(match value {
        Value::Double(double) => *double,
        Value::Int(int) => *int as f64,
        Value::Uint(uint) => *uint as f64,
        Value::String(text) => numbers::parse_double(text)?,
        _ => return None,
    }))
}

fn int(value: &Value) -> Option<Value> {
    Some(Value::Int(match value {
        Value::Int(int) | Value::Duration(int) => *int,
        Value::Uint(uint) => i64::try_from(*uint).ok()?,
        Value::Double(double) => numbers::to_int(*double)?,
        Value::String(text) => text.parse().ok()?,
        Value::Timestamp(time) => time.seconds,
        _ => return None,
    }))
}

fn uint(value: &Value) -> Option<Value> {
    Some(Value::Uint(match value {
        Value::Uint(uint) => *uint,
        Value::Int(int) => u64::try_from(*int).ok()?,
        Value::Double(double) => numbers::to_uint(*double)?,
        Value::String(text) if !text.starts_with('+') => text.parse().ok()?,
        _ => return None,
    }))
}

fn duration(value: &Value) -> Option<Value> {
    match value {
        Value::Duration(_) => Some(value.clone()),
        Value::String(text) => times::parse_duration(text).map(Value::Duration),
        _ => None,
    }
}

fn timestamp(value: &Value) -> Option<Value> {
    match value {
        Value::Timestamp(_) => Some(value.clone()),
        Value::String(text) => times::parse_timestamp(text).map(Value::Timestamp),
        Value::Int(seconds) if (times::MIN_SECONDS..=times::MAX_SECONDS).contains(seconds) => {
            Some(Value::Timestamp(Timestamp {
                seconds: *seconds,
                nanoseconds: 0,
                offset: 0,
            }))
        }
        _ => None,
    }
}

pub(super) fn string(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Failure> {
    let [value] = args else {
        return Err(Failure::no_overload("string"));
    };
    if let Value::String(_) = value {
        return Ok(value.clone());
    }
    let text = Some(value)
        .filter(|value| !matches!(value, Value::Type(_)))
        .and_then(text)
        .ok_or_else(|| Failure::new("type conversion error: string"))?;
    context.budget.bytes(text.len())?;
    Ok(Value::string(text))
}

/// A single value as text.
pub(super) fn text(value: &Value) -> Option<String> {
    Some(match value {
        Value::String(text) => text.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Int(int) => int.to_string(),
        Value::Uint(uint) => uint.to_string(),
        Value::Double(double) => numbers::general(*double),
        Value::Bytes(bytes) => std::str::from_utf8(bytes).ok()?.to_owned(),
        Value::Duration(nanoseconds) => times::show_duration(*nanoseconds),
        Value::Timestamp(time) => time.show(),
        Value::Type(name) => name.to_string(),
        Value::Ip(address) => address.to_string(),
        Value::Cidr(network) => network.to_string(),
        _ => return None,
    })
}
