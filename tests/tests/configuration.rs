//! Mappings and rules of the AuthenticationConfiguration, and the `--oidc-*` flags with their upstream meaning.

// A step that fails ends the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use oidcproxy_tests::{
    bed::Bed,
    client::Protocol,
    issuer::FakeIssuer,
    jose::TokenBuilder,
    proxy::{Setup, authentication_config},
};
use serde_json::{Value, json};

/// A proxy with `--oidc-*` flags for the issuer, and these besides.
async fn with_flags(flags: &[&str]) -> Bed {
    Bed::with(|setup, issuer| {
        let url = format!("--oidc-issuer-url={}", issuer.url());
        let common = [
            &*url,
            "--oidc-client-id=kubernetes",
            "--oidc-ca-file={dir}/issuer-ca.crt",
        ];
        setup.oidc_flags(&[&common, flags].concat())
    })
    .await
}

/// A proxy whose configuration was changed.
async fn with_config(change: impl FnOnce(&mut Value)) -> Bed {
    Bed::with(|setup: Setup, issuer: &FakeIssuer| {
        let mut config = authentication_config(issuer);
        change(&mut config["jwt"][0]);
        setup.config(&config)
    })
    .await
}

async fn identity(bed: &Bed, token: &TokenBuilder) -> Value {
    let reply = bed.get_with(Protocol::H1, &bed.issuer.sign(token)).await;
    reply.assert_status(200);
    reply.json()
}

async fn refused(bed: &Bed, token: &TokenBuilder) {
    let reply = bed.get_with(Protocol::H1, &bed.issuer.sign(token)).await;
    reply.assert_refusal(401);
}

#[tokio::test]
async fn the_file_may_be_yaml_of_either_version() {
    for version in ["v1", "v1beta1"] {
        let bed = Bed::with(|setup, issuer| {
            let ca = issuer.ca_pem().trim_end().replace('\n', "\n      ");
            setup.config_text(&format!(
                "apiVersion: apiserver.config.k8s.io/{version}\nkind: AuthenticationConfiguration\njwt:\n- issuer:\n    url: {}\n    audiences: [kubernetes]\n    certificateAuthority: |\n      {ca}\n  claimMappings:\n    username: {{claim: sub, prefix: \"corp:\"}}\n",
                issuer.url()
            ))
        })
        .await;
        let seen = identity(&bed, &bed.issuer.claims("alice").groups(&["dev"])).await;
        assert_eq!(seen["user"], "corp:alice");
        // Groups are not mapped unless asked for.
        assert_eq!(seen["groups"], json!(["system:authenticated"]));
    }
}

#[tokio::test]
async fn prefixes_and_uid_are_mapped() {
    let bed = with_config(|jwt| {
        jwt["claimMappings"] = json!({
            "username": {"claim": "name", "prefix": "u:"},
            "groups": {"claim": "roles", "prefix": "g:"},
            "uid": {"claim": "sub"},
        });
    })
    .await;
    let token = bed
        .issuer
        .claims("id-7")
        .claim("name", "alice")
        .claim("roles", json!(["a", "b"]));
    let seen = identity(&bed, &token).await;
    assert_eq!(seen["user"], "u:alice");
    assert_eq!(
        seen["groups"],
        json!(["g:a", "g:b", "system:authenticated"])
    );
    assert_eq!(seen["uid"], "id-7");
    refused(&bed, &token.without("sub")).await;
}

#[tokio::test]
async fn required_claims_must_be_there_and_equal() {
    let bed = with_config(|jwt| {
        jwt["claimValidationRules"] = json!([{"claim": "tenant", "requiredValue": "blue"}]);
    })
    .await;
    let token = || bed.issuer.claims("alice");
    assert_eq!(
        identity(&bed, &token().claim("tenant", "blue")).await["user"],
        "alice"
    );
    refused(&bed, &token()).await;
    refused(&bed, &token().claim("tenant", "Blue")).await;
    refused(&bed, &token().claim("tenant", json!(["blue"]))).await;
    refused(&bed, &token().claim("tenant", Value::Null)).await;
    assert_eq!(bed.api.forwarded().len(), 1);
}

#[tokio::test]
async fn the_email_claim_must_be_verified_where_it_says_so() {
    let bed = with_config(|jwt| jwt["claimMappings"]["username"]["claim"] = json!("email")).await;
    let token = || bed.issuer.claims("x").claim("email", "alice@users.example");
    for verified in [token(), token().claim("email_verified", true)] {
        assert_eq!(
            identity(&bed, &verified).await["user"],
            "alice@users.example"
        );
    }
    for value in [json!(false), json!("true"), json!(1), json!(null)] {
        refused(&bed, &token().claim("email_verified", value)).await;
    }
}

#[tokio::test]
async fn several_audiences_are_alternatives() {
    let bed = with_config(|jwt| {
        jwt["issuer"]["audiences"] = json!(["kubernetes", "other"]);
        jwt["issuer"]["audienceMatchPolicy"] = json!("MatchAny");
    })
    .await;
    for audience in [json!("kubernetes"), json!("other"), json!(["x", "other"])] {
        let token = bed.issuer.claims("alice").claim("aud", audience);
        assert_eq!(identity(&bed, &token).await["user"], "alice");
    }
    refused(&bed, &bed.issuer.claims("alice").claim("aud", "x")).await;
}

#[tokio::test]
async fn flags_have_the_defaults_of_kube_apiserver() {
    let bed = with_flags(&[]).await;
    // Another claim than email gets the issuer as prefix; only RS256 is allowed; no groups.
    let rsa = bed.issuer.publish_rsa();
    let token = bed.issuer.claims("alice").groups(&["dev"]);
    let reply = bed.get_with(Protocol::H1, &token.sign(rsa)).await;
    reply.assert_status(200);
    assert_eq!(reply.json()["user"], format!("{}#alice", bed.issuer.url()));
    assert_eq!(reply.json()["groups"], json!(["system:authenticated"]));
    refused(&bed, &token).await;
}

#[tokio::test]
async fn flags_map_claims() {
    let bed = with_flags(&[
        "--oidc-username-claim=name",
        "--oidc-username-prefix=u:",
        "--oidc-groups-claim=roles",
        "--oidc-groups-prefix=g:",
        "--oidc-signing-algs=ES256,RS256",
        "--oidc-required-claim=tenant=blue",
    ])
    .await;
    let token = bed
        .issuer
        .claims("x")
        .claim("name", "alice")
        .claim("roles", "dev");
    let seen = identity(&bed, &token.clone().claim("tenant", "blue")).await;
    assert_eq!(seen["user"], "u:alice");
    assert_eq!(seen["groups"], json!(["g:dev", "system:authenticated"]));
    refused(&bed, &token).await;
}

#[tokio::test]
async fn a_username_prefix_of_one_dash_means_none() {
    let bed = with_flags(&["--oidc-username-prefix=-", "--oidc-signing-algs=ES256"]).await;
    assert_eq!(
        identity(&bed, &bed.issuer.claims("alice")).await["user"],
        "alice"
    );
    let nobody = bed.get_with(Protocol::H1, &bed.token("", &[])).await;
    nobody.assert_refusal(401);
}

#[tokio::test]
async fn the_email_flag_has_no_prefix() {
    let bed = with_flags(&["--oidc-username-claim=email", "--oidc-signing-algs=ES256"]).await;
    let token = bed.issuer.claims("x").claim("email", "alice@users.example");
    assert_eq!(identity(&bed, &token).await["user"], "alice@users.example");
}
