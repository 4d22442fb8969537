//! Which `OidcProxy` this is, what its children are called and how they are known to be its own.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt, core::ObjectMeta};

/// The field manager and the value of `app.kubernetes.io/managed-by`.
pub const MANAGER: &str = "oidc-proxy-operator";
/// Selects everything that this operator manages.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by=oidc-proxy-operator";
const INSTANCE: &str = "app.kubernetes.io/instance";
/// On cluster-scoped children: the owner's namespace.
pub const OWNER_NAMESPACE: &str = "oidcproxy.dev/owner-namespace";
/// On cluster-scoped children: the owner's name.
pub const OWNER_NAME: &str = "oidcproxy.dev/owner-name";
/// On cluster-scoped children: the owner's UID.
pub const OWNER_UID: &str = "oidcproxy.dev/owner-uid";

/// Which `OidcProxy` this is.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its UID.
    pub uid: String,
    owner: OwnerReference,
}

impl Identity {
    /// By its metadata; nothing for an object that the API server has not stored.
    pub fn of(proxy: &impl Resource<DynamicType = ()>) -> Option<Self> {
        Some(Self {
            name: proxy.meta().name.clone()?,
            namespace: proxy.namespace()?,
            uid: proxy.uid()?,
            owner: proxy.controller_owner_ref(&())?,
        })
    }

    /// The Secret that the pods mount.
    pub fn serving_secret(&self) -> String {
        format!("{}-serving", self.name)
    }

    /// The Secret with the authority's key.
    pub fn authority_secret(&self) -> String {
        format!("{}-ca", self.name)
    }

    /// The ConfigMap with what clients trust.
    pub fn trust_config_map(&self) -> String {
        format!("{}-trust", self.name)
    }

    /// The ConfigMap with the users' kubeconfig.
    pub fn kubeconfig_config_map(&self) -> String {
        format!("{}-kubeconfig", self.name)
    }

    /// The ClusterRole and its binding.
    pub fn cluster_role(&self) -> String {
        cluster_role(&self.namespace, &self.name)
    }

    /// The Service's name within the cluster.
    pub fn service_dns(&self) -> String {
        format!("{}.{}.svc", self.name, self.namespace)
    }

    /// The labels by which the pods are selected.
    pub fn selector(&self) -> BTreeMap<String, String> {
        labels([
            ("app.kubernetes.io/name", "oidc-proxy"),
            (INSTANCE, &self.name),
        ])
    }

    /// The labels of every child.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let mut all = self.selector();
        all.extend(labels([
            ("app.kubernetes.io/component", "proxy"),
            ("app.kubernetes.io/managed-by", MANAGER),
            ("app.kubernetes.io/part-of", MANAGER),
        ]));
        all
    }

    /// The metadata of a child in the namespace.
    pub fn child(&self, name: impl Into<String>) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.into()),
            namespace: Some(self.namespace.clone()),
            labels: Some(self.labels()),
            owner_references: Some(vec![self.owner.clone()]),
            ..ObjectMeta::default()
        }
    }

    /// The metadata of a child outside the namespace, which no owner reference can reach.
    pub fn cluster_child(&self, name: impl Into<String>) -> ObjectMeta {
        let mut all = self.labels();
        // Where Argo CD tracks by this label, it would take what has no owner reference for a part of an Application of
        // that name, and prune it.
        all.remove(INSTANCE);
        all.extend(labels([
            (OWNER_NAMESPACE, &self.namespace),
            (OWNER_NAME, &self.name),
        ]));
        ObjectMeta {
            name: Some(name.into()),
            labels: Some(all),
            annotations: Some(labels([(OWNER_UID, &self.uid)])),
            ..ObjectMeta::default()
        }
    }

    /// Whether this child is ours. A cluster-scoped one may be of a former object of our name:
    /// then it is a leftover, not somebody else's.
    pub fn owns(&self, child: &ObjectMeta) -> bool {
        if child.namespace.is_some() {
            return child
                .owner_references
                .iter()
                .flatten()
                .any(|owner| owner.controller == Some(true) && owner.uid == self.uid);
        }
        let label = |key: &str| child.labels.as_ref().and_then(|labels| labels.get(key));
        label("app.kubernetes.io/managed-by").is_some_and(|value| value == MANAGER)
            && label(OWNER_NAMESPACE).is_some_and(|value| *value == self.namespace)
            && label(OWNER_NAME).is_some_and(|value| *value == self.name)
    }
}

/// The ClusterRole, and its binding, of the `OidcProxy` of this name.
pub fn cluster_role(namespace: &str, name: &str) -> String {
    format!("oidcproxy:{namespace}:{name}")
}

/// A map of strings from pairs.
pub fn labels<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}
