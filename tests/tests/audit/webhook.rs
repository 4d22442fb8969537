//! Events that go to a webhook, and one that does not take them.

use std::time::Duration;

use oidcproxy_tests::{
    bed::Bed,
    client::{Call, Protocol},
    webhook::FakeWebhook,
};
use serde_json::{Value, json};

use super::{EVERYTHING, Files, lost};

async fn bed_with_webhook(webhook: &FakeWebhook, flags: &[&str]) -> (Bed, Files) {
    let files = Files::with_policy(EVERYTHING);
    files.write("webhook.yaml", &webhook.kubeconfig());
    let bed = Bed::with(|setup, _| {
        let setup = setup
            .flag(files.flag("policy-file", "policy.yaml"))
            .flag(files.flag("webhook-config-file", "webhook.yaml"))
            .flag("--audit-webhook-initial-backoff=50ms")
            .flag("--drain-delay=0");
        flags.iter().fold(setup, |setup, flag| setup.flag(*flag))
    })
    .await;
    (bed, files)
}

fn is_complete(target: &'static str) -> impl Fn(&Value) -> bool {
    move |event| event["requestURI"] == target && event["stage"] == "ResponseComplete"
}

#[tokio::test]
async fn a_webhook_gets_batches() {
    let webhook = FakeWebhook::start().await.unwrap();
    let (bed, _files) = bed_with_webhook(
        &webhook,
        &[
            "--audit-webhook-batch-max-wait=1s",
            "--audit-webhook-batch-max-size=4",
        ],
    )
    .await;
    let token = bed.token("jane", &["dev"]);
    let mut connection = bed.connect(Protocol::H2).await;
    for n in 0..5 {
        let call = Call::get(&format!("/batch?n={n}")).bearer(&token);
        connection.send(call).await.unwrap().assert_status(200);
    }
    let found = webhook.event(is_complete("/batch?n=4")).await.unwrap();
    assert_eq!(found["user"]["username"], "jane");
    assert_eq!(found["apiVersion"], "audit.k8s.io/v1");
    let batches = webhook.batches();
    for batch in &batches {
        assert_eq!(
            (&batch["kind"], &batch["apiVersion"]),
            (&json!("EventList"), &json!("audit.k8s.io/v1"))
        );
        assert!(batch["items"].as_array().unwrap().len() <= 4, "{batch}");
    }
    assert_eq!(webhook.events().len(), 10);
    assert!(!bed.proxy.process.output().contains("webhook-secret-token"));
}

#[tokio::test]
async fn a_webhook_that_fails_is_asked_again() {
    let webhook = FakeWebhook::start().await.unwrap();
    webhook.refuse(3);
    let (bed, _files) = bed_with_webhook(&webhook, &["--audit-webhook-batch-max-wait=100ms"]).await;
    let call = Call::get("/again").bearer(&bed.token("jane", &[]));
    bed.send(Protocol::H1, call).await.assert_status(200);
    webhook.event(is_complete("/again")).await.unwrap();
    assert_eq!(webhook.refused(), 3);
}

#[tokio::test]
async fn what_a_webhook_never_takes_is_counted() {
    let webhook = FakeWebhook::start().await.unwrap();
    webhook.refuse(5);
    let (bed, _files) = bed_with_webhook(&webhook, &["--audit-webhook-batch-max-wait=1s"]).await;
    let token = bed.token("jane", &[]);
    let call = Call::get("/lost").bearer(&token);
    bed.send(Protocol::H1, call).await.assert_status(200);
    assert_eq!(lost(&bed, "backend=\"webhook\",reason=\"error\"").await, 2);
    assert_eq!(webhook.events(), Vec::<Value>::new());
    let call = Call::get("/later").bearer(&token);
    bed.send(Protocol::H1, call).await.assert_status(200);
    webhook.event(is_complete("/later")).await.unwrap();
}

#[tokio::test]
async fn a_slow_webhook_holds_up_nobody() {
    let webhook = FakeWebhook::start().await.unwrap();
    webhook.pause(Duration::from_mins(10));
    let (bed, _files) = bed_with_webhook(
        &webhook,
        &[
            "--audit-webhook-batch-max-size=1",
            "--audit-webhook-batch-buffer-size=3",
        ],
    )
    .await;
    let token = bed.token("jane", &[]);
    let mut connection = bed.connect(Protocol::H1).await;
    for n in 0..30 {
        let call = Call::get(&format!("/slow?n={n}")).bearer(&token);
        let sent = tokio::time::timeout(Duration::from_mins(1), connection.send(call));
        sent.await.unwrap().unwrap().assert_status(200);
    }
    // Of 60 events four are on their way, one waits for its turn and three wait behind it.
    let lost = lost(&bed, "backend=\"webhook\",reason=\"full\"").await;
    assert!((40..60).contains(&lost), "{lost}");
}

#[tokio::test]
async fn events_reach_the_webhook_when_the_proxy_leaves() {
    let webhook = FakeWebhook::start().await.unwrap();
    webhook.refuse(1);
    let (mut bed, _files) = bed_with_webhook(&webhook, &[]).await;
    let call = Call::get("/leaving").bearer(&bed.token("jane", &[]));
    bed.send(Protocol::H1, call).await.assert_status(200);
    bed.proxy.terminate().unwrap();
    bed.proxy
        .process
        .wait(Duration::from_mins(1))
        .await
        .unwrap();
    let found = webhook.events();
    assert!(found.iter().any(is_complete("/leaving")), "{found:#?}");
}
