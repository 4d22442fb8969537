//! What is written of the values in a query: access lines of both formats, and audit events.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use oidcproxy_tests::{
    bed::Bed,
    client::{Call, Protocol},
};
use serde_json::json;
use tempfile::TempDir;

const TARGET: &str = "/api/v1/pods?limit=500&access_token=hidden-1&n";

/// Events go to standard output, beside the access lines.
async fn bed(flags: &[&str]) -> (Bed, TempDir) {
    let files = tempfile::tempdir().unwrap();
    let policy = files.path().join("policy.yaml");
    let rules = json!({
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}],
    });
    std::fs::write(&policy, rules.to_string()).unwrap();
    let bed = Bed::with(|setup, _| {
        let setup = setup
            .flag(format!("--audit-policy-file={}", policy.display()))
            .flag("--audit-log-path=-");
        flags.iter().fold(setup, |setup, flag| setup.flag(*flag))
    });
    (bed.await, files)
}

/// The access line of a request over each protocol, and both events.
async fn written(bed: &Bed, target: &str, shown: &str) {
    let token = bed.token("jane", &[]);
    for (protocol, mark) in Protocol::BOTH.into_iter().zip(["h1", "h2"]) {
        let call = Call::get(&format!("{target}{mark}")).bearer(&token);
        bed.send(protocol, call).await.assert_status(200);
        let mark = format!("{shown}{mark}");
        let end = bed.proxy.process.stdout.wait(&mark, |line| {
            line.contains("ResponseComplete") && line.contains(&mark)
        });
        end.await.unwrap();
        bed.proxy
            .process
            .stdout
            .wait(&mark, |line| {
                !line.contains("audit.k8s.io") && line.contains(&mark)
            })
            .await
            .unwrap();
    }
    assert!(!bed.proxy.process.output().contains("hidden"));
    // What is written is not what is forwarded.
    let targets = bed.api.forwarded();
    assert!(
        targets
            .iter()
            .all(|request| request.target.starts_with(target))
    );
}

#[tokio::test]
async fn credentials_are_masked_in_any_case() {
    for format in ["classic", "json"] {
        let (bed, _files) = bed(&[&format!("--log-format={format}")]).await;
        written(&bed, TARGET, "/api/v1/pods?limit=500&access_token=***&n").await;
    }
}

#[tokio::test]
async fn all_values_are_masked_where_it_is_asked_for() {
    for format in ["classic", "json"] {
        let flags = [
            &*format!("--log-format={format}"),
            "--log-query-values=mask",
        ];
        let (bed, _files) = bed(&flags).await;
        let target = "/api/v1/namespaces/web/pods/a/exec?command=hidden-2&command=&n";
        let shown = "/api/v1/namespaces/web/pods/a/exec?command=***&command=***&n";
        written(&bed, target, shown).await;
        // Refusals, too: there is no user, but there is a query.
        bed.send(Protocol::H1, Call::get("/refused?x=hidden-3"))
            .await;
        bed.proxy.access_line("/refused?x=***").await.unwrap();
        assert!(!bed.proxy.process.output().contains("hidden"));
    }
}
