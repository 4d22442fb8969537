//! A way in through an Ingress controller that passes TLS through. How it is told to is up to the
//! user's annotations: there is no standard for it.

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule,
    IngressServiceBackend, IngressSpec, ServiceBackendPort,
};

use crate::controller::resolve::Resolved;

pub(super) fn build(resolved: &Resolved) -> Option<Ingress> {
    let given = resolved.exposure.ingress.as_ref()?;
    let identity = &resolved.identity;
    let mut metadata = identity.child(&identity.name);
    metadata.annotations = Some(given.annotations.clone());
    let rules = resolved
        .dns_hostnames()
        .into_iter()
        .map(|host| IngressRule {
            host: Some(host),
            http: Some(HTTPIngressRuleValue {
                paths: vec![HTTPIngressPath {
                    backend: backend(resolved),
                    // No path: what is inside TLS is not seen here, and some controllers insist.
                    path: None,
                    path_type: "ImplementationSpecific".into(),
                }],
            }),
        });
    Some(Ingress {
        metadata,
        spec: Some(IngressSpec {
            ingress_class_name: given.class_name.clone(),
            rules: Some(rules.collect()),
            ..IngressSpec::default()
        }),
        status: None,
    })
}

fn backend(resolved: &Resolved) -> IngressBackend {
    IngressBackend {
        service: Some(IngressServiceBackend {
            name: resolved.identity.name.clone(),
            port: Some(ServiceBackendPort {
                number: Some(resolved.port),
                name: None,
            }),
        }),
        resource: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::controller::resolve::tests::resolved;

    #[test]
    fn one_rule_for_each_name_and_the_users_annotations() {
        assert!(build(&resolved(json!({}))).is_none());
        let spec = json!({
            "serving": {"hostnames": ["k8s.example.com", "10.0.0.1"]},
            "exposure": {"ingress": {"className": "nginx", "annotations": {"a/ssl-passthrough": "true"}}},
        });
        let ingress = serde_json::to_value(build(&resolved(spec))).unwrap();
        assert_eq!(
            ingress["metadata"]["annotations"],
            json!({"a/ssl-passthrough": "true"})
        );
        assert_eq!(
            ingress["spec"],
            json!({"ingressClassName": "nginx", "rules": [{"host": "k8s.example.com", "http": {"paths": [{
                "pathType": "ImplementationSpecific", "backend": {"service": {"name": "corp", "port": {"number": 443}}},
            }]}}]})
        );
    }
}
