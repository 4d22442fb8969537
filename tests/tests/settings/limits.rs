//! `limits`: what one client may use.

use std::time::Duration;

use oidcproxy_tests::{
    api_server::{Answer, Upgrade},
    client::{Call, Protocol, RawConnection, Reply},
};
use tokio::time::Instant;

use super::Bed;

const EXEC: &str = "/api/v1/namespaces/default/pods/web/exec?command=sh";

#[track_caller]
fn assert_too_many(reply: &Reply) {
    reply.assert_refusal(429);
    assert_eq!(reply.json()["reason"], "TooManyRequests");
    assert_eq!(reply.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn a_user_has_a_rate_of_their_own() {
    let bed = Bed::with(|settings| settings.limits.requests_per_user = Some(2)).await;
    for (protocol, user) in Protocol::BOTH.into_iter().zip(["alice", "carol"]) {
        let mut replies = Vec::new();
        for _ in 0..20 {
            replies.push(bed.get(protocol, user, &[]).await);
        }
        replies.retain(|reply| reply.status != 200);
        assert!(replies.len() >= 5, "{protocol:?}: {} of 20", replies.len());
        replies.iter().for_each(assert_too_many);
    }
    bed.get(Protocol::H2, "bob", &[]).await.assert_status(200);
}

#[tokio::test]
async fn an_address_without_a_credential_has_a_rate() {
    let bed = Bed::with(|settings| settings.limits.unauthenticated_per_address = Some(2)).await;
    let token = bed.issuer.token("alice", &[]);
    let get = |token: &str| Call::get("/api/v1/pods").bearer(token);
    let send = async |protocol, call| bed.client.send(protocol, call).await.unwrap();
    send(Protocol::H1, get(&token)).await.assert_status(200);
    for protocol in Protocol::BOTH {
        let mut refused = 0;
        for _ in 0..20 {
            let reply = send(protocol, get("nonsense")).await;
            if reply.status == 429 {
                assert_too_many(&reply);
                refused += 1;
                // Whoever has been let in before has nothing to do with it.
                send(protocol, get(&token)).await.assert_status(200);
            }
        }
        assert!(refused > 10, "{protocol:?}: {refused} of 20");
    }
}

#[tokio::test]
async fn an_address_of_ipv6_is_its_network() {
    let bed = Bed::with(|settings| {
        settings.limits.unauthenticated_per_address = Some(1);
        settings.serving.trusted_proxies = vec!["127.0.0.0/8".to_owned()];
    })
    .await;
    let from = async |address: &str| {
        let call = Call::get("/api/v1/pods").header("x-forwarded-for", address);
        bed.client.send(Protocol::H1, call).await.unwrap().status
    };
    let mut refused = 0;
    for n in 0..20 {
        refused += usize::from(from(&format!("2001:db8::{n}")).await == 429);
    }
    assert!(refused > 10, "{refused} of 20");
    assert_eq!(from("2001:db8:0:1::1").await, 401);
}

#[tokio::test]
async fn a_head_has_as_many_fields_as_it_may() {
    let bed = Bed::with(|settings| settings.limits.header_count = Some(20)).await;
    for protocol in Protocol::BOTH {
        bed.get(protocol, "alice", &[]).await.assert_status(200);
        let names: Vec<String> = (0..40).map(|n| format!("x-{n}")).collect();
        let headers: Vec<_> = names.iter().map(|name| (&**name, "v")).collect();
        let reply = bed.send(protocol, "alice", &[], &headers).await;
        assert_eq!(reply.status, 431, "{protocol:?} {reply:?}");
    }
    assert_eq!(bed.api.forwarded().len(), 2);
}

#[tokio::test]
async fn a_head_has_as_many_bytes_as_it_may() {
    let bed = Bed::with(|settings| settings.limits.header_bytes = Some(8192)).await;
    let long = "v".repeat(12_000);
    for protocol in Protocol::BOTH {
        bed.get(protocol, "alice", &[]).await.assert_status(200);
        let reply = bed.send(protocol, "alice", &[], &[("x-long", &long)]).await;
        assert_eq!(reply.status, 431, "{protocol:?} {reply:?}");
    }
}

#[tokio::test]
async fn further_connections_are_closed() {
    let bed = Bed::with(|settings| settings.limits.connections = Some(3)).await;
    let call = || Call::get("/api/v1/pods").bearer(&bed.issuer.token("alice", &[]));
    // An address has half of them.
    let mut first = bed.client.connect(Protocol::H1).await.unwrap();
    first.send(call()).await.unwrap().assert_status(200);
    let second = bed.client.send(Protocol::H1, call()).await;
    assert!(second.is_err(), "{second:?}");
    first.send(call()).await.unwrap().assert_status(200);
    drop(first);
    until_there_is_room(&bed).await;
}

#[tokio::test]
async fn a_stream_still_takes_its_connections_place() {
    let bed = Bed::with(|settings| settings.limits.connections = Some(4)).await;
    bed.api.answer(
        "/api/v1/namespaces/default/pods/web/exec",
        Answer::Upgrade(Upgrade::default()),
    );
    let (first, mut second) = (exec(&bed).await, exec(&bed).await);
    // Beyond the 101 neither is served by the HTTP server any more.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(connections(&bed).await, 2);
    let third = bed.get_or_error(Protocol::H1).await;
    assert!(third.is_err(), "{third:?}");
    second.write("ping").await.unwrap();
    assert_eq!(second.exactly(4).await.unwrap(), b"ping");
    drop(first);
    until_there_is_room(&bed).await;
    drop(second);
    let deadline = Instant::now() + Duration::from_mins(1);
    while connections(&bed).await != 0 {
        assert!(Instant::now() < deadline, "{}", connections(&bed).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn exec(bed: &Bed) -> RawConnection {
    let mut raw = bed.client.raw().await.unwrap();
    let bearer = format!("Authorization: Bearer {}", bed.issuer.token("alice", &[]));
    let lines = [&*bearer, "Connection: Upgrade", "Upgrade: SPDY/3.1"];
    raw.request(&format!("POST {EXEC}"), &lines).await.unwrap();
    assert_eq!(raw.head().await.unwrap().status, 101);
    raw
}

/// The end of a connection takes a moment to be seen.
async fn until_there_is_room(bed: &Bed) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while bed.get_or_error(Protocol::H1).await.is_err() {
        assert!(Instant::now() < deadline, "no room again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn connections(bed: &Bed) -> usize {
    let metrics = bed.proxy.probe("/metrics").await.unwrap().text();
    let value = metrics
        .lines()
        .find_map(|line| line.strip_prefix("oidc_proxy_connections "));
    value
        .unwrap_or_else(|| panic!("{metrics}"))
        .parse()
        .unwrap()
}
