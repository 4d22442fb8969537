//! When a serving certificate has to be replaced.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::{
    authority::{Authority, Problem},
    leaf::{Facts, Leaf, end},
    pem,
};

/// Why a certificate is issued.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cause {
    /// What is stored cannot be used.
    Stored(Problem),
    /// The names or addresses have changed.
    Names,
    /// The root is another one now, or the certificate does not serve.
    Authority,
    /// The signature of an older root is missing, or is no longer needed.
    Chain,
    /// Its time is nearly over.
    Due,
}

impl std::fmt::Display for Cause {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stored(Problem::Absent) => formatter.write_str("there was none"),
            Self::Stored(problem) => write!(formatter, "{problem}"),
            Self::Names => formatter.write_str("its names have changed"),
            Self::Authority => formatter.write_str("its authority has changed"),
            Self::Chain => formatter.write_str("its chain has changed"),
            Self::Due => formatter.write_str("it is due for renewal"),
        }
    }
}

/// What a certificate should be like.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// Its names and addresses.
    pub names: &'a BTreeSet<String>,
    /// How long it lives.
    pub lifetime: Duration,
    /// How long before its end it is replaced.
    pub renew_before: Duration,
}

/// Why the stored certificate has to be replaced; nothing when it is to stay.
pub fn cause(
    stored: Result<&Leaf, Problem>,
    authority: &Authority,
    wanted: &Wanted<'_>,
    now: Timestamp,
) -> Option<Cause> {
    let leaf = match stored {
        Ok(leaf) => leaf,
        Err(problem) => return Some(Cause::Stored(problem)),
    };
    let facts = &leaf.facts;
    if now >= facts.not_after {
        return Some(Cause::Stored(Problem::Expired));
    }
    if now < facts.not_before {
        return Some(Cause::Stored(Problem::NotYetValid));
    }
    if facts.names != *wanted.names {
        return Some(Cause::Names);
    }
    if !serves(leaf, authority.pem(), now) {
        return Some(Cause::Authority);
    }
    if !has_right_chain(leaf, authority, now) {
        return Some(Cause::Chain);
    }
    // Close to the root's own end a new one would end no later: nothing is gained by it.
    let longer = end(authority, wanted.lifetime, now).is_ok_and(|fresh| fresh > facts.not_after);
    (now >= due_at(facts, wanted.renew_before) && longer).then_some(Cause::Due)
}

/// When a certificate is to be replaced. Spread by its serial number, so that many that were
/// issued together are not renewed together, and the same after a restart.
pub fn due_at(facts: &Facts, renew_before: Duration) -> Timestamp {
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    let end = facts.not_after.as_second();
    let latest = end.saturating_sub(seconds(renew_before));
    let room = latest.saturating_sub(facts.not_before.as_second()).max(0) / 10;
    let due = latest.saturating_sub(spread(facts.serial.as_bytes(), room));
    Timestamp::from_second(due).unwrap_or(facts.not_after)
}

/// As much of the room as these bytes say.
pub(super) fn spread(seed: &[u8], room: i64) -> i64 {
    let share = i64::from(seed.iter().copied().fold(0_u8, u8::wrapping_add));
    room / 255 * share
}

/// Whether a client that trusts the root alone accepts the certificate.
fn serves(leaf: &Leaf, root: &str, now: Timestamp) -> bool {
    let chain = pem::certificates(leaf.chain_pem.as_bytes()).unwrap_or_default();
    let mut ders = chain.into_iter().map(CertificateDer::from);
    let name = leaf
        .facts
        .names
        .first()
        .map(|name| ServerName::try_from(name.as_str()));
    let (Some(certificate), Some(Ok(name))) = (ders.next(), name) else {
        return false;
    };
    let intermediates: Vec<CertificateDer<'_>> = ders.collect();
    let Ok(verifier) = verifier(root) else {
        return false;
    };
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    let at = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    verifier
        .verify_server_cert(&certificate, &intermediates, &name, &[], at)
        .is_ok()
}

/// Whether clients that trust only the root before are served too, while it lasts and no longer.
fn has_right_chain(leaf: &Leaf, authority: &Authority, now: Timestamp) -> bool {
    match authority.predecessor() {
        Some(predecessor) => serves(leaf, predecessor.pem(), now),
        None => pem::certificates(leaf.chain_pem.as_bytes()).is_ok_and(|all| all.len() == 1),
    }
}

