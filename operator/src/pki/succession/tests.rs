use std::{collections::BTreeSet, process::Command};

use rustls::{
    client::danger::ServerCertVerifier as _,
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::*;
use crate::pki::{
    authority::tests::authority_at,
    leaf::Leaf,
    renewal::{Cause, Wanted, cause, verifier},
};

const DAY: Duration = Duration::from_hours(24);
const YEAR: Duration = Duration::from_hours(24 * 365);
const NAME: &str = "corp.auth.svc";

/// A root of ten years that is nine years old, and the one that follows it.
struct Case {
    now: Timestamp,
    old: Authority,
    new: Authority,
    names: BTreeSet<String>,
}

fn case() -> Case {
    let now = Timestamp::now();
    let old = authority_at(shift(now, 9 * YEAR, false).unwrap());
    let new = succeed(&old, "corp.auth", 10 * YEAR, now).unwrap();
    Case {
        now,
        old,
        new,
        names: [NAME.to_owned()].into(),
    }
}

impl Case {
    fn leaf(&self, authority: &Authority, now: Timestamp) -> Leaf {
        Leaf::issue(authority, NAME, &self.names, 90 * DAY, now).unwrap()
    }

    fn cause(&self, leaf: &Leaf, authority: &Authority, now: Timestamp) -> Option<Cause> {
        let wanted = Wanted {
            names: &self.names,
            lifetime: 90 * DAY,
            renew_before: 30 * DAY,
        };
        cause(Ok(leaf), authority, &wanted, now)
    }

    fn later(&self, by: Duration) -> Timestamp {
        shift(self.now, by, true).unwrap()
    }
}

/// Whether a client that trusts just this accepts the chain at that time.
fn accepts(bundle: &str, leaf: &Leaf, at: Timestamp) -> bool {
    let mut chain = pem::certificates(leaf.chain_pem.as_bytes())
        .unwrap()
        .into_iter()
        .map(CertificateDer::from);
    let end = chain.next().unwrap();
    let rest: Vec<_> = chain.collect();
    let seconds = u64::try_from(at.as_second()).unwrap();
    let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let name = ServerName::try_from(NAME).unwrap();
    verifier(bundle)
        .unwrap()
        .verify_server_cert(&end, &rest, &name, &[], time)
        .is_ok()
}

#[test]
fn either_root_alone_and_both_together_will_do() {
    let case = case();
    let leaf = case.leaf(&case.new, case.now);
    for bundle in [case.old.pem(), case.new.pem(), &case.new.bundle()] {
        assert!(accepts(bundle, &leaf, case.now));
        assert!(accepts(bundle, &leaf, case.later(89 * DAY)));
    }
    let stranger = authority_at(case.now);
    assert!(!accepts(stranger.pem(), &leaf, case.now));
    assert_eq!(
        pem::certificates(case.new.bundle().as_bytes())
            .unwrap()
            .len(),
        2
    );
    assert_eq!(case.new.predecessor().unwrap().pem(), case.old.pem());
    assert_ne!(case.new.key_pem(), case.old.key_pem());
}

#[test]
fn the_old_root_serves_until_its_very_end_and_no_longer() {
    let case = case();
    let end = case.new.predecessor().unwrap().not_after();
    assert_eq!(end, case.old.not_after());
    let leaf = case.leaf(&case.new, shift(end, 10 * DAY, false).unwrap());
    let before = shift(end, Duration::from_mins(1), false).unwrap();
    let after = shift(end, Duration::from_mins(1), true).unwrap();
    assert!(accepts(case.old.pem(), &leaf, before));
    assert!(!accepts(case.old.pem(), &leaf, after));
    assert!(accepts(case.new.pem(), &leaf, after));
}

#[test]
fn certificates_follow_a_new_root_at_once_and_drop_the_old_one_at_its_end() {
    let case = case();
    let of_old = case.leaf(&case.old, case.now);
    assert_eq!(case.cause(&of_old, &case.old, case.now), None);
    assert_eq!(
        case.cause(&of_old, &case.new, case.now),
        Some(Cause::Authority)
    );
    let of_new = case.leaf(&case.new, case.now);
    assert_eq!(case.cause(&of_new, &case.new, case.now), None);

    let alone = reloaded(&case.new, case.now).unwrap().following(None);
    assert_eq!(case.cause(&of_new, &alone, case.now), Some(Cause::Chain));
    let short = case.leaf(&alone, case.now);
    assert_eq!(case.cause(&short, &alone, case.now), None);
    assert_eq!(case.cause(&short, &case.new, case.now), Some(Cause::Chain));
}

fn reloaded(authority: &Authority, now: Timestamp) -> Result<Authority, Problem> {
    let (pem, key) = (authority.pem().as_bytes(), authority.key_pem().as_bytes());
    let new = Authority::load(pem, key, now)?;
    let before = authority.predecessor().unwrap();
    let before = Predecessor::load(
        before.pem().as_bytes(),
        before.cross_pem().as_bytes(),
        &new,
        now,
    )?;
    Ok(new.following(Some(before)))
}

#[test]
fn what_was_made_is_read_back_and_what_does_not_fit_is_not_used() {
    let (case, other) = (case(), case());
    let again = reloaded(&case.new, case.now).unwrap();
    assert_eq!(again.predecessor(), case.new.predecessor());
    let end = case.old.not_after();
    assert_eq!(reloaded(&case.new, end).unwrap_err(), Problem::Expired);

    let before = case.new.predecessor().unwrap();
    let load = |old: &str, cross: &str, new: &Authority| {
        Predecessor::load(old.as_bytes(), cross.as_bytes(), new, case.now).unwrap_err()
    };
    let (old, cross) = (before.pem(), before.cross_pem());
    assert_eq!(load(old, cross, &other.new), Problem::KeyMismatch);
    assert_eq!(load("junk", cross, &case.new), Problem::Unreadable);
    assert_eq!(load(old, "junk", &case.new), Problem::Unreadable);
    assert_eq!(
        load(old, &format!("{cross}{cross}"), &case.new),
        Problem::Unreadable
    );
}

#[test]
fn a_root_is_due_at_its_overlap_and_never_while_its_own_predecessor_lasts() {
    let now = Timestamp::now();
    let root = authority_at(now);
    let at = |by| shift(now, by, true).unwrap();
    assert!(!is_due(&root, YEAR, now));
    assert!(!is_due(&root, YEAR, at(8 * YEAR + 300 * DAY)));
    assert!(is_due(&root, YEAR, at(9 * YEAR)));
    // Not at once, whatever the lifetimes say.
    assert!(!is_due(&root, 10 * YEAR, at(100 * DAY)));
    assert!(!is_due(&case().new, 10 * YEAR, at(9 * YEAR)));
}

#[test]
fn roots_that_last_together_have_names_of_their_own() {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    assert_eq!(dated("corp.auth", now), "corp.auth@1800000000");
    let long = dated(&"a".repeat(100), now);
    assert!(long.len() == MAX_COMMON_NAME && long.ends_with("a@1800000000"));
}

/// Another library's opinion, where there is one.
#[test]
fn openssl_agrees() {
    let case = case();
    let leaf = case.leaf(&case.new, case.now);
    let folder = std::env::temp_dir().join(format!("succession-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let chain = write("chain.pem", &leaf.chain_pem);
    let mut ran = true;
    for (root, expected) in [
        (case.old.pem(), true),
        (case.new.pem(), true),
        (authority_at(case.now).pem(), false),
    ] {
        let root = write("root.pem", root);
        let verified = Command::new("openssl")
            .args(["verify", "-x509_strict", "-purpose", "sslserver"])
            .args(["-verify_hostname", NAME, "-no-CApath", "-no-CAstore"])
            .arg("-CAfile")
            .arg(&root)
            .arg("-untrusted")
            .arg(&chain)
            .arg(&chain)
            .output();
        match verified {
            Ok(output) => assert_eq!(output.status.success(), expected, "{output:?}"),
            Err(_) => ran = false,
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
    if !ran {
        eprintln!("no openssl here: not compared");
    }
}
