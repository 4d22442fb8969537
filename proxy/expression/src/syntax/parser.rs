//! Tokens to a syntax tree: recursive descent with a bound on depth and size.

mod operators;
mod primary;

use std::sync::Arc;

use super::{
    ast::{Expr, Kind, LOOP_DEPTH, MAX_DEPTH, MAX_NODES},
    lexer::{Token, tokens},
};
use crate::error::Refusal;

/// As in kube-apiserver: characters an expression may have.
const MAX_CHARACTERS: usize = 100_000;

/// How deep expressions may be nested in each other. kube-apiserver stops at 250.
const MAX_NESTING: u16 = 128;

const RESERVED: [&str; 22] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "package",
    "namespace",
    "null",
    "return",
    "true",
    "var",
    "void",
    "while",
    "__result__",
];

/// Parses a whole expression; also says how many node numbers were given out.
pub(crate) fn parse(source: &str) -> Result<(Expr, u32), Refusal> {
    if source.chars().count() > MAX_CHARACTERS {
        return Err(Refusal::new(0, "the expression is too long"));
    }
    let mut parser = Parser {
        tokens: tokens(source)?,
        next: 0,
        nesting: 0,
        nodes: 0,
    };
    let expr = parser.expr()?;
    match parser.peek() {
        Token::End => Ok((expr, parser.nodes)),
        _ => Err(parser.unexpected()),
    }
}

pub(super) struct Parser<'a> {
    tokens: Vec<(Token<'a>, u32)>,
    next: usize,
    nesting: u16,
    nodes: u32,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> &Token<'a> {
        self.tokens
            .get(self.next)
            .map_or(&Token::End, |(token, _)| token)
    }

    fn offset(&self) -> u32 {
        self.tokens
            .get(self.next)
            .or_else(|| self.tokens.last())
            .map_or(0, |(_, offset)| *offset)
    }

    fn advance(&mut self) {
        self.next += 1;
    }

    fn accept(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Token::Symbol(here) if *here == symbol);
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, symbol: &str) -> Result<(), Refusal> {
        if self.accept(symbol) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    fn unexpected(&self) -> Refusal {
        let found = match self.peek() {
            Token::End => "end of the expression".to_owned(),
            Token::Word(word)
            | Token::Quoted(word)
            | Token::Int(word)
            | Token::Uint(word)
            | Token::Double(word) => {
                format!("'{word}'")
            }
            Token::Symbol(symbol) => format!("'{symbol}'"),
            Token::Text(_) => "a string".to_owned(),
            Token::Bytes(_) => "a bytes literal".to_owned(),
        };
        Refusal::new(self.offset(), format!("syntax error: unexpected {found}"))
    }

    /// Every node is made here, so here the size and the depth of the tree are bounded.
    pub(super) fn node(&mut self, offset: u32, kind: Kind) -> Result<Expr, Refusal> {
        let mut expr = Expr {
            id: self.nodes,
            offset,
            depth: 0,
            kind,
        };
        let own = if matches!(expr.kind, Kind::Comprehension(_)) {
            LOOP_DEPTH
        } else {
            1
        };
        expr.depth = own
            + expr
                .children()
                .into_iter()
                .map(|child| child.depth)
                .max()
                .unwrap_or(0);
        if expr.depth > MAX_DEPTH {
            return Err(Refusal::new(offset, "the expression is nested too deeply"));
        }
        self.grow(offset, 1)?;
        Ok(expr)
    }

    /// A copy with its own numbers: a number stands for one place in the tree.
    pub(super) fn copy(&mut self, expr: &Expr) -> Result<Expr, Refusal> {
        let before = self.nodes;
        self.grow(expr.offset, size(expr))?;
        let mut copy = expr.clone();
        let mut id = before;
        renumber(&mut copy, &mut id);
        Ok(copy)
    }

    fn grow(&mut self, offset: u32, by: u32) -> Result<(), Refusal> {
        self.nodes = self.nodes.saturating_add(by);
        if self.nodes > MAX_NODES {
            return Err(Refusal::new(offset, "the expression is too large"));
        }
        Ok(())
    }

    fn call(&mut self, offset: u32, function: &str, args: Vec<Expr>) -> Result<Expr, Refusal> {
        self.node(
            offset,
            Kind::Call {
                function: Arc::from(function),
                target: None,
                args,
            },
        )
    }
}

fn size(expr: &Expr) -> u32 {
    expr.children()
        .into_iter()
        .fold(1_u32, |sum, child| sum.saturating_add(size(child)))
}

fn renumber(expr: &mut Expr, next: &mut u32) {
    expr.id = *next;
    *next += 1;
    match &mut expr.kind {
        Kind::Literal(_) | Kind::Ident(_) => {}
        Kind::Select { operand, .. } => renumber(operand, next),
        Kind::Call { target, args, .. } => target
            .as_deref_mut()
            .into_iter()
            .chain(args)
            .for_each(|arg| renumber(arg, next)),
        Kind::List(elements) => elements
            .iter_mut()
            .for_each(|element| renumber(&mut element.value, next)),
        Kind::Map(entries) => {
            for entry in entries {
                renumber(&mut entry.key, next);
                renumber(&mut entry.value, next);
            }
        }
        Kind::Comprehension(fold) => {
            for part in [
                &mut fold.range,
                &mut fold.initial,
                &mut fold.condition,
                &mut fold.step,
                &mut fold.result,
            ] {
                renumber(part, next);
            }
        }
    }
}
