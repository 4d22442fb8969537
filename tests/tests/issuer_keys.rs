//! Keys of the issuer: rotation, floods of unknown keys, outages, and issuers that misbehave.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::time::Duration;

use futures::future::join_all;
use oidcproxy_tests::{
    api_server::FakeApiServer,
    bed::Bed,
    client::{Call, Client, Protocol},
    issuer::{Behaviour, FakeIssuer},
    jose::{Alg, SigningKey},
    proxy::Setup,
};
use serde_json::json;
use tokio::time::Instant;

const PODS: &str = "/api/v1/pods";

/// Sends until the status is `code`; how many other answers came before.
async fn until(client: &Client, token: &str, code: u16, within: Duration) -> usize {
    let deadline = Instant::now() + within;
    for others in 0.. {
        let reply = client
            .send(Protocol::H1, Call::get(PODS).bearer(token))
            .await;
        let status = reply.as_ref().map(|reply| reply.status);
        if matches!(status, Ok(status) if status == code) {
            return others;
        }
        assert!(
            Instant::now() < deadline,
            "no {code} within {within:?}: {reply:?}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    unreachable!("the loop has no end")
}

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
async fn a_start_without_issuer_succeeds_once_the_issuer_is_there() {
    let issuer = FakeIssuer::start_down().unwrap();
    let api = FakeApiServer::start().await.unwrap();
    let proxy = Setup::new(&api, &issuer)
        .wait_for("/live")
        .start(&issuer)
        .await
        .unwrap();
    let client = proxy.client();
    let token = issuer.token("alice", &[]);
    let early = client
        .send(Protocol::H1, Call::get(PODS).bearer(&token))
        .await;
    // Not listening yet is fine, another answer than "not now" is not.
    if let Ok(reply) = early {
        assert!(matches!(reply.status, 401 | 503), "{reply:?}");
    }
    api.assert_untouched();
    // Others may have tokens of another issuer.
    proxy.wait_probe("/ready", 200).await.unwrap();
    issuer.up().await.unwrap();
    until(&client, &token, 200, Duration::from_secs(30)).await;
}

/// Keys that are there stay in use while the issuer does this.
async fn survives(outage: impl FnOnce(&FakeIssuer) -> Behaviour) {
    let bed = Bed::start().await;
    bed.get_with(Protocol::H1, &bed.token("alice", &[]))
        .await
        .assert_status(200);
    let outage = outage(&bed.issuer);
    bed.issuer.set_jwks(outage.clone());
    let fetches = bed.issuer.jwks_fetches();
    // Makes the proxy ask.
    let stranger = SigningKey::generate(Alg::ES256, "stranger").unwrap();
    let unknown = bed.issuer.claims("mallory").sign(&stranger);
    bed.get_with(Protocol::H1, &unknown)
        .await
        .assert_refusal(401);
    assert!(bed.issuer.jwks_fetches() > fetches, "{outage:?}");
    let reply = bed.get_with(Protocol::H1, &bed.token("bob", &[])).await;
    assert_eq!(reply.status, 200, "{outage:?}: {reply:?}");
    bed.issuer.down().await;
    let reply = bed.get_with(Protocol::H1, &bed.token("carol", &[])).await;
    assert_eq!(reply.status, 200, "down after {outage:?}: {reply:?}");
    assert_eq!(
        bed.issuer.other_fetches(),
        0,
        "redirects are not followed to elsewhere"
    );
}

#[tokio::test]
async fn an_outage_keeps_the_keys_that_are_there() {
    let text = |text: &'static str| survives(move |_| Behaviour::Text(text.to_owned()));
    tokio::join!(
        survives(|_| Behaviour::Status(500)),
        text("<html>maintenance</html>"),
        text(r#"{"keys":[{"kty":"OKP","crv":"Ed448","x":"AA"}]}"#),
        survives(|issuer| Behaviour::Redirect(issuer.elsewhere())),
        survives(|_| Behaviour::Huge(64 << 20)),
    );
}

#[tokio::test]
async fn an_outage_leaves_a_ready_proxy_ready() {
    let bed = Bed::start().await;
    let known = bed.token("alice", &[]);
    bed.get_with(Protocol::H1, &known).await.assert_status(200);
    bed.issuer.down().await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(10) {
        let ready = bed.proxy.probe("/ready").await.unwrap();
        ready.assert_status(200);
        // Those who are logged in, and those who log in now.
        for protocol in Protocol::BOTH {
            bed.get_with(protocol, &known).await.assert_status(200);
            let fresh = bed.token("bob", &[]);
            bed.get_with(protocol, &fresh).await.assert_status(200);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(bed.proxy.probe("/ready").await.unwrap().status, 200);
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

#[tokio::test]
async fn an_issuer_that_never_answers_holds_up_nobody_else() {
    let bed = Bed::start().await;
    // The keys are fetched when the first token asks for them.
    bed.get_with(Protocol::H1, &bed.token("warm", &[]))
        .await
        .assert_status(200);
    bed.issuer.set_jwks(Behaviour::Hang);
    let stranger = SigningKey::generate(Alg::ES256, "stranger").unwrap();
    let unknown = bed.issuer.claims("mallory").sign(&stranger);
    let waiting = join_all((0..20).map(|_| {
        bed.client
            .send(Protocol::H1, Call::get(PODS).bearer(&unknown))
    }));
    let good = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let start = Instant::now();
        bed.get_with(Protocol::H1, &bed.token("alice", &[]))
            .await
            .assert_status(200);
        start.elapsed()
    };
    let (refused, took) = tokio::join!(waiting, good);
    assert!(took < Duration::from_secs(2), "a good token took {took:?}");
    for reply in refused {
        reply.unwrap().assert_refusal(401);
    }
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

/// A proxy whose issuer has been broken before its start never accepts and never asks elsewhere.
async fn never_accepts(spoil: impl FnOnce(&FakeIssuer)) {
    let issuer = FakeIssuer::start().await.unwrap();
    let api = FakeApiServer::start().await.unwrap();
    spoil(&issuer);
    let proxy = Setup::new(&api, &issuer)
        .wait_for("/live")
        .start(&issuer)
        .await
        .unwrap();
    let token = issuer.token("alice", &[]);
    let deadline = Instant::now() + Duration::from_secs(3);
    while Instant::now() < deadline {
        let sent = proxy
            .client()
            .send(Protocol::H1, Call::get(PODS).bearer(&token))
            .await;
        if let Ok(reply) = sent {
            assert!(matches!(reply.status, 401 | 503), "{reply:?}");
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    api.assert_untouched();
    assert_eq!(issuer.other_fetches(), 0);
    assert!(issuer.discovery_fetches() > 0, "the proxy did ask");
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
    let mut config = oidcproxy_tests::proxy::authentication_config(&issuer);
    config["jwt"][0]["issuer"]["certificateAuthority"] = json!(other.ca_pem());
    let setup = Setup::new(&api, &issuer).config(&config).wait_for("/live");
    let proxy = setup.start(&issuer).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let call = Call::get(PODS).bearer(&issuer.token("alice", &[]));
    if let Ok(reply) = proxy.client().send(Protocol::H1, call).await {
        assert!(matches!(reply.status, 401 | 503), "{reply:?}");
    }
    api.assert_untouched();
    assert_eq!(issuer.discovery_fetches(), 0);
}

#[tokio::test]
async fn two_issuers_are_told_apart() {
    let other = FakeIssuer::start().await.unwrap();
    let bed = Bed::with(|setup, issuer| {
        let mut config = oidcproxy_tests::proxy::authentication_config(issuer);
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
