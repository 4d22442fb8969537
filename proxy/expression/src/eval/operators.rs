//! Equality, order and arithmetic.

use std::{cmp::Ordering, sync::Arc};

use super::{
    budget::Budget,
    value::{List, Origin, Value, whole},
};
use crate::{
    error::Failure,
    library::times::{MAX_SECONDS, MIN_SECONDS, Timestamp},
};

/// Values of different types are unequal, except that numbers are compared by value.
pub(crate) fn equal(one: &Value, other: &Value, budget: &mut Budget) -> Result<bool, Failure> {
    budget.step()?;
    Ok(match (one, other) {
        (Value::Null, Value::Null)
        | (Value::Optional(None), Value::Optional(None))
        | (Value::Root(_), Value::Root(_)) => true,
        (Value::Null, _) | (_, Value::Null) => false,
        (Value::Bool(one), Value::Bool(other)) => one == other,
        (Value::String(one), Value::String(other)) => {
            budget.scan(one)?;
            one == other
        }
        (Value::Bytes(one), Value::Bytes(other)) => {
            budget.steps(u64::try_from(one.len() / 16).unwrap_or(u64::MAX))?;
            one == other
        }
        (Value::Duration(one), Value::Duration(other)) => one == other,
        (Value::Timestamp(one), Value::Timestamp(other)) => one == other,
        (Value::Type(one), Value::Type(other)) => one == other,
        (Value::Ip(one), Value::Ip(other)) => one == other,
        (Value::Cidr(one), Value::Cidr(other)) => one == other,
        (Value::Url(one), Value::Url(other)) => one == other,
        (Value::Quantity(one), Value::Quantity(other)) => one.compare(other) == Ordering::Equal,
        (Value::Semver(one), Value::Semver(other)) => one.cmp(other) == Ordering::Equal,
        (Value::Format(one), Value::Format(other)) => one == other,
        (Value::Optional(Some(one)), Value::Optional(Some(other))) => equal(one, other, budget)?,
        (Value::List(one, _), Value::List(other, _)) => lists_equal(one, other, budget)?,
        (Value::Map(one, _), Value::Map(other, _)) => {
            if one.len() != other.len() {
                return Ok(false);
            }
            for (key, value) in one.entries() {
                match other.get(&key) {
                    Some(found) if equal(value, found, budget)? => {}
                    _ => return Ok(false),
                }
            }
            true
        }
        // Types of kube-apiserver's libraries and `claims` itself have no equality with anything else.
        (
            Value::Url(_)
            | Value::Quantity(_)
            | Value::Semver(_)
            | Value::Format(_)
            | Value::Ip(_)
            | Value::Cidr(_)
            | Value::Root(_),
            _,
        ) => {
            return Err(Failure::no_overload("_==_"));
        }
        _ => compare_numbers(one, other) == Some(Ordering::Equal),
    })
}

fn lists_equal(one: &List, other: &List, budget: &mut Budget) -> Result<bool, Failure> {
    if one.items.len() != other.items.len() {
        return Ok(false);
    }
    for (one, other) in one.items.iter().zip(&other.items) {
        if !equal(one, other, budget)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn compare_numbers(one: &Value, other: &Value) -> Option<Ordering> {
    match (one, other) {
        (Value::Double(one), Value::Double(other)) => one.partial_cmp(other),
        (Value::Double(double), _) => double.partial_cmp(&rounded(other)?),
        (_, Value::Double(double)) => rounded(one)?.partial_cmp(double),
        _ => Some(whole(one)?.cmp(&whole(other)?)),
    }
}

/// Upstream rounds an integer to a double before it compares it with one.
fn rounded(value: &Value) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "as upstream")]
    match value {
        Value::Int(int) => Some(*int as f64),
        Value::Uint(uint) => Some(*uint as f64),
        _ => None,
    }
}

/// The order of two values of comparable types; nothing if one of them is not a number.
pub(crate) fn compare(
    one: &Value,
    other: &Value,
    budget: &mut Budget,
) -> Result<Option<Ordering>, Failure> {
    budget.step()?;
    Ok(match (one, other) {
        (Value::Bool(one), Value::Bool(other)) => Some(one.cmp(other)),
        (Value::String(one), Value::String(other)) => {
            budget.scan(one)?;
            Some(one.cmp(other))
        }
        (Value::Bytes(one), Value::Bytes(other)) => {
            budget.scan_bytes(one)?;
            Some(one.cmp(other))
        }
        (Value::Duration(one), Value::Duration(other)) => Some(one.cmp(other)),
        (Value::Timestamp(one), Value::Timestamp(other)) => Some(one.cmp(other)),
        (
            Value::Int(_) | Value::Uint(_) | Value::Double(_),
            Value::Int(_) | Value::Uint(_) | Value::Double(_),
        ) => compare_numbers(one, other),
        _ => return Err(Failure::no_overload("comparison")),
    })
}

