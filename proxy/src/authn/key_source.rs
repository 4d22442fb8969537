//! Where the keys of an issuer come from, and those that are there.
//!
//! A task of its own discovers the issuer at once, and fetches its keys when the first token asks
//! for them. A request that meets an unknown key asks that task and waits; it never fetches by
//! itself. So any number of such requests cause one fetch, and the pause between fetches is kept
//! in one place.

use std::{sync::Arc, time::Duration};

use oidcproxy_crds::{state::IssuerReport, v1alpha1::settings::IssuerSettings};
use tokio::{sync::Semaphore, task::AbortHandle, time::timeout};

use super::{
    fetch::{DocumentClient, FetchError},
    key::{KeySet, Thumbprint},
    key_keeper::{Discovery, KeptKeys, KeyKeeper},
};
use crate::metrics::Metrics;

/// How long a request waits for a fetch that may bring its key.
const PATIENCE: Duration = Duration::from_secs(5);
/// Requests that wait for one issuer: each is held in memory, and none has shown a good token.
const MAX_WAITING: usize = 128;

/// The keys of an issuer. Settings that leave its address alone share them, so that a change of
/// claims does not need an issuer that answers just then.
#[derive(Debug)]
pub(super) struct KeySource {
    address: Address,
    client: DocumentClient,
    kept: Arc<KeptKeys>,
    task: AbortHandle,
    places: Semaphore,
}

/// What decides where keys are fetched, and under which name that is told.
#[derive(Debug, Eq, PartialEq)]
struct Address {
    name: String,
    url: String,
    discovery_url: Option<String>,
    certificate_authority: Option<String>,
}

impl Address {
    fn of(settings: &IssuerSettings, certificate_authority: Option<&str>) -> Self {
        Self {
            name: settings.name.clone(),
            url: settings.url.clone(),
            discovery_url: settings.discovery_url.clone(),
            certificate_authority: certificate_authority.map(str::to_owned),
        }
    }

    /// One slash is cut, as kube-apiserver does.
    fn discovery_url(&self) -> String {
        self.discovery_url.clone().unwrap_or_else(|| {
            let base = self.url.strip_suffix('/').unwrap_or(&self.url);
            format!("{base}/.well-known/openid-configuration")
        })
    }
}

impl Drop for KeySource {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl KeySource {
    /// Starts to discover the issuer.
    pub(super) fn start(
        settings: &IssuerSettings,
        certificate_authority: Option<&str>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, FetchError> {
        let address = Address::of(settings, certificate_authority);
        let client = DocumentClient::new(certificate_authority)?;
        let kept = Arc::new(KeptKeys::default());
        let keeper = KeyKeeper {
            name: address.name.clone(),
            url: address.url.clone(),
            discovery_url: address.discovery_url(),
            client: client.clone(),
            kept: Arc::clone(&kept),
            metrics,
        };
        Ok(Self {
            address,
            client,
            kept,
            task: tokio::spawn(keeper.run()).abort_handle(),
            places: Semaphore::new(MAX_WAITING),
        })
    }

    /// Whether these settings would fetch the same keys from the same place.
    pub(super) fn is_for(
        &self,
        settings: &IssuerSettings,
        certificate_authority: Option<&str>,
    ) -> bool {
        self.address == Address::of(settings, certificate_authority)
    }

    /// For other documents of the issuer.
    pub(super) fn client(&self) -> &DocumentClient {
        &self.client
    }

    /// The keys; nothing until the first were fetched.
    pub(super) fn keys(&self) -> Option<Arc<KeySet>> {
        self.kept.keys.load_full()
    }

    /// Whether this key is one of them; asked on every request.
    pub(super) fn has(&self, key: &Thumbprint) -> bool {
        let keys = self.kept.keys.load();
        keys.as_ref().is_some_and(|keys| keys.has(key))
    }

    pub(super) fn report(&self) -> IssuerReport {
        let report = self.kept.report.load();
        IssuerReport {
            name: self.address.name.clone(),
            state: report.state,
            message: report.message.clone(),
        }
    }

    /// Ends when discovery has been tried once.
    pub(super) async fn first_attempt(&self) {
        let mut discovery = self.kept.discovery.subscribe();
        // It fails only when the sender is gone, which this borrow excludes.
        let _ = discovery
            .wait_for(|state| *state != Discovery::Untried)
            .await;
    }

    /// Has the keys fetched and waits for it; but not for an issuer that could not be discovered,
    /// since whoever sends its tokens would be held up for nothing.
    pub(super) async fn refresh(&self) {
        let Ok(_place) = self.places.try_acquire() else {
            return;
        };
        let mut fetched = self.kept.fetched.subscribe();
        fetched.mark_unchanged();
        let answer = async {
            self.first_attempt().await;
            self.kept.wanted.notify_one();
            if *self.kept.discovery.borrow() == Discovery::Done {
                let _ = fetched.changed().await;
            }
        };
        let _ = timeout(PATIENCE, answer).await;
    }
}
