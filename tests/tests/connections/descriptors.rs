//! Requests at kube-apiserver are bounded by what the process may have open.

use std::time::Duration;

use oidcproxy_tests::{
    api_server::{Answer, Events, Upgrade},
    bed::Bed,
    client::{Call, Protocol},
};
use tokio::time::Instant;

use super::PODS;

const WATCH: &str = "/api/v1/pods?watch=1";
const EXEC: &str = "/api/v1/namespaces/default/pods/web/exec?command=sh";
/// Of which 320 are for other things, and half of the rest for clients.
const DESCRIPTORS: u32 = 448;
const REQUESTS: usize = 64;

#[tokio::test]
async fn further_requests_are_told_to_come_again() {
    let bed = Bed::with(|setup, _| setup.descriptors(DESCRIPTORS)).await;
    let events = Events::default();
    bed.api.answer(WATCH, Answer::Watch(events.clone()));
    bed.api.answer(EXEC, Answer::Upgrade(Upgrade::default()));
    let (token, other) = (bed.token("alice", &[]), bed.token("dave", &[]));
    let bearer = format!("Authorization: Bearer {token}");
    // One connection is enough for all of them.
    let mut connection = bed.connect(Protocol::H2).await;
    let mut watches = Vec::new();
    for number in 1..REQUESTS {
        let token = if number < REQUESTS / 2 {
            &token
        } else {
            &other
        };
        let watch = connection.stream(Call::get(WATCH).bearer(token)).await;
        watches.push(watch.unwrap());
    }
    assert!(watches.iter().all(|watch| watch.status == 200));
    let mut exec = bed.client.raw().await.unwrap();
    let lines = [&*bearer, "Connection: Upgrade", "Upgrade: SPDY/3.1"];
    exec.request(&format!("POST {EXEC}"), &lines).await.unwrap();
    assert_eq!(exec.head().await.unwrap().status, 101);

    for protocol in Protocol::BOTH {
        let refused = bed.get_with(protocol, &bed.token("bob", &[])).await;
        refused.assert_refusal(429);
        assert_eq!(refused.json()["reason"], "TooManyRequests");
        assert_eq!(refused.header("retry-after"), Some("1"));
    }
    assert_eq!(bed.api.forwarded().len(), REQUESTS);
    let line = bed.proxy.access_line("AuFail").await.unwrap();
    assert!(line.contains(PODS), "{line}");
    // Who looks after the proxy is not shut out, and what runs goes on.
    for path in ["/ready", "/live", "/state"] {
        bed.proxy.probe(path).await.unwrap().assert_status(200);
    }
    let metrics = bed.proxy.probe("/metrics").await.unwrap().text();
    let counted = "oidc_proxy_refusals_total{reason=\"overloaded\"} 2";
    assert!(metrics.contains(counted), "{metrics}");
    events.send("event\n");
    for watch in &mut watches {
        assert_eq!(watch.next().await.unwrap().unwrap(), "event\n");
    }

    drop(exec);
    until_served(&bed).await;
    // A watch that is given up leaves its place, too.
    watches.pop().unwrap().abort();
    let mut exec = bed.client.raw().await.unwrap();
    exec.request(&format!("POST {EXEC}"), &lines).await.unwrap();
    assert_eq!(exec.head().await.unwrap().status, 101);
    until_served(&bed).await;
}

#[tokio::test]
async fn one_user_has_half_of_them() {
    let bed = Bed::with(|setup, _| setup.descriptors(DESCRIPTORS)).await;
    let events = Events::default();
    bed.api.answer(WATCH, Answer::Watch(events.clone()));
    bed.api.answer(EXEC, Answer::Upgrade(Upgrade::default()));
    let token = bed.token("alice", &[]);
    let mut connection = bed.connect(Protocol::H2).await;
    let mut watches = Vec::new();
    for _ in 1..REQUESTS / 2 {
        let watch = connection.stream(Call::get(WATCH).bearer(&token)).await;
        watches.push(watch.unwrap());
    }
    // Whatever it is, and whichever token it comes with.
    let mut exec = bed.client.raw().await.unwrap();
    let bearer = format!("Authorization: Bearer {}", bed.token("alice", &["dev"]));
    let lines = [&*bearer, "Connection: Upgrade", "Upgrade: SPDY/3.1"];
    exec.request(&format!("POST {EXEC}"), &lines).await.unwrap();
    assert_eq!(exec.head().await.unwrap().status, 101);
    for protocol in Protocol::BOTH {
        let refused = bed.get_with(protocol, &token).await;
        refused.assert_refusal(429);
        let message = refused.json()["message"].to_string();
        assert!(message.contains("this user has as many"), "{message}");
        assert_eq!(refused.header("retry-after"), Some("1"));
        let other = bed.get_with(protocol, &bed.token("bob", &[])).await;
        other.assert_status(200);
    }
    let metrics = bed.proxy.probe("/metrics").await.unwrap().text();
    let counted = "oidc_proxy_refusals_total{reason=\"user_share\"} 2";
    assert!(metrics.contains(counted), "{metrics}");
    events.end();
    for mut watch in watches {
        while watch.next().await.unwrap().is_some() {}
    }
    bed.get_with(Protocol::H1, &token).await.assert_status(200);
}

async fn until_served(bed: &Bed) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let token = bed.token("carol", &[]);
    loop {
        let call = Call::get(PODS).bearer(&token);
        match bed.send(Protocol::H1, call).await.status {
            200 => return,
            429 if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            other => panic!("{other}"),
        }
    }
}
