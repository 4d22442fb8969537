//! The fakes and clients themselves: what a suite relies on must hold without the proxy.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::time::Duration;

use oidcproxy_tests::{
    api_server::{Answer, Events, FakeApiServer, Upgrade},
    client::{Call, Client, H2Outcome, Protocol, send_h2_fields},
    issuer::{Behaviour, FakeIssuer},
};
use serde_json::json;

fn client_of(api: &FakeApiServer) -> Client {
    Client::new(api.address().port(), api.ca_pem())
}

fn client_of_issuer(issuer: &FakeIssuer) -> Client {
    let port = issuer.url().rsplit(':').next().unwrap().parse().unwrap();
    Client::new(port, issuer.ca_pem())
}

#[tokio::test]
async fn requests_are_recorded_as_they_came() {
    let api = FakeApiServer::start().await.unwrap();
    let mut raw = client_of(&api).raw().await.unwrap();
    let lines = [
        "iMPersonate-usER: a b ",
        "X: 1",
        "x: 2",
        "Transfer-Encoding: chunked",
    ];
    raw.request("POST //a/../b%2fc?x=;&y", &lines)
        .await
        .unwrap();
    raw.write("3\r\nabc\r\n0\r\nTail: t\r\n\r\n").await.unwrap();
    raw.reply().await.unwrap().assert_status(200);
    let seen = api.only();
    assert_eq!(seen.target, "//a/../b%2fc?x=;&y");
    assert_eq!(
        seen.headers[1],
        ("iMPersonate-usER".to_owned(), b"a b ".to_vec())
    );
    assert_eq!(seen.values("x"), ["1", "2"]);
    assert_eq!(seen.body, b"abc");
    assert_eq!(seen.trailers, [("Tail".to_owned(), b"t".to_vec())]);
}

#[tokio::test]
async fn identity_is_echoed_and_extra_keys_are_decoded() {
    let api = FakeApiServer::start().await.unwrap();
    let call = Call::get("/api/v1/pods")
        .header("impersonate-user", "alice")
        .header("impersonate-group", "dev")
        .header("impersonate-extra-a.example%2fb", "v");
    let reply = client_of(&api).send(Protocol::H1, call).await.unwrap();
    assert_eq!(
        reply.json(),
        json!({"kind": "Identity", "user": "alice", "groups": ["dev"], "uid": null, "extra": {"a.example/b": ["v"]}})
    );
    assert_eq!(api.only().extra("a.example/b"), ["v"]);
}

#[tokio::test]
async fn events_arrive_one_by_one_and_a_closed_client_is_noticed() {
    let api = FakeApiServer::start().await.unwrap();
    let events = Events::default();
    api.answer("/watch", Answer::Watch(events.clone()));
    let mut stream = client_of(&api)
        .stream(Protocol::H1, Call::get("/watch"))
        .await
        .unwrap();
    events.send("one");
    assert_eq!(stream.next().await.unwrap().unwrap(), "one");
    events.send("two");
    assert_eq!(stream.next().await.unwrap().unwrap(), "two");
    stream.abort();
    let id = api.only().connection;
    api.wait_connection(id, |state| state.closed).await.unwrap();
}

#[tokio::test]
async fn upgrades_echo_with_early_bytes_and_half_close() {
    let api = FakeApiServer::start().await.unwrap();
    let upgrade = Upgrade {
        early: b"hello".to_vec(),
        farewell: b"bye".to_vec(),
        ..Upgrade::default()
    };
    api.answer("/exec", Answer::Upgrade(upgrade));
    let mut raw = client_of(&api).raw().await.unwrap();
    raw.write(
        "POST /exec HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\nearly",
    )
    .await
    .unwrap();
    let head = raw.head().await.unwrap();
    assert_eq!(
        (head.status, head.header("upgrade")),
        (101, Some("SPDY/3.1"))
    );
    assert_eq!(raw.exactly(10).await.unwrap(), b"helloearly");
    raw.finish().await.unwrap();
    assert_eq!(raw.rest().await.unwrap(), b"bye");
    assert_eq!(api.connection(api.only().connection).tunnel, b"early");
}

