//! Where nothing changes nothing is written, and a namespace that is no longer honoured.

use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use oidcproxy_tests::faulty_api::Asked;
use serde_json::json;
use tokio::time::sleep;

use crate::{
    bed::{Bed, KIND, RBAC, SOON},
    operator::Operator,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_passes_over_what_is_as_it_should_be_write_nothing() {
    let bed = Bed::new("f-steady").await;
    let operator = Operator::start(&bed);
    bed.apply("steady", "a.example.com").await;
    bed.wait_settled("steady", "at first").await;
    // As far as it gets without a node: available, and no pod behind the Service.
    let deployments: Api<Deployment> = Api::namespaced(bed.admin.clone(), bed.namespace);
    let available = json!({"status": {
        "observedGeneration": 1, "replicas": 2, "readyReplicas": 2, "availableReplicas": 2,
        "conditions": [{"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"}],
    }});
    let params = PatchParams::default();
    deployments
        .patch_status("steady", &params, &Patch::Merge(&available))
        .await
        .unwrap();
    bed.wait_condition("steady", "DeploymentAvailable", "True", "Available")
        .await;
    bed.wait_condition("steady", "Ready", "False", "NoReadyPods")
        .await;
    sleep(Duration::from_secs(1)).await;

    let before = bed.versions("steady").await.unwrap();
    let (from, first) = (Instant::now(), operator.passes());
    while operator.passes() < first + 10 {
        assert!(
            from.elapsed() < SOON,
            "{} passes",
            operator.passes() - first
        );
        sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(bed.versions("steady").await.unwrap(), before);
    let seen = bed.api.seen();
    let late = seen.iter().filter(|asked| asked.at >= from);
    let written: Vec<&Asked> = late.filter(|asked| asked.is_write()).collect();
    assert!(written.is_empty(), "{written:?}");
    bed.remove("steady").await;
    let deadline = Instant::now() + SOON;
    while operator.metrics.encode().contains("name=\"steady\"") {
        assert!(Instant::now() < deadline, "its metrics are still there");
        sleep(Duration::from_millis(200)).await;
    }
    drop(operator);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_back_and_forth_is_not_written_each_time() {
    let bed = Bed::new("f-flapping").await;
    let operator = Operator::start(&bed);
    bed.apply("flapping", "a.example.com").await;
    bed.wait_settled("flapping", "at first").await;
    let deployments: Api<Deployment> = Api::namespaced(bed.admin.clone(), bed.namespace);
    let say = async |available: &str| {
        let status = json!({"status": {
            "observedGeneration": 1, "replicas": 2, "readyReplicas": 2, "availableReplicas": 2,
            "conditions": [{"type": "Available", "status": available, "reason": "Test"}],
        }});
        let (params, patch) = (PatchParams::default(), Patch::Merge(&status));
        deployments
            .patch_status("flapping", &params, &patch)
            .await
            .unwrap();
    };
    say("False").await;
    let said = ("DeploymentAvailable", "False", "DeploymentUnavailable");
    bed.wait_condition("flapping", said.0, said.1, said.2).await;

    let (from, first) = (Instant::now(), operator.passes());
    for round in 0..40 {
        say(if round % 2 == 0 { "True" } else { "False" }).await;
        sleep(Duration::from_millis(400)).await;
    }
    let (lasted, looks) = (from.elapsed(), operator.passes() - first);
    say("True").await;
    bed.wait_condition("flapping", "DeploymentAvailable", "True", "Available")
        .await;
    let written = bed.api.seen().into_iter().filter(|asked| {
        asked.at >= from && asked.at < from + lasted && asked.target.contains("flapping/status")
    });
    let written = written.count();
    let allowed = 1 + usize::try_from(lasted.as_secs() / 10).unwrap();
    println!("{looks} looks and {written} writes within {lasted:.1?}");
    assert!(looks > 2 * allowed as u64, "{looks} looks");
    assert!(written <= allowed, "{written} writes within {lasted:?}");
    bed.remove("flapping").await;
    drop(operator);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_is_no_longer_honoured_keeps_its_rights_until_the_object_goes() {
    let bed = Bed::new("f-left").await;
    let operator = Operator::start(&bed);
    bed.apply("left", "a.example.com").await;
    bed.wait_settled("left", "while it is honoured").await;
    let before = bed.objects(KIND.0, KIND.1).get("left").await.unwrap();
    drop(operator);
    let operator = Operator::start_in(&bed, "elsewhere");
    let said = ("Stalled", "True", "NamespaceNotAllowed");
    let after = bed.wait_condition("left", said.0, said.1, said.2).await;
    assert_eq!(
        after["status"]["settings"],
        before.data["status"]["settings"]
    );
    let role = bed.cluster_role("left");
    assert!(bed.is_there(RBAC, "ClusterRole", &role).await);
    assert!(bed.is_there("apps/v1", "Deployment", "left").await);
    bed.remove("left").await;
    drop(operator);
}
