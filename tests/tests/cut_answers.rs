//! Answers that the proxy ends before their own end: only what is whole wherever it ends looks whole.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use oidcproxy_tests::{
    api_server::{Answer, Events},
    bed::Bed,
    client::{Call, Protocol},
    proxy::authentication_config,
};

/// The issuer leaves the settings, which ends every answer to its tokens.
fn withdraw_issuer(bed: &Bed) {
    let mut config = authentication_config(&bed.issuer);
    let url = format!("{}/other", bed.issuer.url());
    config["jwt"][0]["issuer"]["url"] = url.into();
    bed.proxy
        .replace("authentication.yaml", &config.to_string())
        .unwrap();
}

#[tokio::test]
async fn a_cut_answer_does_not_look_complete() {
    let bed = Bed::start().await;
    let events = Events::default();
    bed.api.answer("/api", Answer::Watch(events.clone()));
    let token = bed.token("alice", &[]);
    let pod = "/api/v1/namespaces/default/pods/web";
    let targets = [
        ("/api/v1/pods?watch=1".to_owned(), true),
        (format!("{pod}/log?follow=true"), true),
        ("/api/v1/pods".to_owned(), false),
        (format!("{pod}/proxy/download"), false),
        ("/apis".to_owned(), false),
    ];
    let mut answers = Vec::new();
    for protocol in Protocol::BOTH {
        for (target, is_whole) in &targets {
            let call = Call::get(target).bearer(&token);
            let answer = bed.client.stream(protocol, call).await.unwrap();
            assert_eq!(answer.status, 200);
            answers.push((format!("{protocol:?} {target}"), *is_whole, answer));
        }
    }
    events.send("{\"items\":[");
    for (_, _, answer) in &mut answers {
        assert!(answer.next().await.unwrap().is_some());
    }
    withdraw_issuer(&bed);
    for (what, is_whole, mut answer) in answers {
        match answer.next().await {
            Ok(None) => assert!(is_whole, "{what} looks complete"),
            Ok(Some(more)) => panic!("{what} goes on: {more:?}"),
            Err(error) => assert!(!is_whole, "{what} has no end: {error:#}"),
        }
    }
}

#[tokio::test]
async fn an_answer_that_never_pauses_is_cut_too() {
    let bed = Bed::start().await;
    let events = Events::default();
    bed.api.answer("/api", Answer::Watch(events.clone()));
    let token = bed.token("alice", &[]);
    let chatter = tokio::spawn(async move {
        loop {
            events.send("line\n");
            tokio::task::yield_now().await;
        }
    });
    let call = Call::get("/api/v1/pods?watch=1").bearer(&token);
    let mut watch = bed.client.stream(Protocol::H2, call).await.unwrap();
    watch.next().await.unwrap().unwrap();
    withdraw_issuer(&bed);
    let end = async { while watch.next().await.unwrap().is_some() {} };
    let end = tokio::time::timeout(std::time::Duration::from_secs(30), end);
    end.await.expect("the watch ends");
    chatter.abort();
}
