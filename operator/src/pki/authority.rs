//! The operator's own root, one for each `OidcProxy`.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use time::OffsetDateTime;
use x509_parser::parse_x509_certificate;

use super::{pem, succession::Predecessor};

/// Certificates begin a little in the past: clocks differ.
pub(super) const BACKDATE: Duration = Duration::from_mins(5);

/// The longest common name that a certificate may have.
pub(super) const MAX_COMMON_NAME: usize = 64;

/// Why there is no new certificate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The library refused.
    #[error("cannot make a certificate")]
    Rcgen(#[from] rcgen::Error),
    /// What was made cannot be read back.
    #[error("a new certificate cannot be read back: {0}")]
    Unusable(#[from] Problem),
    /// A date that does not fit.
    #[error("a date is out of range")]
    Date,
}

/// Why stored material cannot be used any longer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Problem {
    /// It is not there.
    #[error("it is not there")]
    Absent,
    /// It cannot be read.
    #[error("it cannot be read")]
    Unreadable,
    /// The key belongs to another certificate.
    #[error("certificate and key do not belong together")]
    KeyMismatch,
    /// The certificate may not sign others.
    #[error("it is not a certificate authority")]
    NotAnAuthority,
    /// Its time has not come.
    #[error("it is not valid yet")]
    NotYetValid,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
}

/// A root with its key.
pub struct Authority {
    pem: String,
    key_pem: String,
    not_before: Timestamp,
    not_after: Timestamp,
    issuer: Issuer<'static, KeyPair>,
    predecessor: Option<Predecessor>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Authority")
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// A new root with a new key.
    pub fn create(name: &str, lifetime: Duration, now: Timestamp) -> Result<Self, Error> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        // Not 0: a later root is to be signed by this one as well.
        let mut params = authority_params(name, 1);
        params.not_before = date(shift(now, BACKDATE, false)?)?;
        params.not_after = date(shift(now, lifetime, true)?)?;
        let certificate = params.self_signed(&key)?;
        let pem = pem::encode_certificate(certificate.der());
        Ok(Self::load(
            pem.as_bytes(),
            key.serialize_pem().as_bytes(),
            now,
        )?)
    }

    /// A stored root, if it can still sign.
    pub fn load(certificate: &[u8], key: &[u8], now: Timestamp) -> Result<Self, Problem> {
        let ders = pem::certificates(certificate).map_err(|_| Problem::Unreadable)?;
        let [der] = ders.as_slice() else {
            return Err(Problem::Unreadable);
        };
        let (_, parsed) = parse_x509_certificate(der).map_err(|_| Problem::Unreadable)?;
        let key_pem = std::str::from_utf8(key).map_err(|_| Problem::Unreadable)?;
        let key = KeyPair::from_pem(key_pem).map_err(|_| Problem::Unreadable)?;
        if parsed.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err(Problem::KeyMismatch);
        }
        if !parsed.is_ca() {
            return Err(Problem::NotAnAuthority);
        }
        let not_after = check_validity(&parsed, now)?;
        let not_before = Timestamp::from_second(parsed.validity().not_before.timestamp())
            .map_err(|_| Problem::Unreadable)?;
        let pem = pem::encode_certificate(der);
        let issuer = Issuer::from_ca_cert_pem(&pem, key).map_err(|_| Problem::Unreadable)?;
        Ok(Self {
            pem,
            key_pem: key_pem.to_owned(),
            not_before,
            not_after,
            issuer,
            predecessor: None,
        })
    }

    /// The certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The key.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// When it ends.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// The same, following another one that clients may still trust.
    #[must_use]
    pub fn following(mut self, predecessor: Option<Predecessor>) -> Self {
        self.predecessor = predecessor;
        self
    }

    /// The one before, while it lasts.
    pub fn predecessor(&self) -> Option<&Predecessor> {
        self.predecessor.as_ref()
    }

    /// What clients are told to trust: this root, and the one before while it lasts.
    pub fn bundle(&self) -> String {
        let before = self.predecessor.as_ref().map_or("", Predecessor::pem);
        format!("{}{before}", self.pem)
    }

    pub(super) fn not_before(&self) -> Timestamp {
        self.not_before
    }

    pub(super) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }
}

