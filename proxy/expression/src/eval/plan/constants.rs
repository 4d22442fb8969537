//! What is done once, when an expression is compiled: constant lists and maps, conversions, patterns.

use std::mem;

use regex::Regex;

use super::{Function, Node, Work};
use crate::{
    error::Refusal,
    eval::{
        claims::Root,
        evaluate::Context,
        value::{Map, Value},
    },
    library::patterns,
    syntax::ast::Expr,
};

pub(super) fn constant(node: &Node) -> Option<&Value> {
    match &node.work {
        Work::Constant(value) => Some(value),
        _ => None,
    }
}

pub(super) fn constant_list(nodes: &[(Node, bool)]) -> Option<Value> {
    let items = nodes
        .iter()
        .map(|(node, optional)| constant(node).filter(|_| !optional).cloned());
    Some(Value::list(items.collect::<Option<_>>()?))
}

pub(super) fn constant_map(nodes: &[(Node, Node, bool)]) -> Option<Value> {
    let mut map = Map::default();
    for (key, value, optional) in nodes {
        map.replace(
            constant(key)?.clone(),
            constant(value).filter(|_| !optional)?.clone(),
        );
    }
    Some(Value::map(map))
}

/// A constant pattern is compiled now, so a bad one is an error of the configuration.
pub(super) fn constant_pattern(
    name: &str,
    operands: &[Node],
) -> Result<Option<Regex>, &'static str> {
    if !matches!(name, "matches" | "find" | "findAll") {
        return Ok(None);
    }
    match operands.get(1).and_then(constant) {
        Some(Value::String(pattern)) => patterns::compile_constant(pattern).map(Some),
        _ => Ok(None),
    }
}

/// Conversions of constants are done now, so one that fails is an error of the configuration.
pub(super) fn fold_conversion(
    expr: &Expr,
    call: Function,
    mut operands: Vec<Node>,
) -> Result<Work, Refusal> {
    let converts = matches!(
        call.name,
        "bool"
            | "bytes"
            | "double"
            | "duration"
            | "dyn"
            | "int"
            | "string"
            | "timestamp"
            | "type"
            | "uint"
    );
    if let (
        [
            Node {
                work: Work::Constant(value),
                ..
            },
        ],
        true,
    ) = (operands.as_mut_slice(), converts)
    {
        let value = mem::replace(value, Value::Null);
        let mut context = Context::new(Root::None);
        let converted = (call.run)(&mut context, std::slice::from_ref(&value));
        return converted
            .map(Work::Constant)
            .map_err(|failure| Refusal::new(expr.offset, failure.message));
    }
    Ok(Work::Call {
        call,
        args: operands,
    })
}

pub(super) fn is_constant_set(node: &Node) -> bool {
    let simple = |item: &Value| {
        matches!(
            item,
            Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Double(_) | Value::String(_)
        )
    };
    matches!(constant(node), Some(Value::List(list, _)) if list.items.iter().all(simple))
}
