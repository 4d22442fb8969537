//! Macros: calls that are rewritten to other expressions before anything else looks at them.

mod builder;

use std::sync::Arc;

use builder::Builder;

use super::{
    ast::{Expr, Kind},
    parser::Parser,
};
use crate::error::Refusal;

/// Rewrites a call if it is one to a macro. A call with another number of arguments is an ordinary one.
pub(super) fn expand(
    parser: &mut Parser<'_>,
    offset: u32,
    name: &str,
    target: Option<&Expr>,
    args: &[Expr],
) -> Result<Option<Expr>, Refusal> {
    let mut build = Builder { parser, offset };
    match (name, target, args) {
        ("has", None, [argument]) => build.has(argument).map(Some),
        ("all" | "exists" | "exists_one", Some(range), [variable, predicate]) => {
            let variables = Variables::one(variable)?;
            build
                .quantifier(name, range, variables, predicate)
                .map(Some)
        }
        (
            "all" | "exists" | "exists_one" | "existsOne",
            Some(range),
            [first, second, predicate],
        ) => {
            let variables = Variables::two(first, second)?;
            build
                .quantifier(name, range, variables, predicate)
                .map(Some)
        }
        ("map", Some(range), [variable, transform]) => {
            let variables = Variables::one(variable)?;
            build.list(range, variables, None, transform).map(Some)
        }
        ("map", Some(range), [variable, filter, transform]) => {
            let variables = Variables::one(variable)?;
            build
                .list(range, variables, Some(filter), transform)
                .map(Some)
        }
        ("filter", Some(range), [variable, filter]) => {
            let variables = Variables::one(variable)?;
            build
                .list(range, variables, Some(filter), variable)
                .map(Some)
        }
        ("transformList", Some(range), [first, second, filter @ .., transform])
            if filter.len() <= 1 =>
        {
            let variables = Variables::two(first, second)?;
            build
                .list(range, variables, filter.first(), transform)
                .map(Some)
        }
        (
            "transformMap" | "transformMapEntry",
            Some(range),
            [first, second, filter @ .., transform],
        ) if filter.len() <= 1 => {
            let variables = Variables::two(first, second)?;
            build
                .map(
                    name == "transformMap",
                    range,
                    variables,
                    filter.first(),
                    transform,
                )
                .map(Some)
        }
        ("optMap" | "optFlatMap", Some(target), [variable, body]) => build
            .optional(name == "optMap", target, variable, body)
            .map(Some),
        ("sortBy", Some(range), [variable, key]) => build.sort_by(range, variable, key).map(Some),
        _ => Ok(None),
    }
}

struct Variables {
    first: Arc<str>,
    second: Option<Arc<str>>,
}

impl Variables {
    fn one(argument: &Expr) -> Result<Self, Refusal> {
        Ok(Self {
            first: identifier(argument)?,
            second: None,
        })
    }

    fn two(first: &Expr, second: &Expr) -> Result<Self, Refusal> {
        let (one, two) = (identifier(first)?, identifier(second)?);
        if one == two {
            return Err(Refusal::new(
                second.offset,
                format!("duplicate variable name: {one}"),
            ));
        }
        Ok(Self {
            first: one,
            second: Some(two),
        })
    }
}

fn identifier(argument: &Expr) -> Result<Arc<str>, Refusal> {
    match &argument.kind {
        Kind::Ident(name) => Ok(Arc::clone(name)),
        _ => Err(Refusal::new(
            argument.offset,
            "argument must be a simple name",
        )),
    }
}
