//! Documents and keys of somebody else, and issuers that would have us ask elsewhere.

use std::time::Duration;

use oidcproxy_tests::{
    api_server::FakeApiServer,
    bed::Bed,
    client::{Call, Protocol},
    issuer::{Behaviour, FakeIssuer},
    proxy::{Setup, authentication_config},
};
use serde_json::json;
use tokio::time::Instant;

use super::PODS;

#[tokio::test]
async fn what_an_issuer_writes_is_not_repeated() {
    let issuer = FakeIssuer::start().await.unwrap();
    let api = FakeApiServer::start().await.unwrap();
    issuer.set_document(json!({
        "issuer": issuer.url(),
        "jwks_uri": "ftp://x\n2026-01-01T00:00:00Z ERROR a forged line",
    }));
    let proxy = Setup::new(&api, &issuer).start(&issuer).await.unwrap();
    let reply = proxy
        .client()
        .send(
            Protocol::H1,
            Call::get(PODS).bearer(&issuer.token("alice", &[])),
        )
        .await;
    reply.unwrap().assert_refusal(401);
    let state = proxy.probe("/state").await.unwrap().json();
    let message = state["issuers"][0]["message"].as_str().unwrap();
    assert!(message.contains("jwks_uri"), "{message}");
    let output = format!("{state}{}", proxy.process.output());
    assert!(!output.contains("forged"), "{output}");
}

/// A proxy whose issuer has been broken before its start never accepts and never asks elsewhere.
async fn never_accepts(spoil: impl FnOnce(&FakeIssuer)) {
    let issuer = FakeIssuer::start().await.unwrap();
    let api = FakeApiServer::start().await.unwrap();
    spoil(&issuer);
    // Ready once it has asked.
    let proxy = Setup::new(&api, &issuer).start(&issuer).await.unwrap();
    assert!(issuer.discovery_fetches() > 0, "the proxy did ask");
    let token = issuer.token("alice", &[]);
    let deadline = Instant::now() + Duration::from_secs(3);
    while Instant::now() < deadline {
        let call = Call::get(PODS).bearer(&token);
        let reply = proxy.client().send(Protocol::H1, call).await;
        reply.unwrap().assert_refusal(401);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    api.assert_untouched();
    assert_eq!(issuer.other_fetches(), 0);
    assert!(issuer.discovery_fetches() > 1, "and asked again");
}

#[tokio::test]
async fn discovery_for_another_issuer_is_not_believed() {
    never_accepts(|issuer| {
        let keys = format!("{}/jwks", issuer.url());
        issuer.set_document(json!({"issuer": "https://other.example", "jwks_uri": keys}));
    })
    .await;
}

#[tokio::test]
async fn discovery_is_not_followed_to_elsewhere() {
    never_accepts(|issuer| {
        issuer.set_discovery(Behaviour::Redirect(issuer.elsewhere()));
    })
    .await;
}

#[tokio::test]
async fn discovery_is_followed_within_the_issuers_host() {
    let bed = Bed::with(|setup, issuer| {
        issuer.set_discovery(Behaviour::Redirect("/moved".to_owned()));
        setup
    })
    .await;
    bed.get_with(Protocol::H1, &bed.token("alice", &[]))
        .await
        .assert_status(200);
}

#[tokio::test]
async fn keys_over_plain_http_are_not_fetched() {
    never_accepts(|issuer| {
        let plain = issuer.url().replace("https://", "http://");
        issuer.set_document(json!({"issuer": issuer.url(), "jwks_uri": format!("{plain}/jwks")}));
    })
    .await;
}

#[tokio::test]
async fn an_issuer_with_another_ca_is_not_believed() {
    let issuer = FakeIssuer::start().await.unwrap();
    let other = FakeIssuer::start().await.unwrap();
    let api = FakeApiServer::start().await.unwrap();
    let mut config = authentication_config(&issuer);
    config["jwt"][0]["issuer"]["certificateAuthority"] = json!(other.ca_pem());
    // Ready once it has asked.
    let setup = Setup::new(&api, &issuer).config(&config);
    let proxy = setup.start(&issuer).await.unwrap();
    let state = proxy.probe("/state").await.unwrap().json();
    assert_eq!(state["issuers"][0]["state"], "Failed", "{state}");
    let call = Call::get(PODS).bearer(&issuer.token("alice", &[]));
    let reply = proxy.client().send(Protocol::H1, call).await;
    reply.unwrap().assert_refusal(401);
    api.assert_untouched();
    assert_eq!(issuer.discovery_fetches(), 0);
}

#[tokio::test]
async fn two_issuers_are_told_apart() {
    let other = FakeIssuer::start().await.unwrap();
    let bed = Bed::with(|setup, issuer| {
        let mut config = authentication_config(issuer);
        let mut second = config["jwt"][0].clone();
        second["issuer"]["url"] = json!(other.url());
        second["issuer"]["certificateAuthority"] = json!(other.ca_pem());
        second["claimMappings"]["username"]["prefix"] = json!("other:");
        config["jwt"].as_array_mut().unwrap().push(second);
        setup.config(&config)
    })
    .await;
    let first = bed.get_with(Protocol::H1, &bed.token("alice", &[])).await;
    assert_eq!(first.json()["user"], "alice");
    let second = bed.get_with(Protocol::H1, &other.token("alice", &[])).await;
    assert_eq!(second.json()["user"], "other:alice");
    // The other's key under this one's name.
    let forged = bed.issuer.claims("alice").sign(&other.key());
    bed.get_with(Protocol::H1, &forged)
        .await
        .assert_refusal(401);
}
