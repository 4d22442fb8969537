//! An API server that does not do as it should.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use http::Method;
use oidcproxy_tests::{
    api_server::{Answer, FakeApiServer, Recorded},
    bed::Bed,
    client::{Call, Protocol},
    issuer::FakeIssuer,
    proxy::{ProxyUnderTest, Setup},
    server::free_port,
};
use serde_json::json;
use tokio::net::TcpListener;

const PODS: &str = "/api/v1/pods";

async fn in_front_of(address: SocketAddr, issuer: &FakeIssuer) -> ProxyUnderTest {
    let api = FakeApiServer::start().await.unwrap();
    let url = format!("https://{address}");
    let setup = Setup::with_upstream(&url, &api.ca_pem(), issuer);
    setup.start(issuer).await.unwrap()
}

#[tokio::test]
async fn nobody_there_is_503_at_once() {
    let issuer = FakeIssuer::start().await.unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let proxy = in_front_of(address, &issuer).await;
    let call = Call::get(PODS).bearer(&issuer.token("alice", &[]));
    for protocol in Protocol::BOTH {
        let began = Instant::now();
        let reply = proxy.client().send(protocol, call.clone()).await.unwrap();
        reply.assert_refusal(503);
        assert!(began.elapsed() < Duration::from_secs(4), "{began:?}");
    }
}

#[tokio::test]
async fn a_handshake_that_stands_still_is_503_after_ten_seconds() {
    let issuer = FakeIssuer::start().await.unwrap();
    // The kernel accepts, and nobody says a word.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let proxy = in_front_of(silent.local_addr().unwrap(), &issuer).await;
    let token = issuer.token("alice", &[]);
    let client = proxy.client();
    let began = Instant::now();
    let plain = client.send(Protocol::H2, Call::get(PODS).bearer(&token));
    let exec = Call::get("/api/v1/namespaces/a/pods/b/exec")
        .bearer(&token)
        .header("connection", "Upgrade")
        .header("upgrade", "SPDY/3.1");
    let stream = client.send(Protocol::H1, exec);
    let (plain, stream) = tokio::join!(plain, stream);
    plain.unwrap().assert_refusal(503);
    stream.unwrap().assert_refusal(503);
    let took = began.elapsed();
    assert!((9..14).contains(&took.as_secs()), "{took:?}");
}

#[tokio::test]
async fn an_answer_that_never_comes_is_504() {
    let bed = Bed::start().await;
    bed.api.answer(PODS, Answer::Hang);
    let bearer = format!("Authorization: Bearer {}", bed.token("alice", &[]));
    let mut raw = bed.client.raw().await.unwrap();
    let lines = [bearer.as_str(), "Content-Length: 2"];
    raw.request(&format!("POST {PODS}"), &lines).await.unwrap();
    raw.write("{}").await.unwrap();
    let began = Instant::now();
    let mut answer = Vec::new();
    // kube-apiserver's own limit is a minute: it must get the chance to say so.
    while answer.is_empty() && began.elapsed() < Duration::from_secs(90) {
        answer = raw.within(Duration::from_secs(1)).await;
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    assert!(answer.contains("\"reason\":\"Timeout\""), "{answer}");
    assert!(began.elapsed() > Duration::from_secs(65), "{began:?}");
    bed.api.only();
}

#[tokio::test]
async fn a_head_that_breaks_off_is_502() {
    let bed = Bed::start().await;
    let part = b"HTTP/1.1 200 OK\r\nContent-Type: applic".to_vec();
    bed.api.answer(PODS, Answer::Cut(part));
    let token = bed.token("alice", &[]);
    for protocol in Protocol::BOTH {
        let reply = bed.get_with(protocol, &token).await;
        reply.assert_refusal(502);
    }
    assert_eq!(bed.api.forwarded().len(), 2);
}

#[tokio::test]
async fn what_was_sent_is_never_sent_again() {
    let bed = Bed::start().await;
    let token = bed.token("alice", &[]);
    let is_lost = |request: &Recorded| request.target.contains("lost");
    bed.api.answer_if(is_lost, Answer::Cut(Vec::new()));
    for protocol in Protocol::BOTH {
        for method in [Method::POST, Method::GET, Method::DELETE] {
            // The next one meets a connection that is open: only there something would be tried again.
            bed.get_with(protocol, &token).await.assert_status(200);
            let before = bed.api.forwarded();
            let call = Call::new(method.clone(), "/api/v1/lost").bearer(&token);
            let call = call.body(if method == Method::POST { "{}" } else { "" });
            bed.send(protocol, call).await.assert_refusal(502);
            let after = bed.api.forwarded();
            assert_eq!(after.len(), before.len() + 1, "{method}: {after:#?}");
            let (last, warm) = (after.last().unwrap(), before.last().unwrap());
            assert_eq!(last.connection, warm.connection, "{method}");
        }
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_in_the_pool_costs_nothing() {
    let bed = Bed::start().await;
    let token = bed.token("alice", &[]);
    for round in 0..5 {
        for method in [Method::GET, Method::POST] {
            bed.get_with(Protocol::H2, &token).await.assert_status(200);
            let warm = bed.api.forwarded().pop().unwrap().connection;
            bed.api.cut();
            let closed = bed.api.wait_connection(warm, |state| state.closed);
            closed.await.unwrap();
            // Until then it is not idle but broken, which is what the test above is about.
            tokio::time::sleep(Duration::from_millis(100)).await;
            let before = bed.api.forwarded().len();
            let call = Call::new(method.clone(), PODS).bearer(&token);
            let call = call.body(if method == Method::POST { "{}" } else { "" });
            bed.send(Protocol::H2, call).await.assert_status(200);
            let seen = bed.api.forwarded();
            assert_eq!(seen.len(), before + 1, "{method} {round}");
            assert_ne!(seen.last().unwrap().connection, warm);
        }
    }
}

#[tokio::test]
async fn its_own_errors_pass_byte_for_byte() {
    let bed = Bed::start().await;
    let token = bed.token("alice", &[]);
    for code in [429, 500, 502, 503, 504] {
        let body = json!({"kind": "Status", "code": code, "message": "of kube-apiserver's own"});
        let body = format!("{body}\n");
        let headers = vec![
            ("Retry-After", "17".to_owned()),
            ("Content-Type", "application/json".to_owned()),
        ];
        let answer = Answer::Full(code, headers, body.clone().into_bytes());
        bed.api.answer(PODS, answer);
        for protocol in Protocol::BOTH {
            let before = bed.api.forwarded().len();
            let reply = bed.get_with(protocol, &token).await;
            reply.assert_status(code);
            assert_eq!(reply.body, body);
            assert_eq!(reply.header("retry-after"), Some("17"));
            assert_eq!(bed.api.forwarded().len(), before + 1, "{code}");
        }
    }
}
