//! Connections that are kept while the proxy leaves: served, then told, and nothing is lost.

use std::time::Duration;

use oidcproxy_tests::{
    api_server::Answer,
    bed::Bed,
    client::{Call, Protocol, kind},
};
use tokio::time::Instant;

use super::PODS;

const DELAY: Duration = Duration::from_secs(3);

async fn leaving() -> Bed {
    let bed = Bed::with(|setup, _| {
        setup
            .flag(format!("--drain-delay={}", DELAY.as_secs()))
            .flag("--drain-deadline=20")
    })
    .await;
    let slow = Answer::Later(DELAY * 2, Box::new(Answer::Identity));
    bed.api.answer("/slow", slow);
    bed
}

async fn assert_ends_well(mut bed: Bed) {
    let status = bed.proxy.process.wait(Duration::from_secs(20)).await;
    let output = bed.proxy.process.output();
    assert_eq!(status.unwrap().code(), Some(0), "{output}");
}

#[tokio::test]
async fn http2_is_served_and_told_to_go_afterwards() {
    let bed = leaving().await;
    let bearer = format!("Bearer {}", bed.token("alice", &[]));
    let get = |path| {
        [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "k8s.example"),
            (":path", path),
            ("authorization", &*bearer),
        ]
    };
    let mut connection = bed.client.raw_h2(&[]).await.unwrap();
    bed.proxy.terminate().unwrap();
    let began = Instant::now();
    bed.proxy.wait_probe("/ready", 503).await.unwrap();
    let mut stream = 1;
    while began.elapsed() < DELAY.mul_f32(0.6) {
        connection.request(stream, &get(PODS)).await.unwrap();
        let answer =
            connection.wait(|frame| frame.kind == kind::DATA || frame.kind == kind::GOAWAY);
        let answer = answer.await.unwrap();
        assert_eq!(answer.kind, kind::DATA, "after {:?}", began.elapsed());
        assert_eq!(answer.stream, stream);
        let body: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
        assert_eq!(body["user"], "alice");
        stream += 2;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(stream > 3, "several requests");
    connection.request(stream, &get("/slow")).await.unwrap();
    let (_, frames) = connection
        .until_closed(Duration::from_secs(15))
        .await
        .unwrap();
    let at = |wanted: u8| frames.iter().position(|frame| frame.kind == wanted);
    let (goaway, data) = (at(kind::GOAWAY).unwrap(), at(kind::DATA).unwrap());
    assert!(goaway < data, "{frames:?}");
    assert_eq!(frames[goaway].code(), 0);
    assert_eq!(frames[data].stream, stream, "nothing is lost");
    assert!(began.elapsed() > DELAY * 2);
    assert_ends_well(bed).await;
}

#[tokio::test]
async fn http1_is_served_once_more_and_closed() {
    let bed = leaving().await;
    let token = bed.token("alice", &[]);
    let bearer = format!("Authorization: Bearer {token}");
    let get = format!("GET {PODS}");
    let (mut used, mut idle) = (
        bed.client.raw().await.unwrap(),
        bed.client.raw().await.unwrap(),
    );
    for raw in [&mut used, &mut idle] {
        raw.request(&get, &[&bearer]).await.unwrap();
        let reply = raw.reply().await.unwrap();
        assert_eq!((reply.status, reply.header("connection")), (200, None));
    }
    let slow = bed
        .client
        .send(Protocol::H1, Call::get("/slow").bearer(&token));
    let leave = async {
        bed.api
            .wait_request(|request| request.target == "/slow")
            .await
            .unwrap();
        bed.proxy.terminate().unwrap();
        let began = Instant::now();
        bed.proxy.wait_probe("/ready", 503).await.unwrap();
        used.request(&get, &[&bearer]).await.unwrap();
        let reply = used.reply().await.unwrap();
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("connection"), Some("close"));
        assert!(used.rest().await.unwrap().is_empty());
        assert!(began.elapsed() < DELAY, "closed with the answer");
        // Whoever asks for nothing cannot be told.
        assert!(idle.rest().await.unwrap().is_empty());
        assert!(began.elapsed() + Duration::from_millis(200) > DELAY);
    };
    let (slow, ()) = tokio::join!(slow, leave);
    let slow = slow.unwrap();
    slow.assert_status(200);
    assert_eq!(slow.json()["user"], "alice");
    assert_ends_well(bed).await;
}
