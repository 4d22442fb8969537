//! PEM in, PEM out: only whole, parsed certificates pass.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};
pub use oidcproxy_crds::certificate_bundle::{BundleError as Error, certificates};

const CERTIFICATE: &str = "CERTIFICATE";
const LINE: usize = 64;

/// The bundle as its certificates alone, written anew.
pub fn reencode_certificates(bundle: &[u8]) -> Result<String, Error> {
    let all = certificates(bundle)?;
    Ok(all.iter().map(|der| encode_certificate(der)).collect())
}

/// One certificate as PEM.
pub fn encode_certificate(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {CERTIFICATE}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem + &format!("-----END {CERTIFICATE}-----\n")
}

/// A short name for a bundle, by its content.
pub fn fingerprint(bundle: &str) -> String {
    let mut name = hex::encode(digest(&SHA256, bundle.as_bytes()));
    name.truncate(16);
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::authority::tests::authority;

    #[test]
    fn only_certificates_pass() {
        let own = authority();
        let mixed = format!("# note\n{}{}junk\n{}", own.key_pem(), own.pem(), own.pem());
        let clean = reencode_certificates(mixed.as_bytes()).unwrap();
        assert_eq!(clean, format!("{0}{0}", own.pem().replace("\r\n", "\n")));
        assert!(!clean.contains("PRIVATE"));
    }

    #[test]
    fn broken_bundles_are_refused() {
        assert_eq!(certificates(b""), Err(Error::Empty));
        assert_eq!(certificates(b"hello"), Err(Error::Empty));
        let own = authority();
        assert_eq!(certificates(own.key_pem().as_bytes()), Err(Error::Empty));
        let fake = encode_certificate(b"not a certificate");
        assert_eq!(certificates(fake.as_bytes()), Err(Error::Certificate(0)));
        let cut = own.pem().get(..100).unwrap().to_owned();
        assert!(certificates(cut.as_bytes()).is_err());
    }

    #[test]
    fn fingerprints_follow_the_content() {
        assert_eq!(fingerprint("a").len(), 16);
        assert_ne!(fingerprint("a"), fingerprint("b"));
    }
}
