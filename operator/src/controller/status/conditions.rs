//! Conditions by the rules: a time only moves when the status flips, `Reconciling` and `Stalled`
//! are there only while true.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

use super::ready::Verdict;
use crate::controller::refusal::truncated;

/// The conditions of one pass.
pub(super) struct Conditions<'a> {
    previous: &'a [Condition],
    next: Vec<Condition>,
    generation: i64,
    now: Timestamp,
}

impl<'a> Conditions<'a> {
    pub(super) fn new(previous: &'a [Condition], generation: i64, now: Timestamp) -> Self {
        Self {
            previous,
            next: Vec::new(),
            generation,
            // Whole seconds, as Kubernetes writes times: what is stored is what was sent.
            now: Timestamp::from_second(now.as_second()).unwrap_or(now),
        }
    }

    /// True, false, or unknown.
    pub(super) fn set(&mut self, type_: &str, status: Option<bool>, reason: &str, message: &str) {
        let status = match status {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        };
        let since = self
            .before(type_)
            .filter(|condition| condition.status == status)
            .map_or(Time(self.now), |condition| {
                condition.last_transition_time.clone()
            });
        self.next.push(Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            // Whoever it comes from: the whole status is refused for one that is too long.
            message: truncated(message.to_owned()),
            last_transition_time: since,
            observed_generation: Some(self.generation),
        });
    }

    /// What this pass has to say, or as it was before.
    pub(super) fn say(&mut self, type_: &str, verdict: Option<Verdict>) {
        match verdict {
            Some(said) => self.set(type_, said.status, &said.reason, &said.message),
            None => self.keep(type_),
        }
    }

    /// As it was before; unknown if it was not there.
    pub(super) fn keep(&mut self, type_: &str) {
        match self.before(type_).cloned() {
            Some(condition) => self.next.push(condition),
            None => self.set(type_, None, "Pending", "not looked at yet"),
        }
    }

    pub(super) fn finish(self) -> Vec<Condition> {
        self.next
    }

    fn before(&self, type_: &str) -> Option<&Condition> {
        self.previous
            .iter()
            .find(|condition| condition.type_ == type_)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn one(previous: &[Condition], status: bool, second: i64) -> Vec<Condition> {
        let mut conditions = Conditions::new(previous, second, at(second));
        conditions.set("Ready", Some(status), "Because", "so");
        conditions.finish()
    }

    #[test]
    fn the_time_moves_when_the_status_flips() {
        let first = one(&[], false, 1);
        let second = one(&first, false, 2);
        assert_eq!(second[0].last_transition_time, Time(at(1)));
        assert_eq!(second[0].observed_generation, Some(2));
        let third = one(&second, true, 3);
        assert_eq!(third[0].last_transition_time, Time(at(3)));
    }

    #[test]
    fn a_message_is_as_long_as_the_schema_allows() {
        let mut conditions = Conditions::new(&[], 1, at(1));
        conditions.set("Ready", None, "Because", &"x".repeat(100_000));
        assert_eq!(conditions.finish()[0].message.len(), 1024);
    }

    #[test]
    fn what_was_not_looked_at_is_unknown() {
        let mut conditions = Conditions::new(&[], 1, at(1));
        conditions.keep("Serving");
        assert_eq!(conditions.finish()[0].status, "Unknown");
        let before = one(&[], true, 1);
        let mut conditions = Conditions::new(&before, 2, at(2));
        conditions.keep("Ready");
        assert_eq!(conditions.finish(), before);
    }
}
