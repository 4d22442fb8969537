//! What an access line says, whatever its format.

use std::{sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use oidcproxy_crds::v1alpha1::logging::LogFormat;

use super::{RequestRecord, classic, json};
use crate::identity::Identity;

/// One line to be written.
#[derive(Clone, Debug)]
pub(crate) struct AccessLine {
    pub(crate) at: Timestamp,
    pub(crate) request: Arc<RequestRecord>,
    pub(crate) inbound: Option<Arc<Identity>>,
    pub(crate) outbound: Option<Arc<Identity>>,
    /// Whether the proxy let it pass.
    pub(crate) is_admitted: bool,
    pub(crate) event: AccessEvent,
}

/// What has become of the request.
#[derive(Clone, Debug)]
pub(crate) enum AccessEvent {
    /// Classic: it is forwarded, or not.
    Decided,
    /// JSON: a stream or a watch has begun.
    Started { status: u16 },
    /// JSON: nothing more will happen.
    Completed(Completion),
}

/// How a request ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Completion {
    /// None: there was no answer.
    pub(crate) status: Option<u16>,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) duration: Duration,
    /// Of a closed set; none when it went as it should.
    pub(crate) reason: Option<&'static str>,
    /// The reason in words.
    pub(crate) message: Option<String>,
}

impl AccessLine {
    /// The format follows from the event.
    pub(crate) fn format(&self) -> LogFormat {
        match self.event {
            AccessEvent::Decided => LogFormat::Classic,
            AccessEvent::Started { .. } | AccessEvent::Completed(_) => LogFormat::Json,
        }
    }

    /// About as many bytes as it takes. Identities are shared, but may be held by this alone.
    pub(crate) fn size(&self) -> usize {
        let identity = |identity: &Option<Arc<Identity>>| {
            identity.as_ref().map_or(0, |identity| identity.size())
        };
        self.request.size() + identity(&self.inbound) + identity(&self.outbound)
    }

    /// One line, with its end.
    pub(crate) fn text(&self) -> String {
        match self.format() {
            LogFormat::Classic => classic::line(self),
            LogFormat::Json => json::line(self),
        }
    }
}
