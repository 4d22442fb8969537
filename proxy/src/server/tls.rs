//! TLS of the serving port, by the settings' oldest version.

use std::sync::Arc;

use arc_swap::ArcSwap;
use oidcproxy_crds::v1alpha1::serving::TlsVersion;
use rustls::{
    ServerConfig, SupportedProtocolVersion,
    version::{TLS12, TLS13},
};

use super::ServingCertificate;

/// The TLS configuration of new connections.
#[derive(Debug)]
pub(crate) struct ServerTls {
    certificate: Arc<ServingCertificate>,
    current: ArcSwap<ServerConfig>,
}

impl ServerTls {
    pub(crate) fn new(certificate: Arc<ServingCertificate>) -> Result<Self, rustls::Error> {
        let config = server_config(&certificate, TlsVersion::default())?;
        Ok(Self {
            current: ArcSwap::new(config),
            certificate,
        })
    }

    pub(crate) fn set_min_version(&self, oldest: TlsVersion) -> Result<(), rustls::Error> {
        self.current
            .store(server_config(&self.certificate, oldest)?);
        Ok(())
    }

    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }
}

fn server_config(
    certificate: &Arc<ServingCertificate>,
    oldest: TlsVersion,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let versions: &[&SupportedProtocolVersion] = match oldest {
        TlsVersion::Tls12 => &[&TLS13, &TLS12],
        TlsVersion::Tls13 => &[&TLS13],
    };
    let mut config = ServerConfig::builder_with_protocol_versions(versions)
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(certificate) as Arc<_>);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // kubectl is a new process for each command: resumption by ticket saves it half a handshake.
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    // A replayed request would run twice.
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}
