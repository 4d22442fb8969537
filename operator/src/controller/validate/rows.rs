//! One row per field: what is not implemented yet, and what is wrong.

use serde_json::{Value, json};

use super::{
    Findings, Reason, Refusal, not_implemented,
    tests::{jwt, proxy, validated},
};

fn refusal(spec: Value) -> Refusal {
    let shown = spec.to_string();
    validated(&proxy(spec)).expect_err(&shown)
}

fn issued(fields: &Value) -> Value {
    json!({"serving": {"certificate": {"source": "SelfIssued", "selfIssued": fields}}})
}

/// One row per field that is refused until it does something.
#[test]
fn what_is_not_implemented_is_refused() {
    let rows = [(
        "authentication.jwt[0].issuer.egressSelectorType",
        jwt(json!({"issuer": {"egressSelectorType": "cluster"}})),
    )];
    for (field, spec) in rows {
        let mut findings = Findings::default();
        not_implemented::check(&proxy(spec).spec, &mut findings);
        assert_eq!(findings.spec.len(), 1, "{field}: {findings:?}");
        assert_eq!(findings.spec[0].reason, Reason::NotImplemented);
        let path = format!("spec.{field}");
        assert!(
            findings.spec[0].message.starts_with(&path),
            "{:?}",
            findings.spec[0]
        );
    }
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
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
            "authentication.jwt[0].claimMappings.username.expression",
            jwt(
                json!({"claimMappings": {"username": {"claim": null, "prefix": null, "expression": "claims.sub +"}}}),
            ),
        ),
        (
            "authentication.jwt[0].claimMappings.groups.expression",
            jwt(
                json!({"claimMappings": {"groups": {"expression": "claims.roles.filter(r, r != '')"}}}),
            ),
        ),
        (
            "authentication.jwt[0].claimMappings.extra[0].key",
            jwt(
                json!({"claimMappings": {"extra": [{"key": "k8s.io/x", "valueExpression": "'a'"}]}}),
            ),
        ),
        (
            "authentication.jwt[0].claimValidationRules[0].expression",
            jwt(json!({"claimValidationRules": [{"expression": "claims.ok"}]})),
        ),
        (
            "authentication.jwt[0].userValidationRules[0].expression",
            jwt(json!({"userValidationRules": [{"expression": "user.name == 'x'"}]})),
        ),
        (
            "authentication.anonymous.conditions",
            json!({"authentication": {"anonymous": {"conditions": [{"path": "/healthz"}]}}}),
        ),
        (
            "authentication.httpProxy",
            json!({"authentication": {"httpProxy": {"url": "http://jane:secret@proxy"}}}),
        ),
        (
            "authentication.httpProxy",
            json!({"authentication": {"httpProxy": {"url": "socks5://proxy"}}}),
        ),
        (
            "authentication.httpProxy",
            json!({"authentication": {"httpProxy": {"noProxy": ["a"]}}}),
        ),
        (
            "deployment.image",
            json!({"deployment": {"image": "other:1"}}),
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
            "impersonation.restrictTo.users.names[0]",
            json!({"impersonation": {"restrictTo": {"users": {"names": [" jane"]}}}}),
        ),
        (
            "impersonation.restrictTo.groups.names[1]",
            json!({"impersonation": {"restrictTo": {"groups": {"names": ["dev", ""]}}}}),
        ),
        (
            "impersonation.restrictTo.groups.names",
            json!({"impersonation": {"restrictTo": {"groups": {"names": []}}}}),
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
            issued(&json!({"duration": "30m", "renewBefore": "10m"})),
        ),
        (
            "serving.certificate.selfIssued.renewBefore",
            issued(&json!({"renewBefore": "1m"})),
        ),
        (
            "serving.certificate.selfIssued.renewBefore",
            issued(&json!({"duration": "24h"})),
        ),
        (
            "serving.certificate.selfIssued.renewBefore",
            issued(&json!({"renewBefore": "-5m"})),
        ),
        (
            "serving.certificate.selfIssued.duration",
            issued(&json!({"duration": "10000000h"})),
        ),
        (
            "serving.certificate.selfIssued.authority.duration",
            issued(&json!({"authority": {"duration": "100h"}})),
        ),
        (
            "serving.certificate.selfIssued.authority.overlap",
            issued(&json!({"authority": {"duration": "10000h", "overlap": "5001h"}})),
        ),
        (
            "serving.certificate.secret.name",
            json!({"serving": {"certificate": {"source": "Secret", "secret": {"name": "corp-ca"}}}}),
        ),
        (
            "deployment.podLabels",
            json!({"deployment": {"podLabels": {"app.kubernetes.io/name": "x"}}}),
        ),
        (
            "metrics.podMonitor.labels",
            json!({"metrics": {"podMonitor": {"labels": {"oidcproxy.dev/x": "y"}}}}),
        ),
        (
            "service.labels",
            json!({"service": {"labels": {"app.kubernetes.io/managed-by": "x"}}}),
        ),
        (
            "deployment",
            json!({"deployment": {"replicas": 2, "autoscaling": {"maxReplicas": 3}}}),
        ),
        (
            "deployment.autoscaling.minReplicas",
            json!({"deployment": {"autoscaling": {"minReplicas": 4, "maxReplicas": 3}}}),
        ),
        (
            "deployment.resources.requests",
            json!({"deployment": {"autoscaling": {"maxReplicas": 3}, "resources": {"requests": {"memory": "1Gi"}}}}),
        ),
        (
            "exposure.gateway",
            json!({"serving": {"hostnames": ["10.0.0.1"]}, "exposure": {"gateway": {"parentRefs": [{"name": "x"}]}}}),
        ),
        (
            "exposure.ingress",
            json!({"exposure": {"ingress": {"annotations": {"a": "b"}}}}),
        ),
        (
            "exposure.ingress.annotations",
            json!({"serving": {"hostnames": ["a"]}, "exposure": {"ingress": {"annotations": {}}}}),
        ),
        (
            "serving.trustedProxies[1]",
            json!({"serving": {"trustedProxies": ["10.0.0.0/8", "10.0.0.1"]}}),
        ),
        (
            "serving.proxyProtocol",
            json!({"serving": {"proxyProtocol": "Required"}}),
        ),
        (
            "impersonation.extra[0].key",
            json!({"impersonation": {"clientIPExtra": "Enabled", "extra": [{"key": "remote-client-ip", "values": ["a"]}]}}),
        ),
        (
            "sessions.maxDuration",
            json!({"sessions": {"maxDuration": "0s"}}),
        ),
        (
            "sessions.idleTimeout",
            json!({"sessions": {"idleTimeout": "-1s"}}),
        ),
        (
            "sessions.maxDuration",
            json!({"sessions": {"maxDuration": "5s-3s"}}),
        ),
        (
            "serving.certificate.selfIssued.duration",
            json!({"serving": {"certificate": {"source": "SelfIssued", "selfIssued": {
                "duration": "100000000000000000000h"
            }}}}),
        ),
        (
            "serving.certificate.selfIssued.authority.overlap",
            json!({"serving": {"certificate": {"source": "SelfIssued", "selfIssued": {
                "authority": {"overlap": "soon"}
            }}}}),
        ),
        ("limits.connections", json!({"limits": {"connections": 0}})),
        (
            "limits.headerBytes",
            json!({"limits": {"headerBytes": 100}}),
        ),
        ("drain.delay", json!({"drain": {"delay": "-1s"}})),
        ("drain.delay", json!({"drain": {"delay": "soon"}})),
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
