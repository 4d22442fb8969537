//! Files that change while it runs.

use std::time::Duration;

use oidcproxy_tests::{
    bed::Bed,
    client::{Call, Client, Protocol},
    proxy::authentication_config,
    tls::TestCa,
};
use serde_json::json;
use tokio::time::Instant;

use super::eventually;

/// Longer than any pause between two looks at a file.
const RELOAD: Duration = Duration::from_secs(75);

#[tokio::test]
async fn a_new_certificate_serves_new_connections() {
    let bed = Bed::start().await;
    let token = bed.token("alice", &[]);
    let get = || Call::get("/api").bearer(&token);
    let mut old = bed.connect(Protocol::H1).await;
    let ca = TestCa::new("next CA").unwrap();
    let next = ca.server(&["127.0.0.1"]).unwrap();
    let renewed = Client::new(bed.proxy.port(), ca.pem());

    // A pair that does not match is ignored.
    bed.proxy.replace("tls.key", &next.key_pem).unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    bed.send(Protocol::H1, get()).await.assert_status(200);
    bed.proxy.replace("tls.crt", "not a certificate").unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    bed.send(Protocol::H1, get()).await.assert_status(200);

    bed.proxy.replace_certificate(&next).unwrap();
    eventually("the new certificate is served", RELOAD, async || {
        renewed.send(Protocol::H2, get()).await.is_ok()
    })
    .await;
    // The connection from before goes on.
    old.send(get()).await.unwrap().assert_status(200);
}

#[tokio::test]
async fn its_own_token_is_read_again() {
    let bed = Bed::with(|setup, _| setup.own_token_file()).await;
    let token = bed.token("alice", &[]);
    bed.get_with(Protocol::H1, &token).await.assert_status(200);
    assert_eq!(
        bed.api.only().value("authorization").unwrap(),
        "Bearer proxy-own-token"
    );
    bed.proxy.replace("own-token", "rotated-token\n").unwrap();
    eventually("the new token is used", RELOAD, async || {
        bed.get_with(Protocol::H1, &token).await.assert_status(200);
        let last = bed.api.forwarded().pop().unwrap();
        last.value("authorization").unwrap() == "Bearer rotated-token"
    })
    .await;
}

/// Nobody needs the issuer for a change of claims, and nobody is refused while it happens.
#[tokio::test]
async fn a_changed_mapping_loses_no_request_even_while_the_issuer_is_down() {
    let bed = Bed::start().await;
    let tokens: Vec<_> = (0..40)
        .map(|n| bed.token(&format!("user-{n}"), &[]))
        .collect();
    bed.get_with(Protocol::H1, &tokens[0])
        .await
        .assert_status(200);
    bed.issuer.down().await;
    let mut connection = bed.connect(Protocol::H2).await;
    let mut tokens = tokens.iter().cycle();
    let mut get = async || {
        let call = Call::get("/api/v1/pods").bearer(tokens.next().unwrap());
        let reply = connection.send(call).await.unwrap();
        reply.assert_status(200);
        reply.json()["user"].as_str().unwrap().to_owned()
    };
    let mut config = authentication_config(&bed.issuer);
    for round in 0..3 {
        let prefix = format!("{round}:");
        config["jwt"][0]["claimMappings"]["username"]["prefix"] = json!(prefix);
        bed.proxy
            .replace("authentication.yaml", &config.to_string())
            .unwrap();
        let deadline = Instant::now() + RELOAD;
        while !get().await.starts_with(&prefix) {
            assert!(Instant::now() < deadline, "{prefix} does not come");
        }
    }
}

#[tokio::test]
async fn the_authentication_configuration_is_read_again() {
    let bed = Bed::start().await;
    let token = bed.token("alice", &[]);
    let user = async || bed.get_with(Protocol::H1, &token).await.json()["user"].clone();
    assert_eq!(user().await, "alice");
    // What cannot be used changes nothing.
    bed.proxy.replace("authentication.yaml", "jwt: [").unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(user().await, "alice");

    let mut config = authentication_config(&bed.issuer);
    config["jwt"][0]["claimMappings"]["username"]["prefix"] = json!("corp:");
    bed.proxy
        .replace("authentication.yaml", &config.to_string())
        .unwrap();
    // Also for a token that has been accepted under the old settings.
    eventually("the new mapping is used", RELOAD, async || {
        user().await == "corp:alice"
    })
    .await;

    config["jwt"][0]["issuer"]["audiences"] = json!(["somebody-else"]);
    bed.proxy
        .replace("authentication.yaml", &config.to_string())
        .unwrap();
    eventually("the new audience is asked for", RELOAD, async || {
        bed.get_with(Protocol::H1, &token).await.status == 401
    })
    .await;
}
