//! What is written of a request itself. Copies, not slices of its head: a line that waits would
//! keep all of it.

use std::{borrow::Cow, net::IpAddr};

use http::{HeaderName, Method, Request, header};
use k8s_openapi::jiff::Timestamp;
use oidcproxy_crds::v1alpha1::logging::QueryValues;

use super::{AuditId, target::shown};
use crate::request::{LongRunning, RequestInfo};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct RequestRecord {
    pub(crate) audit_id: AuditId,
    pub(crate) received: Timestamp,
    pub(crate) peer: IpAddr,
    /// `X-Forwarded-For` as the client sent it: a claim, not a fact.
    pub(crate) forwarded_for: String,
    pub(crate) method: Method,
    /// The request target as the client sent it.
    pub(crate) target: String,
    pub(crate) verb: &'static str,
    pub(crate) long_running: Option<LongRunning>,
    pub(crate) user_agent: String,
    query_values: QueryValues,
}

impl RequestRecord {
    pub(crate) fn of<B>(
        request: &Request<B>,
        peer: IpAddr,
        info: &RequestInfo,
        query_values: QueryValues,
    ) -> Self {
        let target = request.uri().path_and_query();
        let headers = request.headers();
        let agent = headers.get(header::USER_AGENT);
        Self {
            audit_id: AuditId::of(headers),
            received: Timestamp::now(),
            peer,
            forwarded_for: joined(&headers.get_all(X_FORWARDED_FOR)),
            method: request.method().clone(),
            target: target.map_or_else(|| request.uri().to_string(), ToString::to_string),
            verb: info.verb,
            long_running: info.long_running,
            user_agent: agent.map(text).unwrap_or_default().into_owned(),
            query_values,
        }
    }

    /// The target as lines and events tell it.
    pub(crate) fn shown_target(&self) -> Cow<'_, str> {
        shown(&self.target, self.query_values)
    }

    /// Without its query, for diagnostics.
    pub(crate) fn path(&self) -> &str {
        let target = self.target.as_str();
        target.split_once('?').map_or(target, |(path, _)| path)
    }

    /// About as many bytes as it takes.
    pub(crate) fn size(&self) -> usize {
        256 + self.forwarded_for.len() + self.target.len() + self.user_agent.len()
    }
}

fn joined(values: &header::GetAll<'_, header::HeaderValue>) -> String {
    let values: Vec<_> = values.iter().map(text).collect();
    values.join(", ")
}

fn text(value: &header::HeaderValue) -> Cow<'_, str> {
    String::from_utf8_lossy(value.as_bytes())
}
