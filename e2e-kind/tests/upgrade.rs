//! From an older build to this one: chart, definition, operator and proxies, while requests go on. The older one is whatever
//! `e2e-kind/ci/upgrade.sh` has built, an earlier commit of this repository: there are no published releases to come from.

// A step that fails ends the test.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::{path::Path, time::Duration};

use oidcproxy_e2e::{
    kept::{Kept, Protocol},
    oidc_proxy, release,
    suite::{self, Kubectl, Suite, report},
    traffic::Traffic,
    wait::until_true,
};
use serde_json::Value;

const UPGRADED: Duration = Duration::from_mins(5);

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `make test-upgrade`"))
}

/// The images of the pods that there are.
fn images(suite: &Suite) -> Vec<String> {
    let selector = "app.kubernetes.io/name=oidc-proxy,app.kubernetes.io/instance=corp";
    let list = suite
        .admin
        .json(&["-n", suite.namespace(), "get", "pods", "-l", selector]);
    let pods = list["items"].as_array().unwrap().iter();
    let images = pods.map(|pod| pod["spec"]["containers"][0]["image"].clone());
    images
        .filter_map(|image: Value| image.as_str().map(str::to_owned))
        .collect()
}

#[test]
#[ignore = "needs an older build: make test-upgrade"]
fn an_older_release_is_upgraded_in_place_and_no_request_fails() {
    let (chart, tag) = (variable("E2E_OLDER_CHART"), variable("E2E_OLDER_TAG"));
    let suite: &'static Suite = Box::leak(Box::new(Suite::start(|environment, admin| {
        suite::refuse_a_second_release(environment);
        release::forget_unfinished(admin);
        release::install_chart(environment, "HELM", Path::new(&chart), Some(&tag), &[]);
    })));
    let is_older = |image: &String| image.ends_with(&format!(":{tag}"));
    let before = images(suite);
    assert!(
        before.len() == 2 && before.iter().all(is_older),
        "{before:?}"
    );
    let client = suite.traffic_of("alice", suite.kubeconfig(), Kubectl::WebSocket);
    let mut traffic = Traffic::start(client, suite.namespace());
    for protocol in [Protocol::Http2, Protocol::Http1] {
        let kubeconfig = suite.kubeconfig();
        traffic.keep(Kept::start(
            suite,
            "alice",
            kubeconfig,
            protocol,
            suite.namespace(),
        ));
    }
    traffic.some_more("by the older release", 5);
    release::install(&suite.environment, "HELM", &[]);
    until_true("the end of the older pods", UPGRADED, || {
        traffic.assert_no_failure("while it is upgraded");
        let now = images(suite);
        now.len() == 2 && !now.iter().any(is_older)
    });
    oidc_proxy::wait_ready(&suite.admin, &suite.document);
    traffic.some_more("by this release", 5);
    report(&format!("from {before:?} to {:?}", images(suite)));
    traffic.finish("an upgrade of the release");
}
