//! An issuer that is not there, or answers with something else: keys that are known stay in use.

use std::time::Duration;

use futures::future::join_all;
use oidcproxy_tests::{
    api_server::FakeApiServer,
    bed::Bed,
    client::{Call, Protocol},
    issuer::{Behaviour, FakeIssuer},
    jose::{Alg, SigningKey},
    proxy::Setup,
};
use tokio::time::Instant;

use super::{PODS, until};

#[tokio::test]
async fn a_start_without_issuer_succeeds_once_the_issuer_is_there() {
    let issuer = FakeIssuer::start_down().unwrap();
    let api = FakeApiServer::start().await.unwrap();
    let proxy = Setup::new(&api, &issuer)
        .wait_for("/live")
        .start(&issuer)
        .await
        .unwrap();
    let client = proxy.client();
    let token = issuer.token("alice", &[]);
    let call = Call::get(PODS).bearer(&token);
    let early = client.send(Protocol::H1, call).await;
    early.unwrap().assert_refusal(401);
    api.assert_untouched();
    // Others may have tokens of another issuer.
    proxy.wait_probe("/ready", 200).await.unwrap();
    issuer.up().await.unwrap();
    until(&client, &token, 200, Duration::from_secs(30)).await;
}

/// Keys that are there stay in use while the issuer does this.
async fn survives(outage: impl FnOnce(&FakeIssuer) -> Behaviour) {
    let bed = Bed::start().await;
    bed.get_with(Protocol::H1, &bed.token("alice", &[]))
        .await
        .assert_status(200);
    let outage = outage(&bed.issuer);
    bed.issuer.set_jwks(outage.clone());
    let fetches = bed.issuer.jwks_fetches();
    // Makes the proxy ask.
    let stranger = SigningKey::generate(Alg::ES256, "stranger").unwrap();
    let unknown = bed.issuer.claims("mallory").sign(&stranger);
    bed.get_with(Protocol::H1, &unknown)
        .await
        .assert_refusal(401);
    assert!(bed.issuer.jwks_fetches() > fetches, "{outage:?}");
    let reply = bed.get_with(Protocol::H1, &bed.token("bob", &[])).await;
    assert_eq!(reply.status, 200, "{outage:?}: {reply:?}");
    bed.issuer.down().await;
    let reply = bed.get_with(Protocol::H1, &bed.token("carol", &[])).await;
    assert_eq!(reply.status, 200, "down after {outage:?}: {reply:?}");
    assert_eq!(
        bed.issuer.other_fetches(),
        0,
        "redirects are not followed to elsewhere"
    );
}

#[tokio::test]
async fn an_outage_keeps_the_keys_that_are_there() {
    let text = |text: &'static str| survives(move |_| Behaviour::Text(text.to_owned()));
    tokio::join!(
        survives(|_| Behaviour::Status(500)),
        text("<html>maintenance</html>"),
        text(r#"{"keys":[{"kty":"OKP","crv":"Ed448","x":"AA"}]}"#),
        survives(|issuer| Behaviour::Redirect(issuer.elsewhere())),
        survives(|_| Behaviour::Huge(64 << 20)),
    );
}

#[tokio::test]
async fn an_outage_leaves_a_ready_proxy_ready() {
    let bed = Bed::start().await;
    let known = bed.token("alice", &[]);
    bed.get_with(Protocol::H1, &known).await.assert_status(200);
    bed.issuer.down().await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(10) {
        let ready = bed.proxy.probe("/ready").await.unwrap();
        ready.assert_status(200);
        // Those who are logged in, and those who log in now.
        for protocol in Protocol::BOTH {
            bed.get_with(protocol, &known).await.assert_status(200);
            let fresh = bed.token("bob", &[]);
            bed.get_with(protocol, &fresh).await.assert_status(200);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(bed.proxy.probe("/ready").await.unwrap().status, 200);
}

#[tokio::test]
async fn an_issuer_that_never_answers_holds_up_nobody_else() {
    let bed = Bed::start().await;
    // The keys are fetched when the first token asks for them.
    bed.get_with(Protocol::H1, &bed.token("warm", &[]))
        .await
        .assert_status(200);
    bed.issuer.set_jwks(Behaviour::Hang);
    let stranger = SigningKey::generate(Alg::ES256, "stranger").unwrap();
    let unknown = bed.issuer.claims("mallory").sign(&stranger);
    let waiting = join_all((0..20).map(|_| {
        bed.client
            .send(Protocol::H1, Call::get(PODS).bearer(&unknown))
    }));
    let good = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let start = Instant::now();
        bed.get_with(Protocol::H1, &bed.token("alice", &[]))
            .await
            .assert_status(200);
        start.elapsed()
    };
    let (refused, took) = tokio::join!(waiting, good);
    assert!(took < Duration::from_secs(2), "a good token took {took:?}");
    for reply in refused {
        reply.unwrap().assert_refusal(401);
    }
}
