//! Which changes of the status people are told of.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use oidcproxy_crds::{OidcProxyStatus, v1alpha1::conditions as types};

use super::news::Note;

const ACTION: &str = "Reconcile";
/// What can be wrong while the rest goes on.
const ASIDE: [&str; 4] = [
    types::CERTIFICATE_READY,
    types::RBAC_READY,
    types::NETWORK_POLICY_APPLIED,
    types::ENDPOINT_READY,
];
/// False because somebody wants it so, or not yet.
const QUIET: [&str; 2] = ["Disabled", "EndpointPending"];
/// Not ready because something is on its way to the pods.
const UNDER_WAY: [&str; 3] = ["Progressing", "ProxiesNotCurrent", "DeploymentProgressing"];

/// What the later status says and the earlier one did not.
pub(super) fn between(before: &OidcProxyStatus, after: &OidcProxyStatus) -> Vec<Note> {
    let mut notes = Vec::new();
    let stalled = find(after, types::STALLED);
    if let Some(now) = stalled
        && find(before, types::STALLED).is_none_or(|then| !says_the_same(then, now))
    {
        notes.push(warning(now));
    }
    for type_ in ASIDE {
        let Some(now) = find(after, type_).filter(|now| is_fault(now)) else {
            continue;
        };
        let then = find(before, type_);
        let known = then.is_some_and(|then| is_fault(then) && then.reason == now.reason);
        // One that holds up everything has been told above.
        if !known && stalled.is_none_or(|stalled| stalled.reason != now.reason) {
            notes.push(warning(now));
        }
    }
    notes.extend(readiness(before, after));
    notes
}

fn readiness(before: &OidcProxyStatus, after: &OidcProxyStatus) -> Option<Note> {
    let now = find(after, types::READY)?;
    let was = find(before, types::READY).is_some_and(|then| then.status == "True");
    match (was, now.status == "True") {
        (false, true) => Some(Note::normal("Ready", ACTION, now.message.as_str())),
        // After a new spec it is what everybody expects.
        (true, false) if before.observed_generation == after.observed_generation => {
            let text = format!("no longer ready: {}: {}", now.reason, now.message);
            let is_under_way = UNDER_WAY.contains(&now.reason.as_str());
            Some(Note {
                warning: !is_under_way,
                ..Note::normal("NotReady", ACTION, text)
            })
        }
        _ => None,
    }
}

fn find<'a>(status: &'a OidcProxyStatus, type_: &str) -> Option<&'a Condition> {
    let mut all = status.conditions.iter();
    all.find(|condition| condition.type_ == type_)
}

fn is_fault(condition: &Condition) -> bool {
    condition.status == "False" && !QUIET.contains(&condition.reason.as_str())
}

fn says_the_same(one: &Condition, other: &Condition) -> bool {
    one.reason == other.reason && one.message == other.message
}

fn warning(condition: &Condition) -> Note {
    Note::warning(condition.reason.clone(), ACTION, condition.message.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn status(generation: i64, conditions: &[(&str, &str, &str, &str)]) -> OidcProxyStatus {
        let one = |&(type_, status, reason, message): &(&str, &str, &str, &str)| {
            json!({
                "type": type_, "status": status, "reason": reason, "message": message,
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            })
        };
        let all: Vec<Value> = conditions.iter().map(one).collect();
        serde_json::from_value(json!({"observedGeneration": generation, "conditions": all}))
            .unwrap()
    }

    fn told(before: &OidcProxyStatus, after: &OidcProxyStatus) -> Vec<(String, bool)> {
        let notes = between(before, after).into_iter();
        notes
            .map(|note| (note.reason.into_owned(), note.warning))
            .collect()
    }

    #[test]
    fn a_reason_to_be_stalled_is_told_once() {
        let none = OidcProxyStatus::default();
        let stalled = |message| {
            status(
                1,
                &[
                    ("Stalled", "True", "Conflict", message),
                    ("RBACReady", "False", "Conflict", message),
                ],
            )
        };
        let once = [("Conflict".to_owned(), true)];
        assert_eq!(told(&none, &stalled("a")), once);
        assert_eq!(told(&stalled("a"), &stalled("a")), []);
        assert_eq!(told(&stalled("a"), &stalled("b")), once);
        assert_eq!(told(&stalled("a"), &none), []);
    }

    #[test]
    fn faults_that_hold_up_nothing_are_told_too() {
        let none = OidcProxyStatus::default();
        for (type_, reason) in [
            ("ServingCertificateReady", "SecretNotFound"),
            ("RBACReady", "GrantMissing"),
            ("NetworkPolicyApplied", "APIEndpointsUnknown"),
            ("EndpointReady", "GatewayAPINotInstalled"),
        ] {
            let fault = |message| status(1, &[(type_, "False", reason, message)]);
            assert_eq!(told(&none, &fault("a")), [(reason.to_owned(), true)]);
            // Messages may carry times and numbers: the reason is what is new, or not.
            assert_eq!(told(&fault("a"), &fault("b")), []);
        }
        let quiet = status(1, &[("NetworkPolicyApplied", "False", "Disabled", "")]);
        assert_eq!(told(&none, &quiet), []);
    }

    #[test]
    fn readiness_that_is_lost_is_told() {
        let ready = status(1, &[("Ready", "True", "Ready", "")]);
        let lost = |generation, reason| status(generation, &[("Ready", "False", reason, "")]);
        assert_eq!(told(&lost(1, "x"), &ready), [("Ready".to_owned(), false)]);
        let failed = [("NotReady".to_owned(), true)];
        assert_eq!(told(&ready, &lost(1, "HandshakeFailed")), failed);
        let renewing = [("NotReady".to_owned(), false)];
        assert_eq!(told(&ready, &lost(1, "ProxiesNotCurrent")), renewing);
        assert_eq!(told(&ready, &lost(2, "Progressing")), []);
        assert_eq!(told(&lost(1, "a"), &lost(1, "b")), []);
    }
}
