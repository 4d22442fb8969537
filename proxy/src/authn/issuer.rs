//! One issuer at run time: what it signs is verified and mapped.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use oidcproxy_crds::{
    state::IssuerReport,
    v1alpha1::{issuer_rules::FieldError, settings::IssuerSettings},
};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use super::{
    TokenError, Verified,
    algorithm::Algorithm,
    claims, distributed,
    fetch::{FetchError, Route},
    key::Thumbprint,
    key_source::KeySource,
    mapping::IdentityMapping,
    token::{UnverifiedToken, claimed_issuer},
};
use crate::metrics::{AcceptedTokens, Metrics};

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
    route: Route,
    algorithms: Vec<Algorithm>,
    mapping: IdentityMapping,
    source: Arc<KeySource>,
    withdrawn: CancellationToken,
    accepted: AcceptedTokens,
}

impl IssuerAuthenticator {
    /// Starts to discover the issuer, unless `previous`, the same issuer before its settings
    /// changed, has its keys from the same place; from elsewhere, they are lent. Streams that were opened before the change end,
    /// too, when the issuer is dropped after it.
    pub(crate) fn start(
        settings: IssuerSettings,
        route: Route,
        previous: Option<&Self>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, IssuerError> {
        let mapping = IdentityMapping::of(&settings).map_err(|errors| IssuerError::of(&errors))?;
        let known = previous.map(|previous| &previous.source);
        let accepted = metrics.accepted_tokens(&settings.name);
        let same = known.filter(|source| source.is_for(&settings, &route));
        let source = if let Some(source) = same {
            Arc::clone(source)
        } else {
            let known = known.map(AsRef::as_ref);
            Arc::new(KeySource::start(&settings, &route, known, metrics)?)
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
            source,
            route,
            withdrawn: previous.map_or_else(CancellationToken::new, |previous| {
                previous.withdrawn.clone()
            }),
            accepted,
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
    pub(crate) fn is_for(&self, settings: &IssuerSettings, route: &Route) -> bool {
        self.settings == *settings && self.route == *route
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
        self.source.report(&self.settings.name)
    }

    /// Its keys go by its name from now on; settings that are not taken must not say so.
    pub(crate) fn put_to_use(&self) {
        self.source.rename(&self.settings.name);
    }

    /// Its tokens that were accepted.
    pub(super) fn accepted(&self) -> &AcceptedTokens {
        &self.accepted
    }

    /// When its keys were last fetched.
    pub(crate) fn keys_fetched(&self) -> Option<SystemTime> {
        self.source.keys_fetched()
    }

    /// Ends when discovery has been tried once.
    pub(crate) async fn first_attempt(&self) {
        self.source.first_attempt().await;
    }

    /// Whether the key that verified a token is still one of the issuer's.
    pub(crate) fn still_has(&self, key: &Thumbprint) -> bool {
        self.source.has(key)
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
        let token = distributed::fetch(self.source.client(), source).await?;
        if claimed_issuer(&token).as_deref() != Some(self.url()) {
            return Err(distributed::refused("the answer is of another issuer"));
        }
        let mut signed = self.verify_signed(&token).await?;
        distributed::check_sources(&signed.claims)?;
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
        let tried = self.source.fetches();
        let mut key = self.verifying_key(&token);
        if key.is_err() {
            // The issuer may have a new key, or may not have been reached yet.
            let mut refresh = self.source.refresh(tried);
            while key.is_err() && refresh.brings_news().await {
                key = self.verifying_key(&token);
            }
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
        let keys = self.source.keys().ok_or(TokenError::IssuerNotReady)?;
        keys.verify(
            token.key_id.as_deref(),
            token.algorithm,
            token.message,
            &token.signature,
        )
        .ok_or(TokenError::Signature)
    }
}
