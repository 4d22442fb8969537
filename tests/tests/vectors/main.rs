//! The vectors of `tests/vectors/oidc-vectors.json`: tokens, configurations and HTTP requests, with what kube-apiserver's
//! own packages made of each, played against the proxy's binary over real sockets.
//!
//! Those of `more-vectors.json` that begin with `seen-` were observed in the same way; the others were written by what its
//! sources say, not by running it.
//!
//! `OIDC_VECTORS` names another file of the same format; `OIDC_VECTORS_ONLY` picks vectors by a part of their names.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod http_requests;
mod idp;
mod judge;
mod keys;
mod play;
mod token;
mod vector;

use std::sync::Arc;

use futures::{StreamExt as _, stream};

use self::{judge::Verdict, play::Place, vector::File};

/// Proxies that run at a time.
const CONCURRENCY: usize = 6;

fn file() -> File {
    let parsed = |text: &str| serde_json::from_str::<File>(text).unwrap();
    if let Ok(path) = std::env::var("OIDC_VECTORS") {
        return parsed(&std::fs::read_to_string(path).unwrap());
    }
    let mut file = parsed(include_str!("../../vectors/oidc-vectors.json"));
    let more = parsed(include_str!("../../vectors/more-vectors.json"));
    file.vectors.extend(more.vectors);
    file
}

fn is_wanted(name: &str) -> bool {
    std::env::var("OIDC_VECTORS_ONLY").map_or(true, |part| name.contains(&part))
}

/// Prints the outcome, and checks that the documentation names every difference and nothing else.
fn report(what: &str, verdicts: &[(String, Verdict)]) {
    let mut failed = 0;
    let mut differences = Vec::new();
    for (name, verdict) in verdicts {
        match verdict {
            Verdict::Same => {}
            Verdict::Different => differences.push(name.as_str()),
            Verdict::Failed(why) => {
                failed += 1;
                println!("FAILED {name}: {why}");
            }
        }
    }
    println!(
        "{what}: {} passed, {failed} failed",
        verdicts.len() - failed
    );
    println!(
        "{what}: {} of those passed differ as the format allows: {}",
        differences.len(),
        differences.join(" ")
    );
    let documented = include_str!("../../../docs/differences.md");
    for name in differences {
        assert!(
            documented.contains(&format!("`{name}`")) || std::env::var_os("OIDC_VECTORS").is_some(),
            "docs/differences.md does not speak of {name}"
        );
    }
    assert_eq!(failed, 0, "{what}: see above");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_and_configuration_vectors() {
    let place = Arc::new(Place::new().await);
    let vectors = file().vectors;
    let verdicts = stream::iter(vectors.into_iter().filter(|vector| is_wanted(&vector.name)))
        .map(|vector| {
            let place = Arc::clone(&place);
            async move {
                let verdict = place.play(&vector).await;
                (vector.name, verdict)
            }
        })
        .buffer_unordered(CONCURRENCY)
        .collect::<Vec<_>>()
        .await;
    report("vectors", &verdicts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_vectors() {
    let vectors = file().http_vectors;
    let mut verdicts = Vec::new();
    for vector in vectors.into_iter().filter(|vector| is_wanted(&vector.name)) {
        let verdict = http_requests::play(&vector).await;
        verdicts.push((vector.name, verdict));
    }
    report("http_vectors", &verdicts);
}
