//! The configuration file changes while an issuer does not answer: whoever could log in before still can.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::time::Duration;

use oidcproxy_tests::{
    bed::Bed, client::Protocol, issuer::FakeIssuer, proxy::authentication_config, tls::TestCa,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

const RELOAD: Duration = Duration::from_secs(20);

/// A proxy that has the issuer's keys.
async fn warm() -> Bed {
    let bed = Bed::start().await;
    bed.get_with(Protocol::H1, &bed.token("alice", &[]))
        .await
        .assert_status(200);
    bed
}

async fn state(bed: &Bed) -> Value {
    bed.proxy.probe("/state").await.unwrap().json()
}

/// Puts a configuration in place and waits until it is in use.
async fn reload(bed: &Bed, config: &Value) {
    let before = state(bed).await["revision"].clone();
    bed.proxy
        .replace("authentication.yaml", &config.to_string())
        .unwrap();
    let deadline = Instant::now() + RELOAD;
    while state(bed).await["revision"] == before {
        assert!(Instant::now() < deadline, "not reloaded");
        sleep(Duration::from_millis(50)).await;
    }
}

async fn issuer_state(bed: &Bed, index: usize) -> Value {
    state(bed).await["issuers"][index].clone()
}

#[tokio::test]
async fn another_issuer_before_it_costs_no_keys() {
    let bed = warm().await;
    bed.issuer.down().await;
    let other = FakeIssuer::start().await.unwrap();
    let mut config = authentication_config(&bed.issuer);
    let second = config["jwt"][0].clone();
    config["jwt"][0]["issuer"]["url"] = json!(other.url());
    config["jwt"][0]["issuer"]["certificateAuthority"] = json!(other.ca_pem());
    config["jwt"].as_array_mut().unwrap().push(second);
    reload(&bed, &config).await;
    for user in ["alice", "bob"] {
        bed.get_with(Protocol::H1, &bed.token(user, &[]))
            .await
            .assert_status(200);
    }
    let names: Vec<_> = [issuer_state(&bed, 0).await, issuer_state(&bed, 1).await]
        .iter()
        .map(|issuer| issuer["name"].clone())
        .collect();
    assert_eq!(names, ["jwt-0", "jwt-1"]);
}

/// The keys that were there verify tokens while the issuer's new address brings none, and go when it
/// brings others.
async fn survives(change: impl FnOnce(&mut Value)) {
    let bed = warm().await;
    let old = bed.token("bob", &[]);
    let mut config = authentication_config(&bed.issuer);
    change(&mut config["jwt"][0]["issuer"]);
    reload(&bed, &config).await;
    bed.get_with(Protocol::H1, &old).await.assert_status(200);
    let deadline = Instant::now() + RELOAD;
    while issuer_state(&bed, 0).await["state"] != "Degraded" {
        assert!(Instant::now() < deadline, "{}", issuer_state(&bed, 0).await);
        sleep(Duration::from_millis(50)).await;
    }
    let new = bed.token("carol", &[]);
    bed.get_with(Protocol::H1, &new).await.assert_status(200);
    // Back again, where the key has been exchanged meanwhile.
    bed.issuer.rotate().unwrap();
    bed.issuer.withdraw("es-1");
    reload(&bed, &authentication_config(&bed.issuer)).await;
    let deadline = Instant::now() + RELOAD;
    while bed.get_with(Protocol::H1, &new).await.status != 401 {
        assert!(Instant::now() < deadline, "lent keys stay");
        sleep(Duration::from_millis(50)).await;
    }
    bed.get_with(Protocol::H1, &bed.token("alice", &[]))
        .await
        .assert_status(200);
}

#[tokio::test]
async fn another_authority_does_not_lock_everybody_out() {
    let other = TestCa::new("another authority").unwrap();
    survives(|issuer| issuer["certificateAuthority"] = json!(other.pem())).await;
}

#[tokio::test]
async fn another_discovery_url_does_not_lock_everybody_out() {
    survives(|issuer| {
        let url = issuer["url"].as_str().unwrap();
        issuer["discoveryURL"] = json!(format!("{url}/elsewhere"));
    })
    .await;
}
