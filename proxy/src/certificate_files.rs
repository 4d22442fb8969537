//! A certificate and its key in files that somebody renews.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::{
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer},
    sign::CertifiedKey,
};
use tokio::sync::watch;

/// Secret volumes change by a symbolic link, which the kubelet swaps up to a minute late anyway.
const LOOK: Duration = Duration::from_secs(2);

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read {path}: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
    /// A file holds no certificate.
    #[error("{0} holds no PEM certificate")]
    NoCertificate(PathBuf),
    /// A file holds no key.
    #[error("{0} holds no PEM private key")]
    NoKey(PathBuf),
    /// The key is not the certificate's.
    #[error("{certificate} and {key} do not belong together: {cause}")]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What rustls says.
        cause: rustls::Error,
    },
}

/// Where the certificate lies.
#[derive(Clone, Debug)]
pub(crate) struct CertificateFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

#[derive(Eq, PartialEq)]
struct Content {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl CertificateFiles {
    /// Reads the pair, and again whenever its files change. A pair that is no good, as between the
    /// writes of two files, is never handed on: the last one stays.
    pub(crate) async fn follow(
        self,
    ) -> Result<watch::Receiver<Arc<CertifiedKey>>, CertificateError> {
        let mut content = self.read().await?;
        let (sender, receiver) = watch::channel(Arc::new(self.parse(&content)?));
        tokio::spawn(async move {
            while !sender.is_closed() {
                tokio::time::sleep(LOOK).await;
                match self.read().await {
                    Ok(newer) if newer != content => {
                        content = newer;
                        match self.parse(&content) {
                            Ok(pair) => {
                                sender.send_replace(Arc::new(pair));
                            }
                            Err(error) => {
                                tracing::warn!(%error, "the last certificate stays in use");
                            }
                        }
                    }
                    Ok(_) => {}
                    Err(error) => tracing::warn!(%error, "the last certificate stays in use"),
                }
            }
        });
        Ok(receiver)
    }

    async fn read(&self) -> Result<Content, CertificateError> {
        Ok(Content {
            certificate: read(&self.certificate).await?,
            key: read(&self.key).await?,
        })
    }

    fn parse(&self, content: &Content) -> Result<CertifiedKey, CertificateError> {
        let chain: Vec<CertificateDer<'static>> =
            rustls_pemfile::certs(&mut content.certificate.as_slice())
                .filter_map(Result::ok)
                .collect();
        if chain.is_empty() {
            return Err(CertificateError::NoCertificate(self.certificate.clone()));
        }
        let key: PrivateKeyDer<'static> = rustls_pemfile::private_key(&mut content.key.as_slice())
            .ok()
            .flatten()
            .ok_or_else(|| CertificateError::NoKey(self.key.clone()))?;
        let mismatch = |cause| CertificateError::Mismatch {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            cause,
        };
        let provider = CryptoProvider::get_default()
            .ok_or_else(|| mismatch(rustls::Error::General("no TLS provider".to_owned())))?;
        CertifiedKey::from_der(chain, key, provider).map_err(mismatch)
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    tokio::fs::read(path)
        .await
        .map_err(|cause| CertificateError::Read {
            path: path.to_owned(),
            cause,
        })
}
