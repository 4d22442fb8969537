//! Events of `audit.k8s.io/v1`, as kube-apiserver writes them.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use k8s_openapi::jiff::Timestamp;
use oidcproxy_crds::v1alpha1::audit_policy::{AuditLevel, AuditStage};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    RequestRecord,
    capture::CapturedBody,
    json::{micro_time, to_line},
};
use crate::{identity::Identity, request::Attributes};

const API_VERSION: &str = "audit.k8s.io/v1";
/// As kube-apiserver cuts it.
const MAX_USER_AGENT: usize = 1024;

/// One stage of one request.
#[derive(Debug)]
pub(crate) struct AuditEvent {
    pub(crate) level: AuditLevel,
    pub(crate) stage: AuditStage,
    pub(crate) at: Timestamp,
    pub(crate) request: Arc<RequestRecord>,
    pub(crate) attributes: Arc<Attributes>,
    pub(crate) user: Option<Arc<Identity>>,
    pub(crate) impersonated: Option<Arc<Identity>>,
    pub(crate) status: Option<ResponseStatus>,
    /// Why the proxy refused it, or what ended it early.
    pub(crate) reason: Option<String>,
    pub(crate) request_object: Option<CapturedBody>,
    pub(crate) response_object: Option<CapturedBody>,
    pub(crate) omit_managed_fields: bool,
}

/// What the client was told.
#[derive(Clone, Debug, Default)]
pub(crate) struct ResponseStatus {
    pub(crate) code: Option<u16>,
    pub(crate) status: Option<&'static str>,
    pub(crate) message: Option<String>,
    pub(crate) reason: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    kind: &'static str,
    api_version: &'static str,
    level: AuditLevel,
    #[serde(rename = "auditID")]
    audit_id: &'a str,
    stage: AuditStage,
    #[serde(rename = "requestURI")]
    request_uri: Cow<'a, str>,
    verb: &'a str,
    user: UserInfo<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    impersonated_user: Option<UserInfo<'a>>,
    #[serde(rename = "sourceIPs")]
    source_ips: [String; 1],
    #[serde(skip_serializing_if = "str::is_empty")]
    user_agent: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object_ref: Option<ObjectRef<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_status: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_object: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_object: Option<Value>,
    request_received_timestamp: String,
    stage_timestamp: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'static str, String>,
}

#[derive(Default, Serialize)]
struct UserInfo<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    username: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    groups: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extra: BTreeMap<&'a str, &'a [String]>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ObjectRef<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    resource: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    namespace: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    api_group: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    api_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_version: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    subresource: &'a str,
}

impl AuditEvent {
    /// About as many bytes as it takes.
    pub(crate) fn size(&self) -> usize {
        let identity = |identity: &Option<Arc<Identity>>| {
            identity.as_ref().map_or(0, |identity| identity.size())
        };
        let body = |body: &Option<CapturedBody>| body.as_ref().map_or(0, CapturedBody::len);
        512 + self.request.size()
            + identity(&self.user)
            + identity(&self.impersonated)
            + body(&self.request_object)
            + body(&self.response_object)
    }

    /// One line of JSON, with its end.
    pub(crate) fn to_line(&self) -> String {
        to_line(&self.event())
    }

    fn event(&self) -> Event<'_> {
        let mut annotations = BTreeMap::new();
        if let Some(reason) = &self.reason {
            annotations.insert("oidcproxy.dev/reason", reason.clone());
        }
        let mut object = |body: &Option<CapturedBody>, wanted: AuditLevel, name: &'static str| {
            let body = body.as_ref().filter(|_| self.level >= wanted);
            match body?.object(self.omit_managed_fields)? {
                Ok(object) => Some(object),
                Err(reason) => {
                    annotations.insert(name, reason.to_owned());
                    None
                }
            }
        };
        let request_object = object(
            &self.request_object,
            AuditLevel::Request,
            "oidcproxy.dev/request-object-omitted",
        );
        let response_object = object(
            &self.response_object,
            AuditLevel::RequestResponse,
            "oidcproxy.dev/response-object-omitted",
        );
        Event {
            kind: "Event",
            api_version: API_VERSION,
            level: self.level,
            audit_id: self.request.audit_id.as_str(),
            stage: self.stage,
            request_uri: self.request.shown_target(),
            verb: &self.attributes.verb,
            user: self.user.as_deref().map(user_info).unwrap_or_default(),
            impersonated_user: self.impersonated.as_deref().map(user_info),
            source_ips: [self.request.peer.to_string()],
            user_agent: user_agent(&self.request.user_agent),
            object_ref: self.object_ref(),
            response_status: self.response_status(),
            request_object,
            response_object,
            request_received_timestamp: micro_time(self.request.received),
            stage_timestamp: micro_time(self.at),
            annotations,
        }
    }

    /// What the path does not say, the object does.
    fn object_ref(&self) -> Option<ObjectRef<'_>> {
        let object = self.attributes.resource.as_ref()?;
        let sent = self.request_object.as_ref();
        let sent = sent.and_then(|body| body.object(false)?.ok());
        let told = |field: &str| -> Option<String> {
            let value = sent.as_ref()?.get("metadata")?.get(field)?.as_str()?;
            Some(value.to_owned()).filter(|value| !value.is_empty())
        };
        let or_told = |known: &'_ str, field: &str| match told(field) {
            Some(value) if known.is_empty() => Cow::Owned(value),
            _ => Cow::Owned(known.to_owned()),
        };
        Some(ObjectRef {
            resource: &object.resource,
            namespace: or_told(&object.namespace, "namespace"),
            name: or_told(&object.name, "name"),
            uid: told("uid"),
            api_group: &object.group,
            api_version: &object.version,
            resource_version: told("resourceVersion"),
            subresource: &object.subresource,
        })
    }

    /// With what kube-apiserver's answer says, if it is a `Status`.
    fn response_status(&self) -> Option<Value> {
        let known = self.status.as_ref()?;
        let mut status = json!({"metadata": {}});
        let fields = status.as_object_mut()?;
        let mut add = |name: &str, value: Value| fields.insert(name.to_owned(), value);
        let body = self.response_object.as_ref();
        let told = body.and_then(|body| body.object(false)?.ok());
        if let Some(told) = told.filter(|told| told["kind"] == "Status") {
            for field in ["status", "message", "reason", "details"] {
                if let Some(value) = told.get(field).filter(|value| !value.is_null()) {
                    add(field, value.clone());
                }
            }
        }
        if let Some(text) = known.status {
            add("status", text.into());
        }
        if let Some(message) = &known.message {
            add("message", message.as_str().into());
        }
        if let Some(reason) = known.reason {
            add("reason", reason.into());
        }
        if let Some(code) = known.code {
            add("code", code.into());
        }
        Some(status)
    }
}

