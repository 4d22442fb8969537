//! What the macros are rewritten to.

use std::sync::Arc;

use super::{Variables, identifier};
use crate::{
    error::Refusal,
    eval::value::Value,
    syntax::{
        ast::{ACCUMULATOR, Comprehension, Element, Expr, Kind},
        parser::Parser,
    },
};

/// Makes the nodes of an expansion; all of them are where the macro was written.
pub(super) struct Builder<'parser, 'source> {
    pub(super) parser: &'parser mut Parser<'source>,
    pub(super) offset: u32,
}

impl Builder<'_, '_> {
    fn node(&mut self, kind: Kind) -> Result<Expr, Refusal> {
        self.parser.node(self.offset, kind)
    }

    fn literal(&mut self, value: Value) -> Result<Expr, Refusal> {
        self.node(Kind::Literal(value))
    }

    fn ident(&mut self, name: &str) -> Result<Expr, Refusal> {
        self.node(Kind::Ident(Arc::from(name)))
    }

    fn call(&mut self, function: &str, args: Vec<Expr>) -> Result<Expr, Refusal> {
        self.node(Kind::Call {
            function: Arc::from(function),
            target: None,
            args,
        })
    }

    fn method(&mut self, target: Expr, function: &str, args: Vec<Expr>) -> Result<Expr, Refusal> {
        self.node(Kind::Call {
            function: Arc::from(function),
            target: Some(Box::new(target)),
            args,
        })
    }

    fn accumulator(&mut self) -> Result<Expr, Refusal> {
        self.ident(ACCUMULATOR)
    }

    pub(super) fn has(&mut self, argument: &Expr) -> Result<Expr, Refusal> {
        match &argument.kind {
            Kind::Select {
                operand,
                field,
                test: false,
            } => {
                let (operand, field) = (operand.clone(), Arc::clone(field));
                self.node(Kind::Select {
                    operand,
                    field,
                    test: true,
                })
            }
            _ => Err(Refusal::new(
                argument.offset,
                "invalid argument to has() macro",
            )),
        }
    }

    pub(super) fn quantifier(
        &mut self,
        name: &str,
        range: &Expr,
        variables: Variables,
        predicate: &Expr,
    ) -> Result<Expr, Refusal> {
        let predicate = predicate.clone();
        let accumulator = self.accumulator()?;
        let (initial, condition, step, result) = match name {
            "all" => {
                let initial = self.literal(Value::Bool(true))?;
                let so_far = self.accumulator()?;
                let condition = self.call("@not_strictly_false", vec![so_far])?;
                let step = self.call("_&&_", vec![accumulator, predicate])?;
                (initial, condition, step, self.accumulator()?)
            }
            "exists" => {
                let initial = self.literal(Value::Bool(false))?;
                let so_far = self.accumulator()?;
                let negated = self.call("!_", vec![so_far])?;
                let condition = self.call("@not_strictly_false", vec![negated])?;
                let step = self.call("_||_", vec![accumulator, predicate])?;
                (initial, condition, step, self.accumulator()?)
            }
            _ => {
                let initial = self.literal(Value::Int(0))?;
                let condition = self.literal(Value::Bool(true))?;
                let one = self.literal(Value::Int(1))?;
                let more = self.call("_+_", vec![accumulator, one])?;
                let same = self.accumulator()?;
                let step = self.call("_?_:_", vec![predicate, more, same])?;
                let (count, one) = (self.accumulator()?, self.literal(Value::Int(1))?);
                (
                    initial,
                    condition,
                    step,
                    self.call("_==_", vec![count, one])?,
                )
            }
        };
        self.comprehension(
            range.clone(),
            variables,
            ACCUMULATOR,
            initial,
            condition,
            step,
            result,
        )
    }

    pub(super) fn list(
        &mut self,
        range: &Expr,
        variables: Variables,
        filter: Option<&Expr>,
        transform: &Expr,
    ) -> Result<Expr, Refusal> {
        let initial = self.node(Kind::List(Vec::new()))?;
        // `filter` uses the variable's node a second time.
        let value = self.parser.copy(transform)?;
        let single = self.node(Kind::List(vec![Element {
            value,
            optional: false,
        }]))?;
        let accumulator = self.accumulator()?;
        let step = self.call("_+_", vec![accumulator, single])?;
        self.collect(range, variables, initial, filter, step)
    }

