//! How a device says who it is: the MQTT client id, and a password made from a secret and an hour.
//!
//! Always true:
//! - The hour of a client id is text. It keys the password exactly as sent, whatever it would mean as a
//!   time; only [`SignWindow`] ever reads it as one.
//! - Secrets are borrowed, compared in constant time, and neither kept nor printed.
//!
//! Not here: which device may connect, whether its username fits, and certificates.

use alloc::string::String;
use core::fmt;
use core::hint::black_box;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::calendar::{clamp_secs, date_of, days_to_month, digits};
use crate::device_id::{DeviceId, DeviceIdError};
use crate::limits::{CLIENT_ID_CHARS_MAX, FOUND_CHARS_MAX, STAMP_DIGITS};
use crate::text;

/// The MQTT client id, `{device_id}_{id_type}_{sign_type}_{stamp}`.
///
/// Device ids contain underscores, so it is read from the right.
///
/// Source: "Connection Authentication". Not here: the three- and five-part forms of provisioning groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientId {
    /// Who it claims to be; the username has to agree.
    pub device: DeviceId,
    /// `0`: a device id. Old pages also have 2, a node id; a bridge sends 3. One digit.
    pub id_type: u8,
    /// How the password is made and checked. One digit.
    ///
    /// `0`: HMAC-SHA256, the stamp is not looked at. `1`: HMAC-SHA256, the stamp must be recent.
    /// `2`: HMAC-SM3, in builds of the C SDK; not supported.
    pub sign_type: u8,
    /// The hour that keyed the password.
    pub stamp: Stamp,
}

/// Why a text is no client id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientIdError {
    /// Longer than the platform takes.
    #[error("client id has {chars} characters; at most {CLIENT_ID_CHARS_MAX} are accepted")]
    TooLong {
        /// How long it is, in characters.
        chars: usize,
    },
    /// Fewer than three underscores.
    #[error("client id {found:?} has fewer than four parts; {{device_id}}_0_0_YYYYMMDDHH is accepted")]
    Parts {
        /// What there is, cut to 64 characters.
        found: String,
    },
    /// The last part is no hour.
    #[error("client id does not end in an hour")]
    Stamp(#[source] StampError),
    /// The part before the hour is no single digit.
    #[error("client id has sign type {found:?}; one digit is accepted, 0 or 1 as a rule")]
    SignType {
        /// What there is, cut to 64 characters.
        found: String,
    },
    /// The second part is no single digit.
    #[error("client id has id type {found:?}; one digit is accepted, 0 as a rule")]
    IdType {
        /// What there is, cut to 64 characters.
        found: String,
    },
    /// What precedes them is no device id.
    #[error("client id does not begin with a device id")]
    Device(#[source] DeviceIdError),
}

impl ClientId {
    /// Takes `text` apart, from the right.
    ///
    /// # Errors
    ///
    /// Says which part is wrong and what would be accepted.
    pub fn parse(text: &str) -> Result<ClientId, ClientIdError> {
        let (_, too_long) = text::cut(text, CLIENT_ID_CHARS_MAX);
        if too_long {
            return Err(ClientIdError::TooLong { chars: text.chars().count() });
        }
        let mut parts = text.rsplitn(4, '_');
        let (Some(stamp), Some(sign_type), Some(id_type), Some(device)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(ClientIdError::Parts { found: quote(text) });
        };
        Ok(ClientId {
            stamp: Stamp::parse(stamp).map_err(ClientIdError::Stamp)?,
            sign_type: digit(sign_type).ok_or_else(|| ClientIdError::SignType { found: quote(sign_type) })?,
            id_type: digit(id_type).ok_or_else(|| ClientIdError::IdType { found: quote(id_type) })?,
            device: DeviceId::parse(device).map_err(ClientIdError::Device)?,
        })
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}_{}_{}", self.device, self.id_type, self.sign_type, self.stamp)
    }
}

/// The ten digits at the end of a client id: nominally `YYYYMMDDHH` in UTC, in truth an opaque key.
///
/// The Go SDK sends local time. The C SDK counts the number up until the password's hash has no zero
/// byte, so that hour 24 and later occur, and then uses it for days.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp([u8; STAMP_DIGITS]);

/// Why a text is no stamp.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stamp is {found:?}; ten digits YYYYMMDDHH are accepted")]
pub struct StampError {
    /// What there is, cut to 64 characters.
    pub found: String,
}

impl Stamp {
    /// Takes ten ASCII digits, whatever they say.
    ///
    /// # Errors
    ///
    /// Anything else.
    pub fn parse(text: &str) -> Result<Stamp, StampError> {
        match <[u8; STAMP_DIGITS]>::try_from(text.as_bytes()) {
            Ok(bytes) if bytes.iter().all(u8::is_ascii_digit) => Ok(Stamp(bytes)),
            Ok(_) | Err(_) => Err(StampError { found: quote(text) }),
        }
    }

