//! New images are rolled out one `OidcProxy` at a time: should one not work, it is met by the users of
//! one proxy and not of all. What is in turn is known to this process alone; one that begins anew in
//! between may roll out a second one.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::api::apps::v1::Deployment;

/// As long as a turn lasts at most: a rollout that is stuck holds up the others for so long, as a
/// Deployment is given before it counts as stuck.
const LONGEST: Duration = Duration::from_mins(10);

/// Whose rollout is under way.
#[derive(Debug, Default)]
pub struct Turns(Mutex<Option<Turn>>);

#[derive(Debug)]
struct Turn {
    uid: String,
    since: Instant,
}

impl Turns {
    /// Whether this owner's Deployment has to wait before it becomes as desired.
    pub(super) fn holds_back(
        &self,
        uid: &str,
        desired: &Deployment,
        current: &Deployment,
        now: Instant,
    ) -> bool {
        if image(desired) == image(current) {
            if is_rolled_out(current) {
                self.end(uid);
            }
            return false;
        }
        // Where nobody is served there is nothing to be careful with, and it may be the remedy.
        is_available(current) && !self.admits(uid, now)
    }

    /// The rollout is done, or its owner gone.
    pub fn end(&self, uid: &str) {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|turn| turn.uid == uid) {
            *current = None;
        }
    }

    /// Takes the turn, if nobody else has it.
    fn admits(&self, uid: &str, now: Instant) -> bool {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = &*current {
            if turn.uid == uid {
                return true;
            }
            if now.saturating_duration_since(turn.since) < LONGEST {
                return false;
            }
        }
        *current = Some(Turn {
            uid: uid.to_owned(),
            since: now,
        });
        true
    }
}

fn image(deployment: &Deployment) -> Option<&str> {
    let pod = deployment.spec.as_ref()?.template.spec.as_ref()?;
    pod.containers.first()?.image.as_deref()
}

fn is_available(deployment: &Deployment) -> bool {
    let status = deployment.status.as_ref();
    let mut conditions = status
        .iter()
        .flat_map(|status| &status.conditions)
        .flatten();
    conditions.any(|condition| condition.type_ == "Available" && condition.status == "True")
}

/// Every pod is a new one and available, and no old one is left.
fn is_rolled_out(deployment: &Deployment) -> bool {
    let Some(status) = &deployment.status else {
        return false;
    };
    let spec = deployment.spec.as_ref();
    let wanted = spec.and_then(|spec| spec.replicas).unwrap_or(1);
    status.observed_generation >= deployment.metadata.generation
        && status.replicas == Some(wanted)
        && status.updated_replicas == Some(wanted)
        && status.available_replicas == Some(wanted)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn deployment(image: &str, status: &Value) -> Deployment {
        serde_json::from_value(json!({
            "metadata": {"generation": 2},
            "spec": {
                "replicas": 2, "selector": {},
                "template": {"spec": {"containers": [{"name": "proxy", "image": image}]}},
            },
            "status": status,
        }))
        .unwrap()
    }

    fn status(generation: i64, updated: i32) -> Value {
        json!({
            "observedGeneration": generation, "replicas": 2, "updatedReplicas": updated, "availableReplicas": 2,
            "conditions": [{"type": "Available", "status": "True"}],
        })
    }

    #[test]
    fn one_after_the_other() {
        let (old, new) = (
            deployment("proxy:1", &status(2, 2)),
            deployment("proxy:2", &Value::Null),
        );
        let (turns, now) = (Turns::default(), Instant::now());
        assert!(!turns.holds_back("a", &new, &old, now));
        assert!(!turns.holds_back("a", &new, &old, now), "it has the turn");
        assert!(turns.holds_back("b", &new, &old, now));
        for unfinished in [status(1, 2), status(2, 1), json!({})] {
            let rolling = deployment("proxy:2", &unfinished);
            assert!(!turns.holds_back("a", &new, &rolling, now));
            assert!(turns.holds_back("b", &new, &old, now));
        }
        // Somebody else's end is not this one's.
        let done = deployment("proxy:2", &status(2, 2));
        assert!(!turns.holds_back("c", &new, &done, now));
        assert!(turns.holds_back("b", &new, &old, now));
        assert!(!turns.holds_back("a", &new, &done, now));
        assert!(!turns.holds_back("b", &new, &old, now));
        turns.end("b");
        assert!(!turns.holds_back("c", &new, &old, now));
    }

    #[test]
    fn neither_a_stuck_one_nor_a_broken_one_waits_for_ever() {
        let (old, new) = (
            deployment("proxy:1", &status(2, 2)),
            deployment("proxy:2", &Value::Null),
        );
        let (turns, now) = (Turns::default(), Instant::now());
        assert!(!turns.holds_back("a", &new, &old, now));
        let broken = deployment("proxy:1", &json!({"observedGeneration": 2}));
        assert!(!turns.holds_back("b", &new, &broken, now));
        let later = now + LONGEST.saturating_sub(Duration::from_secs(1));
        assert!(turns.holds_back("b", &new, &old, later));
        assert!(!turns.holds_back("b", &new, &old, now + LONGEST));
        assert!(turns.holds_back("a", &new, &old, now + LONGEST));
    }
}
