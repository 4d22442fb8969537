//! What is there under a child's name and is not ours is never written, whatever kind it is of.

use kube::{ResourceExt as _, api::PostParams};
use serde_json::{Value, json};

use crate::{
    bed::Bed,
    tools::{APPS, CORE, NETWORKING, POLICY, RBAC},
};

const NAMESPACE: &str = "t-conflicts";

/// For a child of `x`: group, kind, what follows the name, and what it has to have.
fn rows() -> Vec<(&'static str, &'static str, &'static str, Value)> {
    let selector = json!({"matchLabels": {"a": "b"}});
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "a"});
    let cluster_role =
        json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "a"});
    let template = json!({
        "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "a", "image": "a"}]},
    });
    let backend = json!({"service": {"name": "a", "port": {"number": 80}}});
    vec![
        (CORE, "ServiceAccount", "", json!({})),
        (RBAC, "ClusterRole", "", json!({"rules": []})),
        (
            RBAC,
            "ClusterRoleBinding",
            "",
            json!({ "roleRef": cluster_role }),
        ),
        (RBAC, "Role", "", json!({"rules": []})),
        (RBAC, "RoleBinding", "", json!({ "roleRef": role })),
        (
            NETWORKING,
            "NetworkPolicy",
            "",
            json!({"spec": {"podSelector": {}}}),
        ),
        (
            CORE,
            "Service",
            "",
            json!({"spec": {"ports": [{"port": 80}]}}),
        ),
        (CORE, "Secret", "-ca", json!({})),
        (CORE, "Secret", "-serving", json!({})),
        (
            CORE,
            "ConfigMap",
            "-trust",
            json!({"data": {"ca.crt": "theirs"}}),
        ),
        (
            CORE,
            "ConfigMap",
            "-kubeconfig",
            json!({"data": {"kubeconfig": "theirs"}}),
        ),
        (
            POLICY,
            "PodDisruptionBudget",
            "",
            json!({"spec": {"selector": selector}}),
        ),
        (
            APPS,
            "Deployment",
            "",
            json!({"spec": {"selector": selector, "template": template}}),
        ),
        (
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            "",
            json!({"spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"}}}),
        ),
        (
            NETWORKING,
            "Ingress",
            "",
            json!({"spec": {"defaultBackend": backend}}),
        ),
    ]
}

/// What asks for a child of this kind.
fn spec(kind: &str) -> Value {
    match kind {
        "HorizontalPodAutoscaler" => json!({"deployment": {"autoscaling": {"maxReplicas": 3}}}),
        "Ingress" => json!({
            "serving": {"hostnames": ["k8s.example.com"]},
            "exposure": {"ingress": {"annotations": {"example.com/passthrough": "true"}}},
        }),
        _ => json!({}),
    }
}

fn conflict<'a>(status: &'a Value, type_: &str) -> Option<&'a Value> {
    let conditions = status["conditions"].as_array()?;
    conditions
        .iter()
        .find(|condition| condition["type"] == type_ && condition["reason"] == "Conflict")
}

#[tokio::test]
async fn nothing_of_somebody_elses_is_written_whatever_kind_it_is_of() {
    let bed = Bed::new(NAMESPACE).await;
    let mut made = Vec::new();
    for (number, (group, kind, suffix, content)) in rows().into_iter().enumerate() {
        let owner = format!("c{number}");
        let name = if kind.starts_with("Cluster") {
            format!("oidcproxy:{NAMESPACE}:{owner}")
        } else {
            format!("{owner}{suffix}")
        };
        let mut object = content;
        object["metadata"] = json!({"name": name});
        object["apiVersion"] = json!(group);
        object["kind"] = json!(kind);
        let object = serde_json::from_value(object).unwrap();
        let api = bed.api(group, kind);
        let theirs = api.create(&PostParams::default(), &object).await.unwrap();
        bed.apply_named(&owner, spec(kind)).await;
        made.push((owner, group, kind, theirs));
    }
    for (owner, group, kind, theirs) in made {
        let name = theirs.name_any();
        let own = ("oidcproxy.dev/v1alpha1", "OidcProxy", owner.as_str());
        // A route from outside holds up nothing else.
        let type_ = if kind == "Ingress" {
            "EndpointReady"
        } else {
            "Stalled"
        };
        let told = bed
            .wait_object(own, |found| {
                found.is_some_and(|found| conflict(&found["status"], type_).is_some())
            })
            .await;
        let message = conflict(&told["status"], type_).unwrap()["message"].clone();
        let expected = format!("{kind} {name} exists and belongs to somebody else");
        assert_eq!(message, expected);
        let after = bed.api(group, kind).get(&name).await.unwrap();
        assert_eq!(
            after.resource_version(),
            theirs.resource_version(),
            "{kind}"
        );
    }
}
