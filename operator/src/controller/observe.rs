//! Fifth step: what has come of it. What the pods say of themselves, and whether the Service
//! answers with a certificate that clients will accept.

pub mod handshake;
pub mod pods;
pub mod probe;

use std::collections::BTreeSet;

use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kube::{Api, Client, api::ListParams};

use super::{
    apply::{self, Error},
    build::Surroundings,
};

/// Where the API server publishes itself.
const API_NAMESPACE: &str = "default";
const API_SERVICE: &str = "kubernetes";

/// What a Service's slices carry its name in.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Usual ports of API servers, for operators that may not read the endpoints.
const USUAL_API_PORTS: [i32; 2] = [443, 6443];

/// What the cluster is like.
pub async fn surroundings(client: &Client) -> Result<Surroundings, Error> {
    match api_ports(client).await {
        Ok(api_ports) => Ok(Surroundings { api_ports }),
        Err(Error::Request { source, .. }) if is_forbidden(&source) => {
            tracing::warn!(
                "the API server's endpoints may not be read: NetworkPolicies name its usual ports"
            );
            Ok(Surroundings {
                api_ports: USUAL_API_PORTS.into(),
            })
        }
        Err(error) => Err(error),
    }
}

fn is_forbidden(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_forbidden())
}

async fn api_ports(client: &Client) -> Result<BTreeSet<i32>, Error> {
    let mut ports = BTreeSet::new();
    let services: Api<Service> = Api::namespaced(client.clone(), API_NAMESPACE);
    if let Some(service) = apply::get(&services, API_SERVICE).await? {
        let all = service.spec.and_then(|spec| spec.ports).unwrap_or_default();
        ports.extend(all.iter().map(|port| port.port));
    }
    for slice in slices(client, API_NAMESPACE, API_SERVICE).await? {
        ports.extend(slice.ports.iter().flatten().filter_map(|port| port.port));
    }
    if ports.is_empty() {
        ports.extend(USUAL_API_PORTS);
    }
    Ok(ports)
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
