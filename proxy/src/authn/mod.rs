//! Who sends a request: tokens are verified and mapped to identities as kube-apiserver does it
//! with an `AuthenticationConfiguration`.
//!
//! The signatures are checked with aws-lc-rs itself: jsonwebtoken lacks ES512, mixes no algorithm
//! families and has other rules for time claims than kube-apiserver.

mod algorithm;
mod cache;
mod claims;
mod distributed;
mod egress;
mod embedded_key;
mod expression;
mod fetch;
#[cfg(feature = "internals")]
pub(crate) mod internals;
mod issuer;
mod kept_keys;
mod key;
mod key_keeper;
mod key_source;
mod mapping;
mod named_claim;
mod passthrough;
mod requester;
mod reserved;
pub(crate) mod strict_json;
mod token;

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use oidcproxy_crds::v1alpha1::impersonation::StaticExtra;

pub(crate) use self::{
    algorithm::Algorithm,
    fetch::Route,
    issuer::{IssuerAuthenticator, IssuerError},
    passthrough::{PassedToken, Passthrough, TokenReviewUnavailable, TokenReviewer},
    requester::{AnonymousUser, Requester},
    reserved::ReservedNames,
};
use self::{cache::TokenCache, key::Thumbprint};
use crate::{
    identity::{Identity, IdentityHeaders, UnsafeIdentity},
    metrics::Metrics,
    request::Credentials,
};

