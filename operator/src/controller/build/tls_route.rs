//! A way in through a Gateway that passes TLS through. Its kind has moved through versions of the
//! Gateway API without these fields changing, so the version is the cluster's.

use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};

use crate::controller::resolve::Resolved;

/// The Gateway API's group.
pub const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";
/// The kind.
pub const TLS_ROUTE: &str = "TLSRoute";
/// Its name in URLs.
pub const TLS_ROUTES: &str = "tlsroutes";

/// The kind in this version.
pub fn tls_route_resource(version: &str) -> ApiResource {
    let kind = GroupVersionKind::gvk(GATEWAY_GROUP, version, TLS_ROUTE);
    ApiResource::from_gvk_with_plural(&kind, TLS_ROUTES)
}

/// The route, if it is asked for.
pub fn tls_route(resolved: &Resolved, version: &str) -> Option<DynamicObject> {
    let given = resolved.exposure.gateway.as_ref()?;
    let identity = &resolved.identity;
    let parents: Vec<Value> = given
        .parent_refs
        .iter()
        .map(|parent| {
            let mut reference =
                json!({"group": GATEWAY_GROUP, "kind": "Gateway", "name": parent.name});
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
    let mut route = DynamicObject::new(&identity.name, &tls_route_resource(version))
        .data(json!({ "spec": spec }));
    route.metadata = identity.child(&identity.name);
    Some(route)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::resolve::tests::resolved;

    #[test]
    fn names_lead_from_gateways_to_the_service() {
        assert!(tls_route(&resolved(json!({})), "v1").is_none());
        let spec = json!({
            "serving": {"hostnames": ["fd00::1", "k8s.example.com"]},
            "service": {"port": 8443},
            "exposure": {"gateway": {"parentRefs": [
                {"name": "outside", "namespace": "gateways", "sectionName": "tls"}, {"name": "inside"},
            ]}},
        });
        let route = serde_json::to_value(tls_route(&resolved(spec), "v1alpha2")).unwrap();
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
