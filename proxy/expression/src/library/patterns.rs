//! Regular expressions: `matches`, `find`, `findAll`.

use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use super::{Implementation, pattern_syntax::translate};
use crate::{
    error::Failure,
    eval::{Context, budget::Budget, value::Value},
};

/// What a character of a pattern costs per tenth of a text's character, in kube-apiserver's model.
pub(crate) const PATTERN_FACTOR: f64 = 0.25;

/// How much memory a pattern of the configuration may compile to.
const CONSTANT_SIZE: usize = 4 * 1024 * 1024;

/// How much a pattern that is made at run time may; it can come from a token.
const DYNAMIC_SIZE: usize = 256 * 1024;

/// Steps that compiling a pattern at run time counts as, and each of its characters on top.
const COMPILE: u64 = 20_000;
const COMPILE_CHARACTER: u64 = 200;

/// How deep groups may be nested.
const NESTING: u32 = 200;

/// The last pattern that was made at run time: in a loop it is usually the same one.
#[derive(Debug, Default)]
pub(crate) struct Patterns(Option<(Arc<str>, Regex)>);

pub(crate) fn compile_constant(pattern: &str) -> Result<Regex, &'static str> {
    compile(pattern, CONSTANT_SIZE).ok_or("invalid matches argument")
}

fn compile(pattern: &str, size: usize) -> Option<Regex> {
    let translated = translate(pattern)?;
    RegexBuilder::new(&translated)
        .size_limit(size)
        .dfa_size_limit(size)
        .nest_limit(NESTING)
        .build()
        .ok()
}

fn dynamic(context: &mut Context<'_>, pattern: &Arc<str>) -> Result<Regex, Failure> {
    if let Some((known, regex)) = &context.patterns.0
        && known == pattern
    {
        return Ok(regex.clone());
    }
    let length = u64::try_from(pattern.len()).unwrap_or(u64::MAX);
    context.budget.steps(
        length
            .saturating_mul(COMPILE_CHARACTER)
            .saturating_add(COMPILE),
    )?;
    let regex =
        compile(pattern, DYNAMIC_SIZE).ok_or_else(|| Failure::new("invalid regular expression"))?;
    context.patterns.0 = Some((Arc::clone(pattern), regex.clone()));
    Ok(regex)
}

pub(super) fn find(name: &str) -> Option<Implementation> {
    Some(match name {
        "matches" => |context, args| with_dynamic("matches", context, args),
        "find" => |context, args| with_dynamic("find", context, args),
        "findAll" => |context, args| with_dynamic("findAll", context, args),
        _ => return None,
    })
}

fn with_dynamic(
    name: &'static str,
    context: &mut Context<'_>,
    args: &[Value],
) -> Result<Value, Failure> {
    match args {
        [Value::String(_), Value::String(pattern), ..] => {
            let regex = dynamic(context, pattern)?;
            apply(name, &regex, &mut context.budget, args)
        }
        _ => Err(Failure::no_overload(name)),
    }
}

/// Applies a compiled pattern; the pattern among the arguments is not looked at.
pub(crate) fn apply(
    name: &str,
    regex: &Regex,
    budget: &mut Budget,
    args: &[Value],
) -> Result<Value, Failure> {
    let [Value::String(text), _, limit @ ..] = args else {
        return Err(Failure::no_overload(name));
    };
    budget.bytes(text.len())?;
    match name {
        "matches" => Ok(Value::Bool(regex.is_match(text))),
        "find" => Ok(Value::string(
            regex.find(text).map_or("", |found| found.as_str()),
        )),
        _ => {
            let limit = match limit {
                [] => usize::MAX,
                [Value::Int(limit)] => usize::try_from(*limit).unwrap_or(usize::MAX),
                _ => return Err(Failure::no_overload(name)),
            };
            let mut found = Vec::new();
            let mut end_of_last = None;
            for place in regex.find_iter(text).take(limit) {
                // Go does not report an empty match right after the one before it.
                if place.is_empty() && end_of_last == Some(place.start()) {
                    continue;
                }
                end_of_last = Some(place.end());
                budget.elements(1)?;
                found.push(Value::string(place.as_str()));
            }
            Ok(Value::native_list(found))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_read_as_go_reads_them() {
        for (pattern, text, matches) in [
            ("^a.c$", "abc", true),
            (r"^\d+$", "١", false),
            (r"^\w+$", "é", false),
            ("^[[a]+$", "[a", true),
            ("^[a&&b]+$", "a&b", true),
            ("^a{,2}$", "a{,2}", true),
            ("a{", "a{", true),
            (r"^\Qa.b\E$", "a.b", true),
            ("(?i)^ABC$", "abc", true),
            ("^[^-a]$", "b", true),
            (r"\bfoo\b", "a foo b", true),
            ("^[[:alpha:]_-]+$", "a_-b", true),
            ("(?P<n>a)", "a", true),
            (r"\x41\x{42}", "AB", true),
        ] {
            let regex = compile_constant(pattern).unwrap_or_else(|_| panic!("{pattern}"));
            assert_eq!(regex.is_match(text), matches, "{pattern}");
        }
        for pattern in [
            "[", "a**", "(", "a{1001}", r"\1", r"\u0041", "(?x)a", r"\Z", "(?=a)", "*a", "[b-a]",
            "a{2,1}",
        ] {
            assert!(compile_constant(pattern).is_err(), "{pattern}");
        }
    }
}
