//! One issuer at run time: its keys, how they are found and kept fresh.
//!
//! A task of its own discovers the issuer at once, and fetches its keys when the first token asks
//! for them. A request that meets an unknown key asks that task and waits; it never fetches by
//! itself. So any number of such requests cause one fetch, and the pause between fetches is kept
//! in one place.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use oidcproxy_crds::{
    state::{IssuerReport, IssuerState},
    v1alpha1::settings::IssuerSettings,
};
use serde::Deserialize;
use tokio::{
    sync::{Notify, Semaphore, watch},
    task::AbortHandle,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    TokenError, Verified,
    algorithm::Algorithm,
    claims,
    fetch::{DocumentClient, FetchError},
    key::{KeySet, Thumbprint},
    mapping,
    token::UnverifiedToken,
};
use crate::metrics::Metrics;

/// Until discovery has succeeded.
const RETRY: Duration = Duration::from_secs(10);
/// A key that its issuer withdraws is gone after this time at the latest.
const REFRESH: Duration = Duration::from_mins(5);
/// Between fetches that requests ask for. It doubles while fetches bring nothing new.
const FLOOR: Duration = Duration::from_secs(1);
const FLOOR_LIMIT: Duration = Duration::from_secs(10);
/// How long a request waits for a fetch that may bring its key.
const PATIENCE: Duration = Duration::from_secs(5);
/// Requests that wait for one issuer: each is held in memory, and none has shown a good token.
const MAX_WAITING: usize = 128;

/// Why an issuer's keys are not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiscoveryError {
    /// A document could not be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The discovery document is none.
    #[error("the discovery document at {0} cannot be decoded")]
    Document(String),
    /// It speaks of somebody else.
    #[error("the discovery document at {0} names another issuer")]
    Issuer(String),
    /// It gives no address to fetch keys from.
    #[error("the jwks_uri in the discovery document at {0} is not an https URL")]
    JwksUri(String),
    /// The key set is none.
    #[error("the issuer's key set cannot be decoded")]
    KeySet,
    /// There is nothing in it to verify signatures with.
    #[error("the issuer's key set has no key that can be used")]
    NoKeys,
}

/// One issuer at run time.
#[derive(Debug)]
pub(crate) struct IssuerAuthenticator {
    settings: IssuerSettings,
    certificate_authority: Option<String>,
    algorithms: Vec<Algorithm>,
    shared: Arc<Shared>,
    task: AbortHandle,
    withdrawn: CancellationToken,
    places: Semaphore,
}

