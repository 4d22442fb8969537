//! One TLS handshake through the Service, as a client would make it.

use std::{sync::Arc, time::Duration};

use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::pki::renewal::{VerifierError, public_verifier, verifier};

/// As long as it may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why the Service did not answer as it should.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Too slow.
    #[error("no TLS handshake with the Service in time")]
    Timeout,
    /// The Service has no address.
    #[error("the Service has no address")]
    NoAddress,
    /// What clients are told to trust cannot be used.
    #[error(transparent)]
    Bundle(#[from] VerifierError),
    /// Not a name.
    #[error("the Service's name is not a server name")]
    Name(#[from] rustls::pki_types::InvalidDnsNameError),
    /// The TLS library refused its configuration.
    #[error("TLS cannot be configured")]
    Config(#[from] rustls::Error),
    /// No connection, or a certificate that clients would refuse.
    #[error("TLS handshake with the Service failed: {0}")]
    Io(#[from] std::io::Error),
}

/// Shakes hands with the Service: trusting `ca_bundle` alone, or else the public authorities, and
/// asking for `name`.
pub async fn check(
    address: Option<&str>,
    port: i32,
    name: &str,
    ca_bundle: Option<&str>,
) -> Result<(), Error> {
    let address = address.ok_or(Error::NoAddress)?;
    let attempt = shake_hands(address, port, name, ca_bundle);
    tokio::time::timeout(PATIENCE, attempt)
        .await
        .unwrap_or(Err(Error::Timeout))
}

async fn shake_hands(
    address: &str,
    port: i32,
    name: &str,
    ca_bundle: Option<&str>,
) -> Result<(), Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_webpki_verifier(match ca_bundle {
            Some(bundle) => verifier(bundle)?,
            None => public_verifier()?,
        })
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::try_from(name.to_owned())?;
    let port = u16::try_from(port).unwrap_or_default();
    let stream = TcpStream::connect((address, port)).await?;
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, stream).await?;
    // A polite end keeps the proxies' logs clean.
    let _ = tokio::io::AsyncWriteExt::shutdown(&mut stream).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;
    use rustls::{
        ServerConfig,
        pki_types::{PrivateKeyDer, pem::PemObject as _},
    };
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::pki::{authority::tests::authority, leaf::Leaf, pem};

    async fn serve(leaf: &Leaf) -> i32 {
        let chain = pem::certificates(leaf.chain_pem.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.into_iter().map(Into::into).collect(), key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = acceptor.accept(stream).await;
            }
        });
        i32::from(port)
    }

    #[tokio::test]
    async fn only_the_right_root_and_name_will_do() {
        let own = authority();
        let names = ["corp.auth.svc".to_owned()].into();
        let leaf = Leaf::issue(
            &own,
            "corp",
            &names,
            Duration::from_hours(24),
            Timestamp::now(),
        )
        .unwrap();
        let port = serve(&leaf).await;
        let address = Some("127.0.0.1");
        let stranger = authority();
        let fails = async |address, port, name, root| {
            assert!(check(address, port, name, root).await.is_err());
        };
        let (name, root) = ("corp.auth.svc", Some(own.pem()));
        check(address, port, name, root).await.unwrap();
        fails(address, port, "other.auth.svc", root).await;
        fails(address, port, name, Some(stranger.pem())).await;
        fails(address, port, name, None).await;
        fails(None, port, name, root).await;
        fails(address, 1, name, root).await;
    }
}
