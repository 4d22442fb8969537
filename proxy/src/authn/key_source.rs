//! Where the keys of an issuer come from, and those that are there.
//!
//! A task of its own discovers the issuer at once, and fetches its keys when the first token asks
//! for them. A request that meets an unknown key asks that task and waits; it never fetches by
//! itself. So any number of such requests cause one fetch, and the pause between fetches is kept
//! in one place.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use oidcproxy_crds::{state::IssuerReport, v1alpha1::settings::IssuerSettings};
use tokio::{
    sync::{Semaphore, SemaphorePermit, watch},
    task::AbortHandle,
    time::{Instant, timeout_at},
};

use super::{
    fetch::{DocumentClient, FetchError, Route},
    kept_keys::{Discovery, KeptKeys},
    key::{KeySet, Thumbprint},
    key_keeper::KeyKeeper,
};
use crate::metrics::Metrics;

/// How long a request waits for a fetch that may bring its key: for the longest pause between
/// fetches, and for the fetch.
const PATIENCE: Duration = Duration::from_secs(10);
/// Requests that wait for one issuer: each is held in memory, and none has shown a good token. After
/// a start and when an issuer changes its keys, all of its users may be among them.
const MAX_WAITING: usize = 1024;

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

/// What decides where keys are fetched. The entry's name does not: entries of a file are numbered,
/// and one more before them must not cost the others their keys.
#[derive(Debug, Eq, PartialEq)]
struct Address {
    url: String,
    discovery_url: Option<String>,
    route: Route,
}

impl Address {
    fn of(settings: &IssuerSettings, route: &Route) -> Self {
        Self {
            url: settings.url.clone(),
            discovery_url: settings.discovery_url.clone(),
            route: route.clone(),
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
    /// Starts to discover the issuer. What `previous`, the same issuer at another address, has goes
    /// on for a while: an address that does not work yet must not lock everybody out.
    pub(super) fn start(
        settings: &IssuerSettings,
        route: &Route,
        previous: Option<&Self>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, FetchError> {
        let address = Address::of(settings, route);
        let client = DocumentClient::new(route)?;
        let loan = previous.and_then(|previous| previous.kept.lend());
        let kept = Arc::new(KeptKeys::new(&settings.name, loan));
        let keeper = KeyKeeper {
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
    pub(super) fn is_for(&self, settings: &IssuerSettings, route: &Route) -> bool {
        self.address == Address::of(settings, route)
    }

    /// For other documents of the issuer.
    pub(super) fn client(&self) -> &DocumentClient {
        &self.client
    }

    /// The keys; nothing until the first were fetched.
    pub(super) fn keys(&self) -> Option<Arc<KeySet>> {
        self.kept.current()
    }

    /// Whether this key is one of them; asked on every request.
    pub(super) fn has(&self, key: &Thumbprint) -> bool {
        self.kept.has(key)
    }

    /// The name of the entry that it belongs to from now on.
    pub(super) fn rename(&self, name: &str) {
        self.kept.name.store(Arc::new(name.to_owned()));
    }

    pub(super) fn report(&self, name: &str) -> IssuerReport {
        let report = self.kept.report.load();
        IssuerReport {
            name: name.to_owned(),
            state: report.state,
            message: report.message.clone(),
        }
    }

    /// When the keys were last fetched.
    pub(super) fn keys_fetched(&self) -> Option<SystemTime> {
        self.kept.fetched_at.load().as_deref().copied()
    }

    /// Ends when discovery has been tried once.
    pub(super) async fn first_attempt(&self) {
        let mut discovery = self.kept.discovery.subscribe();
        // It fails only when the sender is gone, which this borrow excludes.
        let _ = discovery
            .wait_for(|state| *state != Discovery::Untried)
            .await;
    }

    /// The fetches that have ended, well or not: to be asked before keys are tried.
    pub(super) fn fetches(&self) -> u64 {
        *self.kept.fetched.borrow()
    }

    /// Has the keys fetched, for a token that no key verified after so many fetches.
    pub(super) fn refresh(&self, tried: u64) -> Refresh<'_> {
        Refresh {
            source: self,
            fetched: self.kept.fetched.subscribe(),
            tried,
            needed: None,
            deadline: Instant::now() + PATIENCE,
            place: self.places.try_acquire().ok(),
        }
    }
}

/// A request that waits for keys.
pub(super) struct Refresh<'a> {
    source: &'a KeySource,
    fetched: watch::Receiver<u64>,
    tried: u64,
    /// The first fetch that begins after the request came: one that was under way may bring what
    /// the issuer had before its keys changed.
    needed: Option<u64>,
    deadline: Instant,
    place: Option<SemaphorePermit<'a>>,
}

impl Refresh<'_> {
    /// Waits until there may be other keys; false when nothing is to be hoped for. An issuer that
    /// could not be discovered is not waited for: whoever sends its tokens would be held up for
    /// nothing.
    pub(super) async fn brings_news(&mut self) -> bool {
        if self.place.is_none() || self.needed.is_some_and(|needed| self.tried >= needed) {
            return false;
        }
        let deadline = self.deadline;
        timeout_at(deadline, self.next()).await.unwrap_or(false)
    }

    async fn next(&mut self) -> bool {
        let kept = &self.source.kept;
        if self.needed.is_none() {
            self.source.first_attempt().await;
            self.needed = Some(kept.started.load(Ordering::SeqCst) + 1);
            kept.wanted.notify_one();
            if *kept.discovery.borrow() != Discovery::Done {
                return false;
            }
        }
        let tried = self.tried;
        match self.fetched.wait_for(|fetched| *fetched > tried).await {
            Ok(fetched) => self.tried = *fetched,
            Err(_) => return false,
        }
        true
    }
}
