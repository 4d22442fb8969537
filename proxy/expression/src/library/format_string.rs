//! `format`: checking a constant pattern when an expression is compiled, and applying one.

mod clauses;

use crate::{
    check::types::Type,
    error::Failure,
    eval::{Context, value::Value},
};
use clauses::apply;

const DEFAULT_PRECISION: usize = 6;

/// Above this, decimals are only a way to make long texts.
const MAX_PRECISION: usize = 1000;

/// A clause such as `%s` or `%.2f`.
#[derive(Debug, Clone, Copy)]
struct Clause {
    verb: char,
    precision: usize,
}

enum Part<'a> {
    Text(&'a str),
    Clause(Clause),
}

/// The parts of a pattern. kube-apiserver looks for an argument before it looks at a clause, so does this.
fn parts<'a>(
    pattern: &'a str,
    arguments: usize,
    visit: &mut dyn FnMut(Part<'a>, usize) -> Result<(), Failure>,
) -> Result<usize, Failure> {
    let mut rest = pattern;
    let mut index = 0;
    while let Some((before, after)) = rest.split_once('%') {
        visit(Part::Text(before), index)?;
        if let Some(after) = after.strip_prefix('%') {
            visit(Part::Text("%"), index)?;
            rest = after;
            continue;
        }
        if index >= arguments {
            return Err(Failure::new(format!("index {index} out of range")));
        }
        let (clause, after) = clause(after)?;
        visit(Part::Clause(clause), index)?;
        index += 1;
        rest = after;
    }
    visit(Part::Text(rest), index)?;
    Ok(index)
}

fn clause(text: &str) -> Result<(Clause, &str), Failure> {
    let bad = || Failure::new("could not parse formatting clause");
    let mut rest = text;
    let mut precision = DEFAULT_PRECISION;
    if let Some(after) = rest.strip_prefix('.') {
        let length = after.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, after) = after.split_at_checked(length).ok_or_else(bad)?;
        precision = digits
            .parse()
            .ok()
            .filter(|precision| *precision <= MAX_PRECISION)
            .ok_or_else(bad)?;
        rest = after;
    }
    let verb = rest
        .chars()
        .next()
        .ok_or_else(|| Failure::new("unexpected end of string"))?;
    if !matches!(verb, 's' | 'd' | 'f' | 'e' | 'b' | 'x' | 'X' | 'o') {
        return Err(Failure::new(format!(
            "unrecognized formatting clause \"{}\"",
            verb.escape_default()
        )));
    }
    Ok((
        Clause { verb, precision },
        rest.get(verb.len_utf8()..).unwrap_or_default(),
    ))
}

/// Checks a constant pattern with a list of arguments of these types.
pub(crate) fn check(pattern: &str, arguments: &[&Type]) -> Result<(), String> {
    let used = parts(pattern, arguments.len(), &mut |part, index| {
        let (Part::Clause(Clause { verb, .. }), Some(known)) = (part, arguments.get(index)) else {
            return Ok(());
        };
        let fits = match verb {
            _ if **known == Type::Dyn => true,
            's' => matches!(
                known,
                Type::List(_)
                    | Type::Map(..)
                    | Type::Int
                    | Type::Uint
                    | Type::Double
                    | Type::Bool
                    | Type::String
                    | Type::Timestamp
                    | Type::Bytes
                    | Type::Duration
                    | Type::Type(_)
                    | Type::Null
            ),
            'f' | 'e' => matches!(known, Type::Double | Type::String),
            'b' => matches!(known, Type::Int | Type::Uint | Type::Bool),
            'x' | 'X' => matches!(known, Type::Int | Type::Uint | Type::String | Type::Bytes),
            _ => matches!(known, Type::Int | Type::Uint),
        };
        if fits {
            Ok(())
        } else {
            Err(Failure::new(format!(
                "error during formatting: %{verb} was given {known}"
            )))
        }
    })
    .map_err(|failure| failure.message.into_owned())?;
    if used < arguments.len() {
        return Err(format!(
            "too many arguments supplied to string.format (expected {used}, got {})",
            arguments.len()
        ));
    }
    Ok(())
}

pub(super) fn format(
    context: &mut Context<'_>,
    pattern: &str,
    arguments: &[Value],
) -> Result<Value, Failure> {
    let mut text = String::new();
    parts(
        pattern,
        arguments.len(),
        &mut |part, index| match (part, arguments.get(index)) {
            (Part::Text(part), _) => {
                context.budget.bytes(part.len())?;
                text.push_str(part);
                Ok(())
            }
            (Part::Clause(clause), Some(argument)) => {
                let formatted = apply(context, clause, argument)?;
                context.budget.bytes(formatted.len())?;
                text.push_str(&formatted);
                Ok(())
            }
            (Part::Clause(_), None) => Err(Failure::new("index out of range")),
        },
    )?;
    Ok(Value::string(text))
}
