//! The public keys of an issuer (RFC 7517).

use std::collections::HashSet;

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{RsaPublicKeyComponents, UnparsedPublicKey},
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

use super::{
    algorithm::{Algorithm, Verification},
    strict_json,
};
use crate::base64url::decode_leniently;

/// More keys than any issuer has; the rest of a longer set is not looked at.
const MAX_KEYS: usize = 128;

/// A hash over a key's material.
pub(crate) type Thumbprint = [u8; 32];

/// The keys of an issuer.
#[derive(Debug, Default)]
pub(crate) struct KeySet {
    keys: Vec<VerificationKey>,
    thumbprints: HashSet<Thumbprint>,
    was_empty: bool,
}

/// One public key.
#[derive(Debug)]
pub(crate) struct VerificationKey {
    id: Option<String>,
    material: KeyMaterial,
    thumbprint: Thumbprint,
}

#[derive(Debug)]
enum KeyMaterial {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    Ec { curve: Curve, point: Vec<u8> },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Curve {
    P256,
    P384,
    P521,
}

#[derive(Deserialize)]
struct RawKeySet {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct RawKey {
    kty: String,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    /// The private part.
    d: Option<IgnoredAny>,
}

impl KeySet {
    /// Takes what can be used of a JWKS. A key of another kind, or a broken one, never spoils the
    /// others: issuers publish encryption keys and new kinds of keys in the same set.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, serde_json::Error> {
        let raw: RawKeySet = strict_json::of_object(body)?;
        let was_empty = raw.keys.is_empty();
        let keys: Vec<_> = raw
            .keys
            .into_iter()
            .take(MAX_KEYS)
            .filter(Value::is_object)
            .filter_map(|value| serde_json::from_value::<RawKey>(value).ok())
            .filter_map(VerificationKey::from_raw)
            .collect();
        let thumbprints = keys.iter().map(|key| key.thumbprint).collect();
        Ok(Self {
            keys,
            thumbprints,
            was_empty,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether the issuer published no key at all.
    pub(crate) fn was_empty(&self) -> bool {
        self.was_empty
    }

    pub(crate) fn has(&self, thumbprint: &Thumbprint) -> bool {
        self.thumbprints.contains(thumbprint)
    }

    /// Whether both hold the same keys.
    pub(crate) fn same_keys(&self, other: &Self) -> bool {
        self.thumbprints == other.thumbprints
    }

    /// The key that verifies the signature: with a `kid`, only keys of that name are tried;
    /// without one, all of them.
    pub(crate) fn verify(
        &self,
        key_id: Option<&str>,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Option<Thumbprint> {
        self.keys
            .iter()
            .filter(|key| key_id.is_none_or(|id| key.id.as_deref() == Some(id)))
            .find(|key| key.verifies(algorithm, message, signature))
            .map(|key| key.thumbprint)
    }
}

impl VerificationKey {
    fn from_raw(raw: RawKey) -> Option<Self> {
        // Whoever reads the set can sign with it. kube-apiserver takes nothing from it either.
        if raw.d.is_some() {
            return None;
        }
        let field = |value: Option<String>| decode_leniently(value?);
        let material = match raw.kty.as_str() {
            "RSA" => KeyMaterial::Rsa {
                modulus: without_leading_zeros(&field(raw.n)?)?,
                exponent: without_leading_zeros(&field(raw.e)?)?,
            },
            "EC" => {
                let curve = match raw.crv?.as_str() {
                    "P-256" => Curve::P256,
                    "P-384" => Curve::P384,
                    "P-521" => Curve::P521,
                    _ => return None,
                };
                let (x, y) = (field(raw.x)?, field(raw.y)?);
                if x.len() != curve.coordinate_bytes() || y.len() != curve.coordinate_bytes() {
                    return None;
                }
                KeyMaterial::Ec {
                    curve,
                    point: [&[4][..], &x, &y].concat(),
                }
            }
            _ => return None,
        };
        let thumbprint = material.thumbprint();
        Some(Self {
            id: raw.kid.filter(|id| !id.is_empty()),
            material,
            thumbprint,
        })
    }

    fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        match (&self.material, algorithm.verification()) {
            (KeyMaterial::Rsa { modulus, exponent }, Verification::Rsa(parameters)) => {
                RsaPublicKeyComponents {
                    n: modulus,
                    e: exponent,
                }
                .verify(parameters, message, signature)
                .is_ok()
            }
            (KeyMaterial::Ec { curve, point }, Verification::Ecdsa(parameters)) => {
                curve.algorithm() == algorithm
                    && UnparsedPublicKey::new(parameters, point)
                        .verify(message, signature)
                        .is_ok()
            }
            _ => false,
        }
    }
}

impl KeyMaterial {
    fn thumbprint(&self) -> Thumbprint {
        // Lengths keep (n, e) pairs apart that would read the same when joined.
        let content = match self {
            Self::Rsa { modulus, exponent } => {
                let length = modulus.len().to_be_bytes();
                [b"rsa", &length[..], modulus, exponent].concat()
            }
            Self::Ec { point, .. } => [b"ec", point.as_slice()].concat(),
        };
        let mut thumbprint = Thumbprint::default();
        thumbprint.copy_from_slice(digest(&SHA256, &content).as_ref());
        thumbprint
    }
}

impl Curve {
    fn coordinate_bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    fn algorithm(self) -> Algorithm {
        match self {
            Self::P256 => Algorithm::Es256,
            Self::P384 => Algorithm::Es384,
            Self::P521 => Algorithm::Es512,
        }
    }
}

fn without_leading_zeros(bytes: &[u8]) -> Option<Vec<u8>> {
    let first = bytes.iter().position(|byte| *byte != 0)?;
    bytes.get(first..).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_keys_do_not_spoil_the_set() {
        let body = br#"{"keys":[
            {"kty":"oct","k":"c2VjcmV0"},
            {"kty":"OKP","crv":"Ed25519","x":"AAAA"},
            {"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"},
            {"kty":"RSA","n":"not base64!","e":"AQAB"},
            {"kty":7}, null,
            {"kty":"RSA","kid":"private","n":"sXch","e":"AQAB","d":"AQAB"},
            {"kty":"RSA","kid":"private","n":"sXch","e":"AQAB","d":""},
            {"kty":"RSA","kid":"good","n":"sXch","e":"AQAB"}
        ]}"#;
        let keys = KeySet::parse(body).unwrap();
        assert_eq!(keys.keys.len(), 1);
        assert_eq!(keys.keys[0].id.as_deref(), Some("good"));
        let public = KeySet::parse(br#"{"keys":[{"kty":"RSA","n":"sXch","e":"AQAB","d":null}]}"#);
        assert_eq!(public.unwrap().keys.len(), 1);
    }

    #[test]
    fn a_body_that_is_no_set_is_refused() {
        assert!(KeySet::parse(b"<html>").is_err());
        assert!(KeySet::parse(b"{}").is_err());
        assert!(
            KeySet::parse(b"[[]]").is_err(),
            "serde's other form of a struct"
        );
    }
}
