//! Bytes pass both ways from the first on.

use oidcproxy_tests::{
    api_server::{Answer, Upgrade},
    bed::Bed,
};

use super::{EXEC, SPDY, WEBSOCKET, agreeing, assert_forwarded, bearer, open};

#[tokio::test]
async fn spdy_is_spliced() {
    let chosen = vec![("X-Stream-Protocol-Version", "v4.channel.k8s.io".to_owned())];
    let bed = agreeing(chosen).await;
    let mut raw = open(&bed, "POST", &[&[&*bearer(&bed)], &SPDY[..]].concat()).await;
    let head = raw.head().await.unwrap();
    assert_eq!(head.status, 101);
    assert_eq!(head.header("upgrade"), Some("SPDY/3.1"));
    assert!(
        head.header("connection")
            .unwrap()
            .eq_ignore_ascii_case("upgrade")
    );
    assert_eq!(
        head.header("x-stream-protocol-version"),
        Some("v4.channel.k8s.io")
    );
    let seen = bed.api.only();
    assert_forwarded(&seen, "SPDY/3.1");
    assert_eq!(
        seen.values("x-stream-protocol-version"),
        ["v4.channel.k8s.io", "channel.k8s.io"]
    );
    for size in [1, 10, 70_000] {
        let bytes: Vec<u8> = (0..size).map(|n: u32| (n % 253) as u8).collect();
        raw.write(&bytes).await.unwrap();
        assert!(
            raw.exactly(bytes.len()).await.unwrap() == bytes,
            "{size} bytes come back"
        );
    }
}

#[tokio::test]
async fn websockets_are_spliced() {
    let accept = vec![
        (
            "Sec-WebSocket-Accept",
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned(),
        ),
        ("Sec-WebSocket-Protocol", "v5.channel.k8s.io".to_owned()),
    ];
    let bed = agreeing(accept).await;
    let mut raw = open(&bed, "GET", &[&[&*bearer(&bed)], &WEBSOCKET[..]].concat()).await;
    let head = raw.head().await.unwrap();
    assert_eq!(
        (head.status, head.header("upgrade")),
        (101, Some("websocket"))
    );
    assert_eq!(
        head.header("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    assert_eq!(
        head.header("sec-websocket-protocol"),
        Some("v5.channel.k8s.io")
    );
    let seen = bed.api.only();
    assert_forwarded(&seen, "websocket");
    assert_eq!(
        seen.value("sec-websocket-key").as_deref(),
        Some("dGhlIHNhbXBsZSBub25jZQ==")
    );
    assert_eq!(seen.value("sec-websocket-version").as_deref(), Some("13"));
    assert_eq!(
        seen.value("sec-websocket-protocol").as_deref(),
        Some("v5.channel.k8s.io")
    );
    raw.write("\u{1}frame").await.unwrap();
    assert_eq!(raw.exactly(6).await.unwrap(), b"\x01frame");
}

#[tokio::test]
async fn early_bytes_of_both_sides_arrive() {
    let bed = Bed::start().await;
    let upgrade = Upgrade {
        early: b"server first;".to_vec(),
        ..Upgrade::default()
    };
    bed.api.answer("/api", Answer::Upgrade(upgrade));
    let mut raw = bed.client.raw().await.unwrap();
    let lines = [&[&*bearer(&bed)], &SPDY[..]].concat().join("\r\n");
    let request = format!("POST {EXEC} HTTP/1.1\r\nHost: x\r\n{lines}\r\n\r\nclient first;");
    raw.write(request).await.unwrap();
    assert_eq!(raw.head().await.unwrap().status, 101);
    assert_eq!(
        raw.exactly(26).await.unwrap(),
        b"server first;client first;"
    );
}

#[tokio::test]
async fn the_end_of_input_is_not_the_end_of_output() {
    let bed = Bed::start().await;
    let upgrade = Upgrade {
        farewell: b"the rest of the output".to_vec(),
        ..Upgrade::default()
    };
    bed.api.answer("/api", Answer::Upgrade(upgrade));
    let mut raw = open(&bed, "POST", &[&[&*bearer(&bed)], &SPDY[..]].concat()).await;
    assert_eq!(raw.head().await.unwrap().status, 101);
    raw.write("input;").await.unwrap();
    raw.finish().await.unwrap();
    assert_eq!(raw.rest().await.unwrap(), b"input;the rest of the output");
    let id = bed.api.only().connection;
    assert!(bed.api.connection(id).tunnel_eof);
}

#[tokio::test]
async fn a_client_that_goes_away_closes_the_upstream_side() {
    let bed = agreeing(Vec::new()).await;
    let mut raw = open(&bed, "POST", &[&[&*bearer(&bed)], &SPDY[..]].concat()).await;
    assert_eq!(raw.head().await.unwrap().status, 101);
    let id = bed.api.only().connection;
    drop(raw);
    bed.api
        .wait_connection(id, |state| state.closed)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_client_that_never_closes_does_not_hold_a_stream() {
    let bed = agreeing(Vec::new()).await;
    bed.api.answer(
        "/api/v1/namespaces/default/pods/web/exec",
        Answer::Upgrade(Upgrade {
            hang_up: true,
            ..Upgrade::default()
        }),
    );
    let mut raw = open(&bed, "POST", &[&[&*bearer(&bed)], &SPDY[..]].concat()).await;
    assert_eq!(raw.head().await.unwrap().status, 101);
    // The end of the API server's side arrives; ours stays open.
    assert!(raw.rest().await.unwrap().is_empty());
    let gone = async {
        while bed
            .proxy
            .probe("/metrics")
            .await
            .unwrap()
            .text()
            .contains("streams_active{kind=\"spdy\"} 1")
        {
            tokio::time::sleep(std::time::Duration::from_millis(250)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(90), gone)
        .await
        .expect("the stream ends");
}
