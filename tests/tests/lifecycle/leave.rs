//! SIGTERM.

use std::time::Duration;

use oidcproxy_tests::{
    api_server::Answer,
    bed::Bed,
    client::{Call, Protocol},
};

use super::eventually;

#[tokio::test]
async fn sigterm_makes_it_unready_finishes_requests_and_ends_with_0() {
    let mut bed = Bed::start().await;
    let slow = Answer::Later(Duration::from_secs(2), Box::new(Answer::Identity));
    bed.api.answer("/slow", slow);
    let token = bed.token("alice", &[]);
    let (client, api) = (bed.client.clone(), &bed.api);
    let requests =
        Protocol::BOTH.map(|protocol| client.send(protocol, Call::get("/slow").bearer(&token)));
    let requests = futures::future::join_all(requests);
    let leave =
        async {
            for _ in 0..200 {
                if api.forwarded().len() == 2 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert_eq!(api.forwarded().len(), 2);
            bed.proxy.terminate().unwrap();
            eventually("/ready is 503", Duration::from_secs(1), async || {
            matches!(bed.proxy.probe("/ready").await, Ok(reply) if reply.status == 503)
        })
        .await;
            bed.proxy.probe("/live").await.unwrap().assert_status(200);
        };
    let (replies, ()) = tokio::join!(requests, leave);
    for reply in replies {
        reply.unwrap().assert_status(200);
    }
    let status = bed
        .proxy
        .process
        .wait(Duration::from_mins(1))
        .await
        .unwrap();
    assert_eq!(status.code(), Some(0), "{}", bed.proxy.process.output());
}

#[tokio::test]
async fn sigterm_without_clients_ends_soon() {
    let mut bed = Bed::start().await;
    // An idle connection is not a request.
    let _idle = bed.connect(Protocol::H2).await;
    bed.proxy.terminate().unwrap();
    let status = bed
        .proxy
        .process
        .wait(Duration::from_secs(30))
        .await
        .unwrap();
    assert_eq!(status.code(), Some(0));
}
