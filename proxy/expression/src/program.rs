//! The crate's interface: compile once, evaluate often.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map as JsonMap, Value as Json};

use crate::{
    check::{check, types::Type, validate},
    error::{CompileError, EvaluationError, Failure, Refusal},
    eval::{self, Node, claims::Root},
    syntax::{ast::Expr, parse},
};

/// What an expression can refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// `claims`: mappings and claim validation rules.
    Claims,
    /// `user`: user validation rules.
    User,
}

impl Environment {
    pub(crate) fn variable(self) -> &'static str {
        match self {
            Self::Claims => "claims",
            Self::User => "user",
        }
    }

    pub(crate) fn type_name(self) -> &'static str {
        match self {
            Self::Claims => "kubernetes.claims",
            Self::User => "kubernetes.UserInfo",
        }
    }
}

/// The static type of an expression, as far as somebody has to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultType {
    /// Always true or false: what validation rules have to be. A claim is not, whatever it holds.
    Bool,
    /// Anything else, including what is known at run time only.
    Other,
}

/// The identity that user validation rules look at.
#[derive(Debug, Clone, Copy)]
pub struct User<'a> {
    /// The mapped name.
    pub username: &'a str,
    /// The mapped unique identifier, empty if there is none.
    pub uid: &'a str,
    /// The mapped groups; `system:authenticated` is not among them yet.
    pub groups: &'a [String],
    /// Everything else, by key.
    pub extra: &'a BTreeMap<String, Vec<String>>,
}

/// The result of an evaluation, in the terms of kube-apiserver's mappings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `null`, or nothing.
    Null,
    /// The result of a rule.
    Bool(bool),
    /// A single string.
    String(Arc<str>),
    /// A list of nothing but strings.
    Strings(Vec<Arc<str>>),
    /// A value that no mapping accepts, by its type: numbers, maps, lists of anything else. A list straight from `split`
    /// or `findAll` is one too; kube-apiserver refuses it, though not `split(...).map(x, x)`.
    Other(&'static str),
}

/// A compiled expression.
#[derive(Debug)]
pub struct Program {
    source: Arc<str>,
    environment: Environment,
    expr: Expr,
    result: ResultType,
    node: Node,
}

impl Program {
    /// Compiles an expression; refuses what kube-apiserver refuses when it loads its configuration.
    pub fn compile(source: &str, environment: Environment) -> Result<Self, CompileError> {
        Self::build(source, environment).map_err(|refusal| refusal.locate(source))
    }

    fn build(source: &str, environment: Environment) -> Result<Self, Refusal> {
        let (expr, nodes) = parse(source)?;
        let checked = check(&expr, nodes, environment)?;
        validate(&expr, &checked)?;
        let node = eval::plan(&expr, &checked, environment)?;
        let result = if *checked.type_of(&expr) == Type::Bool {
            ResultType::Bool
        } else {
            ResultType::Other
        };
        Ok(Self {
            source: Arc::from(source),
            environment,
            expr,
            result,
            node,
        })
    }

    /// The expression as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What the expression refers to.
    pub fn environment(&self) -> Environment {
        self.environment
    }

    /// The static type of the result.
    pub fn result_type(&self) -> ResultType {
        self.result
    }

    /// Whether the expression selects `claims.NAME` or `claims.?NAME` anywhere. `claims['NAME']` does not count: this
    /// answers kube-apiserver's question whether `email` is used and `email_verified` is looked at.
    pub fn selects_claim(&self, name: &str) -> bool {
        self.expr.selects(Environment::Claims.variable(), name)
    }

    /// Evaluates the expression over the claims of a token.
    pub fn evaluate_claims(
        &self,
        claims: &JsonMap<String, Json>,
    ) -> Result<Value, EvaluationError> {
        self.evaluate(Environment::Claims, Root::claims(claims))
    }

    /// Evaluates the expression over a user.
    pub fn evaluate_user(&self, user: &User<'_>) -> Result<Value, EvaluationError> {
        self.evaluate(Environment::User, Root::user(user))
    }

    fn evaluate(&self, environment: Environment, root: Root<'_>) -> Result<Value, EvaluationError> {
        if environment != self.environment {
            return Err(Failure::new("no such attribute").locate(&self.source));
        }
        eval::evaluate(&self.node, root)
            .map(Value::from)
            .map_err(|failure| failure.locate(&self.source))
    }
}

impl From<eval::value::Value> for Value {
    fn from(value: eval::value::Value) -> Self {
        use eval::value::Value as Inner;
        match value {
            Inner::Null => Self::Null,
            Inner::Bool(value) => Self::Bool(value),
            Inner::String(text) => Self::String(text),
            Inner::List(list, _) if !list.native => list
                .items
                .iter()
                .map(text_of)
                .collect::<Option<_>>()
                .map_or(Self::Other("list"), Self::Strings),
            other => Self::Other(other.type_name()),
        }
    }
}

/// What kube-apiserver takes for a string in a list: the text in an optional, too, and the name of a type.
fn text_of(item: &eval::value::Value) -> Option<Arc<str>> {
    use eval::value::Value as Inner;
    match item {
        Inner::String(text) | Inner::Type(text) => Some(Arc::clone(text)),
        Inner::Optional(Some(inner)) => text_of(inner),
        _ => None,
    }
}
