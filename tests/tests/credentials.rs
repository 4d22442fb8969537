//! Where a token is looked for, and what is answered without one.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use oidcproxy_tests::{
    bed::Bed,
    client::{Call, Protocol},
};

const PODS: &str = "/api/v1/pods";

#[tokio::test]
async fn no_credential_is_401_on_every_path() {
    let bed = Bed::start().await;
    let paths = [
        "/",
        PODS,
        "/version",
        "/healthz",
        "/metrics",
        "/ready",
        "/state",
        "/openid/v2",
        "/openid/v1/jwks",
        "/livez/ping",
        "/readyz/",
        "/readyz/../api",
        "/readyz%2f",
        "//readyz",
        "/.well-known/openid-configuration",
    ];
    for protocol in Protocol::BOTH {
        for path in paths {
            let reply = bed.send(protocol, Call::get(path)).await;
            reply.assert_refusal(401);
            assert_eq!(
                reply.header("content-type"),
                Some("application/json"),
                "{path}"
            );
        }
    }
    bed.api.assert_untouched();
}

#[tokio::test]
async fn health_of_the_serving_port_is_answered_locally() {
    let bed = Bed::start().await;
    for protocol in Protocol::BOTH {
        for path in ["/livez", "/readyz"] {
            bed.send(protocol, Call::get(path)).await.assert_status(200);
        }
    }
    // Health requests of its own are not forwarded ones: look at everything.
    let own = bed.api.requests();
    assert!(
        own.iter()
            .all(|request| request.names("impersonate-").is_empty())
    );
}

#[tokio::test]
async fn the_authorization_header_has_one_reading() {
    let bed = Bed::start().await;
    let token = bed.token("alice", &[]);
    let other = bed.token("bob", &[]);
    for protocol in Protocol::BOTH {
        for scheme in ["Bearer", "bearer", "BEARER"] {
            let call = Call::get(PODS).header("authorization", format!("{scheme} {token}"));
            let reply = bed.send(protocol, call).await;
            assert_eq!(reply.json()["user"], "alice", "{scheme}");
        }
        let accepted = bed.api.forwarded().len();
        let (alice, bob) = (format!("Bearer {token}"), format!("Bearer {other}"));
        let basic = "Basic YWxpY2U6YWxpY2U=";
        let refused: &[&[&str]] = &[
            &["Bearer"],
            &["Bearer "],
            &[&format!("Bearer  {token}")],
            &[&format!("Bearer\t{token}")],
            &[&format!("Token {token}")],
            &[basic],
            &[&token],
            &[&format!("{alice}, {bob}")],
            &[&alice, &bob],
            &[&alice, &alice],
            &[&alice, basic],
            &[basic, &alice],
        ];
        for lines in refused {
            let call = lines.iter().fold(Call::get(PODS), |call, line| {
                call.header("authorization", line)
            });
            let reply = bed.send(protocol, call).await;
            assert!(
                matches!(reply.status, 400 | 401),
                "{protocol:?} {lines:?}: {reply:?}"
            );
            reply.assert_refusal(reply.status);
        }
        assert_eq!(
            bed.api.forwarded().len(),
            accepted,
            "nothing refused is forwarded"
        );
    }
}

#[tokio::test]
async fn a_token_in_the_query_is_no_credential() {
    let bed = Bed::start().await;
    let target = format!("{PODS}?access_token={}", bed.token("alice", &[]));
    bed.send(Protocol::H1, Call::get(&target))
        .await
        .assert_refusal(401);
    bed.api.assert_untouched();
}
