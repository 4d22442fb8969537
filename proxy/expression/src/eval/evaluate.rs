//! The evaluator: a walk over the plan with a stack for the variables of macros.

mod lookups;
mod loops;

use super::{
    budget::Budget,
    claims::Root,
    cost,
    plan::{Function, Node, Work},
    value::{Map, Value},
};
use crate::{
    error::Failure,
    library::patterns::{self, Patterns},
};

const LIST_COST: u64 = 10;
const MAP_COST: u64 = 30;

/// What the functions of the libraries share during one evaluation.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) budget: Budget,
    pub(crate) patterns: Patterns,
    root: Root<'a>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(root: Root<'a>) -> Self {
        Self {
            budget: Budget::default(),
            patterns: Patterns::default(),
            root,
        }
    }
}

pub(crate) fn evaluate(node: &Node, root: Root<'_>) -> Result<Value, Failure> {
    Evaluator {
        context: Context::new(root),
        locals: Vec::new(),
    }
    .run(node)
}

/// Also says what kube-apiserver would have charged.
#[cfg(test)]
pub(crate) fn evaluate_with_cost(node: &Node, root: Root<'_>) -> (Result<Value, Failure>, u64) {
    let mut evaluator = Evaluator {
        context: Context::new(root),
        locals: Vec::new(),
    };
    let result = evaluator.run(node);
    (result, evaluator.context.budget.paid())
}

struct Evaluator<'a> {
    context: Context<'a>,
    /// An accumulator can hold a failure: `exists` goes on looking after one.
    locals: Vec<Result<Value, Failure>>,
}

