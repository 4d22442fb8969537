//! Fifth step: what has come of it. What the pods say of themselves, and whether the Service
//! answers with a certificate that clients will accept.

pub mod handshake;
pub mod pods;
pub mod probe;

use std::net::IpAddr;

use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kube::{Api, Client, api::ListParams};

use super::{
    apply::{self, Error},
    build::Surroundings,
};

/// Where the API server publishes itself.
pub(super) const API_NAMESPACE: &str = "default";
pub(super) const API_SERVICE: &str = "kubernetes";

/// What a Service's slices carry its name in.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Usual ports of API servers, for operators that may not read the endpoints.
const USUAL_API_PORTS: [i32; 2] = [443, 6443];

/// What the cluster is like.
pub async fn surroundings(client: &Client) -> Result<Surroundings, Error> {
    match read_surroundings(client).await {
        Ok(surroundings) => Ok(surroundings),
        Err(Error::Request { source, .. }) if is_forbidden(&source) => {
            tracing::warn!(
                "the API server's endpoints may not be read: NetworkPolicies name its usual ports"
            );
            Ok(Surroundings {
                api_ports: USUAL_API_PORTS.into(),
                ..Surroundings::default()
            })
        }
        Err(error) => Err(error),
    }
}

fn is_forbidden(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_forbidden())
}

async fn read_surroundings(client: &Client) -> Result<Surroundings, Error> {
    let services: Api<Service> = Api::namespaced(client.clone(), API_NAMESPACE);
    let service = apply::get(&services, API_SERVICE).await?;
    let slices = slices(client, API_NAMESPACE, API_SERVICE).await?;
    Ok(surroundings_of(service.unwrap_or_default(), &slices))
}

/// A network plugin may look at packets before or after the Service's address is replaced.
fn surroundings_of(service: Service, slices: &[EndpointSlice]) -> Surroundings {
    let mut found = Surroundings::default();
    let mut add = |ports: &[i32], addresses: &[String]| {
        found.api_ports.extend(ports);
        for port in ports.iter().filter(|_| !addresses.is_empty()) {
            let addresses = addresses.iter().filter_map(|text| text.parse().ok());
            let known = found.api_endpoints.entry(*port).or_default();
            known.extend(addresses.collect::<Vec<IpAddr>>());
        }
    };
    let spec = service.spec.unwrap_or_default();
    let ports: Vec<i32> = spec.ports.iter().flatten().map(|port| port.port).collect();
    add(&ports, &spec.cluster_ips.unwrap_or_default());
    for slice in slices {
        let ports: Vec<i32> = slice
            .ports
            .iter()
            .flatten()
            .filter_map(|port| port.port)
            .collect();
        let addresses = slice.endpoints.iter().flat_map(|found| &found.addresses);
        add(&ports, &addresses.cloned().collect::<Vec<_>>());
    }
    if slices.iter().all(|slice| slice.endpoints.is_empty()) {
        // The Service's address alone is not where packets end.
        found.api_endpoints.clear();
    }
    if found.api_ports.is_empty() {
        found.api_ports.extend(USUAL_API_PORTS);
    }
    found
}

/// The slices of a Service.
pub async fn slices(
    client: &Client,
    namespace: &str,
    service: &str,
) -> Result<Vec<EndpointSlice>, Error> {
    let api: Api<EndpointSlice> = Api::namespaced(client.clone(), namespace);
    let params = ListParams::default().labels(&format!("{SERVICE_NAME}={service}"));
    let list = api
        .list(&params)
        .await
        .map_err(|source| Error::request::<EndpointSlice>("list", service, source))?;
    Ok(list.items)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_api_server_is_where_its_service_and_its_endpoints_are() {
        let service =
            json!({"spec": {"clusterIPs": ["10.96.0.1", "fd00::1"], "ports": [{"port": 443}]}});
        let service: Service = serde_json::from_value(service).unwrap();
        let slices = json!([{"addressType": "IPv4", "ports": [{"port": 6443}], "endpoints": [
            {"addresses": ["192.0.2.1"]}, {"addresses": ["192.0.2.2"], "conditions": {"ready": false}},
        ]}]);
        let slices: Vec<EndpointSlice> = serde_json::from_value(slices).unwrap();
        let found = surroundings_of(service.clone(), &slices);
        assert_eq!(found.api_ports, [443, 6443].into());
        let addresses = |port: i32| -> Vec<String> {
            let all = found.api_endpoints[&port].iter();
            all.map(ToString::to_string).collect()
        };
        assert_eq!(addresses(443), ["10.96.0.1", "fd00::1"]);
        assert_eq!(addresses(6443), ["192.0.2.1", "192.0.2.2"]);

        let unknown = surroundings_of(service, &[]);
        assert!(unknown.api_endpoints.is_empty());
        assert_eq!(unknown.api_ports, [443].into());
        let nothing = surroundings_of(Service::default(), &[]);
        assert_eq!(nothing.api_ports, USUAL_API_PORTS.into());
    }
}
