//! Targets and methods mean through the proxy what they mean to kube-apiserver.

use std::collections::BTreeSet;

use http::Method;
use oidcproxy_tests::{
    client::{Call, Client, Protocol, Reply},
    control_plane::ControlPlane,
};

use super::{Bed, CONFIG_MAPS};

/// What an answer says, without what changes from one to the next.
fn meaning(reply: &Reply) -> (u16, Option<String>, serde_json::Value, serde_json::Value) {
    let location = reply.header("location").map(str::to_owned);
    let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let (kind, message) = (body["kind"].clone(), body["message"].clone());
    (reply.status, location, kind, message)
}

#[tokio::test]
async fn odd_requests_are_kube_apiservers_to_judge() {
    let bed = Bed::start().await;
    let plane = ControlPlane::shared().await;
    let own = plane.service_account_token("oidc-proxy").await.unwrap();
    let port = plane.url().rsplit(':').next().unwrap().parse().unwrap();
    let direct = Client::new(port, plane.ca_pem().to_owned());
    let token = bed.issuer.token("alice", &["dev"]);
    let get = |target: &str| (Method::GET, target.to_owned());
    let odd = |method: &str| (method.parse().unwrap(), format!("{CONFIG_MAPS}/sample"));
    let requests = [
        get("/"),
        get(CONFIG_MAPS),
        get(&format!("/{CONFIG_MAPS}/sample")),
        get(&format!("{CONFIG_MAPS}/sample/")),
        get(&format!("{CONFIG_MAPS}%2Fsample")),
        get(&format!("{CONFIG_MAPS}/%73ample")),
        get(&format!("{CONFIG_MAPS}/sample%00")),
        get(&format!("{CONFIG_MAPS}/sample;a=b")),
        get(&format!("{CONFIG_MAPS}/../secrets")),
        get(&format!("{CONFIG_MAPS}/./sample")),
        get(&format!("{CONFIG_MAPS}/%2e%2e/secrets")),
        get("/%61pi/v1/namespaces/default/configmaps/sample"),
        get("/API/v1/namespaces/default/configmaps/sample"),
        get("/healthz/../api/v1/secrets"),
        get("/version/%2e%2e/api/v1/secrets"),
        get("/livez/../api/v1/secrets"),
        get("//livez"),
        get("/readyz/"),
        get("/api/v1/namespaces//configmaps"),
        get("/api/v1/namespaces/%2e%2e/configmaps"),
        get(&format!("{CONFIG_MAPS}?watch=0&limit=1&limit=2")),
        get(&format!("{CONFIG_MAPS}?labelSelector=%zz")),
        get(&format!("{CONFIG_MAPS}?labelSelector=a;b")),
        get(&format!(
            "{CONFIG_MAPS}?fieldSelector=metadata.name%3Dsample"
        )),
        get(&format!("{CONFIG_MAPS}?")),
        odd("HEAD"),
        odd("OPTIONS"),
        odd("PROPFIND"),
        odd("get"),
        odd("POST"),
        odd("DELETE"),
    ];
    let mut verdicts = BTreeSet::new();
    for (method, target) in requests {
        let call = Call::new(method.clone(), &target);
        let as_alice = call
            .clone()
            .bearer(&own)
            .header("impersonate-user", "alice")
            .header("impersonate-group", "dev");
        let expected = direct.send(Protocol::H1, as_alice).await.unwrap();
        verdicts.insert(expected.status);
        for protocol in Protocol::BOTH {
            let reply = bed.send(protocol, call.clone().bearer(&token)).await;
            let what = format!("{protocol:?} {method} {target}");
            assert_eq!(meaning(&reply), meaning(&expected), "{what}");
        }
    }
    // It does not judge all of them alike.
    assert!(
        verdicts.is_superset(&BTreeSet::from([200, 403, 404, 405])),
        "{verdicts:?}"
    );
}
