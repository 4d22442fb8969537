//! Which tokens are accepted. What is refused is 401, says nothing, and never reaches the API server.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use futures::future::join_all;
use oidcproxy_tests::{
    bed::Bed,
    client::{Call, Protocol},
    issuer::FakeIssuer,
    jose::{Alg, SigningKey, TokenBuilder, b64, now},
    proxy::OWN_TOKEN,
};
use serde_json::{Value, json};

const PODS: &str = "/api/v1/pods";

#[tokio::test]
async fn a_valid_token_is_forwarded_as_its_user() {
    let bed = Bed::start().await;
    for protocol in Protocol::BOTH {
        let bed_token = bed.token("alice", &["dev", "ops"]);
        bed.get_with(protocol, &bed_token).await.assert_status(200);
    }
    let seen = bed.api.forwarded();
    assert_eq!(seen.len(), 2);
    for request in seen {
        assert_eq!(request.user().as_deref(), Some("alice"));
        assert_eq!(request.groups(), ["dev", "ops", "system:authenticated"]);
        assert_eq!(
            request.values("authorization"),
            [format!("Bearer {OWN_TOKEN}")]
        );
    }
}

type Case = (&'static str, String);

fn good(issuer: &FakeIssuer) -> TokenBuilder {
    issuer.claims("alice").groups(&["dev"])
}

/// Tokens that are none.
fn malformed(issuer: &FakeIssuer) -> Vec<Case> {
    let good = || good(issuer);
    let sign = |token: TokenBuilder| issuer.sign(&token);
    let valid = sign(good());
    let parts: Vec<&str> = valid.split('.').collect();
    let forged =
        json!({"iss": issuer.url(), "aud": "kubernetes", "sub": "admin", "exp": now() + 600});
    let twice = format!(
        r#"{{"iss":"{}","aud":"kubernetes","exp":{},"sub":"alice","sub":"admin"}}"#,
        issuer.url(),
        now() + 600
    );
    vec![
        ("opaque", "opaque".to_owned()),
        ("three words", "a.b.c".to_owned()),
        ("two segments", format!("{}.{}", parts[0], parts[1])),
        ("four segments", format!("{valid}.x")),
        ("JWE", format!("{valid}.x.y")),
        ("padded", format!("{valid}==")),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        (
            "other payload",
            format!("{}.{}.{}", parts[0], b64(forged.to_string()), parts[2]),
        ),
        ("cut signature", valid[..valid.len() - 4].to_owned()),
        ("payload not JSON", sign(good().raw_payload("alice"))),
        ("payload an array", sign(good().raw_payload("[]"))),
        ("claim twice", sign(good().raw_payload(twice))),
        (
            "not UTF-8",
            sign(good().raw_payload(b"{\"iss\":\"\xff\"}".to_vec())),
        ),
    ]
}

/// Well signed, but not for this proxy, not now, or not of anybody.
fn wrong_claims(issuer: &FakeIssuer) -> Vec<Case> {
    let good = || good(issuer);
    let sign = |token: TokenBuilder| issuer.sign(&token);
    let claim = |name: &str, value: Value| issuer.sign(&good().claim(name, value));
    vec![
        ("expired", sign(good().expires_in(-1))),
        ("no exp", sign(good().without("exp"))),
        ("exp null", claim("exp", Value::Null)),
        ("exp a word", claim("exp", json!("tomorrow"))),
        ("exp an array", claim("exp", json!([now() + 600]))),
        ("exp 0", claim("exp", json!(0))),
        ("exp negative", claim("exp", json!(-1))),
        ("not yet valid", claim("nbf", json!(now() + 600))),
        ("nbf a word", claim("nbf", json!("now"))),
        ("other audience", claim("aud", json!("web"))),
        ("audience in other case", claim("aud", json!("Kubernetes"))),
        ("no audience", sign(good().without("aud"))),
        ("empty audience", claim("aud", json!([]))),
        ("audience a number", claim("aud", json!(1))),
        (
            "audience an object",
            claim("aud", json!({"kubernetes": true})),
        ),
        ("other issuer", claim("iss", json!("https://other.example"))),
        (
            "issuer with slash",
            claim("iss", json!(format!("{}/", issuer.url()))),
        ),
        (
            "issuer in other case",
            claim("iss", json!(issuer.url().to_uppercase())),
        ),
        ("no issuer", sign(good().without("iss"))),
        ("no user claim", sign(good().without("sub"))),
        ("user a number", claim("sub", json!(7))),
        ("groups a number", claim("groups", json!(7))),
        ("groups an object", claim("groups", json!({"dev": true}))),
        ("groups with a number", claim("groups", json!(["dev", 7]))),
        ("too long", claim("padding", json!("x".repeat(200_000)))),
    ]
}

/// Not signed as the issuer signs.
fn wrong_signatures(issuer: &FakeIssuer) -> Vec<Case> {
    let good = || good(issuer);
    let key = issuer.key();
    let kid = key.kid.clone();
    let rsa = issuer.publish_rsa();
    let stranger = SigningKey::generate(Alg::ES256, &kid).unwrap();
    vec![
        ("alg none", good().unsigned()),
        ("alg NoNe", good().header("alg", "NoNe").unsigned()),
        ("alg missing", good().without_header("alg").sign(&key)),
        (
            "alg in lower case",
            good().header("alg", "es256").sign(&key),
        ),
        ("alg EdDSA", good().header("alg", "EdDSA").sign(&key)),
        (
            "HMAC with the EC key",
            good().hmac(&key.public_bytes(), &kid),
        ),
        (
            "HMAC with the JWK",
            good().hmac(key.jwk().to_string().as_bytes(), &kid),
        ),
        (
            "HMAC with the RSA key",
            good().hmac(&rsa.public_bytes(), &rsa.kid),
        ),
        ("HMAC with nothing", good().hmac(b"", &kid)),
        (
            "RSA algorithm, EC key",
            good().header("alg", "RS256").sign(&key),
        ),
        (
            "EC algorithm, RSA key",
            good().header("alg", "ES256").sign(rsa),
        ),
        (
            "EC key id, RSA signature",
            good().header("kid", &*kid).sign(rsa),
        ),
        (
            "other curve's algorithm",
            good().header("alg", "ES384").sign(&key),
        ),
        ("other key, same id", good().sign(&stranger)),
        (
            "key in the header",
            good().header("jwk", stranger.jwk()).sign(&stranger),
        ),
        (
            "critical extension",
            good()
                .header("crit", json!(["exp2"]))
                .header("exp2", 1)
                .sign(&key),
        ),
        ("kid a number", good().header("kid", 7).sign(&key)),
        ("unknown kid", good().header("kid", "unknown").sign(&key)),
        (
            "kid with path",
            good().header("kid", "../../es-1").sign(&key),
        ),
    ]
}

#[tokio::test]
async fn bad_tokens_are_refused_over_both_protocols() {
    let bed = Bed::start().await;
    let tokens = [malformed, wrong_claims, wrong_signatures].map(|cases| cases(&bed.issuer));
    let tokens = tokens.concat();
    let cases: Vec<_> = tokens
        .iter()
        .flat_map(|case| Protocol::BOTH.map(|protocol| (protocol, case)))
        .collect();
    // Together, since each signature that does not verify may wait for a fetch of the keys.
    let replies = join_all(cases.iter().map(|(protocol, (_, token))| {
        let call = Call::get(PODS).bearer(token);
        bed.client.send(*protocol, call)
    }));
    for ((protocol, (name, _)), reply) in cases.iter().zip(replies.await) {
        let Ok(reply) = reply else {
            // A header beyond the limit may also end the connection or the stream.
            assert_eq!(*name, "too long", "{protocol:?}: {reply:?}");
            continue;
        };
        if reply.status == 431 && *name == "too long" {
            continue;
        }
        assert_eq!(reply.status, 401, "{protocol:?}, {name}: {reply:?}");
        reply.assert_refusal(401);
    }
    bed.api.assert_untouched();
    assert!(bed.api.reviews().tokens().is_empty());
    assert_eq!(bed.issuer.other_fetches(), 0);
}

#[tokio::test]
async fn every_algorithm_is_accepted() {
    let bed = Bed::start().await;
    let keys: Vec<SigningKey> = Alg::ALL
        .into_iter()
        .map(|alg| SigningKey::generate(alg, alg.name()).unwrap())
        .collect();
    for key in &keys {
        bed.issuer.publish_jwk(key.jwk());
    }
    for key in &keys {
        let token = bed.issuer.claims(key.alg.name()).sign(key);
        let reply = bed.get_with(Protocol::H1, &token).await;
        assert_eq!(reply.status, 200, "{}: {reply:?}", key.alg.name());
        assert_eq!(reply.json()["user"], key.alg.name());
    }
}

#[tokio::test]
async fn tokens_may_leave_out_what_is_not_needed() {
    let bed = Bed::start().await;
    let good = || bed.issuer.claims("alice");
    let key = bed.issuer.key();
    let tokens = [
        ("no kid", good().without_header("kid").sign(&key)),
        ("no typ", good().without_header("typ").sign(&key)),
        ("no iat", good().without("iat").sign(&key)),
        (
            "several audiences",
            good().claim("aud", json!(["web", "kubernetes"])).sign(&key),
        ),
        (
            "exp with fraction",
            good()
                .claim(
                    "exp",
                    serde_json::from_str::<Value>(&format!("{}.5", now() + 600)).unwrap(),
                )
                .sign(&key),
        ),
        (
            "nbf within the leeway",
            good().claim("nbf", now() + 30).sign(&key),
        ),
        (
            "iat in the future",
            good().claim("iat", now() + 600).sign(&key),
        ),
        (
            "one group as text",
            good().claim("groups", "dev").sign(&key),
        ),
        (
            "groups null",
            good().claim("groups", Value::Null).sign(&key),
        ),
    ];
    for (name, token) in tokens {
        let reply = bed.get_with(Protocol::H2, &token).await;
        assert_eq!(reply.status, 200, "{name}: {reply:?}");
        assert_eq!(reply.json()["user"], "alice", "{name}");
    }
}

#[tokio::test]
async fn each_request_of_a_connection_is_authenticated_by_itself() {
    let bed = Bed::start().await;
    let key = bed.issuer.key();
    for protocol in Protocol::BOTH {
        let mut connection = bed.connect(protocol).await;
        for _ in 0..3 {
            for (subject, group) in [("alice", "dev"), ("alice", "ops"), ("bob", "dev")] {
                let token = bed.issuer.claims(subject).groups(&[group]).sign(&key);
                let call = Call::get(PODS).bearer(&token);
                let identity = connection.send(call).await.unwrap().json();
                assert_eq!(identity["user"], subject);
                assert_eq!(identity["groups"], json!([group, "system:authenticated"]));
            }
            let reply = connection.send(Call::get(PODS)).await;
            // An unauthenticated request may end the connection after its answer.
            reply.unwrap().assert_refusal(401);
            connection = bed.connect(protocol).await;
        }
    }
}

#[tokio::test]
async fn a_token_that_was_accepted_is_refused_once_it_expires() {
    let bed = Bed::start().await;
    let token = bed.issuer.sign(&bed.issuer.claims("alice").expires_in(3));
    bed.get_with(Protocol::H1, &token).await.assert_status(200);
    tokio::time::sleep(std::time::Duration::from_millis(4500)).await;
    bed.get_with(Protocol::H1, &token).await.assert_refusal(401);
    assert_eq!(bed.api.forwarded().len(), 1);
}
