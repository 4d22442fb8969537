//! Kinds that a cluster may lack: their version is the cluster's, and their absence is said and
//! holds up nothing.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIGroup;
use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions},
    core::GroupVersionKind,
};

use super::{Applier, Error};
use crate::controller::{
    identity::MANAGER,
    refusal::{Fault, Reason, truncated},
};

/// How long an answer about what the cluster serves counts.
const FRESH: Duration = Duration::from_secs(30);

/// A kind, and what is known of it.
#[derive(Debug)]
pub struct OptionalKind {
    group: &'static str,
    kind: &'static str,
    /// Its name in URLs.
    plural: &'static str,
    /// The versions that are known, the best first.
    versions: &'static [&'static str],
    served: Mutex<Option<(Instant, Option<&'static str>)>>,
}

/// The kinds that a cluster may lack.
#[derive(Debug)]
pub struct Optional {
    /// Of the Gateway API.
    pub tls_route: OptionalKind,
    /// Of the Prometheus operator.
    pub pod_monitor: OptionalKind,
}

impl Default for Optional {
    fn default() -> Self {
        Self {
            tls_route: OptionalKind {
                group: "gateway.networking.k8s.io",
                kind: "TLSRoute",
                plural: "tlsroutes",
                versions: &["v1", "v1alpha3", "v1alpha2"],
                served: Mutex::default(),
            },
            pod_monitor: OptionalKind {
                group: "monitoring.coreos.com",
                kind: "PodMonitor",
                plural: "podmonitors",
                versions: &["v1"],
                served: Mutex::default(),
            },
        }
    }
}

/// Why an object of such a kind is not as it should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum OptionalError {
    #[error("the cluster serves no {kind} of {group}")]
    Missing {
        kind: &'static str,
        group: &'static str,
    },
    #[error(transparent)]
    Apply(#[from] Error),
}

impl OptionalError {
    /// As a condition says it; `missing` is the reason where the kind is not there.
    pub(super) fn fault(&self, missing: &'static str) -> Fault {
        match self {
            Self::Missing { .. } => Fault::new(missing, self.to_string()),
            Self::Apply(error) => fault(error),
        }
    }
}

impl OptionalKind {
    async fn version(&self, client: &Client) -> kube::Result<Option<&'static str>> {
        if let Some((at, known)) = *self.served.lock().unwrap_or_else(PoisonError::into_inner)
            && at.elapsed() < FRESH
        {
            return Ok(known);
        }
        let found = self.discover(client).await?;
        *self.served.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), found));
        Ok(found)
    }

    async fn discover(&self, client: &Client) -> kube::Result<Option<&'static str>> {
        let group = self.group;
        let request = http::Request::get(format!("/apis/{group}")).body(Vec::new());
        let request = request.map_err(kube::Error::HttpError)?;
        let served: APIGroup = match client.request(request).await {
            Ok(group) => group,
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(None),
            Err(error) => return Err(error),
        };
        for version in self.versions {
            let mut all = served.versions.iter();
            if !all.any(|served| served.version == *version) {
                continue;
            }
            let list = client
                .list_api_group_resources(&format!("{group}/{version}"))
                .await?;
            if list.resources.iter().any(|kind| kind.name == self.plural) {
                return Ok(Some(version));
            }
        }
        Ok(None)
    }

    fn request(&self, verb: &'static str, name: &str, source: kube::Error) -> Error {
        Error::Request {
            verb,
            kind: self.kind.to_owned(),
            name: name.to_owned(),
            source: Box::new(source),
        }
    }
}

impl Applier<'_> {
    /// Brings the object that is desired about, as it is in the version that the cluster serves; or
    /// takes it away.
    pub(super) async fn optional(
        &self,
        of: &OptionalKind,
        desired: Option<impl FnOnce(&ApiResource) -> DynamicObject>,
    ) -> Result<(), OptionalError> {
        let (namespace, name) = (&self.identity.namespace, &self.identity.name);
        if desired.is_none() && self.memory.is_absent_kind(of.kind, namespace, name) {
            return Ok(());
        }
        let version = of.version(self.client).await;
        let version = version.map_err(|source| of.request("discover", name, source))?;
        let Some(version) = version else {
            let (kind, group) = (of.kind, of.group);
            if desired.is_some() {
                return Err(OptionalError::Missing { kind, group });
            }
            // Without the kind there can be none that was left behind.
            self.memory.note_absence_of(kind, namespace, name);
            return Ok(());
        };
        let kind = GroupVersionKind::gvk(of.group, version, of.kind);
        let resource = ApiResource::from_gvk_with_plural(&kind, of.plural);
        let api = Api::namespaced_with(self.client.clone(), namespace, &resource);
        match desired {
            Some(desired) => self.bring(of, &api, desired(&resource)).await?,
            None => self.take(of, &api).await?,
        }
        Ok(())
    }

    async fn bring(
        &self,
        of: &OptionalKind,
        api: &Api<DynamicObject>,
        mut desired: DynamicObject,
    ) -> Result<(), Error> {
        let (namespace, name) = (&self.identity.namespace, &self.identity.name);
        let current = api.get_opt(name).await;
        if let Some(current) = current.map_err(|source| of.request("get", name, source))? {
            if !self.identity.owns(&current.metadata) {
                return Err(Error::Foreign {
                    kind: of.kind.to_owned(),
                    name: name.clone(),
                });
            }
            if self.memory.is_same(of.kind, &desired, &current) {
                return Ok(());
            }
            desired.metadata.uid = current.uid();
        }
        self.memory.forget_absence(of.kind, namespace, name);
        let params = PatchParams::apply(MANAGER).force();
        let applied = api
            .patch(name, &params, &Patch::Apply(&desired))
            .await
            .map_err(|source| of.request("apply", name, source))?;
        desired.metadata.uid = None;
        self.memory.take_down(of.kind, &desired, &applied);
        Ok(())
    }

    async fn take(&self, of: &OptionalKind, api: &Api<DynamicObject>) -> Result<(), Error> {
        let (namespace, name) = (&self.identity.namespace, &self.identity.name);
        let current = api.get_opt(name).await;
        let current = current.map_err(|source| of.request("get", name, source))?;
        let Some(current) = current.filter(|current| self.identity.owns(&current.metadata)) else {
            self.memory.note_absence_of(of.kind, namespace, name);
            return Ok(());
        };
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: current.meta().uid.clone(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        match api.delete(name, &params).await {
            Err(kube::Error::Api(status)) if !status.is_not_found() => {
                Err(of.request("delete", name, kube::Error::Api(status)))
            }
            _ => Ok(()),
        }
    }
}

/// As a condition says it.
pub(super) fn fault(error: &Error) -> Fault {
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
