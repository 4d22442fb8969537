//! What a security team reads: one line for each request, written when it is decided.

mod classic;
mod writer;

pub(crate) use self::{
    classic::{Decision, RequestSource, line},
    writer::AccessLog,
};
