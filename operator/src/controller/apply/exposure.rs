//! The routes from outside. What goes wrong with them is said and holds up nothing else: the proxy
//! serves without them.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::{api::networking::v1::Ingress, apimachinery::pkg::apis::meta::v1::APIGroup};
use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions},
};

use super::{Applier, Error};
use crate::controller::{
    build::{self, GATEWAY_GROUP, TLS_ROUTE, TLS_ROUTES},
    identity::MANAGER,
    refusal::{Fault, Reason, truncated},
    resolve::Resolved,
};

/// The versions of a TLSRoute that are known, the best first.
const VERSIONS: [&str; 3] = ["v1", "v1alpha3", "v1alpha2"];
/// How long an answer about the Gateway API counts.
const FRESH: Duration = Duration::from_secs(30);

/// Which version of TLSRoute the cluster serves, if any.
#[derive(Debug, Default)]
pub struct GatewayApi(Mutex<Option<(Instant, Option<&'static str>)>>);

impl GatewayApi {
    async fn version(&self, client: &Client) -> kube::Result<Option<&'static str>> {
        if let Some((at, known)) = *self.0.lock().unwrap_or_else(PoisonError::into_inner)
            && at.elapsed() < FRESH
        {
            return Ok(known);
        }
        let found = discover(client).await?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), found));
        Ok(found)
    }
}

async fn discover(client: &Client) -> kube::Result<Option<&'static str>> {
    let request = http::Request::get(format!("/apis/{GATEWAY_GROUP}")).body(Vec::new());
    let request = request.map_err(kube::Error::HttpError)?;
    let group: APIGroup = match client.request(request).await {
        Ok(group) => group,
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(None),
        Err(error) => return Err(error),
    };
    for version in VERSIONS {
        if !group
            .versions
            .iter()
            .any(|served| served.version == version)
        {
            continue;
        }
        let list = client
            .list_api_group_resources(&format!("{GATEWAY_GROUP}/{version}"))
            .await?;
        if list.resources.iter().any(|kind| kind.name == TLS_ROUTES) {
            return Ok(Some(version));
        }
    }
    Ok(None)
}

impl Applier<'_> {
    /// Brings the routes about, or away; what is wrong with them.
    pub async fn exposure(&self, resolved: &Resolved, gateway: &GatewayApi) -> Option<Fault> {
        let ingress = match build::ingress(resolved) {
            Some(ingress) => self.namespaced(ingress).await.map(drop),
            None => self
                .remove::<Ingress>(&self.identity.name)
                .await
                .map(|_| ()),
        };
        let route = self.route(resolved, gateway).await;
        let ingress = ingress.map_err(|error| fault(&error));
        ingress.and(route).err()
    }

    async fn route(&self, resolved: &Resolved, gateway: &GatewayApi) -> Result<(), Fault> {
        let (namespace, name) = (&self.identity.namespace, &self.identity.name);
        let asked = resolved.exposure.gateway.is_some();
        if !asked && self.memory.is_absent_kind(TLS_ROUTE, namespace, name) {
            return Ok(());
        }
        let version = gateway.version(self.client).await;
        let version = version.map_err(|source| fault(&request("discover", name, source)))?;
        let Some(version) = version else {
            if asked {
                let message = format!("the cluster serves no {TLS_ROUTE} of {GATEWAY_GROUP}");
                return Err(Fault::new("GatewayAPINotInstalled", message));
            }
            // Without the kind there can be none that was left behind.
            self.memory.note_absence_of(TLS_ROUTE, namespace, name);
            return Ok(());
        };
        let resource = build::tls_route_resource(version);
        let api = Api::namespaced_with(self.client.clone(), namespace, &resource);
        let done = match build::tls_route(resolved, version) {
            Some(route) => self.bring_route(&api, route).await,
            None => self.take_route(&api).await,
        };
        done.map_err(|error| fault(&error))
    }

    async fn bring_route(
        &self,
        api: &Api<DynamicObject>,
        mut route: DynamicObject,
    ) -> Result<(), Error> {
        let (namespace, name) = (&self.identity.namespace, &self.identity.name);
        if let Some(current) = current_route(api, name).await? {
            if !self.identity.owns(&current.metadata) {
                return Err(Error::Foreign {
                    kind: TLS_ROUTE.to_owned(),
                    name: name.clone(),
                });
            }
            if self.memory.is_same(TLS_ROUTE, &route, &current) {
                return Ok(());
            }
            route.metadata.uid = current.uid();
        }
        self.memory.forget_absence(TLS_ROUTE, namespace, name);
        let params = PatchParams::apply(MANAGER).force();
        let applied = api
            .patch(name, &params, &Patch::Apply(&route))
            .await
            .map_err(|source| request("apply", name, source))?;
        route.metadata.uid = None;
        self.memory.take_down(TLS_ROUTE, &route, &applied);
        Ok(())
    }

    async fn take_route(&self, api: &Api<DynamicObject>) -> Result<(), Error> {
        let (namespace, name) = (&self.identity.namespace, &self.identity.name);
        let current = current_route(api, name).await?;
        let Some(current) = current.filter(|current| self.identity.owns(&current.metadata)) else {
            self.memory.note_absence_of(TLS_ROUTE, namespace, name);
            return Ok(());
        };
        delete(api, &current)
            .await
            .map_err(|source| request("delete", name, source))
    }
}

async fn current_route(
    api: &Api<DynamicObject>,
    name: &str,
) -> Result<Option<DynamicObject>, Error> {
    api.get_opt(name)
        .await
        .map_err(|source| request("get", name, source))
}

async fn delete(api: &Api<DynamicObject>, current: &DynamicObject) -> kube::Result<()> {
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: current.meta().uid.clone(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match api.delete(&current.name_any(), &params).await {
        Err(kube::Error::Api(status)) if !status.is_not_found() => Err(kube::Error::Api(status)),
        _ => Ok(()),
    }
}

fn request(verb: &'static str, name: &str, source: kube::Error) -> Error {
    Error::Request {
        verb,
        kind: TLS_ROUTE.to_owned(),
        name: name.to_owned(),
        source: Box::new(source),
    }
}

fn fault(error: &Error) -> Fault {
    let (reason, detail) = match error {
        Error::Foreign { .. } => (Reason::Conflict.as_str(), String::new()),
        Error::Request { source, .. } => match source.as_ref() {
            kube::Error::Api(status) if status.is_forbidden() => {
                ("Forbidden", format!(": {}", status.message))
            }
            kube::Error::Api(status) => ("ApplyFailed", format!(": {}", status.message)),
            _ => ("ApplyFailed", String::new()),
        },
    };
    Fault::new(reason, truncated(format!("{error}{detail}")))
}
