//! Whether somebody else has written into what is ours.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;

use crate::controller::identity::MANAGER;

/// The data differ, and we no longer own them: an edit takes the field's ownership along.
pub(super) fn is_edited(current: &ConfigMap, desired: &ConfigMap) -> bool {
    let data = |map: &ConfigMap| map.data.clone().unwrap_or_default();
    let (now, wanted) = (data(current), data(desired));
    wanted.iter().any(|(key, value)| {
        let field = format!("f:{key}");
        let owned = current.managed_fields().iter().any(|entry| {
            entry.manager.as_deref() == Some(MANAGER)
                && entry
                    .fields_v1
                    .as_ref()
                    .and_then(|fields| fields.0.get("f:data"))
                    .is_some_and(|data| data.get(&field).is_some())
        });
        now.get(key) != Some(value) && !owned
    })
}
