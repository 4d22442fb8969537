//! Base64url as Go reads it.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// No padding, and bits that are left over at the end do not matter.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// For what has one meaning whatever its last bits are: never for a token itself, which must have
/// one spelling only.
pub(crate) fn decode_leniently(text: impl AsRef<[u8]>) -> Option<Vec<u8>> {
    LENIENT.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_that_are_left_over_do_not_matter() {
        for text in ["YWI", "YWJ", "YWL"] {
            assert_eq!(decode_leniently(text).as_deref(), Some(&b"ab"[..]));
        }
        for odd in ["YWI=", "YW+", "Y"] {
            assert_eq!(decode_leniently(odd), None, "{odd}");
        }
    }
}
