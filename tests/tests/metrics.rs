//! `/metrics`: what docs/metrics.md says is there, nothing else is, and it counts.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use oidcproxy_tests::{
    api_server::{Answer, Events, Upgrade},
    bed::Bed,
    client::{Call, Protocol},
};
use serde_json::json;

/// A type and the labels' names.
type Shape = (String, BTreeSet<String>);

/// The rows of a section's table: name, type, labels.
fn documented(section: &str) -> BTreeMap<String, Shape> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, rest) = text.split_once(&format!("\n## {section}\n")).unwrap();
    let section = rest.split("\n## ").next().unwrap();
    let rows = section
        .lines()
        .filter(|line| line.starts_with("| `oidc_proxy_"));
    let row = |line: &str| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let name = cells[1].trim_matches('`').to_owned();
        let labels = cells[3].split(", ").filter(|label| !label.is_empty());
        let labels = labels.map(|label| label.trim_matches('`').to_owned());
        (name, (cells[2].to_owned(), labels.collect()))
    };
    rows.map(row).collect()
}

/// The families of an `OpenMetrics` text, by the names that queries use.
fn exposed(text: &str) -> BTreeMap<String, Shape> {
    let mut families = BTreeMap::new();
    let mut last = String::new();
    for line in text.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.split_once(' ').unwrap();
            last = match kind {
                "counter" => format!("{name}_total"),
                "info" => format!("{name}_info"),
                _ => name.to_owned(),
            };
            families.insert(last.clone(), (kind.to_owned(), BTreeSet::new()));
        } else if let Some((_, labels)) = line.split_once('{').filter(|_| !line.starts_with('#')) {
            let labels = labels.rsplit_once('}').unwrap().0;
            // No value of ours holds `",`.
            let names = labels
                .split("\",")
                .filter_map(|label| label.split_once('='));
            let names = names.map(|(name, _)| name.trim_start_matches(',').to_owned());
            let known = &mut families.get_mut(&last).unwrap().1;
            known.extend(names.filter(|name| name != "le"));
        }
    }
    families
}

async fn metrics(bed: &Bed) -> String {
    bed.proxy.probe("/metrics").await.unwrap().text()
}

#[track_caller]
fn assert_counts(metrics: &str, samples: &[&str]) {
    for sample in samples {
        let line = format!("oidc_proxy_{sample}");
        assert!(
            metrics.lines().any(|found| found == line),
            "{line} is not in\n{metrics}"
        );
    }
}

/// What makes a series of every family that has none from the start.
async fn traffic(bed: &Bed) {
    let token = bed.token("jane", &["dev", "ops"]);
    bed.api
        .reviews()
        .allow_impersonate("jane", "", "users", "bob");
    for protocol in Protocol::BOTH {
        bed.get_with(protocol, &token).await.assert_status(200);
        let call = Call::get("/apis/example.org/v1/things").bearer(&token);
        bed.send(protocol, call).await.assert_status(200);
        let call = Call::get("/api/v1/pods").bearer(&token);
        let call = call.header("impersonate-user", "bob");
        bed.send(protocol, call).await.assert_status(200);
    }
    let expired = bed.issuer.sign(&bed.issuer.claims("jane").expires_in(-5));
    bed.get_with(Protocol::H1, &expired)
        .await
        .assert_refusal(401);
    bed.get_with(Protocol::H1, "x.y.z")
        .await
        .assert_refusal(401);
    bed.send(Protocol::H1, Call::get("/version"))
        .await
        .assert_refusal(401);
}