/// Why a token is refused. The client is told `Unauthorized`; this goes to the log. None of these
/// quotes a value of the token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    /// Not a compact JWS as it should be.
    #[error("malformed token: {0}")]
    Malformed(&'static str),
    /// Longer than any real one.
    #[error("token is too long")]
    TooLong,
    /// Of an issuer that is not configured, or not a JWT at all.
    #[error("no issuer claims the token")]
    Unclaimed,
    /// Its issuer's keys are not there.
    #[error("the issuer has not been reached yet")]
    IssuerNotReady,
    /// Not one of those allowed.
    #[error("unsupported signature algorithm")]
    UnsupportedAlgorithm,
    /// No key of the issuer verifies it.
    #[error("no key of the issuer verifies the signature")]
    Signature,
    /// For somebody else.
    #[error("token is for another audience")]
    Audience,
    /// Its time is over.
    #[error("token is expired")]
    Expired,
    /// Its time has not come.
    #[error("token is not yet valid")]
    NotYetValid,
    /// A registered claim is of the wrong type.
    #[error("claim {0} has the wrong type")]
    ClaimType(&'static str),
    /// A registered claim stands there in several cases.
    #[error("claim {0} is there more than once")]
    RepeatedClaim(&'static str),
    /// A claim that the settings name is absent.
    #[error("claim {0} is missing")]
    ClaimMissing(String),
    /// A claim that the settings name is of the wrong type.
    #[error("claim {0} has the wrong type")]
    MappedClaimType(String),
    /// A claim has not the value that the settings require.
    #[error("claim {0} has not the required value")]
    RequiredClaim(String),
    /// The issuer does not vouch for the address.
    #[error("email is not verified")]
    EmailNotVerified,
    /// An expression has no result, or one that cannot be mapped.
    #[error("{field}: {reason}")]
    Expression {
        /// The field of the settings.
        field: &'static str,
        /// What happened; holds no values of the token.
        reason: String,
    },
    /// A rule over the claims is not met.
    #[error("a claim validation rule is not met: {0}")]
    ClaimRule(String),
    /// A rule over the mapped user is not met.
    #[error("a user validation rule is not met: {0}")]
    UserRule(String),
    /// Groups that stand elsewhere cannot be had.
    #[error("distributed claims: {0}")]
    DistributedClaims(String),
    /// The identity cannot be carried in headers.
    #[error(transparent)]
    UnsafeIdentity(#[from] UnsafeIdentity),
}

impl TokenError {
    /// In one word of a closed set, for metrics.
    pub(crate) fn metric_reason(&self) -> &'static str {
        match self {
            Self::Malformed(_) | Self::TooLong => "malformed",
            Self::Unclaimed => "unclaimed",
            Self::IssuerNotReady => "issuer_not_ready",
            Self::UnsupportedAlgorithm => "algorithm",
            Self::Signature => "signature",
            Self::Audience => "audience",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::ClaimType(_)
            | Self::RepeatedClaim(_)
            | Self::ClaimMissing(_)
            | Self::MappedClaimType(_)
            | Self::RequiredClaim(_)
            | Self::EmailNotVerified => "claims",
            Self::Expression { .. } | Self::ClaimRule(_) | Self::UserRule(_) => "rules",
            Self::DistributedClaims(_) => "distributed_claims",
            Self::UnsafeIdentity(_) => "unsafe_identity",
        }
    }
}

/// What an issuer's token says, once verified.
#[derive(Debug)]
pub(crate) struct Verified {
    identity: Identity,
    key: Thumbprint,
    expires: SystemTime,
    /// When what it was mapped from has to be looked at again.
    fresh_until: SystemTime,
}

/// A token that was verified, and whose it is.
#[derive(Debug)]
pub(crate) struct VerifiedToken {
    identity: Arc<Identity>,
    headers: IdentityHeaders,
    issuer: Arc<IssuerAuthenticator>,
    key: Thumbprint,
    expires: SystemTime,
    /// When what it was mapped from has to be looked at again.
    fresh_until: SystemTime,
}

impl VerifiedToken {
    fn new(
        verified: Verified,
        issuer: Arc<IssuerAuthenticator>,
        static_extra: &[StaticExtra],
    ) -> Result<Self, UnsafeIdentity> {
        let mut identity = verified.identity;
        identity.add_automatic_groups();
        identity.add_extras(static_extra);
        Ok(Self {
            headers: IdentityHeaders::encode(&identity)?,
            identity: Arc::new(identity),
            issuer,
            key: verified.key,
            expires: verified.expires,
            fresh_until: verified.fresh_until,
        })
    }

    pub(crate) fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// Encoded once, when the token was verified.
    pub(crate) fn headers(&self) -> &IdentityHeaders {
        &self.headers
    }

    pub(crate) fn issuer(&self) -> &Arc<IssuerAuthenticator> {
        &self.issuer
    }

    /// When its time is over.
    pub(crate) fn expires(&self) -> SystemTime {
        self.expires
    }

    fn is_valid(&self, now: SystemTime) -> bool {
        now <= self.expires && now <= self.fresh_until && self.issuer.still_has(&self.key)
    }

    /// About as many bytes as it takes.
    fn size(&self) -> u32 {
        u32::try_from(512 + 2 * self.identity.size()).unwrap_or(u32::MAX)
    }
}

/// Finds out who sends a request.
#[derive(Debug)]
pub(crate) struct Authenticator {
    issuers: Vec<Arc<IssuerAuthenticator>>,
    anonymous: Option<Arc<AnonymousUser>>,
    reserved: ReservedNames,
    static_extra: Vec<StaticExtra>,
    cache: TokenCache,
    metrics: Arc<Metrics>,
}

/// What became of a token that was presented.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthenticationError {
    /// It is not accepted.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// It is, but it speaks of somebody whom no issuer may speak of.
    #[error("the token's {0} is reserved")]
    Reserved(&'static str),
}

impl AuthenticationError {
    /// In one word of a closed set, for metrics.
    pub(crate) fn metric_reason(&self) -> &'static str {
        match self {
            Self::Token(error) => error.metric_reason(),
            Self::Reserved(_) => "reserved_identity",
        }
    }
}

impl Authenticator {
    pub(crate) fn new(
        issuers: Vec<Arc<IssuerAuthenticator>>,
        anonymous: Option<Arc<AnonymousUser>>,
        reserved: ReservedNames,
        static_extra: Vec<StaticExtra>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            issuers,
            anonymous,
            reserved,
            static_extra,
            cache: TokenCache::new(),
            metrics,
        }
    }

    pub(crate) fn issuers(&self) -> &[Arc<IssuerAuthenticator>] {
        &self.issuers
    }

    /// Who sends requests without a credential, where that is allowed at all.
    pub(crate) fn anonymous(&self) -> Option<&Arc<AnonymousUser>> {
        self.anonymous.as_ref()
    }

    /// Whether one of the tokens has been verified before, and still counts: others behind the same
    /// address may do what they like.
    pub(crate) fn knows_one_of(&self, credentials: &Credentials) -> bool {
        let now = SystemTime::now();
        let mut tokens = credentials.presented();
        tokens.any(|token| token.is_ok_and(|token| self.cache.get(token, now).is_some()))
    }

    /// Verifies a token, or finds it among those that were. At most one issuer is asked: the one
    /// that the token names. What it refuses, nobody else is asked about. What no issuer claims is
    /// for the caller to count: it may be somebody's all the same.
    pub(crate) async fn authenticate(
        &self,
        token: &str,
    ) -> Result<Arc<VerifiedToken>, AuthenticationError> {
        let now = SystemTime::now();
        if let Some(known) = self.cache.get(token, now) {
            self.metrics.token_cache(true);
            known.issuer.accepted().cached.inc();
            return Ok(known);
        }
        self.metrics.token_cache(false);
        if token.len() > token::MAX_TOKEN_BYTES {
            let error = TokenError::TooLong;
            self.metrics.not_accepted("", error.metric_reason());
            return Err(error.into());
        }
        let issuer = self.issuer_of(token).ok_or(TokenError::Unclaimed)?;
        let began = Instant::now();
        let verified = self.verify(token, issuer).await;
        self.metrics.verified_in(began.elapsed());
        match &verified {
            Ok(verified) => {
                issuer.accepted().verified.inc();
                self.metrics.groups(verified.identity.groups.len());
            }
            Err(error) => {
                self.metrics
                    .not_accepted(issuer.name(), error.metric_reason());
            }
        }
        verified
    }

    async fn verify(
        &self,
        token: &str,
        issuer: &Arc<IssuerAuthenticator>,
    ) -> Result<Arc<VerifiedToken>, AuthenticationError> {
        let verified = issuer.verify(token).await?;
        // Before the automatic groups are added: those are reserved too.
        if let Some(what) = self.reserved.found_in(&verified.identity) {
            return Err(AuthenticationError::Reserved(what));
        }
        let verified = VerifiedToken::new(verified, Arc::clone(issuer), &self.static_extra)
            .map_err(TokenError::from)?;
        let verified = Arc::new(verified);
        self.cache.insert(token, Arc::clone(&verified));
        Ok(verified)
    }

    fn issuer_of(&self, token: &str) -> Option<&Arc<IssuerAuthenticator>> {
        let claimed = token::claimed_issuer(token)?;
        // Google's tokens may name it without the scheme; nobody else's (RFC 7519 asks for a
        // plain comparison, kube-apiserver makes this one exception).
        let claimed = if claimed == "accounts.google.com" {
            "https://accounts.google.com"
        } else {
            claimed.as_str()
        };
        self.issuers.iter().find(|issuer| issuer.url() == claimed)
    }
}
