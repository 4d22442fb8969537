//! What a security team reads: who asked for what, whether it passed, and how it ended.

mod access;
mod audit_id;
mod body;
mod classic;
mod ending;
mod exchange;
mod json;
mod request;
mod stream;
mod trail;
mod writer;

pub(crate) use self::{
    audit_id::AUDIT_ID,
    body::{RecordedBody, RequestBody},
    ending::{EndReason, Flow},
    exchange::Exchange,
    stream::CountedStream,
    trail::Trail,
    writer::AccessLog,
};
use self::{audit_id::AuditId, request::RequestRecord};
