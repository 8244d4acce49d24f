//! The fingerprint of a certificate: a digest of its DER form.
//!
//! Not here: the digest itself, and who may show which certificate (`engine`).

use alloc::string::String;
use core::fmt;
use core::hint::black_box;

/// A digest of a certificate, as it is registered and shown: SHA-256, or SHA-1 as older tools print it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fingerprint {
    /// 40 hex digits. Enough to tell one owner's certificates apart, because finding a second certificate with the
    /// digest of a given one is still out of reach.
    Sha1([u8; 20]),
    /// 64 hex digits.
    Sha256([u8; 32]),
}

/// What was given is no fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{found:?} is no fingerprint of a certificate; the SHA-256 of its DER form as 64 hex digits is accepted, or the SHA-1 as 40"
)]
pub struct FingerprintError {
    /// What was given, at most so much of it as a fingerprint can be long.
    pub found: String,
}

/// Characters of the longest accepted form: 32 bytes as two digits each, with colons between.
const CHARS_MAX: usize = 32 * 3 - 1;

impl Fingerprint {
    /// Reads hex digits of either case, also with colons between bytes: `openssl x509 -fingerprint` prints
    /// `AB:CD:…`, and that is where fingerprints are copied from.
    ///
    /// # Errors
    ///
    /// It is something else, or of another length.
    pub fn parse(text: &str) -> Result<Fingerprint, FingerprintError> {
        read(text).ok_or_else(|| FingerprintError { found: text.chars().take(CHARS_MAX + 1).collect() })
    }

    /// The digest.
    #[must_use]
    pub const fn bytes(&self) -> &[u8] {
        match self {
            Fingerprint::Sha1(digest) => digest,
            Fingerprint::Sha256(digest) => digest,
        }
    }

    /// Whether `digest` is this one. Takes the same time wherever the first difference is.
    #[must_use]
    pub fn is(&self, digest: &[u8]) -> bool {
        let own = self.bytes();
        if own.len() != digest.len() {
            return false;
        }
        let difference = own
            .iter()
            .zip(digest)
            .fold(0u8, |difference, (own, other)| black_box(difference | (own ^ other)));
        black_box(difference) == 0
    }
}

fn read(text: &str) -> Option<Fingerprint> {
    let mut digest = [0; 32];
    let between = if text.contains(':') { 1 } else { 0 };
    let text = text.as_bytes();
    let count = (text.len() + between) / (2 + between);
    let is_whole = text.len() == count * (2 + between) - between.min(count);
    if !is_whole || (count != 20 && count != 32) {
        return None;
    }
    for (at, byte) in digest.iter_mut().take(count).enumerate() {
        let from = at * (2 + between);
        if between == 1 && at > 0 && text[from - 1] != b':' {
            return None;
        }
        *byte = digit(text[from])? << 4 | digit(text[from + 1])?;
    }
    if count == 32 {
        return Some(Fingerprint::Sha256(digest));
    }
    let mut short = [0; 20];
    short.copy_from_slice(&digest[..20]);
    Some(Fingerprint::Sha1(short))
}

fn digit(byte: u8) -> Option<u8> {
    u8::try_from(char::from(byte).to_digit(16)?).ok()
}

impl fmt::Display for Fingerprint {
    /// Lower-case hex digits without anything between them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::ToString;

    use super::*;

    #[test]
    fn both_lengths_are_read_in_either_case_and_with_colons_and_are_written_in_one_form() {
        let sha256 = "0123456789abcdef".repeat(4);
        let sha1 = "0123456789".repeat(4);
        for text in [&sha256, &sha1] {
            let with_colons: std::vec::Vec<&str> =
                text.as_bytes().chunks(2).map(|pair| core::str::from_utf8(pair).unwrap()).collect();
            for written in [text.clone(), text.to_uppercase(), with_colons.join(":").to_uppercase()] {
                assert_eq!(Fingerprint::parse(&written).unwrap().to_string(), *text, "{written}");
            }
        }
        assert!(matches!(Fingerprint::parse(&sha1), Ok(Fingerprint::Sha1(_))));
        assert!(matches!(Fingerprint::parse(&sha256), Ok(Fingerprint::Sha256(_))));
    }

    #[test]
    fn only_the_same_digest_of_the_same_length_is_the_one() {
        let long = Fingerprint::Sha256([7; 32]);
        assert!(long.is(&[7; 32]));
        assert!(!long.is(&[7; 20]) && !long.is(&[]));
        for at in [0, 15, 31] {
            let mut other = [7; 32];
            other[at] ^= 0x80;
            assert!(!long.is(&other));
        }
        assert!(Fingerprint::Sha1([1; 20]).is(&[1; 20]));
    }

    #[test]
    fn anything_else_is_shown_back_and_cut() {
        let digits = "ab".repeat(32);
        for wrong in [
            "",
            ":",
            "ab",
            &digits[1..],
            &format!("{digits}ab"),
            &format!("{}g", &digits[1..]),
            &format!("{}é", &digits[2..]),
            &format!("ab:{}", &digits[2..]),
            &"a:b".repeat(32)[..95],
            &":".repeat(95),
        ] {
            let error = Fingerprint::parse(wrong).unwrap_err();
            assert_eq!(error.found, wrong);
            assert!(error.to_string().contains("64 hex digits is accepted, or the SHA-1 as 40"), "{error}");
        }
        assert_eq!(Fingerprint::parse(&digits.repeat(1_000)).unwrap_err().found.len(), 96);
    }
}
