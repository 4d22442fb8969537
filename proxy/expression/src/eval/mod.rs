//! Running a compiled expression.

pub(crate) mod budget;
pub(crate) mod claims;
pub(crate) mod cost;
mod evaluate;
pub(crate) mod operators;
mod plan;
pub(crate) mod value;

#[cfg(test)]
pub(crate) use evaluate::evaluate_with_cost;
pub(crate) use evaluate::{Context, evaluate};
pub(crate) use plan::{Node, plan};
