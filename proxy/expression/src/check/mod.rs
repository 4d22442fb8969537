//! Static types: what kube-apiserver refuses when it loads its configuration.

mod assign;
mod checker;
mod declarations;
pub(crate) mod types;
mod validate;

pub(crate) use checker::{Checked, Reference, check};
pub(crate) use validate::validate;
