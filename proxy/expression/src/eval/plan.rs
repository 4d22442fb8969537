//! The checked tree as what is evaluated: names resolved to slots and functions, constants folded, patterns compiled.

mod constants;
mod planner;

use regex::Regex;

use super::value::Value;
use crate::{
    Environment,
    check::{Checked, types::Type},
    error::Refusal,
    library::Implementation,
    syntax::ast::Expr,
};
use planner::Planner;

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) offset: u32,
    pub(crate) work: Work,
}

#[derive(Debug)]
pub(crate) enum Work {
    Constant(Value),
    /// A variable of a macro, by its place on the stack.
    Local(usize),
    /// `claims` or `user`, by the name of its type.
    Root(&'static str),
    Select {
        operand: Box<Node>,
        field: Value,
        optional: bool,
    },
    Has {
        operand: Box<Node>,
        field: Value,
    },
    Index {
        operand: Box<Node>,
        index: Box<Node>,
        optional: bool,
    },
    And(Vec<Node>),
    Or(Vec<Node>),
    Conditional(Box<[Node; 3]>),
    NotStrictlyFalse(Box<Node>),
    /// `or` and `orValue`, whose right side is evaluated only if it is needed.
    OptionalOr {
        operands: Box<[Node; 2]>,
        value: bool,
    },
    /// `accumulator + [item]`, in place.
    Append {
        slot: usize,
        item: Box<Node>,
    },
    /// The accumulator with more entries, in place: a key and a value, or a whole map.
    Insert {
        slot: usize,
        args: Vec<Node>,
    },
    Call {
        call: Function,
        args: Vec<Node>,
    },
    List(Vec<(Node, bool)>),
    Map(Vec<(Node, Node, bool)>),
    Fold(Box<Fold>),
}

#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) run: Implementation,
    /// Whether the checker found exactly one overload; kube-apiserver's costs depend on it.
    pub(crate) single: bool,
    /// What the operands have to be where that one overload is called rather than whichever fits. The checker may have
    /// taken a type that it does not know for the first that would do.
    pub(crate) guard: &'static [Type],
    /// A constant regular expression.
    pub(crate) pattern: Option<Regex>,
    /// `in` a constant list, which upstream looks up in a set and does not charge for.
    pub(crate) free: bool,
}

#[derive(Debug)]
pub(crate) struct Fold {
    pub(crate) range: Node,
    pub(crate) two: bool,
    /// The accumulator's place on the stack; the variables follow.
    pub(crate) slot: usize,
    pub(crate) initial: Node,
    /// Nothing if the loop goes on until the end.
    pub(crate) condition: Option<Node>,
    pub(crate) step: Node,
    pub(crate) result: Node,
}

pub(crate) fn plan(
    expr: &Expr,
    checked: &Checked,
    environment: Environment,
) -> Result<Node, Refusal> {
    Planner {
        checked,
        root: environment.type_name(),
        stack: Vec::new(),
    }
    .node(expr)
}

impl Node {
    /// What upstream calls an attribute: a variable and what is selected from it.
    pub(crate) fn is_attribute(&self) -> bool {
        matches!(
            self.work,
            Work::Local(_) | Work::Root(_) | Work::Select { .. } | Work::Index { .. }
        )
    }
}
