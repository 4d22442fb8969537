//! Which identities a verified token may have: reserved and unsafe ones are refused, never changed.

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
    proxy::authentication_config,
};
use serde_json::json;

const PODS: &str = "/api/v1/pods";

#[tokio::test]
async fn reserved_usernames_are_refused() {
    let bed = Bed::start().await;
    let names = [
        "system:admin",
        "system:anonymous",
        "system:apiserver",
        "system:kube-controller-manager",
        "system:node:n1",
        "system:serviceaccount:kube-system:default",
        "system:",
        "kubeadm:cluster-admins",
    ];
    for protocol in Protocol::BOTH {
        for name in names {
            let reply = bed.get_with(protocol, &bed.token(name, &[])).await;
            assert_eq!(reply.status, 403, "{name}: {reply:?}");
            reply.assert_refusal(403);
        }
    }
    bed.api.assert_untouched();
}

#[tokio::test]
async fn reserved_groups_are_refused_and_not_stripped() {
    let bed = Bed::start().await;
    for group in [
        "system:masters",
        "system:nodes",
        "system:authenticated",
        "kubeadm:cluster-admins",
    ] {
        let token = bed.token("alice", &["dev", group]);
        for protocol in Protocol::BOTH {
            // Also with somebody to act as: the guard comes before any review.
            for call in [
                Call::get(PODS),
                Call::get(PODS).header("impersonate-user", "bob"),
            ] {
                let reply = bed.send(protocol, call.bearer(&token)).await;
                assert_eq!(reply.status, 403, "{group}: {reply:?}");
                reply.assert_refusal(403);
            }
        }
    }
    bed.api.assert_untouched();
    assert!(bed.api.reviews().asked().is_empty());
}

#[tokio::test]
async fn reserved_groups_pass_when_named_exactly() {
    let bed = Bed::with(|setup, _| setup.flag("--allow-reserved-groups=system:auditors")).await;
    let passes = bed
        .get_with(Protocol::H1, &bed.token("alice", &["system:auditors"]))
        .await;
    assert_eq!(
        passes.json()["groups"],
        json!(["system:auditors", "system:authenticated"])
    );
    for group in ["system:masters", "system:auditors2", "system:auditor"] {
        let reply = bed
            .get_with(Protocol::H1, &bed.token("alice", &[group]))
            .await;
        reply.assert_refusal(403);
    }
    // A group that is allowed is still no username.
    let reply = bed
        .get_with(Protocol::H1, &bed.token("system:auditors", &[]))
        .await;
    reply.assert_refusal(403);
    assert_eq!(bed.api.forwarded().len(), 1);
}

#[tokio::test]
async fn a_prefix_that_makes_a_reserved_name_is_refused() {
    let bed = Bed::with(|setup, issuer| {
        let mut config = authentication_config(issuer);
        config["jwt"][0]["claimMappings"]["username"]["prefix"] = json!("system:");
        setup.config(&config)
    })
    .await;
    bed.get_with(Protocol::H1, &bed.token("alice", &[]))
        .await
        .assert_refusal(403);
    bed.api.assert_untouched();
}

#[tokio::test]
async fn lookalikes_of_reserved_names_arrive_literally() {
    let bed = Bed::start().await;
    for name in [
        "System:masters",
        "my-system:masters",
        "system\u{ff1a}masters",
        "system",
    ] {
        let identity = bed
            .get_with(Protocol::H2, &bed.token(name, &[name]))
            .await
            .json();
        assert_eq!(identity["user"], name);
        assert_eq!(identity["groups"], json!([name, "system:authenticated"]));
    }
}

/// Values that HTTP would change or that would end the header line.
const UNSAFE: [&str; 12] = [
    " alice",
    "alice ",
    "\talice",
    "alice\t",
    " ",
    "alice\n",
    "a\nb",
    "a\r\nImpersonate-Group: system:masters",
    "a\rb",
    "a\0b",
    "a\u{7f}b",
    "a\u{1b}[31m",
];

#[tokio::test]
async fn usernames_that_headers_cannot_carry_are_refused() {
    let bed = Bed::start().await;
    for name in UNSAFE.into_iter().chain([""]) {
        for protocol in Protocol::BOTH {
            let reply = bed.get_with(protocol, &bed.token(name, &["dev"])).await;
            assert_eq!(reply.status, 401, "{name:?}: {reply:?}");
            reply.assert_refusal(401);
        }
    }
    let null = bed
        .issuer
        .sign(&bed.issuer.claims("x").claim("sub", json!(null)));
    bed.get_with(Protocol::H1, &null).await.assert_refusal(401);
    bed.api.assert_untouched();
}

