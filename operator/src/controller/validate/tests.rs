use serde_json::{Value, json};

use super::*;
use crate::{
    controller::{dereference::Missing, options::Namespaces},
    pki::authority::tests::authority,
};

/// `corp` in `auth`, with these parts of a spec over one that is fine.
pub(in crate::controller) fn proxy(spec: Value) -> OidcProxy {
    let mut base = json!({
        "authentication": {"jwt": [{
            "name": "corp",
            "issuer": {"url": "https://id.example.com/realms/corp", "audiences": ["kubernetes"]},
            "claimMappings": {
                "username": {"claim": "sub", "prefix": "corp:"},
                "groups": {"claim": "groups", "prefix": "corp:"},
            },
        }]},
    });
    merge(&mut base, spec);
    serde_json::from_value(json!({
        "apiVersion": "oidcproxy.dev/v1alpha1",
        "kind": "OidcProxy",
        "metadata": {"name": "corp", "namespace": "auth", "uid": "uid-1", "generation": 3, "resourceVersion": "1"},
        "spec": base,
    }))
    .unwrap()
}

fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

pub(in crate::controller) fn options() -> Options {
    Options {
        namespaces: Namespaces::Listed(["auth".to_owned()].into()),
        proxy_image: "proxy:1".into(),
        image_pull_policy: None,
        cluster_domain: "cluster.local".into(),
        allow_image_override: false,
        operator_namespace: "oidc-proxy".into(),
        operator_pod_labels: crate::controller::identity::labels([(
            "app.kubernetes.io/name",
            "operator",
        )]),
    }
}

pub(in crate::controller) fn authority_pem() -> String {
    authority().pem().to_owned()
}

pub(in crate::controller) fn validated(proxy: &OidcProxy) -> Result<Validated, Refusal> {
    validate(
        proxy,
        Identity::of(proxy).unwrap(),
        &References::default(),
        &options(),
    )
}

fn refusal(spec: Value) -> Refusal {
    let shown = spec.to_string();
    validated(&proxy(spec)).expect_err(&shown)
}

fn jwt(change: Value) -> Value {
    let mut entry = json!({
        "name": "corp",
        "issuer": {"url": "https://id.example.com", "audiences": ["kubernetes"]},
        "claimMappings": {"username": {"claim": "sub", "prefix": "corp:"}},
    });
    merge(&mut entry, change);
    json!({"authentication": {"jwt": [entry]}})
}

fn issued(fields: Value) -> Value {
    json!({"serving": {"certificate": {"source": "SelfIssued", "selfIssued": fields}}})
}

#[test]
fn a_full_spec_of_what_is_implemented_is_fine() {
    let spec = json!({
        "authentication": {
            "anonymous": {"enabled": false},
            "tokenPassthrough": {"mode": "Disabled"},
            "reservedPrefixes": ["corp-admin:"],
            "allowedReservedGroups": ["system:monitoring"],
            "httpProxy": {},
        },
        "impersonation": {
            "clientRequests": "Review", "asExtraKeys": ["scopes", "example.org/tenant"], "constrained": "Auto",
            "clientIPExtra": "Disabled", "extra": [{"key": "example.org/via", "values": ["proxy"]}], "restrictTo": {},
        },
        "serving": {
            "hostnames": ["k8s.example.com", "10.0.0.1"], "externalURL": "https://k8s.example.com",
            "certificate": {"source": "SelfIssued", "selfIssued": {
                "duration": "2160h", "renewBefore": "720h", "authority": {"duration": "87600h", "overlap": "8760h"},
            }},
            "proxyProtocol": "Disabled", "tls": {"minVersion": "VersionTLS13"},
        },
        "deployment": {"replicas": 3, "podLabels": {"team": "auth"}},
        "service": {"type": "NodePort", "port": 8443},
        "exposure": {}, "audit": {}, "sessions": {}, "limits": {},
        "networkPolicy": {"mode": "Managed", "egress": {"mode": "Ports"}},
        "logging": {"format": "Classic"},
        "drain": {"delay": "0s", "deadline": "10s"},
        "kubeconfig": {"issuer": "corp", "clientID": "kubernetes", "extraScopes": ["groups"]},
    });
    let validated = validated(&proxy(spec)).unwrap();
    assert_eq!(validated.issuers.len(), 1);
    assert_eq!(validated.generation, 3);
    let never = json!({"impersonation": {"constrained": "Never"}});
    assert!(super::tests::validated(&proxy(never)).is_ok());
}