/// What all certificates of authorities have in common.
pub(super) fn authority_params(name: &str, path_length: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// When the certificate ends, if it is valid now.
pub(super) fn check_validity(
    certificate: &x509_parser::certificate::X509Certificate<'_>,
    now: Timestamp,
) -> Result<Timestamp, Problem> {
    let validity = certificate.validity();
    if now.as_second() < validity.not_before.timestamp() {
        return Err(Problem::NotYetValid);
    }
    if now.as_second() >= validity.not_after.timestamp() {
        return Err(Problem::Expired);
    }
    Timestamp::from_second(validity.not_after.timestamp()).map_err(|_| Problem::Unreadable)
}

pub(super) fn common_name(name: &str) -> DistinguishedName {
    let mut cut = name.to_owned();
    cut.truncate(MAX_COMMON_NAME);
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, cut);
    distinguished
}

pub(super) fn shift(at: Timestamp, by: Duration, forward: bool) -> Result<Timestamp, Error> {
    let moved = if forward {
        at.checked_add(by)
    } else {
        at.checked_sub(by)
    };
    moved.map_err(|_| Error::Date)
}

pub(super) fn date(at: Timestamp) -> Result<OffsetDateTime, Error> {
    OffsetDateTime::from_unix_timestamp(at.as_second()).map_err(|_| Error::Date)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn authority() -> Authority {
        authority_at(Timestamp::now())
    }

    pub(crate) fn authority_at(now: Timestamp) -> Authority {
        Authority::create("corp.auth", Duration::from_hours(87_600), now).unwrap()
    }

    #[test]
    fn a_root_may_sign_other_roots() {
        let own = authority();
        let der = pem::certificates(own.pem().as_bytes()).unwrap().remove(0);
        let (_, parsed) = parse_x509_certificate(&der).unwrap();
        let constraints = parsed.basic_constraints().unwrap().unwrap().value;
        assert!(constraints.ca && constraints.path_len_constraint == Some(1));
        assert_eq!(parsed.subject().to_string(), "CN=corp.auth");
        let days = (own.not_after().as_second() - Timestamp::now().as_second()) / 86_400;
        assert!((3649..=3650).contains(&days), "{days}");
    }

    #[test]
    fn what_was_made_is_read_back() {
        let own = authority();
        let again = Authority::load(
            own.pem().as_bytes(),
            own.key_pem().as_bytes(),
            Timestamp::now(),
        )
        .unwrap();
        assert_eq!(again.pem(), own.pem());
        assert_eq!(again.not_after(), own.not_after());
        assert!(!format!("{own:?}").contains("PRIVATE"));
    }

    #[test]
    fn what_cannot_sign_is_noticed() {
        let (own, other, now) = (authority(), authority(), Timestamp::now());
        let load = |certificate: &str, key: &str, at| {
            Authority::load(certificate.as_bytes(), key.as_bytes(), at).unwrap_err()
        };
        assert_eq!(load("", own.key_pem(), now), Problem::Unreadable);
        assert_eq!(load(own.pem(), "junk", now), Problem::Unreadable);
        let two = format!("{}{}", own.pem(), other.pem());
        assert_eq!(load(&two, own.key_pem(), now), Problem::Unreadable);
        assert_eq!(load(own.pem(), other.key_pem(), now), Problem::KeyMismatch);
        let late = shift(now, Duration::from_hours(90_000), true).unwrap();
        assert_eq!(load(own.pem(), own.key_pem(), late), Problem::Expired);
        let early = shift(now, Duration::from_hours(1), false).unwrap();
        assert_eq!(load(own.pem(), own.key_pem(), early), Problem::NotYetValid);
    }
}
