//! The `http_vectors`: where a request carries its token, and what comes of none.

use base64::{
    Engine as _,
    engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD},
};
use oidcproxy_tests::{bed::Bed, client::Call, client::Protocol, proxy::authentication_config};
use serde_json::json;

use crate::{judge::Verdict, play::user, vector::HttpVector};

pub(crate) async fn play(vector: &HttpVector) -> Verdict {
    let bed = Bed::with(|setup, issuer| {
        let mut config = authentication_config(issuer);
        config["anonymous"] = match vector.anonymous.as_deref() {
            Some("on") => json!({"enabled": true}),
            Some("paths") => json!({"enabled": true, "conditions": [{"path": "/healthz"}]}),
            _ => json!({"enabled": false}),
        };
        setup.config(&config)
    })
    .await;
    let path = vector.path.as_deref().unwrap_or("/api");
    let mut call = Call::get(path);
    for (name, value) in &vector.headers {
        call = call.header(name, fill(value, &bed));
    }
    let reply = bed.send(Protocol::H1, call).await;
    let expected = &vector.expect;
    if path == "/readyz" && reply.body == "ok" {
        // These paths speak of the proxy, whoever asks.
        return Verdict::Different;
    }
    if reply.status != expected.status {
        return Verdict::Failed(format!("expected {}, saw {reply:?}", expected.status));
    }
    if expected.warning && reply.header("warning").is_none() {
        return Verdict::Failed(format!("no warning: {reply:?}"));
    }
    if expected.status != 200 {
        return Verdict::Same;
    }
    // Groups that everybody gets are part of what these vectors expect.
    let mut wanted = expected.user.clone().unwrap_or_default();
    wanted
        .groups
        .retain(|group| group != "system:authenticated");
    let seen = user(&reply.json());
    if seen != wanted {
        return Verdict::Failed(format!("expected {wanted:?}, saw {seen:?}"));
    }
    let Some(protocols) = &expected.forwarded_protocols else {
        return Verdict::Same;
    };
    let recorded = bed.api.requests();
    let forwarded = recorded.last().unwrap().values("sec-websocket-protocol");
    if forwarded == *protocols {
        Verdict::Same
    } else if protocols
        .iter()
        .any(|line| line.contains("base64url.bearer."))
    {
        // kube-apiserver leaves a token that it did not use in place; here none travels on.
        Verdict::Different
    } else {
        Verdict::Failed(format!("expected {protocols:?}, saw {forwarded:?}"))
    }
}

fn fill(value: &str, bed: &Bed) -> String {
    let good = bed.token("jane", &["dev"]);
    let bad = format!(
        "{}AAAA",
        bed.token("jane", &["dev"]).trim_end_matches(|c| c != '.')
    );
    value
        .replace("{{GOOD}}", &good)
        .replace("{{GOOD2}}", &bed.token("kim", &[]))
        .replace("{{BAD}}", &bad)
        .replace("{{GOOD_B64}}", &URL_SAFE_NO_PAD.encode(&good))
        .replace("{{GOOD_B64_PADDED}}", &padded(&good))
        .replace("{{BAD_B64}}", &URL_SAFE_NO_PAD.encode(&bad))
}

fn padded(token: &str) -> String {
    // A token whose length asks for no padding has another blank at its end.
    let token = if token.len().is_multiple_of(3) {
        format!("{token} ")
    } else {
        token.to_owned()
    };
    URL_SAFE.encode(token)
}
