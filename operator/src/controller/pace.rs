//! How soon to look again.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Between looks at something that is as it should be.
pub(super) const STEADY: Duration = Duration::from_secs(30);
/// Between looks at an object of somebody else in our way: no watch tells of its end.
pub(super) const FOREIGN: Duration = Duration::from_secs(5);
/// The first look at something that is under way.
const QUICK: Duration = Duration::from_secs(1);
/// After somebody else was faster.
const CONFLICT: Duration = Duration::from_millis(500);
/// Whoever is faster this often in a row is not in a race: from then on it counts as a failure.
const RACES: u32 = 5;
/// The longest wait for something that is under way: a pod may need a minute for a new Secret.
const SLOW: Duration = Duration::from_secs(5);
/// With many objects the looks are spread out, by this much for each: children and endpoints report themselves, and a
/// pass costs the API server a score of reads. So looks at what is under way never take the place of first passes.
const SHARE_UNDER_WAY: Duration = Duration::from_millis(100);
/// The same for what is as it should be.
const SHARE_STEADY: Duration = Duration::from_millis(300);

#[derive(Debug, Default)]
struct Counts {
    waits: u32,
    failures: u32,
    conflicts: u32,
}

/// How often each object was not ready, or failed, in a row.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<HashMap<String, Counts>>);

impl Pace {
    /// Everything is fine, or nothing will change by itself: when to look again all the same.
    pub(super) fn settled(&self, uid: &str) -> Duration {
        let known = self.with(|all| {
            all.insert(uid.to_owned(), Counts::default());
            all.len()
        });
        STEADY.max(times(SHARE_STEADY, known))
    }

    /// It is gone.
    pub(super) fn forget(&self, uid: &str) {
        self.with(|all| all.remove(uid));
    }

    /// Only these are left.
    pub(super) fn retain(&self, uids: &BTreeSet<String>) {
        self.with(|all| all.retain(|uid, _| uids.contains(uid)));
    }

    /// Something is under way: when to look again.
    pub(super) fn not_ready(&self, uid: &str) -> Duration {
        let (waits, waiting) = self.with(|all| {
            let counts = all.entry(uid.to_owned()).or_default();
            (counts.failures, counts.conflicts) = (0, 0);
            counts.waits = counts.waits.saturating_add(1);
            let waits = counts.waits;
            let waiting = all.values().filter(|counts| counts.waits > 0).count();
            (waits, waiting)
        });
        // Pods get ready within seconds or not at all soon: ten quick looks, then slower.
        let alone = QUICK.saturating_mul(1 << (waits / 10).min(3)).min(SLOW);
        alone.max(times(SHARE_UNDER_WAY, waiting))
    }

    /// A pass has failed; `conflict` says that somebody else was faster.
    pub(super) fn failed(&self, uid: &str, conflict: bool) {
        self.with(|all| {
            let counts = all.entry(uid.to_owned()).or_default();
            if conflict {
                counts.conflicts = counts.conflicts.saturating_add(1);
            }
            if !conflict || counts.conflicts > RACES {
                counts.failures = counts.failures.saturating_add(1);
            }
        });
    }

    /// How many passes have failed in a row.
    pub(super) fn failures(&self, uid: &str) -> u32 {
        self.with(|all| all.get(uid).map_or(0, |counts| counts.failures))
    }

    /// When to try again after a failure.
    pub(super) fn after_error(&self, uid: &str, conflict: bool) -> Duration {
        let (failures, conflicts) = self.with(|all| {
            all.get(uid)
                .map_or((0, 0), |counts| (counts.failures, counts.conflicts))
        });
        if conflict && conflicts <= RACES {
            return CONFLICT;
        }
        let failures = failures.saturating_sub(1);
        QUICK.saturating_mul(1 << failures.min(6)).min(STEADY)
    }

    fn with<T>(&self, change: impl FnOnce(&mut HashMap<String, Counts>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn times(share: Duration, count: usize) -> Duration {
    share.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_start_anew() {
        let pace = Pace::default();
        assert_eq!(pace.not_ready("a"), QUICK);
        let last = (0..100).map(|_| pace.not_ready("a")).last();
        assert_eq!(last, Some(SLOW));
        pace.settled("a");
        assert_eq!(pace.not_ready("a"), QUICK);
    }

    #[test]
    fn many_objects_are_looked_at_less_often() {
        let pace = Pace::default();
        let under_way = (0..1000).map(|index| pace.not_ready(&index.to_string()));
        assert_eq!(under_way.last(), Some(Duration::from_secs(100)));
        assert_eq!(pace.settled("0"), Duration::from_mins(5));
        assert_eq!(pace.not_ready("1"), times(SHARE_UNDER_WAY, 999));
        (0..1000).for_each(|index| pace.forget(&index.to_string()));
        assert_eq!(pace.settled("a"), STEADY);
        assert_eq!(pace.not_ready("a"), QUICK);
    }

    #[test]
    fn failures_back_off_but_races_do_not() {
        let pace = Pace::default();
        pace.failed("a", false);
        assert_eq!(pace.after_error("a", false), QUICK);
        (0..10).for_each(|_| pace.failed("a", false));
        assert_eq!(pace.after_error("a", false), STEADY);
        assert_eq!(pace.after_error("a", true), CONFLICT);
        assert_eq!(pace.failures("b"), 0);
    }

    #[test]
    fn a_conflict_that_stays_is_no_race() {
        let pace = Pace::default();
        for _ in 0..RACES {
            pace.failed("a", true);
            assert_eq!(pace.after_error("a", true), CONFLICT);
        }
        assert_eq!(pace.failures("a"), 0);
        let waits: Vec<Duration> = (0..10)
            .map(|_| {
                pace.failed("a", true);
                pace.after_error("a", true)
            })
            .collect();
        assert_eq!(waits.first(), Some(&QUICK));
        assert_eq!(waits.last(), Some(&STEADY));
        pace.not_ready("a");
        pace.failed("a", true);
        assert_eq!(pace.after_error("a", true), CONFLICT);
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let pace = Pace::default();
        pace.failed("a", false);
        pace.failed("b", false);
        pace.retain(&["b".to_owned()].into());
        assert_eq!((pace.failures("a"), pace.failures("b")), (0, 1));
    }
}
