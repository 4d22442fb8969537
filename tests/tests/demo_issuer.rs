//! The issuer of the demo, as a process.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::{path::Path, time::Duration};

use oidcproxy_tests::{
    client::{Call, Client, Protocol, Reply},
    process::Process,
    server::free_port,
    tls::TestCa,
};
use serde_json::Value;
use tempfile::TempDir;

struct Demo {
    process: Process,
    client: Client,
    port: u16,
    dir: TempDir,
}

fn spawn(dir: &Path, port: u16, more: &[&str]) -> Process {
    let path = |name: &str| dir.join(name).display().to_string();
    let mut args: Vec<String> = [
        format!("--listen=127.0.0.1:{port}"),
        format!("--issuer-url=https://127.0.0.1:{port}/realms/demo"),
        format!("--tls-cert={}", path("tls.crt")),
        format!("--tls-key={}", path("tls.key")),
        "--client-id=kubernetes".to_owned(),
        "--user=alice:dev,ops".to_owned(),
        "--user=bob:guests".to_owned(),
    ]
    .into();
    args.extend(more.iter().map(ToString::to_string));
    Process::start(Path::new(env!("CARGO_BIN_EXE_test-issuer")), &args, &[]).unwrap()
}

async fn start() -> Demo {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new("demo CA").unwrap();
    let leaf = ca.server(&["127.0.0.1"]).unwrap();
    std::fs::write(dir.path().join("tls.crt"), &leaf.cert_pem).unwrap();
    std::fs::write(dir.path().join("tls.key"), &leaf.key_pem).unwrap();
    let port = free_port();
    let process = spawn(dir.path(), port, &["--token-lifetime=10m"]);
    process
        .stdout
        .wait("the start", |line| line.contains("test-issuer:"))
        .await
        .unwrap();
    Demo {
        process,
        client: Client::new(port, ca.pem()),
        port,
        dir,
    }
}

impl Demo {
    async fn get(&self, path: &str) -> Reply {
        self.client
            .send(Protocol::H1, Call::get(path))
            .await
            .unwrap()
    }

    async fn grant(&self, form: &str) -> Reply {
        let call = Call::new(http::Method::POST, "/realms/demo/token")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.to_owned());
        self.client.send(Protocol::H1, call).await.unwrap()
    }
}

#[tokio::test]
async fn a_password_gets_a_token() {
    let demo = start().await;
    let discovery = demo
        .get("/realms/demo/.well-known/openid-configuration")
        .await
        .json();
    let issuer = format!("https://127.0.0.1:{}/realms/demo", demo.port);
    assert_eq!(discovery["issuer"], *issuer);
    assert_eq!(discovery["token_endpoint"], format!("{issuer}/token"));
    let keys = demo.get("/realms/demo/jwks").await.json();
    assert_eq!(keys["keys"][0]["alg"], "ES256");
    let form =
        "grant_type=password&client_id=kubernetes&username=alice&password=alice&scope=openid";
    let granted = demo.grant(form).await;
    granted.assert_status(200);
    let granted = granted.json();
    assert_eq!(
        (&granted["token_type"], &granted["expires_in"]),
        (&"Bearer".into(), &600.into())
    );
    let token = granted["id_token"].as_str().unwrap();
    let payload = token.split('.').nth(1).unwrap();
    let payload =
        base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, payload);
    let claims: Value = serde_json::from_slice(&payload.unwrap()).unwrap();
    assert_eq!(claims["sub"], "alice");
    assert_eq!(claims["groups"], serde_json::json!(["dev", "ops"]));
    assert_eq!(claims["aud"], "kubernetes");
    assert_eq!(claims["iss"], *issuer);
    assert_eq!(
        claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
        600
    );
    assert!(claims["jti"].is_string() && claims["email"].is_string());
}

#[tokio::test]
async fn everything_else_is_refused() {
    let demo = start().await;
    for (form, error) in [
        (
            "grant_type=password&client_id=kubernetes&username=alice&password=bob",
            "invalid_grant",
        ),
        (
            "grant_type=password&client_id=kubernetes&username=root&password=root",
            "invalid_grant",
        ),
        (
            "grant_type=password&client_id=other&username=alice&password=alice",
            "invalid_client",
        ),
        (
            "grant_type=refresh_token&client_id=kubernetes",
            "unsupported_grant_type",
        ),
    ] {
        let refused = demo.grant(form).await;
        refused.assert_status(400);
        assert_eq!(refused.json()["error"], error, "{form}");
    }
    demo.get("/realms/demo/nothing").await.assert_status(404);
    demo.get("/").await.assert_status(404);
}

#[tokio::test]
async fn sigterm_ends_it_and_errors_are_one_line() {
    let mut demo = start().await;
    let mut second = spawn(demo.dir.path(), demo.port, &[]);
    let status = second.wait(Duration::from_secs(10)).await.unwrap();
    assert_eq!(status.code(), Some(1));
    let lines = second.stderr.all();
    assert!(
        lines.len() == 1 && lines[0].contains("cannot listen"),
        "{lines:?}"
    );
    demo.process.signal("TERM").unwrap();
    assert_eq!(
        demo.process
            .wait(Duration::from_secs(10))
            .await
            .unwrap()
            .code(),
        Some(0)
    );
}
