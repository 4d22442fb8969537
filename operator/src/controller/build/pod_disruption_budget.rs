//! How many pods may be away at a time. With a single pod a budget would only block drains.

use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use crate::controller::resolve::Resolved;

pub(super) fn build(resolved: &Resolved) -> Option<PodDisruptionBudget> {
    let identity = &resolved.identity;
    (resolved.scaling.least() > 1).then(|| PodDisruptionBudget {
        metadata: identity.child(&identity.name),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector {
                match_labels: Some(identity.selector()),
                ..LabelSelector::default()
            }),
            // A pod that never gets ready must not keep a node from being drained.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".into()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::controller::resolve::tests::resolved;

    #[test]
    fn only_with_more_than_one_pod() {
        assert!(build(&resolved(json!({"deployment": {"replicas": 1}}))).is_none());
        let budget = serde_json::to_value(build(&resolved(json!({})))).unwrap();
        assert_eq!(budget["spec"]["maxUnavailable"], 1);
        assert_eq!(
            budget["spec"]["selector"]["matchLabels"]["app.kubernetes.io/instance"],
            "corp"
        );
    }
}
