//! From one root to the next. The new one is signed by the old one as well, and that signature is
//! sent along with each serving certificate until the old root ends: whoever has only the old root
//! goes on being served until then. The old key signs nothing else and is not kept.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use rcgen::KeyPair;
use x509_parser::parse_x509_certificate;

use super::{
    authority::{
        Authority, BACKDATE, Error, MAX_COMMON_NAME, Problem, authority_params, check_validity,
        date, shift,
    },
    pem,
    renewal::spread,
};

/// The root before, as far as it is still of use.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Predecessor {
    pem: String,
    cross_pem: String,
    not_after: Timestamp,
}

impl Predecessor {
    /// A stored one, if it still is of use: the certificate of the old root, and its signature
    /// over the key of `successor`.
    pub fn load(
        certificate: &[u8],
        cross: &[u8],
        successor: &Authority,
        now: Timestamp,
    ) -> Result<Self, Problem> {
        let (old, cross) = (one(certificate)?, one(cross)?);
        let (_, root) = parse_x509_certificate(&old).map_err(|_| Problem::Unreadable)?;
        let (_, signed) = parse_x509_certificate(&cross).map_err(|_| Problem::Unreadable)?;
        let new = one(successor.pem().as_bytes())?;
        let (_, new) = parse_x509_certificate(&new).map_err(|_| Problem::Unreadable)?;
        if signed.public_key().raw != new.public_key().raw
            || signed.subject() != new.subject()
            || signed.issuer() != root.subject()
        {
            return Err(Problem::KeyMismatch);
        }
        let not_after = check_validity(&root, now)?.min(check_validity(&signed, now)?);
        Ok(Self {
            pem: pem::encode_certificate(&old),
            cross_pem: pem::encode_certificate(&cross),
            not_after,
        })
    }

    /// The old root.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The new root's key, signed by the old root.
    pub fn cross_pem(&self) -> &str {
        &self.cross_pem
    }

    /// The last moment for clients that have only the old root.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }
}

fn one(bundle: &[u8]) -> Result<Vec<u8>, Problem> {
    let mut ders = pem::certificates(bundle).map_err(|_| Problem::Unreadable)?;
    match (ders.pop(), ders.is_empty()) {
        (Some(der), true) => Ok(der),
        _ => Err(Problem::Unreadable),
    }
}

/// Whether the root is to be replaced by a new one while it still lasts. Never while its own
/// predecessor lasts: a chain holds one signature of an older root and not more.
pub fn is_due(authority: &Authority, overlap: Duration, now: Timestamp) -> bool {
    authority.predecessor().is_none() && now >= due_at(authority, overlap)
}

/// When a root is to be replaced: the overlap before its end, or a little earlier, so that roots
/// which were made together are not replaced together.
fn due_at(authority: &Authority, overlap: Duration) -> Timestamp {
    let seconds = i64::try_from(overlap.as_secs()).unwrap_or(i64::MAX);
    let latest = authority.not_after().as_second().saturating_sub(seconds);
    let fingerprint = pem::fingerprint(authority.pem());
    let due = latest.saturating_sub(spread(fingerprint.as_bytes(), seconds / 10));
    // Whatever the lifetimes: a root is not replaced in the first tenth of its life.
    let begin = authority.not_before().as_second();
    let whole = authority.not_after().as_second().saturating_sub(begin);
    let earliest = begin.saturating_add(whole / 10);
    Timestamp::from_second(due.max(earliest)).unwrap_or_else(|_| authority.not_after())
}

/// A new root with a new key that follows `old`.
pub fn succeed(
    old: &Authority,
    name: &str,
    lifetime: Duration,
    now: Timestamp,
) -> Result<Authority, Error> {
    let name = dated(name, now);
    let new = Authority::create(&name, lifetime, now)?;
    let mut params = authority_params(&name, 0);
    params.use_authority_key_identifier_extension = true;
    params.not_before = date(shift(now, BACKDATE, false)?)?;
    params.not_after = date(old.not_after().min(new.not_after()))?;
    let key = KeyPair::from_pem(new.key_pem())?;
    let cross = params.signed_by(&key, old.issuer())?;
    let cross = pem::encode_certificate(cross.der());
    let predecessor = Predecessor::load(old.pem().as_bytes(), cross.as_bytes(), &new, now)?;
    Ok(new.following(Some(predecessor)))
}

/// Roots that are valid at the same time have different names: a client that finds an issuer by
/// name finds the right one.
fn dated(name: &str, now: Timestamp) -> String {
    let suffix = format!("@{}", now.as_second());
    let room = MAX_COMMON_NAME.saturating_sub(suffix.len());
    let name: String = name.chars().take(room).collect();
    name + &suffix
}

#[cfg(test)]
mod tests;
