//! Tells a Prometheus operator to read the pods' metrics.

use kube::core::{ApiResource, DynamicObject};
use serde_json::json;

use super::ADMIN;
use crate::controller::resolve::Resolved;

/// The monitor, if it is asked for.
pub fn pod_monitor(
    resolved: &Resolved,
) -> Option<impl FnOnce(&ApiResource) -> DynamicObject + use<'_>> {
    let given = resolved.pod_monitor.as_ref()?;
    let identity = &resolved.identity;
    Some(move |resource: &ApiResource| {
        let mut endpoint = json!({"port": ADMIN, "path": "/metrics"});
        if let (Some(interval), Some(map)) = (&given.interval, endpoint.as_object_mut()) {
            map.insert("interval".to_owned(), json!(interval));
        }
        let spec = json!({
            "selector": {"matchLabels": identity.selector()},
            "podMetricsEndpoints": [endpoint],
        });
        let mut monitor =
            DynamicObject::new(&identity.name, resource).data(json!({ "spec": spec }));
        monitor.metadata = identity.child(&identity.name);
        let labels = monitor.metadata.labels.get_or_insert_default();
        for (key, value) in &given.labels {
            labels.entry(key.clone()).or_insert_with(|| value.clone());
        }
        monitor
    })
}

#[cfg(test)]
mod tests {
    use kube::core::GroupVersionKind;

    use super::*;
    use crate::controller::resolve::tests::resolved;

    #[test]
    fn the_pods_and_their_plain_port() {
        assert!(pod_monitor(&resolved(json!({}))).is_none());
        let spec = json!({"metrics": {"podMonitor": {"labels": {"release": "prometheus"}, "interval": "15s"}}});
        let resolved = resolved(spec);
        let kind = GroupVersionKind::gvk("monitoring.coreos.com", "v1", "PodMonitor");
        let resource = ApiResource::from_gvk_with_plural(&kind, "podmonitors");
        let monitor = pod_monitor(&resolved).unwrap()(&resource);
        let monitor = serde_json::to_value(monitor).unwrap();
        assert_eq!(monitor["apiVersion"], "monitoring.coreos.com/v1");
        assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
        assert_eq!(monitor["metadata"]["ownerReferences"][0]["uid"], "uid-1");
        assert_eq!(
            monitor["spec"],
            json!({
                "selector": {"matchLabels": {
                    "app.kubernetes.io/instance": "corp", "app.kubernetes.io/name": "oidc-proxy",
                }},
                "podMetricsEndpoints": [{"port": "admin", "path": "/metrics", "interval": "15s"}],
            })
        );
    }
}
