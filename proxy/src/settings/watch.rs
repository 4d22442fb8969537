//! Settings from the status of our own `OidcProxy`, watched.

use std::{sync::Arc, time::Duration};

use futures::{TryStreamExt, pin_mut};
use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    api::{ApiResource, DynamicObject},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use oidcproxy_crds::{OidcProxy, v1alpha1};

use super::{SettingsError, SettingsStore};

/// Which resource the settings come from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct OidcProxyName {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl std::str::FromStr for OidcProxyName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((namespace, name))
                if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
            {
                Ok(Self {
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                })
            }
            _ => Err("it must be NAMESPACE/NAME".to_owned()),
        }
    }
}

/// Follows the status for as long as the process lives. While the watch is broken the last good
/// settings go on; once the resource is gone or going, nobody is let in.
pub(crate) async fn follow_status(client: Client, name: OidcProxyName, store: Arc<SettingsStore>) {
    // Decoded by hand: the settings are read strictly, and the rest is none of our business.
    let resource = ApiResource::erase::<OidcProxy>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client, &name.namespace, &resource);
    let config = watcher::Config::default().fields(&format!("metadata.name={}", name.name));
    let events = watcher(api, config).default_backoff();
    pin_mut!(events);
    let mut seen = false;
    let mut followed = None;
    loop {
        match events.try_next().await {
            Ok(Some(Event::Init)) => seen = false,
            Ok(Some(Event::InitApply(object) | Event::Apply(object))) => {
                seen = true;
                // Of the same name, but another one: what the first one allowed is over.
                if followed.is_some() && followed != object.uid() {
                    store.withdraw();
                }
                followed = object.uid();
                take(&object, &store);
            }
            Ok(Some(Event::InitDone)) if !seen => {
                tracing::warn!("there is no OidcProxy of our name");
                store.withdraw();
            }
            Ok(Some(Event::InitDone)) => {}
            Ok(Some(Event::Delete(_))) => store.withdraw(),
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, "cannot watch our OidcProxy; the last good settings stay in use");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn take(object: &DynamicObject, store: &Arc<SettingsStore>) {
    if object.meta().deletion_timestamp.is_some() {
        store.withdraw();
        return;
    }
    let Some(raw) = object.data.pointer("/status/settings") else {
        tracing::debug!(
            name = object.name_any(),
            "no settings have been published so far"
        );
        return;
    };
    let taken = v1alpha1::Settings::decode(raw)
        .map_err(SettingsError::from)
        .inspect_err(|error| store.refuse(error))
        .and_then(|settings| store.publish(settings));
    if let Err(error) = taken {
        tracing::error!(%error, "the published settings are refused; the last good ones stay in use");
    }
}
