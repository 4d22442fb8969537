//! How often somebody may do something.

use std::{
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use moka::sync::Cache;

/// Whoever is forgotten begins with a full second's worth, which a longer silence earns anyway.
const FORGOTTEN_AFTER: Duration = Duration::from_mins(1);
const MAX_KNOWN: u64 = 64 * 1024;

/// A rate for each key, with a burst of one second's worth.
#[derive(Debug)]
pub(crate) struct RateLimit<K: Eq + Hash + Send + Sync + 'static> {
    per_second: f64,
    buckets: Cache<K, Arc<Mutex<Bucket>>>,
}

#[derive(Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl<K: Clone + Eq + Hash + Send + Sync + 'static> RateLimit<K> {
    pub(crate) fn new(per_second: u32) -> Self {
        Self {
            per_second: f64::from(per_second.max(1)),
            buckets: Cache::builder()
                .max_capacity(MAX_KNOWN)
                .time_to_idle(FORGOTTEN_AFTER)
                .build(),
        }
    }

    /// Takes one, if there is one.
    pub(crate) fn take(&self, key: &K) -> bool {
        let bucket = self.buckets.get(key).unwrap_or_else(|| {
            let full = Bucket {
                left: self.per_second,
                at: Instant::now(),
            };
            self.buckets
                .get_with(key.clone(), || Arc::new(Mutex::new(full)))
        });
        self.refilled(&bucket, |bucket| {
            let allowed = bucket.left >= 1.0;
            if allowed {
                bucket.left -= 1.0;
            }
            allowed
        })
    }

    /// Whether there is one; nobody unknown is noted.
    pub(crate) fn has_left(&self, key: &K) -> bool {
        let known = self.buckets.get(key);
        known.is_none_or(|bucket| self.refilled(&bucket, |bucket| bucket.left >= 1.0))
    }

    fn refilled<T>(&self, bucket: &Mutex<Bucket>, then: impl FnOnce(&mut Bucket) -> T) -> T {
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let earned = now.saturating_duration_since(bucket.at).as_secs_f64() * self.per_second;
        bucket.left = (bucket.left + earned).min(self.per_second);
        bucket.at = now;
        then(&mut bucket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_burst_of_its_own() {
        let limit = RateLimit::new(3);
        let taken = (0..10).filter(|_| limit.take(&"alice")).count();
        assert!((3..=4).contains(&taken), "{taken}");
        assert!(!limit.has_left(&"alice"));
        assert!(limit.has_left(&"bob") && limit.take(&"bob"));
        std::thread::sleep(Duration::from_millis(500));
        assert!(limit.has_left(&"alice") && limit.take(&"alice"));
    }
}
