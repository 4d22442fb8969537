//! From the checked tree to the plan.

use std::sync::Arc;

use super::{
    Fold, Function, Node, Work,
    constants::{
        constant, constant_list, constant_map, constant_pattern, fold_conversion, is_constant_set,
    },
};
use crate::{
    check::{Checked, Reference},
    error::Refusal,
    eval::value::Value,
    library,
    syntax::ast::{ACCUMULATOR, Comprehension, Expr, Kind},
};

pub(super) struct Planner<'a> {
    pub(super) checked: &'a Checked,
    pub(super) root: &'static str,
    pub(super) stack: Vec<Arc<str>>,
}

/// Whether upstream has code for each overload of a function, as opposed to one for all of them that looks at the operands
/// by itself.
fn dispatches(function: &str) -> bool {
    let is_operator = function.starts_with(['_', '-', '!', '@']);
    let as_one = matches!(
        function,
        "size" | "type" | "dyn" | "matches" | "sort" | "flatten"
    );
    !is_operator && !as_one
}

impl Planner<'_> {
    pub(super) fn node(&mut self, expr: &Expr) -> Result<Node, Refusal> {
        let work = match &expr.kind {
            Kind::Literal(value) => Work::Constant(value.clone()),
            Kind::Ident(name) => match self.checked.reference(expr) {
                Reference::TypeName(name) => Work::Constant(Value::Type(Arc::from(name))),
                _ => self.slot(name).map_or(Work::Root(self.root), Work::Local),
            },
            Kind::Select {
                operand,
                field,
                test,
            } => {
                if let Reference::TypeName(name) = self.checked.reference(expr) {
                    Work::Constant(Value::Type(Arc::from(name)))
                } else {
                    let operand = Box::new(self.node(operand)?);
                    let field = Value::String(Arc::clone(field));
                    if *test {
                        Work::Has { operand, field }
                    } else {
                        Work::Select {
                            operand,
                            field,
                            optional: false,
                        }
                    }
                }
            }
            Kind::Call {
                function,
                target,
                args,
            } => self.call(expr, function, target.as_deref(), args)?,
            Kind::List(elements) => {
                let mut nodes = Vec::with_capacity(elements.len());
                for element in elements {
                    nodes.push((self.node(&element.value)?, element.optional));
                }
                constant_list(&nodes).map_or(Work::List(nodes), Work::Constant)
            }
            Kind::Map(entries) => {
                let mut nodes = Vec::with_capacity(entries.len());
                for entry in entries {
                    nodes.push((
                        self.node(&entry.key)?,
                        self.node(&entry.value)?,
                        entry.optional,
                    ));
                }
                constant_map(&nodes).map_or(Work::Map(nodes), Work::Constant)
            }
            Kind::Comprehension(fold) => Work::Fold(Box::new(self.fold(fold)?)),
        };
        Ok(Node {
            offset: expr.offset,
            work,
        })
    }

    fn nodes(
        &mut self,
        exprs: impl IntoIterator<Item = impl std::borrow::Borrow<Expr>>,
    ) -> Result<Vec<Node>, Refusal> {
        exprs
            .into_iter()
            .map(|expr| self.node(expr.borrow()))
            .collect()
    }

    fn slot(&self, name: &str) -> Option<usize> {
        self.stack.iter().rposition(|variable| **variable == *name)
    }

    /// Calls that are evaluated in a way of their own.
    fn special(&mut self, function: &str, args: &[Expr]) -> Result<Option<Work>, Refusal> {
        Ok(Some(match (function, args) {
            ("_&&_", _) => Work::And(self.nodes(args)?),
            ("_||_", _) => Work::Or(self.nodes(args)?),
            (
                "_?._",
                [
                    operand,
                    Expr {
                        kind: Kind::Literal(field),
                        ..
                    },
                ],
            ) => {
                let operand = Box::new(self.node(operand)?);
                Work::Select {
                    operand,
                    field: field.clone(),
                    optional: true,
                }
            }
            ("_[_]" | "_[?_]", [operand, index]) => {
                let offset = index.offset;
                let (operand, index) = (Box::new(self.node(operand)?), Box::new(self.node(index)?));
                if constant(&index).is_some_and(|index| !index.is_qualifier()) {
                    return Err(Refusal::new(offset, "invalid qualifier type"));
                }
                Work::Index {
                    operand,
                    index,
                    optional: function == "_[?_]",
                }
            }
            ("_?_:_", [condition, yes, no]) => {
                let parts = [self.node(condition)?, self.node(yes)?, self.node(no)?];
                Work::Conditional(Box::new(parts))
            }
            ("@not_strictly_false", [operand]) => {
                Work::NotStrictlyFalse(Box::new(self.node(operand)?))
            }
            (
                "_+_",
                [
                    accumulator,
                    Expr {
                        kind: Kind::List(items),
                        ..
                    },
                ],
            ) => match (self.accumulator(accumulator), items.as_slice()) {
                (Some(slot), [item]) => Work::Append {
                    slot,
                    item: Box::new(self.node(&item.value)?),
                },
                _ => return Ok(None),
            },
            ("cel.@mapInsert", [accumulator, rest @ ..]) => match self.accumulator(accumulator) {
                Some(slot) => Work::Insert {
                    slot,
                    args: self.nodes(rest)?,
                },
                None => return Ok(None),
            },
            _ => return Ok(None),
        }))
    }

    /// The place of the accumulator, if the expression is one.
    fn accumulator(&self, expr: &Expr) -> Option<usize> {
        match &expr.kind {
            Kind::Ident(name) if **name == *ACCUMULATOR => self.slot(name),
            _ => None,
        }
    }

    fn call(
        &mut self,
        expr: &Expr,
        function: &str,
        target: Option<&Expr>,
        args: &[Expr],
    ) -> Result<Work, Refusal> {
        if let Some(work) = self.special(function, args)? {
            return Ok(work);
        }
        let Reference::Function {
            name,
            only,
            namespaced,
        } = self.checked.reference(expr)
        else {
            return Err(Refusal::new(
                expr.offset,
                format!("undeclared reference to '{function}'"),
            ));
        };
        let operands = self.nodes(target.filter(|_| !namespaced).into_iter().chain(args))?;
        if matches!(name, "or" | "orValue") {
            return match <[Node; 2]>::try_from(operands) {
                Ok(operands) => Ok(Work::OptionalOr {
                    operands: Box::new(operands),
                    value: name == "orValue",
                }),
                Err(_) => Err(Refusal::new(expr.offset, "found no matching overload")),
            };
        }
        let pattern = constant_pattern(name, &operands)
            .map_err(|message| Refusal::new(expr.offset, message))?;
        let free = name == "@in" && only.is_some() && operands.get(1).is_some_and(is_constant_set);
        let call = Function {
            name,
            run: library::implementation(name),
            single: only.is_some(),
            guard: only
                .filter(|_| dispatches(name))
                .map_or(&[], |overload| overload.parameters.as_slice()),
            pattern,
            free,
        };
        fold_conversion(expr, call, operands)
    }

    fn fold(&mut self, fold: &Comprehension) -> Result<Fold, Refusal> {
        let range = self.node(&fold.range)?;
        let initial = self.node(&fold.initial)?;
        let slot = self.stack.len();
        self.stack.push(Arc::clone(&fold.accumulator));
        self.stack.push(Arc::clone(&fold.variable));
        self.stack.extend(fold.second.clone());
        let condition = match &fold.condition.kind {
            Kind::Literal(Value::Bool(true)) => None,
            _ => Some(self.node(&fold.condition)?),
        };
        let step = self.node(&fold.step)?;
        self.stack.truncate(slot + 1);
        let result = self.node(&fold.result)?;
        self.stack.truncate(slot);
        Ok(Fold {
            range,
            two: fold.second.is_some(),
            slot,
            initial,
            condition,
            step,
            result,
        })
    }
}
