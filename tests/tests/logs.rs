//! Access lines in the Classic format: exact, one for each request, and not to be forged.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::time::Duration;

use oidcproxy_tests::{
    api_server::{Answer, Events, Upgrade},
    bed::Bed,
    client::{Call, Protocol},
    jose::b64,
};
use serde_json::json;

/// Splits `[2021-11-25T01:05:17+0000] rest` after checking the time.
#[track_caller]
fn rest(line: &str) -> &str {
    let (time, rest) = line.split_at(26);
    let pattern = "[dddd-dd-ddTdd:dd:dd+0000]";
    let fits = time
        .chars()
        .zip(pattern.chars())
        .all(|(found, wanted)| match wanted {
            'd' => found.is_ascii_digit(),
            _ => found == wanted,
        });
    assert!(fits, "{line}");
    rest.strip_prefix(' ')
        .unwrap_or_else(|| panic!("no blank after the time: {line}"))
}

/// The access lines that speak of this path.
fn lines_of(bed: &Bed, path: &str) -> Vec<String> {
    let mut lines = bed.proxy.access_lines();
    lines.retain(|line| line.contains(path));
    lines
}

async fn line_of(bed: &Bed, path: &str) -> String {
    let line = bed
        .proxy
        .access_line(path)
        .await
        .unwrap_or_else(|error| panic!("{error:#}"));
    rest(&line).to_owned()
}

#[tokio::test]
async fn a_success_line_is_exact() {
    let bed = Bed::start().await;
    let token = bed
        .issuer
        .claims("jane")
        .groups(&["dev", "ops"])
        .claim("jti", "t-1");
    let token = bed.issuer.sign(&token);
    for (protocol, path) in Protocol::BOTH
        .into_iter()
        .zip(["/api/v1/pods?limit=500", "/apis?x=2"])
    {
        bed.send(protocol, Call::get(path).bearer(&token))
            .await
            .assert_status(200);
        assert_eq!(
            line_of(&bed, path).await,
            format!(
                "AuSuccess src:[127.0.0.1 / ] URI:{path} inbound:[jane / dev|ops|system:authenticated / authentication.kubernetes.io/credential-id=JTI=t-1 ]"
            )
        );
    }
    let plain = bed.token("jane", &[]);
    bed.send(Protocol::H1, Call::get("/plain").bearer(&plain))
        .await
        .assert_status(200);
    assert_eq!(
        line_of(&bed, "/plain").await,
        "AuSuccess src:[127.0.0.1 / ] URI:/plain inbound:[jane / system:authenticated / ]"
    );
}

#[tokio::test]
async fn the_client_may_name_where_it_comes_from_in_the_second_place_only() {
    let bed = Bed::start().await;
    let call = Call::get("/xff").header("x-forwarded-for", "203.0.113.9");
    bed.send(Protocol::H1, call.bearer(&bed.token("jane", &[])))
        .await
        .assert_status(200);
    let line = line_of(&bed, "/xff").await;
    assert!(line.starts_with("AuSuccess src:[127.0.0.1 / "), "{line}");
    // Nor does kube-apiserver hear of it: its audit would believe it.
    let forwarded = bed.api.only().values("x-forwarded-for");
    assert!(!forwarded.concat().contains("203.0.113.9"), "{forwarded:?}");
}

#[tokio::test]
async fn acting_as_somebody_else_names_both() {
    let bed = Bed::start().await;
    let reviews = bed.api.reviews();
    reviews.allow("jane", json!({"verb": "impersonate"}));
    let call = Call::get("/acting")
        .bearer(&bed.token("jane", &["dev"]))
        .header("impersonate-user", "bob")
        .header("impersonate-group", "ops")
        .header("impersonate-uid", "7");
    bed.send(Protocol::H2, call).await.assert_status(200);
    let line = line_of(&bed, "/acting").await;
    let start = "AuSuccess src:[127.0.0.1 / ] URI:/acting inbound:[jane / dev|system:authenticated / ] outbound:[bob / ops|system:authenticated / 7 / ";
    assert!(line.starts_with(start) && line.ends_with(']'), "{line}");
}

