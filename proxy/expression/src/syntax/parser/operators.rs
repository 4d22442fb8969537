//! Operators, calls and selections.

use std::sync::Arc;

use super::{MAX_NESTING, Parser};
use crate::{
    error::Refusal,
    eval::value::Value,
    syntax::{
        ast::{Expr, Kind},
        lexer::Token,
        macros,
    },
};

impl Parser<'_> {
    pub(super) fn expr(&mut self) -> Result<Expr, Refusal> {
        if self.nesting >= MAX_NESTING {
            return Err(Refusal::new(
                self.offset(),
                "the expression is nested too deeply",
            ));
        }
        self.nesting += 1;
        let result = self.conditional();
        self.nesting -= 1;
        result
    }

    fn conditional(&mut self) -> Result<Expr, Refusal> {
        let condition = self.binary(0)?;
        let offset = self.offset();
        if !self.accept("?") {
            return Ok(condition);
        }
        let yes = self.binary(0)?;
        self.expect(":")?;
        let no = self.expr()?;
        self.call(offset, "_?_:_", vec![condition, yes, no])
    }

    /// The operator that comes next and how tightly it binds.
    fn operator(&self) -> Option<(u8, &'static str)> {
        Some(match self.peek() {
            Token::Symbol("||") => (OR, "_||_"),
            Token::Symbol("&&") => (AND, "_&&_"),
            Token::Symbol("<") => (RELATION, "_<_"),
            Token::Symbol("<=") => (RELATION, "_<=_"),
            Token::Symbol(">=") => (RELATION, "_>=_"),
            Token::Symbol(">") => (RELATION, "_>_"),
            Token::Symbol("==") => (RELATION, "_==_"),
            Token::Symbol("!=") => (RELATION, "_!=_"),
            Token::Word("in") => (RELATION, "@in"),
            Token::Symbol("+") => (SUM, "_+_"),
            Token::Symbol("-") => (SUM, "_-_"),
            Token::Symbol("*") => (PRODUCT, "_*_"),
            Token::Symbol("/") => (PRODUCT, "_/_"),
            Token::Symbol("%") => (PRODUCT, "_%_"),
            _ => return None,
        })
    }

    /// Operators that bind at least as tightly as `from`; all of them group to the left.
    fn binary(&mut self, from: u8) -> Result<Expr, Refusal> {
        let mut left = self.unary()?;
        while let Some((binding, function)) =
            self.operator().filter(|(binding, _)| *binding >= from)
        {
            let offset = self.offset();
            let mut terms = vec![left];
            // `a || b || c` is one node with three operands, so a long chain is not a deep tree.
            while self.operator() == Some((binding, function)) {
                self.advance();
                terms.push(self.binary(binding + 1)?);
                if binding > AND {
                    break;
                }
            }
            left = self.call(offset, function, terms)?;
        }
        Ok(left)
    }

    /// Repeated signs cancel in pairs here already. A minus before a number belongs to the number, so that the smallest
    /// int can be written.
    fn unary(&mut self) -> Result<Expr, Refusal> {
        let offset = self.offset();
        for (symbol, function) in [("!", "!_"), ("-", "-_")] {
            let mut signs = 0_usize;
            while self.accept(symbol) {
                signs += 1;
            }
            if signs == 0 {
                continue;
            }
            if symbol == "-"
                && signs == 1
                && matches!(self.peek(), Token::Int(_) | Token::Double(_))
            {
                let number = self.number(offset, true)?;
                return self.postfix(number);
            }
            let operand = self.member()?;
            return if signs.is_multiple_of(2) {
                Ok(operand)
            } else {
                self.call(offset, function, vec![operand])
            };
        }
        self.member()
    }

    pub(super) fn postfix(&mut self, mut operand: Expr) -> Result<Expr, Refusal> {
        loop {
            let offset = self.offset();
            if self.accept(".") {
                let optional = self.accept("?");
                let name_offset = self.offset();
                let quoted = matches!(self.peek(), Token::Quoted(_));
                let field = self.field_name()?;
                let open = self.offset();
                if optional {
                    let field = self.node(name_offset, Kind::Literal(Value::String(field)))?;
                    operand = self.call(offset, "_?._", vec![operand, field])?;
                } else if !quoted && self.accept("(") {
                    let args = self.arguments()?;
                    operand = match macros::expand(self, open, &field, Some(&operand), &args)? {
                        Some(expanded) => expanded,
                        None => self.node(
                            open,
                            Kind::Call {
                                function: field,
                                target: Some(Box::new(operand)),
                                args,
                            },
                        )?,
                    };
                } else {
                    operand = self.node(
                        offset,
                        Kind::Select {
                            operand: Box::new(operand),
                            field,
                            test: false,
                        },
                    )?;
                }
            } else if self.accept("[") {
                let function = if self.accept("?") { "_[?_]" } else { "_[_]" };
                let index = self.expr()?;
                self.expect("]")?;
                operand = self.call(offset, function, vec![operand, index])?;
            } else {
                return Ok(operand);
            }
        }
    }

    /// A field may be called like a reserved word, except for those that are literals or operators.
    fn field_name(&mut self) -> Result<Arc<str>, Refusal> {
        match self.peek() {
            Token::Quoted(word) => {
                let name = Arc::from(*word);
                self.advance();
                Ok(name)
            }
            Token::Word(word) if !matches!(*word, "true" | "false" | "null" | "in") => {
                let name = Arc::from(*word);
                self.advance();
                Ok(name)
            }
            _ => Err(self.unexpected()),
        }
    }

    pub(super) fn arguments(&mut self) -> Result<Vec<Expr>, Refusal> {
        let mut args = Vec::new();
        if self.accept(")") {
            return Ok(args);
        }
        loop {
            args.push(self.expr()?);
            if !self.accept(",") {
                self.expect(")")?;
                return Ok(args);
            }
        }
    }

    fn member(&mut self) -> Result<Expr, Refusal> {
        let primary = self.primary()?;
        self.postfix(primary)
    }
}

/// How tightly operators bind.
const OR: u8 = 0;

const AND: u8 = 1;

const RELATION: u8 = 2;

const SUM: u8 = 3;

const PRODUCT: u8 = 4;
