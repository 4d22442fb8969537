//! What a security team reads: who asked for what, whether it passed, and how it ended.

mod access;
mod audit_id;
mod audited;
mod auditor;
mod body;
mod capture;
mod classic;
mod ending;
mod event;
mod exchange;
mod flags;
mod json;
mod log_backend;
mod policy;
mod queue;
mod request;
mod rotation;
mod stream;
mod target;
mod trail;
mod webhook;
mod webhook_backend;
mod writer;

use self::audit_id::AuditId;
pub(crate) use self::{
    audit_id::AUDIT_ID,
    auditor::{AuditBackends, Auditor, PolicyError},
    body::{RecordedBody, RequestBody},
    ending::{EndReason, Flow},
    exchange::Exchange,
    flags::AuditFlags,
    request::RequestRecord,
    stream::CountedStream,
    trail::Trail,
    writer::AccessLog,
};
