//! Version texts: what a device says it runs, and what an operator wants it to run.
//!
//! Always true:
//! - A version is never empty. Devices send an empty text for "unknown", and that is no version.
//! - Versions are compared exactly, case and all. There is no order among them: going back is allowed.
//! - A text that was too long ends in `…` and equals no version an operator can ask for.
//!
//! Not here: what a version number means.

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits::VERSION_CHARS_MAX;
use crate::text;

/// Follows the characters that were kept of a version that was too long.
///
/// Outside the alphabet of [`Version::parse_target`], so a cut version equals no target even by chance.
const CUT_MARK: char = '…';

/// A version, exactly as it was sent; cheap to clone.
///
/// Source: `version`, `fw_version` and `sw_version` of the reports, which name no alphabet and no length.
/// Of a text longer than 256 characters the first 256 are kept, followed by `…`, for display.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(Arc<str>);

/// Why a text cannot be the version of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetVersionError {
    /// Nothing there.
    #[error("version is empty; 1 to {VERSION_CHARS_MAX} characters of A-Z a-z 0-9 _ - . are accepted")]
    Empty,
    /// Longer than the platform's packages may be named.
    #[error("version has {chars} characters; at most {VERSION_CHARS_MAX} are accepted")]
    TooLong {
        /// How long it is, in characters.
        chars: usize,
    },
    /// A character that package versions do not have.
    #[error("version contains {found:?}; A-Z a-z 0-9 _ - . are accepted")]
    Character {
        /// The first such character.
        found: char,
    },
}

impl Version {
    /// Takes what a device sent. `None` for the empty text, by which devices say they do not know.
    pub fn as_sent(text: &str) -> Option<Version> {
        if text.is_empty() {
            return None;
        }
        let (kept, was_cut) = text::cut(text, VERSION_CHARS_MAX);
        if !was_cut {
            return Some(Version(Arc::from(kept)));
        }
        let mut marked = String::with_capacity(kept.len() + CUT_MARK.len_utf8());
        marked.push_str(kept);
        marked.push(CUT_MARK);
        Some(Version(Arc::from(marked)))
    }

    /// Takes what an operator wants devices to run: 1 to 256 characters of `[A-Za-z0-9_.-]`.
    ///
    /// Source: the application side's package version.
    ///
    /// # Errors
    ///
    /// Says what about the text is wrong and what would be accepted.
    pub fn parse_target(text: &str) -> Result<Version, TargetVersionError> {
        if text.is_empty() {
            return Err(TargetVersionError::Empty);
        }
        let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if let Some(found) = text.chars().find(|c| !usable(*c)) {
            return Err(TargetVersionError::Character { found });
        }
        if text.len() > VERSION_CHARS_MAX {
            return Err(TargetVersionError::TooLong { chars: text.len() });
        }
        Ok(Version(Arc::from(text)))
    }

    /// The version as text; if it was cut, up to 256 characters and the mark `…`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the device sent more than is kept here. Such a version equals no target.
    pub fn was_cut(&self) -> bool {
        text::cut(&self.0, VERSION_CHARS_MAX).1
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({})", &*self.0)
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Version, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Version;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a version")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Version, E> {
                Version::as_sent(text).ok_or_else(|| E::custom("a version is never empty"))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_exactly() {
        let sent = |text| Version::as_sent(text).unwrap();
        assert_eq!(sent("v2.0.0"), Version::parse_target("v2.0.0").unwrap());
        assert_ne!(sent("V2.0.0"), sent("v2.0.0"));
        assert_ne!(sent("v2.0.0 "), sent("v2.0.0"));
        assert_eq!(Version::as_sent(""), None);
    }

    #[test]
    fn a_cut_version_equals_no_target_and_stays_cut_when_stored() {
        let longest = "9".repeat(256);
        let target = Version::parse_target(&longest).unwrap();
        assert_eq!(Version::as_sent(&longest), Some(target.clone()));

        let cut = Version::as_sent(&"9".repeat(257)).unwrap();
        assert!(cut.was_cut() && !target.was_cut());
        assert_ne!(cut, target);

        let stored = serde_json::to_string(&cut).unwrap();
        let back: Version = serde_json::from_str(&stored).unwrap();
        assert_eq!(back, cut);
        assert!(back.was_cut());
    }

    #[test]
    fn operators_versions_keep_to_the_published_alphabet() {
        assert!(Version::parse_target("Rel_1.2-rc.3").is_ok());
        assert_eq!(Version::parse_target(""), Err(TargetVersionError::Empty));
        assert_eq!(Version::parse_target("1 2"), Err(TargetVersionError::Character { found: ' ' }));
        assert_eq!(Version::parse_target(&"1".repeat(257)), Err(TargetVersionError::TooLong { chars: 257 }));
    }
}