#[tokio::test]
async fn a_cut_body_is_an_error() {
    let api = FakeApiServer::start().await.unwrap();
    api.answer("/cut", Answer::CutMidBody);
    let mut stream = client_of(&api)
        .stream(Protocol::H1, Call::get("/cut"))
        .await
        .unwrap();
    let mut error = None;
    while error.is_none() {
        match stream.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a proper end of a body that was cut"),
            Err(found) => error = Some(found),
        }
    }
}

#[tokio::test]
async fn reviews_follow_the_rights() {
    let api = FakeApiServer::start().await.unwrap();
    api.reviews().allow_impersonate("alice", "", "users", "bob");
    let review = |name: &str| {
        let attributes = json!({"verb": "impersonate", "resource": "users", "name": name});
        let body = json!({"kind": "SubjectAccessReview", "spec": {"user": "alice", "resourceAttributes": attributes}});
        Call::new(
            http::Method::POST,
            "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        )
        .body(body.to_string())
    };
    let mut connection = client_of(&api).connect(Protocol::H1).await.unwrap();
    let allowed = connection.send(review("bob")).await.unwrap();
    assert_eq!(allowed.json()["status"]["allowed"], true);
    let denied = connection.send(review("carol")).await.unwrap();
    assert_eq!(denied.json()["status"]["allowed"], false);
    assert_eq!(api.reviews().asked().len(), 2);
    api.assert_untouched();
}

#[tokio::test]
async fn the_issuer_goes_down_and_comes_back_on_its_port() {
    let issuer = FakeIssuer::start().await.unwrap();
    let client = client_of_issuer(&issuer);
    let keys = || Call::get("/jwks");
    let first = client.send(Protocol::H1, keys()).await.unwrap();
    assert_eq!(first.json()["keys"][0]["kid"], "es-1");
    issuer.down().await;
    assert!(client.send(Protocol::H1, keys()).await.is_err());
    issuer.up().await.unwrap();
    issuer.rotate().unwrap();
    issuer.withdraw("es-1");
    let second = client.send(Protocol::H1, keys()).await.unwrap();
    assert_ne!(second.json()["keys"][0]["kid"], "es-1");
    assert_eq!(issuer.jwks_fetches(), 2);
}

#[tokio::test]
async fn the_issuer_misbehaves_on_demand() {
    let issuer = FakeIssuer::start().await.unwrap();
    let client = client_of_issuer(&issuer);
    let discovery = || Call::get("/.well-known/openid-configuration");
    issuer.set_discovery(Behaviour::Status(503));
    client
        .send(Protocol::H1, discovery())
        .await
        .unwrap()
        .assert_status(503);
    issuer.set_discovery(Behaviour::Redirect(format!("{}/elsewhere", issuer.url())));
    client
        .send(Protocol::H1, discovery())
        .await
        .unwrap()
        .assert_status(302);
    issuer.set_discovery(Behaviour::Huge(1 << 20));
    let huge = client.send(Protocol::H1, discovery()).await.unwrap();
    assert_eq!(huge.body.len(), 1 << 20);
    issuer.set_discovery(Behaviour::Hang);
    let hang = client.send(Protocol::H1, discovery());
    assert!(
        tokio::time::timeout(Duration::from_millis(200), hang)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn http2_frames_by_hand_are_understood() {
    // A server without HTTP/2 refuses the protocol in the handshake.
    let api = FakeApiServer::start().await.unwrap();
    let fields = [(":method", "GET"), (":path", "/")];
    let outcome = send_h2_fields(&client_of(&api), &fields).await;
    assert!(!matches!(outcome, Ok(H2Outcome::Response)), "{outcome:?}");
    api.assert_untouched();
}
