//! Settings change while requests go on.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::{Duration, Instant},
};

use oidcproxy_e2e::{
    client::Client,
    oidc_proxy,
    suite::{Kubectl, Suite, report},
    user,
    wait::{until, until_true},
};
use serde_json::Value;

#[test]
fn a_groups_change_takes_effect_without_a_restart_or_a_lost_request() {
    let suite = Suite::shared();
    let (namespace, mut document) = oidc_proxy::own(suite, "corp");
    let kubeconfig = oidc_proxy::kubeconfig(&suite.admin, &document, suite.directory());
    let alice = suite.through(&kubeconfig, Kubectl::WebSocket, &user::token("alice"));
    assert!(groups(&alice).contains(&"corp:dev".to_owned()));
    let before = pods(&suite.admin, &namespace.name);

    let (stop, sent) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        let requests = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let output = alice.run(&["auth", "whoami"]);
                assert_eq!(output.code, Some(0), "{output}");
                sent.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mapping = &mut document["spec"]["authentication"]["jwt"][0]["claimMappings"]["groups"];
        mapping["prefix"] = "people:".into();
        let changed = Instant::now();
        assert_eq!(suite.admin.apply(&document).code, Some(0));
        until("the new groups", Duration::from_mins(1), || {
            groups(&alice)
                .contains(&"people:dev".to_owned())
                .then_some(())
        });
        report(&format!(
            "a changed prefix is in use after {:.1?}",
            changed.elapsed()
        ));
        oidc_proxy::wait_ready(&suite.admin, &document);
        until_true("some more requests", Duration::from_mins(1), || {
            sent.load(Ordering::Relaxed) > 10
        });
        stop.store(true, Ordering::Relaxed);
        requests.join().unwrap();
    });
    assert_eq!(
        pods(&suite.admin, &namespace.name),
        before,
        "no pod was restarted"
    );
}

fn groups(client: &Client) -> Vec<String> {
    let me = client.json(&["auth", "whoami"]);
    let groups = me["status"]["userInfo"]["groups"].as_array().unwrap();
    groups
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

/// The proxy's pods with how often their containers were started.
fn pods(admin: &Client, namespace: &str) -> Vec<(String, u64)> {
    let list = admin.json(&[
        "-n",
        namespace,
        "get",
        "pods",
        "-l",
        "app.kubernetes.io/name=oidc-proxy",
    ]);
    let pods = list["items"].as_array().unwrap().iter();
    let facts = pods.map(|pod| {
        let restarts = pod["status"]["containerStatuses"][0]["restartCount"].as_u64();
        (
            pod["metadata"]["uid"].to_string(),
            restarts.unwrap_or_default(),
        )
    });
    let mut facts: Vec<_> = facts.collect();
    facts.sort();
    facts
}
