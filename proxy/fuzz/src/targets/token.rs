//! Tokens: a text as a client sends it, or, with a line break in it, a header and claims to be encoded first.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use oidc_proxy::internals;
use serde_json::Value;

use super::check_identity;

pub(crate) fn run(input: &str) {
    let token = match input.split_once('\n') {
        None => input.to_owned(),
        Some((header, claims)) => {
            let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
            format!("{}.{}.c2ln", encode(header), encode(claims))
        }
    };
    let Ok(read) = internals::read_token(&token) else {
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
    if let Some(lines) = read.identity {
        check_identity(&lines);
    }
}
