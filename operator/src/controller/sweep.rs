//! What was left behind: each ClusterRole and binding whose `OidcProxy` is gone without its
//! finalizer having been looked at, as after somebody has taken it off by hand.

use std::time::Duration;

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{DeleteParams, ListParams, Preconditions},
    core::{ClusterResourceScope, PartialObjectMeta},
};
use oidcproxy_crds::OidcProxy;

use super::{
    apply::{Error, Object},
    identity::{MANAGED_BY, OWNER_NAME, OWNER_NAMESPACE, OWNER_UID, cluster_role},
};

/// Between sweeps of the whole cluster.
const PAUSE: Duration = Duration::from_hours(1);

/// As many of what stays are named in the log.
const NAMED: usize = 10;

/// What a sweep has come to.
#[derive(Debug, Default)]
pub struct Report {
    /// As many objects were removed.
    pub removed: usize,
    /// What could not be looked at or removed, and why.
    pub failed: Vec<Error>,
}

impl Report {
    fn note(&mut self, result: Result<bool, Error>) {
        match result {
            Ok(removed) => self.removed += usize::from(removed),
            Err(error) => self.failed.push(error),
        }
    }

    /// One line, however many objects may not be removed: that is so again an hour later.
    fn tell(&self) {
        let Some(first) = self.failed.first() else {
            return;
        };
        let named = self.failed.iter().take(NAMED);
        let named: Vec<String> = named.map(ToString::to_string).collect();
        let error: &dyn std::error::Error = first;
        let count = self.failed.len();
        tracing::warn!(error, count, "not swept: {}", named.join(", "));
    }
}

/// Sweeps now and then, for ever.
pub async fn run(client: &Client) {
    loop {
        all(client).await.tell();
        tokio::time::sleep(PAUSE).await;
    }
}

/// Removes what is left of any. What cannot be looked at or removed keeps nothing else from going.
pub async fn all(client: &Client) -> Report {
    let mut report = Report::default();
    all_of::<ClusterRoleBinding>(client, &mut report).await;
    all_of::<ClusterRole>(client, &mut report).await;
    report
}

/// Removes what is left of this one.
pub async fn one(client: &Client, namespace: &str, name: &str) {
    let child = cluster_role(namespace, name);
    let mut report = Report::default();
    one_of::<ClusterRoleBinding>(client, &child, &mut report).await;
    one_of::<ClusterRole>(client, &child, &mut report).await;
    report.tell();
}

async fn all_of<K>(client: &Client, report: &mut Report)
where
    K: Object + Resource<Scope = ClusterResourceScope>,
{
    let api: Api<K> = Api::all(client.clone());
    let managed = ListParams::default().labels(MANAGED_BY);
    match api.list_metadata(&managed).await {
        Ok(list) => {
            for child in list.items {
                report.note(look_at(client, &api, &child).await);
            }
        }
        Err(source) => report.note(Err(Error::request::<K>("list", "", source))),
    }
}

async fn one_of<K>(client: &Client, name: &str, report: &mut Report)
where
    K: Object + Resource<Scope = ClusterResourceScope>,
{
    let api: Api<K> = Api::all(client.clone());
    match api.get_metadata_opt(name).await {
        Ok(None) => {}
        Ok(Some(child)) => report.note(look_at(client, &api, &child).await),
        Err(source) => report.note(Err(Error::request::<K>("get", name, source))),
    }
}

/// Removes this one if it is ours and its owner, by its UID, is gone; whether it did.
async fn look_at<K: Object>(
    client: &Client,
    api: &Api<K>,
    child: &PartialObjectMeta<K>,
) -> Result<bool, Error> {
    let label = |key: &str| child.labels().get(key);
    let is_managed = MANAGED_BY
        .split_once('=')
        .is_some_and(|(key, value)| label(key).is_some_and(|found| found == value));
    let owner = (
        label(OWNER_NAMESPACE),
        label(OWNER_NAME),
        child.annotations().get(OWNER_UID),
    );
    let (true, (Some(namespace), Some(name), Some(uid))) = (is_managed, owner) else {
        return Ok(false);
    };
    // By its metadata: an owner that cannot be read is one all the same.
    let owners: Api<OidcProxy> = Api::namespaced(client.clone(), namespace);
    let owner = owners
        .get_metadata_opt(name)
        .await
        .map_err(|source| Error::request::<OidcProxy>("get", name, source))?;
    if owner.and_then(|owner| owner.uid()).as_ref() == Some(uid) {
        return Ok(false);
    }
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: child.uid(),
            resource_version: child.resource_version(),
        }),
        ..DeleteParams::default()
    };
    let child = child.name_any();
    match api.delete(&child, &params).await {
        Ok(_) => {
            tracing::info!(kind = %K::kind(&()), child, "removed: its OidcProxy is gone");
            Ok(true)
        }
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(false),
        Err(source) => Err(Error::request::<K>("delete", &child, source)),
    }
}
