//! Our own certificate towards kube-apiserver, where the kubeconfig names files.

use std::{path::PathBuf, sync::Arc};

use kube::{Config, client::ConfigExt as _};
use rustls::{
    ClientConfig, SignatureScheme,
    client::{ResolvesClientCert, Resumption},
    sign::CertifiedKey,
};
use tokio::sync::watch;

use super::upstream::UpstreamConfigError;
use crate::certificate_files::CertificateFiles;

/// The certificate that new connections are made with.
#[derive(Debug)]
struct ClientCertificate(watch::Receiver<Arc<CertifiedKey>>);

impl ResolvesClientCert for ClientCertificate {
    fn resolve(
        &self,
        _authorities: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.borrow()))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// TLS as the configuration says, with authorities and a certificate that may be renewed.
pub(super) async fn tls(config: &Config) -> Result<ClientConfig, UpstreamConfigError> {
    let mut tls = config
        .rustls_client_config()
        .map_err(|error| UpstreamConfigError::Tls(Box::new(error)))?;
    if let Some(files) = files(config) {
        let pairs = files.follow().await?;
        tls.client_auth_cert_resolver = Arc::new(ClientCertificate(pairs));
        // A session that is taken up again would go on with the certificate that it began with.
        tls.resumption = Resumption::disabled();
    }
    // The connector sets it by the versions that it is told to speak.
    tls.alpn_protocols.clear();
    Ok(tls)
}

/// None where either is written in the kubeconfig itself, which goes first.
fn files(config: &Config) -> Option<CertificateFiles> {
    let login = &config.auth_info;
    if login.client_certificate_data.is_some() || login.client_key_data.is_some() {
        return None;
    }
    Some(CertificateFiles {
        certificate: PathBuf::from(login.client_certificate.as_ref()?),
        key: PathBuf::from(login.client_key.as_ref()?),
    })
}
