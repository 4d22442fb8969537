//! `--as` on everything that lasts: the same rights decide, and the stream runs as the other.

use http::Method;
use oidcproxy_tests::{
    api_server::{Answer, Events, Upgrade},
    bed::Bed,
    client::{Call, Protocol, RawConnection},
};

use super::{SPDY, WEBSOCKET, bearer};

const POD: &str = "/api/v1/namespaces/default/pods/web";
const UPGRADED: [&str; 3] = [
    "exec?command=sh",
    "attach?stdin=true",
    "portforward?ports=80",
];
const ANSWERED: [&str; 3] = ["/log?follow=true", "?watch=1", "/proxy/"];

/// Alice may act as bob, and as nobody else.
async fn bed() -> Bed {
    let bed = Bed::start().await;
    bed.api
        .reviews()
        .allow_impersonate("alice", "", "users", "bob");
    bed
}

async fn open(bed: &Bed, target: &str, lines: &[&str]) -> RawConnection {
    let mut raw = bed.client.raw().await.unwrap();
    // Browsers have no other method for WebSockets.
    let method = if lines.contains(&SPDY[1]) {
        "POST"
    } else {
        "GET"
    };
    raw.request(&format!("{method} {target}"), lines)
        .await
        .unwrap();
    raw
}

#[track_caller]
fn assert_runs_as_bob(bed: &Bed) {
    let seen = bed.api.forwarded().pop().unwrap();
    assert_eq!(seen.user().as_deref(), Some("bob"), "{seen:?}");
    assert_eq!(seen.extra("originaluser.jetstack.io-user"), ["alice"]);
    assert_eq!(seen.groups(), ["system:authenticated"]);
}

#[tokio::test]
async fn upgrades_run_as_the_other_or_not_at_all() {
    let bed = bed().await;
    bed.api.answer(POD, Answer::Upgrade(Upgrade::default()));
    let bearer = bearer(&bed);
    for upgrade in [&SPDY[..], &WEBSOCKET[..]] {
        for subresource in UPGRADED {
            let target = format!("{POD}/{subresource}");
            let with = |user| [&[&*bearer, user], upgrade].concat();
            let before = bed.api.forwarded().len();
            let mut refused = open(&bed, &target, &with("Impersonate-User: carol")).await;
            refused.reply().await.unwrap().assert_refusal(403);
            assert_eq!(bed.api.forwarded().len(), before, "{target}");

            let mut allowed = open(&bed, &target, &with("Impersonate-User: bob")).await;
            assert_eq!(allowed.head().await.unwrap().status, 101, "{target}");
            allowed.write("to and fro").await.unwrap();
            assert_eq!(allowed.exactly(10).await.unwrap(), b"to and fro");
            assert_eq!(bed.api.forwarded().len(), before + 1);
            assert_runs_as_bob(&bed);
        }
    }
}

#[tokio::test]
async fn long_answers_run_as_the_other_or_not_at_all() {
    let bed = bed().await;
    let events = Events::default();
    bed.api.answer("/api", Answer::Watch(events.clone()));
    let token = bed.token("alice", &[]);
    for protocol in Protocol::BOTH {
        for rest in ANSWERED {
            let path = if rest.starts_with('?') {
                "/api/v1/pods"
            } else {
                POD
            };
            let call = Call::new(Method::GET, &format!("{path}{rest}")).bearer(&token);
            let before = bed.api.forwarded().len();
            let refused = call.clone().header("impersonate-user", "carol");
            bed.send(protocol, refused).await.assert_refusal(403);
            assert_eq!(bed.api.forwarded().len(), before, "{rest}");

            let allowed = call.header("impersonate-user", "bob");
            let mut answer = bed.client.stream(protocol, allowed).await.unwrap();
            assert_eq!(answer.status, 200, "{rest}");
            events.send("piece");
            assert_eq!(answer.next().await.unwrap().unwrap(), "piece");
            assert_runs_as_bob(&bed);
            events.end();
            assert_eq!(answer.next().await.unwrap(), None);
        }
    }
}
