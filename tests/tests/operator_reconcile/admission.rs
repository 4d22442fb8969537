//! What the CRD's schema and rules refuse before the operator sees it.

use kube::api::{DynamicObject, PostParams};
use serde_json::{Value, json};

use crate::bed::{Bed, ELSEWHERE};

fn jwt(change: &Value) -> Value {
    let mut entry = json!({
        "name": "corp",
        "issuer": {"url": "https://id.example.com", "audiences": ["kubernetes"]},
        "claimMappings": {"username": {"claim": "sub", "prefix": "corp:"}},
    });
    for (key, value) in change.as_object().unwrap() {
        entry[key] = value.clone();
    }
    json!([entry])
}

/// What the API server says of this spec, none of which is stored.
async fn verdict(bed: &Bed, parts: &Value) -> Result<(), String> {
    let mut spec = json!({"authentication": {"jwt": jwt(&json!({}))}});
    for (key, value) in parts.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let object: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "oidcproxy.dev/v1alpha1", "kind": "OidcProxy", "metadata": {"name": "corp"}, "spec": spec,
    }))
    .unwrap();
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let api = bed.api("oidcproxy.dev/v1alpha1", "OidcProxy");
    match api.create(&params, &object).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => {
            assert_eq!(status.code, 422, "{status:?}");
            Err(status.message)
        }
        Err(error) => panic!("{error}"),
    }
}

fn refused() -> Vec<(Value, &'static str)> {
    let authentication = |more: Value| {
        let mut all = json!({"jwt": jwt(&json!({}))});
        let map = all.as_object_mut().unwrap();
        map.extend(more.as_object().unwrap().clone());
        json!({ "authentication": all })
    };
    let mapped = |extra: Value| {
        let username = json!({"claim": "sub", "prefix": "corp:"});
        let mappings = json!({"claimMappings": {"username": username, "extra": extra}});
        json!({"authentication": {"jwt": jwt(&mappings)}})
    };
    let twice = json!([
        {"key": "example.org/a", "valueExpression": "'x'"}, {"key": "example.org/a", "valueExpression": "'y'"},
    ]);
    vec![
        (json!({"authentication": {}}), "at least one issuer"),
        (
            json!({"authentication": {"jwt": []}}),
            "spec.authentication.jwt",
        ),
        (mapped(twice), "Duplicate value"),
        (
            authentication(json!({"anonymous": {"conditions": [{"path": "/healthz"}]}})),
            "conditions go with enabled",
        ),
        (
            json!({"serving": {"proxyProtocol": "Required"}}),
            "proxyProtocol Required needs trustedProxies",
        ),
        (
            json!({"kubeconfig": {"issuer": "corp"}}),
            "issuer and clientID go together",
        ),
        (
            json!({"kubeconfig": {"clientID": "x"}}),
            "issuer and clientID go together",
        ),
        (
            json!({"kubeconfig": {"extraScopes": ["x"]}}),
            "extraScopes needs issuer",
        ),
        (
            json!({"kubeconfig": {"issuer": "other", "clientID": "x"}}),
            "must be the name of an entry",
        ),
        (
            json!({"audit": {"policyFrom": {"name": "a", "key": "b"}}}),
            "policyFrom goes with",
        ),
        (
            json!({"audit": {"policyFrom": {"name": "a", "key": "b"}, "log": {"enabled": false}}}),
            "policyFrom goes with",
        ),
        (
            json!({"audit": {"log": {"enabled": true}}}),
            "policyFrom goes with",
        ),
        (
            json!({"audit": {"webhook": {"kubeconfigFrom": {"name": "a", "key": "b"}}}}),
            "policyFrom goes with",
        ),
    ]
}

#[tokio::test]
async fn what_can_be_refused_at_admission_is() {
    let bed = Bed::new(ELSEWHERE).await;
    for (parts, says) in refused() {
        let message = verdict(&bed, &parts).await.expect_err(&parts.to_string());
        assert!(message.contains(says), "{parts}: {message}");
    }
    for parts in [
        json!({}),
        json!({"audit": {}, "kubeconfig": {}, "serving": {"proxyProtocol": "Disabled"}}),
        json!({"kubeconfig": {"issuer": "corp", "clientID": "x", "extraScopes": ["email"]}}),
        json!({"serving": {"proxyProtocol": "Required", "trustedProxies": ["10.0.0.0/8"]}}),
        json!({"audit": {"policyFrom": {"name": "a", "key": "b"}, "log": {"enabled": true}}}),
    ] {
        assert_eq!(verdict(&bed, &parts).await, Ok(()), "{parts}");
    }
}

/// The operator fills in defaults, and the rules hold with them.
#[tokio::test]
async fn lifetimes_are_judged_with_the_defaults_filled_in() {
    let bed = Bed::new(ELSEWHERE).await;
    let issued = |lifetimes: &Value| json!({"serving": {"certificate": {"source": "SelfIssued", "selfIssued": lifetimes}}});
    for (lifetimes, says) in [
        (json!({"duration": "720h"}), "renewBefore must be shorter"),
        (
            json!({"renewBefore": "2160h"}),
            "renewBefore must be shorter",
        ),
        (
            json!({"duration": "59m", "renewBefore": "5m"}),
            "must be at least 1h",
        ),
        (json!({"renewBefore": "4m"}), "must be at least 5m"),
        (
            json!({"authority": {"duration": "17519h"}}),
            "at most half of duration",
        ),
        (
            json!({"authority": {"overlap": "43801h"}}),
            "at most half of duration",
        ),
        (
            json!({"duration": "87601h"}),
            "authority.duration must not be shorter",
        ),
        (
            json!({"authority": {"duration": "2159h", "overlap": "1h"}}),
            "authority.duration must not be shorter",
        ),
    ] {
        let message = verdict(&bed, &issued(&lifetimes)).await;
        let message = message.expect_err(&lifetimes.to_string());
        assert!(message.contains(says), "{lifetimes}: {message}");
    }
    for lifetimes in [
        json!({}),
        json!({"duration": "721h"}),
        json!({"renewBefore": "2159h"}),
        json!({"duration": "1h", "renewBefore": "5m"}),
        json!({"authority": {"duration": "17520h"}}),
        json!({"authority": {"overlap": "43800h"}}),
        json!({"duration": "87600h"}),
        json!({"authority": {"duration": "2160h", "overlap": "1080h"}}),
    ] {
        let verdict = verdict(&bed, &issued(&lifetimes)).await;
        assert_eq!(verdict, Ok(()), "{lifetimes}");
    }
}
