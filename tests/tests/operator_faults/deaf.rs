//! A leader that is paused, or cut off: it must have stopped before another may lead, and must not
//! undo what that one has done.

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use k8s_openapi::api::{coordination::v1::Lease, core::v1::Secret};
use kube::{Api, ResourceExt as _, api::DeleteParams};
use oidcproxy_tests::{
    faulty_api::{Fault, FaultyApi},
    process::Process,
    proxy::operator_binary,
};
use serde_json::Value;
use tempfile::NamedTempFile;
use tokio::time::sleep;

use crate::bed::{Bed, LEASES};

/// What the Lease says: so long others wait.
const WAIT: Duration = Duration::from_secs(15);

struct Instance {
    process: Process,
    api: FaultyApi,
    _kubeconfig: NamedTempFile,
}

fn instance(bed: &Bed, lease: &str, name: &str) -> Instance {
    let api = FaultyApi::within(bed.plane, bed.namespace).unwrap();
    let mut kubeconfig = NamedTempFile::new().unwrap();
    let text = api.kubeconfig(&bed.token).to_string();
    kubeconfig.write_all(text.as_bytes()).unwrap();
    let path = kubeconfig.path().display().to_string();
    let flags = [
        "--proxy-image=proxy:test",
        "--operator-namespace=default",
        "--metrics-port=0",
        &format!("--lease-name={lease}"),
        &format!("--namespaces={}", bed.namespace),
        &format!("--pod-name={name}"),
    ];
    let flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
    let env = [("KUBECONFIG".to_owned(), path)];
    Instance {
        process: Process::start(&operator_binary().unwrap(), &flags, &env).unwrap(),
        api,
        _kubeconfig: kubeconfig,
    }
}

async fn wait_leader(bed: &Bed, lease: &str, name: &str) {
    let leases: Api<Lease> = Api::namespaced(bed.admin.clone(), "default");
    for _ in 0..600 {
        let found = leases.get_opt(lease).await.unwrap();
        let holder = found.and_then(|found| found.spec?.holder_identity);
        if holder.as_deref() == Some(name) {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("{name} does not lead");
}

/// A value of a Secret.
async fn stored(bed: &Bed, secret: &str) -> (String, Value) {
    let secrets: Api<Secret> = Api::namespaced(bed.admin.clone(), bed.namespace);
    let secret = secrets.get(secret).await.unwrap();
    let version = secret.resource_version().unwrap();
    (version, serde_json::to_value(secret.data).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_leader_cannot_undo_what_the_next_one_did() {
    const LEASE: &str = LEASES[0];
    let bed = Bed::new("f-paused").await;
    let mut first = instance(&bed, LEASE, "first");
    wait_leader(&bed, LEASE, "first").await;
    bed.apply("paused", "a.example.com").await;
    bed.wait_settled("paused", "by the first").await;
    first.process.signal("STOP").unwrap();

    let mut second = instance(&bed, LEASE, "second");
    wait_leader(&bed, LEASE, "second").await;
    let secrets: Api<Secret> = Api::namespaced(bed.admin.clone(), bed.namespace);
    let (_, old) = stored(&bed, "paused-ca").await;
    secrets
        .delete("paused-ca", &DeleteParams::default())
        .await
        .unwrap();
    bed.apply("paused", "b.example.com").await;
    let deadline = Instant::now() + Duration::from_secs(90);
    while secrets.get_opt("paused-ca").await.unwrap().is_none() {
        assert!(Instant::now() < deadline, "no new root");
        sleep(Duration::from_millis(200)).await;
    }
    bed.wait_settled("paused", "by the second").await;
    let root = stored(&bed, "paused-ca").await;
    assert_ne!(root.1, old);
    let leaf = stored(&bed, "paused-serving").await;
    let status = bed.proxies().get("paused").await.unwrap().status;

    first.process.signal("CONT").unwrap();
    let ended = first.process.wait(Duration::from_secs(30)).await.unwrap();
    assert!(!ended.success(), "{ended:?}");
    sleep(Duration::from_secs(3)).await;
    assert_eq!(stored(&bed, "paused-ca").await, root);
    assert_eq!(stored(&bed, "paused-serving").await, leaf);
    assert_eq!(bed.proxies().get("paused").await.unwrap().status, status);
    bed.remove("paused").await;
    second.process.signal("TERM").unwrap();
    let ended = second.process.wait(Duration::from_secs(30)).await.unwrap();
    assert!(ended.success(), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_falls_silent_before_another_may_lead() {
    const LEASE: &str = LEASES[1];
    let bed = Bed::new("f-cut-off").await;
    let mut first = instance(&bed, LEASE, "alone");
    wait_leader(&bed, LEASE, "alone").await;
    bed.apply("cut-off", "a.example.com").await;
    bed.wait_settled("cut-off", "before").await;
    first.api.fail(Fault::Hang, 0, usize::MAX, |_| true);
    let cut = Instant::now();
    let mut second = instance(&bed, LEASE, "next");
    let ended = first.process.wait(Duration::from_mins(1)).await.unwrap();
    assert!(!ended.success(), "{ended:?}");
    let seen = first.api.seen();
    let renewal = |asked: &&oidcproxy_tests::faulty_api::Asked| {
        asked.target.contains("/leases") && asked.method != http::Method::GET
    };
    let mut renewed = seen.iter().filter(renewal).filter(|asked| asked.at < cut);
    let (renewed, last) = (renewed.next_back().unwrap().at, seen.last().unwrap().at);
    assert!(
        last.duration_since(renewed) < WAIT,
        "{:?}",
        last.duration_since(renewed)
    );
    wait_leader(&bed, LEASE, "next").await;
    // Even so it was not too early.
    assert!(
        renewed.elapsed() >= Duration::from_secs(13),
        "{:?}",
        renewed.elapsed()
    );
    println!(
        "silent {:.1?} after its last renewal",
        last.duration_since(renewed)
    );
    bed.wait_settled("cut-off", "by the next").await;
    bed.remove("cut-off").await;
    second.process.signal("TERM").unwrap();
    second.process.wait(Duration::from_secs(30)).await.unwrap();
}