impl Evaluator<'_> {
    fn run(&mut self, node: &Node) -> Result<Value, Failure> {
        self.context
            .budget
            .step()
            .and_then(|()| self.work(node))
            .map_err(|failure| failure.at(node.offset))
    }

    fn work(&mut self, node: &Node) -> Result<Value, Failure> {
        match &node.work {
            Work::Constant(value) => Ok(value.clone()),
            Work::Local(slot) => {
                self.context.budget.pay(1)?;
                self.locals
                    .get(*slot)
                    .cloned()
                    .unwrap_or_else(|| Err(Failure::new("no such attribute")))
            }
            Work::Root(name) => {
                self.context.budget.pay(1)?;
                Ok(Value::Root(name))
            }
            Work::Select {
                operand,
                field,
                optional,
            } => {
                let value = self.operand(operand)?;
                self.lookup(value, field, *optional)
            }
            Work::Has { operand, field } => self.has(operand, field),
            Work::Index {
                operand,
                index,
                optional,
            } => {
                let value = self.operand(operand)?;
                if matches!(value, Value::Optional(None)) {
                    return Ok(value);
                }
                let index = self.unpaid(index)?;
                self.lookup(value, &index, *optional)
            }
            Work::And(terms) => self.logical(terms, false),
            Work::Or(terms) => self.logical(terms, true),
            Work::Conditional(parts) => self.conditional(parts),
            Work::NotStrictlyFalse(operand) => {
                self.context.budget.pay(1)?;
                match self.run(operand) {
                    Ok(value) => Ok(Value::Bool(!matches!(value, Value::Bool(false)))),
                    Err(failure) if failure.absorbable() => Ok(Value::Bool(true)),
                    Err(failure) => Err(failure),
                }
            }
            Work::OptionalOr { operands, value } => self.optional_or(operands, *value),
            Work::Append { slot, item } => self.append(*slot, item),
            Work::Insert { slot, args } => self.insert(*slot, args),
            Work::Call { call, args } => self.call(call, args),
            Work::List(elements) => self.list(elements),
            Work::Map(entries) => self.map(entries),
            Work::Fold(fold) => self.fold(fold),
        }
    }

    /// `&&` and `||`: a term that decides wins over one that fails, wherever it stands.
    fn logical(&mut self, terms: &[Node], decisive: bool) -> Result<Value, Failure> {
        let mut failed = None;
        for term in terms {
            match self.run(term) {
                Ok(Value::Bool(value)) if value == decisive => return Ok(Value::Bool(decisive)),
                Ok(Value::Bool(_)) => {}
                Ok(_) => {
                    failed.get_or_insert_with(|| {
                        Failure::no_overload(if decisive { "_||_" } else { "_&&_" })
                    });
                }
                Err(failure) if failure.absorbable() => {
                    failed.get_or_insert(failure);
                }
                Err(failure) => return Err(failure),
            }
        }
        failed.map_or(Ok(Value::Bool(!decisive)), Err)
    }

    fn conditional(&mut self, parts: &[Node; 3]) -> Result<Value, Failure> {
        let [condition, yes, no] = parts;
        match self.run(condition)? {
            Value::Bool(true) => self.unpaid(yes),
            Value::Bool(false) => self.unpaid(no),
            _ => Err(Failure::no_overload("_?:_")),
        }
    }

    fn optional_or(&mut self, operands: &[Node; 2], value: bool) -> Result<Value, Failure> {
        let [left, right] = operands;
        match self.run(left)? {
            Value::Optional(None) => self.run(right),
            Value::Optional(Some(inner)) if value => Ok(inner.as_ref().clone()),
            optional @ Value::Optional(_) => Ok(optional),
            _ => Err(Failure::no_overload(if value { "orValue" } else { "or" })),
        }
    }

    fn call(&mut self, call: &Function, args: &[Node]) -> Result<Value, Failure> {
        // Most calls have one or two operands; those need no allocation.
        match args {
            [] => self.apply(call, &[]),
            [one] => {
                let one = self.argument(one)?;
                self.charged(call, one)
                    .and_then(|one| self.apply(call, &[one]))
            }
            [one, two] => {
                // Upstream looks at both before it gives up, which counts.
                let (one, two) = (self.argument(one)?, self.argument(two)?);
                let values = one.and_then(|one| two.map(|two| [one, two]));
                self.charged(call, values)
                    .and_then(|values| self.apply(call, &values))
            }
            _ => {
                let mut values = Vec::with_capacity(args.len());
                for arg in args {
                    values.push(self.run(arg)?);
                }
                self.apply(call, &values)
            }
        }
    }

    /// The outer result is the end of the budget, the inner one any other failure.
    fn argument(&mut self, node: &Node) -> Result<Result<Value, Failure>, Failure> {
        match self.run(node) {
            Err(failure) if !failure.absorbable() => Err(failure),
            result => Ok(result),
        }
    }

    /// A call is charged for even if it or its operands fail.
    fn charged<T>(&mut self, call: &Function, outcome: Result<T, Failure>) -> Result<T, Failure> {
        if outcome.is_err() && !call.free {
            self.context.budget.pay(1)?;
        }
        outcome
    }

    fn apply(&mut self, call: &Function, values: &[Value]) -> Result<Value, Failure> {
        let fits = call
            .guard
            .iter()
            .zip(values)
            .all(|(wanted, value)| value.is_of(wanted));
        let result = match &call.pattern {
            _ if !fits => Err(Failure::no_overload(call.name)),
            Some(pattern) => patterns::apply(call.name, pattern, &mut self.context.budget, values),
            None => (call.run)(&mut self.context, values),
        };
        let result = self.charged(call, result)?;
        if !call.free {
            self.context
                .budget
                .pay(cost::call(call.name, call.single, values, &result))?;
        }
        Ok(result)
    }

    /// The value of an element that may be written with a `?`: nothing if it is an optional without a value.
    fn element(&mut self, node: &Node, optional: bool) -> Result<Option<Value>, Failure> {
        let value = self.run(node)?;
        match value {
            value if !optional => Ok(Some(value)),
            Value::Optional(inner) => Ok(inner.map(|inner| inner.as_ref().clone())),
            _ => Err(Failure::new("an optional element is no optional value").at(node.offset)),
        }
    }

    fn list(&mut self, elements: &[(Node, bool)]) -> Result<Value, Failure> {
        self.context.budget.pay(LIST_COST)?;
        self.context.budget.elements(elements.len())?;
        let mut items = Vec::with_capacity(elements.len());
        for (node, optional) in elements {
            items.extend(self.element(node, *optional)?);
        }
        Ok(Value::list(items))
    }

    fn map(&mut self, entries: &[(Node, Node, bool)]) -> Result<Value, Failure> {
        self.context.budget.pay(MAP_COST)?;
        let mut map = Map::default();
        for (key, value, optional) in entries {
            let key = self.run(key)?;
            if let Some(value) = self.element(value, *optional)? {
                self.context.budget.elements(2)?;
                if matches!(key, Value::Bytes(_)) {
                    return Err(Failure::new("unsupported key type"));
                }
                map.replace(key, value);
            }
        }
        Ok(Value::map(map))
    }
}
