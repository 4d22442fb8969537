//! Fourth step: the desired objects by server-side apply. What exists under our names without
//! being ours is a conflict; what has not changed since the last time is not written again.
//!
//! What this needs, in every namespace that is honoured:
//!
//! | group | resources | verbs |
//! |---|---|---|
//! | | serviceaccounts, services, configmaps | get, list, watch, create, patch, delete |
//! | | secrets | get, list, watch, create, update, delete |
//! | apps | deployments | get, list, watch, create, patch, delete |
//! | policy | poddisruptionbudgets | get, list, watch, create, patch, delete |
//! | autoscaling | horizontalpodautoscalers | get, list, watch, create, patch, delete |
//! | networking.k8s.io | networkpolicies, ingresses | get, list, watch, create, patch, delete |
//! | gateway.networking.k8s.io | tlsroutes | get, create, patch, delete |
//! | monitoring.coreos.com | podmonitors | get, create, patch, delete |
//! | rbac.authorization.k8s.io | roles, rolebindings | get, list, watch, create, patch, delete |
//! | discovery.k8s.io | endpointslices | get, list, watch |
//!
//! in the whole cluster `clusterroles` and `clusterrolebindings` (get, list, watch, create,
//! patch, delete), `oidcproxies` (get, list, watch, patch) with `status` (get, update, patch),
//! `events` of events.k8s.io (create, patch), and everything that a proxy is granted: the API
//! server lets nobody grant what they do not hold.

mod edited;
mod exposure;
mod memory;
mod optional;
mod replicas;
mod turn;

use std::{fmt::Debug, marker::PhantomData};

use k8s_openapi::api::{
    autoscaling::v2::HorizontalPodAutoscaler, core::v1::ConfigMap, networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
    core::{ClusterResourceScope, NamespaceResourceScope},
};
use serde::{Serialize, de::DeserializeOwned};

use self::edited::is_edited;
pub use self::{
    memory::{Memories, Memory},
    optional::Optional,
    turn::Turns,
};
use super::{
    build::{Applied, Foundation, Prepared, Workload},
    identity::{Identity, MANAGER},
};

/// Why an object is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It exists and is not ours.
    #[error("{kind} {name} exists and belongs to somebody else")]
    Foreign {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
    },
    /// A request failed.
    #[error("cannot {verb} {kind} {name}")]
    Request {
        /// What was tried.
        verb: &'static str,
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// How it failed.
        #[source]
        source: Box<kube::Error>,
    },
}

impl Error {
    /// A failed request for this object.
    pub fn request<K: Resource<DynamicType = ()>>(
        verb: &'static str,
        name: &str,
        source: kube::Error,
    ) -> Self {
        Self::Request {
            verb,
            kind: K::kind(&()).into_owned(),
            name: name.to_owned(),
            source: Box::new(source),
        }
    }

    /// The kind of the object.
    pub fn kind(&self) -> &str {
        match self {
            Self::Foreign { kind, .. } | Self::Request { kind, .. } => kind,
        }
    }
}

/// What can be applied.
pub trait Object:
    Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned
{
}

impl<K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned> Object for K {}

/// Applies the children of one `OidcProxy`.
#[derive(Clone, Copy)]
pub struct Applier<'a> {
    /// To the API server.
    pub client: &'a Client,
    /// Whose children.
    pub identity: &'a Identity,
    /// What was applied before.
    pub memory: &'a Memory,
    /// Whose new image is under way.
    pub turns: &'a Turns,
}

/// The workload as applied, and which parts had been edited by somebody else.
pub struct Outcome {
    /// The objects.
    pub workload: Workload<Applied>,
    /// The kubeconfig or the trust bundle said something else than what was put there.
    pub reverted: Vec<String>,
    /// The Deployment is left as it was: another one's new image is under way.
    pub waits: bool,
}

