//! One request from its head to the last byte of its answer. Whoever still moves bytes for it
//! holds the record; when the last one lets go, the request is over.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use http::{HeaderMap, HeaderValue, StatusCode};
use k8s_openapi::jiff::Timestamp;
use oidcproxy_crds::v1alpha1::logging::LogFormat;

use super::{
    Auditor, EndReason, Flow, RequestRecord,
    access::{AccessEvent, AccessLine, Completion},
    audited::Audited,
    capture::Capture,
    trail::Trail,
};
use crate::{
    identity::Identity,
    metrics::OpenStream,
    refusal::Refusal,
    request::{LongRunning, UpgradeProtocol},
    traces::RequestTrace,
};

/// The record of one request.
#[derive(Debug)]
pub(crate) struct Exchange {
    request: Arc<RequestRecord>,
    flow: Arc<Flow>,
    outcome: Mutex<Outcome>,
    trail: Arc<Trail>,
    format: LogFormat,
    auditor: Option<Arc<Auditor>>,
    began: Instant,
    trace: RequestTrace,
}

/// What is known of it so far.
#[derive(Debug, Default)]
struct Outcome {
    user: Option<Arc<Identity>>,
    acting_as: Option<Arc<Identity>>,
    is_admitted: bool,
    is_decided: bool,
    status: Option<StatusCode>,
    refusal: Option<(&'static str, String)>,
    audited: Option<Audited>,
    stream: Option<OpenStream>,
}

impl Exchange {
    pub(super) fn new(
        request: RequestRecord,
        trail: Arc<Trail>,
        format: LogFormat,
        auditor: Option<Arc<Auditor>>,
        trace: RequestTrace,
    ) -> Self {
        Self {
            request: Arc::new(request),
            flow: Arc::default(),
            outcome: Mutex::default(),
            trail,
            format,
            auditor,
            began: Instant::now(),
            trace,
        }
    }

    /// What moves for it, and what ends it early.
    pub(crate) fn flow(&self) -> &Arc<Flow> {
        &self.flow
    }

    /// Its span, which ends with it.
    pub(crate) fn trace(&self) -> &RequestTrace {
        &self.trace
    }

    /// To be sent to kube-apiserver and to the client.
    pub(crate) fn audit_id(&self) -> HeaderValue {
        self.request.audit_id.header()
    }

    /// For diagnostics.
    pub(crate) fn audit_id_text(&self) -> &str {
        self.request.audit_id.as_str()
    }

    /// Who sends it is known.
    pub(crate) fn authenticated(&self, user: Arc<Identity>) {
        let mut outcome = self.outcome();
        outcome.user = Some(user);
        self.audit(&mut outcome);
    }

    /// It may pass; nothing has been forwarded so far.
    pub(crate) fn admitted(&self, acting_as: Option<Arc<Identity>>) {
        let mut outcome = self.outcome();
        if let Some(audited) = &mut outcome.audited {
            audited.impersonated.clone_from(&acting_as);
        }
        outcome.acting_as = acting_as;
        outcome.is_admitted = true;
        self.decided(&mut outcome);
    }

    /// It was not forwarded, or kube-apiserver did not answer as it should.
    pub(crate) fn refused(&self, refusal: &Refusal) {
        let mut outcome = self.outcome();
        self.trace.refused(refusal.metric_reason());
        self.audit(&mut outcome);
        if let Some(audited) = &mut outcome.audited {
            audited.refused(refusal);
        }
        outcome.refusal = Some((refusal.metric_reason(), refusal.to_string()));
        self.decided(&mut outcome);
    }

    /// The answer's head is there.
    pub(crate) fn answered(&self, status: StatusCode, headers: &HeaderMap) {
        let mut outcome = self.outcome();
        if outcome.status.replace(status).is_some() {
            return;
        }
        self.trace.answered(status);
        if let Some(audited) = &mut outcome.audited {
            audited.answered(status, headers);
        }
        let Some(kind) = self.stream_kind(status, headers) else {
            return;
        };
        outcome.stream = Some(self.trail.metrics.stream(kind));
        if self.format == LogFormat::Json {
            let event = AccessEvent::Started {
                status: status.as_u16(),
            };
            self.write(&outcome, event);
        }
    }

