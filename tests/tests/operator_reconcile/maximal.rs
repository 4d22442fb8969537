//! All that a spec may say has room in the status.

use oidcproxy_tests::tls::TestCa;
use serde_json::{Value, json};

use crate::{
    bed::{Bed, condition},
    tools::settled,
};

/// As many certificates as 64 KiB hold.
fn bundle(name: &str) -> String {
    let mut all = String::new();
    loop {
        let next = TestCa::new(name).unwrap().pem();
        let next = format!("{}\n", next.trim());
        if all.len() + next.len() > 65_536 {
            return all;
        }
        all.push_str(&next);
    }
}

fn long(letter: &str, number: usize, length: usize) -> String {
    let text = format!("{letter}{number}-");
    format!("{text}{}", "x".repeat(length - text.len()))
}

fn entry(number: usize) -> Value {
    let audiences: Vec<String> = (0..16).map(|index| long("a", index, 512)).collect();
    let rules: Vec<Value> = (0..32)
        .map(|index| json!({"claim": long("c", index, 63), "requiredValue": "x"}))
        .collect();
    json!({
        "name": long("i", number, 63),
        "issuer": {
            "url": format!("https://{number}.example.com/{}", "x".repeat(2000)),
            "audiences": audiences, "audienceMatchPolicy": "MatchAny",
            "certificateAuthority": bundle(&number.to_string()),
        },
        "claimMappings": {"username": {"claim": "sub", "prefix": format!("{number}:")}},
        "claimValidationRules": rules,
    })
}

#[tokio::test]
async fn the_longest_spec_is_published() {
    let bed = Bed::new("t-maximal").await;
    // Two bundles and what is beside them come near the 256 KiB that settings may have.
    let hostnames: Vec<String> = (0..32)
        .map(|index| format!("h{index}.{}.{}.example.com", "x".repeat(63), "y".repeat(63)))
        .collect();
    let networks: Vec<String> = (0..32).map(|index| format!("10.{index}.0.0/16")).collect();
    bed.apply(json!({
        "authentication": {
            "jwt": [entry(0), entry(1), entry(2)],
            "reservedPrefixes": (0..8).map(|index| long("p", index, 64)).collect::<Vec<_>>(),
        },
        "serving": {"hostnames": hostnames, "trustedProxies": networks},
    }))
    .await;
    let proxy = settled(&bed).await;
    assert!(condition(&proxy, "Stalled").is_none());
    let settings = proxy.status.unwrap().settings.unwrap();
    let authorities = settings.authentication.certificate_authorities;
    assert_eq!(authorities.len(), 3);
    let shortest = authorities.values().map(String::len).min().unwrap();
    assert!(shortest > 64_000, "{shortest}");
}
