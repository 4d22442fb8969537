//! The audit of one request, stage by stage as in kube-apiserver.

use std::sync::Arc;

use http::{HeaderMap, StatusCode, header};
use k8s_openapi::jiff::Timestamp;
use oidcproxy_crds::v1alpha1::audit_policy::{AuditLevel, AuditStage};

use super::{
    Auditor, EndReason, RequestRecord,
    capture::{Capture, CapturedBody},
    event::{AuditEvent, ResponseStatus},
    policy::Verdict,
};
use crate::{identity::Identity, refusal::Refusal, request::Attributes};

/// What is known of a request that a policy has an opinion of.
#[derive(Debug)]
pub(super) struct Audited {
    auditor: Arc<Auditor>,
    verdict: Verdict,
    request: Arc<RequestRecord>,
    attributes: Arc<Attributes>,
    user: Option<Arc<Identity>>,
    pub(super) impersonated: Option<Arc<Identity>>,
    status: Option<ResponseStatus>,
    reason: Option<String>,
    request_object: Option<Capture>,
    response_object: Option<Capture>,
    /// A failed authentication has one event only.
    is_over: bool,
}

impl Audited {
    /// The first stage, for which the user is the one of the token.
    pub(super) fn begin(
        auditor: Arc<Auditor>,
        request: Arc<RequestRecord>,
        user: Option<Arc<Identity>>,
    ) -> Self {
        let attributes = Attributes::of(&request.method, &request.target);
        let verdict = auditor.evaluate(user.as_deref(), &attributes);
        let audited = Self {
            auditor,
            verdict,
            request,
            attributes: Arc::new(attributes),
            user,
            impersonated: None,
            status: None,
            reason: None,
            request_object: None,
            response_object: None,
            is_over: false,
        };
        if audited.user.is_some() {
            audited.send(AuditStage::RequestReceived, None, None);
        }
        audited
    }

    pub(super) fn refused(&mut self, refusal: &Refusal) {
        let code = refusal.code();
        self.reason = Some(refusal.to_string());
        self.status = Some(ResponseStatus {
            code: Some(code.as_u16()),
            status: Some("Failure"),
            message: Some(refusal.message()),
            reason: Some(refusal.status_reason()),
        });
        if code == StatusCode::UNAUTHORIZED {
            // As in kube-apiserver: there is nobody whose request was received.
            self.send(AuditStage::ResponseStarted, None, None);
            self.is_over = true;
        } else if self.user.is_none() {
            self.send(AuditStage::RequestReceived, None, None);
        }
    }

    pub(super) fn answered(&mut self, code: StatusCode, headers: &HeaderMap) {
        if self.status.is_none() {
            self.status = Some(ResponseStatus {
                code: Some(code.as_u16()),
                ..ResponseStatus::default()
            });
            self.response_object = self.response_to_keep(code, headers);
        }
        if self.attributes.is_long_running && !self.is_over {
            self.send(AuditStage::ResponseStarted, None, None);
        }
    }

    /// The object if the policy asks for it, otherwise a `Status`, which every level tells.
    fn response_to_keep(&self, code: StatusCode, headers: &HeaderMap) -> Option<Capture> {
        let budget = &self.auditor.budget;
        if self.keeps(AuditLevel::RequestResponse) {
            return Some(Capture::of(headers, budget));
        }
        let kind = headers.get(header::CONTENT_TYPE);
        let is_json = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
        let is_failure = code.is_client_error() || code.is_server_error();
        let is_wanted = is_json && (is_failure || self.attributes.verb == "delete");
        (is_wanted && self.verdict.wants(AuditStage::ResponseComplete))
            .then(|| Capture::of_status(headers, budget))
    }

    pub(super) fn request_capture(&mut self, headers: &HeaderMap) -> Option<Capture> {
        // The name of what is created stands in the object only, and every level tells it.
        let names = matches!(self.attributes.verb.as_str(), "create" | "update");
        let level = if names {
            AuditLevel::Metadata
        } else {
            AuditLevel::Request
        };
        if !self.keeps(level) {
            return None;
        }
        let capture = Capture::of(headers, &self.auditor.budget);
        self.request_object = Some(capture.clone());
        Some(capture)
    }

    pub(super) fn response_capture(&self) -> Option<Capture> {
        self.response_object.clone()
    }

    /// Bodies are those of objects: not of streams, nor of other URLs.
    fn keeps(&self, level: AuditLevel) -> bool {
        self.verdict.level >= level
            && self.verdict.wants(AuditStage::ResponseComplete)
            && self.attributes.resource.is_some()
            && !self.attributes.is_long_running
    }

    /// The last stage.
    pub(super) fn end(mut self, end: Option<EndReason>) {
        if self.is_over {
            return;
        }
        if self.reason.is_none() {
            self.reason = end.map(|end| end.as_str().to_owned());
        }
        let stage = if end == Some(EndReason::Panic) {
            self.status = Some(ResponseStatus {
                code: Some(500),
                status: Some("Failure"),
                message: Some("the proxy failed".to_owned()),
                reason: Some("InternalError"),
            });
            AuditStage::Panic
        } else {
            AuditStage::ResponseComplete
        };
        if self.status.is_none() {
            if self.user.is_none() {
                self.send(AuditStage::RequestReceived, None, None);
            }
            self.status = Some(ResponseStatus {
                message: Some("Connection closed early".to_owned()),
                ..ResponseStatus::default()
            });
        }
        let request = self.request_object.as_ref().map(Capture::take);
        let response = self.response_object.as_ref().map(Capture::take);
        self.send(stage, request, response);
    }

    fn send(
        &self,
        stage: AuditStage,
        request_object: Option<CapturedBody>,
        response_object: Option<CapturedBody>,
    ) {
        if !self.verdict.wants(stage) {
            return;
        }
        let is_first = stage == AuditStage::RequestReceived;
        let at = if is_first {
            self.request.received
        } else {
            Timestamp::now()
        };
        self.auditor.send(AuditEvent {
            level: self.verdict.level,
            stage,
            at,
            request: Arc::clone(&self.request),
            attributes: Arc::clone(&self.attributes),
            user: self.user.clone(),
            impersonated: self.impersonated.clone(),
            status: self.status.clone().filter(|_| !is_first),
            reason: self.reason.clone().filter(|_| !is_first),
            request_object,
            response_object,
            omit_managed_fields: self.verdict.omit_managed_fields,
        });
    }
}
