//! How often the status follows what is only observed. Counts of pods and states of issuers may go
//! back and forth with every look, for all objects at once when an issuer of all falters: each
//! write is read by every proxy and every watch there is. So what changes nothing else is said at
//! most every ten seconds of one object; the last word is always said in the end.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use oidcproxy_crds::v1alpha1::{OidcProxyStatus, conditions as types};

/// Between writes of one object's status that say nothing but what was observed.
const PAUSE: Duration = Duration::from_secs(10);
/// With many objects longer, by this much for each: ten such writes a second at most, of all together.
const SHARE: Duration = Duration::from_millis(100);

/// Conditions that come and go with what others do. Nobody has to be told at once, unless `Ready` or
/// `Serving` go with them.
const FICKLE: [&str; 2] = [types::ISSUERS_REACHABLE, types::DEPLOYMENT_AVAILABLE];

/// When each object's status was written last, by UID.
#[derive(Debug, Default)]
pub struct Damper(Mutex<HashMap<String, Instant>>);

impl Damper {
    /// How long the next status has to wait; nothing if it may be written now.
    pub(super) fn holds_back(
        &self,
        uid: &str,
        stored: &OidcProxyStatus,
        next: &OidcProxyStatus,
        now: Instant,
    ) -> Option<Duration> {
        if !is_only_observed(stored, next) {
            return None;
        }
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let share = SHARE.saturating_mul(u32::try_from(all.len()).unwrap_or(u32::MAX));
        let since = now.saturating_duration_since(*all.get(uid)?);
        let rest = PAUSE.max(share).saturating_sub(since);
        (!rest.is_zero()).then_some(rest)
    }

    /// It was written.
    pub(super) fn note(&self, uid: &str, now: Instant) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(uid.to_owned(), now);
    }

    /// It is gone.
    pub(in crate::controller) fn forget(&self, uid: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(uid);
    }

    /// Only these are left.
    pub(in crate::controller) fn retain(&self, uids: &BTreeSet<String>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|uid, _| uids.contains(uid));
    }
}

/// Whether only what is observed differs. Reasons and messages of a condition may wait as well.
fn is_only_observed(stored: &OidcProxyStatus, next: &OidcProxyStatus) -> bool {
    // No `..`: of a new field somebody has to say what it is.
    let OidcProxyStatus {
        observed_generation,
        conditions: _,
        settings,
        issuers: _,
        endpoint,
        ca_bundle,
        certificate,
        replicas: _,
        selector,
    } = stored;
    *observed_generation == next.observed_generation
        && *settings == next.settings
        && *endpoint == next.endpoint
        && *ca_bundle == next.ca_bundle
        && *certificate == next.certificate
        && *selector == next.selector
        && firm_conditions(stored) == firm_conditions(next)
}

fn firm_conditions(status: &OidcProxyStatus) -> BTreeSet<(&str, &str)> {
    let all = status.conditions.iter();
    all.map(|condition| (condition.type_.as_str(), condition.status.as_str()))
        .filter(|(type_, _)| !FICKLE.contains(type_))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn status(ready: &str, issuers: &str, current: i32) -> OidcProxyStatus {
        let condition = |type_: &str, status: &str| {
            json!({
                "type": type_, "status": status, "reason": "R", "message": current.to_string(),
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            })
        };
        let all: Vec<Value> = vec![
            condition("Ready", ready),
            condition("IssuersReachable", issuers),
        ];
        serde_json::from_value(json!({
            "observedGeneration": 1, "conditions": all,
            "replicas": {"desired": 2, "ready": 2, "current": current},
        }))
        .unwrap()
    }

    #[test]
    fn what_is_observed_waits_and_ready_does_not() {
        let (damper, now) = (Damper::default(), Instant::now());
        let stored = status("True", "True", 2);
        let flapped = status("True", "False", 1);
        assert_eq!(damper.holds_back("a", &stored, &flapped, now), None);
        damper.note("a", now);
        let soon = now + Duration::from_secs(4);
        assert_eq!(
            damper.holds_back("a", &stored, &flapped, soon),
            Some(Duration::from_secs(6))
        );
        assert_eq!(damper.holds_back("b", &stored, &flapped, soon), None);
        assert_eq!(damper.holds_back("a", &stored, &flapped, now + PAUSE), None);
        let lost = status("False", "False", 1);
        assert_eq!(damper.holds_back("a", &stored, &lost, soon), None);
        let mut newer = flapped.clone();
        newer.observed_generation = Some(2);
        assert_eq!(damper.holds_back("a", &stored, &newer, soon), None);
        let mut renewed = flapped;
        renewed.endpoint = Some("https://k8s.example.com".to_owned());
        assert_eq!(damper.holds_back("a", &stored, &renewed, soon), None);
    }

    #[test]
    fn many_objects_wait_longer() {
        let (damper, now) = (Damper::default(), Instant::now());
        (0..1000).for_each(|index| damper.note(&index.to_string(), now));
        let (stored, flapped) = (status("True", "True", 2), status("True", "True", 1));
        let wait = |damper: &Damper| damper.holds_back("7", &stored, &flapped, now);
        assert_eq!(wait(&damper), Some(Duration::from_secs(100)));
        damper.retain(&["7".to_owned()].into());
        assert_eq!(wait(&damper), Some(PAUSE));
        damper.forget("7");
        assert_eq!(wait(&damper), None);
    }
}