/// Many events as one `EventList`.
pub(crate) fn event_list(events: &[Arc<AuditEvent>]) -> Result<Vec<u8>, serde_json::Error> {
    let items: Vec<_> = events.iter().map(|event| event.event()).collect();
    serde_json::to_vec(
        &json!({"kind": "EventList", "apiVersion": API_VERSION, "metadata": {}, "items": items}),
    )
}

fn user_info(identity: &Identity) -> UserInfo<'_> {
    UserInfo {
        username: &identity.username,
        uid: identity.uid.as_deref(),
        groups: &identity.groups,
        extra: identity
            .extra
            .iter()
            .map(|(key, values)| (key.as_str(), values.as_slice()))
            .collect(),
    }
}

fn user_agent(agent: &str) -> Cow<'_, str> {
    if agent.len() <= MAX_USER_AGENT {
        return Cow::Borrowed(agent);
    }
    let end = agent.floor_char_boundary(MAX_USER_AGENT);
    Cow::Owned(format!(
        "{}...TRUNCATED",
        agent.get(..end).unwrap_or_default()
    ))
}

#[cfg(test)]
pub(super) mod tests {
    use http::{HeaderMap, Method};

    use super::*;
    use crate::audit::{
        capture::Capture,
        classic::tests::{access_line, jane},
    };

    /// The end of a request that was answered with 200.
    pub(in crate::audit) fn event() -> AuditEvent {
        let request = access_line().request;
        AuditEvent {
            level: AuditLevel::Metadata,
            stage: AuditStage::ResponseComplete,
            at: "2026-01-07T09:12:44.5Z".parse().unwrap(),
            attributes: Arc::new(Attributes::of(&Method::GET, &request.target)),
            request,
            user: Some(Arc::new(jane())),
            impersonated: None,
            status: Some(ResponseStatus {
                code: Some(200),
                ..ResponseStatus::default()
            }),
            reason: None,
            request_object: None,
            response_object: None,
            omit_managed_fields: false,
        }
    }

    fn captured(value: &Value) -> CapturedBody {
        let capture = Capture::of(&HeaderMap::new(), &Arc::default());
        capture.add(value.to_string().as_bytes());
        capture.take()
    }

    #[test]
    fn an_event_is_one_line_of_audit_k8s_io() {
        let event = event();
        let line = event.to_line();
        assert_eq!(line.matches('\n').count(), 1);
        let found: Value = serde_json::from_str(&line).unwrap();
        let expected = json!({
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": "Metadata",
            "auditID": event.request.audit_id.as_str(),
            "stage": "ResponseComplete",
            "requestURI": "/api/v1/pods?limit=500",
            "verb": "list",
            "user": {"username": "jane", "groups": ["dev", "system:authenticated"], "extra": {"k": ["v", "w"]}},
            "sourceIPs": ["10.1.2.3"],
            "userAgent": "kubectl/v1.36.3",
            "objectRef": {"resource": "pods", "apiVersion": "v1"},
            "responseStatus": {"metadata": {}, "code": 200},
            "requestReceivedTimestamp": micro_time(event.request.received),
            "stageTimestamp": "2026-01-07T09:12:44.500000Z",
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn levels_decide_which_objects_are_there() {
        let status = json!({"kind": "Status", "status": "Failure", "message": "no", "reason": "Forbidden", "details": {"kind": "pods"}, "code": 403});
        for (level, objects) in [
            (AuditLevel::Metadata, (false, false)),
            (AuditLevel::Request, (true, false)),
            (AuditLevel::RequestResponse, (true, true)),
        ] {
            let mut event = event();
            event.level = level;
            event.request_object = Some(captured(&json!({"kind": "Pod"})));
            event.response_object = Some(captured(&status));
            event.status = Some(ResponseStatus {
                code: Some(403),
                ..ResponseStatus::default()
            });
            let found: Value = serde_json::from_str(&event.to_line()).unwrap();
            let there = |name: &str| found.get(name).is_some();
            assert_eq!((there("requestObject"), there("responseObject")), objects);
            let expected = json!({"metadata": {}, "status": "Failure", "message": "no", "reason": "Forbidden", "details": {"kind": "pods"}, "code": 403});
            assert_eq!(found["responseStatus"], expected);
        }
    }

    #[test]
    fn what_is_left_out_is_said() {
        let mut event = event();
        event.level = AuditLevel::Request;
        let capture = Capture::of(&HeaderMap::new(), &Arc::default());
        capture.add(b"k8s\0");
        event.request_object = Some(capture.take());
        let found: Value = serde_json::from_str(&event.to_line()).unwrap();
        assert_eq!(
            found["annotations"],
            json!({"oidcproxy.dev/request-object-omitted": "it is not JSON"})
        );
    }
}
