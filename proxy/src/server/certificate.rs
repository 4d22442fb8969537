//! The serving certificate, exchanged while connections go on.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::{
    certificate_files::{CertificateError, CertificateFiles},
    metrics::Metrics,
};

/// The certificate that new connections are served with.
#[derive(Debug)]
pub(crate) struct ServingCertificate {
    current: ArcSwap<CertifiedKey>,
    serial: ArcSwapOption<String>,
}

impl ServingCertificate {
    /// That of these files, whatever it will be.
    pub(crate) async fn follow(
        files: CertificateFiles,
        metrics: Arc<Metrics>,
    ) -> Result<Arc<Self>, CertificateError> {
        let mut pairs = files.follow().await?;
        let first = Arc::clone(&pairs.borrow_and_update());
        let serving = Arc::new(Self {
            serial: ArcSwapOption::empty(),
            current: ArcSwap::from(first),
        });
        serving.describe(&metrics);
        let shared = Arc::clone(&serving);
        tokio::spawn(async move {
            while pairs.changed().await.is_ok() {
                shared.current.store(Arc::clone(&pairs.borrow_and_update()));
                shared.describe(&metrics);
                tracing::info!(
                    serial = shared.serial(),
                    "the serving certificate was exchanged"
                );
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
