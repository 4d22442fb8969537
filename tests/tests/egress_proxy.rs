//! The way to issuers through an HTTP proxy. The issuer's name is one that only the proxy knows.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use oidcproxy_crds::v1alpha1::{
    Settings,
    authentication::{ClaimMappings, HttpProxy},
    settings::IssuerSettings,
};
use oidcproxy_tests::{
    api_server::FakeApiServer,
    client::{Call, Protocol},
    connect_proxy::FakeConnectProxy,
    issuer::{AUDIENCE, FakeIssuer, KNOWN_BY_PROXIES},
    proxy::{Setup, authentication_config},
};
use serde_json::json;

const PODS: &str = "/api/v1/pods";

/// The address of the issuer's documents by a name that does not resolve.
fn hidden(issuer: &FakeIssuer) -> String {
    let port = issuer.url().rsplit(':').next().unwrap();
    let base = format!("https://{KNOWN_BY_PROXIES}:{port}");
    issuer.set_document(json!({
        "issuer": issuer.url(), "jwks_uri": format!("{base}/jwks"),
        "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }));
    format!("{base}/.well-known/openid-configuration")
}

fn by_file(api: &FakeApiServer, issuer: &FakeIssuer) -> Setup {
    let mut config = authentication_config(issuer);
    config["jwt"][0]["issuer"]["discoveryURL"] = json!(hidden(issuer));
    Setup::new(api, issuer).config(&config)
}

async fn status_of(setup: Setup, issuer: &FakeIssuer) -> u16 {
    let proxy = setup.start(issuer).await.unwrap();
    let call = Call::get(PODS).bearer(&issuer.token("alice", &[]));
    let reply = proxy.client().send(Protocol::H1, call).await.unwrap();
    reply.status
}

#[tokio::test]
async fn the_environment_names_the_way() {
    let issuer = FakeIssuer::start().await.unwrap();
    let api = FakeApiServer::start().await.unwrap();
    let proxy = FakeConnectProxy::start().await.unwrap();
    let setup = by_file(&api, &issuer).env("HTTPS_PROXY", &proxy.url());
    assert_eq!(status_of(setup, &issuer).await, 200);
    // kube-apiserver is no issuer: nothing but the issuer's documents goes this way.
    let port = issuer.url().rsplit(':').next().unwrap();
    let line = format!("CONNECT {KNOWN_BY_PROXIES}:{port} HTTP/1.1\r\n");
    let heads = proxy.heads();
    assert!(!heads.is_empty());
    assert!(
        heads.iter().all(|head| head.starts_with(&line)),
        "{heads:?}"
    );
}

#[tokio::test]
async fn without_it_the_issuer_is_out_of_reach() {
    let issuer = FakeIssuer::start().await.unwrap();
    let api = FakeApiServer::start().await.unwrap();
    let proxy = FakeConnectProxy::start().await.unwrap();
    assert_eq!(status_of(by_file(&api, &issuer), &issuer).await, 401);
    let setup = by_file(&api, &issuer)
        .env("HTTPS_PROXY", &proxy.url())
        .env("NO_PROXY", ".example,test");
    assert_eq!(status_of(setup, &issuer).await, 401);
    assert!(proxy.heads().is_empty(), "{:?}", proxy.heads());
}

#[tokio::test]
async fn the_settings_name_the_way() {
    let issuer = FakeIssuer::start().await.unwrap();
    let api = FakeApiServer::start().await.unwrap();
    let proxy = FakeConnectProxy::start().await.unwrap();
    let mut settings = Settings::default();
    let authentication = &mut settings.authentication;
    authentication.http_proxy = Some(HttpProxy {
        url: Some(proxy.url()),
        no_proxy: vec![".cluster.local".to_owned()],
    });
    let authorities = &mut authentication.certificate_authorities;
    authorities.insert("corp".to_owned(), issuer.ca_pem());
    let mappings = json!({"username": {"claim": "sub", "prefix": ""}});
    authentication.issuers.push(IssuerSettings {
        name: "corp".to_owned(),
        url: issuer.url().to_owned(),
        discovery_url: Some(hidden(&issuer)),
        certificate_authority: Some("corp".to_owned()),
        audiences: vec![AUDIENCE.to_owned()],
        claim_mappings: serde_json::from_value::<ClaimMappings>(mappings).unwrap(),
        ..IssuerSettings::default()
    });
    let settings = serde_json::to_value(settings.sealed().unwrap()).unwrap();
    let setup = Setup::new(&api, &issuer).status(&api, &settings);
    assert_eq!(status_of(setup, &issuer).await, 200);
    assert!(!proxy.heads().is_empty());
}

#[tokio::test]
async fn a_way_that_is_none_is_said_at_the_start() {
    let issuer = FakeIssuer::start().await.unwrap();
    let api = FakeApiServer::start().await.unwrap();
    let setup = by_file(&api, &issuer).env("HTTPS_PROXY", "http://jane:secret@proxy");
    let error = setup
        .start(&issuer)
        .await
        .err()
        .expect("it should not start");
    let error = format!("{error:#}");
    assert!(
        error.contains("must not hold a user or a password"),
        "{error}"
    );
    assert!(!error.contains("secret"), "{error}");
}
