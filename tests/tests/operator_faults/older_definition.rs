//! Objects that an older definition let through, and a definition that does not take what a newer
//! operator writes.

use std::time::Duration;

use kube::api::PostParams;
use oidc_proxy_operator::controller::sweep;
use oidcproxy_tests::tls::TestCa;
use serde_json::{Value, json};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

use crate::{
    bed::{Bed, KIND, RBAC, SOON},
    operator::Operator,
};

const DEFINITION: (&str, &str, &str) = (
    "apiextensions.k8s.io/v1",
    "CustomResourceDefinition",
    "oidcproxies.oidcproxy.dev",
);

/// There is one for all: whoever counts on it takes turns. It takes nothing away that other tests use.
static TURN: Mutex<()> = Mutex::const_new(());

/// Makes it the installed one, in effect when this returns.
async fn install(bed: &Bed, spec: &Value, takes: (&Value, bool)) {
    let definitions = bed.objects(DEFINITION.0, DEFINITION.1);
    let mut current = definitions.get(DEFINITION.2).await.unwrap();
    current.data["spec"] = spec.clone();
    let params = PostParams::default();
    definitions
        .replace(DEFINITION.2, &params, &current)
        .await
        .unwrap();
    let deadline = Instant::now() + SOON;
    while bed.apply_spec("probe", takes.0, true).await.is_ok() != takes.1 {
        assert!(Instant::now() < deadline, "the definition has no effect");
        sleep(Duration::from_millis(200)).await;
    }
}

/// As it was before durations had a pattern and authorities their room; and without an enumeration.
fn older(spec: &Value) -> Value {
    let mut spec = spec.clone();
    let schema = &mut spec["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
    let properties = &mut schema["spec"]["properties"];
    for (part, field, limits) in [
        ("sessions", "maxDuration", &["pattern", "maxLength"][..]),
        ("logging", "format", &["enum"]),
    ] {
        let field = properties[part]["properties"][field].as_object_mut();
        let field = field.unwrap();
        for limit in limits {
            assert!(field.remove(*limit).is_some(), "{part}: {limit}");
        }
    }
    let settings = &mut schema["status"]["properties"]["settings"]["properties"];
    let authentication = &mut settings["authentication"]["properties"];
    authentication["certificateAuthorities"]["additionalProperties"]["maxLength"] = json!(4096);
    spec
}

fn lasting(duration: &str) -> Value {
    json!({"sessions": {"maxDuration": duration}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_older_definition_let_through_harms_nobody_and_can_go() {
    let _turn = TURN.lock().await;
    let bed = Bed::new("f-older").await;
    let definitions = bed.objects(DEFINITION.0, DEFINITION.1);
    let current = definitions.get(DEFINITION.2).await.unwrap().data["spec"].clone();
    install(&bed, &older(&current), (&lasting("soon"), true)).await;
    let operator = Operator::start(&bed);
    bed.apply("bystander", "a.example.com").await;
    bed.apply("turned", "a.example.com").await;
    bed.wait_settled("bystander", "alone").await;
    bed.wait_settled("turned", "while it is good").await;

    let bad = [
        ("garbage", "soon"),
        ("huge", "100000000000000000000h"),
        ("negative", "5s-3s"),
    ];
    for (name, text) in bad {
        bed.apply_spec(name, &lasting(text), false).await.unwrap();
        bed.wait_condition(name, "Stalled", "True", "InvalidSpec")
            .await;
    }
    let before = bed.objects(KIND.0, KIND.1).get("turned").await.unwrap();
    let nonsense = json!({"logging": {"format": "nonsense"}});
    bed.apply_spec("turned", &nonsense, false).await.unwrap();
    let after = bed
        .wait_condition("turned", "Stalled", "True", "Unreadable")
        .await;
    assert_eq!(
        after["status"]["settings"],
        before.data["status"]["settings"]
    );
    assert_eq!(after["status"]["observedGeneration"], 2);
    // It cannot be read, but it lives: nothing of it is an orphan.
    sweep::all(&bed.api.client(&bed.token).await.unwrap()).await;
    assert!(
        bed.is_there(RBAC, "ClusterRole", &bed.cluster_role("turned"))
            .await
    );
    bed.apply("bystander", "b.example.com").await;
    bed.wait_settled("bystander", "beside them").await;

    let bundle: String = (0..16)
        .map(|_| TestCa::new("issuer").unwrap().pem())
        .collect();
    assert!(bundle.len() > 4096);
    let wide = json!({"authentication": {"jwt": [{
        "name": "corp",
        "issuer": {
            "url": "https://id.example.com", "audiences": ["kubernetes"], "certificateAuthority": bundle,
        },
        "claimMappings": {"username": {"claim": "sub", "prefix": "corp:"}},
    }]}});
    bed.apply_spec("wide", &wide, false).await.unwrap();
    let refused = bed
        .wait_condition("wide", "Stalled", "True", "StatusRefused")
        .await;
    assert!(refused["status"]["settings"].is_null());

    // An operator that begins among them.
    drop(operator);
    let operator = Operator::start(&bed);
    bed.apply("bystander", "c.example.com").await;
    bed.wait_settled("bystander", "after a start").await;

    install(&bed, &current, (&lasting("soon"), false)).await;
    bed.wait_settled("wide", "with room for it").await;
    for (name, _) in bad {
        bed.remove(name).await;
    }
    for name in ["turned", "wide", "bystander"] {
        bed.remove(name).await;
    }
    drop(operator);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_definition_knows_durations() {
    let _turn = TURN.lock().await;
    let bed = Bed::new("f-older").await;
    for fine in ["0", "0s", "2160h", "30s", "1h30m", "1.5h", "100ms"] {
        bed.apply_spec("probe", &lasting(fine), true).await.unwrap();
    }
    let huge = "100000000000000000000h";
    for wrong in [
        "",
        "soon",
        huge,
        "5s-3s",
        "-5s",
        "5",
        "1d",
        &"1s".repeat(20),
    ] {
        let refused = bed.apply_spec("probe", &lasting(wrong), true).await;
        assert!(refused.is_err(), "{wrong}");
    }
    let issued = |duration: &str, renew_before: &str| {
        let lifetimes = json!({"duration": duration, "renewBefore": renew_before});
        json!({"serving": {"certificate": {"source": "SelfIssued", "selfIssued": lifetimes}}})
    };
    let fine = issued("1h30m", "89m");
    bed.apply_spec("probe", &fine, true).await.unwrap();
    for (duration, renew_before) in [("1h30m", "90m"), ("24h", "25h"), ("999999999h", "1h")] {
        let refused = bed
            .apply_spec("probe", &issued(duration, renew_before), true)
            .await;
        assert!(refused.is_err(), "{duration} {renew_before}");
    }
}
