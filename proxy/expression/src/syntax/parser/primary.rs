//! Literals, names, lists and maps.

use std::sync::Arc;

use super::{Parser, RESERVED};
use crate::{
    error::Refusal,
    eval::value::Value,
    syntax::{
        ast::{Element, Entry, Expr, Kind},
        lexer::Token,
        macros,
    },
};

impl<'a> Parser<'a> {
    pub(super) fn primary(&mut self) -> Result<Expr, Refusal> {
        let offset = self.offset();
        let value = match self.peek() {
            Token::Symbol("(") => {
                self.advance();
                let inner = self.expr()?;
                self.expect(")")?;
                return Ok(inner);
            }
            Token::Symbol("[") => return self.list(offset),
            Token::Symbol("{") => return self.map(offset),
            Token::Symbol(".") | Token::Word(_)
                if !matches!(self.peek(), Token::Word("true" | "false" | "null")) =>
            {
                return self.name(offset);
            }
            Token::Word("true") => Value::Bool(true),
            Token::Word("false") => Value::Bool(false),
            Token::Word("null") => Value::Null,
            Token::Int(_) | Token::Uint(_) | Token::Double(_) => return self.number(offset, false),
            Token::Text(text) => Value::String(Arc::from(text.as_str())),
            Token::Bytes(bytes) => Value::Bytes(Arc::from(bytes.as_slice())),
            Token::Word(_) | Token::Quoted(_) | Token::Symbol(_) | Token::End => {
                return Err(self.unexpected());
            }
        };
        self.advance();
        self.node(offset, Kind::Literal(value))
    }

    pub(super) fn number(&mut self, offset: u32, negative: bool) -> Result<Expr, Refusal> {
        let signed = |digits: &str| {
            if negative {
                format!("-{digits}")
            } else {
                digits.to_owned()
            }
        };
        let radix = |digits: &'a str| {
            digits
                .strip_prefix("0x")
                .map_or((digits, 10), |digits| (digits, 16))
        };
        let value = match *self.peek() {
            Token::Int(text) => {
                let (digits, radix) = radix(text);
                i64::from_str_radix(&signed(digits), radix)
                    .map(Value::Int)
                    .map_err(|_| "invalid int literal")
            }
            Token::Uint(text) => {
                let (digits, radix) = radix(text);
                u64::from_str_radix(digits, radix)
                    .map(Value::Uint)
                    .map_err(|_| "invalid uint literal")
            }
            Token::Double(text) => match signed(text).parse::<f64>() {
                Ok(double) if double.is_finite() => Ok(Value::Double(double)),
                _ => Err("invalid double literal"),
            },
            _ => return Err(self.unexpected()),
        };
        self.advance();
        self.node(
            offset,
            Kind::Literal(value.map_err(|message| Refusal::new(offset, message))?),
        )
    }

    fn name(&mut self, offset: u32) -> Result<Expr, Refusal> {
        let absolute = self.accept(".");
        let Token::Word(word) = *self.peek() else {
            return Err(self.unexpected());
        };
        if RESERVED.contains(&word) {
            return Err(Refusal::new(
                self.offset(),
                format!("reserved identifier: {word}"),
            ));
        }
        self.advance();
        let name: Arc<str> = if absolute {
            Arc::from(format!(".{word}"))
        } else {
            Arc::from(word)
        };
        let open = self.offset();
        if self.accept("(") {
            let args = self.arguments()?;
            if let Some(expanded) = macros::expand(self, open, &name, None, &args)? {
                return Ok(expanded);
            }
            return self.node(
                open,
                Kind::Call {
                    function: name,
                    target: None,
                    args,
                },
            );
        }
        self.node(offset, Kind::Ident(name))
    }

    fn list(&mut self, offset: u32) -> Result<Expr, Refusal> {
        self.advance();
        let mut elements = Vec::new();
        if self.accept(",") {
            self.expect("]")?;
            return self.node(offset, Kind::List(elements));
        }
        loop {
            if self.accept("]") {
                return self.node(offset, Kind::List(elements));
            }
            let optional = self.accept("?");
            elements.push(Element {
                value: self.expr()?,
                optional,
            });
            if !self.accept(",") {
                self.expect("]")?;
                return self.node(offset, Kind::List(elements));
            }
        }
    }

    fn map(&mut self, offset: u32) -> Result<Expr, Refusal> {
        self.advance();
        let mut entries = Vec::new();
        if self.accept(",") {
            self.expect("}")?;
            return self.node(offset, Kind::Map(entries));
        }
        loop {
            if self.accept("}") {
                return self.node(offset, Kind::Map(entries));
            }
            let optional = self.accept("?");
            let key = self.expr()?;
            self.expect(":")?;
            entries.push(Entry {
                key,
                value: self.expr()?,
                optional,
            });
            if !self.accept(",") {
                self.expect("}")?;
                return self.node(offset, Kind::Map(entries));
            }
        }
    }
}
