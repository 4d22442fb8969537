//! What may be asked for, and what arrives.

use oidcproxy_tests::{
    bed::Bed,
    client::{Call, Protocol},
};
use serde_json::{Value, json};

use super::{PODS, reviewed, send};

#[tokio::test]
async fn without_a_right_every_header_is_refused() {
    let bed = Bed::start().await;
    let user = ("impersonate-user", "bob");
    let cases: &[&[(&str, &str)]] = &[
        &[user],
        &[("iMPERSONATE-uSER", "bob")],
        &[user, ("impersonate-group", "ops")],
        &[user, ("impersonate-uid", "7")],
        &[user, ("impersonate-extra-scopes", "view")],
        &[("impersonate-user", "alice")],
        &[("impersonate-user", "system:admin")],
        &[("impersonate-user", "system:serviceaccount:web:deployer")],
        &[user, ("impersonate-group", "system:masters")],
    ];
    for protocol in Protocol::BOTH {
        for case in cases {
            let reply = send(&bed, protocol, case).await;
            assert_eq!(reply.status, 403, "{case:?}: {reply:?}");
            reply.assert_refusal(403);
        }
    }
    bed.api.assert_untouched();
}

#[tokio::test]
async fn the_case_of_header_names_does_not_matter_on_the_wire() {
    let bed = Bed::start().await;
    let bearer = format!("Authorization: Bearer {}", bed.token("alice", &["dev"]));
    for line in [
        "iMPERSONATE-uSER: bob",
        "IMPERSONATE-USER: bob",
        "impersonate-user:bob",
    ] {
        let mut raw = bed.client.raw().await.unwrap();
        raw.request(&format!("GET {PODS}"), &[&bearer, line])
            .await
            .unwrap();
        raw.reply().await.unwrap().assert_refusal(403);
    }
    bed.api.assert_untouched();
}

#[tokio::test]
async fn a_refusal_says_what_is_missing() {
    let bed = Bed::start().await;
    let reply = send(&bed, Protocol::H1, &[("impersonate-user", "bob")]).await;
    let message = reply.json()["message"].as_str().unwrap().to_owned();
    for part in ["alice", "bob", "impersonate", "users"] {
        assert!(message.contains(part), "{message}");
    }
}

#[tokio::test]
async fn with_the_right_the_request_runs_as_the_other() {
    let bed = Bed::start().await;
    bed.api
        .reviews()
        .allow_impersonate("alice", "", "users", "bob");
    for protocol in Protocol::BOTH {
        let reply = send(&bed, protocol, &[("impersonate-user", "bob")]).await;
        reply.assert_status(200);
        assert_eq!(reply.json()["user"], "bob");
        assert_eq!(reply.json()["groups"], json!(["system:authenticated"]));
        assert_eq!(reply.json()["uid"], Value::Null);
    }
    let expected = json!({"verb": "impersonate", "resource": "users", "name": "bob"});
    assert!(
        reviewed(&bed).iter().all(|review| *review == expected),
        "{:?}",
        reviewed(&bed)
    );
}

#[tokio::test]
async fn malformed_requests_are_refused_without_a_review() {
    let bed = Bed::start().await;
    let user = ("impersonate-user", "bob");
    let cases: &[&[(&str, &str)]] = &[
        &[("impersonate-group", "ops")],
        &[("impersonate-uid", "7")],
        &[("impersonate-extra-scopes", "view")],
        &[("impersonate-user", "")],
        &[("impersonate-user", ""), ("impersonate-group", "ops")],
        &[user, user],
        &[user, ("impersonate-user", "root")],
        &[("impersonate-user", "root"), user],
        &[user, ("impersonate-uid", "7"), ("impersonate-uid", "8")],
        &[user, ("impersonate-future", "x")],
        &[("impersonate-future", "x")],
        &[user, ("impersonate-", "x")],
        &[user, ("impersonate-groups", "ops")],
    ];
    for protocol in Protocol::BOTH {
        for case in cases {
            let reply = send(&bed, protocol, case).await;
            assert_eq!(reply.status, 400, "{protocol:?} {case:?}: {reply:?}");
            reply.assert_refusal(400);
        }
    }
    bed.api.assert_untouched();
    assert!(bed.api.reviews().asked().is_empty());
}

#[tokio::test]
async fn the_original_user_travels_along() {
    let bed = Bed::start().await;
    bed.api
        .reviews()
        .allow_impersonate("alice", "", "users", "bob");
    let token = bed
        .issuer
        .claims("alice")
        .groups(&["dev", "ops"])
        .claim("jti", "t-1");
    let call = Call::get(PODS)
        .bearer(&bed.issuer.sign(&token))
        .header("impersonate-user", "bob");
    bed.send(Protocol::H1, call).await.assert_status(200);
    let seen = bed.api.only();
    assert_eq!(seen.user().as_deref(), Some("bob"));
    assert_eq!(seen.extra("originaluser.jetstack.io-user"), ["alice"]);
    let groups = seen.extra("originaluser.jetstack.io-groups");
    assert_eq!(groups[..2], ["dev", "ops"], "{groups:?}");
    let extra = seen.extra("originaluser.jetstack.io-extra");
    assert_eq!(extra.len(), 1);
    let extra: Value = serde_json::from_str(&extra[0]).unwrap();
    assert_eq!(
        extra,
        json!({"authentication.kubernetes.io/credential-id": ["JTI=t-1"]})
    );
    // The requester's own token is not the target's.
    assert!(
        seen.extra("authentication.kubernetes.io/credential-id")
            .is_empty()
    );
}

#[tokio::test]
async fn nobody_claims_to_be_the_original_user() {
    let bed = Bed::start().await;
    bed.api
        .reviews()
        .allow("alice", json!({"verb": "impersonate"}));
    for name in [
        "impersonate-extra-originaluser.jetstack.io-user",
        "Impersonate-Extra-OriginalUser.jetstack.io-groups",
        "impersonate-extra-originaluser%2ejetstack.io-user",
        "impersonate-extra-originaluser.jetstack.io-uid",
        "impersonate-extra-originaluser.jetstack.io-extra",
    ] {
        for protocol in Protocol::BOTH {
            let reply = send(
                &bed,
                protocol,
                &[("impersonate-user", "bob"), (name, "root")],
            )
            .await;
            assert_eq!(reply.status, 403, "{name}: {reply:?}");
            reply.assert_refusal(403);
        }
    }
    bed.api.assert_untouched();
}
