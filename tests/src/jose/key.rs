//! Keys that sign.

use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result, bail};
use aws_lc_rs::{
    rand::SystemRandom,
    rsa,
    signature::{self, EcdsaKeyPair, KeyPair as _, RsaEncoding},
};
use serde_json::{Value, json};

use super::b64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Alg {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    ES512,
}

impl Alg {
    /// Every algorithm, in the order of the specification.
    pub const ALL: [Self; 9] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::ES512,
    ];

    /// The JOSE name.
    pub fn name(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::ES512 => "ES512",
        }
    }
}

enum Private {
    Rsa(Arc<rsa::KeyPair>, &'static dyn RsaEncoding),
    Ec(EcdsaKeyPair),
}

/// A key with its id and algorithm.
pub struct SigningKey {
    /// `kid` of the JWK and of tokens signed with it.
    pub kid: String,
    /// The algorithm it signs with.
    pub alg: Alg,
    private: Private,
}

impl SigningKey {
    /// A fresh key; RSA keys have 2048 bits.
    pub fn generate(alg: Alg, kid: &str) -> Result<Self> {
        let ec = |curve: &'static signature::EcdsaSigningAlgorithm| -> Result<Private> {
            let pair = EcdsaKeyPair::generate(curve)
                .ok()
                .context("cannot generate an EC key")?;
            Ok(Private::Ec(pair))
        };
        let private = match alg {
            Alg::RS256 | Alg::RS384 | Alg::RS512 | Alg::PS256 | Alg::PS384 | Alg::PS512 => {
                let mut keys = Self::generate_rsa(&[alg], kid)?;
                return keys.pop().context("one key an algorithm");
            }
            Alg::ES256 => ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING)?,
            Alg::ES384 => ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING)?,
            Alg::ES512 => ec(&signature::ECDSA_P521_SHA512_FIXED_SIGNING)?,
        };
        Ok(Self {
            kid: kid.to_owned(),
            alg,
            private,
        })
    }

    /// One fresh RSA key, once for each of these algorithms.
    pub fn generate_rsa(algorithms: &[Alg], kid: &str) -> Result<Vec<Self>> {
        let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048)
            .ok()
            .context("cannot generate an RSA key")?;
        let pair = Arc::new(pair);
        let key = |alg: &Alg| -> Result<Self> {
            let encoding: &'static dyn RsaEncoding = match alg {
                Alg::RS256 => &signature::RSA_PKCS1_SHA256,
                Alg::RS384 => &signature::RSA_PKCS1_SHA384,
                Alg::RS512 => &signature::RSA_PKCS1_SHA512,
                Alg::PS256 => &signature::RSA_PSS_SHA256,
                Alg::PS384 => &signature::RSA_PSS_SHA384,
                Alg::PS512 => &signature::RSA_PSS_SHA512,
                Alg::ES256 | Alg::ES384 | Alg::ES512 => bail!("not an RSA algorithm"),
            };
            Ok(Self {
                kid: kid.to_owned(),
                alg: *alg,
                private: Private::Rsa(Arc::clone(&pair), encoding),
            })
        };
        algorithms.iter().map(key).collect()
    }

    /// The public half as a JWK.
    pub fn jwk(&self) -> Value {
        match &self.private {
            Private::Rsa(pair, _) => {
                let (n, e) = rsa_numbers(pair.public_key().as_ref());
                json!({"kty": "RSA", "use": "sig", "alg": self.alg.name(), "kid": self.kid, "n": b64(n), "e": b64(e)})
            }
            Private::Ec(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = point[1..].split_at((point.len() - 1) / 2);
                let curve = match self.alg {
                    Alg::ES384 => "P-384",
                    Alg::ES512 => "P-521",
                    _ => "P-256",
                };
                json!({"kty": "EC", "use": "sig", "alg": self.alg.name(), "kid": self.kid, "crv": curve, "x": b64(x), "y": b64(y)})
            }
        }
    }

    /// The raw public key, as an attacker would use it for an HMAC.
    pub fn public_bytes(&self) -> Vec<u8> {
        match &self.private {
            Private::Rsa(pair, _) => pair.public_key().as_ref().to_vec(),
            Private::Ec(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    /// Signs the JWS signing input.
    pub fn sign(&self, input: &[u8]) -> Result<Vec<u8>> {
        let random = SystemRandom::new();
        match &self.private {
            Private::Rsa(pair, encoding) => {
                let mut out = vec![0; pair.public_modulus_len()];
                if pair.sign(*encoding, &random, input, &mut out).is_err() {
                    bail!("RSA signature failed");
                }
                Ok(out)
            }
            Private::Ec(pair) => Ok(pair
                .sign(&random, input)
                .ok()
                .context("EC signature failed")?
                .as_ref()
                .to_vec()),
        }
    }
}

/// Modulus and exponent of a PKCS#1 `RSAPublicKey`.
fn rsa_numbers(der: &[u8]) -> (&[u8], &[u8]) {
    let (sequence, _) = der_value(der);
    let (n, rest) = der_value(sequence);
    let (e, _) = der_value(rest);
    (strip_zero(n), strip_zero(e))
}

fn strip_zero(number: &[u8]) -> &[u8] {
    number.strip_prefix(&[0]).unwrap_or(number)
}

/// Content of the first DER element, and what follows it.
fn der_value(der: &[u8]) -> (&[u8], &[u8]) {
    let (head, length) = match der[1] {
        short @ 0..=0x7f => (2, usize::from(short)),
        long => {
            let count = usize::from(long & 0x7f);
            let length = der[2..2 + count]
                .iter()
                .fold(0, |sum, byte| (sum << 8) | usize::from(*byte));
            (2 + count, length)
        }
    };
    (&der[head..head + length], &der[head + length..])
}

/// One RSA key a process: generating it is the slow part of a test.
pub fn shared_rsa() -> &'static SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(|| SigningKey::generate(Alg::RS256, "rsa-1").expect("RSA key generation"))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256};
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

    use super::*;
    use crate::jose::TokenBuilder;

    fn decode(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    #[test]
    fn a_jwk_of_an_ec_key_verifies_its_tokens() {
        let key = SigningKey::generate(Alg::ES256, "e").unwrap();
        let token = TokenBuilder::new("https://issuer.example", "aud", "alice").sign(&key);
        let (input, signature) = token.rsplit_once('.').unwrap();
        let jwk = key.jwk();
        let mut point = vec![4];
        point.extend(decode(jwk["x"].as_str().unwrap()));
        point.extend(decode(jwk["y"].as_str().unwrap()));
        signature::UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .verify(input.as_bytes(), &decode(signature))
            .unwrap();
    }

    #[test]
    fn a_jwk_of_an_rsa_key_verifies_its_tokens() {
        let key = shared_rsa();
        let token = TokenBuilder::new("https://issuer.example", "aud", "alice").sign(key);
        let (input, signature) = token.rsplit_once('.').unwrap();
        let jwk = key.jwk();
        let n = decode(jwk["n"].as_str().unwrap());
        let e = decode(jwk["e"].as_str().unwrap());
        assert_eq!(n.len(), 256);
        rsa::PublicKeyComponents { n, e }
            .verify(
                &RSA_PKCS1_2048_8192_SHA256,
                input.as_bytes(),
                &decode(signature),
            )
            .unwrap();
    }

    #[test]
    fn every_algorithm_signs() {
        for alg in Alg::ALL {
            let key = SigningKey::generate(alg, "k").unwrap();
            assert!(!key.sign(b"x").unwrap().is_empty(), "{}", alg.name());
        }
    }
}
