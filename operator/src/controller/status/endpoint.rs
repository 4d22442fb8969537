//! Where users reach the proxy.

use k8s_openapi::api::core::v1::Service;

use crate::controller::{
    build::{in_cluster_url, url},
    certificates::load_balancer_addresses,
    resolve::Resolved,
};

/// What the spec says, else the first hostname, else the load balancer, else the Service's name.
pub fn endpoint(resolved: &Resolved, service: &Service) -> String {
    if let Some(url) = &resolved.external_url {
        return url.clone();
    }
    let balancer = load_balancer_addresses(service);
    let outside = resolved.hostnames.first().or_else(|| balancer.first());
    outside.map_or_else(|| in_cluster_url(resolved), |host| url(host, resolved.port))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::controller::resolve::tests::resolved;

    fn of(spec: Value, addresses: &Value) -> String {
        let service = json!({"status": {"loadBalancer": {"ingress": addresses}}});
        endpoint(&resolved(spec), &serde_json::from_value(service).unwrap())
    }

    #[test]
    fn the_first_that_is_there() {
        let balancer = json!([{"ip": "192.0.2.1"}]);
        let hostnames = json!({"hostnames": ["k8s.example.com", "b"]});
        let external = json!({"hostnames": ["a"], "externalURL": "https://x/y"});
        assert_eq!(of(json!({"serving": external}), &balancer), "https://x/y");
        assert_eq!(
            of(
                json!({"serving": hostnames, "service": {"port": 8443}}),
                &balancer
            ),
            "https://k8s.example.com:8443"
        );
        assert_eq!(of(json!({}), &balancer), "https://192.0.2.1");
        assert_eq!(of(json!({}), &json!([])), "https://corp.auth.svc");
        let v6 = json!({"serving": {"hostnames": ["fd00::1"]}});
        assert_eq!(of(v6, &json!([])), "https://[fd00::1]");
    }
}
