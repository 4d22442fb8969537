//! Tokens that no issuer claims: the cluster says whose they are, and they travel on as they are.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use oidcproxy_tests::{
    api_server::Answer,
    bed::Bed,
    client::{Call, Protocol},
};
use serde_json::json;

const PODS: &str = "/api/v1/pods";
const TOKEN: &str = "opaque-token";

async fn bed(audiences: &[&str]) -> Bed {
    let audiences = audiences.join(",");
    let bed = Bed::with(|setup, _| {
        let setup = setup.flag("--token-passthrough");
        if audiences.is_empty() {
            setup
        } else {
            setup.flag(format!("--token-passthrough-audiences={audiences}"))
        }
    })
    .await;
    bed.api.reviews().set_token_status(json!({
        "authenticated": true, "audiences": ["cluster"],
        "user": {"username": "system:serviceaccount:web:deployer", "groups": ["system:serviceaccounts", "system:authenticated"]},
    }));
    bed
}

#[tokio::test]
async fn the_clients_own_token_is_forwarded() {
    let bed = bed(&[]).await;
    for protocol in Protocol::BOTH {
        let call = Call::get(PODS)
            .bearer(TOKEN)
            .header("x-remote-user", "root")
            .header("impersonate-user", "bob")
            .header("impersonate-group", "dev");
        bed.send(protocol, call).await.assert_status(200);
        let seen = bed.api.forwarded().pop().unwrap();
        assert_eq!(seen.values("authorization"), [format!("Bearer {TOKEN}")]);
        assert_eq!(seen.user().as_deref(), Some("bob"));
        assert_eq!(seen.groups(), ["dev"]);
        assert!(seen.names("x-remote-").is_empty());
        bed.get_with(protocol, TOKEN).await.assert_status(200);
        let seen = bed.api.forwarded().pop().unwrap();
        assert_eq!(seen.values("authorization"), [format!("Bearer {TOKEN}")]);
        assert!(seen.names("impersonate-").is_empty(), "{seen:?}");
    }
    // Asked once for all four, by our own account.
    assert_eq!(bed.api.reviews().tokens(), [json!({"token": TOKEN})]);
    // kube-apiserver reviews the token's own rights itself.
    assert!(bed.api.reviews().asked().is_empty());
    bed.proxy
        .access_line("inbound:[system:serviceaccount:web:deployer / ")
        .await
        .unwrap();
}

#[tokio::test]
async fn the_answers_audiences_are_looked_at() {
    let ours = bed(&["cluster", "other"]).await;
    ours.get_with(Protocol::H1, TOKEN).await.assert_status(200);
    let asked = ours.api.reviews().tokens();
    assert_eq!(
        asked,
        [json!({"token": TOKEN, "audiences": ["cluster", "other"]})]
    );
    let foreign = bed(&["other"]).await;
    foreign
        .get_with(Protocol::H1, TOKEN)
        .await
        .assert_refusal(401);
    foreign.api.assert_untouched();
}

#[tokio::test]
async fn what_an_issuer_refuses_goes_nowhere_else() {
    let bed = bed(&[]).await;
    let expired = bed.issuer.claims("alice").expires_in(-3600);
    for protocol in Protocol::BOTH {
        bed.get_with(protocol, &bed.issuer.sign(&expired))
            .await
            .assert_refusal(401);
        let reserved = bed.token("system:admin", &[]);
        bed.get_with(protocol, &reserved).await.assert_refusal(403);
        let good = bed.get_with(protocol, &bed.token("alice", &[])).await;
        assert_eq!(good.json()["user"], "alice");
    }
    assert!(bed.api.reviews().tokens().is_empty());
}

#[tokio::test]
async fn no_verdict_is_a_no() {
    let bed = bed(&[]).await;
    bed.api
        .reviews()
        .set_token_status(json!({"authenticated": false}));
    bed.get_with(Protocol::H1, TOKEN).await.assert_refusal(401);
    bed.api
        .reviews()
        .set_token_status(json!({"authenticated": true, "error": "no", "user": {"username": "a"}}));
    bed.get_with(Protocol::H1, "another")
        .await
        .assert_refusal(401);
    bed.api.assert_untouched();
    // Off unless asked for.
    let off = Bed::start().await;
    off.get_with(Protocol::H1, TOKEN).await.assert_refusal(401);
    assert!(off.api.reviews().tokens().is_empty());
}

#[tokio::test]
async fn a_401_of_kube_apiserver_is_about_the_clients_token() {
    let bed = bed(&[]).await;
    bed.api.answer(
        PODS,
        Answer::Json(401, json!({"kind": "Status", "code": 401})),
    );
    let reply = bed.get_with(Protocol::H1, TOKEN).await;
    assert_eq!(reply.status, 401);
}
