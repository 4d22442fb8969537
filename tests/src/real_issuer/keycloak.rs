//! Keycloak with a realm of the test's own, in memory.

use std::path::Path;

use anyhow::{Context as _, Result};
use http::Method;
use serde_json::{Value, json};

use super::{
    ACCEPTED, Certificate, GROUPS, RealIssuer, USER, client_id, folder, log_in, program,
    until_it_answers,
};
use crate::{process::Process, server::free_port, web::WebClient};

const ADMIN: &str = "admin";
const EDDSA: &str = "EdDSA";
const KEY_PROVIDER: &str = "org.keycloak.keys.KeyProvider";

/// A server with the realm `corp`.
pub struct Keycloak {
    base: String,
    url: String,
    certificate: Certificate,
    web: WebClient,
    _process: Process,
}

impl Keycloak {
    /// Starts it, waits until it answers and makes the realm.
    pub async fn start() -> Result<Self> {
        let home = folder("KEYCLOAK_HOME")?;
        let port = free_port();
        let base = format!("https://127.0.0.1:{port}");
        let certificate = Certificate::new("Keycloak CA")?;
        let env = [("USERNAME", ADMIN), ("PASSWORD", ADMIN)]
            .map(|(name, value)| (format!("KC_BOOTSTRAP_ADMIN_{name}"), value.to_owned()));
        let args = arguments(&home, &base, port, &certificate);
        // Not kc.sh, which stays between us and the server: that would outlive its end.
        let mut process = Process::start(&program("java")?, &args, &env)?;
        let web = WebClient::new(&certificate.ca_pem)?;
        let ready = format!("{base}/realms/master/.well-known/openid-configuration");
        until_it_answers(&mut process, &web, &ready).await?;
        let keycloak = Self {
            url: format!("{base}/realms/corp"),
            base,
            certificate,
            web,
            _process: process,
        };
        keycloak.admin(Method::POST, "", &realm()).await?;
        Ok(keycloak)
    }

    async fn admin(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        let fields = [
            ("grant_type", "password"),
            ("client_id", "admin-cli"),
            ("username", ADMIN),
            ("password", ADMIN),
        ];
        let url = format!("{}/realms/master/protocol/openid-connect/token", self.base);
        let answer = self.web.post_form(&url, &fields).await?;
        let token = answer["access_token"].as_str().context("no access_token")?;
        let url = format!("{}/admin/realms{path}", self.base);
        let reply = self.web.call(method, &url, token, body).await?;
        Ok(serde_json::from_slice(&reply.body).unwrap_or(Value::Null))
    }

    /// The key providers for `algorithm`, the one with the highest priority first.
    async fn key_providers(&self, algorithm: &str) -> Result<Vec<(i64, String)>> {
        let path = format!("/corp/components?type={KEY_PROVIDER}");
        let all = self.admin(Method::GET, &path, &Value::Null).await?;
        let mut found: Vec<(i64, String)> = all
            .as_array()
            .context("components are a list")?
            .iter()
            .filter(|component| {
                component["name"]
                    .as_str()
                    .is_some_and(|name| name.starts_with(algorithm))
            })
            .filter_map(|component| {
                let priority = component["config"]["priority"][0].as_str()?.parse().ok()?;
                Some((priority, component["id"].as_str()?.to_owned()))
            })
            .collect();
        found.sort_unstable_by(|one, other| other.cmp(one));
        Ok(found)
    }
}

impl RealIssuer for Keycloak {
    fn url(&self) -> &str {
        &self.url
    }

    fn ca_pem(&self) -> &str {
        &self.certificate.ca_pem
    }

    fn username_claim(&self) -> &'static str {
        "preferred_username"
    }

    fn refused(&self) -> &'static [&'static str] {
        &[EDDSA]
    }

    async fn token(&self, algorithm: &str) -> Result<String> {
        let url = format!("{}/protocol/openid-connect/token", self.url);
        log_in(&self.web, &url, algorithm).await
    }

    async fn rotate(&mut self, algorithm: &str) -> Result<()> {
        let newest = self.key_providers(algorithm).await?;
        let priority = newest.first().map_or(100, |(priority, _)| priority + 100);
        let mut component = key_provider(algorithm, priority);
        component["providerType"] = KEY_PROVIDER.into();
        component["parentId"] = "corp".into();
        self.admin(Method::POST, "/corp/components", &component)
            .await?;
        Ok(())
    }

    async fn withdraw(&mut self, algorithm: &str) -> Result<()> {
        for (_, id) in self.key_providers(algorithm).await?.iter().skip(1) {
            let path = format!("/corp/components/{id}");
            self.admin(Method::DELETE, &path, &Value::Null).await?;
        }
        Ok(())
    }
}

