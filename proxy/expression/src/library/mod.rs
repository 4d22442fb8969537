//! The functions that expressions can call, a file per library.

pub(crate) mod addresses;
mod conversions;
pub(crate) mod format_string;
pub(crate) mod formats;
mod lists;
mod numbers;
mod optionals;
mod pattern_syntax;
pub(crate) mod patterns;
pub(crate) mod quantities;
mod strings;
pub(crate) mod times;
pub(crate) mod urls;
pub(crate) mod versions;

use std::cmp::Ordering;

#[cfg(test)]
pub(crate) use numbers::general;

use crate::{
    error::Failure,
    eval::{Context, operators, value::Value},
};

/// A function at run time. It looks at the types of its arguments itself: the checker knows them only sometimes.
pub(crate) type Implementation = fn(&mut Context<'_>, &[Value]) -> Result<Value, Failure>;

/// The implementation of a declared function.
pub(crate) fn implementation(name: &str) -> Implementation {
    let find: [fn(&str) -> Option<Implementation>; 12] = [
        operator,
        conversions::find,
        strings::find,
        lists::find,
        optionals::find,
        patterns::find,
        times::find,
        addresses::find,
        urls::find,
        quantities::find,
        versions::find,
        formats::find,
    ];
    // Two libraries may have methods of one name; each passes on what it does not take.
    match name {
        "indexOf" | "lastIndexOf" => lists::index_of_any(name),
        "string" => conversions::string,
        "isGreaterThan" | "isLessThan" | "compareTo" => compare_any(name),
        "getHours" | "getMinutes" | "getSeconds" | "getMilliseconds" => {
            times::find(name).unwrap_or(missing)
        }
        _ => find
            .into_iter()
            .find_map(|find| find(name))
            .unwrap_or(missing),
    }
}

/// For what is declared but has no values, such as the methods of an authorizer.
fn missing(_: &mut Context<'_>, _: &[Value]) -> Result<Value, Failure> {
    Err(Failure::new("no such overload"))
}

fn operator(name: &str) -> Option<Implementation> {
    Some(match name {
        "_==_" => |context, args| match args {
            [one, other] => operators::equal(one, other, &mut context.budget).map(Value::Bool),
            _ => Err(Failure::no_overload("_==_")),
        },
        "_!=_" => |context, args| match args {
            // What cannot be compared is not equal; only `==` fails for it.
            [one, other] => match operators::equal(one, other, &mut context.budget) {
                Err(failure) if failure.absorbable() => Ok(Value::Bool(true)),
                result => result.map(|equal| Value::Bool(!equal)),
            },
            _ => Err(Failure::no_overload("_!=_")),
        },
        "_<_" => |context, args| ordered(context, args, Ordering::is_lt),
        "_<=_" => |context, args| ordered(context, args, Ordering::is_le),
        "_>_" => |context, args| ordered(context, args, Ordering::is_gt),
        "_>=_" => |context, args| ordered(context, args, Ordering::is_ge),
        "_+_" => |context, args| arithmetic("_+_", context, args),
        "_-_" => |context, args| arithmetic("_-_", context, args),
        "_*_" => |context, args| arithmetic("_*_", context, args),
        "_/_" => |context, args| arithmetic("_/_", context, args),
        "_%_" => |context, args| arithmetic("_%_", context, args),
        "-_" => |_, args| {
            args.first()
                .map_or_else(|| Err(Failure::no_overload("-_")), operators::negate)
        },
        "!_" => |_, args| match args {
            [Value::Bool(value)] => Ok(Value::Bool(!value)),
            _ => Err(Failure::no_overload("!_")),
        },
        "@in" => |context, args| match args {
            [wanted, container] => {
                operators::contains(container, wanted, &mut context.budget).map(Value::Bool)
            }
            _ => Err(Failure::no_overload("in")),
        },
        _ => return None,
    })
}

fn ordered(
    context: &mut Context<'_>,
    args: &[Value],
    wanted: fn(Ordering) -> bool,
) -> Result<Value, Failure> {
    match args {
        [one, other] => match operators::compare(one, other, &mut context.budget)? {
            Some(order) => Ok(Value::Bool(wanted(order))),
            None => Err(Failure::new("NaN values cannot be ordered")),
        },
        _ => Err(Failure::no_overload("comparison")),
    }
}

fn arithmetic(
    operator: &'static str,
    context: &mut Context<'_>,
    args: &[Value],
) -> Result<Value, Failure> {
    match args {
        [one, other] => operators::arithmetic(operator, one, other, &mut context.budget),
        _ => Err(Failure::no_overload(operator)),
    }
}

/// The methods that quantities and versions share.
fn compare_any(name: &str) -> Implementation {
    match name {
        "isGreaterThan" => |_, args| order_of(args).map(|order| Value::Bool(order.is_gt())),
        "isLessThan" => |_, args| order_of(args).map(|order| Value::Bool(order.is_lt())),
        _ => |_, args| order_of(args).map(|order| Value::Int(order as i64)),
    }
}

fn order_of(args: &[Value]) -> Result<Ordering, Failure> {
    match args {
        [Value::Quantity(one), Value::Quantity(other)] => Ok(one.compare(other)),
        [Value::Semver(one), Value::Semver(other)] => Ok(one.cmp(other)),
        _ => Err(Failure::no_overload("compareTo")),
    }
}
