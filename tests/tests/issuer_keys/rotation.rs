//! Keys that come and go, and floods of keys that nobody knows.

use std::time::Duration;

use futures::future::join_all;
use oidcproxy_tests::{
    bed::Bed,
    client::{Call, Protocol},
    issuer::Behaviour,
    jose::{Alg, SigningKey},
};
use serde_json::json;
use tokio::time::Instant;

use super::{PODS, until};

#[tokio::test]
async fn a_new_key_is_found_when_its_first_token_comes() {
    let bed = Bed::start().await;
    bed.get_with(Protocol::H1, &bed.token("alice", &[]))
        .await
        .assert_status(200);
    let old = bed.token("bob", &[]);
    bed.issuer.rotate().unwrap();
    let others = until(
        &bed.client,
        &bed.token("alice", &[]),
        200,
        Duration::from_secs(5),
    )
    .await;
    assert_eq!(others, 0, "the first request waits for the keys");
    bed.get_with(Protocol::H1, &old).await.assert_status(200);
}

/// Users of one issuer who all come at once.
async fn all_get_in(bed: &Bed, crowd: usize) {
    let calls = (0..crowd).map(|number| {
        let token = bed.token(&format!("user-{number}"), &[]);
        let call = Call::get(PODS).bearer(&token);
        bed.client.send(Protocol::H1, call)
    });
    for reply in join_all(calls).await {
        reply.unwrap().assert_status(200);
    }
}

#[tokio::test]
async fn a_crowd_gets_in_at_the_start_and_when_keys_change() {
    let bed = Bed::start().await;
    bed.issuer
        .set_jwks(Behaviour::Delayed(Duration::from_secs(3)));
    all_get_in(&bed, 300).await;
    bed.issuer.rotate().unwrap();
    all_get_in(&bed, 300).await;
}

#[tokio::test]
async fn a_withdrawn_key_ends_also_tokens_that_were_accepted() {
    let bed = Bed::start().await;
    let old = bed.token("alice", &[]);
    bed.get_with(Protocol::H1, &old).await.assert_status(200);
    bed.issuer.rotate().unwrap();
    bed.issuer.withdraw("es-1");
    // The token of the new key makes the proxy fetch.
    until(
        &bed.client,
        &bed.token("bob", &[]),
        200,
        Duration::from_secs(10),
    )
    .await;
    bed.get_with(Protocol::H1, &old).await.assert_refusal(401);
}

#[tokio::test]
async fn unknown_keys_cause_few_fetches_while_good_tokens_pass() {
    let bed = Bed::start().await;
    bed.get_with(Protocol::H2, &bed.token("alice", &[]))
        .await
        .assert_status(200);
    let before = bed.issuer.jwks_fetches();
    let stranger = SigningKey::generate(Alg::ES256, "stranger").unwrap();
    let round = async |round: usize| {
        let mut connection = bed.connect(Protocol::H2).await;
        let calls = (0..100).map(|n| {
            let kid = format!("unknown-{round}-{n}");
            let token = bed.issuer.claims("mallory").header("kid", kid);
            Call::get(PODS).bearer(&token.sign(&stranger))
        });
        for reply in connection.send_all(calls.collect()).await.unwrap() {
            // Too many at once may also be told to come back.
            assert!(matches!(reply.status, 401 | 429 | 503), "{reply:?}");
        }
    };
    let flood = async {
        for first in [0, 5] {
            join_all((first..first + 5).map(&round)).await;
        }
    };
    // One after the other: each may ask for a fetch once the last one has been answered.
    let trickle = async {
        let end = Instant::now() + Duration::from_secs(8);
        let mut connection = bed.connect(Protocol::H2).await;
        for n in 0.. {
            let token = bed
                .issuer
                .claims("mallory")
                .header("kid", format!("late-{n}"));
            let call = Call::get(PODS).bearer(&token.sign(&stranger));
            connection = match connection.send(call).await {
                Ok(_) if Instant::now() > end => return,
                Ok(_) => connection,
                Err(_) => bed.connect(Protocol::H2).await,
            };
        }
    };
    let good = async {
        let mut slowest = Duration::ZERO;
        for n in 0..100 {
            // Neither a known token nor one that was verified before may suffer.
            let token = bed.token(&format!("user-{}", n / 2), &[]);
            let start = Instant::now();
            bed.get_with(Protocol::H1, &token).await.assert_status(200);
            slowest = slowest.max(start.elapsed());
        }
        slowest
    };
    let ((), (), slowest) = tokio::join!(flood, trickle, good);
    let fetches = bed.issuer.jwks_fetches() - before;
    assert!(fetches <= 10, "{fetches} fetches for 1,000 unknown keys");
    assert!(
        slowest < Duration::from_secs(3),
        "a good token took {slowest:?}"
    );
    assert!(
        bed.api
            .forwarded()
            .iter()
            .all(|r| r.user().as_deref() != Some("mallory"))
    );
}

#[tokio::test]
async fn an_issuer_that_withdraws_all_keys_has_withdrawn_all() {
    let bed = Bed::start().await;
    let (cached, new) = (bed.token("alice", &[]), bed.token("bob", &[]));
    bed.get_with(Protocol::H1, &cached).await.assert_status(200);
    bed.issuer
        .set_jwks(Behaviour::Text(r#"{"keys":[]}"#.to_owned()));
    // Makes the proxy ask.
    let stranger = SigningKey::generate(Alg::ES256, "stranger").unwrap();
    let unknown = bed.issuer.claims("mallory").sign(&stranger);
    bed.get_with(Protocol::H1, &unknown)
        .await
        .assert_refusal(401);
    bed.get_with(Protocol::H1, &cached)
        .await
        .assert_refusal(401);
    bed.get_with(Protocol::H1, &new).await.assert_refusal(401);
}

#[tokio::test]
async fn keys_of_other_kinds_do_not_spoil_the_set() {
    let bed = Bed::start().await;
    bed.issuer
        .publish_jwk(json!({"kty": "OKP", "crv": "Ed448", "x": "AA", "kid": "a"}));
    bed.issuer
        .publish_jwk(json!({"kty": "unheard-of", "kid": "b"}));
    bed.issuer
        .publish_jwk(json!({"kty": "oct", "k": "c2VjcmV0", "kid": "c"}));
    bed.issuer
        .publish_jwk(json!({"kty": "RSA", "n": "AQ", "e": "AQ", "kid": "weak"}));
    bed.issuer.rotate().unwrap();
    until(
        &bed.client,
        &bed.token("alice", &[]),
        200,
        Duration::from_secs(10),
    )
    .await;
    // The symmetric key of the set is no key for HMAC tokens.
    let hmac = bed.issuer.claims("mallory").hmac(b"secret", "c");
    bed.get_with(Protocol::H1, &hmac).await.assert_refusal(401);
}
