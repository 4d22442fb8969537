//! The names and addresses that clients may reach the proxy by.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Service;

use crate::controller::identity::Identity;

/// The names and addresses that the certificate has to carry: those of the Service, and these.
pub(super) fn names(
    identity: &Identity,
    cluster_domain: &str,
    service: &Service,
    hostnames: &[String],
) -> BTreeSet<String> {
    let Identity {
        name, namespace, ..
    } = identity;
    let mut names = BTreeSet::from([
        format!("{name}.{namespace}"),
        format!("{name}.{namespace}.svc"),
        format!("{name}.{namespace}.svc.{cluster_domain}"),
    ]);
    names.extend(hostnames.iter().cloned());
    names.extend(cluster_ips(service));
    names.extend(load_balancer_addresses(service));
    names.iter().map(|name| canonical(name)).collect()
}

/// The Service's own addresses.
pub fn cluster_ips(service: &Service) -> Vec<String> {
    let all = service
        .spec
        .as_ref()
        .and_then(|spec| spec.cluster_ips.clone());
    let real = |address: &String| !address.is_empty() && address != "None";
    all.unwrap_or_default().into_iter().filter(real).collect()
}

/// What its load balancer is reached by.
pub fn load_balancer_addresses(service: &Service) -> Vec<String> {
    let balancer = service
        .status
        .as_ref()
        .and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.and_then(|balancer| balancer.ingress.as_ref());
    ingress
        .into_iter()
        .flatten()
        .flat_map(|entry| [entry.hostname.clone(), entry.ip.clone()])
        .flatten()
        .filter(|address| !address.is_empty())
        .collect()
}

/// One spelling for each address and name, as a certificate is read back.
fn canonical(name: &str) -> String {
    match name.parse::<std::net::IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) => name.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::controller::resolve::tests::resolved;

    #[test]
    fn every_way_to_the_proxy_is_in_the_certificate() {
        let identity = resolved(json!({})).identity;
        let hostnames = ["k8s.example.com", "fd00:0::9"].map(str::to_owned);
        let service: Service = serde_json::from_value(json!({
            "spec": {"clusterIPs": ["10.0.0.7", "fd00::0007"]},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "LB.example.com", "ip": "2001:DB8::1"}]}},
        }))
        .unwrap();
        let all: Vec<String> = names(&identity, "cluster.local", &service, &hostnames)
            .into_iter()
            .collect();
        assert_eq!(
            all,
            [
                "10.0.0.7",
                "192.0.2.1",
                "2001:db8::1",
                "corp.auth",
                "corp.auth.svc",
                "corp.auth.svc.cluster.local",
                "fd00::7",
                "fd00::9",
                "k8s.example.com",
                "lb.example.com",
            ]
        );
    }

    #[test]
    fn a_headless_service_has_no_address() {
        let service: Service =
            serde_json::from_value(json!({"spec": {"clusterIPs": ["None"]}})).unwrap();
        assert!(cluster_ips(&service).is_empty());
    }
}
