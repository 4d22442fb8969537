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

use oidcproxy_crds::{
    state::IssuerReport,
    v1alpha1::{issuer_rules::FieldError, settings::IssuerSettings},
};
use serde_json::{Map, Value};
use tokio::{sync::Semaphore, task::AbortHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    TokenError, Verified,
    algorithm::Algorithm,
    claims, distributed,
    fetch::{DocumentClient, FetchError},
    key::Thumbprint,
    key_keeper::{Discovery, KeptKeys, KeyKeeper},
    mapping::IdentityMapping,
    token::{UnverifiedToken, claimed_issuer},
};
use crate::metrics::Metrics;

/// How long a request waits for a fetch that may bring its key.
const PATIENCE: Duration = Duration::from_secs(5);
/// Requests that wait for one issuer: each is held in memory, and none has shown a good token.
const MAX_WAITING: usize = 128;

/// Distributed claims may change at their source at any time; kube-apiserver keeps every token for
/// these ten seconds only.
const DISTRIBUTED_AGE: Duration = Duration::from_secs(10);

/// Why an issuer's settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IssuerError {
    /// Its documents cannot be fetched with them.
    #[error(transparent)]
    Client(#[from] FetchError),
    /// An expression cannot be compiled.
    #[error("{0}")]
    Expressions(String),
}

impl IssuerError {
    fn of(errors: &[FieldError]) -> Self {
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        Self::Expressions(errors.join("; "))
    }
}

/// What an issuer has signed.
struct SignedClaims {
    claims: Map<String, Value>,
    key: Thumbprint,
    expires: SystemTime,
}

/// One issuer at run time.
#[derive(Debug)]
pub(crate) struct IssuerAuthenticator {
    settings: IssuerSettings,
    certificate_authority: Option<String>,
    algorithms: Vec<Algorithm>,
    mapping: IdentityMapping,
    client: DocumentClient,
    kept: Arc<KeptKeys>,
    task: AbortHandle,
    withdrawn: CancellationToken,
    places: Semaphore,
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
    ) -> Result<Self, IssuerError> {
        let client = DocumentClient::new(certificate_authority.as_deref())?;
        let mapping = IdentityMapping::of(&settings).map_err(|errors| IssuerError::of(&errors))?;
        let kept = Arc::new(KeptKeys::default());
        let keeper = KeyKeeper {
            name: settings.name.clone(),
            url: settings.url.clone(),
            discovery_url: discovery_url(&settings),
            client: client.clone(),
            kept: Arc::clone(&kept),
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
            mapping,
            client,
            certificate_authority,
            kept,
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
        let report = self.kept.report.load();
        IssuerReport {
            name: self.settings.name.clone(),
            state: report.state,
            message: report.message.clone(),
        }
    }

    /// Ends when discovery has been tried once.
    pub(crate) async fn first_attempt(&self) {
        let mut discovery = self.kept.discovery.subscribe();
        // It fails only when the sender is gone, which this borrow excludes.
        let _ = discovery
            .wait_for(|state| *state != Discovery::Untried)
            .await;
    }

    /// Whether the key that verified a token is still one of the issuer's.
    pub(crate) fn still_has(&self, key: &Thumbprint) -> bool {
        self.kept
            .keys
            .load()
            .as_ref()
            .is_some_and(|keys| keys.has(key))
    }

    /// Verifies a token of this issuer and maps its claims.
    pub(crate) async fn verify(&self, token: &str) -> Result<Verified, TokenError> {
        let SignedClaims {
            mut claims,
            key,
            expires,
        } = self.verify_signed(token).await?;
        let groups_claim = self.mapping.groups_claim();
        let mut fresh_until = expires;
        if let Some(source) = distributed::source_of(&claims, groups_claim)? {
            let groups = self.distributed_groups(&source).await?;
            claims.insert(groups_claim.unwrap_or_default().to_owned(), groups);
            fresh_until = expires.min(SystemTime::now() + DISTRIBUTED_AGE);
        }
        Ok(Verified {
            identity: self.mapping.identity(&claims)?,
            key,
            expires,
            fresh_until,
        })
    }

    /// The groups out of a token that stands elsewhere, held to the same rules as the first one.
    async fn distributed_groups(&self, source: &distributed::Source) -> Result<Value, TokenError> {
        let token = distributed::fetch(&self.client, source).await?;
        if claimed_issuer(&token).as_deref() != Some(self.url()) {
            return Err(distributed::refused("the answer is of another issuer"));
        }
        let mut signed = self.verify_signed(&token).await?;
        let claim = self.mapping.groups_claim().unwrap_or_default();
        let groups = signed.claims.remove(claim);
        groups.ok_or_else(|| distributed::refused("the answer does not hold the claim"))
    }

    /// Checks signature, audience and times.
    async fn verify_signed(&self, token: &str) -> Result<SignedClaims, TokenError> {
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
        Ok(SignedClaims {
            claims: token.claims,
            key,
            expires,
        })
    }

    fn verifying_key(&self, token: &UnverifiedToken<'_>) -> Result<Thumbprint, TokenError> {
        let keys = self.kept.keys.load();
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

/// One slash is cut, as kube-apiserver does.
fn discovery_url(settings: &IssuerSettings) -> String {
    settings.discovery_url.clone().unwrap_or_else(|| {
        let base = settings.url.strip_suffix('/').unwrap_or(&settings.url);
        format!("{base}/.well-known/openid-configuration")
    })
}
