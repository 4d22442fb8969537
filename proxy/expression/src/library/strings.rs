//! Strings, version 2 of the extension, and the methods of the language. Positions count characters.

use std::sync::Arc;

use super::{Implementation, format_string};
use crate::{
    error::Failure,
    eval::{Context, value::Value},
};

pub(super) fn find(name: &str) -> Option<Implementation> {
    Some(match name {
        "contains" => |context, args| {
            search(context, args, "contains", |text, wanted| {
                text.contains(wanted)
            })
        },
        "startsWith" => |context, args| {
            search(context, args, "startsWith", |text, wanted| {
                text.starts_with(wanted)
            })
        },
        "endsWith" => |context, args| {
            search(context, args, "endsWith", |text, wanted| {
                text.ends_with(wanted)
            })
        },
        "charAt" => char_at,
        "lowerAscii" => |context, args| transform(context, args, str::to_ascii_lowercase),
        "upperAscii" => |context, args| transform(context, args, str::to_ascii_uppercase),
        "trim" => |context, args| transform(context, args, |text| text.trim().to_owned()),
        "strings.quote" => |context, args| transform(context, args, quote),
        "replace" => replace,
        "split" => split,
        "substring" => substring,
        "join" => join,
        "format" => |context, args| match args {
            [Value::String(pattern), Value::List(list, _)] => {
                format_string::format(context, pattern, &list.items)
            }
            _ => Err(Failure::no_overload("format")),
        },
        _ => return None,
    })
}

fn search(
    context: &mut Context<'_>,
    args: &[Value],
    name: &'static str,
    found: fn(&str, &str) -> bool,
) -> Result<Value, Failure> {
    match args {
        [Value::String(text), Value::String(wanted)] => {
            context.budget.scan(text)?;
            Ok(Value::Bool(found(text, wanted)))
        }
        _ => Err(Failure::no_overload(name)),
    }
}

fn transform(
    context: &mut Context<'_>,
    args: &[Value],
    change: fn(&str) -> String,
) -> Result<Value, Failure> {
    match args {
        [Value::String(text)] => {
            context.budget.bytes(text.len() * 2)?;
            Ok(Value::string(change(text)))
        }
        _ => Err(Failure::no_overload("string method")),
    }
}

fn out_of_range() -> Failure {
    Failure::new("index out of range")
}

/// The byte position of a character; the position after the last one counts.
fn byte_position(text: &str, index: i64) -> Result<usize, Failure> {
    let index = usize::try_from(index).map_err(|_| out_of_range())?;
    let positions = text
        .char_indices()
        .map(|(position, _)| position)
        .chain([text.len()]);
    positions.into_iter().nth(index).ok_or_else(out_of_range)
}

