//! Nothing passes where an upgrade was not asked for, not allowed or not agreed to.

use oidcproxy_tests::{
    api_server::{Answer, Upgrade},
    bed::Bed,
    client::{Call, Protocol},
};
use serde_json::json;

use super::{EXEC, SPDY, WEBSOCKET, agreeing, assert_forwarded, bearer, open};

#[tokio::test]
async fn another_protocol_in_the_101_is_a_bad_gateway() {
    let bed = Bed::start().await;
    for (lines, answered) in [(&SPDY[..], "websocket"), (&WEBSOCKET[..], "h2c")] {
        let upgrade = Upgrade {
            protocol: Some(answered.to_owned()),
            early: b"secret".to_vec(),
            ..Upgrade::default()
        };
        bed.api.answer("/api", Answer::Upgrade(upgrade));
        let mut raw = open(&bed, "POST", &[&[&*bearer(&bed)], lines].concat()).await;
        let reply = raw.reply().await.unwrap();
        reply.assert_refusal(502);
        let id = bed.api.forwarded().last().unwrap().connection;
        bed.api
            .wait_connection(id, |state| state.closed)
            .await
            .unwrap();
        assert!(bed.api.connection(id).tunnel.is_empty());
    }
}

#[tokio::test]
async fn a_101_that_nobody_asked_for_is_a_bad_gateway() {
    let bed = agreeing(Vec::new()).await;
    let token = bed.token("alice", &["dev"]);
    for protocol in Protocol::BOTH {
        let call = Call::get(EXEC).bearer(&token);
        bed.send(protocol, call).await.assert_refusal(502);
    }
}

#[tokio::test]
async fn a_refused_upgrade_opens_no_tunnel() {
    let bed = Bed::start().await;
    let status = json!({"kind": "Status", "code": 403, "message": "no exec"});
    bed.api.answer("/api", Answer::Json(403, status.clone()));
    // What follows would run with the proxy's own credential if it reached the API server.
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\nImpersonate-User: root\r\n\r\n";
    for lines in [&SPDY[..], &WEBSOCKET[..]] {
        let before = bed.api.forwarded().len();
        let mut raw = bed.client.raw().await.unwrap();
        let lines = [&[&*bearer(&bed)], lines].concat().join("\r\n");
        let request = format!("POST {EXEC} HTTP/1.1\r\nHost: x\r\n{lines}\r\n\r\n{smuggled}");
        raw.write(request).await.unwrap();
        let reply = raw.reply().await.unwrap();
        reply.assert_status(403);
        assert_eq!(reply.json(), status, "the answer passes as it is");
        raw.write(smuggled).await.ok();
        // Without a credential it is the last.
        raw.rest().await.unwrap();
        let seen = &bed.api.requests();
        assert!(
            seen.iter().all(|request| request.target != "/smuggled"),
            "{seen:#?}"
        );
        assert_eq!(bed.api.forwarded().len(), before + 1);
    }
}

#[tokio::test]
async fn a_redirected_upgrade_is_not_followed() {
    let bed = Bed::start().await;
    let location = vec![("Location", format!("{}/elsewhere", bed.api.url()))];
    bed.api
        .answer("/api", Answer::Full(302, location, Vec::new()));
    let mut raw = open(&bed, "POST", &[&[&*bearer(&bed)], &SPDY[..]].concat()).await;
    raw.reply().await.unwrap().assert_refusal(502);
    assert_eq!(bed.api.only().target, EXEC);
}

#[tokio::test]
async fn unauthenticated_upgrades_get_a_plain_answer() {
    let bed = agreeing(Vec::new()).await;
    for lines in [&SPDY[..], &WEBSOCKET[..]] {
        open(&bed, "POST", lines)
            .await
            .reply()
            .await
            .unwrap()
            .assert_refusal(401);
        let garbage = [&["Authorization: Bearer x"], lines].concat();
        open(&bed, "GET", &garbage)
            .await
            .reply()
            .await
            .unwrap()
            .assert_refusal(401);
    }
    bed.api.assert_untouched();
}

#[tokio::test]
async fn other_protocols_are_never_upgraded_to() {
    let bed = agreeing(Vec::new()).await;
    bed.api.answer("/api", Answer::Identity);
    for protocol in [
        "h2c",
        "TLS/1.0",
        "websocket, h2c",
        "h2c, websocket",
        "HTTP/2.0",
        "foo",
    ] {
        let upgrade = format!("Upgrade: {protocol}");
        let bearer = bearer(&bed);
        let lines = [
            &*bearer,
            "Connection: Upgrade, HTTP2-Settings",
            &*upgrade,
            "HTTP2-Settings: AAMAAABkAAQAAP__",
        ];
        let reply = open(&bed, "GET", &lines).await.reply().await.unwrap();
        assert!(matches!(reply.status, 200 | 400), "{protocol}: {reply:?}");
    }
    for request in bed.api.forwarded() {
        assert!(request.values("upgrade").is_empty(), "{request:?}");
        assert!(request.values("http2-settings").is_empty(), "{request:?}");
    }
}

#[tokio::test]
async fn connection_headers_do_not_remove_the_identity_of_upgrades() {
    let bed = agreeing(Vec::new()).await;
    for line in [
        "Connection: Upgrade, Impersonate-User",
        "Connection: Impersonate-User, Impersonate-Group, Authorization, upgrade",
    ] {
        let bearer = bearer(&bed);
        let before = bed.api.forwarded().len();
        let lines = [&[&*bearer, line], &SPDY[1..]].concat();
        let head = open(&bed, "POST", &lines).await.head().await.unwrap();
        assert_eq!(head.status, 101, "{line}");
        assert_forwarded(&bed.api.forwarded()[before], "SPDY/3.1");
    }
}

#[tokio::test]
async fn our_own_credential_is_not_the_clients_fault() {
    let bed = Bed::start().await;
    let bearer = bearer(&bed);
    let unauthorized = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "Unauthorized", "reason": "Unauthorized", "code": 401});
    bed.api.answer("/api/", Answer::Json(401, unauthorized));
    for lines in [&SPDY[..], &WEBSOCKET[..]] {
        let lines = [&[&*bearer], lines].concat();
        let mut raw = open(&bed, "GET", &lines).await;
        raw.reply().await.unwrap().assert_refusal(502);
    }
    // Who is behind kube-apiserver speaks for itself, as long as that knows us.
    let review = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let somebody = json!({"status": {"userInfo": {"username": "proxy"}}});
    bed.api.answer(review, Answer::Json(201, somebody));
    let mut raw = bed.client.raw().await.unwrap();
    let lines = [&[&*bearer], &WEBSOCKET[..]].concat();
    raw.request("GET /api/v1/namespaces/default/services/web/proxy/", &lines)
        .await
        .unwrap();
    assert_eq!(raw.reply().await.unwrap().status, 401);
}