#[tokio::test]
async fn the_documented_metrics_are_those_that_there_are() {
    let bed = Bed::start().await;
    traffic(&bed).await;
    let events = Events::default();
    bed.api
        .answer("/api/v1/pods?watch", Answer::Watch(events.clone()));
    let call = Call::get("/api/v1/pods?watch=1").bearer(&bed.token("jane", &[]));
    let mut watch = bed.client.stream(Protocol::H1, call).await.unwrap();
    events.end();
    assert_eq!(watch.next().await.unwrap(), None);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !metrics(&bed)
        .await
        .contains("oidc_proxy_streams_closed_total{")
    {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(exposed(&metrics(&bed).await), documented("The proxy"));
}

#[tokio::test]
async fn requests_and_credentials_are_counted() {
    let bed = Bed::start().await;
    traffic(&bed).await;
    let metrics = metrics(&bed).await;
    let issuer = metrics
        .lines()
        .find_map(|line| {
            line.strip_prefix("oidc_proxy_jwks_last_success_timestamp_seconds{issuer=\"")
        })
        .and_then(|line| line.split_once("\"} "))
        .unwrap();
    let (issuer, fetched) = issuer;
    assert!(fetched.parse::<u64>().unwrap() > 1_700_000_000, "{fetched}");
    let authn = |result: &str, reason: &str, count: u32| {
        format!(
            "authn_total{{issuer=\"{issuer}\",result=\"{result}\",reason=\"{reason}\"}} {count}"
        )
    };
    assert_counts(
        &metrics,
        &[
            "requests_total{verb=\"list\",resource=\"pods\",code=\"200\"} 4",
            "requests_total{verb=\"list\",resource=\"other\",code=\"200\"} 2",
            "requests_total{verb=\"get\",resource=\"none\",code=\"401\"} 1",
            &authn("success", "verified", 1),
            &authn("success", "cached", 5),
            &authn("failure", "expired", 1),
            "authn_total{issuer=\"\",result=\"failure\",reason=\"unclaimed\"} 1",
            "authn_total{issuer=\"\",result=\"failure\",reason=\"no_credential\"} 1",
            "authn_duration_seconds_count 2",
            "sar_total{result=\"allowed\"} 1",
            "sar_duration_seconds_count 1",
            "sar_cache_hits_total 1",
            // Three of the token's, and the one that comes by itself for either --as.
            "impersonated_groups_count 3",
            "impersonated_groups_sum 5.0",
            "ready 1",
        ],
    );
    assert!(metrics.contains("oidc_proxy_settings_info{revision=\"sha256:"));
}

#[tokio::test]
async fn labels_do_not_grow_with_what_clients_send() {
    let bed = Bed::start().await;
    let token = bed.token("jane", &[]);
    bed.get_with(Protocol::H1, &token).await;
    let mut connection = bed.connect(Protocol::H2).await;
    let ask = async |connection: &mut oidcproxy_tests::client::Connection, n: usize| {
        for target in [
            format!("/api/v1/kind-{n}"),
            format!("/apis/group-{n}.example/v1/kind-{n}/name?watch={n}"),
            format!("/path-{n}"),
        ] {
            let method = http::Method::from_bytes(format!("VERB{n}").as_bytes()).unwrap();
            for method in [http::Method::GET, method] {
                let call = Call::new(method, &target).bearer(&token);
                connection.send(call).await.unwrap();
            }
        }
    };
    ask(&mut connection, 0).await;
    let before = metrics(&bed).await.lines().count();
    for n in 1..50 {
        ask(&mut connection, n).await;
    }
    assert_eq!(metrics(&bed).await.lines().count(), before);
}

#[tokio::test]
async fn streams_are_counted_while_they_are_open_and_by_their_end() {
    let bed = Bed::start().await;
    let events = Events::default();
    bed.api.answer("/api/v1", Answer::Watch(events.clone()));
    let pod = "/api/v1/namespaces/default/pods/web";
    let exec = "/api/v1/namespaces/default/pods/web/exec";
    bed.api.answer(exec, Answer::Upgrade(Upgrade::default()));
    let token = bed.token("jane", &[]);
    let targets = [
        ("watch", "/api/v1/pods?watch=1".to_owned()),
        ("log", format!("{pod}/log?follow=true")),
        ("proxy", format!("{pod}/proxy/")),
    ];
    for protocol in Protocol::BOTH {
        let mut open = Vec::new();
        for (_, target) in &targets {
            let call = Call::get(target).bearer(&token);
            open.push(bed.client.stream(protocol, call).await.unwrap());
        }
        let mut raw = bed.client.raw().await.unwrap();
        let bearer = format!("Authorization: Bearer {token}");
        let lines = [&*bearer, "Connection: Upgrade", "Upgrade: SPDY/3.1"];
        raw.request(&format!("POST {exec}"), &lines).await.unwrap();
        assert_eq!(raw.head().await.unwrap().status, 101);
        let now = metrics(&bed).await;
        for kind in ["watch", "log", "proxy", "spdy"] {
            assert_counts(&now, &[&format!("streams_active{{kind=\"{kind}\"}} 1")]);
        }
        drop(raw);
        // One is left by its client, the others end by themselves.
        open.remove(0).abort();
        events.end();
        for answer in &mut open {
            assert_eq!(answer.next().await.unwrap(), None);
        }
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        let closed = || async {
            let now = metrics(&bed).await;
            let kinds = ["watch", "log", "proxy", "spdy"];
            let is_closed = |kind| now.contains(&format!("streams_active{{kind=\"{kind}\"}} 0"));
            kinds.into_iter().all(is_closed)
        };
        while !closed().await {
            assert!(tokio::time::Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let now = metrics(&bed).await;
    assert_counts(
        &now,
        &[
            "streams_total{kind=\"watch\"} 2",
            "streams_total{kind=\"spdy\"} 2",
            "streams_closed_total{kind=\"watch\",close_reason=\"client_closed\"} 2",
            "streams_closed_total{kind=\"log\",close_reason=\"completed\"} 2",
            "streams_closed_total{kind=\"proxy\",close_reason=\"completed\"} 2",
        ],
    );
}

#[tokio::test]
async fn tokens_of_the_cluster_are_counted_as_such() {
    let bed = Bed::with(|setup, _| setup.flag("--token-passthrough")).await;
    let user = json!({"username": "system:serviceaccount:web:deployer"});
    let status = json!({"authenticated": true, "user": user});
    bed.api.reviews().set_token_status(status);
    bed.get_with(Protocol::H1, "of-the-cluster").await;
    let now = metrics(&bed).await;
    assert_counts(
        &now,
        &[
            "authn_total{issuer=\"\",result=\"success\",reason=\"passthrough\"} 1",
            "token_reviews_total{result=\"authenticated\"} 1",
        ],
    );
}
