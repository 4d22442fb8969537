//! Calls: which overloads fit the operands.

use super::{Checker, Reference};
use crate::{
    check::{
        assign::instantiate,
        declarations::{Overload, overloads},
        types::Type,
    },
    error::{Refusal, Shown},
    eval::value::Value,
    syntax::ast::{Expr, Kind},
};

impl Checker {
    pub(super) fn call(
        &mut self,
        expr: &Expr,
        function: &str,
        target: Option<&Expr>,
        args: &[Expr],
    ) -> Result<Type, Refusal> {
        if function == "_?._"
            && let [
                operand,
                Expr {
                    kind: Kind::Literal(Value::String(field)),
                    ..
                },
            ] = args
        {
            let found = self.field(expr, operand, field, true)?;
            return Ok(self.variables.resolve(&found));
        }
        let mut types = Vec::with_capacity(args.len() + 1);
        for arg in args {
            types.push(self.visit(arg)?);
        }
        if matches!(function, "_&&_" | "_||_") {
            return self.logical(expr, function, args, &types);
        }
        let undeclared = || {
            Refusal::new(
                expr.offset,
                format!("undeclared reference to '{function}' (in container '')"),
            )
        };
        let Some(target) = target else {
            let found =
                overloads(function.strip_prefix('.').unwrap_or(function)).ok_or_else(undeclared)?;
            return self.resolve(expr, found, false, false, &types);
        };
        if let Some(prefix) = target.dotted() {
            let name = format!("{prefix}.{function}");
            if let Some(found) = overloads(name.strip_prefix('.').unwrap_or(&name)) {
                return self.resolve(expr, found, false, true, &types);
            }
        }
        let receiver = self.visit(target)?;
        types.insert(0, receiver);
        let found = overloads(function).ok_or_else(undeclared)?;
        self.resolve(expr, found, true, false, &types)
    }

    /// Any number of operands, all of them bool.
    fn logical(
        &mut self,
        expr: &Expr,
        function: &str,
        args: &[Expr],
        types: &[Type],
    ) -> Result<Type, Refusal> {
        for (arg, found) in args.iter().zip(types) {
            self.require(arg, found, &Type::Bool)?;
        }
        let name = overloads(function).map_or("", |(name, _)| name);
        self.refer(
            expr,
            Reference::Function {
                name,
                only: None,
                namespaced: false,
            },
        );
        Ok(Type::Bool)
    }

    fn resolve(
        &mut self,
        expr: &Expr,
        (name, overloads): (&'static str, &'static [Overload]),
        member: bool,
        namespaced: bool,
        types: &[Type],
    ) -> Result<Type, Refusal> {
        let mut result: Option<Type> = None;
        let mut only = None;
        for overload in overloads
            .iter()
            .filter(|overload| overload.member == member)
        {
            let fresh: Vec<Type> = (0..overload.generics)
                .map(|_| self.variables.fresh())
                .collect();
            let wanted: Vec<Type> = overload
                .parameters
                .iter()
                .map(|wanted| instantiate(wanted, &fresh))
                .collect();
            if !self.variables.all_assignable(types, &wanted) {
                continue;
            }
            let found = self
                .variables
                .resolve(&instantiate(&overload.result, &fresh));
            only = if result.is_none() {
                Some(overload)
            } else {
                None
            };
            result = Some(match result {
                None => found,
                Some(before) if before.is_dynamic() || before == found => before,
                Some(_) => Type::Dyn,
            });
        }
        self.refer(
            expr,
            Reference::Function {
                name,
                only,
                namespaced,
            },
        );
        result.ok_or_else(|| {
            let types: Vec<String> = types
                .iter()
                .map(|known| self.variables.finish(known).to_string())
                .collect();
            let shape = match types.split_first() {
                Some((receiver, rest)) if member => format!("{receiver}.({})", rest.join(", ")),
                _ => format!("({})", types.join(", ")),
            };
            Refusal::new(
                expr.offset,
                format!(
                    "found no matching overload for '{}' applied to '{shape}'",
                    Shown(name)
                ),
            )
        })
    }

    /// `from` is what the expression is, `wanted` what it has to be.
    pub(super) fn require(
        &mut self,
        expr: &Expr,
        from: &Type,
        wanted: &Type,
    ) -> Result<(), Refusal> {
        if self.variables.assignable(from, wanted) {
            return Ok(());
        }
        let (from, wanted) = (self.variables.finish(from), self.variables.finish(wanted));
        Err(Refusal::new(
            expr.offset,
            format!("expected type '{wanted}' but found '{from}'"),
        ))
    }
}
