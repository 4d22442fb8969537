//! An API server behind kube-apiserver that does not know the user.

use std::time::Duration;

use k8s_openapi::{
    api::core::v1::Service, kube_aggregator::pkg::apis::apiregistration::v1::APIService,
};
use kube::Api;
use oidcproxy_tests::{
    api_server::{Answer, FakeApiServer},
    client::{Call, Protocol, Reply},
    control_plane::ControlPlane,
    proxy::Setup,
};
use serde_json::json;
use tokio::time::Instant;

use super::{Bed, CONFIG_MAPS, cluster_role, user};

const READINGS: &str = "/apis/meters.example.org/v1/readings";
const BODY: &str = "{\"kind\":\"Status\",\"code\":401}\n";

async fn aggregate(server: &FakeApiServer) -> anyhow::Result<()> {
    let plane = ControlPlane::shared().await;
    let admin = plane.admin().await?;
    let port = server.address().port();
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "meters"},
        "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]},
    });
    plane
        .create::<Service>(Api::namespaced(admin.clone(), "default"), service)
        .await?;
    let api = json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": "v1.meters.example.org"},
        "spec": {
            "group": "meters.example.org", "version": "v1",
            "groupPriorityMinimum": 1000, "versionPriority": 10,
            "insecureSkipTLSVerify": true,
            "service": {"namespace": "default", "name": "meters", "port": port},
        },
    });
    plane
        .create::<APIService>(Api::all(admin.clone()), api)
        .await?;
    let readings = json!([{"apiGroups": ["meters.example.org"], "resources": ["readings"], "verbs": ["list"]}]);
    cluster_role(&admin, "reads-meters", &readings, &user("alice")).await
}

#[tokio::test]
async fn its_401_reaches_the_user_and_one_about_the_proxy_does_not() {
    let bed = Bed::start().await;
    let server = FakeApiServer::start().await.unwrap();
    let challenge = "Bearer realm=\"meters\"";
    let headers = vec![
        ("WWW-Authenticate", challenge.to_owned()),
        ("Content-Type", "application/json".to_owned()),
    ];
    server.answer(
        READINGS,
        Answer::Full(401, headers, BODY.as_bytes().to_vec()),
    );
    aggregate(&server).await.unwrap();
    let call = Call::get(READINGS).bearer(&bed.issuer.token("alice", &[]));
    let deadline = Instant::now() + Duration::from_mins(1);
    // Until kube-apiserver has found it.
    let is_there = |reply: &Reply| !matches!(reply.status, 403 | 404 | 503);
    let reply = loop {
        let reply = bed.send(Protocol::H1, call.clone()).await;
        if is_there(&reply) {
            break reply;
        }
        assert!(Instant::now() < deadline, "{reply:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    reply.assert_status(401);
    let again = bed.send(Protocol::H2, call.clone()).await;
    for reply in [reply, again] {
        reply.assert_status(401);
        assert_eq!(reply.body, BODY);
        assert_eq!(reply.header("www-authenticate"), Some(challenge));
    }

    let plane = ControlPlane::shared().await;
    let stranger = Setup::with_upstream(plane.url(), plane.ca_pem(), &bed.issuer)
        .kubeconfig_user(json!({"token": "of-nobody"}))
        .start(&bed.issuer)
        .await
        .unwrap();
    for target in [READINGS, CONFIG_MAPS] {
        let call = call.clone().target(target);
        let reply = stranger.client().send(Protocol::H2, call).await.unwrap();
        reply.assert_refusal(502);
    }
}
