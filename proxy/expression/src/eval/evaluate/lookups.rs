//! Selections and indexes.

use super::Evaluator;
use crate::{
    error::Failure,
    eval::{
        claims::unescape,
        operators::element,
        plan::{Node, Work},
        value::{Origin, Value},
    },
};

impl Evaluator<'_> {
    /// The left side of a selection. What is selected from the result of a call costs one more, as upstream.
    pub(super) fn operand(&mut self, operand: &Node) -> Result<Value, Failure> {
        let attribute = operand.is_attribute() || matches!(operand.work, Work::Conditional(_));
        self.context.budget.pay(u64::from(!attribute))?;
        self.run(operand)
    }

    /// An attribute where upstream does not charge for the variable in it, only for what is selected from it.
    pub(super) fn unpaid(&mut self, node: &Node) -> Result<Value, Failure> {
        let result = self.run(node);
        if node.is_attribute() {
            self.context.budget.refund(1);
        }
        result
    }

    /// A selection or an index. From an optional value it gives an optional one and never fails for a missing key.
    pub(super) fn lookup(
        &mut self,
        value: Value,
        key: &Value,
        optional: bool,
    ) -> Result<Value, Failure> {
        let (value, optional) = match value {
            Value::Optional(None) => return Ok(Value::NONE),
            Value::Optional(Some(inner)) => (inner.as_ref().clone(), true),
            value => (value, optional),
        };
        let found = self.find(&value, key, optional);
        // Upstream charges for a selection that fails, but not for an optional one that finds nothing.
        if !optional || matches!(found, Ok(Some(_))) {
            self.context.budget.pay(1)?;
        }
        match (found?, optional) {
            (Some(found), true) => Ok(Value::some(found)),
            (None, true) => Ok(Value::NONE),
            (Some(found), false) => Ok(found),
            (None, false) if matches!(value, Value::List(..)) => {
                Err(Failure::new("index out of bounds"))
            }
            (None, false) => Err(Failure::new("no such key")),
        }
    }

    fn find(
        &mut self,
        value: &Value,
        key: &Value,
        optional: bool,
    ) -> Result<Option<Value>, Failure> {
        if !key.is_qualifier() {
            return Err(Failure::new("invalid qualifier type"));
        }
        match (value, key) {
            (Value::Root(_), Value::String(name)) => {
                self.context.root.find(name, &mut self.context.budget)
            }
            (Value::Map(map, Origin::Token), Value::String(name)) => {
                let name = unescape(name).unwrap_or_else(|| name.as_ref().into());
                Ok(map
                    .strings
                    .get(name.as_ref())
                    .map(|found| found.clone().found_in(Origin::Token)))
            }
            (Value::Map(map, origin), _) => {
                Ok(map.get(key).map(|found| found.clone().found_in(*origin)))
            }
            (Value::List(list, origin), _) => element(list, *origin, key),
            (Value::Root(_), _) => Err(Failure::no_overload("_[_]")),
            _ if optional => Ok(None),
            _ => Err(Failure::new("no such key")),
        }
    }

    pub(super) fn has(&mut self, operand: &Node, field: &Value) -> Result<Value, Failure> {
        let value = self.unpaid(operand)?;
        let value = match value {
            Value::Optional(None) => return Ok(Value::Bool(false)),
            Value::Optional(Some(inner)) => inner.as_ref().clone(),
            value => value,
        };
        self.context.budget.pay(1)?;
        Ok(Value::Bool(self.find(&value, field, true)?.is_some()))
    }
}
