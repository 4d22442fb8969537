//! A way in through a Gateway that passes TLS through. Its kind has moved through versions of the
//! Gateway API without these fields changing, so the version is the cluster's.

use kube::core::{ApiResource, DynamicObject};
use serde_json::{Value, json};

use crate::controller::resolve::Resolved;

/// The group of Gateways.
const GATEWAY: &str = "gateway.networking.k8s.io";

/// The route, if it is asked for.
pub fn tls_route(
    resolved: &Resolved,
) -> Option<impl FnOnce(&ApiResource) -> DynamicObject + use<'_>> {
    let given = resolved.exposure.gateway.as_ref()?;
    let identity = &resolved.identity;
    let parents: Vec<Value> = given
        .parent_refs
        .iter()
        .map(|parent| {
            let mut reference = json!({"group": GATEWAY, "kind": "Gateway", "name": parent.name});
            for (key, value) in [
                ("namespace", &parent.namespace),
                ("sectionName", &parent.section_name),
            ] {
                if let (Some(value), Some(map)) = (value, reference.as_object_mut()) {
                    map.insert(key.to_owned(), json!(value));
                }
            }
            reference
        })
        .collect();
    let spec = json!({
        "parentRefs": parents,
        "hostnames": resolved.dns_hostnames(),
        "rules": [{"backendRefs": [{"group": "", "kind": "Service", "name": identity.name, "port": resolved.port}]}],
    });
    Some(move |resource: &ApiResource| {
        let mut route = DynamicObject::new(&identity.name, resource).data(json!({ "spec": spec }));
        route.metadata = identity.child(&identity.name);
        route
    })
}

#[cfg(test)]
mod tests {
    use kube::core::GroupVersionKind;

    use super::*;
    use crate::controller::resolve::tests::resolved;

    #[test]
    fn names_lead_from_gateways_to_the_service() {
        assert!(tls_route(&resolved(json!({}))).is_none());
        let spec = json!({
            "serving": {"hostnames": ["fd00::1", "k8s.example.com"]},
            "service": {"port": 8443},
            "exposure": {"gateway": {"parentRefs": [
                {"name": "outside", "namespace": "gateways", "sectionName": "tls"}, {"name": "inside"},
            ]}},
        });
        let resolved = resolved(spec);
        let kind = GroupVersionKind::gvk(GATEWAY, "v1alpha2", "TLSRoute");
        let resource = ApiResource::from_gvk_with_plural(&kind, "tlsroutes");
        let route = tls_route(&resolved).unwrap()(&resource);
        let route = serde_json::to_value(route).unwrap();
        assert_eq!(route["apiVersion"], "gateway.networking.k8s.io/v1alpha2");
        assert_eq!(route["kind"], "TLSRoute");
        assert_eq!(route["metadata"]["ownerReferences"][0]["uid"], "uid-1");
        let gateway = |more: Value| {
            let mut all = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway"});
            all.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            all
        };
        assert_eq!(
            route["spec"],
            json!({
                "parentRefs": [
                    gateway(json!({"name": "outside", "namespace": "gateways", "sectionName": "tls"})),
                    gateway(json!({"name": "inside"})),
                ],
                "hostnames": ["k8s.example.com"],
                "rules": [{"backendRefs": [{"group": "", "kind": "Service", "name": "corp", "port": 8443}]}],
            })
        );
    }
}
