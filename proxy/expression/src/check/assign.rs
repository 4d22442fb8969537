//! Which types fit where, and what the unknown ones turn out to be.

use std::sync::Arc;

use super::types::Type;

/// How many parts of types a whole check may look at. Types can double with every nesting (`{x: x}`), so the bound is on
/// the work and not on the length of the expression.
const MAX_WORK: u32 = 2_000_000;

/// What is known of the type variables. Changes of an attempt that fails are taken back.
#[derive(Debug, Default)]
pub(crate) struct Variables {
    known: Vec<Option<Type>>,
    undo: Vec<(usize, Option<Type>)>,
    work: u32,
}

impl Variables {
    pub(crate) fn fresh(&mut self) -> Type {
        self.known.push(None);
        Type::Variable(u32::try_from(self.known.len() - 1).unwrap_or(u32::MAX))
    }

    /// Whether the check has become too expensive; every answer is a refusal from then on.
    pub(crate) fn exhausted(&self) -> bool {
        self.work > MAX_WORK
    }

    fn step(&mut self) -> bool {
        self.work = self.work.saturating_add(1);
        self.exhausted()
    }

    fn find(&self, variable: u32) -> Option<&Type> {
        self.known.get(usize::try_from(variable).ok()?)?.as_ref()
    }

    fn set(&mut self, variable: u32, to: Type) {
        let Ok(index) = usize::try_from(variable) else {
            return;
        };
        if let Some(slot) = self.known.get_mut(index) {
            self.undo.push((index, slot.replace(to)));
        }
    }

    pub(crate) fn assignable(&mut self, from: &Type, to: &Type) -> bool {
        self.all_assignable(std::slice::from_ref(from), std::slice::from_ref(to))
    }

    pub(crate) fn all_assignable(&mut self, from: &[Type], to: &[Type]) -> bool {
        self.undo.clear();
        let fits =
            from.len() == to.len() && from.iter().zip(to).all(|(from, to)| self.fits(from, to));
        if !fits {
            while let Some((index, before)) = self.undo.pop() {
                if let Some(slot) = self.known.get_mut(index) {
                    *slot = before;
                }
            }
        }
        fits
    }

    fn fits(&mut self, from: &Type, to: &Type) -> bool {
        if self.step() {
            return false;
        }
        if let Type::Variable(variable) = to {
            let known = self.find(*variable).is_some() || from == to;
            if self.bind(from, *variable) {
                return true;
            }
            if known {
                return false;
            }
        }
        if let Type::Variable(variable) = from {
            return self.bind(to, *variable);
        }
        match (from, to) {
            (Type::Dyn | Type::Any, _)
            | (_, Type::Dyn | Type::Any)
            | (Type::Type(_), Type::Type(_)) => true,
            (Type::Null, other) | (other, Type::Null) => {
                matches!(
                    other,
                    Type::Null
                        | Type::Optional(_)
                        | Type::Object(_)
                        | Type::Duration
                        | Type::Timestamp
                )
            }
            (Type::List(from), Type::List(to)) | (Type::Optional(from), Type::Optional(to)) => {
                self.fits(from, to)
            }
            (Type::Map(from_key, from_value), Type::Map(to_key, to_value)) => {
                self.fits(from_key, to_key) && self.fits(from_value, to_value)
            }
            _ => from == to,
        }
    }

    /// Whether a variable can stand for the type, in addition to what it stands for already.
    fn bind(&mut self, candidate: &Type, variable: u32) -> bool {
        if *candidate == Type::Variable(variable) {
            return true;
        }
        if let Some(known) = self.find(variable).cloned() {
            if *candidate == known {
                return true;
            }
            if !self.fits(candidate, &known) {
                return false;
            }
            let general = if self.less_specific(candidate, &known) {
                candidate.clone()
            } else {
                known
            };
            if !self.mentions(&general, variable) {
                self.set(variable, general);
            }
            return true;
        }
        if self.mentions(candidate, variable) {
            return false;
        }
        self.set(variable, candidate.clone());
        true
    }

    /// Whether a type is made of the variable, which would make it infinite.
    fn mentions(&mut self, within: &Type, variable: u32) -> bool {
        if self.step() {
            return true;
        }
        match within {
            Type::Variable(other) if *other == variable => true,
            Type::Variable(other) => match self.find(*other).cloned() {
                Some(known) => self.mentions(&known, variable),
                None => false,
            },
            Type::List(of) | Type::Optional(of) | Type::Type(Some(of)) => {
                self.mentions(of, variable)
            }
            Type::Map(key, value) => self.mentions(key, variable) || self.mentions(value, variable),
            _ => false,
        }
    }

    /// The more general one of two types that fit each other.
    pub(crate) fn general(&mut self, one: &Type, other: &Type) -> Type {
        if self.less_specific(one, other) {
            one.clone()
        } else {
            other.clone()
        }
    }

    fn less_specific(&mut self, one: &Type, other: &Type) -> bool {
        if self.step() {
            return false;
        }
        match (one, other) {
            (Type::Dyn | Type::Any | Type::Variable(_), _) | (Type::Type(_), Type::Type(_)) => true,
            (_, Type::Dyn | Type::Any | Type::Variable(_)) => false,
            (Type::List(one), Type::List(other)) | (Type::Optional(one), Type::Optional(other)) => {
                self.less_specific(one, other)
            }
            (Type::Map(one_key, one_value), Type::Map(other_key, other_value)) => {
                self.less_specific(one_key, other_key) && self.less_specific(one_value, other_value)
            }
            _ => one == other,
        }
    }

    /// Replaces variables by what is known of them.
    pub(crate) fn resolve(&mut self, of: &Type) -> Type {
        self.substitute(of, false)
    }

    /// As [`Self::resolve`]; what is still unknown becomes `dyn`.
    pub(crate) fn finish(&mut self, of: &Type) -> Type {
        self.substitute(of, true)
    }

    fn substitute(&mut self, of: &Type, finish: bool) -> Type {
        if self.step() {
            return Type::Dyn;
        }
        let inner = |variables: &mut Self, of: &Type| Arc::new(variables.substitute(of, finish));
        match of {
            Type::Variable(variable) => match self.find(*variable).cloned() {
                Some(known) => self.substitute(&known, finish),
                None if finish => Type::Dyn,
                None => of.clone(),
            },
            Type::List(of) => Type::List(inner(self, of)),
            Type::Optional(of) => Type::Optional(inner(self, of)),
            Type::Type(Some(of)) => Type::Type(Some(inner(self, of))),
            Type::Map(key, value) => Type::Map(inner(self, key), inner(self, value)),
            _ => of.clone(),
        }
    }
}

/// Replaces the parameters of a declaration, numbered from 0, by types of the check.
pub(crate) fn instantiate(of: &Type, parameters: &[Type]) -> Type {
    let inner = |of: &Type| Arc::new(instantiate(of, parameters));
    match of {
        Type::Variable(number) => usize::try_from(*number)
            .ok()
            .and_then(|number| parameters.get(number))
            .cloned()
            .unwrap_or(Type::Dyn),
        Type::List(of) => Type::List(inner(of)),
        Type::Optional(of) => Type::Optional(inner(of)),
        Type::Type(Some(of)) => Type::Type(Some(inner(of))),
        Type::Map(key, value) => Type::Map(inner(key), inner(value)),
        _ => of.clone(),
    }
}
