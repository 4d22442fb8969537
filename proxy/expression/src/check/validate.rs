//! What kube-apiserver checks after the types: constant arguments, and literals whose elements are of one type.

use super::{
    checker::{Checked, Reference},
    types::Type,
};
use crate::{
    error::Refusal,
    eval::value::Value,
    library::{format_string, patterns, times},
    syntax::ast::{Expr, Kind},
};

pub(crate) fn validate(expr: &Expr, checked: &Checked) -> Result<(), Refusal> {
    walk(expr, checked, false)
}

/// `in_format`: the arguments of `format` may be of different types, as far as the checker lets them.
fn walk(expr: &Expr, checked: &Checked, in_format: bool) -> Result<(), Refusal> {
    let mut inside_format = in_format;
    match &expr.kind {
        Kind::Call {
            function,
            target,
            args,
        } => {
            arguments(expr, checked, args)?;
            if **function == *"format" {
                inside_format = true;
                if let (
                    Some(Kind::Literal(Value::String(pattern))),
                    [
                        Expr {
                            kind: Kind::List(elements),
                            ..
                        },
                    ],
                ) = (
                    target.as_deref().map(|target| &target.kind),
                    args.as_slice(),
                ) {
                    let types: Vec<&Type> = elements
                        .iter()
                        .map(|element| checked.type_of(&element.value))
                        .collect();
                    format_string::check(pattern, &types)
                        .map_err(|message| Refusal::new(expr.offset, message))?;
                }
            }
        }
        Kind::List(elements) if !in_format => {
            same(
                checked,
                elements
                    .iter()
                    .map(|element| (&element.value, element.optional)),
            )?;
        }
        Kind::Map(entries) if !in_format => {
            same(checked, entries.iter().map(|entry| (&entry.key, false)))?;
            same(
                checked,
                entries.iter().map(|entry| (&entry.value, entry.optional)),
            )?;
        }
        _ => {}
    }
    expr.children()
        .into_iter()
        .try_for_each(|child| walk(child, checked, inside_format))
}

/// The first literal argument of a conversion or of `matches` has to make sense. For `matches(text, pattern)` that is the
/// text, oddly enough, so kube-apiserver refuses a text that is no pattern.
fn arguments(call: &Expr, checked: &Checked, args: &[Expr]) -> Result<(), Refusal> {
    let Reference::Function { name, .. } = checked.reference(call) else {
        return Ok(());
    };
    let Some(Expr {
        kind: Kind::Literal(Value::String(text)),
        offset,
        ..
    }) = args.first()
    else {
        return Ok(());
    };
    let valid = match name {
        "duration" => times::parse_duration(text).is_some(),
        "timestamp" => times::parse_timestamp(text).is_some(),
        "matches" => patterns::compile_constant(text).is_ok(),
        _ => true,
    };
    if valid {
        Ok(())
    } else {
        Err(Refusal::new(*offset, format!("invalid {name} argument")))
    }
}

fn same<'a>(
    checked: &Checked,
    elements: impl Iterator<Item = (&'a Expr, bool)>,
) -> Result<(), Refusal> {
    let mut first: Option<&Type> = None;
    for (expr, optional) in elements {
        let mut found = checked.type_of(expr);
        if optional {
            // A dynamic one makes kube-apiserver panic here.
            match found.unwrap_optional() {
                (value, true) => found = value,
                (other, false) => {
                    let message =
                        format!("expected type 'optional_type({other})' but found '{other}'");
                    return Err(Refusal::new(expr.offset, message));
                }
            }
        }
        match first {
            None => first = Some(found),
            Some(first) if first == found => {}
            Some(first) => {
                return Err(Refusal::new(
                    expr.offset,
                    format!("expected type '{first}' but found '{found}'"),
                ));
            }
        }
    }
    Ok(())
}
