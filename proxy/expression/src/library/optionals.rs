//! Optional values. `or` and `orValue` are part of the evaluator because they may skip their right side.

use super::Implementation;
use crate::{error::Failure, eval::value::Value};

pub(super) fn find(name: &str) -> Option<Implementation> {
    Some(match name {
        "optional.of" => |_, args| {
            args.first()
                .cloned()
                .map(Value::some)
                .ok_or_else(|| Failure::no_overload("optional.of"))
        },
        "optional.ofNonZeroValue" => |_, args| match args {
            [value] if value.is_zero() => Ok(Value::NONE),
            [value] => Ok(Value::some(value.clone())),
            _ => Err(Failure::no_overload("optional.ofNonZeroValue")),
        },
        "optional.none" => |_, _| Ok(Value::NONE),
        "value" => |_, args| match args {
            [Value::Optional(Some(value))] => Ok(value.as_ref().clone()),
            [Value::Optional(None)] => Err(Failure::new("optional.none() dereference")),
            _ => Err(Failure::no_overload("value")),
        },
        "hasValue" => |_, args| match args {
            [Value::Optional(value)] => Ok(Value::Bool(value.is_some())),
            _ => Err(Failure::no_overload("hasValue")),
        },
        "first" => |_, args| end(args, <[Value]>::first),
        "last" => |_, args| end(args, <[Value]>::last),
        "optional.unwrap" | "unwrapOpt" => |context, args| match args {
            [Value::List(list, _)] => {
                context.budget.elements(list.items.len())?;
                let mut items = Vec::new();
                for item in &list.items {
                    match item {
                        Value::Optional(value) => items.extend(value.as_deref().cloned()),
                        _ => return Err(Failure::new("an element is not optional")),
                    }
                }
                Ok(Value::list(items))
            }
            _ => Err(Failure::no_overload("unwrapOpt")),
        },
        _ => return None,
    })
}

fn end(args: &[Value], which: fn(&[Value]) -> Option<&Value>) -> Result<Value, Failure> {
    match args {
        [Value::List(list, origin)] => Ok(which(&list.items).map_or(Value::NONE, |item| {
            Value::some(item.clone().found_in(*origin))
        })),
        _ => Err(Failure::no_overload("first")),
    }
}
