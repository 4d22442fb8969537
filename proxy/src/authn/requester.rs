//! Who sends a request: somebody with a token, or nobody in particular.

use std::{sync::Arc, time::SystemTime};

use http::HeaderValue;
use oidcproxy_crds::v1alpha1::{authentication::Anonymous, impersonation::StaticExtra};
use tokio_util::sync::CancellationToken;

use super::{VerifiedToken, passthrough::PassedToken};
use crate::identity::{ANONYMOUS, Identity, IdentityHeaders, UnsafeIdentity};

/// Who sends a request.
#[derive(Clone, Debug)]
pub(crate) enum Requester {
    /// Whoever the token speaks of.
    Token(Arc<VerifiedToken>),
    /// The same where kube-apiserver trusts the issuer itself: with the token, to be forwarded.
    OwnToken(Arc<VerifiedToken>, HeaderValue),
    /// Whoever the cluster takes the token for.
    Passed(Arc<PassedToken>),
    /// `system:anonymous`.
    Anonymous(Arc<AnonymousUser>),
}

impl Requester {
    /// With the token itself, as the client sent it.
    pub(crate) fn with_own_token(verified: Arc<VerifiedToken>, token: &str) -> Option<Self> {
        let credential = bearer(token)?;
        Some(Self::OwnToken(verified, credential))
    }

    pub(crate) fn identity(&self) -> &Arc<Identity> {
        match self {
            Self::Token(token) | Self::OwnToken(token, _) => token.identity(),
            Self::Passed(token) => &token.identity,
            Self::Anonymous(user) => &user.identity,
        }
    }

    /// The token itself, where it is to be forwarded.
    pub(crate) fn credential(&self) -> Option<&HeaderValue> {
        match self {
            Self::OwnToken(_, credential) => Some(credential),
            Self::Passed(token) => Some(&token.credential),
            Self::Token(_) | Self::Anonymous(_) => None,
        }
    }

    /// Encoded before the request came; none where the token speaks for itself.
    pub(crate) fn headers(&self) -> Option<&IdentityHeaders> {
        match self {
            Self::Token(token) => Some(token.headers()),
            Self::OwnToken(..) | Self::Passed(_) => None,
            Self::Anonymous(user) => Some(&user.headers),
        }
    }

    /// When the credential's time is over.
    pub(crate) fn expires(&self) -> Option<SystemTime> {
        match self {
            Self::Token(token) | Self::OwnToken(token, _) => Some(token.expires()),
            Self::Passed(_) | Self::Anonymous(_) => None,
        }
    }

    /// Cancelled when such requests are not accepted any more.
    pub(crate) fn withdrawn(&self) -> &CancellationToken {
        match self {
            Self::Token(token) | Self::OwnToken(token, _) => token.issuer().withdrawn(),
            Self::Passed(token) => &token.withdrawn,
            Self::Anonymous(user) => &user.withdrawn,
        }
    }
}

/// The value of an `Authorization` header; never to be seen in logs.
pub(super) fn bearer(token: &str) -> Option<HeaderValue> {
    let mut credential = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    credential.set_sensitive(true);
    Some(credential)
}

/// The user of requests without a credential: the one name of Kubernetes' own that is forwarded.
#[derive(Debug)]
pub(crate) struct AnonymousUser {
    identity: Arc<Identity>,
    headers: IdentityHeaders,
    /// Nothing: every path.
    paths: Vec<String>,
    withdrawn: CancellationToken,
}

impl AnonymousUser {
    /// `withdrawn` outlives a change of the settings, as that of an issuer does.
    pub(crate) fn new(
        settings: &Anonymous,
        static_extra: &[StaticExtra],
        withdrawn: CancellationToken,
    ) -> Result<Self, UnsafeIdentity> {
        let mut identity = Identity {
            username: ANONYMOUS.to_owned(),
            ..Identity::default()
        };
        identity.add_automatic_groups();
        identity.add_extras(static_extra);
        let paths = settings.conditions.iter();
        Ok(Self {
            headers: IdentityHeaders::encode(&identity)?,
            identity: Arc::new(identity),
            paths: paths.map(|condition| condition.path.clone()).collect(),
            withdrawn,
        })
    }

    /// Exactly one of the paths, if there are any: not those below it.
    pub(crate) fn may_ask_for(&self, path: &str) -> bool {
        self.paths.is_empty() || self.paths.iter().any(|known| known == path)
    }

    pub(crate) fn withdrawn(&self) -> &CancellationToken {
        &self.withdrawn
    }
}
