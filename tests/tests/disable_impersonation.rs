//! `--disable-impersonation`: an API server that trusts the issuer too gets the client's own token, and nobody is
//! impersonated but by the client.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use oidcproxy_tests::{
    bed::Bed,
    client::{Call, Protocol},
};

const PODS: &str = "/api/v1/pods";

async fn bed() -> Bed {
    Bed::with(|setup, _| setup.flag("--disable-impersonation")).await
}

#[tokio::test]
async fn the_verified_token_is_forwarded_and_nothing_else() {
    let bed = bed().await;
    let token = bed.token("alice", &["dev"]);
    for protocol in Protocol::BOTH {
        let call = Call::get(PODS)
            .bearer(&token)
            .header("x-remote-user", "root");
        bed.send(protocol, call).await.assert_status(200);
        let seen = bed.api.forwarded().pop().unwrap();
        assert_eq!(seen.values("authorization"), [format!("Bearer {token}")]);
        assert!(seen.names("impersonate-").is_empty(), "{seen:?}");
        assert!(seen.names("x-remote-").is_empty());
    }
    let line = bed.proxy.access_line("inbound:[alice / ").await.unwrap();
    assert!(!line.contains("outbound:"), "{line}");
}

#[tokio::test]
async fn kube_apiserver_decides_about_as() {
    let bed = bed().await;
    let token = bed.token("alice", &["dev"]);
    for protocol in Protocol::BOTH {
        let call = Call::get(PODS)
            .bearer(&token)
            .header("impersonate-user", "bob");
        bed.send(protocol, call).await.assert_status(200);
        let seen = bed.api.forwarded().pop().unwrap();
        assert_eq!(seen.values("authorization"), [format!("Bearer {token}")]);
        assert_eq!(seen.user().as_deref(), Some("bob"));
    }
    assert!(bed.api.reviews().asked().is_empty());
}

#[tokio::test]
async fn what_is_not_verified_goes_nowhere() {
    let bed = bed().await;
    let expired = bed.issuer.claims("alice").expires_in(-3600);
    let expired = bed.issuer.sign(&expired);
    for protocol in Protocol::BOTH {
        bed.get_with(protocol, &expired).await.assert_refusal(401);
        bed.get_with(protocol, "garbage").await.assert_refusal(401);
        bed.send(protocol, Call::get(PODS))
            .await
            .assert_refusal(401);
    }
    bed.api.assert_untouched();
}
