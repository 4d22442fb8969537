//! The JSON line: one object, without any character that a reader could take for the end of a
//! line.

use std::{borrow::Cow, collections::BTreeMap, fmt::Write as _};

use k8s_openapi::jiff::Timestamp;
use serde::Serialize;

use super::{
    access::{AccessEvent, AccessLine, Completion},
    classic::{bounded, is_unprintable},
};
use crate::identity::Identity;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    time: String,
    event: &'static str,
    decision: &'static str,
    #[serde(rename = "auditID")]
    audit_id: &'a str,
    source: Source<'a>,
    method: Cow<'a, str>,
    #[serde(rename = "requestURI")]
    request_uri: Cow<'a, str>,
    verb: &'a str,
    user_agent: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<User<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    impersonated_user: Option<User<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(flatten)]
    end: Option<End<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Source<'a> {
    peer: String,
    forwarded_for: Cow<'a, str>,
}

#[derive(Serialize)]
struct User<'a> {
    username: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<Cow<'a, str>>,
    groups: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extra: BTreeMap<Cow<'a, str>, Vec<Cow<'a, str>>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct End<'a> {
    bytes_in: u64,
    bytes_out: u64,
    duration_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Cow<'a, str>>,
}

/// One line, with its end.
pub(super) fn line(line: &AccessLine) -> String {
    let request = &line.request;
    let (event, status, end) = match &line.event {
        AccessEvent::Decided => ("decided", None, None),
        AccessEvent::Started { status } => ("started", Some(*status), None),
        AccessEvent::Completed(completion) => {
            ("completed", completion.status, Some(end(completion)))
        }
    };
    let line = Line {
        time: micro_time(line.at),
        event,
        decision: if line.is_admitted {
            "AuSuccess"
        } else {
            "AuFail"
        },
        audit_id: request.audit_id.as_str(),
        source: Source {
            peer: request.peer.to_string(),
            forwarded_for: cut(&request.forwarded_for),
        },
        method: cut(request.method.as_str()),
        request_uri: cut_owned(&request.shown_target()),
        verb: request.verb,
        user_agent: cut(&request.user_agent),
        user: line.inbound.as_deref().map(user),
        impersonated_user: line.outbound.as_deref().map(user),
        status,
        end,
    };
    to_line(&line)
}

fn end(completion: &Completion) -> End<'_> {
    End {
        bytes_in: completion.bytes_in,
        bytes_out: completion.bytes_out,
        // Microseconds: more digits would be noise.
        duration_seconds: (completion.duration.as_secs_f64() * 1e6).round() / 1e6,
        reason: completion.reason,
        message: completion.message.as_deref().map(cut),
    }
}

fn user(identity: &Identity) -> User<'_> {
    let all = |values: &'_ [String]| values.iter().map(|value| cut_owned(value)).collect();
    User {
        username: cut(&identity.username),
        uid: identity.uid.as_deref().map(cut),
        groups: identity.groups.iter().map(|group| cut(group)).collect(),
        extra: identity
            .extra
            .iter()
            .map(|(key, values)| (cut(key), all(values)))
            .collect(),
    }
}

fn cut_owned(value: &str) -> Cow<'static, str> {
    Cow::Owned(cut(value).into_owned())
}

/// As much of a value as a line holds.
fn cut(value: &str) -> Cow<'_, str> {
    match bounded(value) {
        (whole, true) => Cow::Borrowed(whole),
        (part, false) => Cow::Owned(format!("{part}...")),
    }
}

/// As Kubernetes writes times in audit events.
pub(super) fn micro_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// A value as one line. What JSON would leave as it is, but terminals and log readers take for the
/// end of a line or turn around, is escaped; it can only stand in strings.
pub(super) fn to_line<T: Serialize>(value: &T) -> String {
    let text = match serde_json::to_string(value) {
        Ok(text) => text,
        Err(error) => {
            tracing::error!(%error, "a line cannot be written");
            return String::new();
        }
    };
    let mut line = String::with_capacity(text.len() + 1);
    for character in text.chars() {
        if is_unprintable(character) {
            // All of them are in the basic plane; writing to a String cannot fail.
            let _ = write!(line, "\\u{:04x}", u32::from(character));
        } else {
            line.push(character);
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::audit::classic::tests::{access_line, jane};

    fn completed() -> AccessEvent {
        AccessEvent::Completed(Completion {
            status: Some(200),
            bytes_in: 12,
            bytes_out: 3456,
            duration: Duration::from_micros(12_345),
            reason: None,
            message: None,
        })
    }

    #[test]
    fn a_line_says_all_that_is_known() {
        let mut line = access_line();
        line.event = completed();
        line.inbound = Some(Arc::new(jane()));
        line.is_admitted = true;
        let found: Value = serde_json::from_str(&line.text()).unwrap();
        let expected = json!({
            "time": "2021-11-25T01:05:17.000000Z",
            "event": "completed",
            "decision": "AuSuccess",
            "auditID": line.request.audit_id.as_str(),
            "source": {"peer": "10.1.2.3", "forwardedFor": "203.0.113.9"},
            "method": "GET",
            "requestURI": "/api/v1/pods?limit=500",
            "verb": "list",
            "userAgent": "kubectl/v1.36.3",
            "user": {"username": "jane", "groups": ["dev", "system:authenticated"], "extra": {"k": ["v", "w"]}},
            "status": 200,
            "bytesIn": 12,
            "bytesOut": 3456,
            "durationSeconds": 0.012_345,
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn a_beginning_has_no_end() {
        let mut line = access_line();
        line.event = AccessEvent::Started { status: 101 };
        let found: Value = serde_json::from_str(&line.text()).unwrap();
        assert_eq!(
            (&found["event"], &found["status"]),
            (&json!("started"), &json!(101))
        );
        assert!(found.get("bytesIn").is_none());
    }

    proptest! {
        #[test]
        fn one_request_is_one_object(user in ".*", agent in ".*", target in ".*") {
            let mut line = access_line();
            line.event = completed();
            let mut jane = jane();
            jane.username.clone_from(&user);
            line.inbound = Some(Arc::new(jane));
            let mut request = (*line.request).clone();
            request.user_agent = agent;
            request.target = target;
            line.request = Arc::new(request);
            let text = line.text();
            prop_assert!(text.chars().filter(|character| is_unprintable(*character)).eq(['\n']));
            let found: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&found["user"]["username"], &json!(user));
        }
    }
}
