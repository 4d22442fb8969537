//! Who decides how many pods there are, when the spec does not.

use k8s_openapi::{
    api::autoscaling::v2::{
        CrossVersionObjectReference, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec,
        MetricIdentifier, MetricSpec, MetricTarget, PodsMetricSource, ResourceMetricSource,
    },
    apimachinery::pkg::api::resource::Quantity,
};

use crate::controller::resolve::{Resolved, Scaling};

/// What a proxy calls its open streams.
const STREAMS: &str = "oidc_proxy_streams_active";

pub(super) fn build(resolved: &Resolved) -> Option<HorizontalPodAutoscaler> {
    let Scaling::Automatic {
        min,
        max,
        cpu,
        streams,
    } = resolved.scaling
    else {
        return None;
    };
    let identity = &resolved.identity;
    let metrics = [cpu.map(by_cpu), streams.map(by_streams)];
    Some(HorizontalPodAutoscaler {
        metadata: identity.child(&identity.name),
        spec: Some(HorizontalPodAutoscalerSpec {
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some("apps/v1".into()),
                kind: "Deployment".into(),
                name: identity.name.clone(),
            },
            min_replicas: Some(min),
            max_replicas: max,
            metrics: Some(metrics.into_iter().flatten().collect()),
            behavior: None,
        }),
        status: None,
    })
}

fn by_cpu(percent: i32) -> MetricSpec {
    MetricSpec {
        type_: "Resource".into(),
        resource: Some(ResourceMetricSource {
            name: "cpu".into(),
            target: MetricTarget {
                type_: "Utilization".into(),
                average_utilization: Some(percent),
                ..MetricTarget::default()
            },
        }),
        ..MetricSpec::default()
    }
}

fn by_streams(count: i32) -> MetricSpec {
    MetricSpec {
        type_: "Pods".into(),
        pods: Some(PodsMetricSource {
            metric: MetricIdentifier {
                name: STREAMS.into(),
                selector: None,
            },
            target: MetricTarget {
                type_: "AverageValue".into(),
                average_value: Some(Quantity(count.to_string())),
                ..MetricTarget::default()
            },
        }),
        ..MetricSpec::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::controller::resolve::tests::resolved;

    #[test]
    fn only_when_asked_for() {
        assert!(build(&resolved(json!({}))).is_none());
        let spec = json!({"deployment": {"autoscaling": {
            "minReplicas": 3, "maxReplicas": 9, "targetCPUUtilization": 60, "targetStreams": 200,
        }}});
        let scaler = serde_json::to_value(build(&resolved(spec))).unwrap();
        assert_eq!(
            scaler["spec"],
            json!({
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "corp"},
                "minReplicas": 3, "maxReplicas": 9,
                "metrics": [
                    {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}},
                    {"type": "Pods", "pods": {
                        "metric": {"name": "oidc_proxy_streams_active"},
                        "target": {"type": "AverageValue", "averageValue": "200"},
                    }},
                ],
            })
        );
        assert_eq!(scaler["metadata"]["ownerReferences"][0]["uid"], "uid-1");
    }
}
