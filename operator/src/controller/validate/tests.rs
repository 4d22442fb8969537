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

pub(super) fn jwt(change: Value) -> Value {
    let mut entry = json!({
        "name": "corp",
        "issuer": {"url": "https://id.example.com", "audiences": ["kubernetes"]},
        "claimMappings": {"username": {"claim": "sub", "prefix": "corp:"}},
    });
    merge(&mut entry, change);
    json!({"authentication": {"jwt": [entry]}})
}

#[test]
fn a_full_spec_of_what_is_implemented_is_fine() {
    let spec = json!({
        "authentication": {
            "anonymous": {"enabled": false},
            "tokenPassthrough": {"mode": "Disabled"},
            "reservedPrefixes": ["corp-admin:"],
            "allowedReservedGroups": ["system:monitoring"],
            "httpProxy": {"url": "http://proxy.example.com:3128", "noProxy": [".cluster.local", "10.0.0.0/8"]},
        },
        "impersonation": {
            "clientRequests": "Review", "asExtraKeys": ["scopes", "example.org/tenant"], "constrained": "Never",
            "clientIPExtra": "Disabled", "extra": [{"key": "example.org/via", "values": ["proxy"]}], "restrictTo": {},
        },
        "serving": {
            "hostnames": ["k8s.example.com", "10.0.0.1"], "externalURL": "https://k8s.example.com",
            "certificate": {"source": "SelfIssued", "selfIssued": {
                "duration": "2160h", "renewBefore": "720h", "authority": {"duration": "87600h", "overlap": "8760h"},
            }},
            "proxyProtocol": "Disabled", "tls": {"minVersion": "VersionTLS13"},
        },
        "deployment": {"autoscaling": {"maxReplicas": 3}, "podLabels": {"team": "auth"}},
        "service": {"type": "NodePort", "port": 8443},
        "exposure": {"gateway": {"parentRefs": [{"name": "outside"}]}, "ingress": {"annotations": {"a": "b"}}}, "audit": {}, "sessions": {}, "limits": {},
        "networkPolicy": {"mode": "Managed", "egress": {"mode": "Strict"}},
        "logging": {"format": "JSON", "queryValues": "Mask"},
        "drain": {"delay": "0s", "deadline": "10s"},
        "kubeconfig": {"issuer": "corp", "clientID": "kubernetes", "extraScopes": ["groups"]},
    });
    let validated = validated(&proxy(spec)).unwrap();
    assert_eq!(validated.issuers.len(), 1);
    assert_eq!(validated.generation, 3);
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
fn the_clusters_own_issuer_is_nobodys() {
    let references = |issuer: &str| References {
        service_account_issuer: Some(issuer.to_owned()),
        ..References::default()
    };
    let proxy = proxy(json!({}));
    let checked = |issuer: &str| {
        let identity = Identity::of(&proxy).unwrap();
        validate(&proxy, identity, &references(issuer), &options())
    };
    let other = checked("https://kubernetes.default.svc").unwrap();
    assert_eq!(other.disallowed_issuers, ["https://kubernetes.default.svc"]);
    let refusal = checked("https://id.example.com/realms/corp").unwrap_err();
    assert_eq!(refusal.reason, Reason::InvalidSpec);
}

fn referring() -> OidcProxy {
    proxy(jwt(
        json!({"issuer": {"certificateAuthorityFrom": {"configMapKeyRef": {"name": "corp-ca", "key": "ca.crt"}}}}),
    ))
}

fn with_authority(content: Result<Vec<u8>, Missing>) -> Result<Validated, Refusal> {
    let references = References {
        authorities: [(0, content)].into(),
        ca_bundle: None,
        ..References::default()
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
    let validated = with_authority(Err(Missing("ConfigMap corp-ca is not there".into()))).unwrap();
    let refusal = validated.missing.unwrap();
    assert_eq!(refusal.reason, Reason::ReferenceNotFound);
    assert!(
        refusal
            .message
            .contains("certificateAuthorityFrom: ConfigMap corp-ca")
    );
}

#[test]
fn what_is_wrong_with_the_spec_itself_refuses_all_of_it() {
    let mut given = referring();
    given
        .spec
        .authentication
        .jwt
        .push(given.spec.authentication.jwt[0].clone());
    let missing = Err(Missing("ConfigMap corp-ca is not there".into()));
    let references = References {
        authorities: [(0, missing)].into(),
        ..References::default()
    };
    let identity = Identity::of(&given).unwrap();
    let refusal = validate(&given, identity, &references, &options()).unwrap_err();
    assert_eq!(refusal.reason, Reason::InvalidSpec);
    for what in ["name: must be unique", "ConfigMap corp-ca is not there"] {
        assert!(refusal.message.contains(what), "{}", refusal.message);
    }
}

#[test]
fn large_and_foreign_content_is_refused_without_quoting_it() {
    let many = authority_pem().repeat(150).into_bytes();
    let missing = |content: Vec<u8>| with_authority(Ok(content)).unwrap().missing.unwrap();
    assert_eq!(missing(many).reason, Reason::SettingsTooLarge);
    let secret = missing(b"password=hunter2".to_vec());
    assert_eq!(secret.reason, Reason::ReferenceUnusable);
    assert!(!secret.message.contains("hunter2"));
}

#[test]
fn the_bundle_for_somebody_elses_certificate_is_certificates_only() {
    let spec = json!({"serving": {"certificate": {"source": "Secret", "secret": {"name": "tls"}}}});
    let given = proxy(spec);
    let with = |content: Option<Result<Vec<u8>, Missing>>| {
        let references = References {
            ca_bundle: content,
            ..References::default()
        };
        let identity = Identity::of(&given).unwrap();
        validate(&given, identity, &references, &options())
    };
    let own = authority();
    let mixed = format!("{}{}", own.key_pem(), own.pem()).into_bytes();
    assert_eq!(
        with(Some(Ok(mixed))).unwrap().ca_bundle.as_deref(),
        Some(own.pem())
    );
    assert_eq!(with(None).unwrap().ca_bundle, None);
    let missing = |content| with(Some(content)).unwrap().missing.unwrap();
    assert_eq!(
        missing(Err(Missing("x".into()))).reason,
        Reason::ReferenceNotFound
    );
    let junk = missing(Ok(b"hunter2".to_vec()));
    assert_eq!(junk.reason, Reason::ReferenceUnusable);
    assert!(!junk.message.contains("hunter2"));
}