impl Applier<'_> {
    /// Applies the foundation: first the account and its rights, then the way out and in, unless
    /// what there is of these stays.
    pub async fn foundation(
        &self,
        prepared: Foundation<Prepared>,
        keeps_ways: bool,
    ) -> Result<Foundation<Applied>, Error> {
        // No `..`: an object that is never applied does not compile.
        let Foundation {
            service_account,
            cluster_role,
            cluster_role_binding,
            role,
            role_binding,
            network_policy,
            service,
            stage: PhantomData,
        } = prepared;
        Ok(Foundation {
            service_account: self.namespaced(service_account).await?,
            cluster_role: self.cluster(cluster_role).await?,
            cluster_role_binding: self.cluster(cluster_role_binding).await?,
            role: self.namespaced(role).await?,
            role_binding: self.namespaced(role_binding).await?,
            network_policy: match (network_policy, keeps_ways) {
                (Some(policy), true) => Some(Box::pin(self.kept(policy)).await?),
                (Some(policy), false) => Some(self.namespaced(policy).await?),
                (None, true) => self.own(&self.identity.name).await?,
                (None, false) => self.remove::<NetworkPolicy>(&self.identity.name).await?,
            },
            service: if keeps_ways {
                Box::pin(self.kept(service)).await?
            } else {
                self.namespaced(service).await?
            },
            stage: PhantomData,
        })
    }

    /// Applies the workload: the pods last, when all that they mount is there; where an autoscaler
    /// is to count them, it begins with `least`.
    pub async fn workload(
        &self,
        prepared: Workload<Prepared>,
        least: i32,
    ) -> Result<Outcome, Error> {
        let Workload {
            trust,
            kubeconfig,
            pod_disruption_budget,
            horizontal_pod_autoscaler,
            deployment,
            stage: PhantomData,
        } = prepared;
        let mut reverted = Vec::new();
        let mut waits = false;
        for map in trust.iter().chain(&kubeconfig) {
            if self.is_edited(map).await? {
                reverted.push(map.name_any());
            }
        }
        let workload = Workload {
            trust: match trust {
                Some(trust) => Some(self.namespaced(trust).await?),
                None => {
                    self.remove::<ConfigMap>(&self.identity.trust_config_map())
                        .await?
                }
            },
            // What users log in with stays until something can take its place.
            kubeconfig: match kubeconfig {
                Some(kubeconfig) => Some(self.namespaced(kubeconfig).await?),
                None => None,
            },
            pod_disruption_budget: match pod_disruption_budget {
                Some(budget) => Some(self.namespaced(budget).await?),
                None => {
                    self.remove::<PodDisruptionBudget>(&self.identity.name)
                        .await?
                }
            },
            deployment: self.deployment(deployment, least, &mut waits).await?,
            horizontal_pod_autoscaler: match horizontal_pod_autoscaler {
                Some(scaler) => Some(self.namespaced(scaler).await?),
                None => {
                    self.remove::<HorizontalPodAutoscaler>(&self.identity.name)
                        .await?
                }
            },
            stage: PhantomData,
        };
        Ok(Outcome {
            workload,
            reverted,
            waits,
        })
    }

    /// Removes a child of the namespace that the spec no longer asks for.
    async fn remove<K>(&self, name: &str) -> Result<Option<K>, Error>
    where
        K: Object + Resource<Scope = NamespaceResourceScope>,
    {
        let namespace = &self.identity.namespace;
        if !self.memory.is_absent::<K>(namespace, name) {
            let api = self.api::<K>();
            if delete_own(&api, self.identity, name).await? {
                self.memory.note_absence::<K>(namespace, name);
            }
        }
        Ok(None)
    }

    fn api<K: Object + Resource<Scope = NamespaceResourceScope>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.identity.namespace)
    }

    async fn namespaced<K>(&self, object: K) -> Result<K, Error>
    where
        K: Object + Resource<Scope = NamespaceResourceScope>,
    {
        Box::pin(self.apply(&self.api(), object)).await
    }

    /// Ours of this name, if there is one.
    async fn own<K>(&self, name: &str) -> Result<Option<K>, Error>
    where
        K: Object + Resource<Scope = NamespaceResourceScope>,
    {
        let found = get(&self.api::<K>(), name).await?;
        Ok(found.filter(|object| self.identity.owns(object.meta())))
    }

    /// Ours as it is; this one where there is none.
    async fn kept<K>(&self, object: K) -> Result<K, Error>
    where
        K: Object + Resource<Scope = NamespaceResourceScope>,
    {
        match self.own(&object.name_any()).await? {
            Some(current) => Ok(current),
            None => self.namespaced(object).await,
        }
    }

    async fn cluster<K>(&self, object: K) -> Result<K, Error>
    where
        K: Object + Resource<Scope = ClusterResourceScope>,
    {
        Box::pin(self.apply(&Api::all(self.client.clone()), object)).await
    }

    async fn apply<K: Object>(&self, api: &Api<K>, object: K) -> Result<K, Error> {
        let current = get(api, &object.name_any()).await?;
        Box::pin(self.apply_over(api, object, current)).await
    }

    /// Applies an object where this one, if any, is now.
    async fn apply_over<K: Object>(
        &self,
        api: &Api<K>,
        mut object: K,
        current: Option<K>,
    ) -> Result<K, Error> {
        let name = object.name_any();
        if let Some(current) = current {
            if !self.identity.owns(current.meta()) {
                return Err(foreign::<K>(&name));
            }
            if self.memory.is_current(&object, &current) {
                return Ok(current);
            }
            if is_rebound(&object, &current) {
                delete(api, &current).await?;
            } else {
                // What was looked at is what is written, not a successor of the same name.
                object.meta_mut().uid = current.uid();
            }
        }
        let namespace = object.namespace().unwrap_or_default();
        self.memory.forget_absence(&K::kind(&()), &namespace, &name);
        let params = PatchParams::apply(MANAGER).force();
        let applied = api
            .patch(&name, &params, &Patch::Apply(&object))
            .await
            .map_err(|source| Error::request::<K>("apply", &name, source))?;
        object.meta_mut().uid = None;
        self.memory.remember(&object, &applied);
        Ok(applied)
    }

    /// Whether somebody else has changed what we had put into this ConfigMap.
    async fn is_edited(&self, desired: &ConfigMap) -> Result<bool, Error> {
        let name = desired.name_any();
        let api: Api<ConfigMap> = self.api();
        let Some(current) = get(&api, &name).await? else {
            return Ok(false);
        };
        Ok(self.identity.owns(&current.metadata) && is_edited(&current, desired))
    }
}

