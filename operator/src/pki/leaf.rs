//! The serving certificate.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use k8s_openapi::jiff::Timestamp;
use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, parse_x509_certificate};

use super::{
    authority::{Authority, BACKDATE, Error, Problem, common_name, date, shift},
    pem,
    succession::Predecessor,
};

/// A serving certificate with its key.
#[derive(Clone, PartialEq)]
pub struct Leaf {
    /// The certificate, and what chains it to the root.
    pub chain_pem: String,
    /// The key.
    pub key_pem: String,
    /// What the certificate says.
    pub facts: Facts,
}

/// What a certificate says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Facts {
    /// Its serial number: lower-case hexadecimal without a leading zero byte.
    pub serial: String,
    /// When it begins.
    pub not_before: Timestamp,
    /// When it ends.
    pub not_after: Timestamp,
    /// Its names and addresses.
    pub names: BTreeSet<String>,
}

impl std::fmt::Debug for Leaf {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Leaf")
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}

impl Leaf {
    /// A new certificate with a new key; it never outlives its root. While an older root lasts, its
    /// signature on this one comes along.
    pub fn issue(
        authority: &Authority,
        subject: &str,
        names: &BTreeSet<String>,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::new(names.iter().cloned().collect::<Vec<_>>())?;
        params.distinguished_name = common_name(subject);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = date(shift(now, BACKDATE, false)?)?;
        params.not_after = date(end(authority, lifetime, now)?)?;
        let certificate = params.signed_by(&key, authority.issuer())?;
        let mut chain = pem::encode_certificate(certificate.der());
        chain.push_str(authority.predecessor().map_or("", Predecessor::cross_pem));
        Ok(Self::load(
            chain.as_bytes(),
            key.serialize_pem().as_bytes(),
        )?)
    }

    /// A stored certificate; whether it still serves is for `renewal` to say.
    pub fn load(chain: &[u8], key: &[u8]) -> Result<Self, Problem> {
        let ders = pem::certificates(chain).map_err(|_| Problem::Unreadable)?;
        let der = ders.first().ok_or(Problem::Unreadable)?;
        let (_, parsed) = parse_x509_certificate(der).map_err(|_| Problem::Unreadable)?;
        let key_pem = std::str::from_utf8(key).map_err(|_| Problem::Unreadable)?;
        let pair = KeyPair::from_pem(key_pem).map_err(|_| Problem::Unreadable)?;
        if parsed.public_key().subject_public_key.data.as_ref() != pair.public_key_raw() {
            return Err(Problem::KeyMismatch);
        }
        Ok(Self {
            facts: facts(&parsed).ok_or(Problem::Unreadable)?,
            chain_pem: ders
                .iter()
                .map(|der| pem::encode_certificate(der))
                .collect(),
            key_pem: key_pem.to_owned(),
        })
    }
}

/// When a certificate that is issued now would end.
pub(super) fn end(
    authority: &Authority,
    lifetime: Duration,
    now: Timestamp,
) -> Result<Timestamp, Error> {
    Ok(shift(now, lifetime, true)?.min(authority.not_after()))
}

/// The serial number as the proxies report it.
pub fn serial(raw: &[u8]) -> String {
    hex::encode(raw.strip_prefix(&[0]).unwrap_or(raw))
}

pub(super) fn facts(certificate: &X509Certificate<'_>) -> Option<Facts> {
    let validity = certificate.validity();
    let names = certificate.subject_alternative_name().ok()?;
    Some(Facts {
        serial: serial(certificate.raw_serial()),
        not_before: Timestamp::from_second(validity.not_before.timestamp()).ok()?,
        not_after: Timestamp::from_second(validity.not_after.timestamp()).ok()?,
        names: names
            .map(|extension| {
                extension
                    .value
                    .general_names
                    .iter()
                    .filter_map(name)
                    .collect()
            })
            .unwrap_or_default(),
    })
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(dns) => Some((*dns).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let address = v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::authority::tests::authority;

    fn names(all: &[&str]) -> BTreeSet<String> {
        all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_and_addresses_are_told_apart() {
        let all = names(&["corp.auth.svc", "10.0.0.1", "fd00::1"]);
        let leaf = Leaf::issue(
            &authority(),
            "corp.auth.svc",
            &all,
            Duration::from_hours(24),
            Timestamp::now(),
        )
        .unwrap();
        assert_eq!(leaf.facts.names, all);
        let der = pem::certificates(leaf.chain_pem.as_bytes())
            .unwrap()
            .remove(0);
        let (_, parsed) = parse_x509_certificate(&der).unwrap();
        let extension = parsed.subject_alternative_name().unwrap().unwrap();
        let addresses = extension
            .value
            .general_names
            .iter()
            .filter(|name| matches!(name, GeneralName::IPAddress(_)));
        assert_eq!(addresses.count(), 2);
        assert_eq!(parsed.subject().to_string(), "CN=corp.auth.svc");
        assert!(!parsed.is_ca());
        assert_eq!(leaf.facts.serial, serial(parsed.raw_serial()));
    }

    #[test]
    fn each_has_a_key_and_a_serial_of_its_own() {
        let own = authority();
        let issue = || {
            Leaf::issue(
                &own,
                "a",
                &names(&["a"]),
                Duration::from_hours(24),
                Timestamp::now(),
            )
            .unwrap()
        };
        let (one, two) = (issue(), issue());
        assert_ne!(one.key_pem, two.key_pem);
        assert_ne!(one.facts.serial, two.facts.serial);
    }

    #[test]
    fn none_outlives_its_root() {
        let (own, now) = (authority(), Timestamp::now());
        let leaf = Leaf::issue(
            &own,
            "a",
            &names(&["a"]),
            Duration::from_hours(200_000),
            now,
        )
        .unwrap();
        assert_eq!(leaf.facts.not_after, own.not_after());
    }

    #[test]
    fn serials_have_no_leading_zero_byte() {
        assert_eq!(serial(&[0, 0xAB, 1]), "ab01");
        assert_eq!(serial(&[0x0A]), "0a");
    }
}
