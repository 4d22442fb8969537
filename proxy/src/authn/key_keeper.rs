//! The task that keeps one issuer's keys fresh.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use oidcproxy_crds::state::IssuerState;
use serde::Deserialize;
use tokio::time::{Instant, sleep_until};

use super::{
    fetch::{DocumentClient, FetchError},
    kept_keys::{Discovery, KeptKeys, Report},
    key::KeySet,
    strict_json,
};
use crate::metrics::Metrics;

/// Until discovery has succeeded.
const RETRY: Duration = Duration::from_secs(10);
/// A key that its issuer withdraws is gone after this time at the latest.
const REFRESH: Duration = Duration::from_mins(5);
/// Between fetches that requests ask for. It doubles while fetches bring nothing new.
const FLOOR: Duration = Duration::from_secs(1);
const FLOOR_LIMIT: Duration = Duration::from_secs(5);

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

#[derive(Deserialize)]
struct DiscoveryDocument {
    issuer: String,
    jwks_uri: String,
    // Not used, but whoever writes something else there is no issuer to kube-apiserver.
    #[serde(rename = "authorization_endpoint")]
    _authorization_endpoint: Option<String>,
    #[serde(rename = "token_endpoint")]
    _token_endpoint: Option<String>,
    #[serde(rename = "userinfo_endpoint")]
    _userinfo_endpoint: Option<String>,
    #[serde(rename = "id_token_signing_alg_values_supported")]
    _signing_algorithms: Option<Vec<Option<String>>>,
}

/// An address that may be fetched and, being an issuer's text, may be kept.
pub(super) fn is_fetchable(url: &str) -> bool {
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

/// The task that keeps an issuer's keys fresh.
pub(super) struct KeyKeeper {
    pub(super) url: String,
    pub(super) discovery_url: String,
    pub(super) client: DocumentClient,
    pub(super) kept: Arc<KeptKeys>,
    pub(super) metrics: Arc<Metrics>,
}

impl KeyKeeper {
    /// For as long as the issuer is in use.
    pub(super) async fn run(self) {
        let mut jwks_uri = self.until_discovered().await;
        // Nobody has asked for keys so far: kube-apiserver leaves them alone until then, too. But
        // keys that are only lent should be replaced soon.
        if self.kept.loan.is_none() {
            self.kept.wanted.notified().await;
        }
        let mut floor = FLOOR;
        // Of its own: tokens with unknown keys must not put it off.
        let mut scheduled = Instant::now();
        loop {
            let started = Instant::now();
            self.kept.started.fetch_add(1, Ordering::SeqCst);
            let outcome = self.fetch_keys(&jwks_uri).await;
            let failed = outcome.is_err();
            let brought_news = self.publish(outcome);
            self.kept.fetched.send_modify(|count| *count += 1);
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
                () = self.kept.wanted.notified() => sleep_until(started + floor).await,
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
                    self.kept.discovery.send_replace(Discovery::Done);
                    return jwks_uri;
                }
                Err(error) => {
                    let issuer = self.kept.name.load();
                    tracing::warn!(%issuer, %error, "the issuer cannot be discovered");
                    self.report_failure(&error);
                    self.kept.discovery.send_replace(Discovery::Failed);
                }
            }
            tokio::select! {
                () = sleep_until(started + jittered(RETRY)) => {}
                () = self.kept.wanted.notified() => sleep_until(started + floor).await,
            }
            floor = (floor * 2).min(RETRY);
        }
    }

    async fn discover(&self) -> Result<String, DiscoveryError> {
        let body = self
            .client
            .get(&self.discovery_url, &self.discovery_url)
            .await?;
        let document: DiscoveryDocument = strict_json::of_object(&body)
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
        let issuer = self.kept.name.load();
        self.metrics.key_fetch(&issuer, outcome.is_ok());
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
        let known = self.kept.keys.load();
        let issuer = self.kept.name.load();
        match outcome {
            Ok(keys) => {
                let news = known.as_ref().is_none_or(|known| !known.same_keys(&keys));
                if news {
                    tracing::info!(%issuer, "the issuer's keys are in use");
                }
                self.kept.keys.store(Some(Arc::new(keys)));
                self.kept
                    .fetched_at
                    .store(Some(Arc::new(SystemTime::now())));
                self.report(IssuerState::Ready, None);
                news
            }
            Err(error) => {
                tracing::warn!(%issuer, %error, "the issuer's keys cannot be fetched");
                self.report_failure(&error);
                false
            }
        }
    }

    fn report_failure(&self, error: &DiscoveryError) {
        let state = if self.kept.current().is_some() {
            IssuerState::Degraded
        } else {
            IssuerState::Failed
        };
        self.report(state, Some(error.to_string()));
    }

    fn report(&self, state: IssuerState, message: Option<String>) {
        self.kept.report.store(Arc::new(Report { state, message }));
    }
}

/// Up to a tenth later, so that the replicas of a proxy do not all ask at the same time.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [0_u8];
    // Without randomness the pause is just not spread.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    pause + pause.mul_f64(f64::from(byte[0]) / 2550.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_https_addresses_are_fetched() {
        assert!(is_fetchable("https://id.example.com/keys?a=b"));
        let long = format!("https://id.example.com/{}", "a".repeat(2048));
        for odd in [
            "http://id.example.com",
            "https://user@id.example.com",
            "https://",
            "https://id.example.com/\nforged",
            "https://id.example.com/ä",
            "file:///etc/passwd",
            "",
            &long,
        ] {
            assert!(!is_fetchable(odd), "{odd}");
        }
    }
}
