//! `limits`: what one client may use.

use oidcproxy_tests::client::{Call, Protocol, Reply};

use super::Bed;

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
    bed.get(Protocol::H1, "alice", &[]).await.assert_status(200);
    for protocol in Protocol::BOTH {
        let mut last = None;
        for _ in 0..20 {
            let call = Call::get("/api/v1/pods").bearer("nonsense");
            last = Some(bed.client.send(protocol, call).await.unwrap());
            if last.as_ref().is_some_and(|reply| reply.status == 429) {
                break;
            }
        }
        assert_too_many(&last.unwrap());
    }
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
    // Its end takes a moment to be seen.
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_mins(1);
    while bed.client.send(Protocol::H1, call()).await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "no room again");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