fn arguments(home: &Path, base: &str, port: u16, certificate: &Certificate) -> Vec<String> {
    let jar = home.join("lib/quarkus-run.jar");
    let mut args: Vec<String> = [
        "-Xms64m",
        "-Xmx384m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Djava.util.concurrent.ForkJoinPool.common.threadFactory=io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory",
        "-Djava.util.logging.manager=org.jboss.logmanager.LogManager",
    ]
    .map(str::to_owned)
    .to_vec();
    args.extend([
        format!("-Dkc.home.dir={}", home.display()),
        format!("-Dkc.conf.dir={}", home.join("conf").display()),
        "-cp".to_owned(),
        jar.display().to_string(),
        "io.quarkus.bootstrap.runner.QuarkusEntryPoint".to_owned(),
        "start".to_owned(),
        "--optimized".to_owned(),
        "--cache=local".to_owned(),
        format!("--hostname={base}"),
        "--http-host=127.0.0.1".to_owned(),
        format!("--https-port={port}"),
        format!("--https-certificate-file={}", certificate.file("tls.crt")),
        format!(
            "--https-certificate-key-file={}",
            certificate.file("tls.key")
        ),
    ]);
    args
}

/// A key for each algorithm, and a client whose `id_token`s are signed with it.
fn realm() -> Value {
    let algorithms = || ACCEPTED.into_iter().chain([EDDSA]);
    let keys: Vec<Value> = algorithms().map(|name| key_provider(name, 100)).collect();
    let clients: Vec<Value> = algorithms().map(client).collect();
    let groups = GROUPS.map(|name| json!({"name": name}));
    json!({
        "id": "corp",
        "realm": "corp",
        "enabled": true,
        "sslRequired": "all",
        "groups": groups,
        "users": [{
            "username": USER,
            "enabled": true,
            "firstName": "Alice",
            "lastName": "Example",
            "email": "alice@example.com",
            "emailVerified": true,
            "credentials": [{"type": "password", "value": USER, "temporary": false}],
            "groups": GROUPS.map(|name| format!("/{name}")),
        }],
        "clients": clients,
        "components": {KEY_PROVIDER: keys},
    })
}

fn client(algorithm: &str) -> Value {
    json!({
        "clientId": client_id(algorithm),
        "enabled": true,
        "protocol": "openid-connect",
        "publicClient": true,
        "directAccessGrantsEnabled": true,
        "attributes": {"id.token.signed.response.alg": algorithm},
        "protocolMappers": [{
            "name": "groups",
            "protocol": "openid-connect",
            "protocolMapper": "oidc-group-membership-mapper",
            "config": {"claim.name": "groups", "full.path": "false", "id.token.claim": "true"},
        }],
    })
}

fn key_provider(algorithm: &str, priority: i64) -> Value {
    let priority = priority.to_string();
    let (provider, mut config) = match algorithm {
        "ES256" => (
            "ecdsa-generated",
            json!({"ecdsaEllipticCurveKey": ["P-256"]}),
        ),
        "ES384" => (
            "ecdsa-generated",
            json!({"ecdsaEllipticCurveKey": ["P-384"]}),
        ),
        "ES512" => (
            "ecdsa-generated",
            json!({"ecdsaEllipticCurveKey": ["P-521"]}),
        ),
        EDDSA => (
            "eddsa-generated",
            json!({"eddsaEllipticCurveKey": ["Ed25519"]}),
        ),
        rsa => (
            "rsa-generated",
            json!({"algorithm": [rsa], "keySize": ["2048"]}),
        ),
    };
    config["priority"] = json!([priority]);
    json!({
        "name": format!("{algorithm}-{priority}"),
        "providerId": provider,
        "config": config,
    })
}
