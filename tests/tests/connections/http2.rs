//! What HTTP/2 offers to a hostile client.

use std::time::Duration;

use oidcproxy_tests::{
    bed::Bed,
    client::{
        Call, END_HEADERS, END_STREAM, H2Outcome, Protocol, frame, header_block, kind,
        send_h2_fields,
    },
};

use super::PODS;

const MAX_CONCURRENT_STREAMS: u16 = 3;
const MAX_HEADER_LIST_SIZE: u16 = 6;
/// RFC 8441.
const ENABLE_CONNECT_PROTOCOL: u16 = 8;
const PROTOCOL_ERROR: u32 = 1;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

/// The fields of a request for pods.
fn get(bearer: &str) -> [(&'static str, &str); 5] {
    [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "k8s.example"),
        (":path", PODS),
        ("authorization", bearer),
    ]
}

#[tokio::test]
async fn its_settings_offer_no_tunnels_and_bound_everything() {
    let bed = Bed::start().await;
    let mut connection = bed.client.raw_h2(&[]).await.unwrap();
    let first = connection.next().await.unwrap().unwrap();
    assert_eq!(first.kind, kind::SETTINGS);
    let settings = first.settings();
    let value = |identifier| {
        let mut found = settings.iter().filter(|(known, _)| *known == identifier);
        found.next().map(|(_, value)| *value)
    };
    assert!(
        matches!(value(ENABLE_CONNECT_PROTOCOL), None | Some(0)),
        "{settings:?}"
    );
    assert_eq!(value(MAX_CONCURRENT_STREAMS), Some(100), "{settings:?}");
    assert_eq!(value(MAX_HEADER_LIST_SIZE), Some(64 * 1024), "{settings:?}");
}

#[tokio::test]
async fn there_are_no_tunnels() {
    let bed = Bed::start().await;
    let bearer = format!("Bearer {}", bed.token("alice", &[]));
    let mut connection = bed.client.raw_h2(&[]).await.unwrap();
    let authority = bed.api.address().to_string();
    let connect = [
        (":method", "CONNECT"),
        (":authority", &*authority),
        ("authorization", &bearer),
    ];
    let block = header_block(&connect);
    // Without the end of the stream: a tunnel would go on.
    let bytes = frame(kind::HEADERS, END_HEADERS, 1, &block);
    connection.write(&bytes).await.unwrap();
    let answer = connection.wait(|frame| frame.kind == kind::DATA).await;
    let answer: serde_json::Value = serde_json::from_slice(&answer.unwrap().payload).unwrap();
    assert_eq!(answer["code"], 405);
    assert_eq!(answer["reason"], "MethodNotAllowed");
    let extended = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":authority", "k8s.example"),
        (":path", PODS),
        ("authorization", &bearer),
    ];
    let outcome = send_h2_fields(&bed.client, &extended).await.unwrap();
    let refused = [
        H2Outcome::Reset(PROTOCOL_ERROR),
        H2Outcome::GoAway(PROTOCOL_ERROR),
    ];
    assert!(refused.contains(&outcome), "{outcome:?}");
    bed.api.assert_untouched();
}

/// CVE-2023-44487.
#[tokio::test]
async fn requests_that_are_taken_back_at_once_end_the_connection() {
    let bed = Bed::start().await;
    let bearer = format!("Bearer {}", bed.token("alice", &[]));
    let block = header_block(&get(&bearer));
    let mut connection = bed.client.raw_h2(&[]).await.unwrap();
    let (mut flood, count) = (Vec::new(), 5000);
    for stream in (0..count).map(|n| 2 * n + 1) {
        let flags = END_STREAM | END_HEADERS;
        flood.extend(frame(kind::HEADERS, flags, stream, &block));
        let cancel = CANCEL.to_be_bytes();
        flood.extend(frame(kind::RST_STREAM, 0, stream, &cancel));
    }
    // It may close before everything is written.
    let _ = connection.write(&flood).await;
    let closed = connection.until_closed(Duration::from_secs(20)).await;
    let (_, frames) = closed.unwrap();
    let calm = |frame: &oidcproxy_tests::client::H2Frame| {
        frame.kind == kind::GOAWAY && frame.code() == ENHANCE_YOUR_CALM
    };
    assert!(frames.iter().any(calm), "{frames:?}");
    let reached = bed.api.forwarded().len();
    assert!(
        reached < 1000,
        "{reached} of {count} reached the API server"
    );
    bed.get_with(Protocol::H2, &bed.token("bob", &[]))
        .await
        .assert_status(200);
}

/// CVE-2025-8671: the proxy itself is made to take the requests back.
#[tokio::test]
async fn requests_that_are_spoiled_at_once_end_the_connection() {
    let bed = Bed::start().await;
    let bearer = format!("Bearer {}", bed.token("alice", &[]));
    let mut fields = get(&bearer);
    fields[0].1 = "POST";
    let block = header_block(&fields);
    let mut connection = bed.client.raw_h2(&[]).await.unwrap();
    let (mut flood, count) = (Vec::new(), 5000);
    for stream in (0..count).map(|n| 2 * n + 1) {
        flood.extend(frame(kind::HEADERS, END_HEADERS, stream, &block));
        // More room than a window may have.
        let room = i32::MAX.to_be_bytes();
        flood.extend(frame(kind::WINDOW_UPDATE, 0, stream, &room));
    }
    let _ = connection.write(&flood).await;
    let closed = connection.until_closed(Duration::from_secs(20)).await;
    let (_, frames) = closed.unwrap();
    let resets = frames.iter().filter(|frame| frame.kind == kind::RST_STREAM);
    assert!((1..1000).contains(&resets.count()), "{frames:?}");
    let calm = |frame: &oidcproxy_tests::client::H2Frame| {
        frame.kind == kind::GOAWAY && frame.code() == ENHANCE_YOUR_CALM
    };
    assert!(frames.iter().any(calm), "{frames:?}");
    bed.get_with(Protocol::H2, &bed.token("bob", &[]))
        .await
        .assert_status(200);
}

/// CVE-2024-27316.
#[tokio::test]
async fn a_head_without_an_end_is_cut_short() {
    let bed = Bed::start().await;
    let mut connection = bed.client.raw_h2(&[]).await.unwrap();
    let block = header_block(&get("Bearer x"));
    let first = frame(kind::HEADERS, END_STREAM, 1, &block);
    connection.write(&first).await.unwrap();
    let more = header_block(&[("x", &"y".repeat(16_000))]);
    let more = frame(kind::CONTINUATION, 0, 1, &more);
    let mut written = 0;
    // Four times the longest head that is read; until then it may as well be one.
    for _ in 0..16 {
        if connection.write(&more).await.is_err() {
            break;
        }
        written += more.len();
    }
    let closed = connection.until_closed(Duration::from_secs(10)).await;
    let (_, frames) = closed.unwrap_or_else(|error| panic!("{written} bytes: {error:#}"));
    assert!(
        frames.iter().all(|frame| frame.kind != kind::HEADERS),
        "{frames:?}"
    );
    bed.api.assert_untouched();
    let call = Call::get(PODS).bearer(&bed.token("bob", &[]));
    bed.send(Protocol::H2, call).await.assert_status(200);
}
