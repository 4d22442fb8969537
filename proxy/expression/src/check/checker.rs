//! Gives every expression a static type, or says why it has none.

mod calls;
mod literals;

use std::sync::Arc;

use super::{
    assign::Variables,
    declarations::Overload,
    types::{Type, USER, user_field},
};
use crate::{
    Environment,
    error::Refusal,
    syntax::ast::{Comprehension, Expr, Kind},
};
use literals::literal;

/// What a name in the tree turned out to be.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Reference {
    #[default]
    None,
    /// A name that stands for a type.
    TypeName(&'static str),
    Function {
        name: &'static str,
        /// The one overload that fits; nothing if the operands decide at run time.
        only: Option<&'static Overload>,
        /// `optional.of(x)` looks like a method of `optional`, but is a function.
        namespaced: bool,
    },
}

/// The results of a check, by the numbers of the nodes.
#[derive(Debug)]
pub(crate) struct Checked {
    types: Vec<Type>,
    references: Vec<Reference>,
}

impl Checked {
    pub(crate) fn type_of(&self, expr: &Expr) -> &Type {
        index(expr)
            .and_then(|index| self.types.get(index))
            .unwrap_or(&Type::Dyn)
    }

    pub(crate) fn reference(&self, expr: &Expr) -> Reference {
        index(expr)
            .and_then(|index| self.references.get(index))
            .copied()
            .unwrap_or_default()
    }
}

fn index(expr: &Expr) -> Option<usize> {
    usize::try_from(expr.id).ok()
}

pub(crate) fn check(expr: &Expr, nodes: u32, environment: Environment) -> Result<Checked, Refusal> {
    let nodes = usize::try_from(nodes).unwrap_or_default();
    let mut checker = Checker {
        environment,
        variables: Variables::default(),
        scopes: Vec::new(),
        checked: Checked {
            types: vec![Type::Dyn; nodes],
            references: vec![Reference::None; nodes],
        },
    };
    checker.visit(expr)?;
    let Checker {
        mut variables,
        mut checked,
        ..
    } = checker;
    for known in &mut checked.types {
        *known = variables.finish(known);
    }
    if variables.exhausted() {
        return Err(Refusal::new(
            expr.offset,
            "the types of the expression are too complex",
        ));
    }
    Ok(checked)
}

struct Checker {
    environment: Environment,
    variables: Variables,
    scopes: Vec<(Arc<str>, Type)>,
    checked: Checked,
}

impl Checker {
    fn visit(&mut self, expr: &Expr) -> Result<Type, Refusal> {
        let found = match &expr.kind {
            Kind::Literal(value) => literal(value),
            Kind::Ident(name) => self.ident(expr, name)?,
            Kind::Select {
                operand,
                field,
                test,
            } => self.select(expr, operand, field, *test)?,
            Kind::Call {
                function,
                target,
                args,
            } => self.call(expr, function, target.as_deref(), args)?,
            Kind::List(elements) => self.list(elements)?,
            Kind::Map(entries) => self.map(entries)?,
            Kind::Comprehension(fold) => self.comprehension(fold)?,
        };
        if self.variables.exhausted() {
            return Err(Refusal::new(
                expr.offset,
                "the types of the expression are too complex",
            ));
        }
        if let Some(slot) = index(expr).and_then(|index| self.checked.types.get_mut(index)) {
            *slot = found.clone();
        }
        Ok(found)
    }

    fn refer(&mut self, expr: &Expr, reference: Reference) {
        if let Some(slot) = index(expr).and_then(|index| self.checked.references.get_mut(index)) {
            *slot = reference;
        }
    }

    fn local(&self, name: &str) -> Option<&Type> {
        self.scopes
            .iter()
            .rev()
            .find(|(variable, _)| **variable == *name)
            .map(|(_, known)| known)
    }

