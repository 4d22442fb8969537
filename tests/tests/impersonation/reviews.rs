//! Reviews are those kube-apiserver would ask, and no answer is a no.

use std::time::Duration;

use oidcproxy_tests::{
    api_server::ReviewMode,
    bed::Bed,
    client::{Call, Protocol},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{PODS, reviewed, send};

/// What all reviews of a request may take together.
const BUDGET: Duration = Duration::from_secs(5);
const AUTHENTICATION: &str = "authentication.k8s.io";

fn sorted(mut values: Vec<Value>) -> Vec<Value> {
    values.sort_by_key(ToString::to_string);
    values
}

#[tokio::test]
async fn the_review_speaks_of_the_whole_requester() {
    let bed = Bed::start().await;
    let token = bed
        .issuer
        .claims("alice")
        .groups(&["dev", "ops"])
        .claim("jti", "t-1");
    let call = Call::get(PODS)
        .bearer(&bed.issuer.sign(&token))
        .header("impersonate-user", "bob");
    for protocol in Protocol::BOTH {
        bed.send(protocol, call.clone()).await.assert_refusal(403);
    }
    // Once: whoever asks over the other protocol is the same requester.
    let asked = bed.api.reviews().asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0]["user"], "alice");
    assert_eq!(
        asked[0]["groups"],
        json!(["dev", "ops", "system:authenticated"])
    );
    assert_eq!(
        asked[0]["extra"],
        json!({"authentication.kubernetes.io/credential-id": ["JTI=t-1"]})
    );
}

#[tokio::test]
async fn every_part_is_reviewed_as_kube_apiserver_does() {
    let bed = Bed::start().await;
    let headers = [
        ("impersonate-user", "bob"),
        ("impersonate-uid", "77"),
        ("impersonate-group", "a, system:masters"),
        ("impersonate-group", "b"),
        ("impersonate-extra-acme.example%2fProject", "p1"),
        ("impersonate-extra-acme.example%2fproject", "p2"),
        ("impersonate-extra-scopes", "view"),
    ];
    let expected = sorted(vec![
        json!({"verb": "impersonate", "resource": "users", "name": "bob"}),
        json!({"verb": "impersonate", "resource": "groups", "name": "a, system:masters"}),
        json!({"verb": "impersonate", "resource": "groups", "name": "b"}),
        json!({"verb": "impersonate", "group": AUTHENTICATION, "resource": "uids", "name": "77"}),
        json!({"verb": "impersonate", "group": AUTHENTICATION, "resource": "userextras", "subresource": "acme.example/project", "name": "p1"}),
        json!({"verb": "impersonate", "group": AUTHENTICATION, "resource": "userextras", "subresource": "acme.example/project", "name": "p2"}),
        json!({"verb": "impersonate", "group": AUTHENTICATION, "resource": "userextras", "subresource": "scopes", "name": "view"}),
    ]);
    for right in &expected {
        bed.api.reviews().allow("alice", right.clone());
    }
    for protocol in Protocol::BOTH {
        let reply = send(&bed, protocol, &headers).await;
        reply.assert_status(200);
        assert_eq!(reviewed(&bed), expected);
        let seen = bed.api.forwarded().pop().unwrap();
        assert_eq!(seen.user().as_deref(), Some("bob"));
        assert_eq!(seen.value("impersonate-uid").as_deref(), Some("77"));
        assert_eq!(
            seen.groups(),
            ["a, system:masters", "b", "system:authenticated"]
        );
        assert_eq!(seen.extra("acme.example/project"), ["p1", "p2"]);
        assert_eq!(seen.extra("scopes"), ["view"]);
    }
}

#[tokio::test]
async fn one_missing_right_is_enough() {
    let rights = [
        ("", "users", "bob"),
        ("", "groups", "ops"),
        (AUTHENTICATION, "uids", "77"),
        (AUTHENTICATION, "userextras", "view"),
    ];
    let bed = Bed::start().await;
    for missing in rights {
        // A requester for each case: decisions may be remembered for a while.
        let user = format!("alice-without-{}", missing.1);
        for right in rights.into_iter().filter(|right| *right != missing) {
            bed.api
                .reviews()
                .allow_impersonate(&user, right.0, right.1, right.2);
        }
        let call = Call::get(PODS)
            .bearer(&bed.token(&user, &[]))
            .header("impersonate-user", "bob")
            .header("impersonate-group", "ops")
            .header("impersonate-uid", "77")
            .header("impersonate-extra-scopes", "view");
        for protocol in Protocol::BOTH {
            bed.send(protocol, call.clone()).await.assert_refusal(403);
        }
    }
    bed.api.assert_untouched();
}

