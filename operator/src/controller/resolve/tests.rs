use oidcproxy_crds::{
    OidcProxy,
    v1alpha1::{
        logging::{LogFormat, QueryValues},
        settings::{LoggingSettings, Settings},
    },
};
use serde_json::json;

use super::*;
use crate::controller::{
    refusal::Reason,
    validate::tests::{authority_pem, options, proxy, validated},
};

/// The resolved form of a spec that is fine.
pub(in crate::controller) fn resolved(spec: serde_json::Value) -> Resolved {
    let validated = validated(&proxy(spec)).unwrap();
    let running = Running::Asked(Box::new(settings(&validated).unwrap()));
    resolve(validated, running, &options())
}

impl Resolved {
    /// The settings, where there are some.
    pub(in crate::controller) fn settings(&self) -> &Settings {
        self.running.settings().unwrap()
    }
}

#[test]
fn defaults_are_filled_in() {
    let resolved = resolved(json!({}));
    let settings = resolved.settings();
    assert_eq!(settings.format_version, 1);
    assert!(settings.revision.starts_with("sha256:"));
    assert_eq!(
        settings.authentication.reserved_prefixes,
        ["system:", "kubeadm:"]
    );
    assert_eq!(settings.drain.delay_seconds, 5);
    assert_eq!(settings.drain.deadline_seconds, 30);
    assert_eq!((resolved.scaling, resolved.port), (Scaling::Fixed(2), 443));
    assert_eq!(resolved.lifetimes.leaf, Duration::from_hours(2160));
    assert_eq!(resolved.image, "proxy:1");
    assert!(resolved.network_policy.is_some());
    assert!(resolved.login.is_none());
}

#[test]
fn what_is_given_wins() {
    let resolved = resolved(json!({
        "drain": {"delay": "1500ms", "deadline": "1m"},
        "deployment": {"replicas": 1},
        "service": {"port": 8443, "type": "LoadBalancer"},
        "networkPolicy": {"mode": "Disabled"},
        "logging": {"format": "JSON", "queryValues": "Mask"},
        "kubeconfig": {"issuer": "corp", "clientID": "kubernetes"},
    }));
    assert_eq!(resolved.settings().drain.delay_seconds, 2);
    assert_eq!(resolved.settings().drain.deadline_seconds, 60);
    assert_eq!((resolved.scaling, resolved.port), (Scaling::Fixed(1), 8443));
    let expected = LoggingSettings {
        format: LogFormat::Json,
        query_values: QueryValues::Mask,
    };
    assert_eq!(resolved.settings().logging, expected);
    assert!(resolved.waits_for_load_balancer());
    assert!(resolved.network_policy.is_none());
    assert_eq!(resolved.login.unwrap().client_id, "kubernetes");
}

#[test]
fn an_autoscaler_has_bounds_and_a_target() {
    let of =
        |given: serde_json::Value| resolved(json!({"deployment": {"autoscaling": given}})).scaling;
    let plain = Scaling::Automatic {
        min: 2,
        max: 5,
        cpu: Some(80),
        streams: None,
    };
    assert_eq!(of(json!({"maxReplicas": 5})), plain);
    let streams = of(json!({"maxReplicas": 1, "targetStreams": 100}));
    assert_eq!(
        streams,
        Scaling::Automatic {
            min: 1,
            max: 1,
            cpu: None,
            streams: Some(100)
        }
    );
    assert_eq!((plain.least(), Scaling::Fixed(3).least()), (2, 3));
}

#[test]
fn the_request_path_is_taken_over() {
    let resolved = resolved(json!({
        "impersonation": {
            "constrained": "Never",
            "clientIPExtra": "Enabled",
            "asExtraKeys": ["*"],
            "restrictTo": {"users": {"names": ["jane"]}},
        },
        "serving": {"trustedProxies": ["10.0.0.0/8"], "proxyProtocol": "Required"},
        "sessions": {"endAtTokenExpiry": true, "maxDuration": "90m", "idleTimeout": "1500ms"},
        "limits": {"connections": 10, "requestsPerUser": 5},
    }));
    let settings = resolved.settings();
    let published = serde_json::to_value(settings).unwrap();
    assert_eq!(published["impersonation"]["constrained"], "Never");
    assert_eq!(published["impersonation"]["clientIPExtra"], "Enabled");
    assert_eq!(published["impersonation"]["asExtraKeys"], json!(["*"]));
    assert_eq!(
        published["impersonation"]["restrictTo"],
        json!({"users": {"names": ["jane"]}})
    );
    assert_eq!(
        published["serving"]["trustedProxies"],
        json!(["10.0.0.0/8"])
    );
    assert_eq!(published["serving"]["proxyProtocol"], "Required");
    assert_eq!(
        published["sessions"],
        json!({"endAtTokenExpiry": true, "maxDurationSeconds": 5400, "idleTimeoutSeconds": 2})
    );
    assert_eq!(
        published["limits"],
        json!({"connections": 10, "requestsPerUser": 5})
    );
}

#[test]
fn equal_authorities_stand_once() {
    let pem = authority_pem();
    let entry = |name: &str| {
        json!({
            "name": name,
            "issuer": {"url": format!("https://{name}.example.com"), "audiences": ["a"], "certificateAuthority": pem},
            "claimMappings": {"username": {"claim": "sub", "prefix": name}},
        })
    };
    let spec = json!({"authentication": {"jwt": [entry("a"), entry("b")]}});
    let resolved = resolved(spec);
    let settings = resolved.settings();
    assert_eq!(settings.authentication.certificate_authorities.len(), 1);
    let issuers = &settings.authentication.issuers;
    assert_eq!(
        issuers[0].certificate_authority,
        issuers[1].certificate_authority
    );
}

#[test]
fn the_revision_follows_the_settings_only() {
    let one = resolved(json!({}));
    let scaled = resolved(json!({"deployment": {"replicas": 5}}));
    let other = resolved(json!({"authentication": {"jwt": [{
        "name": "corp",
        "issuer": {"url": "https://id.example.com", "audiences": ["other"]},
        "claimMappings": {"username": {"claim": "sub", "prefix": "corp:"}},
    }]}}));
    assert_eq!(one.settings().revision, scaled.settings().revision);
    assert_ne!(one.settings().revision, other.settings().revision);
}

#[test]
fn settings_that_are_too_large_are_refused() {
    let audiences: Vec<String> = (0..400)
        .map(|n| format!("{n}{}", "x".repeat(1000)))
        .collect();
    let mut large: OidcProxy = proxy(json!({}));
    large.spec.authentication.jwt[0].issuer.audiences = audiences;
    large.spec.authentication.jwt[0]
        .issuer
        .audience_match_policy =
        Some(oidcproxy_crds::v1alpha1::authentication::AudienceMatchPolicy::MatchAny);
    let refusal = settings(&validated(&large).unwrap()).unwrap_err();
    assert_eq!(refusal.reason, Reason::SettingsTooLarge);
}
