//! What was applied, and what came of it: an object that is as we left it is not written again.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Mutex, PoisonError},
};

use kube::{Resource, ResourceExt};
use serde::Serialize;

type Key = (String, String, String);

#[derive(Debug, Eq, PartialEq)]
struct Entry {
    desired: u64,
    resource_version: String,
}

/// What was applied, by kind, namespace and name. Lost on restart, which costs one idle write.
#[derive(Debug, Default)]
pub struct Memory(Mutex<Content>);

/// A [`Memory`] for each owner, by its UID.
#[derive(Debug, Default)]
pub struct Memories(Mutex<HashMap<String, Arc<Memory>>>);

impl Memories {
    /// What was applied for this owner.
    pub fn of(&self, uid: &str) -> Arc<Memory> {
        self.with(|all| Arc::clone(all.entry(uid.to_owned()).or_default()))
    }

    /// The owner is gone.
    pub fn forget(&self, uid: &str) {
        self.with(|all| all.remove(uid));
    }

    /// Only these owners are left.
    pub fn retain(&self, uids: &BTreeSet<String>) {
        self.with(|all| all.retain(|uid, _| uids.contains(uid)));
    }

    fn with<T>(&self, change: impl FnOnce(&mut HashMap<String, Arc<Memory>>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[derive(Debug, Default)]
struct Content {
    applied: HashMap<Key, Entry>,
    /// Children that were looked for in vain, or removed. They only come from here.
    absent: HashSet<Key>,
}

impl Memory {
    /// Whether the same was applied before and nobody has touched it since.
    pub fn is_current<K>(&self, desired: &K, current: &K) -> bool
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        self.is_same(&K::kind(&()), desired, current)
    }

    /// Takes down what was applied.
    pub fn remember<K>(&self, desired: &K, applied: &K)
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        self.take_down(&K::kind(&()), desired, applied);
    }

    /// Whether this child is known not to be there.
    pub fn is_absent<K: Resource<DynamicType = ()>>(&self, namespace: &str, name: &str) -> bool {
        self.is_absent_kind(&K::kind(&()), namespace, name)
    }

    /// This child is not there.
    pub fn note_absence<K: Resource<DynamicType = ()>>(&self, namespace: &str, name: &str) {
        self.note_absence_of(&K::kind(&()), namespace, name);
    }

    pub(super) fn is_same<K>(&self, kind: &str, desired: &K, current: &K) -> bool
    where
        K: ResourceExt + Serialize,
    {
        let entry = Entry::of(desired, current);
        entry.is_some() && self.with(|all| all.applied.get(&key(kind, desired)) == entry.as_ref())
    }

    pub(super) fn take_down<K>(&self, kind: &str, desired: &K, applied: &K)
    where
        K: ResourceExt + Serialize,
    {
        let key = key(kind, desired);
        self.with(|all| {
            all.absent.remove(&key);
            match Entry::of(desired, applied) {
                Some(entry) => all.applied.insert(key, entry),
                None => all.applied.remove(&key),
            }
        });
    }

    pub(super) fn is_absent_kind(&self, kind: &str, namespace: &str, name: &str) -> bool {
        let key = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        self.with(|all| all.absent.contains(&key))
    }

    pub(super) fn note_absence_of(&self, kind: &str, namespace: &str, name: &str) {
        let key = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        self.with(|all| {
            all.applied.remove(&key);
            all.absent.insert(key);
        });
    }

    /// Before something is made: should that fail half-way, it is looked for again.
    pub(super) fn forget_absence(&self, kind: &str, namespace: &str, name: &str) {
        let key = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        self.with(|all| all.absent.remove(&key));
    }

    fn with<T>(&self, change: impl FnOnce(&mut Content) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Entry {
    fn of<K>(desired: &K, stored: &K) -> Option<Self>
    where
        K: ResourceExt + Serialize,
    {
        let mut hasher = DefaultHasher::new();
        serde_json::to_string(desired).ok()?.hash(&mut hasher);
        Some(Self {
            desired: hasher.finish(),
            resource_version: stored.resource_version()?,
        })
    }
}

fn key<K: ResourceExt>(kind: &str, object: &K) -> Key {
    (
        kind.to_owned(),
        object.namespace().unwrap_or_default(),
        object.name_any(),
    )
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn map(value: &str, version: &str) -> ConfigMap {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "a", "namespace": "b", "resourceVersion": version},
            "data": {"k": value},
        }))
        .unwrap()
    }

    #[test]
    fn a_change_on_either_side_is_noticed() {
        let memory = Memory::default();
        let desired = map("x", "");
        assert!(!memory.is_current(&desired, &map("x", "1")));
        memory.remember(&desired, &map("x", "1"));
        assert!(memory.is_current(&desired, &map("x", "1")));
        assert!(!memory.is_current(&desired, &map("y", "2")));
        assert!(!memory.is_current(&map("z", ""), &map("x", "1")));
    }

    #[test]
    fn what_is_made_is_no_longer_absent() {
        let memory = Memory::default();
        assert!(!memory.is_absent::<ConfigMap>("b", "a"));
        memory.note_absence::<ConfigMap>("b", "a");
        assert!(memory.is_absent::<ConfigMap>("b", "a"));
        memory.remember(&map("x", ""), &map("x", "1"));
        assert!(!memory.is_absent::<ConfigMap>("b", "a"));
        memory.note_absence::<ConfigMap>("b", "a");
        memory.forget_absence("ConfigMap", "b", "a");
        assert!(!memory.is_absent::<ConfigMap>("b", "a"));
    }
}
