//! The named keys of the vectors.

use std::{collections::BTreeMap, sync::OnceLock};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair,
        Ed25519KeyPair, KeyPair as _,
    },
};
use oidcproxy_tests::jose::{Alg, SigningKey, b64};
use serde_json::{Value, json};

/// A key that vectors name.
pub(crate) enum NamedKey {
    Signing(BTreeMap<&'static str, SigningKey>),
    P256 { document: Vec<u8> },
    Ed25519(Ed25519KeyPair),
}

/// The key of this name; unknown names end the test.
pub(crate) fn key(name: &str) -> &'static NamedKey {
    static KEYS: OnceLock<BTreeMap<&'static str, NamedKey>> = OnceLock::new();
    let keys = KEYS.get_or_init(|| {
        let random = SystemRandom::new();
        let p256 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        BTreeMap::from([
            ("rsa-a", rsa()),
            ("rsa-b", rsa()),
            (
                "ec-p256",
                NamedKey::P256 {
                    document: p256.as_ref().to_vec(),
                },
            ),
            ("ec-p384", one(Alg::ES384)),
            ("ec-p521", one(Alg::ES512)),
            (
                "ed25519",
                NamedKey::Ed25519(Ed25519KeyPair::generate().unwrap()),
            ),
        ])
    });
    keys.get(name).unwrap_or_else(|| panic!("no key {name}"))
}

fn one(alg: Alg) -> NamedKey {
    let key = SigningKey::generate(alg, "").unwrap();
    NamedKey::Signing(BTreeMap::from([(alg.name(), key)]))
}

/// One RSA key that signs with every RSA algorithm.
fn rsa() -> NamedKey {
    let algorithms = [
        Alg::RS256,
        Alg::RS384,
        Alg::RS512,
        Alg::PS256,
        Alg::PS384,
        Alg::PS512,
    ];
    let keys = SigningKey::generate_rsa(&algorithms, "").unwrap();
    NamedKey::Signing(keys.into_iter().map(|key| (key.alg.name(), key)).collect())
}

impl NamedKey {
    /// The public JWK without `kid`, `alg` and `use`.
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = match self {
            Self::Signing(keys) => keys.values().next().unwrap().jwk(),
            Self::P256 { document } => {
                let pair =
                    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document).unwrap();
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "x": b64(x), "y": b64(y)})
            }
            Self::Ed25519(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": b64(pair.public_key().as_ref())})
            }
        };
        for member in ["kid", "alg", "use"] {
            jwk.as_object_mut().unwrap().remove(member);
        }
        jwk
    }

    /// Signs as `alg`, with the key's own algorithm where it has no such one.
    pub(crate) fn sign(&self, alg: &str, input: &[u8], der: bool) -> Vec<u8> {
        match self {
            Self::Signing(keys) => {
                let key = keys.get(alg).or_else(|| keys.values().next()).unwrap();
                key.sign(input).unwrap()
            }
            Self::P256 { document } => {
                let encoding = if der {
                    &ECDSA_P256_SHA256_ASN1_SIGNING
                } else {
                    &ECDSA_P256_SHA256_FIXED_SIGNING
                };
                let pair = EcdsaKeyPair::from_pkcs8(encoding, document).unwrap();
                pair.sign(&SystemRandom::new(), input)
                    .unwrap()
                    .as_ref()
                    .to_vec()
            }
            Self::Ed25519(pair) => pair.sign(input).as_ref().to_vec(),
        }
    }
}
