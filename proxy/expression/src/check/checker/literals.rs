//! Literals, lists and maps.

use super::Checker;
use crate::{
    check::types::Type,
    error::Refusal,
    eval::value::Value,
    syntax::ast::{Element, Entry, Expr},
};

impl Checker {
    pub(super) fn list(&mut self, elements: &[Element]) -> Result<Type, Refusal> {
        let mut joined = None;
        for element in elements {
            let found = self.element(&element.value, element.optional)?;
            joined = Some(self.join(joined, found));
        }
        Ok(Type::list(joined.unwrap_or_else(|| self.variables.fresh())))
    }

    pub(super) fn map(&mut self, entries: &[Entry]) -> Result<Type, Refusal> {
        let mut keys = None;
        let mut values = None;
        for entry in entries {
            let key = self.visit(&entry.key)?;
            keys = Some(self.join(keys, key));
            let value = self.element(&entry.value, entry.optional)?;
            values = Some(self.join(values, value));
        }
        let key = keys.unwrap_or_else(|| self.variables.fresh());
        let value = values.unwrap_or_else(|| self.variables.fresh());
        Ok(Type::map(key, value))
    }

    /// The type that an element adds to its list or map; one with a `?` has to be an optional.
    fn element(&mut self, expr: &Expr, optional: bool) -> Result<Type, Refusal> {
        let found = self.visit(expr)?;
        if !optional {
            return Ok(found);
        }
        let resolved = self.variables.resolve(&found);
        match resolved.unwrap_optional() {
            (value, true) => Ok(value.clone()),
            (dynamic, false) if dynamic.is_dynamic() => Ok(resolved),
            (other, false) => Err(Refusal::new(
                expr.offset,
                format!("expected type 'optional_type({other})' but found '{other}'"),
            )),
        }
    }

    /// The common type of two elements. Differing ones are refused later, unless they are arguments of `format`.
    fn join(&mut self, before: Option<Type>, found: Type) -> Type {
        match before {
            None => found,
            Some(before) if self.variables.assignable(&before, &found) => {
                self.variables.general(&before, &found)
            }
            Some(_) => Type::Dyn,
        }
    }
}

pub(super) fn literal(value: &Value) -> Type {
    match value {
        Value::Null => Type::Null,
        Value::Bool(_) => Type::Bool,
        Value::Int(_) => Type::Int,
        Value::Uint(_) => Type::Uint,
        Value::Double(_) => Type::Double,
        Value::String(_) => Type::String,
        Value::Bytes(_) => Type::Bytes,
        _ => Type::Dyn,
    }
}
