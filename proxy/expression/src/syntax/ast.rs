//! The syntax tree. Macros are already expanded in it, so checker and evaluator know one kind of loop only.

use std::sync::Arc;

use crate::eval::value::Value;

/// How deep a tree may be. Every walk over a tree or a value recurses at most a small multiple of this, which keeps it
/// well within the stack of a worker thread; kube-apiserver's parser stops at a similar depth (250 nested operators).
pub(crate) const MAX_DEPTH: u16 = 256;

/// What a loop counts as; evaluating one needs more of the stack than other nodes.
pub(crate) const LOOP_DEPTH: u16 = 5;

/// How many nodes a tree may have. `optMap` copies its operand, so nesting it doubles the tree each time.
pub(crate) const MAX_NODES: u32 = 50_000;

/// The hidden variable that a macro collects its result in; no identifier can be written like it.
pub(crate) const ACCUMULATOR: &str = "@result";

#[derive(Debug, Clone)]
pub(crate) struct Expr {
    pub(crate) id: u32,
    /// Byte offset in the source, for messages.
    pub(crate) offset: u32,
    pub(crate) depth: u16,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Literal(Value),
    Ident(Arc<str>),
    Select {
        operand: Box<Expr>,
        field: Arc<str>,
        test: bool,
    },
    Call {
        function: Arc<str>,
        target: Option<Box<Expr>>,
        args: Vec<Expr>,
    },
    List(Vec<Element>),
    Map(Vec<Entry>),
    Comprehension(Box<Comprehension>),
}

#[derive(Debug, Clone)]
pub(crate) struct Element {
    pub(crate) value: Expr,
    pub(crate) optional: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: Expr,
    pub(crate) value: Expr,
    pub(crate) optional: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Comprehension {
    pub(crate) range: Expr,
    pub(crate) variable: Arc<str>,
    pub(crate) second: Option<Arc<str>>,
    pub(crate) accumulator: Arc<str>,
    pub(crate) initial: Expr,
    pub(crate) condition: Expr,
    pub(crate) step: Expr,
    pub(crate) result: Expr,
}

impl Expr {
    /// The direct parts, in the order in which they are written.
    pub(crate) fn children(&self) -> Vec<&Self> {
        match &self.kind {
            Kind::Literal(_) | Kind::Ident(_) => Vec::new(),
            Kind::Select { operand, .. } => vec![operand],
            Kind::Call { target, args, .. } => target.as_deref().into_iter().chain(args).collect(),
            Kind::List(elements) => elements.iter().map(|element| &element.value).collect(),
            Kind::Map(entries) => entries
                .iter()
                .flat_map(|entry| [&entry.key, &entry.value])
                .collect(),
            Kind::Comprehension(fold) => {
                vec![
                    &fold.range,
                    &fold.initial,
                    &fold.condition,
                    &fold.step,
                    &fold.result,
                ]
            }
        }
    }

    /// `a.b.c` as its dotted name, when there is nothing but names in it.
    pub(crate) fn dotted(&self) -> Option<String> {
        match &self.kind {
            Kind::Ident(name) => Some(name.to_string()),
            Kind::Select {
                operand,
                field,
                test: false,
            } => Some(format!("{}.{field}", operand.dotted()?)),
            _ => None,
        }
    }

    /// Whether `variable.field` or `variable.?field` is selected anywhere in the tree. An index does not count, as in
    /// kube-apiserver's rule about `claims.email`.
    pub(crate) fn selects(&self, variable: &str, wanted: &str) -> bool {
        let is_variable =
            |expr: &Self| matches!(&expr.kind, Kind::Ident(name) if **name == *variable);
        let here = match &self.kind {
            Kind::Select { operand, field, .. } => **field == *wanted && is_variable(operand),
            Kind::Call {
                function,
                target: None,
                args,
            } if **function == *"_?._" => match args.as_slice() {
                [
                    operand,
                    Self {
                        kind: Kind::Literal(Value::String(field)),
                        ..
                    },
                ] => **field == *wanted && is_variable(operand),
                _ => false,
            },
            _ => false,
        };
        here || self
            .children()
            .into_iter()
            .any(|child| child.selects(variable, wanted))
    }
}
