//! Tokens: a text as a client sends it, or, with a line break in it, a header and claims to be encoded first.

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use oidc_proxy::internals::{self, Mapping};
use serde_json::{Value, json};

use super::check_identity;

/// By claims, and the same by expressions.
static MAPPINGS: LazyLock<[Mapping; 2]> = LazyLock::new(|| {
    let by_claims = json!({
        "username": {"claim": "sub", "prefix": "corp:"},
        "groups": {"claim": "groups", "prefix": "corp:"},
        "uid": {"claim": "oid"},
    });
    let by_expressions = json!({
        "username": {"expression": "'corp:' + claims.sub"},
        "groups": {"expression": "dyn(claims.?groups.orValue([])).map(g, 'corp:' + g)"},
        "extra": [{"key": "example.com/email", "valueExpression": "claims.?email.orValue('')"}],
    });
    [by_claims, by_expressions].map(|mappings| Mapping::new(&mappings).expect("it compiles"))
});

pub(crate) fn run(input: &str) {
    let token = match input.split_once('\n') {
        None => input.to_owned(),
        Some((header, claims)) => {
            let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
            format!("{}.{}.c2ln", encode(header), encode(claims))
        }
    };
    let Ok(read) = internals::read_token(&token, MAPPINGS.as_slice()) else {
        return;
    };
    // Caches go by the spelling, so there is one only.
    let spelt: Vec<_> = token
        .split('.')
        .map(|part| URL_SAFE_NO_PAD.decode(part).expect("base64url"))
        .map(|bytes| URL_SAFE_NO_PAD.encode(bytes))
        .collect();
    assert_eq!(spelt.join("."), token);
    assert_eq!(
        Some(Value::String(read.issuer)),
        read.checked_issuer,
        "both looks see the same issuer"
    );
    for lines in read.identities {
        check_identity(&lines);
        let prefixed = |(name, value): &(String, Vec<u8>)| {
            name != "impersonate-user" || value.starts_with(b"corp:")
        };
        assert!(lines.iter().all(prefixed), "a name without its prefix");
    }
}
