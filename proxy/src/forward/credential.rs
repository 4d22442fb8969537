//! The proxy's own token for kube-apiserver: bound to its pod, ten minutes long, and re-read from
//! its volume as the kubelet rotates it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwapOption;
use http::HeaderValue;

/// The kubelet rotates a token when a fifth of its time is left, two minutes of ten; this leaves
/// room for several missed looks.
const REREAD: Duration = Duration::from_secs(15);

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialError {
    /// The file cannot be read.
    #[error("cannot read the token file {path}: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
    /// It cannot be sent in a header.
    #[error("the token for kube-apiserver is empty or has characters that no token has")]
    Unusable,
}

/// The proxy's own token, as an `Authorization` header; none with a client certificate.
#[derive(Clone, Debug)]
pub(crate) struct OwnCredential(Arc<ArcSwapOption<HeaderValue>>);

impl OwnCredential {
    pub(crate) fn none() -> Self {
        Self(Arc::new(ArcSwapOption::empty()))
    }

    pub(crate) fn token(token: &str) -> Result<Self, CredentialError> {
        let header = Arc::new(header(token)?);
        Ok(Self(Arc::new(ArcSwapOption::from(Some(header)))))
    }

    /// From a file that is read again for as long as the credential is in use.
    pub(crate) async fn file(path: PathBuf) -> Result<Self, CredentialError> {
        let credential = Self::token(&read(&path).await?)?;
        let shared = Arc::downgrade(&credential.0);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(REREAD).await;
                let Some(shared) = shared.upgrade() else {
                    return;
                };
                match read(&path).await.and_then(|token| header(&token)) {
                    Ok(header) => shared.store(Some(Arc::new(header))),
                    Err(error) => tracing::warn!(%error, "the last token stays in use"),
                }
            }
        });
        Ok(credential)
    }

    pub(crate) fn header(&self) -> Option<HeaderValue> {
        self.0.load().as_deref().cloned()
    }
}

async fn read(path: &Path) -> Result<String, CredentialError> {
    tokio::fs::read_to_string(path)
        .await
        .map_err(|cause| CredentialError::Read {
            path: path.to_owned(),
            cause,
        })
}

fn header(token: &str) -> Result<HeaderValue, CredentialError> {
    let token = token.trim();
    if token.is_empty() {
        return Err(CredentialError::Unusable);
    }
    let mut header =
        HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| CredentialError::Unusable)?;
    header.set_sensitive(true);
    Ok(header)
}