    fn ident(&mut self, expr: &Expr, name: &str) -> Result<Type, Refusal> {
        let (global, absolute) = name
            .strip_prefix('.')
            .map_or((name, false), |name| (name, true));
        if !absolute && let Some(known) = self.local(name) {
            return Ok(known.clone());
        }
        if global == self.environment.variable() {
            return Ok(match self.environment {
                Environment::Claims => Type::map(Type::String, Type::Any),
                Environment::User => Type::Object(USER),
            });
        }
        self.type_name(expr, global).ok_or_else(|| {
            Refusal::new(
                expr.offset,
                format!("undeclared reference to '{name}' (in container '')"),
            )
        })
    }

    fn type_name(&mut self, expr: &Expr, name: &str) -> Option<Type> {
        let (named, name) = Type::named(name)?;
        self.refer(expr, Reference::TypeName(name));
        Some(Type::Type(Some(Arc::new(named))))
    }

    fn select(
        &mut self,
        expr: &Expr,
        operand: &Expr,
        field: &str,
        test: bool,
    ) -> Result<Type, Refusal> {
        if !test && let Some(name) = expr.dotted() {
            let root = name.split('.').next().unwrap_or_default();
            if self.local(root).is_none()
                && let Some(found) = self.type_name(expr, &name)
            {
                return Ok(found);
            }
        }
        let found = self.field(expr, operand, field, false)?;
        Ok(if test {
            Type::Bool
        } else {
            self.variables.resolve(&found)
        })
    }

    fn field(
        &mut self,
        expr: &Expr,
        operand: &Expr,
        field: &str,
        optional: bool,
    ) -> Result<Type, Refusal> {
        let from = self.visit(operand)?;
        let from = self.variables.resolve(&from);
        let (target, was_optional) = from.unwrap_optional();
        let found = match target {
            Type::Map(_, value) => value.as_ref().clone(),
            Type::Object(name) => (*name == USER)
                .then(|| user_field(field))
                .flatten()
                .ok_or_else(|| Refusal::new(expr.offset, format!("undefined field '{field}'")))?,
            Type::Variable(_) => {
                self.variables.assignable(&Type::Dyn, target);
                Type::Dyn
            }
            Type::Dyn | Type::Any => Type::Dyn,
            _ => {
                let message = format!("type '{target}' does not support field selection");
                return Err(Refusal::new(expr.offset, message));
            }
        };
        Ok(if was_optional || optional {
            Type::optional(found)
        } else {
            found
        })
    }

    fn comprehension(&mut self, fold: &Comprehension) -> Result<Type, Refusal> {
        let range = self.visit(&fold.range)?;
        let accumulated = self.visit(&fold.initial)?;
        let range = self.variables.resolve(&range);
        let two = fold.second.is_some();
        let (first, second) = match &range {
            Type::List(element) if two => (Type::Int, element.as_ref().clone()),
            Type::List(element) => (element.as_ref().clone(), Type::Dyn),
            Type::Map(key, value) => (key.as_ref().clone(), value.as_ref().clone()),
            Type::Dyn | Type::Variable(_) => {
                self.variables.assignable(&Type::Dyn, &range);
                (Type::Dyn, Type::Dyn)
            }
            // A first-level claim is `any`, over which kube-apiserver does not iterate.
            _ => {
                let message = format!(
                    "expression of type '{range}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                return Err(Refusal::new(fold.range.offset, message));
            }
        };
        let outside = self.scopes.len();
        self.scopes
            .push((Arc::clone(&fold.accumulator), accumulated.clone()));
        let with_result = self.scopes.len();
        self.scopes.push((Arc::clone(&fold.variable), first));
        if let Some(variable) = &fold.second {
            self.scopes.push((Arc::clone(variable), second));
        }
        let condition = self.visit(&fold.condition)?;
        self.require(&fold.condition, &condition, &Type::Bool)?;
        let step = self.visit(&fold.step)?;
        self.require(&fold.step, &accumulated, &step)?;
        self.scopes.truncate(with_result);
        let result = self.visit(&fold.result)?;
        self.scopes.truncate(outside);
        Ok(self.variables.resolve(&result))
    }
}
