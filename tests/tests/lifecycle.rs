//! Start, reload and end of the process.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::time::Duration;

use oidcproxy_tests::{
    api_server::{Answer, FakeApiServer},
    bed::Bed,
    client::{Call, Client, Protocol},
    issuer::FakeIssuer,
    proxy::{ProxyUnderTest, Setup, authentication_config},
    tls::TestCa,
};
use serde_json::json;
use tokio::time::Instant;

/// Longer than any pause between two looks at a file.
const RELOAD: Duration = Duration::from_secs(75);

/// Polls until the condition holds.
async fn eventually(what: &str, within: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + within;
    while !holds().await {
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn probes_answer_on_their_own_port() {
    let bed = Bed::start().await;
    for path in ["/ready", "/live"] {
        bed.proxy.probe(path).await.unwrap().assert_status(200);
    }
    let alice = bed.token("alice-the-user", &["group-of-alice"]);
    bed.get_with(Protocol::H1, &alice).await.assert_status(200);
    bed.send(Protocol::H1, Call::get("/secret-path"))
        .await
        .assert_refusal(401);
    let metrics = bed.proxy.probe("/metrics").await.unwrap();
    metrics.assert_status(200);
    let text = String::from_utf8_lossy(&metrics.body).into_owned();
    assert!(text.contains("# TYPE "), "{text}");
    for label in ["alice-the-user", "group-of-alice", "secret-path"] {
        assert!(!text.contains(label), "{label} is a label");
    }
    let state = bed.proxy.probe("/state").await.unwrap();
    state.assert_status(200);
    assert!(state.json()["issuers"].is_array(), "{state:?}");
    bed.proxy
        .probe("/nothing")
        .await
        .unwrap()
        .assert_status(404);
}

#[tokio::test]
async fn it_listens_on_both_address_families() {
    let bed = Bed::start().await;
    let port = bed.proxy.port();
    assert!(
        tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_ok()
    );
    assert!(tokio::net::TcpStream::connect(("::1", port)).await.is_ok());
}

#[tokio::test]
async fn the_bind_address_is_kept_to() {
    let bed = Bed::with(|setup, _| setup.flag("--bind-address=127.0.0.1")).await;
    bed.get_with(Protocol::H2, &bed.token("alice", &[]))
        .await
        .assert_status(200);
    assert!(
        tokio::net::TcpStream::connect(("::1", bed.proxy.port()))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn tls_is_modern_and_clients_without_alpn_are_served() {
    let bed = Bed::start().await;
    let stream = bed.client.tls(&[b"h2", b"http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut raw = bed.client.raw().await.unwrap();
    raw.request("GET /readyz", &[]).await.unwrap();
    raw.reply().await.unwrap().assert_status(200);
}

#[tokio::test]
async fn sigterm_makes_it_unready_finishes_requests_and_ends_with_0() {
    let mut bed = Bed::start().await;
    let slow = Answer::Later(Duration::from_secs(2), Box::new(Answer::Identity));
    bed.api.answer("/slow", slow);
    let token = bed.token("alice", &[]);
    let (client, api) = (bed.client.clone(), &bed.api);
    let requests =
        Protocol::BOTH.map(|protocol| client.send(protocol, Call::get("/slow").bearer(&token)));
    let requests = futures::future::join_all(requests);
    let leave =
        async {
            for _ in 0..200 {
                if api.forwarded().len() == 2 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert_eq!(api.forwarded().len(), 2);
            bed.proxy.terminate().unwrap();
            eventually("/ready is 503", Duration::from_secs(1), async || {
            matches!(bed.proxy.probe("/ready").await, Ok(reply) if reply.status == 503)
        })
        .await;
            bed.proxy.probe("/live").await.unwrap().assert_status(200);
        };
    let (replies, ()) = tokio::join!(requests, leave);
    for reply in replies {
        reply.unwrap().assert_status(200);
    }
    let status = bed
        .proxy
        .process
        .wait(Duration::from_mins(1))
        .await
        .unwrap();
    assert_eq!(status.code(), Some(0), "{}", bed.proxy.process.output());
}

#[tokio::test]
async fn sigterm_without_clients_ends_soon() {
    let mut bed = Bed::start().await;
    // An idle connection is not a request.
    let _idle = bed.connect(Protocol::H2).await;
    bed.proxy.terminate().unwrap();
    let status = bed
        .proxy
        .process
        .wait(Duration::from_secs(30))
        .await
        .unwrap();
    assert_eq!(status.code(), Some(0));
}

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