/// One row per field that is refused until it does something.
#[test]
fn what_is_not_implemented_is_refused() {
    let key_ref = json!({"name": "x", "key": "y"});
    let rows = [
        (
            "authentication.anonymous.enabled",
            json!({"authentication": {"anonymous": {"enabled": true}}}),
        ),
        (
            "authentication.tokenPassthrough.mode",
            json!({"authentication": {"tokenPassthrough": {"mode": "TokenReview"}}}),
        ),
        (
            "authentication.httpProxy",
            json!({"authentication": {"httpProxy": {"url": "http://proxy"}}}),
        ),
        (
            "authentication.httpProxy",
            json!({"authentication": {"httpProxy": {"noProxy": ["a"]}}}),
        ),
        (
            "authentication.jwt[0].userValidationRules",
            jwt(json!({"userValidationRules": [{"expression": "true"}]})),
        ),
        (
            "authentication.jwt[0].claimValidationRules[0].expression",
            jwt(json!({"claimValidationRules": [{"expression": "true"}]})),
        ),
        (
            "authentication.jwt[0].claimMappings.username.expression",
            jwt(json!({"claimMappings": {"username": {"expression": "claims.sub"}}})),
        ),
        (
            "authentication.jwt[0].claimMappings.groups.expression",
            jwt(json!({"claimMappings": {"groups": {"expression": "claims.groups"}}})),
        ),
        (
            "authentication.jwt[0].claimMappings.uid.expression",
            jwt(json!({"claimMappings": {"uid": {"expression": "claims.sub"}}})),
        ),
        (
            "authentication.jwt[0].claimMappings.extra",
            jwt(
                json!({"claimMappings": {"extra": [{"key": "example.org/x", "valueExpression": "claims.x"}]}}),
            ),
        ),
        (
            "authentication.jwt[0].issuer.egressSelectorType",
            jwt(json!({"issuer": {"egressSelectorType": "cluster"}})),
        ),
        (
            "impersonation.asExtraKeys",
            json!({"impersonation": {"asExtraKeys": ["*"]}}),
        ),
        (
            "impersonation.clientIPExtra",
            json!({"impersonation": {"clientIPExtra": "Enabled"}}),
        ),
        (
            "impersonation.restrictTo",
            json!({"impersonation": {"restrictTo": {"users": {"names": ["jane"]}}}}),
        ),
        (
            "impersonation.restrictTo",
            json!({"impersonation": {"restrictTo": {"groups": {"names": ["dev"]}}}}),
        ),
        (
            "serving.certificate.source",
            json!({"serving": {"certificate": {"source": "Secret", "secret": {"name": "x"}}}}),
        ),
        (
            "serving.trustedProxies",
            json!({"serving": {"trustedProxies": ["10.0.0.0/8"]}}),
        ),
        (
            "serving.proxyProtocol",
            json!({"serving": {"proxyProtocol": "Required"}}),
        ),
        (
            "deployment.autoscaling",
            json!({"deployment": {"autoscaling": {"maxReplicas": 3}}}),
        ),
        (
            "deployment.image",
            json!({"deployment": {"image": "other:1"}}),
        ),
        (
            "exposure.gateway",
            json!({"exposure": {"gateway": {"parentRefs": [{"name": "x"}]}}}),
        ),
        (
            "exposure.ingress",
            json!({"exposure": {"ingress": {"annotations": {"a": "b"}}}}),
        ),
        (
            "networkPolicy.egress.mode",
            json!({"networkPolicy": {"egress": {"mode": "Strict"}}}),
        ),
        ("logging.format", json!({"logging": {"format": "JSON"}})),
        ("audit", json!({"audit": {"log": {"enabled": true}}})),
        ("audit", json!({"audit": {"policyFrom": key_ref}})),
        (
            "audit",
            json!({"audit": {"webhook": {"kubeconfigFrom": key_ref}}}),
        ),
        ("sessions", json!({"sessions": {"endAtTokenExpiry": true}})),
        ("sessions", json!({"sessions": {"maxDuration": "1h"}})),
        ("sessions", json!({"sessions": {"idleTimeout": "1h"}})),
        ("limits", json!({"limits": {"connections": 10}})),
        ("limits", json!({"limits": {"streamsPerConnection": 10}})),
        ("limits", json!({"limits": {"headerBytes": 10000}})),
        ("limits", json!({"limits": {"headerCount": 100}})),
        ("limits", json!({"limits": {"requestsPerUser": 10}})),
        (
            "limits",
            json!({"limits": {"unauthenticatedPerAddress": 10}}),
        ),
    ];
    for (field, spec) in rows {
        let mut findings = Findings::default();
        not_implemented::check(&proxy(spec).spec, &options(), &mut findings);
        assert_eq!(findings.0.len(), 1, "{field}: {findings:?}");
        assert_eq!(findings.0[0].reason, Reason::NotImplemented);
        let path = format!("spec.{field}");
        assert!(
            findings.0[0].message.starts_with(&path),
            "{:?}",
            findings.0[0]
        );
    }
}

