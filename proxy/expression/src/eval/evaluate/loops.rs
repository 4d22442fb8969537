//! Loops, and what they collect.

use std::{mem, sync::Arc};

use super::{Evaluator, LIST_COST};
use crate::{
    error::Failure,
    eval::{
        plan::{Fold, Node, Work},
        value::{Map, Value},
    },
};

impl Evaluator<'_> {
    /// Takes the accumulator off its place, so that it can be changed without a copy.
    fn accumulator(&mut self, slot: usize) -> Result<Value, Failure> {
        self.context.budget.pay(2)?;
        let slot = self
            .locals
            .get_mut(slot)
            .ok_or_else(|| Failure::new("no such attribute"))?;
        mem::replace(slot, Ok(Value::Null))
    }

    pub(super) fn append(&mut self, slot: usize, item: &Node) -> Result<Value, Failure> {
        let value = self.run(item)?;
        if !matches!(item.work, Work::Constant(_)) {
            self.context.budget.pay(LIST_COST)?;
        }
        self.context.budget.elements(1)?;
        match self.accumulator(slot)? {
            Value::List(mut list, origin) => {
                if Arc::get_mut(&mut list).is_none() {
                    self.context.budget.elements(list.items.len())?;
                }
                Arc::make_mut(&mut list).items.push(value);
                Ok(Value::List(list, origin))
            }
            _ => Err(Failure::no_overload("_+_")),
        }
    }

    pub(super) fn insert(&mut self, slot: usize, args: &[Node]) -> Result<Value, Failure> {
        let mut values = Vec::with_capacity(args.len());
        for arg in args {
            values.push(self.run(arg)?);
        }
        let Value::Map(mut map, origin) = self.accumulator(slot)? else {
            return Err(Failure::no_overload("insert"));
        };
        if Arc::get_mut(&mut map).is_none() {
            self.context.budget.elements(map.len())?;
        }
        let target = Arc::make_mut(&mut map);
        match values.as_slice() {
            [key, value] => self.add_entry(target, key.clone(), value.clone())?,
            [Value::Map(more, _)] => {
                for (key, value) in more.entries() {
                    self.add_entry(target, key, value.clone())?;
                }
            }
            _ => return Err(Failure::no_overload("insert")),
        }
        Ok(Value::Map(map, origin))
    }

    fn add_entry(&mut self, map: &mut Map, key: Value, value: Value) -> Result<(), Failure> {
        self.context.budget.elements(2)?;
        if map.insert(key, value) {
            Ok(())
        } else {
            Err(Failure::new(
                "a map cannot have this key, or has it already",
            ))
        }
    }

    pub(super) fn fold(&mut self, fold: &Fold) -> Result<Value, Failure> {
        let range = self.run(&fold.range)?;
        let initial = self.run(&fold.initial);
        if let Err(failure) = &initial
            && !failure.absorbable()
        {
            return initial;
        }
        self.locals.truncate(fold.slot);
        self.locals.push(initial);
        let looped = self.each(fold, &range);
        self.locals.truncate(fold.slot + 1);
        let result = looped.and_then(|()| self.run(&fold.result));
        self.locals.truncate(fold.slot);
        result
    }

    fn each(&mut self, fold: &Fold, range: &Value) -> Result<(), Failure> {
        match range {
            Value::List(list, _) => {
                for (index, item) in list.items.iter().enumerate() {
                    let (first, second) = if fold.two {
                        (Value::int(index), Some(Ok(item.clone())))
                    } else {
                        (item.clone(), None)
                    };
                    if !self.once(fold, Ok(first), second)? {
                        break;
                    }
                }
            }
            Value::Map(map, _) => {
                for (key, value) in map.entries() {
                    if !self.once(fold, Ok(key), fold.two.then(|| Ok(value.clone())))? {
                        break;
                    }
                }
            }
            Value::Root(_) => {
                for value in self.context.root.values(&mut self.context.budget)? {
                    let second = if fold.two {
                        Some(self.by_value(&value)?)
                    } else {
                        None
                    };
                    if !self.once(fold, value, second)? {
                        break;
                    }
                }
            }
            _ => {
                return Err(Failure::new("the value cannot be iterated over").at(fold.range.offset));
            }
        }
        Ok(())
    }

    /// Iterating over the variable itself takes its values for its keys, so the second variable is looked up by them.
    fn by_value(
        &mut self,
        value: &Result<Value, Failure>,
    ) -> Result<Result<Value, Failure>, Failure> {
        let found = match value {
            Ok(Value::String(name)) => self.context.root.find(name, &mut self.context.budget)?,
            _ => None,
        };
        Ok(found.ok_or_else(|| Failure::new("no such key")))
    }

    /// One turn of a loop; false if it was the last.
    fn once(
        &mut self,
        fold: &Fold,
        first: Result<Value, Failure>,
        second: Option<Result<Value, Failure>>,
    ) -> Result<bool, Failure> {
        self.locals.truncate(fold.slot + 1);
        self.locals.push(first);
        self.locals.extend(second);
        if let Some(condition) = &fold.condition
            && !matches!(self.run(condition)?, Value::Bool(true))
        {
            return Ok(false);
        }
        let accumulated = self.run(&fold.step);
        if let Err(failure) = &accumulated {
            // Without a condition, every further step would fail for the same reason.
            if fold.condition.is_none() || !failure.absorbable() {
                return accumulated.map(|_| false);
            }
        }
        if let Some(slot) = self.locals.get_mut(fold.slot) {
            *slot = accumulated;
        }
        Ok(true)
    }
}
