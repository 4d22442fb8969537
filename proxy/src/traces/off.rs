//! Builds without traces.

// The same surface as with them, so that nobody else asks which build this is.
#![allow(clippy::unnecessary_wraps, clippy::unused_async, clippy::unused_self)]

use std::convert::Infallible;

use http::{HeaderMap, Request, StatusCode};
use tokio::time::Instant;

use super::Step;
use crate::audit::RequestRecord;

/// Where spans would go.
#[derive(Clone, Debug)]
pub(crate) struct Traces;

impl Traces {
    pub(crate) fn start() -> Result<Self, Infallible> {
        Ok(Self)
    }

    pub(crate) fn request<B>(
        &self,
        _record: &RequestRecord,
        _request: &Request<B>,
    ) -> RequestTrace {
        RequestTrace
    }

    pub(crate) async fn close(self, _deadline: Instant) {}
}

/// The span that a request would have.
#[derive(Debug)]
pub(crate) struct RequestTrace;

impl RequestTrace {
    pub(crate) fn answered(&self, _status: StatusCode) {}

    pub(crate) fn refused(&self, _reason: &'static str) {}

    pub(crate) fn step(&self, _step: Step) -> StepTrace {
        StepTrace
    }
}

/// The span that a step would have.
#[derive(Debug)]
pub(crate) struct StepTrace;

impl StepTrace {
    pub(crate) fn inject(&self, _headers: &mut HeaderMap) {}

    pub(crate) fn answered(&mut self, _status: StatusCode) {}

    pub(crate) fn failed(&mut self) {}

    pub(crate) fn end(self) {}
}
