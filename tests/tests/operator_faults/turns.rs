//! New images, one `OidcProxy` at a time.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    bed::{Bed, SOON},
    operator::Operator,
};

const OLD: &str = "proxy:test";
const NEW: &str = "proxy:new";

fn deployments(bed: &Bed) -> Api<Deployment> {
    Api::namespaced(bed.admin.clone(), bed.namespace)
}

/// As its controller would say it once every pod is as the newest template has it.
async fn roll_out(bed: &Bed, name: &str) {
    let api = deployments(bed);
    let generation = api.get(name).await.unwrap().metadata.generation;
    let status = json!({"status": {
        "observedGeneration": generation, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2,
        "availableReplicas": 2,
        "conditions": [{"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"}],
    }});
    let params = PatchParams::default();
    let patch = Patch::Merge(&status);
    api.patch_status(name, &params, &patch).await.unwrap();
}

async fn image(bed: &Bed, name: &str) -> String {
    let deployment = deployments(bed).get(name).await.unwrap();
    let pod = deployment.spec.unwrap().template.spec.unwrap();
    pod.containers[0].image.clone().unwrap()
}

/// Which of these have the new image.
async fn renewed<'a>(bed: &Bed, names: &[&'a str]) -> Vec<&'a str> {
    let mut all = Vec::new();
    for name in names {
        if image(bed, name).await == NEW {
            all.push(*name);
        }
    }
    all
}

async fn wait_renewed(bed: &Bed, names: &[&'static str], count: usize) -> Vec<&'static str> {
    let deadline = Instant::now() + SOON;
    loop {
        let found = renewed(bed, names).await;
        if found.len() == count {
            return found;
        }
        assert!(Instant::now() < deadline, "{found:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_image_waits_for_the_rollout_of_another() {
    let bed = Bed::new("f-turns").await;
    let operator = Operator::start(&bed);
    let served = ["turn-a", "turn-b", "turn-c"];
    let broken = "turn-broken";
    for name in served.iter().chain([&broken]) {
        bed.apply(name, "a.example.com").await;
    }
    for name in served.iter().chain([&broken]) {
        bed.wait_settled(name, "at first").await;
        assert_eq!(image(&bed, name).await, OLD);
    }
    for name in served {
        roll_out(&bed, name).await;
    }
    drop(operator);

    let operator = Operator::start_with(&bed, bed.namespace, NEW);
    // Where nobody is served there is nothing to be careful with.
    wait_renewed(&bed, &[broken], 1).await;
    for count in 1..=served.len() {
        let so_far = wait_renewed(&bed, &served, count).await;
        // Several looks at those that wait.
        sleep(Duration::from_secs(6)).await;
        assert_eq!(renewed(&bed, &served).await, so_far);
        for name in so_far {
            roll_out(&bed, name).await;
        }
    }
    for name in served.iter().chain([&broken]) {
        bed.remove(name).await;
    }
    drop(operator);
}
