//! Where it listens, and what it says there.

use oidcproxy_tests::{
    bed::Bed,
    client::{Call, Protocol},
};

#[tokio::test]
async fn probes_answer_on_their_own_port() {
    let bed = Bed::start().await;
    for path in ["/ready", "/live"] {
        bed.proxy.probe(path).await.unwrap().assert_status(200);
    }
    let alice = bed.token("alice-the-user", &["group-of-alice"]);
    bed.get_with(Protocol::H1, &alice).await.assert_status(200);
    bed.send(Protocol::H1, Call::get("/secret-path"))
        .await
        .assert_refusal(401);
    let metrics = bed.proxy.probe("/metrics").await.unwrap();
    metrics.assert_status(200);
    let text = String::from_utf8_lossy(&metrics.body).into_owned();
    assert!(text.contains("# TYPE "), "{text}");
    for label in ["alice-the-user", "group-of-alice", "secret-path"] {
        assert!(!text.contains(label), "{label} is a label");
    }
    let state = bed.proxy.probe("/state").await.unwrap();
    state.assert_status(200);
    assert!(state.json()["issuers"].is_array(), "{state:?}");
    bed.proxy
        .probe("/nothing")
        .await
        .unwrap()
        .assert_status(404);
}

#[tokio::test]
async fn it_listens_on_both_address_families() {
    let bed = Bed::start().await;
    let port = bed.proxy.port();
    assert!(
        tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_ok()
    );
    assert!(tokio::net::TcpStream::connect(("::1", port)).await.is_ok());
}

#[tokio::test]
async fn the_bind_address_is_kept_to() {
    let bed = Bed::with(|setup, _| setup.flag("--bind-address=127.0.0.1")).await;
    bed.get_with(Protocol::H2, &bed.token("alice", &[]))
        .await
        .assert_status(200);
    assert!(
        tokio::net::TcpStream::connect(("::1", bed.proxy.port()))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn tls_is_modern_and_clients_without_alpn_are_served() {
    let bed = Bed::start().await;
    let stream = bed.client.tls(&[b"h2", b"http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut raw = bed.client.raw().await.unwrap();
    raw.request("GET /readyz", &[]).await.unwrap();
    raw.reply().await.unwrap().assert_status(200);
}
