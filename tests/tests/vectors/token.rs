//! Tokens as the vectors describe them, whole or broken.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use oidcproxy_tests::jose::b64;
use serde_json::{Map, Value, json};

use crate::{keys::key, play::Fill, vector::Token};

/// The bearer token.
pub(crate) fn build(token: &Token, fill: &Fill) -> String {
    if let Some(raw) = &token.raw {
        return fill.text(raw);
    }
    let algorithm = token.sign.alg.as_deref().unwrap_or("RS256");
    let header = header(token, algorithm, fill);
    let payload = payload(token, fill);
    let mut header = b64(header);
    if mutates(token, "pad-header") {
        while !header.len().is_multiple_of(4) {
            header.push('=');
        }
    }
    let (header, segment) = (header, b64(&payload));
    let input = if token.sign.input.as_deref() == Some("b64=false") {
        [header.as_bytes(), b".", &payload].concat()
    } else {
        format!("{header}.{segment}").into_bytes()
    };
    let signature = mutated(token, &b64(signature(token, algorithm, &input)));
    match token.form.as_deref() {
        None => format!("{header}.{segment}{signature}"),
        Some("unsecured-two-part") => format!("{header}.{segment}"),
        Some("json-flattened") => {
            json!({"protected": header, "payload": segment, "signature": signature[1..]})
                .to_string()
        }
        Some("json-general") => {
            let signatures = json!([{"protected": header, "signature": signature[1..]}]);
            json!({"payload": segment, "signatures": signatures}).to_string()
        }
        Some("jwe") => format!("{header}.{segment}.AAAA.AAAA.AAAA"),
        Some(other) => panic!("unknown form {other}"),
    }
}

fn header(token: &Token, algorithm: &str, fill: &Fill) -> String {
    if let Some(raw) = &token.header_raw {
        return fill.text(raw);
    }
    let mut header = Map::from_iter([
        ("alg".to_owned(), json!(algorithm)),
        ("kid".to_owned(), json!("a")),
    ]);
    for (name, value) in &token.header {
        if value.is_null() {
            header.remove(name);
        } else {
            header.insert(name.clone(), value.clone());
        }
    }
    fill.text(&Value::Object(header).to_string())
}

fn payload(token: &Token, fill: &Fill) -> Vec<u8> {
    if let Some(bytes) = &token.claims_base64 {
        let bytes = bytes.trim_end_matches('=');
        return URL_SAFE_NO_PAD
            .decode(bytes)
            .or_else(|_| base64::engine::general_purpose::STANDARD_NO_PAD.decode(bytes))
            .unwrap();
    }
    let text = token
        .claims_raw
        .clone()
        .unwrap_or_else(|| Value::Object(token.claims.clone()).to_string());
    fill.text(&text).into_bytes()
}

fn signature(token: &Token, algorithm: &str, input: &[u8]) -> Vec<u8> {
    if algorithm == "none" {
        return Vec::new();
    }
    if let Some(secret) = &token.sign.secret {
        let jwk = key("rsa-a").jwk();
        let modulus = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
        let secret = match secret.as_str() {
            "public-key-pem" => {
                format!("-----BEGIN PUBLIC KEY-----\n{}\n", STANDARD.encode(modulus)).into_bytes()
            }
            "jwk-n" => jwk["n"].as_str().unwrap().as_bytes().to_vec(),
            "empty" => Vec::new(),
            other => panic!("unknown secret {other}"),
        };
        let hmac = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret);
        return aws_lc_rs::hmac::sign(&hmac, input).as_ref().to_vec();
    }
    let der = token.sign.encoding.as_deref() == Some("der");
    key(token.sign.key.as_deref().unwrap_or("rsa-a")).sign(algorithm, input, der)
}

fn mutates(token: &Token, name: &str) -> bool {
    token.mutate.iter().any(|mutation| mutation == name)
}

/// What follows the payload: a dot and the signature, as the mutations want it.
fn mutated(token: &Token, signature: &str) -> String {
    let mut signature = format!(".{signature}");
    for mutation in &token.mutate {
        match mutation.as_str() {
            "flip-signature-bit" => {
                let flipped = if signature.as_bytes()[5] == b'A' {
                    "B"
                } else {
                    "A"
                };
                signature.replace_range(5..6, flipped);
            }
            "drop-signature" => signature.truncate(1),
            "truncate-signature" => signature.truncate(signature.len() - 4),
            "extra-segment" => signature.push_str(".AAAA"),
            "pad-signature" => signature.push_str("=="),
            "pad-header" => {}
            "noncanonical-trailing-bits" => {
                let last = signature.pop().unwrap();
                signature.push(char::from(u8::try_from(last).unwrap() + 1));
            }
            other => panic!("unknown mutation {other}"),
        }
    }
    signature
}