    /// None: it will soon be over.
    fn stream_kind(&self, status: StatusCode, headers: &HeaderMap) -> Option<&'static str> {
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return UpgradeProtocol::of_answer(headers).map(UpgradeProtocol::name);
        }
        let long_running = self.request.long_running.filter(|_| status.is_success());
        long_running.map(LongRunning::name)
    }

    /// What is to be kept of the request's body.
    pub(super) fn request_capture(&self, headers: &HeaderMap) -> Option<Capture> {
        let mut outcome = self.outcome();
        outcome.audited.as_mut()?.request_capture(headers)
    }

    /// What is to be kept of the answer's.
    pub(super) fn response_capture(&self) -> Option<Capture> {
        self.outcome().audited.as_ref()?.response_capture()
    }

    /// The audit of the request begins, with its user if there is one.
    fn audit(&self, outcome: &mut Outcome) {
        if let Some(auditor) = &self.auditor
            && outcome.audited.is_none()
        {
            let user = outcome.user.clone();
            let request = Arc::clone(&self.request);
            outcome.audited = Some(Audited::begin(Arc::clone(auditor), request, user));
        }
    }

    /// The Classic line, once.
    fn decided(&self, outcome: &mut Outcome) {
        let is_first = !std::mem::replace(&mut outcome.is_decided, true);
        if is_first && self.format == LogFormat::Classic {
            self.write(outcome, AccessEvent::Decided);
        }
    }

    fn write(&self, outcome: &Outcome, event: AccessEvent) {
        self.trail.access_log.write(AccessLine {
            at: Timestamp::now(),
            request: Arc::clone(&self.request),
            inbound: outcome.user.clone(),
            outbound: outcome.acting_as.clone(),
            is_admitted: outcome.is_admitted,
            event,
        });
    }

    fn outcome(&self) -> MutexGuard<'_, Outcome> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn completion(&self, outcome: &Outcome) -> Completion {
        let (reason, message) = match (&outcome.refusal, self.flow.end()) {
            (Some((reason, message)), _) => (Some(*reason), Some(message.clone())),
            (None, Some(end)) => (Some(end.as_str()), None),
            (None, None) => (None, None),
        };
        Completion {
            status: outcome.status.map(|status| status.as_u16()),
            bytes_in: self.flow.bytes_in(),
            bytes_out: self.flow.bytes_out(),
            duration: self.began.elapsed(),
            reason,
            message,
        }
    }

    /// We end it before its own end. Its Classic line was written long ago, so this is where it
    /// is told.
    pub(crate) fn cut(&self, reason: EndReason) {
        self.flow.end_with(reason);
        tracing::info!(
            reason = reason.as_str(),
            audit_id = self.audit_id_text(),
            // Quoted: a client's words may be in it.
            path = ?self.request.path(),
            "a stream was cut"
        );
    }

    /// Somebody let go before the end.
    pub(super) fn broke_off(&self) {
        self.flow.end_with(if self.trail.drain.end.is_cancelled() {
            EndReason::DrainDeadline
        } else {
            EndReason::ClientClosed
        });
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.flow.end_with(EndReason::Panic);
        }
        let mut outcome = std::mem::take(&mut *self.outcome());
        if outcome.status.is_none() {
            self.broke_off();
        }
        // Whoever went before the decision has failed, too.
        self.decided(&mut outcome);
        self.audit(&mut outcome);
        if let Some(audited) = outcome.audited.take() {
            audited.end(self.flow.end());
        }
        if let Some(stream) = outcome.stream.take() {
            let end = self.flow.end();
            stream.close(end.map_or("completed", EndReason::as_str));
        }
        if self.format == LogFormat::Json {
            let completion = self.completion(&outcome);
            self.write(&outcome, AccessEvent::Completed(completion));
        }
    }
}
