//! What is beside the proxies: the routes from outside, and who reads their metrics. What goes wrong
//! with them is said and holds up nothing else: the proxy serves without them.

use k8s_openapi::api::networking::v1::Ingress;

use super::{Applier, Optional, optional::fault};
use crate::controller::{build, refusal::Fault, resolve::Resolved};

impl Applier<'_> {
    /// Brings the routes about, or away; what is wrong with them.
    pub async fn exposure(&self, resolved: &Resolved, optional: &Optional) -> Option<Fault> {
        let ingress = match build::ingress(resolved) {
            Some(ingress) => self.namespaced(ingress).await.map(drop),
            None => self
                .remove::<Ingress>(&self.identity.name)
                .await
                .map(|_| ()),
        };
        let route = self.optional(&optional.tls_route, build::tls_route(resolved));
        let route = route
            .await
            .map_err(|error| error.fault("GatewayAPINotInstalled"));
        let ingress = ingress.map_err(|error| fault(&error));
        ingress.and(route).err()
    }

    /// Brings the PodMonitor about, or away; what is wrong with it.
    pub async fn pod_monitor(&self, resolved: &Resolved, optional: &Optional) -> Option<Fault> {
        let monitor = self.optional(&optional.pod_monitor, build::pod_monitor(resolved));
        let done = monitor.await;
        done.map_err(|error| error.fault("PrometheusOperatorNotInstalled"))
            .err()
    }
}
