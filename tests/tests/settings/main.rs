//! Settings that only the status of an OidcProxy carries.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod limits;
mod restriction;
mod sessions;

use oidcproxy_crds::v1alpha1::{Settings, authentication::ClaimMappings, settings::IssuerSettings};
use oidcproxy_tests::{
    api_server::FakeApiServer,
    client::{Call, Client, Protocol, Reply},
    issuer::{AUDIENCE, FakeIssuer},
    proxy::{ProxyUnderTest, Setup},
};
use serde_json::json;

/// A proxy with published settings.
struct Bed {
    issuer: FakeIssuer,
    api: FakeApiServer,
    proxy: ProxyUnderTest,
    client: Client,
}

impl Bed {
    async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let issuer = FakeIssuer::start().await.unwrap();
        let api = FakeApiServer::start().await.unwrap();
        let mut settings = settings(&issuer);
        change(&mut settings);
        let settings = serde_json::to_value(settings.sealed().unwrap()).unwrap();
        let setup = Setup::new(&api, &issuer).status(&api, &settings);
        let proxy = setup.start(&issuer).await;
        let proxy = proxy.unwrap_or_else(|error| panic!("{error:#}"));
        let client = proxy.client();
        Self {
            issuer,
            api,
            proxy,
            client,
        }
    }

    async fn get(&self, protocol: Protocol, user: &str, groups: &[&str]) -> Reply {
        self.send(protocol, user, groups, &[]).await
    }

    /// By whichever user; an error where there is no connection.
    async fn get_or_error(&self, protocol: Protocol) -> anyhow::Result<Reply> {
        let token = self.issuer.token("alice", &[]);
        let call = Call::get("/api/v1/pods").bearer(&token);
        self.client.send(protocol, call).await
    }

    async fn send(
        &self,
        protocol: Protocol,
        user: &str,
        groups: &[&str],
        headers: &[(&str, &str)],
    ) -> Reply {
        let call = Call::get("/api/v1/pods").bearer(&self.issuer.token(user, groups));
        let call = headers
            .iter()
            .fold(call, |call, (name, value)| call.header(name, value));
        let reply = self.client.send(protocol, call).await;
        reply.unwrap_or_else(|error| panic!("{error:#}\n{}", self.proxy.process.output()))
    }
}

/// What the operator would publish for the issuer alone.
fn settings(issuer: &FakeIssuer) -> Settings {
    let mut settings = Settings::default();
    let authority = "corp".to_owned();
    let mappings: ClaimMappings = serde_json::from_value(json!({
        "username": {"claim": "sub", "prefix": ""},
        "groups": {"claim": "groups", "prefix": ""},
    }))
    .unwrap();
    settings.authentication.issuers = vec![IssuerSettings {
        name: "corp".to_owned(),
        url: issuer.url().to_owned(),
        certificate_authority: Some(authority.clone()),
        audiences: vec![AUDIENCE.to_owned()],
        claim_mappings: mappings,
        ..IssuerSettings::default()
    }];
    let authorities = &mut settings.authentication.certificate_authorities;
    authorities.insert(authority, issuer.ca_pem());
    settings.authentication.reserved_prefixes = vec!["system:".to_owned()];
    settings
}