#[derive(Debug)]
struct Shared {
    keys: ArcSwapOption<KeySet>,
    report: ArcSwap<Report>,
    wanted: Notify,
    discovery: watch::Sender<Discovery>,
    /// Counts the fetches of keys that have ended, well or not.
    fetched: watch::Sender<u64>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Discovery {
    Untried,
    Failed,
    Done,
}

#[derive(Debug)]
struct Report {
    state: IssuerState,
    message: Option<String>,
}

#[derive(Deserialize)]
struct DiscoveryDocument {
    issuer: String,
    jwks_uri: String,
}

impl Drop for IssuerAuthenticator {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl IssuerAuthenticator {
    /// Starts to discover the issuer. `withdrawn` outlives a change of its settings: streams that
    /// were opened before the change end, too, when the issuer is dropped after it.
    pub(crate) fn start(
        settings: IssuerSettings,
        certificate_authority: Option<String>,
        withdrawn: CancellationToken,
        metrics: Arc<Metrics>,
    ) -> Result<Self, FetchError> {
        let client = DocumentClient::new(certificate_authority.as_deref())?;
        let shared = Arc::new(Shared {
            keys: ArcSwapOption::empty(),
            report: ArcSwap::from_pointee(Report {
                state: IssuerState::Pending,
                message: None,
            }),
            wanted: Notify::new(),
            discovery: watch::Sender::new(Discovery::Untried),
            fetched: watch::Sender::new(0),
        });
        let keeper = KeyKeeper {
            name: settings.name.clone(),
            url: settings.url.clone(),
            discovery_url: discovery_url(&settings),
            client,
            shared: Arc::clone(&shared),
            metrics,
        };
        let named = settings.signing_algorithms.iter();
        let named: Vec<_> = named
            .filter_map(|name| Algorithm::from_name(name))
            .collect();
        Ok(Self {
            algorithms: if named.is_empty() {
                Algorithm::ALL.to_vec()
            } else {
                named
            },
            settings,
            certificate_authority,
            shared,
            task: tokio::spawn(keeper.run()).abort_handle(),
            withdrawn,
            places: Semaphore::new(MAX_WAITING),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.settings.name
    }

    pub(crate) fn url(&self) -> &str {
        &self.settings.url
    }

    /// Whether these settings would start the same authenticator: then the one that runs, with
    /// the keys that it has, goes on.
    pub(crate) fn is_for(&self, settings: &IssuerSettings, authority: Option<&str>) -> bool {
        self.settings == *settings && self.certificate_authority.as_deref() == authority
    }

    /// Ends the streams that its tokens have opened.
    pub(crate) fn withdraw(&self) {
        self.withdrawn.cancel();
    }

    /// Cancelled when the issuer is not accepted any more.
    pub(crate) fn withdrawn(&self) -> &CancellationToken {
        &self.withdrawn
    }

    pub(crate) fn report(&self) -> IssuerReport {
        let report = self.shared.report.load();
        IssuerReport {
            name: self.settings.name.clone(),
            state: report.state,
            message: report.message.clone(),
        }
    }

    /// Ends when discovery has been tried once.
    pub(crate) async fn first_attempt(&self) {
        let mut discovery = self.shared.discovery.subscribe();
        // It fails only when the sender is gone, which this borrow excludes.
        let _ = discovery
            .wait_for(|state| *state != Discovery::Untried)
            .await;
    }

    /// Whether the key that verified a token is still one of the issuer's.
    pub(crate) fn still_has(&self, key: &Thumbprint) -> bool {
        self.shared
            .keys
            .load()
            .as_ref()
            .is_some_and(|keys| keys.has(key))
    }

    /// Verifies a token of this issuer.
    pub(crate) async fn verify(&self, token: &str) -> Result<Verified, TokenError> {
        let token = UnverifiedToken::parse(token)?;
        if !self.algorithms.contains(&token.algorithm) {
            return Err(TokenError::UnsupportedAlgorithm);
        }
        let mut key = self.verifying_key(&token);
        if key.is_err() {
            // The issuer may have a new key, or may not have been reached yet.
            self.refresh().await;
            key = self.verifying_key(&token);
        }
        let key = key?;
        // The wait may have taken longer than the token lives.
        let now = SystemTime::now();
        let expires = claims::check(&token.claims, &self.settings.audiences, now)?;
        let identity = mapping::identity(
            &token.claims,
            &self.settings.claim_mappings,
            &self.settings.claim_validation_rules,
        )?;
        Ok(Verified {
            identity,
            key,
            expires,
        })
    }

    fn verifying_key(&self, token: &UnverifiedToken<'_>) -> Result<Thumbprint, TokenError> {
        let keys = self.shared.keys.load();
        let keys = keys.as_ref().ok_or(TokenError::IssuerNotReady)?;
        keys.verify(
            token.key_id.as_deref(),
            token.algorithm,
            token.message,
            &token.signature,
        )
        .ok_or(TokenError::Signature)
    }

    /// Has the keys fetched and waits for it; but not for an issuer that could not be discovered,
    /// since whoever sends its tokens would be held up for nothing.
    async fn refresh(&self) {
        let Ok(_place) = self.places.try_acquire() else {
            return;
        };
        let mut fetched = self.shared.fetched.subscribe();
        fetched.mark_unchanged();
        let answer = async {
            self.first_attempt().await;
            self.shared.wanted.notify_one();
            if *self.shared.discovery.borrow() == Discovery::Done {
                let _ = fetched.changed().await;
            }
        };
        let _ = timeout(PATIENCE, answer).await;
    }
}

/// An address that may be fetched and, being an issuer's text, may be kept.
fn is_fetchable(url: &str) -> bool {
    const MAX_BYTES: usize = 2048;
    url.len() <= MAX_BYTES
        && url.bytes().all(|byte| byte.is_ascii_graphic())
        && url::Url::parse(url).is_ok_and(|url| {
            url.scheme() == "https"
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
        })
}

/// One slash is cut, as kube-apiserver does.
fn discovery_url(settings: &IssuerSettings) -> String {
    settings.discovery_url.clone().unwrap_or_else(|| {
        let base = settings.url.strip_suffix('/').unwrap_or(&settings.url);
        format!("{base}/.well-known/openid-configuration")
    })
}

/// The task that keeps an issuer's keys fresh.
struct KeyKeeper {
    name: String,
    url: String,
    discovery_url: String,
    client: DocumentClient,
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
}

impl KeyKeeper {
    async fn run(self) {
        let mut jwks_uri = self.until_discovered().await;
        // Nobody has asked for keys so far: kube-apiserver leaves them alone until then, too.
        self.shared.wanted.notified().await;
        let mut floor = FLOOR;
        // Of its own: tokens with unknown keys must not put it off.
        let mut scheduled = Instant::now();
        loop {
            let started = Instant::now();
            let outcome = self.fetch_keys(&jwks_uri).await;
            let failed = outcome.is_err();
            let brought_news = self.publish(outcome);
            self.shared.fetched.send_modify(|count| *count += 1);
            if started >= scheduled {
                scheduled = started + jittered(REFRESH);
            }
            floor = if brought_news {
                FLOOR
            } else {
                (floor * 2).min(FLOOR_LIMIT)
            };
            let next = if failed {
                scheduled.min(started + jittered(RETRY))
            } else {
                scheduled
            };
            tokio::select! {
                () = sleep_until(next) => {}
                // Whoever asks during the pause is answered by the fetch at its end.
                () = self.shared.wanted.notified() => sleep_until(started + floor).await,
            }
            // An issuer may move its keys.
            if (failed || Instant::now() >= scheduled)
                && let Ok(moved) = self.discover().await
            {
                jwks_uri = moved;
            }
        }
    }

    async fn until_discovered(&self) -> String {
        let mut floor = FLOOR;
        loop {
            let started = Instant::now();
            match self.discover().await {
                Ok(jwks_uri) => {
                    self.report(IssuerState::Ready, None);
                    self.shared.discovery.send_replace(Discovery::Done);
                    return jwks_uri;
                }
                Err(error) => {
                    tracing::warn!(issuer = self.name, %error, "the issuer cannot be discovered");
                    self.report(IssuerState::Failed, Some(error.to_string()));
                    self.shared.discovery.send_replace(Discovery::Failed);
                }
            }
            tokio::select! {
                () = sleep_until(started + jittered(RETRY)) => {}
                () = self.shared.wanted.notified() => sleep_until(started + floor).await,
            }
            floor = (floor * 2).min(RETRY);
        }
    }

    async fn discover(&self) -> Result<String, DiscoveryError> {
        let body = self
            .client
            .get(&self.discovery_url, &self.discovery_url)
            .await?;
        let document: DiscoveryDocument = serde_json::from_slice(&body)
            .map_err(|_| DiscoveryError::Document(self.discovery_url.clone()))?;
        if document.issuer != self.url {
            return Err(DiscoveryError::Issuer(self.discovery_url.clone()));
        }
        if !is_fetchable(&document.jwks_uri) {
            return Err(DiscoveryError::JwksUri(self.discovery_url.clone()));
        }
        Ok(document.jwks_uri)
    }

    async fn fetch_keys(&self, jwks_uri: &str) -> Result<KeySet, DiscoveryError> {
        let outcome = self.fetch_key_set(jwks_uri).await;
        self.metrics.key_fetch(&self.name, outcome.is_ok());
        outcome
    }

    async fn fetch_key_set(&self, jwks_uri: &str) -> Result<KeySet, DiscoveryError> {
        let body = self.client.get(jwks_uri, "the issuer's key set").await?;
        let keys = KeySet::parse(&body).map_err(|_| DiscoveryError::KeySet)?;
        // A set without any key withdraws them all; one of which we can use none is a mistake.
        if keys.is_empty() && !keys.was_empty() {
            return Err(DiscoveryError::NoKeys);
        }
        Ok(keys)
    }

    /// Keeps the keys that are there when new ones cannot be had. Says whether anything changed.
    fn publish(&self, outcome: Result<KeySet, DiscoveryError>) -> bool {
        let known = self.shared.keys.load();
        match outcome {
            Ok(keys) => {
                let news = known.as_ref().is_none_or(|known| !known.same_keys(&keys));
                if news {
                    tracing::info!(issuer = self.name, "the issuer's keys are in use");
                }
                self.shared.keys.store(Some(Arc::new(keys)));
                self.report(IssuerState::Ready, None);
                news
            }
            Err(error) => {
                tracing::warn!(issuer = self.name, %error, "the issuer's keys cannot be fetched");
                let state = if known.is_some() {
                    IssuerState::Degraded
                } else {
                    IssuerState::Failed
                };
                self.report(state, Some(error.to_string()));
                false
            }
        }
    }

    fn report(&self, state: IssuerState, message: Option<String>) {
        self.shared
            .report
            .store(Arc::new(Report { state, message }));
    }
}

/// Up to a tenth later, so that the replicas of a proxy do not all ask at the same time.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [0_u8];
    // Without randomness the pause is just not spread.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    pause + pause.mul_f64(f64::from(byte[0]) / 2550.0)
}
