//! Bundles of certificates, as kube-apiserver reads them: every CERTIFICATE block must be one, other
//! blocks and those with headers are left out, and so is what is no block at all.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use x509_parser::parse_x509_certificate;

const CERTIFICATE: &[u8] = b"CERTIFICATE";

/// Why a bundle cannot be used. Never says what stands in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BundleError {
    /// A certificate that is none.
    #[error("certificate {0} cannot be parsed")]
    Certificate(usize),
    /// No certificate at all.
    #[error("holds no certificate")]
    Empty,
}

struct Block {
    has_headers: bool,
    content: Vec<u8>,
}

/// The DER of each certificate in a bundle.
pub fn certificates(bundle: &[u8]) -> Result<Vec<Vec<u8>>, BundleError> {
    let mut found = Vec::new();
    let mut lines = bundle
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii_end);
    while let Some(line) = lines.next() {
        let Some(label) = label(line) else {
            continue;
        };
        let mut following = lines.clone();
        // A block that has no end, or whose text is broken, is none.
        let Some(block) = block(label, &mut following) else {
            continue;
        };
        lines = following;
        if label != CERTIFICATE || block.has_headers {
            continue;
        }
        match parse_x509_certificate(&block.content) {
            Ok(([], _)) => found.push(block.content),
            _ => return Err(BundleError::Certificate(found.len())),
        }
    }
    if found.is_empty() {
        return Err(BundleError::Empty);
    }
    Ok(found)
}

fn label(line: &[u8]) -> Option<&[u8]> {
    line.strip_prefix(b"-----BEGIN ")?.strip_suffix(b"-----")
}

fn block<'a>(label: &[u8], lines: &mut impl Iterator<Item = &'a [u8]>) -> Option<Block> {
    let end = [b"-----END ", label, b"-----"].concat();
    let (mut text, mut has_headers) = (Vec::new(), false);
    let mut in_text = false;
    for line in lines {
        if line == end {
            let content = STANDARD.decode(text).ok()?;
            return Some(Block {
                has_headers,
                content,
            });
        }
        if !in_text && line.contains(&b':') {
            has_headers = true;
            continue;
        }
        in_text = true;
        text.extend(line.iter().filter(|byte| !matches!(byte, b' ' | b'\t')));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A CA with the P-256 key of its subject, "a".
    const PEM: &str = include_str!("certificate_bundle/a.crt");

    #[test]
    fn other_blocks_are_left_out() {
        let (_, body) = PEM.split_once('\n').unwrap();
        let with_header = format!("-----BEGIN CERTIFICATE-----\nKey: value\n\n{body}");
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let unended = "-----BEGIN CERTIFICATE-----\nAAAA\n";
        let mixed = format!("# note\n{key}{with_header}{PEM}\njunk\n{unended}{PEM}");
        let found = certificates(mixed.as_bytes()).unwrap();
        assert_eq!(found, [found[0].clone(), found[0].clone()]);
        let windows = PEM.replace('\n', " \r\n");
        assert_eq!(
            certificates(windows.as_bytes()).unwrap(),
            [found[0].clone()]
        );
        for nothing in ["", "hello", key, &with_header, unended] {
            assert_eq!(certificates(nothing.as_bytes()), Err(BundleError::Empty));
        }
    }

    #[test]
    fn every_certificate_must_be_one() {
        let broken = format!("{PEM}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        assert_eq!(
            certificates(broken.as_bytes()),
            Err(BundleError::Certificate(1))
        );
    }
}
