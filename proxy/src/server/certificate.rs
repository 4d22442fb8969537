//! The serving certificate, exchanged while connections go on.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::{
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::metrics::Metrics;

/// Secret volumes change by a symbolic link, which the kubelet swaps up to a minute late anyway.
const LOOK: Duration = Duration::from_secs(2);

/// Why a certificate cannot be served.
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

/// The certificate that new connections are served with.
#[derive(Debug)]
pub(crate) struct ServingCertificate {
    current: ArcSwap<CertifiedKey>,
    serial: ArcSwapOption<String>,
}

#[derive(Eq, PartialEq)]
struct Content {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl ServingCertificate {
    /// Reads the certificate, and again whenever its files change. A pair that is no good, as
    /// between the writes of two files, is never served: the last one stays.
    pub(crate) async fn follow(
        files: CertificateFiles,
        metrics: Arc<Metrics>,
    ) -> Result<Arc<Self>, CertificateError> {
        let mut content = files.read().await?;
        let pair = files.parse(&content)?;
        let serving = Arc::new(Self {
            serial: ArcSwapOption::empty(),
            current: ArcSwap::from_pointee(pair),
        });
        serving.describe(&metrics);
        let shared = Arc::clone(&serving);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK).await;
                match files.read().await {
                    Ok(newer) if newer != content => {
                        content = newer;
                        match files.parse(&content) {
                            Ok(pair) => {
                                shared.current.store(Arc::new(pair));
                                shared.describe(&metrics);
                                tracing::info!(
                                    serial = shared.serial(),
                                    "the serving certificate was exchanged"
                                );
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
        Ok(serving)
    }

    /// The serial number, in lower-case hexadecimal.
    pub(crate) fn serial(&self) -> Option<String> {
        self.serial.load().as_deref().cloned()
    }

    fn describe(&self, metrics: &Metrics) {
        let pair = self.current.load();
        let parsed = pair
            .cert
            .first()
            .and_then(|leaf| X509Certificate::from_der(leaf).ok());
        if let Some((_, leaf)) = parsed {
            metrics.certificate(leaf.validity().not_after.timestamp());
            let digits = leaf.raw_serial();
            // DER puts a zero byte before a number that would read as negative.
            let digits = digits.strip_prefix(&[0]).unwrap_or(digits);
            self.serial.store(Some(Arc::new(hex::encode(digits))));
        }
    }
}

impl ResolvesServerCert for ServingCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

impl CertificateFiles {
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
