//! Sorting and everything else that compares elements.

use std::{cmp::Ordering, sync::Arc};

use crate::{
    error::Failure,
    eval::{
        Context,
        operators::{arithmetic, compare},
        value::{List, Origin, Value},
    },
};

pub(super) fn sorted(
    context: &mut Context<'_>,
    list: &Arc<List>,
    keys: &List,
) -> Result<Value, Failure> {
    if list.items.len() != keys.items.len() {
        return Err(Failure::new(
            "sortBy: the keys are of another number than the elements",
        ));
    }
    let Some(first) = keys.items.first() else {
        return Ok(Value::List(Arc::clone(list), Origin::Expression));
    };
    if keys
        .items
        .iter()
        .any(|key| key.type_name() != first.type_name())
    {
        return Err(Failure::new("list elements must have the same type"));
    }
    compare(first, first, &mut context.budget)
        .map_err(|_| Failure::new("list elements must be comparable"))?;
    context.budget.elements(list.items.len())?;
    // Paid for before: an order that fails on the way is none, and a sort may panic over that.
    for _ in 0..=keys.items.len().ilog2() {
        for key in &keys.items {
            match key {
                Value::String(text) => context.budget.scan(text)?,
                Value::Bytes(bytes) => context.budget.scan_bytes(bytes)?,
                _ => context.budget.step()?,
            }
        }
    }
    let mut pairs: Vec<(&Value, &Value)> = keys.items.iter().zip(&list.items).collect();
    pairs.sort_by(|(one, _), (other, _)| order(one, other));
    Ok(Value::list(
        pairs.into_iter().map(|(_, item)| item.clone()).collect(),
    ))
}

/// A total order of values of one type.
fn order(one: &Value, other: &Value) -> Ordering {
    match (one, other) {
        (Value::Bool(one), Value::Bool(other)) => one.cmp(other),
        (Value::Int(one), Value::Int(other)) | (Value::Duration(one), Value::Duration(other)) => {
            one.cmp(other)
        }
        (Value::Uint(one), Value::Uint(other)) => one.cmp(other),
        // Both zeros are one number.
        (Value::Double(one), Value::Double(other)) => (one + 0.0).total_cmp(&(other + 0.0)),
        (Value::String(one), Value::String(other)) => one.cmp(other),
        (Value::Bytes(one), Value::Bytes(other)) => one.cmp(other),
        (Value::Timestamp(one), Value::Timestamp(other)) => one.cmp(other),
        _ => Ordering::Equal,
    }
}

pub(super) fn is_sorted(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Failure> {
    let [Value::List(list, _)] = args else {
        return Err(Failure::no_overload("isSorted"));
    };
    for (one, next) in list.items.iter().zip(list.items.iter().skip(1)) {
        if compare(one, next, &mut context.budget)? == Some(Ordering::Greater) {
            return Ok(Value::Bool(false));
        }
    }
    Ok(Value::Bool(true))
}

pub(super) fn sum(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Failure> {
    let [Value::List(list, _)] = args else {
        return Err(Failure::no_overload("sum"));
    };
    let mut items = list.items.iter();
    let mut total = match items.next() {
        Some(first @ (Value::Int(_) | Value::Uint(_) | Value::Double(_) | Value::Duration(_))) => {
            first.clone()
        }
        Some(_) => return Err(Failure::no_overload("sum")),
        None => Value::Int(0),
    };
    for item in items {
        context.budget.step()?;
        total = arithmetic("_+_", &total, item, &mut context.budget)?;
    }
    Ok(total)
}

/// The first element to which no other one stands in the given order's favour.
pub(super) fn extreme(
    context: &mut Context<'_>,
    args: &[Value],
    replace_if: Ordering,
) -> Result<Value, Failure> {
    let [Value::List(list, origin)] = args else {
        return Err(Failure::no_overload("min or max"));
    };
    let mut items = list.items.iter();
    let mut best = items
        .next()
        .ok_or_else(|| Failure::new("min or max called on empty list"))?;
    for item in items {
        if compare(best, item, &mut context.budget)? == Some(replace_if) {
            best = item;
        }
    }
    Ok(best.clone().found_in(*origin))
}
