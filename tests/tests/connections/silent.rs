//! Clients without a credential who say nothing, or take nothing: they keep no connection.

use std::time::Duration;

use oidcproxy_tests::{
    bed::Bed,
    client::{Call, Protocol, kind},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::Instant,
};
use tokio_rustls::client::TlsStream;

use super::PODS;

/// `SETTINGS_INITIAL_WINDOW_SIZE`.
const INITIAL_WINDOW_SIZE: u16 = 4;
/// A connection without a request has so long, and a few seconds more to say goodbye in.
const NO_REQUEST: Duration = Duration::from_secs(30);
/// On top, for a machine with other things to do.
const SLACK: Duration = Duration::from_secs(20);

/// How long the proxy keeps a connection on which it has nothing to say.
async fn kept(mut stream: impl tokio::io::AsyncRead + Unpin) -> Duration {
    let began = Instant::now();
    let mut bytes = Vec::new();
    let ended = tokio::time::timeout(Duration::from_mins(2), stream.read_to_end(&mut bytes));
    // Cut or closed, both are an end.
    let _ = ended.await.expect("the connection is kept for ever");
    began.elapsed()
}

#[track_caller]
fn assert_about(kept: Duration, expected: Duration) {
    assert!(
        kept + Duration::from_secs(2) > expected && kept < expected + SLACK,
        "kept for {kept:?}"
    );
}

/// All at the same time, since each takes half a minute.
#[tokio::test]
async fn whoever_asks_for_nothing_is_let_go() {
    let bed = Bed::start().await;
    let no_tls = async {
        let kept = kept(bed.client.tcp().await.unwrap()).await;
        assert_about(kept, Duration::from_secs(10));
    };
    let slow_tls = async {
        let mut tcp = bed.client.tcp().await.unwrap();
        // The record of a ClientHello that never gets long enough.
        tcp.write_all(&[0x16, 3, 1, 0, 200]).await.unwrap();
        let (read, write) = tcp.into_split();
        let drip = drip(write, 1);
        tokio::select! {
            kept = kept(read) => assert_about(kept, Duration::from_secs(10)),
            () = drip => panic!("never ends"),
        }
    };
    let no_head = async {
        let kept = kept(tls(&bed, &[]).await).await;
        assert_about(kept, NO_REQUEST);
    };
    let slow_head = async {
        let mut tls = tls(&bed, &[]).await;
        tls.write_all(b"GET / HTTP/1.1\r\nX: ").await.unwrap();
        let (read, write) = tokio::io::split(tls);
        let drip = drip(write, b'x');
        tokio::select! {
            kept = kept(read) => assert_about(kept, NO_REQUEST),
            () = drip => panic!("never ends"),
        }
    };
    let no_preface = async {
        let kept = kept(tls(&bed, &[b"h2"]).await).await;
        assert_about(kept, NO_REQUEST);
    };
    let only_a_preface = async {
        let mut connection = bed.client.raw_h2(&[]).await.unwrap();
        let (kept, frames) = connection.until_closed(NO_REQUEST + SLACK).await.unwrap();
        assert_about(kept, NO_REQUEST);
        assert!(frames.iter().any(|frame| frame.kind == kind::GOAWAY));
    };
    tokio::join!(
        no_tls,
        slow_tls,
        no_head,
        slow_head,
        no_preface,
        only_a_preface
    );
    bed.api.assert_untouched();
    // Others were never kept from anything.
    bed.get_with(Protocol::H2, &bed.token("alice", &[]))
        .await
        .assert_status(200);
}

#[tokio::test]
async fn answers_that_nobody_takes_hold_no_connection() {
    let bed = Bed::start().await;
    let no_window = [(INITIAL_WINDOW_SIZE, 0)];
    let mut connection = bed.client.raw_h2(&no_window).await.unwrap();
    let fields = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "k8s.example"),
        (":path", PODS),
    ];
    for stream in (1..200).step_by(2) {
        // It may end while we are at it.
        let _ = connection.request(stream, &fields).await;
    }
    let (kept, frames) = connection
        .until_closed(Duration::from_secs(30) + SLACK)
        .await
        .unwrap();
    let count = |kind| frames.iter().filter(|frame| frame.kind == kind).count();
    assert!(count(kind::HEADERS) > 0, "{frames:?}");
    assert_eq!(count(kind::DATA), 0, "nothing was allowed to be sent");
    assert!(kept > Duration::from_secs(20), "{kept:?}");
    bed.api.assert_untouched();
}

/// Somebody with a credential may take their time.
#[tokio::test]
async fn an_answer_to_a_user_is_waited_for() {
    let bed = Bed::start().await;
    let no_window = [(INITIAL_WINDOW_SIZE, 0)];
    let mut connection = bed.client.raw_h2(&no_window).await.unwrap();
    let bearer = format!("Bearer {}", bed.token("alice", &[]));
    let mut fields = vec![
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "k8s.example"),
        (":path", PODS),
    ];
    connection.request(1, &fields).await.unwrap();
    fields.push(("authorization", &bearer));
    connection.request(3, &fields).await.unwrap();
    let until = Instant::now() + Duration::from_secs(45);
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        match connection.next_within(left).await {
            Ok(Some(frame)) => assert_ne!(frame.kind, kind::DATA),
            Ok(None) => panic!("the connection ended before the user's answer"),
            Err(_) => break,
        }
    }
    let window = 0x7fff_u32.to_be_bytes();
    for stream in [1, 3] {
        let update = oidcproxy_tests::client::frame(kind::WINDOW_UPDATE, 0, stream, &window);
        connection.write(&update).await.unwrap();
    }
    let data = connection.wait(|frame| frame.kind == kind::DATA && frame.stream == 3);
    let body: serde_json::Value = serde_json::from_slice(&data.await.unwrap().payload).unwrap();
    assert_eq!(body["user"], "alice");
    connection.until_closed(SLACK).await.unwrap();
    assert_eq!(bed.api.only().target, PODS);
    let again = Call::get(PODS).bearer(&bed.token("alice", &[]));
    bed.send(Protocol::H2, again).await.assert_status(200);
}

async fn tls(bed: &Bed, alpn: &[&[u8]]) -> TlsStream<TcpStream> {
    bed.client.tls(alpn).await.unwrap()
}

/// A byte a second, for as long as anybody reads.
async fn drip(mut stream: impl tokio::io::AsyncWrite + Unpin, byte: u8) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if stream.write_all(&[byte]).await.is_err() || stream.flush().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