#[tokio::test]
async fn a_bare_prefix_is_a_name_as_it_is_for_kube_apiserver() {
    let bed = Bed::with(|setup, issuer| {
        let mut config = authentication_config(issuer);
        config["jwt"][0]["claimMappings"]["username"]["prefix"] = json!("corp:");
        setup.config(&config)
    })
    .await;
    let identity = bed
        .get_with(Protocol::H1, &bed.token("alice", &[]))
        .await
        .json();
    assert_eq!(identity["user"], "corp:alice");
    let reply = bed.get_with(Protocol::H1, &bed.token("", &[])).await;
    reply.assert_status(200);
    assert_eq!(reply.json()["user"], "corp:");
}

#[tokio::test]
async fn groups_that_headers_cannot_carry_are_refused_and_not_dropped() {
    let bed = Bed::start().await;
    for group in UNSAFE {
        let reply = bed
            .get_with(Protocol::H2, &bed.token("alice", &["dev", group]))
            .await;
        assert_eq!(reply.status, 401, "{group:?}: {reply:?}");
    }
    bed.api.assert_untouched();
}

#[tokio::test]
async fn an_empty_group_never_arrives() {
    let bed = Bed::start().await;
    let reply = bed
        .get_with(Protocol::H1, &bed.token("alice", &["dev", ""]))
        .await;
    reply.assert_refusal(401);
    bed.api.assert_untouched();
}

#[tokio::test]
async fn the_token_id_travels_as_credential_id_or_not_at_all() {
    let bed = Bed::start().await;
    let with = |id: serde_json::Value| {
        bed.issuer
            .sign(&bed.issuer.claims("alice").claim("jti", id))
    };
    let key = "authentication.kubernetes.io/credential-id";
    let identity = bed
        .get_with(Protocol::H1, &with(json!("abc-1")))
        .await
        .json();
    assert_eq!(identity["extra"], json!({key: ["JTI=abc-1"]}));
    let name = "impersonate-extra-authentication.kubernetes.io%2fcredential-id";
    assert_eq!(bed.api.only().value(name).as_deref(), Some("JTI=abc-1"));
    for ignored in [json!(7), json!(""), json!(null)] {
        let identity = bed.get_with(Protocol::H1, &with(ignored)).await.json();
        assert_eq!(identity["extra"], json!({}));
    }
    let before = bed.api.forwarded().len();
    let reply = bed
        .get_with(Protocol::H1, &with(json!("a\r\nImpersonate-User: root")))
        .await;
    reply.assert_refusal(401);
    assert_eq!(bed.api.forwarded().len(), before);
}

#[tokio::test]
async fn names_beyond_ascii_arrive_byte_for_byte() {
    let bed = Bed::start().await;
    // Composed and decomposed stay two different users.
    for name in [
        "zo\u{eb}",
        "zoe\u{308}",
        "日本",
        "a\tb",
        "a b",
        "a, b",
        "a%2fb",
    ] {
        for protocol in Protocol::BOTH {
            let identity = bed
                .get_with(protocol, &bed.token(name, &[name]))
                .await
                .json();
            assert_eq!(identity["user"], name);
            assert_eq!(identity["groups"][0], name);
        }
    }
}

#[tokio::test]
async fn a_thousand_groups_pass_over_both_protocols() {
    let bed = Bed::start().await;
    let groups: Vec<String> = (0..1000)
        .map(|n| format!("department-{n:04}-team"))
        .collect();
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    let token = bed.token("alice", &groups);
    for protocol in Protocol::BOTH {
        bed.get_with(protocol, &token).await.assert_status(200);
    }
    for request in bed.api.forwarded() {
        assert_eq!(request.groups().len(), 1001);
        assert_eq!(request.groups()[999], "department-0999-team");
    }
}

#[tokio::test]
async fn group_order_and_duplicates_are_kept() {
    let bed = Bed::start().await;
    let identity = bed
        .get_with(Protocol::H1, &bed.token("alice", &["z", "a", "z"]))
        .await
        .json();
    assert_eq!(
        identity["groups"],
        json!(["z", "a", "z", "system:authenticated"])
    );
}