#[tokio::test]
async fn refusals_are_fail_lines() {
    let bed = Bed::start().await;
    let good = bed.token("jane", &["dev"]);
    let calls = [
        ("/no-token", Call::get("/no-token"), 401),
        ("/garbage", Call::get("/garbage").bearer("x.y.z"), 401),
        (
            "/reserved",
            Call::get("/reserved").bearer(&bed.token("jane", &["system:masters"])),
            403,
        ),
        (
            "/denied",
            Call::get("/denied")
                .bearer(&good)
                .header("impersonate-user", "bob"),
            403,
        ),
        (
            "/bad",
            Call::get("/bad")
                .bearer(&good)
                .header("impersonate-group", "x"),
            400,
        ),
    ];
    for protocol in Protocol::BOTH {
        for (path, call, code) in &calls {
            let path = format!("{path}?{protocol:?}");
            let call = call
                .clone()
                .target(&path)
                .header("x-forwarded-for", "203.0.113.9");
            bed.send(protocol, call).await.assert_refusal(*code);
            let line = line_of(&bed, &path).await;
            let second = line
                .strip_prefix("AuFail src:[127.0.0.1 / ")
                .and_then(|line| line.strip_suffix(&format!("] URI:{path}")));
            assert!(matches!(second, Some("" | "203.0.113.9")), "{line}");
        }
    }
    bed.api.assert_untouched();
}

#[tokio::test]
async fn a_refusal_of_the_api_server_is_a_success_of_authentication() {
    let bed = Bed::start().await;
    bed.api
        .answer("/forbidden", Answer::Json(403, json!({"kind": "Status"})));
    bed.api
        .answer("/broken", Answer::Json(500, json!({"kind": "Status"})));
    for (path, code) in [("/forbidden", 403), ("/broken", 500)] {
        let call = Call::get(path).bearer(&bed.token("jane", &[]));
        bed.send(Protocol::H1, call).await.assert_status(code);
        assert!(line_of(&bed, path).await.starts_with("AuSuccess "));
    }
}

#[tokio::test]
async fn one_request_is_one_line_and_streams_are_logged_when_they_start() {
    let bed = Bed::start().await;
    let events = Events::default();
    bed.api.answer("/watch", Answer::Watch(events.clone()));
    bed.api.answer("/exec", Answer::Upgrade(Upgrade::default()));
    let token = bed.token("jane", &[]);
    let mut stream = bed
        .client
        .stream(Protocol::H2, Call::get("/watch").bearer(&token))
        .await
        .unwrap();
    // While it runs.
    line_of(&bed, "/watch").await;
    events.end();
    assert_eq!(stream.next().await.unwrap(), None);
    let mut raw = bed.client.raw().await.unwrap();
    let bearer = format!("Authorization: Bearer {token}");
    let lines = [&*bearer, "Connection: Upgrade", "Upgrade: SPDY/3.1"];
    raw.request("POST /exec?command=id", &lines).await.unwrap();
    assert_eq!(raw.head().await.unwrap().status, 101);
    line_of(&bed, "/exec?command=id").await;
    raw.write("top secret payload").await.unwrap();
    raw.exactly(18).await.unwrap();
    drop(raw);
    for n in 0..20 {
        let call = Call::get(&format!("/one?n={n}")).bearer(&token);
        bed.send(Protocol::H1, call).await.assert_status(200);
    }
    line_of(&bed, "/one?n=19").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(lines_of(&bed, "/watch").len(), 1);
    assert_eq!(lines_of(&bed, "/exec").len(), 1);
    assert_eq!(lines_of(&bed, "/one?").len(), 20);
    let output = bed.proxy.process.output();
    assert!(!output.contains("top secret payload"));
}

/// Splits at a separator that is not escaped by a backslash, and not inside one.
fn parts<'a>(text: &'a str, separator: &str) -> Vec<&'a str> {
    let mut parts = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with('\\') {
            at += 1 + text[at + 1..].chars().next().map_or(0, char::len_utf8);
        } else if text[at..].starts_with(separator) {
            parts.push(&text[start..at]);
            at += separator.len();
            start = at;
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    parts.push(&text[start..]);
    parts
}

#[test]
fn the_splitter_of_these_tests_knows_escapes() {
    assert_eq!(parts(r"a\|b|c", "|"), [r"a\|b", "c"]);
    assert_eq!(parts(r"a \/ b / c", " / "), [r"a \/ b", "c"]);
}

