//! The log as a file: rotated, and on a disk that is full.

use std::time::Duration;

use http::Method;
use oidcproxy_tests::{
    bed::Bed,
    client::{Call, Protocol},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{EVERYTHING, Files, is_event, lost};

#[tokio::test]
async fn the_log_is_rotated() {
    let files = Files::with_policy("- {level: Request}");
    let bed = Bed::with(|setup, _| {
        setup
            .flag(files.flag("policy-file", "policy.yaml"))
            .flag(files.flag("log-path", "log/audit.log"))
            .flag("--audit-log-maxsize=1")
            .flag("--audit-log-maxbackup=2")
    })
    .await;
    let token = bed.token("jane", &[]);
    let body = json!({"data": "x".repeat(250_000)}).to_string();
    let mut connection = bed.connect(Protocol::H1).await;
    for n in 0..20 {
        let call = Call::new(
            Method::POST,
            &format!("/api/v1/namespaces/web/configmaps?n={n}"),
        )
        .bearer(&token)
        .body(body.clone());
        connection.send(call).await.unwrap().assert_status(200);
    }
    let last = |text: &str| text.contains("configmaps?n=19") && text.contains("ResponseComplete");
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        // While it is put aside there is none.
        let text = std::fs::read_to_string(files.path("log/audit.log")).unwrap_or_default();
        if text.lines().any(last) {
            break;
        }
        assert!(Instant::now() < deadline, "{}", text.len());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let entries = std::fs::read_dir(files.path("log")).unwrap();
    let paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(paths.len(), 3, "{paths:?}");
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.len() <= 1024 * 1024, "{}", text.len());
        for line in text.lines() {
            serde_json::from_str::<Value>(line).unwrap();
        }
    }
    assert!(bed.proxy.access_lines().iter().all(|line| !is_event(line)));
}

#[tokio::test]
async fn a_full_disk_holds_up_nobody() {
    let files = Files::with_policy(EVERYTHING);
    let bed = Bed::with(|setup, _| {
        setup
            .flag(files.flag("policy-file", "policy.yaml"))
            .flag("--audit-log-path=/dev/full")
    })
    .await;
    let token = bed.token("jane", &[]);
    bed.get_with(Protocol::H1, &token).await.assert_status(200);
    assert!(lost(&bed, "backend=\"log\",reason=\"error\"").await >= 1);
    bed.get_with(Protocol::H2, &token).await.assert_status(200);
}
