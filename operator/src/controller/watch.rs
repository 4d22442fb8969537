//! What sets a pass off: the objects themselves, everything made from them and everything that
//! they refer to. Children are watched by their metadata alone; Secrets never reach this memory.

use std::{collections::BTreeSet, fmt::Debug, future::pending, sync::Arc, time::Duration};

use futures::StreamExt as _;
use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{ConfigMap, Secret, Service, ServiceAccount},
    discovery::v1::EndpointSlice,
    networking::v1::{Ingress, NetworkPolicy},
    policy::v1::PodDisruptionBudget,
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    core::{NamespaceResourceScope, PartialObjectMeta},
    runtime::{
        Controller,
        controller::{self, Config},
        reflector::{ObjectRef, Store},
        utils::Backoff,
        watcher,
    },
};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    Context, Guarded,
    dereference::referenced_names,
    error_policy,
    identity::{MANAGED_BY, OWNER_NAME, OWNER_NAMESPACE},
    observe::{API_NAMESPACE, API_SERVICE, SERVICE_NAME},
    options::Namespaces,
    reconcile, sweep,
};

/// As many objects are worked on at a time.
const CONCURRENCY: u16 = 8;
/// Changes that come together are looked at together.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// Between looks at what is remembered of objects that are gone.
const TIDYING: Duration = Duration::from_secs(30);
/// Longer than this no sweep takes, whatever the API server does.
const PATIENCE: Duration = Duration::from_secs(30);

/// After a watch has failed. All watches share one pause, so one that grows would add up to many
/// minutes when all of them fail at once, as they do when an API server goes away.
const PAUSE: Duration = Duration::from_millis(200);

/// The same pause each time.
#[derive(Debug)]
struct Steady;

impl Iterator for Steady {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(PAUSE)
    }
}

impl Backoff for Steady {
    fn reset(&mut self) {}
}

/// Runs the controller until it is told to stop and the passes under way have ended.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    let client = &context.client;
    let all: Api<Guarded> = Api::all(client.clone());
    let mut controller = Controller::new(all, watcher::Config::default());
    let store = controller.store();
    for scope in scopes(&context.options.namespaces) {
        controller = watch_namespace(controller, client, scope.as_deref(), &store);
    }
    let tidying = tidy(&context, store.clone());
    let running = watch_cluster(controller, client, store.clone())
        .with_config(
            Config::default()
                .concurrency(CONCURRENCY)
                .debounce(DEBOUNCE),
        )
        .trigger_backoff(Steady)
        .graceful_shutdown_on(async move { stop.cancelled().await })
        .run(reconcile, error_policy, Arc::clone(&context))
        .for_each_concurrent(usize::from(CONCURRENCY), |result| async {
            match result {
                Ok((object, _)) => tracing::debug!(%object, "looked at"),
                // It was to be looked at, and has vanished without its finalizer's pass, or after it.
                Err(controller::Error::ObjectNotFound(object)) => {
                    let namespace = object.namespace.unwrap_or_default();
                    let sweeping = sweep::one(client, &namespace, &object.name);
                    if timeout(PATIENCE, sweeping).await.is_err() {
                        tracing::warn!("the API server is too slow to sweep");
                    }
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "pass failed");
                }
            }
        });
    tokio::select! {
        () = running => {}
        () = tidying => {}
    }
}

/// Forgets what is gone, for ever.
async fn tidy(context: &Context, store: Store<Guarded>) {
    // Before the first list everything would look gone.
    if store.wait_until_ready().await.is_err() {
        return pending().await;
    }
    loop {
        context.retain(&everyone(&store));
        sleep(TIDYING).await;
    }
}

/// Rights are held by namespace, so each has watches of its own.
fn scopes(namespaces: &Namespaces) -> Vec<Option<String>> {
    match namespaces {
        Namespaces::All => vec![None],
        Namespaces::Listed(names) => names.iter().cloned().map(Some).collect(),
    }
}

fn metadata<K>(client: &Client, namespace: Option<&str>) -> Api<PartialObjectMeta<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

fn managed() -> watcher::Config {
    watcher::Config::default().labels(MANAGED_BY)
}

