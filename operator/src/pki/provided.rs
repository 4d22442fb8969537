//! A serving certificate that somebody else issues and renews: nothing is made here, only looked
//! at, with the eyes of the proxy that is to serve it.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use k8s_openapi::jiff::Timestamp;
use rustls::{
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};
use x509_parser::parse_x509_certificate;

use super::{
    leaf::{Facts, facts},
    pem,
};

/// Why a pair cannot be served.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unusable {
    /// No certificate.
    #[error("tls.crt {0}")]
    Certificate(#[from] pem::Error),
    /// No key.
    #[error("tls.key holds no private key that can be used")]
    Key,
    /// The key belongs to another certificate.
    #[error("tls.crt and tls.key do not belong together")]
    KeyMismatch,
}

/// What the certificate says, if it can be served with this key.
pub fn inspect(chain: &[u8], key: &[u8]) -> Result<Facts, Unusable> {
    let ders = pem::certificates(chain)?;
    let first = ders.first().ok_or(pem::Error::Empty)?;
    let (_, parsed) = parse_x509_certificate(first).map_err(|_| pem::Error::Certificate(0))?;
    let facts = facts(&parsed).ok_or(pem::Error::Certificate(0))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| Unusable::Key)?;
    let provider = Arc::new(default_provider());
    let signer = provider.key_provider.load_private_key(key);
    let signer = signer.map_err(|_| Unusable::Key)?;
    let chain = ders.into_iter().map(CertificateDer::from).collect();
    match CertifiedKey::new(chain, signer).keys_match() {
        Ok(()) => Ok(facts),
        Err(_) => Err(Unusable::KeyMismatch),
    }
}

/// Whether it is the time of this certificate.
pub fn is_valid_at(facts: &Facts, now: Timestamp) -> bool {
    (facts.not_before..facts.not_after).contains(&now)
}

/// The names that the certificate does not carry, neither as they are nor by a wildcard.
pub fn uncovered<'a>(facts: &Facts, names: impl Iterator<Item = &'a String>) -> BTreeSet<&'a str> {
    names
        .map(String::as_str)
        .filter(|name| !covers(facts, name))
        .collect()
}

/// Whether clients accept the certificate for this name or address.
pub fn covers(facts: &Facts, name: &str) -> bool {
    if let Ok(address) = name.parse::<IpAddr>() {
        return facts.names.contains(&address.to_string());
    }
    let name = name.to_ascii_lowercase();
    let wildcard = name.split_once('.').map(|(_, rest)| format!("*.{rest}"));
    let mut all = facts.names.iter().map(|known| known.to_ascii_lowercase());
    all.any(|known| known == name || Some(&known) == wildcard.as_ref())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn pair(names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let certificate = CertificateParams::new(names)
            .unwrap()
            .self_signed(&key)
            .unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn inspect(chain: &str, key: &str) -> Result<Facts, Unusable> {
        super::inspect(chain.as_bytes(), key.as_bytes())
    }

    #[test]
    fn only_a_pair_that_belongs_together_is_served() {
        let (one, other) = (pair(&["a.example.com"]), pair(&["a.example.com"]));
        let facts = inspect(&one.0, &one.1).unwrap();
        assert!(facts.names.contains("a.example.com"));
        assert_eq!(inspect(&one.0, &other.1), Err(Unusable::KeyMismatch));
        assert_eq!(inspect(&one.0, "junk"), Err(Unusable::Key));
        assert_eq!(
            inspect("junk", &one.1),
            Err(Unusable::Certificate(pem::Error::Empty))
        );
    }

    #[test]
    fn names_are_covered_as_clients_see_it() {
        let (chain, key) = pair(&["k8s.example.com", "*.apps.example.com", "10.0.0.1"]);
        let facts = inspect(&chain, &key).unwrap();
        let names = |all: &[&str]| -> Vec<String> { all.iter().map(ToString::to_string).collect() };
        let fine = names(&["k8s.example.com", "a.apps.example.com", "10.0.0.1"]);
        assert!(uncovered(&facts, fine.iter()).is_empty());
        let wrong = names(&[
            "apps.example.com",
            "a.b.apps.example.com",
            "10.0.0.2",
            "fd00::1",
        ]);
        assert_eq!(uncovered(&facts, wrong.iter()).len(), 4);
    }

    #[test]
    fn its_time_begins_and_ends() {
        let (chain, key) = pair(&["a"]);
        let mut facts = inspect(&chain, &key).unwrap();
        let now = Timestamp::now();
        facts.not_before = now;
        facts.not_after = now + Duration::from_mins(1);
        assert!(is_valid_at(&facts, now));
        assert!(!is_valid_at(&facts, facts.not_after));
        assert!(!is_valid_at(&facts, now - Duration::from_secs(1)));
    }
}
