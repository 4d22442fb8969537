//! CEL expressions over claims and users, as kube-apiserver evaluates them.
//!
//! ```
//! use oidcproxy_expression::{Environment, Program, Value};
//!
//! let program = Program::compile("'oidc:' + claims.sub", Environment::Claims)?;
//! let claims = serde_json::json!({"sub": "jane"});
//! let name = program.evaluate_claims(claims.as_object().unwrap())?;
//! assert_eq!(name, Value::String("oidc:jane".into()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Why an implementation of its own
//! kube-apiserver's language is more than CEL's syntax. It refuses expressions by their static types (`[1, 'a']`,
//! `user.nope`, macros over a first-level claim, rules that are not bool), looks keys up by escaped names, brings a dozen
//! libraries, and stops an evaluation at a cost of 1,000,000. Measured against that, in a release build:
//!
//! - The `cel` crate 0.15 (51 crates) has none of the types, the escapes or the libraries, and no limit: a loop of 100³ turns
//!   ran for 520 ms, 18 nested doublings made 4 MiB, and more of either is only a matter of claims. It accepts every
//!   expression named above.
//! - Its parser alone would leave the checker, the evaluator and the libraries to be written, takes 39 ms for 5,000 terms,
//!   and expands macros into a tree that the cost model does not fit.
//! - `kube-cel` has the libraries, on an older `cel` whose integers are not equal to JSON's, and without types or limits.
//!
//! So everything is here: some 8,000 short lines that need `regex` and `jiff` only, compared with 1,400 observations of kube-apiserver's
//! own compiler and evaluator (`tests/data/observed.json`): accepted or not, static type, value, and cost to the unit. Of
//! 60,000 generated expressions, all but one (a filter over types) agreed in the former and all but 50 in the cost.
//!
//! # Bounds
//! Texts, nesting and size of the tree are limited when compiling, cost, steps and bytes when evaluating; see
//! `eval::budget`. The worst case of an evaluation is some 100 ms and 50 MiB; ordinary expressions take about a
//! microsecond.
//!
//! # Deviations, all to the strict side
//! Protobuf messages (`google.protobuf.Int64Value{...}`), hexadecimal floating point
//! texts, more than 128 expressions nested in each other (upstream: 250), and patterns that compile to more than 4 MiB (256 KiB
//! if they are made at run time) are refused.

mod check;
mod error;
mod eval;
mod library;
#[cfg(test)]
mod observed;
mod program;
mod syntax;
mod url;

pub use error::{CompileError, EvaluationError, Reason};
pub use program::{Environment, Program, ResultType, User, Value};
pub use url::Url;

/// kube-apiserver's limit on the cost of one evaluation, in its own currency.
pub const COST_LIMIT: u64 = eval::budget::COST;
