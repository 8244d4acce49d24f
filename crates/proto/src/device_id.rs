//! The name of a device, as it appears in topics, client ids and messages.
//!
//! Always true: 1 to 128 characters of `[A-Za-z0-9_-]`. So it can stand in a topic, a path or a log line
//! without escaping.
//!
//! Not here: whether such a device exists.

use alloc::sync::Arc;
use core::borrow::Borrow;
use core::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits::DEVICE_ID_CHARS_MAX;

/// The id of a device: 1 to 128 characters of `[A-Za-z0-9_-]`. Cheap to clone.
///
/// Source: device authentication API, `device_id`. By default it is the product id, an underscore and the
/// node id, but nothing may be read out of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(Arc<str>);

/// Why a text is no device id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceIdError {
    /// Nothing there.
    #[error("device id is empty; 1 to {DEVICE_ID_CHARS_MAX} characters of A-Z a-z 0-9 _ - are accepted")]
    Empty,
    /// Longer than any device id.
    #[error("device id has {chars} characters; at most {DEVICE_ID_CHARS_MAX} are accepted")]
    TooLong {
        /// How long it is, in characters.
        chars: usize,
    },
    /// A character that may not stand in a topic level, or that the protocol does not use.
    #[error("device id contains {found:?} at character {at}; A-Z a-z 0-9 _ - are accepted")]
    Character {
        /// The first such character.
        found: char,
        /// Where it is, counted from 1.
        at: usize,
    },
}

/// Which bytes an id may have. A table, because every message is asked.
const USABLE: [bool; 256] = {
    let mut usable = [false; 256];
    let mut byte = 0u8;
    while byte < 0x80 {
        usable[byte as usize] = byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        byte += 1;
    }
    usable
};

impl DeviceId {
    /// Takes `text` if it is a device id.
    ///
    /// # Errors
    ///
    /// Says what about the text is wrong and what would be accepted.
    pub fn parse(text: &str) -> Result<DeviceId, DeviceIdError> {
        if text.is_empty() {
            return Err(DeviceIdError::Empty);
        }
        let usable = |byte: u8| USABLE[usize::from(byte)];
        if text.bytes().all(usable) {
            if text.len() > DEVICE_ID_CHARS_MAX {
                return Err(DeviceIdError::TooLong { chars: text.len() });
            }
            return Ok(DeviceId(Arc::from(text)));
        }
        let chars = text.chars().count();
        if chars > DEVICE_ID_CHARS_MAX {
            return Err(DeviceIdError::TooLong { chars });
        }
        let unusable = text.chars().zip(1..).find(|(c, _)| !u8::try_from(*c).is_ok_and(usable));
        match unusable {
            Some((found, at)) => Err(DeviceIdError::Character { found, at }),
            None => Ok(DeviceId(Arc::from(text))),
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceId({})", self.0)
    }
}

/// Lets a map keyed by `DeviceId` be asked with a `&str`.
impl Borrow<str> for DeviceId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl core::str::FromStr for DeviceId {
    type Err = DeviceIdError;

    fn from_str(text: &str) -> Result<DeviceId, DeviceIdError> {
        DeviceId::parse(text)
    }
}

impl Serialize for DeviceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for DeviceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<DeviceId, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = DeviceId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a device id")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<DeviceId, E> {
                DeviceId::parse(text).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn the_error_names_what_is_wrong_and_what_is_accepted() {
        let say = |text: &str| DeviceId::parse(text).unwrap_err().to_string();
        assert_eq!(say(""), "device id is empty; 1 to 128 characters of A-Z a-z 0-9 _ - are accepted");
        assert_eq!(say("a/b"), "device id contains '/' at character 2; A-Z a-z 0-9 _ - are accepted");
        assert_eq!(say("né"), "device id contains 'é' at character 2; A-Z a-z 0-9 _ - are accepted");
        assert_eq!(say(&"x".repeat(129)), "device id has 129 characters; at most 128 are accepted");
        assert_eq!(say(&"é".repeat(129)), "device id has 129 characters; at most 128 are accepted");
    }

    #[test]
    fn the_longest_id_is_accepted() {
        assert!(DeviceId::parse(&"-".repeat(128)).is_ok());
    }

    #[test]
    fn stored_ids_are_checked_when_they_come_back() {
        let id: DeviceId = serde_json::from_str("\"prod1_dev1\"").unwrap();
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"prod1_dev1\"");
        assert!(serde_json::from_str::<DeviceId>("\"a b\"").is_err());
    }
}