#[tokio::test]
async fn service_accounts_are_reviewed_as_such() {
    let bed = Bed::start().await;
    let name = "system:serviceaccount:web:deployer";
    // The right to be any such user name is not the right to be the account.
    bed.api
        .reviews()
        .allow_impersonate("alice", "", "users", name);
    for protocol in Protocol::BOTH {
        send(&bed, protocol, &[("impersonate-user", name)])
            .await
            .assert_refusal(403);
    }
    let expected = json!({"verb": "impersonate", "resource": "serviceaccounts", "namespace": "web", "name": "deployer"});
    assert_eq!(reviewed(&bed), std::slice::from_ref(&expected));
    bed.api.assert_untouched();

    bed.api.reviews().allow("carol", expected);
    let call = Call::get(PODS)
        .bearer(&bed.token("carol", &[]))
        .header("impersonate-user", name);
    for protocol in Protocol::BOTH {
        let reply = bed.send(protocol, call.clone()).await;
        reply.assert_status(200);
        assert_eq!(reply.json()["user"], name);
        assert_eq!(
            reply.json()["groups"],
            json!([
                "system:serviceaccounts",
                "system:serviceaccounts:web",
                "system:authenticated"
            ])
        );
    }
}

#[tokio::test]
async fn a_review_without_answer_is_a_no() {
    let bed = Bed::start().await;
    bed.api
        .reviews()
        .allow("alice", json!({"verb": "impersonate"}));
    for mode in [
        ReviewMode::Status(500),
        ReviewMode::Status(403),
        ReviewMode::Status(429),
        ReviewMode::Hang,
    ] {
        bed.api.reviews().set_mode(mode.clone());
        for protocol in Protocol::BOTH {
            let start = Instant::now();
            let reply = send(&bed, protocol, &[("impersonate-user", "bob")]).await;
            reply.assert_refusal(503);
            let took = start.elapsed();
            let is_silent = matches!(mode, ReviewMode::Hang);
            assert_eq!(is_silent, took > BUDGET, "{mode:?}: {took:?}");
            assert!(took < BUDGET + Duration::from_secs(2), "{took:?}");
        }
    }
    bed.api.assert_untouched();
    // And the failure is not remembered.
    bed.api.reviews().set_mode(ReviewMode::Rights);
    send(&bed, Protocol::H1, &[("impersonate-user", "bob")])
        .await
        .assert_status(200);
}

#[tokio::test]
async fn decisions_are_remembered_for_the_requester_alone_and_not_for_long() {
    let bed = Bed::start().await;
    bed.api
        .reviews()
        .allow_impersonate("alice", "", "users", "bob");
    for _ in 0..3 {
        for protocol in Protocol::BOTH {
            send(&bed, protocol, &[("impersonate-user", "bob")])
                .await
                .assert_status(200);
        }
    }
    let asked = bed.api.reviews().asked().len();
    assert!(asked < 6, "{asked} reviews for six equal requests");
    for (user, groups) in [("carol", &["dev"][..]), ("alice", &["dev", "x"])] {
        let call = Call::get(PODS)
            .bearer(&bed.token(user, groups))
            .header("impersonate-user", "bob");
        let expected = if user == "alice" { 200 } else { 403 };
        bed.send(Protocol::H1, call).await.assert_status(expected);
    }
    assert_eq!(
        bed.api.reviews().asked().len(),
        asked + 2,
        "other requesters are asked about"
    );
    bed.api.reviews().revoke_all();
    let revoked = Instant::now();
    while send(&bed, Protocol::H1, &[("impersonate-user", "bob")])
        .await
        .status
        != 403
    {
        assert!(
            revoked.elapsed() < Duration::from_secs(15),
            "the right outlives its end"
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test]
async fn many_values_are_refused_before_any_review() {
    let bed = Bed::start().await;
    bed.api
        .reviews()
        .allow("alice", json!({"verb": "impersonate"}));
    let mut headers = vec![("impersonate-user", "bob")];
    headers.resize(200, ("impersonate-group", "ops"));
    for protocol in Protocol::BOTH {
        let reply = send(&bed, protocol, &headers).await;
        reply.assert_refusal(431);
    }
    bed.api.assert_untouched();
    assert!(bed.api.reviews().asked().is_empty());
}

/// However many requests there are, and within the time of each.
#[tokio::test]
async fn the_cluster_is_not_asked_about_everything_at_once() {
    let bed = Bed::start().await;
    bed.api.reviews().set_mode(ReviewMode::Hang);
    let groups: Vec<String> = (0..40).map(|n| format!("group-{n}")).collect();
    let start = Instant::now();
    let requests = (0..3).map(|n| {
        let call = Call::get(PODS)
            .bearer(&bed.token(&format!("user-{n}"), &[]))
            .header("impersonate-user", "bob");
        let call = groups
            .iter()
            .fold(call, |call, group| call.header("impersonate-group", group));
        bed.send(Protocol::H1, call)
    });
    let look = async {
        tokio::time::sleep(BUDGET / 2).await;
        bed.api.reviews().asked().len()
    };
    let (replies, asked) = tokio::join!(futures::future::join_all(requests), look);
    assert_eq!(asked, 64);
    for reply in replies {
        reply.assert_refusal(503);
    }
    assert!(start.elapsed() < BUDGET + Duration::from_secs(3));
    bed.api.assert_untouched();
    bed.api.reviews().set_mode(ReviewMode::Rights);
    send(&bed, Protocol::H1, &[("impersonate-user", "bob")])
        .await
        .assert_refusal(403);
}