fn char_at(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Failure> {
    match args {
        [Value::String(text), Value::Int(index)] => {
            context.budget.scan(text)?;
            let position = byte_position(text, *index)?;
            let character = text.get(position..).and_then(|rest| rest.chars().next());
            Ok(Value::string(
                character.map(String::from).unwrap_or_default(),
            ))
        }
        _ => Err(Failure::no_overload("charAt")),
    }
}

/// The first place of a text in another, from a position on.
pub(super) fn index_of(
    context: &mut Context<'_>,
    text: &str,
    wanted: &str,
    from: i64,
) -> Result<Value, Failure> {
    context.budget.scan(text)?;
    let from = usize::try_from(from).map_err(|_| out_of_range())?;
    let length = text.chars().count();
    if wanted.is_empty() {
        return Ok(Value::int(from.min(length)));
    }
    if from >= length {
        return Ok(Value::Int(-1));
    }
    let start = byte_position(text, i64::try_from(from).unwrap_or(i64::MAX))?;
    let found = text
        .get(start..)
        .and_then(|rest| rest.find(wanted))
        .and_then(|found| text.get(..start + found));
    Ok(found.map_or(Value::Int(-1), |before| Value::int(before.chars().count())))
}

/// The last place of a text in another, at a position or before it.
pub(super) fn last_index_of(
    context: &mut Context<'_>,
    text: &str,
    wanted: &str,
    from: Option<i64>,
) -> Result<Value, Failure> {
    context.budget.scan(text)?;
    let length = text.chars().count();
    let from = match from {
        Some(from) => usize::try_from(from).map_err(|_| out_of_range())?,
        None if wanted.is_empty() => length,
        // An empty text contains nothing; its last position does not exist.
        None => match length.checked_sub(1) {
            Some(last) => last,
            None => return Ok(Value::Int(-1)),
        },
    };
    if wanted.is_empty() {
        return Ok(Value::int(from.min(length)));
    }
    if from >= length {
        return Ok(Value::Int(-1));
    }
    let Some(last_start) = length.checked_sub(wanted.chars().count()) else {
        return Ok(Value::Int(-1));
    };
    let start = byte_position(
        text,
        i64::try_from(from.min(last_start)).unwrap_or(i64::MAX),
    )?;
    // A match may begin at the position at the latest, so it ends at most its own length further on.
    let window = text.get(..text.floor_char_boundary(start + wanted.len()));
    let found = window
        .and_then(|window| window.rfind(wanted))
        .and_then(|found| text.get(..found));
    Ok(found.map_or(Value::Int(-1), |before| Value::int(before.chars().count())))
}

/// A limit of replacements or parts; a negative one is none.
fn limit(argument: Option<&Value>, name: &str) -> Result<usize, Failure> {
    match argument {
        None => Ok(usize::MAX),
        Some(Value::Int(count)) => Ok(usize::try_from(*count).unwrap_or(usize::MAX)),
        Some(_) => Err(Failure::no_overload(name)),
    }
}

fn replace(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Failure> {
    let [
        Value::String(text),
        Value::String(old),
        Value::String(new),
        count @ ..,
    ] = args
    else {
        return Err(Failure::no_overload("replace"));
    };
    let count = limit(count.first(), "replace")?;
    context.budget.scan(text)?;
    let places = text.matches(old.as_ref()).count().min(count);
    context
        .budget
        .bytes(text.len().saturating_add(places.saturating_mul(new.len())))?;
    Ok(Value::string(text.replacen(old.as_ref(), new, count)))
}

fn split(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Failure> {
    let [Value::String(text), Value::String(separator), count @ ..] = args else {
        return Err(Failure::no_overload("split"));
    };
    let count = limit(count.first(), "split")?;
    context.budget.bytes(text.len())?;
    let parts: Vec<&str> = if count == 0 {
        Vec::new()
    } else if separator.is_empty() {
        characters(text, count)
    } else {
        text.splitn(count, separator.as_ref()).collect()
    };
    context.budget.elements(parts.len())?;
    Ok(Value::native_list(
        parts.into_iter().map(Value::string).collect(),
    ))
}

/// A text split between its characters, the rest in the last part.
fn characters(text: &str, count: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if parts.len() + 1 == count {
            parts.push(rest);
            break;
        }
        let Some((part, after)) = rest.split_at_checked(first.len_utf8()) else {
            break;
        };
        parts.push(part);
        rest = after;
    }
    parts
}

fn substring(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Failure> {
    let (text, start, end) = match args {
        [Value::String(text), Value::Int(start)] => (text, *start, None),
        [Value::String(text), Value::Int(start), Value::Int(end)] => (text, *start, Some(*end)),
        _ => return Err(Failure::no_overload("substring")),
    };
    if end.is_some_and(|end| start > end) {
        return Err(Failure::new("invalid substring range"));
    }
    context.budget.bytes(text.len())?;
    let start = byte_position(text, start)?;
    let end = end.map_or(Ok(text.len()), |end| byte_position(text, end))?;
    text.get(start..end)
        .map(Value::string)
        .ok_or_else(out_of_range)
}

fn join(context: &mut Context<'_>, args: &[Value]) -> Result<Value, Failure> {
    let (list, separator) = match args {
        [Value::List(list, _)] => (list, ""),
        [Value::List(list, _), Value::String(separator)] => (list, separator.as_ref()),
        _ => return Err(Failure::no_overload("join")),
    };
    let mut text = String::new();
    for (index, item) in list.items.iter().enumerate() {
        let Value::String(item) = item else {
            return Err(Failure::new("join: an element is not a string"));
        };
        context.budget.bytes(item.len() + separator.len())?;
        if index > 0 {
            text.push_str(separator);
        }
        text.push_str(item);
    }
    Ok(Value::String(Arc::from(text)))
}

pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        let escape = match character {
            '\u{7}' => 'a',
            '\u{8}' => 'b',
            '\u{c}' => 'f',
            '\n' => 'n',
            '\r' => 'r',
            '\t' => 't',
            '\u{b}' => 'v',
            '\\' | '"' => character,
            _ => {
                quoted.push(character);
                continue;
            }
        };
        quoted.push('\\');
        quoted.push(escape);
    }
    quoted.push('"');
    quoted
}
