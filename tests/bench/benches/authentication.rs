//! What a request costs in the proxy before it is forwarded: a token that is known, one that is not, expressions, headers.

// A step that fails ends the benchmark.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used)]

use divan::Bencher;
use futures::FutureExt as _;
use oidc_proxy::internals::{Mapping, RunningAuthenticator, Verifier, encode_identity};
use oidcproxy_expression::{Environment, Program};
use oidcproxy_tests::{
    issuer::FakeIssuer,
    jose::{Alg, SigningKey},
    proxy::authentication_config,
};
use serde_json::{Map, Value, json};

/// A public key of 4096 bits and tokens that it verifies.
const RSA_4096: &str = include_str!("../data/rsa4096.json");

fn main() {
    divan::main();
}

fn groups(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("corp:team-{n}")).collect()
}

/// SHA-256 of the token, the look-up, and whether key and time are still good.
#[divan::bench(args = [2, 50])]
fn token_cache_hit(bencher: Bencher<'_, '_>, group_count: usize) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _entered = runtime.enter();
    let issuer = runtime.block_on(FakeIssuer::start()).unwrap();
    let config = authentication_config(&issuer).to_string();
    let authenticator = RunningAuthenticator::start(&config).unwrap();
    let groups = groups(group_count);
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    let token = issuer.token("alice", &groups);
    runtime
        .block_on(authenticator.authenticate(&token))
        .unwrap();
    bencher.bench_local(|| {
        authenticator
            .authenticate(&token)
            .now_or_never()
            .unwrap()
            .unwrap()
    });
}

const ALGORITHMS: [&str; 9] = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512",
];

/// A token that is not known: reading it and checking its signature.
#[divan::bench(args = ALGORITHMS)]
fn verify(bencher: Bencher<'_, '_>, algorithm: &str) {
    let algorithm = Alg::ALL.into_iter().find(|known| known.name() == algorithm);
    let key = SigningKey::generate(algorithm.unwrap(), "key").unwrap();
    let verifier = Verifier::new(&json!({"keys": [key.jwk()]}).to_string()).unwrap();
    let groups = groups(20);
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    let claims = oidcproxy_tests::jose::TokenBuilder::new("https://id.example.com", "a", "alice");
    let token = claims.groups(&groups).sign(&key);
    assert!(verifier.verifies(&token));
    bencher.bench_local(|| verifier.verifies(&token));
}

/// The same with twice the bits.
#[divan::bench(args = ["RS256", "PS256"])]
fn verify_rsa_4096(bencher: Bencher<'_, '_>, algorithm: &str) {
    let data: Value = serde_json::from_str(RSA_4096).unwrap();
    let verifier = Verifier::new(&json!({"keys": [data["jwk"]]}).to_string()).unwrap();
    let token = data[algorithm].as_str().unwrap();
    assert!(verifier.verifies(token));
    bencher.bench_local(|| verifier.verifies(token));
}

const MAPPINGS: [&str; 2] = ["claims", "expressions"];

/// From claims with 20 groups to the headers of a user.
#[divan::bench(args = MAPPINGS)]
fn map_identity(bencher: Bencher<'_, '_>, kind: &str) {
    let mappings = if kind == "claims" {
        json!({
            "username": {"claim": "sub", "prefix": "corp:"},
            "groups": {"claim": "groups", "prefix": "corp:"},
        })
    } else {
        json!({
            "username": {"expression": "'corp:' + claims.sub"},
            "groups": {"expression": "dyn(claims.groups).map(g, 'corp:' + g)"},
        })
    };
    let mapping = Mapping::new(&mappings).unwrap();
    let claims = claims();
    mapping.headers(&claims).unwrap();
    bencher.bench_local(|| mapping.headers(&claims).unwrap());
}

const EXPRESSIONS: [(&str, &str); 3] = [
    ("prefix", "'corp:' + claims.sub"),
    (
        "filter",
        "dyn(claims.groups).filter(g, g.matches('^team-[0-9]+$'))",
    ),
    (
        "rule",
        "claims.email.endsWith('@example.com') && claims.?email_verified.orValue(true) == true",
    ),
];

/// Expressions alone, over the same claims.
#[divan::bench(args = EXPRESSIONS.map(|(name, _)| name))]
fn expression(bencher: Bencher<'_, '_>, name: &str) {
    let source = EXPRESSIONS.into_iter().find(|(known, _)| *known == name);
    let program = Program::compile(source.unwrap().1, Environment::Claims).unwrap();
    let claims = claims();
    program.evaluate_claims(&claims).unwrap();
    bencher.bench_local(|| program.evaluate_claims(&claims).unwrap());
}

fn claims() -> Map<String, Value> {
    let groups: Vec<String> = (0..20).map(|n| format!("team-{n}")).collect();
    let claims = json!({
        "iss": "https://id.example.com", "aud": "kubernetes", "exp": 1_900_000_000, "sub": "alice",
        "groups": groups, "email": "alice@example.com", "email_verified": true,
    });
    claims.as_object().unwrap().clone()
}

/// An identity as headers: once for each token.
#[divan::bench(args = [2, 50])]
fn encode_headers(bencher: Bencher<'_, '_>, group_count: usize) {
    let groups = groups(group_count);
    bencher.bench_local(|| encode_identity("corp:alice", &groups).unwrap());
}
