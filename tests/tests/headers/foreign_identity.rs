//! What other proxies take for an identity, in any spelling and any place, does not arrive.

use oidcproxy_tests::{
    bed::Bed,
    client::{Call, Protocol},
};

use super::{PODS, assert_identity};

#[tokio::test]
async fn front_proxy_headers_end_here() {
    let bed = Bed::start().await;
    let token = bed.token("alice", &["dev"]);
    let names = [
        "x-remote-user",
        "x-remote-uid",
        "x-remote-group",
        "x-remote-extra-scopes",
        "X-rEMOTE-uSER",
        "remote-user",
        "remote-groups",
        "front-proxy-user",
        "x-auth-request-email",
        "x-forwarded-access-token",
        "x-forwarded-client-cert",
        "x-forwarded-email",
        "x-forwarded-group",
        "x-forwarded-groups",
        "x-forwarded-preferred-username",
        "x-forwarded-user",
    ];
    for protocol in Protocol::BOTH {
        let call = names
            .iter()
            .fold(Call::get(PODS).bearer(&token), |call, name| {
                call.header(name, "root")
            });
        bed.send(protocol, call).await.assert_status(200);
    }
    for request in bed.api.forwarded() {
        assert_identity(&request);
        for name in names {
            let name = name.to_lowercase();
            assert!(request.names(&name).is_empty(), "{name}: {request:?}");
        }
    }
}

#[tokio::test]
async fn lookalikes_of_protected_headers_do_not_arrive() {
    let bed = Bed::start().await;
    let token = bed.token("alice", &["dev"]);
    let names = [
        "impersonate_user",
        "impersonate_group",
        "Impersonate-User_",
        "impersonate_extra_a",
        "x_remote_user",
        "x-remote_user",
        "x_forwarded_user",
        "x-forwarded_groups",
        "front_proxy-user",
    ];
    for protocol in Protocol::BOTH {
        for name in names {
            let before = bed.api.forwarded().len();
            let call = Call::get(PODS).bearer(&token).header(name, "root");
            let reply = bed.send(protocol, call).await;
            let seen = bed.api.forwarded();
            // Those that are as good as `Impersonate-*` are refused, the others left out.
            if name.to_lowercase().starts_with("impersonate-") {
                reply.assert_refusal(400);
                assert_eq!(seen.len(), before, "{name}");
                continue;
            }
            assert_eq!(reply.status, 200, "{name}: {reply:?}");
            assert_identity(&seen[before]);
            let names = seen[before].names("");
            assert!(
                !names.contains(&name.to_lowercase()),
                "{name}: {:?}",
                seen[before]
            );
        }
    }
}

#[tokio::test]
async fn trailers_do_not_carry_an_identity() {
    let bed = Bed::start().await;
    let token = bed.token("alice", &["dev"]);
    let mut raw = bed.client.raw().await.unwrap();
    let head = format!(
        "POST {PODS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nTransfer-Encoding: chunked\r\nTrailer: Impersonate-User, X-Remote-User\r\n\r\n"
    );
    let body = "2\r\n{}\r\n0\r\nImpersonate-User: root\r\nX-Remote-User: root\r\n\r\n";
    raw.write(head + body).await.unwrap();
    raw.reply().await.unwrap().assert_status(200);
    let call = Call::new(http::Method::POST, PODS)
        .bearer(&token)
        .body("{}");
    let call = call
        .trailer("impersonate-user", "root")
        .trailer("x-remote-user", "root");
    bed.send(Protocol::H2, call).await.assert_status(200);
    let seen = bed.api.forwarded();
    assert_eq!(seen.len(), 2);
    for request in seen {
        assert_identity(&request);
        assert_eq!(request.body, b"{}");
        assert!(request.trailers.is_empty(), "{:?}", request.trailers);
        assert!(request.names("x-remote-").is_empty());
    }
}
