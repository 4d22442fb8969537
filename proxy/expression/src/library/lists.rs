//! Lists and sets: the extensions and Kubernetes' own additions.

mod order;

use std::{cmp::Ordering, sync::Arc};

use super::{Implementation, strings};
use crate::{
    error::Failure,
    eval::{
        Context,
        operators::equal,
        value::{List, Value},
    },
};
use order::{extreme, is_sorted, sorted, sum};

pub(super) fn find(name: &str) -> Option<Implementation> {
    Some(match name {
        "slice" => slice,
        "flatten" => |context, args| match args {
            [Value::List(list, _)] => flattened(context, list, 1),
            [Value::List(_, _), Value::Int(depth)] if *depth < 0 => {
                Err(Failure::new("level must be non-negative"))
            }
            [Value::List(list, _), Value::Int(depth)] => flattened(context, list, *depth),
            _ => Err(Failure::no_overload("flatten")),
        },
        "sort" => |context, args| match args {
            [Value::List(list, _)] => sorted(context, list, list),
            _ => Err(Failure::no_overload("sort")),
        },
        "@sortByAssociatedKeys" => |context, args| match args {
            [Value::List(list, _), Value::List(keys, _)] => sorted(context, list, keys),
            _ => Err(Failure::no_overload("sortBy")),
        },
        "lists.range" => |context, args| match args {
            [Value::Int(end)] if *end < 0 => {
                Err(Failure::new("lists.range: size must be non-negative"))
            }
            [Value::Int(end)] => {
                context
                    .budget
                    .elements(usize::try_from(*end).unwrap_or_default())?;
                Ok(Value::list((0..*end).map(Value::Int).collect()))
            }
            _ => Err(Failure::no_overload("lists.range")),
        },
        "reverse" => |context, args| match args {
            [Value::List(list, origin)] => {
                context.budget.elements(list.items.len())?;
                Ok(Value::list(
                    list.items
                        .iter()
                        .rev()
                        .map(|item| item.clone().found_in(*origin))
                        .collect(),
                ))
            }
            _ => Err(Failure::no_overload("reverse")),
        },
        "distinct" => distinct,
        "isSorted" => is_sorted,
        "sum" => sum,
        "max" => |context, args| extreme(context, args, Ordering::Less),
        "min" => |context, args| extreme(context, args, Ordering::Greater),
        "includes" => includes,
        "sets.contains" => |context, args| sets(args, |one, other| all_in(context, one, other)),
        "sets.equivalent" => |context, args| {
            sets(args, |one, other| {
                Ok(all_in(context, one, other)? && all_in(context, other, one)?)
            })
        },
        "sets.intersects" => |context, args| {
            sets(args, |one, other| {
                for item in &one.items {
                    if has(context, other, item)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            })
        },
        _ => return None,
    })
}

/// `indexOf` and `lastIndexOf` are methods of strings and of lists.
pub(super) fn index_of_any(name: &str) -> Implementation {
    if name == "indexOf" {
        |context, args| match args {
            [Value::String(text), Value::String(wanted)] => {
                strings::index_of(context, text, wanted, 0)
            }
            [Value::String(text), Value::String(wanted), Value::Int(from)] => {
                strings::index_of(context, text, wanted, *from)
            }
            [Value::List(list, _), wanted] => place(context, wanted, list.items.iter().enumerate()),
            _ => Err(Failure::no_overload("indexOf")),
        }
    } else {
        |context, args| match args {
            [Value::String(text), Value::String(wanted)] => {
                strings::last_index_of(context, text, wanted, None)
            }
            [Value::String(text), Value::String(wanted), Value::Int(from)] => {
                strings::last_index_of(context, text, wanted, Some(*from))
            }
            [Value::List(list, _), wanted] => {
                place(context, wanted, list.items.iter().enumerate().rev())
            }
            _ => Err(Failure::no_overload("lastIndexOf")),
        }
    }
}

fn place<'a>(
    context: &mut Context<'_>,
    wanted: &Value,
    items: impl Iterator<Item = (usize, &'a Value)>,
) -> Result<Value, Failure> {
    for (index, item) in items {
        if same(context, item, wanted)? {
            return Ok(Value::int(index));
        }
    }
    Ok(Value::Int(-1))
}

/// Equality where values that cannot be compared are just different.
fn same(context: &mut Context<'_>, one: &Value, other: &Value) -> Result<bool, Failure> {
    match equal(one, other, &mut context.budget) {
        Err(failure) if failure.absorbable() => Ok(false),
        result => result,
    }
}

fn slice(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Failure> {
    let [
        Value::List(list, origin),
        Value::Int(start),
        Value::Int(end),
    ] = args
    else {
        return Err(Failure::no_overload("slice"));
    };
    let range = usize::try_from(*start).ok().zip(usize::try_from(*end).ok());
    let items = range.and_then(|(start, end)| list.items.get(start..end));
    let items = items.ok_or_else(|| Failure::new("slice: indexes out of range"))?;
    context.budget.elements(items.len())?;
    Ok(Value::list(
        items
            .iter()
            .map(|item| item.clone().found_in(*origin))
            .collect(),
    ))
}

fn flattened(context: &mut Context<'_>, list: &List, depth: i64) -> Result<Value, Failure> {
    let mut items = Vec::new();
    flatten(context, list, depth, &mut items)?;
    Ok(Value::list(items))
}

fn flatten(
    context: &mut Context<'_>,
    list: &List,
    depth: i64,
    into: &mut Vec<Value>,
) -> Result<(), Failure> {
    for item in &list.items {
        context.budget.elements(1)?;
        match item {
            Value::List(inner, _) if depth > 0 => flatten(context, inner, depth - 1, into)?,
            other => into.push(other.clone()),
        }
    }
    Ok(())
}

fn distinct(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Failure> {
    let [Value::List(list, origin)] = args else {
        return Err(Failure::no_overload("distinct"));
    };
    if list.items.is_empty() {
        return Ok(Value::List(Arc::clone(list), *origin));
    }
    context.budget.elements(list.items.len())?;
    let mut unique: Vec<Value> = Vec::new();
    for item in &list.items {
        let mut seen = false;
        for other in &unique {
            seen = same(context, item, other)?;
            if seen {
                break;
            }
        }
        if !seen {
            unique.push(item.clone().found_in(*origin));
        }
    }
    Ok(Value::list(unique))
}

/// For a list whether it has an element, for anything else whether it is equal.
fn includes(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Failure> {
    match args {
        [Value::List(list, _), wanted] => has(context, list, wanted).map(Value::Bool),
        [value, wanted] => same(context, value, wanted).map(Value::Bool),
        _ => Err(Failure::no_overload("includes")),
    }
}

fn sets(
    args: &[Value],
    mut test: impl FnMut(&List, &List) -> Result<bool, Failure>,
) -> Result<Value, Failure> {
    match args {
        [Value::List(one, _), Value::List(other, _)] => test(one, other).map(Value::Bool),
        _ => Err(Failure::no_overload("sets")),
    }
}

/// Whether every element of the second list is in the first.
fn all_in(context: &mut Context<'_>, list: &List, wanted: &List) -> Result<bool, Failure> {
    for item in &wanted.items {
        if !has(context, list, item)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn has(context: &mut Context<'_>, list: &List, wanted: &Value) -> Result<bool, Failure> {
    for item in &list.items {
        if same(context, wanted, item)? {
            return Ok(true);
        }
    }
    Ok(false)
}