/// Deletes this object if it is there and ours; whether it was not.
pub async fn delete_own<K: Object>(
    api: &Api<K>,
    identity: &Identity,
    name: &str,
) -> Result<bool, Error> {
    let Some(current) = get(api, name).await? else {
        return Ok(true);
    };
    if !identity.owns(current.meta()) {
        return Ok(true);
    }
    delete(api, &current).await?;
    Ok(false)
}

/// Deletes this very object.
async fn delete<K: Object>(api: &Api<K>, current: &K) -> Result<(), Error> {
    let name = current.name_any();
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: current.uid(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match api.delete(&name, &params).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(source) => Err(Error::request::<K>("delete", &name, source)),
    }
}

/// Whether this binding leads to another role than it should: that cannot be changed, only
/// deleted and made anew.
fn is_rebound<K: Serialize>(desired: &K, current: &K) -> bool {
    let role = |object: &K| serde_json::to_value(object).ok()?.get("roleRef").cloned();
    role(desired) != role(current)
}

/// The object, if it is there.
pub async fn get<K: Object>(api: &Api<K>, name: &str) -> Result<Option<K>, Error> {
    api.get_opt(name)
        .await
        .map_err(|source| Error::request::<K>("get", name, source))
}

/// An object of this name is not ours.
pub fn foreign<K: Resource<DynamicType = ()>>(name: &str) -> Error {
    Error::Foreign {
        kind: K::kind(&()).into_owned(),
        name: name.to_owned(),
    }
}
