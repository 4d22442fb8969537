//! Requests that end with their answer.

use http::Method;
use oidcproxy_tests::{
    api_server::{Answer, Upgrade},
    client::{Call, Protocol},
};
use serde_json::json;

use super::{bed, line, lines_of, settled};

#[tokio::test]
async fn a_request_is_one_line_when_it_is_over() {
    let bed = bed().await;
    bed.api.answer(
        "/api/v1/pods",
        Answer::Json(200, json!({"kind": "PodList"})),
    );
    let token = bed
        .issuer
        .claims("jane")
        .groups(&["dev"])
        .claim("jti", "t-1");
    let token = bed.issuer.sign(&token);
    for (protocol, path) in Protocol::BOTH
        .into_iter()
        .zip(["/api/v1/pods?limit=500", "/api/v1/pods?limit=5"])
    {
        let call = Call::get(path)
            .bearer(&token)
            .header("user-agent", "kubectl/v1.36.3")
            .header("x-forwarded-for", "203.0.113.9");
        let reply = bed.send(protocol, call).await;
        reply.assert_status(200);
        let found = line(&bed, "completed", path).await;
        assert_eq!(reply.header("audit-id"), found["auditID"].as_str());
        let expected = json!({
            "event": "completed",
            "decision": "AuSuccess",
            "source": {"peer": "127.0.0.1", "forwardedFor": "203.0.113.9"},
            "method": "GET",
            "requestURI": path,
            "verb": "list",
            "userAgent": "kubectl/v1.36.3",
            "user": {
                "username": "jane",
                "groups": ["dev", "system:authenticated"],
                "extra": {"authentication.kubernetes.io/credential-id": ["JTI=t-1"]},
            },
            "status": 200,
            "bytesIn": 0,
            "bytesOut": reply.body.len(),
        });
        assert_eq!(settled(found), expected);
        assert_eq!(lines_of(&bed, path).len(), 1);
    }
}

#[tokio::test]
async fn bytes_are_counted_both_ways() {
    let bed = bed().await;
    for protocol in Protocol::BOTH {
        let path = format!("/api/v1/namespaces/web/configmaps?{protocol:?}");
        let call = Call::new(Method::POST, &path)
            .bearer(&bed.token("jane", &[]))
            .body(vec![b'x'; 100_000]);
        let reply = bed.send(protocol, call).await;
        reply.assert_status(200);
        let found = line(&bed, "completed", &path).await;
        assert_eq!(found["bytesIn"], 100_000);
        assert_eq!(found["bytesOut"], reply.body.len());
        assert_eq!(
            (&found["verb"], &found["method"]),
            (&json!("create"), &json!("POST"))
        );
    }
}

#[tokio::test]
async fn refusals_say_why() {
    let bed = bed().await;
    let good = bed.token("jane", &["dev"]);
    let expired = bed.issuer.sign(&bed.issuer.claims("jane").expires_in(-5));
    let calls = [
        (
            "/no-token",
            Call::get("/no-token"),
            401,
            "no_credential",
            "no credential",
            false,
        ),
        (
            "/expired",
            Call::get("/expired").bearer(&expired),
            401,
            "expired",
            "token is expired",
            false,
        ),
        (
            "/reserved",
            Call::get("/reserved").bearer(&bed.token("jane", &["system:masters"])),
            403,
            "reserved_identity",
            "the token's group is reserved",
            false,
        ),
        (
            "/denied",
            Call::get("/denied")
                .bearer(&good)
                .header("impersonate-user", "bob"),
            403,
            "impersonation",
            "user \"jane\" cannot impersonate",
            true,
        ),
    ];
    for protocol in Protocol::BOTH {
        for (path, call, code, reason, message, is_known) in &calls {
            let path = format!("{path}?{protocol:?}");
            let call = call.clone().target(&path);
            let reply = bed.send(protocol, call).await;
            reply.assert_refusal(*code);
            let found = line(&bed, "completed", &path).await;
            assert_eq!(reply.header("audit-id"), found["auditID"].as_str());
            assert_eq!(found["decision"], "AuFail", "{found}");
            assert_eq!(found["status"], *code);
            assert_eq!(found["reason"], *reason);
            let text = found["message"].as_str().unwrap();
            assert!(text.starts_with(message), "{text}");
            assert_eq!(found.get("user").is_some(), *is_known, "{found}");
        }
    }
    bed.api.assert_untouched();
}

#[tokio::test]
async fn a_fault_of_the_api_server_is_named() {
    let bed = bed().await;
    bed.api.answer("/cut", Answer::CutMidBody);
    let token = bed.token("jane", &[]);
    let call = Call::get("/cut").bearer(&token);
    assert!(bed.client.send(Protocol::H1, call).await.is_err());
    let found = line(&bed, "completed", "/cut").await;
    assert_eq!(
        (&found["decision"], &found["status"], &found["reason"]),
        (&json!("AuSuccess"), &json!(200), &json!("upstream_broke"))
    );
    bed.api
        .answer("/unasked", Answer::Upgrade(Upgrade::default()));
    let call = Call::get("/unasked").bearer(&token);
    bed.send(Protocol::H2, call).await.assert_status(502);
    let found = line(&bed, "completed", "/unasked").await;
    assert_eq!(
        (&found["status"], &found["reason"]),
        (&json!(502), &json!("upstream"))
    );
    assert_eq!(found["decision"], "AuSuccess");
}

#[tokio::test]
async fn acting_as_somebody_else_names_both() {
    let bed = bed().await;
    bed.api
        .reviews()
        .allow("jane", json!({"verb": "impersonate"}));
    let call = Call::get("/acting")
        .bearer(&bed.token("jane", &["dev"]))
        .header("impersonate-user", "bob")
        .header("impersonate-uid", "7");
    bed.send(Protocol::H2, call).await.assert_status(200);
    let found = line(&bed, "completed", "/acting").await;
    assert_eq!(found["user"]["username"], "jane");
    assert_eq!(found["impersonatedUser"]["username"], "bob");
    assert_eq!(found["impersonatedUser"]["uid"], "7");
}
