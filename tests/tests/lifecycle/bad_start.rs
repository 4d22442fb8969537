//! What cannot be used ends the start with one line that says so.

use std::time::Duration;

use oidcproxy_tests::{
    api_server::FakeApiServer,
    bed::Bed,
    issuer::FakeIssuer,
    proxy::{ProxyUnderTest, Setup, authentication_config},
    tls::TestCa,
};
use serde_json::json;

/// Starts a proxy that must not start, and returns its one line.
async fn refused_start(change: impl FnOnce(Setup, &FakeIssuer) -> Setup) -> String {
    let issuer = FakeIssuer::start().await.unwrap();
    let api = FakeApiServer::start().await.unwrap();
    let setup = change(Setup::new(&api, &issuer), &issuer);
    let mut proxy: ProxyUnderTest = setup.spawn(&issuer).unwrap();
    let status = proxy.process.wait(Duration::from_secs(20)).await.unwrap();
    let output = proxy.process.output();
    assert_ne!(status.code(), Some(0), "{output}");
    assert!(status.code().is_some(), "ended by a signal\n{output}");
    assert!(proxy.access_lines().is_empty(), "{output}");
    let mut lines = proxy.process.stderr.all();
    lines.retain(|line| !line.trim().is_empty());
    assert_eq!(lines.len(), 1, "one line says what is wrong\n{output}");
    assert!(!output.contains("panicked"), "{output}");
    lines.remove(0)
}

/// Starts with a changed `jwt[0]`.
async fn refused_config(change: impl FnOnce(&mut serde_json::Value)) -> String {
    refused_start(|setup, issuer| {
        let mut config = authentication_config(issuer);
        change(&mut config);
        setup.config(&config)
    })
    .await
}

#[tokio::test]
async fn a_bad_authentication_configuration_ends_the_start() {
    let jwt = |config: &mut serde_json::Value| config["jwt"][0].take();
    let line = refused_config(|config| config["jwt"][0]["issuer"]["uri"] = json!("x")).await;
    assert!(line.contains("uri"), "an unknown field is named: {line}");
    let line =
        refused_config(|config| config["jwt"][0]["issuer"]["url"] = json!("http://id.example"))
            .await;
    assert!(line.contains("url") || line.contains("https"), "{line}");
    let line = refused_config(|config| config["jwt"][0]["issuer"]["audiences"] = json!([])).await;
    assert!(line.contains("audience"), "{line}");
    let line = refused_config(|config| {
        config["jwt"][0]["issuer"]["certificateAuthority"] = json!("not PEM");
    })
    .await;
    assert!(line.contains("certificateAuthority"), "{line}");
    let line = refused_config(|config| {
        config["jwt"][0]["claimMappings"]["username"] = json!({"claim": "sub"});
    })
    .await;
    assert!(line.contains("prefix"), "{line}");
    let line = refused_config(|config| {
        let entry = jwt(config);
        config["jwt"] = json!([entry.clone(), entry]);
    })
    .await;
    assert!(line.contains("url") || line.contains("issuer"), "{line}");
    let line = refused_config(|config| config["kind"] = json!("Pod")).await;
    assert!(line.contains("Pod") || line.contains("kind"), "{line}");
    let line = refused_config(|config| config["apiVersion"] = json!("v7")).await;
    assert!(line.contains("v7") || line.contains("apiVersion"), "{line}");
    let line = refused_start(|setup, _| setup.config_text("jwt: [")).await;
    assert!(
        line.contains("authentication.yaml"),
        "the file is named: {line}"
    );
}

#[tokio::test]
async fn bad_files_and_flags_end_the_start() {
    let line = refused_start(|setup, _| {
        setup.oidc_flags(&["--authentication-config=/nonexistent/x.yaml"])
    })
    .await;
    assert!(line.contains("/nonexistent/x.yaml"), "{line}");
    let line = refused_start(|setup, _| setup.oidc_flags(&[])).await;
    assert!(
        line.contains("--authentication-config") || line.contains("--oidc"),
        "{line}"
    );
    let line = refused_start(|setup, _| setup.oidc_flags(&["--oidc-client-id=x"])).await;
    assert!(line.contains("oidc-issuer-url"), "{line}");
    for flag in [
        "--oidc-username-claim=sub",
        "--oidc-groups-prefix=",
        "--oidc-signing-algs=RS256",
        "--oidc-required-claim=a=b",
        "--oidc-ca-file=/nonexistent/ca.crt",
    ] {
        let line = refused_start(|setup, _| setup.oidc_flags(&[flag])).await;
        assert!(line.contains("oidc-issuer-url"), "{line}");
        let line = refused_start(|setup, _| setup.flag(flag)).await;
        assert!(line.contains("authentication-config"), "{line}");
        let status = ["--oidc-proxy=auth/corp", flag];
        let line = refused_start(|setup, _| setup.oidc_flags(&status)).await;
        assert!(line.contains("--oidc-proxy and the --oidc"), "{line}");
    }
    let line = refused_start(|setup, _| {
        setup.oidc_flags(&["--oidc-issuer-url=http://id.example", "--oidc-client-id=x"])
    })
    .await;
    assert!(
        line.contains("https") || line.contains("oidc-issuer-url"),
        "{line}"
    );
    for flag in ["--extra-user-headers=a=b", "--extra-user-header-client-ip"] {
        let line = refused_start(|setup, _| setup.flag("--disable-impersonation").flag(flag)).await;
        assert!(line.contains("--disable-impersonation"), "{line}");
    }
    let line = refused_start(|setup, _| setup.kubeconfig_user(json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "true", "interactiveMode": "Never"}}))).await;
    assert!(line.contains("exec"), "{line}");
    let line =
        refused_start(|setup, _| setup.kubeconfig_user(json!({"tokenFile": "/nonexistent/token"})))
            .await;
    assert!(line.contains("/nonexistent/token"), "{line}");
    for group in ["system:masters", "system:nodes"] {
        let line =
            refused_start(|setup, _| setup.flag(format!("--allow-reserved-groups={group}"))).await;
        assert!(line.contains(group), "{line}");
    }
}

#[tokio::test]
async fn bad_serving_files_end_the_start() {
    let other = TestCa::new("other")
        .unwrap()
        .server(&["127.0.0.1"])
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(path("other.key"), &other.key_pem).unwrap();
    std::fs::write(path("garbage"), "garbage").unwrap();
    let key = path("other.key");
    let line = refused_start(|setup, _| setup.replacing("--tls-private-key-file", &key)).await;
    assert!(line.contains("match") || line.contains("key"), "{line}");
    let garbage = path("garbage");
    let line = refused_start(|setup, _| setup.replacing("--tls-cert-file", &garbage)).await;
    assert!(line.contains("garbage"), "{line}");
    let line =
        refused_start(|setup, _| setup.replacing("--kubeconfig", "/nonexistent/kubeconfig")).await;
    assert!(line.contains("/nonexistent/kubeconfig"), "{line}");
}

#[tokio::test]
async fn a_port_in_use_ends_the_start() {
    let taken = Bed::start().await;
    let port = taken.proxy.port().to_string();
    let line = refused_start(|setup, _| setup.replacing("--secure-port", &port)).await;
    assert!(line.contains(&port), "{line}");
    let line = refused_start(|setup, _| setup.replacing("--readiness-probe-port", &port)).await;
    assert!(line.contains(&port), "{line}");
}
