//! `Bed`: issuer, API server and proxy together, as most tests want them.

use anyhow::Result;

use crate::{
    api_server::FakeApiServer,
    client::{Call, Client, Connection, Protocol, Reply},
    issuer::FakeIssuer,
    proxy::{ProxyUnderTest, Setup},
};

/// A proxy between a fake issuer and a fake API server.
pub struct Bed {
    /// Who signs tokens.
    pub issuer: FakeIssuer,
    /// What the proxy forwards to.
    pub api: FakeApiServer,
    /// The proxy.
    pub proxy: ProxyUnderTest,
    /// A client of the proxy.
    pub client: Client,
}

impl Bed {
    /// Everything with its defaults.
    pub async fn start() -> Self {
        Self::with(|setup, _| setup).await
    }

    /// With a changed setup; a failure ends the test with the proxy's output.
    pub async fn with(change: impl FnOnce(Setup, &FakeIssuer) -> Setup) -> Self {
        let started = Self::try_with(change).await;
        started.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// With a changed setup.
    pub async fn try_with(change: impl FnOnce(Setup, &FakeIssuer) -> Setup) -> Result<Self> {
        let issuer = FakeIssuer::start().await?;
        let api = FakeApiServer::start().await?;
        let setup = change(Setup::new(&api, &issuer), &issuer);
        let proxy = setup.start(&issuer).await?;
        let client = proxy.client();
        Ok(Self {
            issuer,
            api,
            proxy,
            client,
        })
    }

    /// A token of `user` in these groups.
    pub fn token(&self, user: &str, groups: &[&str]) -> String {
        self.issuer.token(user, groups)
    }

    /// Sends over a fresh connection; no response ends the test.
    pub async fn send(&self, protocol: Protocol, call: Call) -> Reply {
        let reply = self.client.send(protocol, call.clone()).await;
        reply.unwrap_or_else(|error| panic!("{protocol:?} {call:?}: {error:#}"))
    }

    /// `GET` of a list of pods with this token.
    pub async fn get_with(&self, protocol: Protocol, token: &str) -> Reply {
        self.send(protocol, Call::get("/api/v1/pods").bearer(token))
            .await
    }

    /// An open connection.
    pub async fn connect(&self, protocol: Protocol) -> Connection {
        let connection = self.client.connect(protocol).await;
        connection.unwrap_or_else(|error| panic!("{protocol:?}: {error:#}"))
    }
}