fn owns<K>(
    controller: Controller<Guarded>,
    client: &Client,
    namespace: Option<&str>,
) -> Controller<Guarded>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Send + 'static,
{
    controller.owns(metadata::<K>(client, namespace), managed())
}

fn watch_namespace(
    mut controller: Controller<Guarded>,
    client: &Client,
    namespace: Option<&str>,
    store: &Store<Guarded>,
) -> Controller<Guarded> {
    controller = owns::<ServiceAccount>(controller, client, namespace);
    controller = owns::<Service>(controller, client, namespace);
    controller = owns::<Deployment>(controller, client, namespace);
    controller = owns::<PodDisruptionBudget>(controller, client, namespace);
    controller = owns::<HorizontalPodAutoscaler>(controller, client, namespace);
    controller = owns::<NetworkPolicy>(controller, client, namespace);
    controller = owns::<Ingress>(controller, client, namespace);
    controller = owns::<Role>(controller, client, namespace);
    controller = owns::<RoleBinding>(controller, client, namespace);
    let (secrets, maps) = (store.clone(), store.clone());
    controller
        .watches(
            metadata::<Secret>(client, namespace),
            watcher::Config::default(),
            move |secret| concerned(&secrets, &secret),
        )
        .watches(
            metadata::<ConfigMap>(client, namespace),
            watcher::Config::default(),
            move |map| concerned(&maps, &map),
        )
        .watches(
            metadata::<EndpointSlice>(client, namespace),
            managed(),
            |slice| {
                let service = slice.labels().get(SERVICE_NAME)?;
                Some(ObjectRef::new(service).within(&slice.namespace()?))
            },
        )
}

/// Cluster-scoped children have no owner reference; their labels say whose they are.
fn watch_cluster(
    controller: Controller<Guarded>,
    client: &Client,
    store: Store<Guarded>,
) -> Controller<Guarded> {
    let api_slices: Api<PartialObjectMeta<EndpointSlice>> =
        Api::namespaced(client.clone(), API_NAMESPACE);
    let of_api = watcher::Config::default().labels(&format!("{SERVICE_NAME}={API_SERVICE}"));
    let roles: Api<PartialObjectMeta<ClusterRole>> = Api::all(client.clone());
    let bindings: Api<PartialObjectMeta<ClusterRoleBinding>> = Api::all(client.clone());
    controller
        .watches(roles, managed(), |role| labelled_owner(&role))
        .watches(bindings, managed(), |binding| labelled_owner(&binding))
        // Where the API server is stands in every NetworkPolicy.
        .watches(api_slices, of_api, move |_| everyone(&store))
}

fn everyone(store: &Store<Guarded>) -> Vec<ObjectRef<Guarded>> {
    let all = store.state();
    all.iter()
        .map(|guarded| ObjectRef::from_obj(guarded.as_ref()))
        .collect()
}

fn labelled_owner<K: Resource>(child: &PartialObjectMeta<K>) -> Option<ObjectRef<Guarded>> {
    let labels = child.metadata.labels.as_ref()?;
    let name = labels.get(OWNER_NAME)?;
    Some(ObjectRef::new(name).within(labels.get(OWNER_NAMESPACE)?))
}

/// The objects that own this one or refer to it.
fn concerned<K>(store: &Store<Guarded>, object: &PartialObjectMeta<K>) -> Vec<ObjectRef<Guarded>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let (Some(namespace), Some(name)) = (&object.metadata.namespace, &object.metadata.name) else {
        return Vec::new();
    };
    let owners = object.metadata.owner_references.iter().flatten();
    let mut found: BTreeSet<String> = owners
        .filter(|owner| owner.kind == "OidcProxy" && owner.controller == Some(true))
        .map(|owner| owner.name.clone())
        .collect();
    for guarded in store.state() {
        if let Ok(proxy) = &guarded.0
            && proxy.namespace().as_ref() == Some(namespace)
            && referenced_names(proxy).any(|referenced| referenced == name)
        {
            found.insert(proxy.name_any());
        }
    }
    found
        .iter()
        .map(|name| ObjectRef::new(name).within(namespace))
        .collect()
}
