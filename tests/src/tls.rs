//! Certificates and TLS settings of the test servers and clients.

use std::{net::IpAddr, sync::Arc};

use anyhow::{Context as _, Result, anyhow};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
    server::WebPkiClientVerifier,
};
use time::{Duration, OffsetDateTime};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// A root that issues the certificates of one test.
pub struct TestCa {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, as PEM for files and as DER for rustls.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// Certificate chain, PEM.
    pub cert_pem: String,
    /// PKCS#8 key, PEM.
    pub key_pem: String,
    cert_der: CertificateDer<'static>,
    key_der: Vec<u8>,
}

impl TestCa {
    /// A fresh P-256 root named `name`.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let now = OffsetDateTime::now_utc();
        params.not_before = now - Duration::minutes(5);
        params.not_after = now + Duration::days(30);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self { issuer })
    }

    /// The root, PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A server certificate for DNS names and IP addresses.
    pub fn server(&self, names: &[&str]) -> Result<Leaf> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = DistinguishedName::new();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params)
    }

    /// A client certificate: `CN` is the user, each `O` a group.
    pub fn client(&self, user: &str, groups: &[&str]) -> Result<Leaf> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for group in groups {
            params
                .distinguished_name
                .push(DnType::OrganizationName, *group);
        }
        params.distinguished_name.push(DnType::CommonName, user);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params)
    }

    fn issue(&self, mut params: CertificateParams) -> Result<Leaf> {
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let now = OffsetDateTime::now_utc();
        params.not_before = now - Duration::minutes(5);
        params.not_after = now + Duration::days(7);
        let key = KeyPair::generate()?;
        let cert = params.signed_by(&key, &self.issuer)?;
        Ok(Leaf {
            cert_pem: cert.pem(),
            key_pem: key.serialize_pem(),
            cert_der: cert.der().clone(),
            key_der: key.serialize_der(),
        })
    }
}

/// A root for an operator's key that began `age` ago and lasts for another `rest`, PEM: what time would have made of it.
pub fn aged_root(
    common_name: &str,
    key_pem: &str,
    age: std::time::Duration,
    rest: std::time::Duration,
) -> Result<String> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    let now = OffsetDateTime::now_utc();
    params.not_before = now - age;
    params.not_after = now + rest;
    Ok(params.self_signed(&KeyPair::from_pem(key_pem)?)?.pem())
}

impl Leaf {
    /// Reads a chain and its key from PEM text.
    pub fn from_pem(cert_pem: &str, key_pem: &str) -> Result<ServerConfig> {
        let chain = rustls_pemfile::certs(&mut cert_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .context("not a PEM certificate chain")?;
        anyhow::ensure!(!chain.is_empty(), "no certificate in the file");
        let key = rustls_pemfile::private_key(&mut key_pem.as_bytes())
            .context("not a PEM key")?
            .ok_or_else(|| anyhow!("no private key in the file"))?;
        server_config(chain, key, &[b"http/1.1"])
    }

    /// The certificate, DER.
    pub fn der(&self) -> &[u8] {
        &self.cert_der
    }

    /// The same as [`Self::acceptor`] for whoever has a certificate of `clients` (PEM), or none.
    pub fn acceptor_asking(&self, alpn: &[&[u8]], clients: &str) -> Result<TlsAcceptor> {
        let mut store = RootCertStore::empty();
        for root in rustls_pemfile::certs(&mut clients.as_bytes()) {
            store.add(root?)?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider())
            .allow_unauthenticated()
            .build()?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key_der.clone()));
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![self.cert_der.clone()], key)?;
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Accepts TLS with this certificate and these protocols.
    pub fn acceptor(&self, alpn: &[&[u8]]) -> Result<TlsAcceptor> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key_der.clone()));
        let config = server_config(vec![self.cert_der.clone()], key, alpn)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// The one crypto provider.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    alpn: &[&[u8]],
) -> Result<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

/// Client settings that trust exactly `roots` (PEM) and offer `alpn` (none: no ALPN extension).
pub fn client_config(roots: &str, alpn: &[&[u8]]) -> Result<ClientConfig> {
    let mut store = RootCertStore::empty();
    for root in rustls_pemfile::certs(&mut roots.as_bytes()) {
        store.add(root?)?;
    }
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

/// [`client_config`] with a certificate of the client's own.
pub fn connector_with(roots: &str, alpn: &[&[u8]], leaf: &Leaf) -> Result<TlsConnector> {
    let mut store = RootCertStore::empty();
    for root in rustls_pemfile::certs(&mut roots.as_bytes()) {
        store.add(root?)?;
    }
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf.key_der.clone()));
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(store)
        .with_client_auth_cert(vec![leaf.cert_der.clone()], key)?;
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// [`client_config`] as a connector.
pub fn connector(roots: &str, alpn: &[&[u8]]) -> Result<TlsConnector> {
    Ok(TlsConnector::from(Arc::new(client_config(roots, alpn)?)))
}

/// The name to verify for an address.
pub fn ip_name(ip: IpAddr) -> ServerName<'static> {
    ServerName::IpAddress(ip.into())
}