/// `+`, `-`, `*`, `/` and `%`.
pub(crate) fn arithmetic(
    operator: &str,
    one: &Value,
    other: &Value,
    budget: &mut Budget,
) -> Result<Value, Failure> {
    let overflow = || Failure::new("integer overflow");
    match (one, other) {
        (Value::Int(one), Value::Int(other)) => {
            if *other == 0 && matches!(operator, "_/_" | "_%_") {
                return Err(Failure::new(if operator == "_/_" {
                    "division by zero"
                } else {
                    "modulus by zero"
                }));
            }
            match operator {
                "_+_" => one.checked_add(*other),
                "_-_" => one.checked_sub(*other),
                "_*_" => one.checked_mul(*other),
                "_/_" => one.checked_div(*other),
                _ => one.checked_rem(*other),
            }
            .map(Value::Int)
            .ok_or_else(overflow)
        }
        (Value::Uint(one), Value::Uint(other)) => {
            if *other == 0 && matches!(operator, "_/_" | "_%_") {
                return Err(Failure::new(if operator == "_/_" {
                    "division by zero"
                } else {
                    "modulus by zero"
                }));
            }
            match operator {
                "_+_" => one.checked_add(*other),
                "_-_" => one.checked_sub(*other),
                "_*_" => one.checked_mul(*other),
                "_/_" => one.checked_div(*other),
                _ => one.checked_rem(*other),
            }
            .map(Value::Uint)
            .ok_or_else(overflow)
        }
        (Value::Double(one), Value::Double(other)) => match operator {
            "_+_" => Ok(Value::Double(one + other)),
            "_-_" => Ok(Value::Double(one - other)),
            "_*_" => Ok(Value::Double(one * other)),
            "_/_" => Ok(Value::Double(one / other)),
            _ => Err(Failure::no_overload(operator)),
        },
        _ => match operator {
            "_+_" => add(one, other, budget),
            "_-_" => subtract(one, other),
            _ => Err(Failure::no_overload(operator)),
        },
    }
}

fn add(one: &Value, other: &Value, budget: &mut Budget) -> Result<Value, Failure> {
    match (one, other) {
        (Value::String(one), Value::String(other)) => {
            budget.bytes(one.len() + other.len())?;
            let mut text = String::with_capacity(one.len() + other.len());
            text.push_str(one);
            text.push_str(other);
            Ok(Value::string(text))
        }
        (Value::Bytes(one), Value::Bytes(other)) => {
            budget.bytes(one.len() + other.len())?;
            Ok(Value::Bytes(Arc::from(
                [one.as_ref(), other.as_ref()].concat(),
            )))
        }
        (Value::List(none, _), list @ Value::List(..)) if none.items.is_empty() => Ok(list.clone()),
        (Value::List(list, _), Value::List(none, _)) if none.items.is_empty() => {
            Ok(Value::List(Arc::clone(list), Origin::Expression))
        }
        (Value::List(one, origin), Value::List(other, other_origin)) => {
            budget.elements(one.items.len() + other.items.len())?;
            let items = one.items.iter().map(|item| item.clone().found_in(*origin));
            let more = other
                .items
                .iter()
                .map(|item| item.clone().found_in(*other_origin));
            Ok(Value::list(items.chain(more).collect()))
        }
        (Value::Duration(one), Value::Duration(other)) => one
            .checked_add(*other)
            .map(Value::Duration)
            .ok_or_else(|| Failure::new("duration overflow")),
        (Value::Timestamp(time), Value::Duration(by))
        | (Value::Duration(by), Value::Timestamp(time)) => shifted(*time, i128::from(*by)),
        _ => Err(Failure::no_overload("_+_")),
    }
}

fn subtract(one: &Value, other: &Value) -> Result<Value, Failure> {
    let overflow = || Failure::new("duration overflow");
    match (one, other) {
        (Value::Duration(one), Value::Duration(other)) => one
            .checked_sub(*other)
            .map(Value::Duration)
            .ok_or_else(overflow),
        (Value::Timestamp(time), Value::Duration(by)) => shifted(*time, -i128::from(*by)),
        (Value::Timestamp(one), Value::Timestamp(other)) => {
            let nanoseconds = one.total_nanoseconds() - other.total_nanoseconds();
            i64::try_from(nanoseconds)
                .map(Value::Duration)
                .map_err(|_| overflow())
        }
        _ => Err(Failure::no_overload("_-_")),
    }
}

fn shifted(time: Timestamp, nanoseconds: i128) -> Result<Value, Failure> {
    let shifted = Timestamp::from_nanoseconds(time.total_nanoseconds() + nanoseconds, time.offset);
    shifted
        .filter(|time| (MIN_SECONDS..=MAX_SECONDS).contains(&time.seconds))
        .map(Value::Timestamp)
        .ok_or_else(|| Failure::new("timestamp overflow"))
}

pub(crate) fn negate(value: &Value) -> Result<Value, Failure> {
    match value {
        Value::Int(int) => int
            .checked_neg()
            .map(Value::Int)
            .ok_or_else(|| Failure::new("integer overflow")),
        Value::Double(double) => Ok(Value::Double(-double)),
        Value::Duration(nanoseconds) => nanoseconds
            .checked_neg()
            .map(Value::Duration)
            .ok_or_else(|| Failure::new("duration overflow")),
        _ => Err(Failure::no_overload("-_")),
    }
}

/// Whether a list has an element or a map a key. Here keys are taken as they are, without escapes.
pub(crate) fn contains(
    container: &Value,
    wanted: &Value,
    budget: &mut Budget,
) -> Result<bool, Failure> {
    match container {
        Value::List(list, _) => {
            for item in &list.items {
                // An element of a type without equality to others is no match rather than an error.
                match equal(wanted, item, budget) {
                    Ok(true) => return Ok(true),
                    Err(failure) if !failure.absorbable() => return Err(failure),
                    _ => {}
                }
            }
            Ok(false)
        }
        Value::Map(map, _) => Ok(map.get(wanted).is_some()),
        _ => Err(Failure::no_overload("in")),
    }
}

/// An element of a list; nothing if there is none at that place.
pub(crate) fn element(
    list: &List,
    origin: Origin,
    index: &Value,
) -> Result<Option<Value>, Failure> {
    let index = whole(index).ok_or_else(|| Failure::new("unsupported index type"))?;
    let found = usize::try_from(index)
        .ok()
        .and_then(|index| list.items.get(index));
    Ok(found.map(|item| item.clone().found_in(origin)))
}