    /// The stamp of the hour that `unix_secs` lies in, UTC: what a device with a clock sends.
    pub fn from_unix_secs(unix_secs: i64) -> Stamp {
        let secs = clamp_secs(unix_secs);
        let (year, month, day) = date_of(secs.div_euclid(86_400));
        let hour = secs.rem_euclid(86_400) / 3600;
        let mut bytes = [b'0'; STAMP_DIGITS];
        let mut rest = ((year * 100 + month) * 100 + day) * 100 + hour;
        for place in bytes.iter_mut().rev() {
            // A remainder of ten always fits.
            *place = b'0' + u8::try_from(rest % 10).unwrap_or_default();
            rest /= 10;
        }
        Stamp(bytes)
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        // Digits are UTF-8.
        core::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Hours since 1970, if the stamp can be read as a time.
    ///
    /// Hours from 24 on belong to the days that follow, and a day after the last one of its month to the
    /// next month: the C SDK counts the whole number up, at most a hundred times, past either.
    pub fn hour_since_epoch(&self) -> Option<i64> {
        let [y0, y1, y2, y3, m0, m1, d0, d1, h0, h1] = self.0;
        let year = digits(&[y0, y1, y2, y3])?;
        let (month, day, hour) = (digits(&[m0, m1])?, digits(&[d0, d1])?, digits(&[h0, h1])?);
        let readable = (1..=12).contains(&month) && (1..=LAST_DAY_COUNTED_TO).contains(&day);
        readable.then(|| (days_to_month(year, month) + day - 1) * 24 + hour)
    }
}

/// A day in a client id can be one more than any month has: `2025123123` counted up becomes `2025123200`.
const LAST_DAY_COUNTED_TO: i64 = 32;

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stamp({})", self.as_str())
    }
}

/// The MQTT password: HMAC-SHA256 in 64 lower-case hexadecimal digits.
///
/// The order is the trap: the *stamp* is the key, the *secret* is the message.
/// Source: "Connection Authentication".
pub fn device_password(secret: &[u8], stamp: &Stamp) -> String {
    let mac = password_mac(secret, stamp);
    let mut hex = String::with_capacity(2 * mac.len());
    for byte in mac {
        hex.push(hex_digit(byte >> 4));
        hex.push(hex_digit(byte & 0xf));
    }
    hex
}

/// Whether `given` is the password for `secret` and `stamp`, in upper or lower case.
///
/// Takes the same time wherever the first difference is. Any bytes may be given.
pub fn password_matches(secret: &[u8], stamp: &Stamp, given: &[u8]) -> bool {
    let wanted = device_password(secret, stamp);
    if wanted.len() != given.len() {
        return false;
    }
    let difference = wanted.bytes().zip(given).fold(0u8, |difference, (wanted, given)| {
        black_box(difference | (wanted ^ given.to_ascii_lowercase()))
    });
    black_box(difference) == 0
}

/// How far the stamp of a sign type 1 client id may be from the present hour.
///
/// The published template refuses a stamp whose hour plus one is over, and names no bound ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignWindow {
    /// How many hours it may lie back.
    pub back_hours: u32,
    /// How many hours it may lie ahead.
    pub ahead_hours: u32,
}

/// One hour back, as published; 26 ahead, so that a Go device anywhere east of Greenwich, with its local
/// hour, and most C devices, with theirs counted up, are let in.
impl Default for SignWindow {
    fn default() -> SignWindow {
        SignWindow { back_hours: 1, ahead_hours: 26 }
    }
}

impl SignWindow {
    /// Whether `stamp` is recent enough at `now_unix_secs`. A stamp that cannot be read as a time is not.
    pub fn admits(&self, stamp: &Stamp, now_unix_secs: i64) -> bool {
        let now_hour = now_unix_secs.div_euclid(3600);
        stamp.hour_since_epoch().is_some_and(|hour| {
            hour >= now_hour.saturating_sub(i64::from(self.back_hours))
                && hour <= now_hour.saturating_add(i64::from(self.ahead_hours))
        })
    }
}

fn password_mac(secret: &[u8], stamp: &Stamp) -> [u8; 32] {
    // RFC 2104, 2: a key shorter than the block is followed by zeroes. Doing so here leaves no error case.
    let mut block = [0u8; 64];
    for (place, digit) in block.iter_mut().zip(stamp.0) {
        *place = digit;
    }
    let mut mac = Hmac::<Sha256>::new(&block.into());
    mac.update(secret);
    mac.finalize().into_bytes().into()
}

fn hex_digit(nibble: u8) -> char {
    char::from(if nibble < 10 { b'0' + nibble } else { b'a' + (nibble - 10) })
}

fn digit(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [digit @ b'0'..=b'9'] => Some(digit - b'0'),
        _ => None,
    }
}

fn quote(text: &str) -> String {
    text::bounded(text, FOUND_CHARS_MAX)
}