/// Why there is no verifier.
#[derive(Debug, thiserror::Error)]
pub enum VerifierError {
    /// The bundle cannot be read.
    #[error("the trust bundle {0}")]
    Bundle(#[from] pem::Error),
    /// A certificate cannot be a root.
    #[error("the trust bundle cannot be used")]
    Root(#[from] rustls::Error),
    /// No usable root.
    #[error("the trust bundle cannot be used")]
    Builder(#[from] rustls::client::VerifierBuilderError),
}

/// Verifies servers against this bundle alone.
pub fn verifier(bundle: &str) -> Result<Arc<WebPkiServerVerifier>, VerifierError> {
    let mut roots = RootCertStore::empty();
    for der in pem::certificates(bundle.as_bytes())? {
        roots.add(der.into())?;
    }
    verifier_of(roots)
}

/// Verifies servers against the public authorities that the image comes with.
pub fn public_verifier() -> Result<Arc<WebPkiServerVerifier>, VerifierError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    verifier_of(roots)
}

fn verifier_of(roots: RootCertStore) -> Result<Arc<WebPkiServerVerifier>, VerifierError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::authority::{
        shift,
        tests::{authority, authority_at},
    };

    const DAY: Duration = Duration::from_hours(24);

    struct Case {
        authority: Authority,
        leaf: Leaf,
        names: BTreeSet<String>,
        now: Timestamp,
    }

    fn case() -> Case {
        let (authority, now) = (authority(), Timestamp::now());
        let names: BTreeSet<String> = ["10.0.0.1".to_owned(), "corp.auth.svc".to_owned()].into();
        let leaf = Leaf::issue(&authority, "corp.auth.svc", &names, 90 * DAY, now).unwrap();
        Case {
            authority,
            leaf,
            names,
            now,
        }
    }

    impl Case {
        fn cause_at(&self, now: Timestamp) -> Option<Cause> {
            let wanted = Wanted {
                names: &self.names,
                lifetime: 90 * DAY,
                renew_before: 30 * DAY,
            };
            cause(Ok(&self.leaf), &self.authority, &wanted, now)
        }

        fn after(&self, duration: Duration) -> Timestamp {
            shift(self.now, duration, true).unwrap()
        }
    }

    #[test]
    fn a_good_certificate_stays_until_it_is_due() {
        let case = case();
        assert_eq!(case.cause_at(case.now), None);
        assert_eq!(case.cause_at(case.after(50 * DAY)), None);
        assert_eq!(case.cause_at(case.after(61 * DAY)), Some(Cause::Due));
        let due = due_at(&case.leaf.facts, 30 * DAY);
        assert!(
            due <= case.after(60 * DAY) && due >= case.after(53 * DAY),
            "{due}"
        );
    }

    #[test]
    fn every_trigger_is_noticed() {
        let mut case = case();
        let expired = case.cause_at(case.after(91 * DAY));
        assert_eq!(expired, Some(Cause::Stored(Problem::Expired)));
        let early = shift(case.now, DAY, false).unwrap();
        assert_eq!(
            case.cause_at(early),
            Some(Cause::Stored(Problem::NotYetValid))
        );

        case.names.insert("new.example.com".into());
        assert_eq!(case.cause_at(case.now), Some(Cause::Names));
        case.names.remove("new.example.com");
        case.names.remove("10.0.0.1");
        assert_eq!(case.cause_at(case.now), Some(Cause::Names));
        case.names.insert("10.0.0.1".into());

        // The same name and another key: only the signature tells.
        case.authority = authority();
        assert_eq!(case.cause_at(case.now), Some(Cause::Authority));
    }

    #[test]
    fn what_cannot_be_read_is_replaced() {
        let (one, two) = (case(), case());
        let load =
            |chain: &str, key: &str| Leaf::load(chain.as_bytes(), key.as_bytes()).unwrap_err();
        assert_eq!(load("junk", &one.leaf.key_pem), Problem::Unreadable);
        assert_eq!(load(&one.leaf.chain_pem, "junk"), Problem::Unreadable);
        assert_eq!(
            load(&one.leaf.chain_pem, &two.leaf.key_pem),
            Problem::KeyMismatch
        );
        let wanted = Wanted {
            names: &one.names,
            lifetime: DAY,
            renew_before: DAY,
        };
        let absent = cause(Err(Problem::Absent), &one.authority, &wanted, one.now);
        assert_eq!(absent, Some(Cause::Stored(Problem::Absent)));
    }

    #[test]
    fn close_to_the_roots_end_nothing_is_renewed_in_vain() {
        let now = Timestamp::now();
        let almost_ten_years = Duration::from_hours(87_600 - 24 * 10);
        let authority = authority_at(shift(now, almost_ten_years, false).unwrap());
        let names: BTreeSet<String> = ["a".to_owned()].into();
        let leaf = Leaf::issue(&authority, "a", &names, 90 * DAY, now).unwrap();
        let case = Case {
            authority,
            leaf,
            names,
            now,
        };
        assert_eq!(case.cause_at(case.after(DAY)), None);
    }

    #[test]
    fn even_a_renewal_right_after_the_issue_leaves_some_time() {
        let (authority, now) = (authority(), Timestamp::now());
        let names: BTreeSet<String> = ["a".to_owned()].into();
        let leaf = Leaf::issue(&authority, "a", &names, Duration::from_hours(1), now).unwrap();
        let due = due_at(&leaf.facts, Duration::from_mins(30));
        assert!(
            due > shift(now, Duration::from_mins(20), true).unwrap(),
            "{due}"
        );
    }
}