#[tokio::test]
async fn names_cannot_forge_fields() {
    let bed = Bed::start().await;
    let names = [
        "a|b",
        "a]b",
        "a\\b",
        "a / b",
        "a] outbound:[root / system:masters / / ]",
        "x / system:masters / ] URI:/other inbound:[root",
        "[2021-11-25T01:05:17+0000] AuSuccess src:[1.1.1.1 / ] URI:/ inbound:[root / / ]",
        "tab\there",
    ];
    for (n, name) in names.into_iter().enumerate() {
        let path = format!("/forge?n={n}");
        let call = Call::get(&path).bearer(&bed.token(name, &[name, "dev"]));
        bed.send(Protocol::H1, call).await.assert_status(200);
        let line = line_of(&bed, &path).await;
        let start = format!("AuSuccess src:[127.0.0.1 / ] URI:{path} inbound:[");
        let inbound = line
            .strip_prefix(&start)
            .unwrap_or_else(|| panic!("{line}"));
        let ends = parts(inbound, "]");
        assert_eq!((ends.len(), ends[1]), (2, ""), "{name:?}: {line}");
        let fields = parts(ends[0], " / ");
        assert_eq!(fields.len(), 3, "{name:?}: {line}");
        assert_eq!(parts(fields[1], "|").len(), 3, "{name:?}: {line}");
        assert!(!line.chars().any(char::is_control), "{name:?}: {line:?}");
    }
}

#[tokio::test]
async fn requests_cannot_forge_lines() {
    let bed = Bed::start().await;
    let bearer = format!("Authorization: Bearer {}", bed.token("jane", &[]));
    let forged = "X-Forwarded-For: 1.1.1.1] URI:/ inbound:[root / / ]\u{85}[2021] AuSuccess";
    let bytes = "X-Forwarded-For: a\u{1b}[31mb";
    let mut raw = bed.client.raw().await.unwrap();
    let bare = "GET /no-request";
    raw.request(bare, &[&bearer, bytes]).await.unwrap();
    raw.reply().await.unwrap().assert_status(400);
    for (n, line) in [forged, "X-Forwarded-For: a]b|c\\"].into_iter().enumerate() {
        let path = format!("/line?n={n}");
        let mut raw = bed.client.raw().await.unwrap();
        raw.request(&format!("GET {path}"), &[&bearer, line])
            .await
            .unwrap();
        raw.reply().await.unwrap().assert_status(200);
        let line = line_of(&bed, &path).await;
        assert!(!line.chars().any(char::is_control), "{line:?}");
        let source = line.split_once("src:[").unwrap().1;
        assert!(
            parts(source, "]")[1].starts_with(&format!(" URI:{path}")),
            "{line}"
        );
    }
    for target in ["/nl%0a[2021]%20AuSuccess", "/blank%20inbound:[root]"] {
        let call = Call::get(target).bearer(&bed.token("jane", &[]));
        bed.send(Protocol::H2, call).await.assert_status(200);
        let line = line_of(&bed, target).await;
        assert!(
            line.contains(&format!(" URI:{target} inbound:[jane / ")),
            "{line}"
        );
    }
    let all = bed.proxy.access_lines();
    assert!(all.iter().all(|line| line.starts_with('[')), "{all:#?}");
}

#[tokio::test]
async fn tokens_are_never_logged() {
    // At the level that says most; libraries are not to say more whatever the environment has.
    let bed = Bed::with(|setup, _| setup.flag("--log-level=debug").env("RUST_LOG", "trace")).await;
    let token = bed.token("jane", &["dev"]);
    let signature = token.rsplit('.').next().unwrap().to_owned();
    bed.get_with(Protocol::H1, &token).await.assert_status(200);
    bed.get_with(Protocol::H2, &token).await.assert_status(200);
    let refused = bed.issuer.sign(&bed.issuer.claims("jane").expires_in(-5));
    bed.get_with(Protocol::H1, &refused)
        .await
        .assert_refusal(401);
    let mut raw = bed.client.raw().await.unwrap();
    let protocol = format!(
        "Sec-WebSocket-Protocol: v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.{}",
        b64(&token)
    );
    let lines = ["Connection: Upgrade", "Upgrade: websocket", &protocol];
    raw.request("GET /api/ws", &lines).await.unwrap();
    raw.reply().await.unwrap().assert_status(200);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let output = bed.proxy.process.output();
    for secret in [
        &*signature,
        refused.rsplit('.').next().unwrap(),
        &b64(&token)[..40],
        oidcproxy_tests::proxy::OWN_TOKEN,
    ] {
        assert!(!output.contains(secret), "{secret} is in the output");
    }
}