    pub(super) fn map(
        &mut self,
        keyed: bool,
        range: &Expr,
        variables: Variables,
        filter: Option<&Expr>,
        transform: &Expr,
    ) -> Result<Expr, Refusal> {
        let initial = self.node(Kind::Map(Vec::new()))?;
        let mut args = vec![self.accumulator()?];
        if keyed {
            args.push(self.ident(&Arc::clone(&variables.first))?);
        }
        args.push(transform.clone());
        let step = self.call("cel.@mapInsert", args)?;
        self.collect(range, variables, initial, filter, step)
    }

    /// A loop over everything that adds to the accumulator where the filter says so.
    fn collect(
        &mut self,
        range: &Expr,
        variables: Variables,
        initial: Expr,
        filter: Option<&Expr>,
        mut step: Expr,
    ) -> Result<Expr, Refusal> {
        if let Some(filter) = filter {
            let same = self.accumulator()?;
            step = self.call("_?_:_", vec![filter.clone(), step, same])?;
        }
        let condition = self.literal(Value::Bool(true))?;
        let result = self.accumulator()?;
        self.comprehension(
            range.clone(),
            variables,
            ACCUMULATOR,
            initial,
            condition,
            step,
            result,
        )
    }

    pub(super) fn optional(
        &mut self,
        wrap: bool,
        target: &Expr,
        variable: &Expr,
        body: &Expr,
    ) -> Result<Expr, Refusal> {
        let variable = identifier(variable)?;
        let present = self.method(target.clone(), "hasValue", Vec::new())?;
        let again = self.parser.copy(target)?;
        let value = self.method(again, "value", Vec::new())?;
        let bound = self.bind(&variable, value, body.clone())?;
        let some = if wrap {
            self.call("optional.of", vec![bound])?
        } else {
            bound
        };
        let none = self.call("optional.none", Vec::new())?;
        self.call("_?_:_", vec![present, some, none])
    }

    pub(super) fn sort_by(
        &mut self,
        range: &Expr,
        variable: &Expr,
        key: &Expr,
    ) -> Result<Expr, Refusal> {
        const INPUT: &str = "@sortBy_input";
        let sortable = matches!(
            range.kind,
            Kind::List(_)
                | Kind::Select { .. }
                | Kind::Ident(_)
                | Kind::Comprehension(_)
                | Kind::Call { .. }
        );
        if !sortable {
            return Err(Refusal::new(
                range.offset,
                "sortBy can only be applied to a list",
            ));
        }
        let input = self.ident(INPUT)?;
        let keys = self.list(&input, Variables::one(variable)?, None, key)?;
        let again = self.ident(INPUT)?;
        let sorted = self.method(again, "@sortByAssociatedKeys", vec![keys])?;
        self.bind(&Arc::from(INPUT), range.clone(), sorted)
    }

    /// A variable for one value: a loop over nothing whose accumulator is that value.
    fn bind(&mut self, variable: &Arc<str>, value: Expr, body: Expr) -> Result<Expr, Refusal> {
        let nothing = self.node(Kind::List(Vec::new()))?;
        let condition = self.literal(Value::Bool(false))?;
        let step = self.ident(variable)?;
        let unused = Variables {
            first: Arc::from("#unused"),
            second: None,
        };
        self.comprehension(nothing, unused, variable, value, condition, step, body)
    }

    #[expect(clippy::too_many_arguments, reason = "these are the parts of a loop")]
    fn comprehension(
        &mut self,
        range: Expr,
        variables: Variables,
        accumulator: &str,
        initial: Expr,
        condition: Expr,
        step: Expr,
        result: Expr,
    ) -> Result<Expr, Refusal> {
        let Variables {
            first: variable,
            second,
        } = variables;
        let accumulator = Arc::from(accumulator);
        self.node(Kind::Comprehension(Box::new(Comprehension {
            range,
            variable,
            second,
            accumulator,
            initial,
            condition,
            step,
            result,
        })))
    }
}
