//! One TLS handshake through the Service, as a client would make it.

use std::{net::IpAddr, sync::Arc, time::Duration};

use oidcproxy_crds::v1alpha1::{
    network::Network, serving::ProxyProtocol, settings::ServingSettings,
};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use tokio_rustls::TlsConnector;

use crate::pki::renewal::{VerifierError, public_verifier, verifier};

/// As long as one attempt may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// Speaks of nobody: the connection is our own, as a load balancer's health check is.
const HEADER: &[u8] = b"PROXY UNKNOWN\r\n";

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

impl Error {
    /// Whether the other side has shown a certificate that will not do: no other opening helps then.
    fn is_verdict(&self) -> bool {
        let Self::Io(error) = self else {
            return false;
        };
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
    }
}

/// A Service, and what its clients are told.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Its address, if it has one.
    pub address: Option<&'a str>,
    /// Its port.
    pub port: i32,
    /// The name to ask for.
    pub name: &'a str,
    /// What alone is trusted, or else the public authorities.
    pub ca_bundle: Option<&'a str>,
    /// What the pods expect of whom before TLS begins.
    pub serving: &'a ServingSettings,
}

impl Target<'_> {
    fn needs_header(&self) -> bool {
        self.serving.proxy_protocol == ProxyProtocol::Required
    }

    fn trusts(&self, address: IpAddr) -> bool {
        let mut networks = self.serving.trusted_proxies.iter();
        networks.any(|text| text.parse().is_ok_and(|it: Network| it.contains(address)))
    }
}

/// Shakes hands with the Service. Where pods want a PROXY header of those that they trust, and
/// nothing of the kind of others, this begins as our own address says, and then tries the other way:
/// pods may see another address.
pub async fn check(target: &Target<'_>) -> Result<(), Error> {
    if !target.needs_header() {
        return in_time(async { shake_hands(connect(target).await?, target, false).await }).await;
    }
    let stream = in_time(connect(target)).await?;
    let is_trusted = target.trusts(stream.local_addr()?.ip());
    let first = in_time(shake_hands(stream, target, is_trusted)).await;
    let Err(error) = &first else {
        return first;
    };
    if error.is_verdict() {
        return first;
    }
    let other = async { shake_hands(connect(target).await?, target, !is_trusted).await };
    let second = in_time(other).await;
    let decides = second.as_ref().err().is_none_or(Error::is_verdict);
    if decides { second } else { first }
}

async fn in_time<T>(attempt: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(PATIENCE, attempt)
        .await
        .unwrap_or(Err(Error::Timeout))
}

async fn connect(target: &Target<'_>) -> Result<TcpStream, Error> {
    let address = target.address.ok_or(Error::NoAddress)?;
    let port = u16::try_from(target.port).unwrap_or_default();
    Ok(TcpStream::connect((address, port)).await?)
}

async fn shake_hands(
    mut stream: TcpStream,
    target: &Target<'_>,
    with_header: bool,
) -> Result<(), Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_webpki_verifier(match target.ca_bundle {
            Some(bundle) => verifier(bundle)?,
            None => public_verifier()?,
        })
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::try_from(target.name.to_owned())?;
    if with_header {
        stream.write_all(HEADER).await?;
    }
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, stream).await?;
    // A polite end keeps the proxies' logs clean.
    let _ = stream.shutdown().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;
    use rustls::{
        ServerConfig,
        pki_types::{PrivateKeyDer, pem::PemObject as _},
    };
    use tokio::{io::AsyncReadExt as _, net::TcpListener};
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::pki::{authority::tests::authority, leaf::Leaf, pem};

    /// Whom a server asks for a header.
    #[derive(Clone, Copy, PartialEq)]
    enum Asks {
        Nobody,
        Everybody,
    }

    async fn serve(leaf: &Leaf, asks: Asks) -> i32 {
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
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut header = [0; HEADER.len()];
                if asks == Asks::Everybody
                    && (stream.read_exact(&mut header).await.is_err() || header != *HEADER)
                {
                    continue;
                }
                let _ = acceptor.accept(stream).await;
            }
        });
        i32::from(port)
    }

    fn leaf(root: &crate::pki::authority::Authority) -> Leaf {
        let names = ["corp.auth.svc".to_owned()].into();
        let life = Duration::from_hours(24);
        Leaf::issue(root, "corp", &names, life, Timestamp::now()).unwrap()
    }

    fn target<'a>(port: i32, ca_bundle: &'a str, serving: &'a ServingSettings) -> Target<'a> {
        Target {
            address: Some("127.0.0.1"),
            port,
            name: "corp.auth.svc",
            ca_bundle: Some(ca_bundle),
            serving,
        }
    }

    #[tokio::test]
    async fn only_the_right_root_and_name_will_do() {
        let (own, stranger) = (authority(), authority());
        let port = serve(&leaf(&own), Asks::Nobody).await;
        let serving = ServingSettings::default();
        let right = target(port, own.pem(), &serving);
        check(&right).await.unwrap();
        let fails = async |wrong: Target<'_>| assert!(check(&wrong).await.is_err(), "{wrong:?}");
        let (ca_bundle, address) = (Some(stranger.pem()), None);
        fails(Target {
            name: "other.auth.svc",
            ..right
        })
        .await;
        fails(Target { ca_bundle, ..right }).await;
        fails(Target {
            ca_bundle: None,
            ..right
        })
        .await;
        fails(Target { address, ..right }).await;
        fails(Target { port: 1, ..right }).await;
    }

    #[tokio::test]
    async fn a_header_is_sent_where_it_is_asked_for() {
        let (own, stranger) = (authority(), authority());
        let leaf = leaf(&own);
        let required = |network: &str| ServingSettings {
            proxy_protocol: ProxyProtocol::Required,
            trusted_proxies: vec![network.to_owned()],
            ..ServingSettings::default()
        };
        for asks in [Asks::Nobody, Asks::Everybody] {
            let port = serve(&leaf, asks).await;
            // Pods go by the address that they see, which need not be the one that we have.
            for network in ["127.0.0.0/8", "192.0.2.0/24"] {
                let serving = required(network);
                check(&target(port, own.pem(), &serving)).await.unwrap();
                let refused = check(&target(port, stranger.pem(), &serving)).await;
                assert!(refused.unwrap_err().is_verdict());
            }
        }
        // Without `Required` none is sent.
        let port = serve(&leaf, Asks::Everybody).await;
        let serving = ServingSettings::default();
        assert!(check(&target(port, own.pem(), &serving)).await.is_err());
    }
}
