//! Issuers that others wrote: every algorithm, and new keys while requests flow.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use oidcproxy_tests::{
    bed::Bed,
    client::Protocol,
    real_issuer::{ACCEPTED, GROUPS, Keycloak, OidcProvider, RealIssuer, USER, client_id},
};
use serde_json::{Value, json};
use tokio::time::Instant;

#[tokio::test]
async fn keycloak() {
    let mut keycloak = Keycloak::start().await.unwrap();
    signatures(&keycloak).await;
    rotation(&mut keycloak, "RS256").await;
    rotation(&mut keycloak, "ES256").await;
}

#[tokio::test]
async fn oidc_provider() {
    let mut provider = OidcProvider::start().await.unwrap();
    signatures(&provider).await;
    rotation(&mut provider, "PS256").await;
    rotation(&mut provider, "ES512").await;
}

/// A proxy that trusts `issuer`, and another one besides.
async fn bed(issuer: &impl RealIssuer) -> Bed {
    let algorithms = ACCEPTED.iter().chain(issuer.refused());
    let audiences: Vec<String> = algorithms.map(|name| client_id(name)).collect();
    let real = json!({
        "issuer": {
            "url": issuer.url(),
            "audiences": audiences,
            "audienceMatchPolicy": "MatchAny",
            "certificateAuthority": issuer.ca_pem(),
        },
        "claimMappings": {
            "username": {"claim": issuer.username_claim(), "prefix": "real:"},
            "groups": {"claim": "groups", "prefix": "real:"},
        },
    });
    Bed::with(|setup, fake| {
        let mut config = oidcproxy_tests::proxy::authentication_config(fake);
        config["jwt"].as_array_mut().unwrap().push(real);
        setup.config(&config)
    })
    .await
}

async fn status(bed: &Bed, token: &str) -> u16 {
    bed.get_with(Protocol::H1, token).await.status
}

/// What can be accepted is, for who it says; what cannot is refused.
async fn signatures(issuer: &impl RealIssuer) {
    let bed = Box::pin(bed(issuer)).await;
    for algorithm in ACCEPTED {
        let token = issuer.token(algorithm).await.unwrap();
        assert_eq!(header(&token)["alg"], algorithm);
        let reply = bed.get_with(Protocol::H2, &token).await;
        assert_eq!(reply.status, 200, "{algorithm}: {reply:?}");
        let seen = bed.api.forwarded().pop().unwrap();
        assert_eq!(seen.user().as_deref(), Some(&*format!("real:{USER}")));
        let mut groups = seen.groups();
        groups.retain(|group| group != "system:authenticated");
        groups.sort();
        assert_eq!(groups, GROUPS.map(|group| format!("real:{group}")));
    }
    let forwarded = bed.api.forwarded().len();
    for algorithm in issuer.refused() {
        let token = issuer.token(algorithm).await.unwrap();
        assert_eq!(header(&token)["alg"], *algorithm);
        bed.get_with(Protocol::H2, &token).await.assert_refusal(401);
    }
    assert_eq!(bed.api.forwarded().len(), forwarded);
}

/// Nobody notices a rotation, but whoever still comes with a key that was withdrawn.
async fn rotation(issuer: &mut impl RealIssuer, algorithm: &str) {
    let bed = Box::pin(bed(issuer)).await;
    let old = issuer.token(algorithm).await.unwrap();
    assert_eq!(status(&bed, &old).await, 200);

    let flows = Flows::default();
    let steps = Box::pin(async {
        flows.more_requests().await;
        issuer.rotate(algorithm).await.unwrap();
        let new = issuer.token(algorithm).await.unwrap();
        assert_ne!(header(&new)["kid"], header(&old)["kid"]);
        assert_eq!(
            status(&bed, &new).await,
            200,
            "the first token of a new key"
        );
        flows.tokens.lock().unwrap().push(new);
        flows.more_requests().await;

        flows.old_ends.store(true, Ordering::SeqCst);
        flows.until_old_has_ended().await;
        issuer.withdraw(algorithm).await.unwrap();
        // A key that nobody has seen makes the proxy look; else it looks every five minutes.
        let deadline = Instant::now() + Duration::from_secs(30);
        while status(&bed, &old).await != 401 {
            assert!(
                Instant::now() < deadline,
                "the withdrawn key is still accepted"
            );
            status(&bed, &with_unknown_key(&old)).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let latest = issuer.token(algorithm).await.unwrap();
        assert_eq!(status(&bed, &latest).await, 200);
        flows.more_requests().await;
        flows.end.store(true, Ordering::SeqCst);
    });
    let old_flow = Box::pin(flows.of_old(&bed, &old));
    tokio::join!(steps, old_flow, Box::pin(flows.of_newest(&bed)));
}

#[derive(Default)]
struct Flows {
    tokens: std::sync::Mutex<Vec<String>>,
    sent: AtomicUsize,
    old_ends: AtomicBool,
    old_has_ended: AtomicBool,
    end: AtomicBool,
}

impl Flows {
    /// Requests with the token that was there first, until its key is about to be withdrawn.
    async fn of_old(&self, bed: &Bed, token: &str) {
        while !self.old_ends.load(Ordering::SeqCst) {
            assert_eq!(status(bed, token).await, 200, "a token of the old key");
            self.sent.fetch_add(1, Ordering::SeqCst);
        }
        self.old_has_ended.store(true, Ordering::SeqCst);
    }

    /// Requests with the newest token that has been handed out, until the end.
    async fn of_newest(&self, bed: &Bed) {
        while !self.end.load(Ordering::SeqCst) {
            let newest = self.tokens.lock().unwrap().last().cloned();
            let Some(token) = newest else {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            assert_eq!(status(bed, &token).await, 200, "a token of the new key");
            self.sent.fetch_add(1, Ordering::SeqCst);
        }
    }

    async fn more_requests(&self) {
        let enough = self.sent.load(Ordering::SeqCst) + 50;
        while self.sent.load(Ordering::SeqCst) < enough {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn until_old_has_ended(&self) {
        while !self.old_has_ended.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn header(token: &str) -> Value {
    let header = token.split('.').next().unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap()
}

/// The same token, but signed by a key that its issuer never had.
fn with_unknown_key(token: &str) -> String {
    let mut header = header(token);
    header["kid"] = oidcproxy_tests::jose::random_hex(8).into();
    let rest = token.split_once('.').unwrap().1;
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()))
}
