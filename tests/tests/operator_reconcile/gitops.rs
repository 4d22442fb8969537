//! What `GitOps` tools make of every status that is published on the way: kstatus and Argo CD's health script, by the
//! programs that these tools use.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

use futures::StreamExt as _;
use kube::{
    ResourceExt as _,
    api::{DeleteParams, DynamicObject},
    runtime::{WatchStreamExt as _, watcher},
};
use oidcproxy_tests::chart::{assets, repository};
use serde_json::{Value, json};

use crate::{
    bed::Bed,
    tools::{APPS, children, merge, settled},
};

const KIND: (&str, &str, &str) = ("oidcproxy.dev/v1alpha1", "OidcProxy", "corp");

/// What they say of each object: kstatus, then Argo CD.
fn verdicts(objects: &[Value]) -> Vec<(String, String)> {
    let mut child = Command::new(assets().unwrap().join("gitops-status"))
        .arg(repository().join("docs/gitops/argocd/health.lua"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let text: String = objects.iter().map(Value::to_string).collect();
    let writing = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap().unwrap();
    assert!(output.status.success(), "gitops-status: {}", output.status);
    let lines = String::from_utf8(output.stdout).unwrap();
    lines
        .lines()
        .map(|line| {
            let verdict: Value = serde_json::from_str(line).unwrap();
            let text = |field: &str| verdict[field].as_str().unwrap().to_owned();
            (text("kstatus"), text("argo"))
        })
        .collect()
}

/// One for the test data of gitops-status, when somebody asks for new ones.
fn record(name: &str, object: &Value) {
    let mut object = object.clone();
    object["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("managedFields");
    if let Some(directory) = std::env::var_os("RECORD_STATUSES") {
        let path = std::path::Path::new(&directory).join(format!("{name}.json"));
        std::fs::write(path, serde_json::to_string_pretty(&object).unwrap()).unwrap();
    }
}

/// Everything that a watcher of the object has seen, from before it was there.
fn seen(bed: &Bed) -> Arc<Mutex<Vec<Value>>> {
    let all: Arc<Mutex<Vec<Value>>> = Arc::default();
    let events = watcher(bed.api(KIND.0, KIND.1), watcher::Config::default()).touched_objects();
    let sink = Arc::clone(&all);
    tokio::spawn(async move {
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            let object: DynamicObject = event.unwrap();
            sink.lock()
                .unwrap()
                .push(serde_json::to_value(object).unwrap());
        }
    });
    all
}

fn expect(seen: &Mutex<Vec<Value>>, kstatus: &str, argo: &str, name: &str) {
    let last = seen.lock().unwrap().last().cloned().unwrap();
    record(name, &last);
    let expected = (kstatus.to_owned(), argo.to_owned());
    assert_eq!(
        verdicts(std::slice::from_ref(&last)),
        [expected],
        "{name}: {last:#}"
    );
}

#[tokio::test]
async fn nothing_counts_as_done_before_it_is() {
    let bed = Bed::new("t-gitops").await;
    let seen = seen(&bed);
    bed.apply(json!({})).await;
    settled(&bed).await;
    bed.wait("the watch", |proxy| {
        let version = json!(proxy.resource_version());
        let last = seen.lock().unwrap().last().cloned().unwrap_or_default();
        last["metadata"]["resourceVersion"] == version
    })
    .await;
    {
        let seen = seen.lock().unwrap();
        let first = seen.first().unwrap();
        // The first answers that a tool can get: nobody has looked at it yet.
        assert_eq!(first["status"], json!({"observedGeneration": -1}));
        record("new", first);
        let sighted = seen
            .iter()
            .find(|object| !object["status"]["conditions"].is_null());
        let sighted = sighted.unwrap();
        assert_eq!(sighted["status"]["observedGeneration"], -1);
        record("first-sight", sighted);
        let all = verdicts(&seen);
        let waiting = ("InProgress".to_owned(), "Progressing".to_owned());
        assert!(all.iter().all(|verdict| *verdict == waiting), "{all:?}");
    }
    expect(&seen, "InProgress", "Progressing", "reconciling");

    let refused = json!({"deployment": {"podLabels": {"not a label": "x"}}});
    bed.apply(refused).await;
    let stalled = bed.wait_condition("Stalled", "True", "InvalidSpec").await;
    bed.wait("the watch", |_| {
        let last = seen.lock().unwrap().last().cloned().unwrap_or_default();
        last["metadata"]["resourceVersion"] == json!(stalled.resource_version())
    })
    .await;
    expect(&seen, "Failed", "Degraded", "stalled");

    merge(
        &bed,
        KIND,
        json!({"metadata": {"finalizers": ["example.com/hold"]}}),
    )
    .await;
    let proxies = bed.proxies();
    proxies
        .delete("corp", &DeleteParams::default())
        .await
        .unwrap();
    bed.wait("the watch", |_| {
        let last = seen.lock().unwrap().last().cloned().unwrap_or_default();
        last["metadata"]["finalizers"] == json!(["example.com/hold"])
            && !last["metadata"]["deletionTimestamp"].is_null()
    })
    .await;
    expect(&seen, "Terminating", "Progressing", "deleting");
    merge(&bed, KIND, json!({"metadata": {"finalizers": null}})).await;
}

#[tokio::test]
async fn the_marks_of_tools_stay_on_the_object() {
    let bed = Bed::new("t-marks").await;
    bed.apply(json!({})).await;
    let marks = json!({"metadata": {
        "labels": {
            "app.kubernetes.io/instance": "application", "argocd.argoproj.io/instance": "application",
            "kustomize.toolkit.fluxcd.io/name": "oidcproxies", "helm.toolkit.fluxcd.io/name": "release",
        },
        "annotations": {"argocd.argoproj.io/tracking-id": "application:oidcproxy.dev/OidcProxy:t-marks/corp"},
    }});
    merge(&bed, KIND, marks).await;
    bed.apply(json!({"deployment": {"podLabels": {"seen": "yes"}}}))
        .await;
    bed.wait_object((APPS, "Deployment", "corp"), |found| {
        found.is_some_and(|found| found["spec"]["template"]["metadata"]["labels"]["seen"] == "yes")
    })
    .await;
    for (group, kind, name) in children(bed.namespace) {
        let child = bed.api(group, kind).get(&name).await.unwrap();
        let (labels, annotations) = (child.labels(), child.annotations());
        let text = format!("{labels:?} {annotations:?}");
        for mark in ["argoproj", "fluxcd", "application"] {
            assert!(!text.contains(mark), "{kind} {name}: {text}");
        }
        // Nothing but an owner reference, or the lack of this label, keeps Argo CD from counting it as its own.
        let instance = labels.get("app.kubernetes.io/instance");
        assert!(
            instance.is_none() || !child.owner_references().is_empty(),
            "{kind} {name}: {text}"
        );
    }
}
