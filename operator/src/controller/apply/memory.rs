//! What was applied, and what came of it: an object that is as we left it is not written again.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Mutex, PoisonError},
};

use kube::{Resource, ResourceExt as _};
use serde::Serialize;

type Key = (String, String, String);

#[derive(Debug, Eq, PartialEq)]
struct Entry {
    desired: u64,
    resource_version: String,
}

/// What was applied, by kind, namespace and name. Lost on restart, which costs one idle write.
#[derive(Debug, Default)]
pub struct Memory(Mutex<HashMap<Key, Entry>>);

impl Memory {
    /// Whether the same was applied before and nobody has touched it since.
    pub fn is_current<K>(&self, desired: &K, current: &K) -> bool
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        let entry = Entry::of(desired, current);
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entry.is_some() && all.get(&key(desired)) == entry.as_ref()
    }

    /// Takes down what was applied.
    pub fn remember<K>(&self, desired: &K, applied: &K)
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match Entry::of(desired, applied) {
            Some(entry) => all.insert(key(desired), entry),
            None => all.remove(&key(desired)),
        };
    }
}

impl Entry {
    fn of<K>(desired: &K, stored: &K) -> Option<Self>
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        let mut hasher = DefaultHasher::new();
        serde_json::to_string(desired).ok()?.hash(&mut hasher);
        Some(Self {
            desired: hasher.finish(),
            resource_version: stored.resource_version()?,
        })
    }
}

fn key<K: Resource<DynamicType = ()>>(object: &K) -> Key {
    (
        K::kind(&()).into_owned(),
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
}