#[test]
fn an_image_of_ones_own_needs_the_operators_leave() {
    let own = proxy(json!({"deployment": {"image": "other:1"}}));
    let options = Options {
        allow_image_override: true,
        ..options()
    };
    let identity = Identity::of(&own).unwrap();
    assert!(validate(&own, identity, &References::default(), &options).is_ok());
}

#[test]
fn what_is_wrong_names_its_field() {
    let mut no_issuers = proxy(json!({}));
    no_issuers.spec.authentication.jwt.clear();
    let none = validated(&no_issuers).unwrap_err();
    assert_eq!(none.reason, Reason::InvalidSpec);
    assert!(
        none.message.starts_with("spec.authentication.jwt: "),
        "{}",
        none.message
    );
    let rows = [
        (
            "authentication.jwt[0].issuer.url",
            jwt(json!({"issuer": {"url": "http://id.example.com"}})),
        ),
        (
            "authentication.jwt[0].issuer.discoveryURL",
            jwt(json!({"issuer": {"discoveryURL": "https://id.example.com/"}})),
        ),
        (
            "authentication.jwt[0].issuer.audienceMatchPolicy",
            jwt(json!({"issuer": {"audiences": ["a", "b"]}})),
        ),
        (
            "authentication.jwt[0].issuer.certificateAuthority",
            jwt(json!({"issuer": {"certificateAuthority": "secret text"}})),
        ),
        (
            "authentication.jwt[0].claimMappings.username.prefix",
            jwt(json!({"claimMappings": {"username": {"prefix": "system:x"}}})),
        ),
        (
            "authentication.allowedReservedGroups[0]",
            json!({"authentication": {"allowedReservedGroups": ["system:masters"]}}),
        ),
        (
            "impersonation.asExtraKeys[0]",
            json!({"impersonation": {"asExtraKeys": ["Scopes"]}}),
        ),
        (
            "impersonation.asExtraKeys[0]",
            json!({"impersonation": {"asExtraKeys": ["originaluser.jetstack.io-user"]}}),
        ),
        (
            "impersonation.extra[0].key",
            json!({"impersonation": {"extra": [{"key": "Tenant", "values": ["a"]}]}}),
        ),
        (
            "impersonation.extra[0].key",
            json!({"impersonation": {"extra": [{"key": "authentication.kubernetes.io/credential-id", "values": ["a"]}]}}),
        ),
        (
            "impersonation.extra[1].key",
            json!({"impersonation": {"extra": [{"key": "a", "values": ["a"]}, {"key": "a", "values": ["a"]}]}}),
        ),
        (
            "impersonation.extra[0].values",
            json!({"impersonation": {"extra": [{"key": "a", "values": []}]}}),
        ),
        (
            "serving.hostnames[0]",
            json!({"serving": {"hostnames": ["1.2.3"]}}),
        ),
        (
            "serving.externalURL",
            json!({"serving": {"externalURL": "https://user@x"}}),
        ),
        (
            "serving.certificate.selfIssued.duration",
            issued(json!({"duration": "30m", "renewBefore": "10m"})),
        ),
        (
            "serving.certificate.selfIssued.renewBefore",
            issued(json!({"renewBefore": "1m"})),
        ),
        (
            "serving.certificate.selfIssued.renewBefore",
            issued(json!({"duration": "24h"})),
        ),
        (
            "serving.certificate.selfIssued.renewBefore",
            issued(json!({"renewBefore": "-5m"})),
        ),
        (
            "serving.certificate.selfIssued.duration",
            issued(json!({"duration": "10000000h"})),
        ),
        (
            "serving.certificate.selfIssued.authority.duration",
            issued(json!({"authority": {"duration": "100h", "overlap": "1h"}})),
        ),
        (
            "serving.certificate.selfIssued.authority.overlap",
            issued(json!({"authority": {"overlap": "90000h"}})),
        ),
        (
            "deployment.podLabels",
            json!({"deployment": {"podLabels": {"app.kubernetes.io/name": "x"}}}),
        ),
        (
            "service.labels",
            json!({"service": {"labels": {"app.kubernetes.io/managed-by": "x"}}}),
        ),
        ("drain.delay", json!({"drain": {"delay": "-1s"}})),
        ("drain.deadline", json!({"drain": {"deadline": "48h"}})),
        (
            "kubeconfig.issuer",
            json!({"kubeconfig": {"issuer": "other", "clientID": "x"}}),
        ),
        ("kubeconfig", json!({"kubeconfig": {"issuer": "corp"}})),
        ("kubeconfig", json!({"kubeconfig": {"clientID": "x"}})),
        (
            "kubeconfig.extraScopes",
            json!({"kubeconfig": {"extraScopes": ["x"]}}),
        ),
    ];
    for (field, spec) in rows {
        let refusal = refusal(spec);
        assert_eq!(refusal.reason, Reason::InvalidSpec, "{field}");
        let path = format!("spec.{field}: ");
        assert!(
            refusal.message.contains(&path),
            "{field}: {}",
            refusal.message
        );
        assert!(!refusal.message.contains("secret text"));
    }
}

