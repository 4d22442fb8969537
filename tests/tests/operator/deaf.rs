//! A leader that is paused, or cut off: it must have stopped before another may lead, and must not
//! undo what that one has done.

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use k8s_openapi::api::{coordination::v1::Lease, core::v1::Secret};
use kube::{Api, api::DeleteParams};
use oidcproxy_tests::{
    faulty_api::{Fault, FaultyApi},
    process::Process,
    proxy::operator_binary,
};
use tempfile::NamedTempFile;
use tokio::time::sleep;

use crate::{Bed, NAMESPACE, TURN, stored};

/// What the Lease says: so long others wait.
const LEASE: Duration = Duration::from_secs(15);

struct Instance {
    process: Process,
    api: FaultyApi,
    _kubeconfig: NamedTempFile,
}

fn instance(bed: &Bed, name: &str) -> Instance {
    let api = FaultyApi::start(bed.plane).unwrap();
    let mut kubeconfig = NamedTempFile::new().unwrap();
    let text = api.kubeconfig(&bed.token).to_string();
    kubeconfig.write_all(text.as_bytes()).unwrap();
    let path = kubeconfig.path().display().to_string();
    let flags = [
        "--proxy-image=proxy:test",
        "--operator-namespace=default",
        "--lease-name=lead",
        "--metrics-port=0",
        &format!("--namespaces={NAMESPACE}"),
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

async fn wait_leader(bed: &Bed, name: &str) {
    let leases: Api<Lease> = Api::namespaced(bed.admin.clone(), "default");
    for _ in 0..600 {
        let lease = leases.get_opt("lead").await.unwrap();
        let holder = lease.and_then(|lease| lease.spec?.holder_identity);
        if holder.as_deref() == Some(name) {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("{name} does not lead");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_leader_cannot_undo_what_the_next_one_did() {
    let _turn = TURN.lock().await;
    let bed = Bed::new().await;
    let mut first = instance(&bed, "first");
    wait_leader(&bed, "first").await;
    bed.apply("paused", "a.example.com").await;
    bed.wait_settled("paused", "by the first").await;
    first.process.signal("STOP").unwrap();

    let mut second = instance(&bed, "second");
    wait_leader(&bed, "second").await;
    let secrets: Api<Secret> = Api::namespaced(bed.admin.clone(), NAMESPACE);
    let (_, old) = stored(&bed.admin, "paused-ca").await;
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
    let root = stored(&bed.admin, "paused-ca").await;
    assert_ne!(root.1, old);
    let leaf = stored(&bed.admin, "paused-serving").await;
    let status = bed.proxies().get("paused").await.unwrap().status;

    first.process.signal("CONT").unwrap();
    let ended = first.process.wait(Duration::from_secs(30)).await.unwrap();
    assert!(!ended.success(), "{ended:?}");
    sleep(Duration::from_secs(3)).await;
    assert_eq!(stored(&bed.admin, "paused-ca").await, root);
    assert_eq!(stored(&bed.admin, "paused-serving").await, leaf);
    assert_eq!(bed.proxies().get("paused").await.unwrap().status, status);
    bed.remove("paused").await;
    second.process.signal("TERM").unwrap();
    let ended = second.process.wait(Duration::from_secs(30)).await.unwrap();
    assert!(ended.success(), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_falls_silent_before_another_may_lead() {
    let _turn = TURN.lock().await;
    let bed = Bed::new().await;
    let mut first = instance(&bed, "alone");
    wait_leader(&bed, "alone").await;
    bed.apply("cut-off", "a.example.com").await;
    bed.wait_settled("cut-off", "before").await;
    first.api.fail(Fault::Hang, 0, usize::MAX, |_| true);
    let cut = Instant::now();
    let mut second = instance(&bed, "next");
    let ended = first.process.wait(Duration::from_mins(1)).await.unwrap();
    assert!(!ended.success(), "{ended:?}");
    let seen = first.api.seen();
    let renewal = |asked: &&oidcproxy_tests::faulty_api::Asked| {
        asked.target.contains("/leases") && asked.method != http::Method::GET
    };
    let mut renewed = seen.iter().filter(renewal).filter(|asked| asked.at < cut);
    let (renewed, last) = (renewed.next_back().unwrap().at, seen.last().unwrap().at);
    assert!(
        last.duration_since(renewed) < LEASE,
        "{:?}",
        last.duration_since(renewed)
    );
    wait_leader(&bed, "next").await;
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
