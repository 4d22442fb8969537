//! How soon the binary that the images carry is there: issue 3 allows it 200 ms.

// A step that fails ends the test.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::{Duration, Instant};

use oidcproxy_tests::{
    api_server::FakeApiServer,
    issuer::FakeIssuer,
    proxy::{ProxyUnderTest, Setup},
};

const ALLOWED: Duration = Duration::from_millis(200);
/// A machine that is busy elsewhere says nothing of the binary.
const TRIES: usize = 3;
const PATIENCE: Duration = Duration::from_secs(10);

/// From the start of the process to its first `/live` and its first TLS connection.
async fn start(api: &FakeApiServer, issuer: &FakeIssuer) -> (Duration, Duration) {
    let started = Instant::now();
    let mut proxy = Setup::new(api, issuer).spawn(issuer).unwrap();
    let live = until(
        started,
        &mut proxy,
        async |proxy| matches!(proxy.probe("/live").await, Ok(reply) if reply.status == 200),
    );
    let live = live.await;
    let serving = until(started, &mut proxy, async |proxy| {
        proxy.client().tls(&[b"h2"]).await.is_ok()
    });
    (live, serving.await)
}

async fn until(
    started: Instant,
    proxy: &mut ProxyUnderTest,
    holds: impl AsyncFn(&ProxyUnderTest) -> bool,
) -> Duration {
    while !holds(proxy).await {
        if let Some(status) = proxy.process.exited().unwrap() {
            panic!("it ended with {status}\n{}", proxy.process.output());
        }
        assert!(started.elapsed() < PATIENCE, "{}", proxy.process.output());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    started.elapsed()
}

#[tokio::test]
async fn the_proxy_starts_in_200_ms() {
    let api = FakeApiServer::start().await.unwrap();
    let issuer = FakeIssuer::start().await.unwrap();
    let mut best = PATIENCE;
    for _ in 0..TRIES {
        let (live, serving) = start(&api, &issuer).await;
        println!("start: /live after {live:.0?}, TLS after {serving:.0?}");
        best = best.min(live.max(serving));
    }
    assert!(best < ALLOWED, "{best:?}");
}