fn referring() -> OidcProxy {
    proxy(jwt(
        json!({"issuer": {"certificateAuthorityFrom": {"configMapKeyRef": {"name": "corp-ca", "key": "ca.crt"}}}}),
    ))
}

fn with_authority(content: Result<Vec<u8>, Missing>) -> Result<Validated, Refusal> {
    let references = References {
        authorities: [(0, content)].into(),
    };
    let proxy = referring();
    validate(
        &proxy,
        Identity::of(&proxy).unwrap(),
        &references,
        &options(),
    )
}

#[test]
fn referenced_authorities_are_inlined_as_certificates_only() {
    let own = authority();
    let content = format!("{}{}", own.key_pem(), own.pem());
    let validated = with_authority(Ok(content.into_bytes())).unwrap();
    let (key, bundle) = validated.certificate_authorities.first_key_value().unwrap();
    assert_eq!(
        validated.issuers[0].certificate_authority.as_ref(),
        Some(key)
    );
    assert!(bundle.contains("BEGIN CERTIFICATE") && !bundle.contains("PRIVATE"));
}

#[test]
fn a_reference_that_leads_nowhere_is_named() {
    let refusal =
        with_authority(Err(Missing("ConfigMap corp-ca is not there".into()))).unwrap_err();
    assert_eq!(refusal.reason, Reason::ReferenceNotFound);
    assert!(
        refusal
            .message
            .contains("certificateAuthorityFrom: ConfigMap corp-ca")
    );
}

#[test]
fn large_and_foreign_content_is_refused_without_quoting_it() {
    let many = authority_pem().repeat(150).into_bytes();
    assert_eq!(
        with_authority(Ok(many)).unwrap_err().reason,
        Reason::SettingsTooLarge
    );
    let secret = with_authority(Ok(b"password=hunter2".to_vec())).unwrap_err();
    assert_eq!(secret.reason, Reason::InvalidSpec);
    assert!(!secret.message.contains("hunter2"));
}
