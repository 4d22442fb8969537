//! The signature algorithms of kube-apiserver: nine, all asymmetric.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED,
    EcdsaVerificationAlgorithm, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
    RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA384,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters,
};

/// A signature algorithm of RFC 7518, section 3.1.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
}

/// What a signature is checked with; the kind of key is part of it, so that a key can never be
/// used with another kind of algorithm.
pub(crate) enum Verification {
    /// With the modulus and the exponent.
    Rsa(&'static RsaParameters),
    /// With the uncompressed point.
    Ecdsa(&'static EcdsaVerificationAlgorithm),
}

impl Algorithm {
    pub(crate) const ALL: [Self; 9] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
    ];

    /// By its exact name: `alg` is case-sensitive (RFC 7515, section 4.1.1).
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
        }
    }

    pub(crate) fn verification(self) -> Verification {
        match self {
            // The lengths that an issuer's keys may have are kube-apiserver's; for the other RSA
            // algorithms aws-lc-rs begins at 2048.
            Self::Rs256 => Verification::Rsa(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY),
            Self::Rs384 => Verification::Rsa(&RSA_PKCS1_2048_8192_SHA384),
            Self::Rs512 => Verification::Rsa(&RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY),
            Self::Ps256 => Verification::Rsa(&RSA_PSS_2048_8192_SHA256),
            Self::Ps384 => Verification::Rsa(&RSA_PSS_2048_8192_SHA384),
            Self::Ps512 => Verification::Rsa(&RSA_PSS_2048_8192_SHA512),
            Self::Es256 => Verification::Ecdsa(&ECDSA_P256_SHA256_FIXED),
            Self::Es384 => Verification::Ecdsa(&ECDSA_P384_SHA384_FIXED),
            Self::Es512 => Verification::Ecdsa(&ECDSA_P521_SHA512_FIXED),
        }
    }
}
