//! The first bytes of MQTT packets: how long one is, and which protocol a CONNECT speaks.
//!
//! Always true:
//! - Nothing is buffered or copied for a packet that is too large or no CONNECT: the first five bytes decide.
//! - A CONNECT of MQTT 3.1 leaves here as one of 3.1.1 that says the same. The SDKs fall back to 3.1 when 3.1.1
//!   was refused, with the same long client id; the two versions differ in nothing else that matters here.
//!
//! Not here: what is in the packets (`wire`).

use std::borrow::Cow;

/// The versions that are spoken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V3_1,
    V3_1_1,
    V5,
}

impl Version {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Version::V3_1 => "MQTT 3.1",
            Version::V3_1_1 => "MQTT 3.1.1",
            Version::V5 => "MQTT 5.0",
        }
    }
}

/// Why what a peer sends first is not a CONNECT that we read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OpeningError {
    #[error("first byte is {0:#04x}; a CONNECT, 0x10, is expected")]
    NotConnect(u8),
    #[error("CONNECT has {bytes} bytes; at most {bytes_max} are read")]
    TooLarge { bytes: usize, bytes_max: usize },
    #[error("CONNECT is malformed")]
    Malformed,
    /// The only one that is answered.
    #[error("protocol level is {0}; MQTT 3.1, 3.1.1 and 5.0 are spoken here")]
    UnknownLevel(u8),
}

/// How many bytes the packet that begins here has in all, if its first bytes already say so.
///
/// # Errors
///
/// A length of more than four bytes (MQTT 3.1.1, 2.2.3).
pub(crate) fn packet_bytes(start: &[u8]) -> Result<Option<usize>, OpeningError> {
    let mut length = 0;
    for (digit, byte) in start.iter().skip(1).take(LENGTH_DIGITS_MAX).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * digit);
        if byte & 0x80 == 0 {
            return Ok(Some(2 + digit + length));
        }
    }
    if start.len() > LENGTH_DIGITS_MAX { Err(OpeningError::Malformed) } else { Ok(None) }
}

/// How many of the bytes read so far are the CONNECT, once all of it is there.
///
/// # Errors
///
/// It is none, or one that is too large. Said as early as possible.
pub(crate) fn connect_bytes(start: &[u8], bytes_max: usize) -> Result<Option<usize>, OpeningError> {
    match start.first() {
        None => return Ok(None),
        Some(&CONNECT) => {}
        Some(&other) => return Err(OpeningError::NotConnect(other)),
    }
    match packet_bytes(start)? {
        Some(bytes) if bytes > bytes_max => Err(OpeningError::TooLarge { bytes, bytes_max }),
        Some(bytes) if bytes <= start.len() => Ok(Some(bytes)),
        Some(_) | None => Ok(None),
    }
}

/// Says which version a whole CONNECT speaks, and puts one of 3.1 into the form of 3.1.1.
///
/// # Errors
///
/// It is none of the versions spoken here, or no MQTT.
pub(crate) fn as_spoken_here(connect: &[u8]) -> Result<(Cow<'_, [u8]>, Version), OpeningError> {
    let header = connect.iter().skip(1).position(|byte| byte & 0x80 == 0).ok_or(OpeningError::Malformed)? + 2;
    let body = connect.get(header..).ok_or(OpeningError::Malformed)?;
    let (name, rest) = split_text(body).ok_or(OpeningError::Malformed)?;
    let (&level, rest) = rest.split_first().ok_or(OpeningError::Malformed)?;
    match (name, level) {
        (b"MQTT", 4) => Ok((Cow::Borrowed(connect), Version::V3_1_1)),
        (b"MQTT", 5) => Ok((Cow::Borrowed(connect), Version::V5)),
        (b"MQIsdp", 3) => Ok((Cow::Owned(rewritten(rest)?), Version::V3_1)),
        (b"MQTT" | b"MQIsdp", other) => Err(OpeningError::UnknownLevel(other)),
        _ => Err(OpeningError::Malformed),
    }
}

/// A CONNECT of 3.1.1 with what followed the level in one of 3.1.
fn rewritten(rest: &[u8]) -> Result<Vec<u8>, OpeningError> {
    let (&flags, rest) = rest.split_first().ok_or(OpeningError::Malformed)?;
    let mut packet = Vec::with_capacity(5 + V3_1_1_HEAD.len() + 1 + rest.len());
    packet.push(CONNECT);
    push_length(&mut packet, V3_1_1_HEAD.len() + 1 + rest.len());
    packet.extend_from_slice(V3_1_1_HEAD);
    // MQTT 3.1, 3.1: the lowest flag is unused, so it may be set; 3.1.1 forbids that.
    packet.push(flags & !1);
    packet.extend_from_slice(rest);
    Ok(packet)
}

fn push_length(packet: &mut Vec<u8>, mut length: usize) {
    loop {
        // Seven bits fit.
        let digit = u8::try_from(length & 0x7f).unwrap_or_default();
        length >>= 7;
        if length == 0 {
            packet.push(digit);
            return;
        }
        packet.push(digit | 0x80);
    }
}

/// A text with its length before it, and what follows.
fn split_text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

const CONNECT: u8 = 0x10;

const LENGTH_DIGITS_MAX: usize = 4;

const V3_1_1_HEAD: &[u8] = b"\x00\x04MQTT\x04";

#[cfg(test)]
mod tests {
    use super::*;

    const V3_1: &[u8] = b"\x10\x13\x00\x06MQIsdp\x03\x02\x00\x78\x00\x05abcde";
    const V3_1_1: &[u8] = b"\x10\x11\x00\x04MQTT\x04\x02\x00\x78\x00\x05abcde";
    const V5: &[u8] = b"\x10\x12\x00\x04MQTT\x05\x02\x00\x78\x00\x00\x05abcde";

    #[test]
    fn a_connect_is_complete_with_its_last_byte() {
        for bytes in 0..V3_1.len() {
            assert_eq!(connect_bytes(&V3_1[..bytes], 4096), Ok(None), "{bytes} bytes");
        }
        assert_eq!(connect_bytes(V3_1, 4096), Ok(Some(V3_1.len())));
        assert_eq!(connect_bytes(&[V3_1, &[0x30, 0]].concat(), 4096), Ok(Some(V3_1.len())));
    }

    #[test]
    fn what_is_no_connect_is_known_by_its_first_byte() {
        assert_eq!(connect_bytes(b"GET / HTTP/1.1", 4096), Err(OpeningError::NotConnect(b'G')));
        assert_eq!(connect_bytes(&[0x30], 4096), Err(OpeningError::NotConnect(0x30)));
        // A TLS hello on the plain port.
        assert_eq!(connect_bytes(&[0x16, 3, 1], 4096), Err(OpeningError::NotConnect(0x16)));
    }

    #[test]
    fn a_large_connect_is_known_by_its_length() {
        let told = connect_bytes(&[0x10, 0xff, 0xff, 0xff, 0x7f], 4096);
        assert_eq!(told, Err(OpeningError::TooLarge { bytes: 268_435_460, bytes_max: 4096 }));
        assert_eq!(connect_bytes(&[0x10, 0xff, 0xff, 0xff], 4096), Ok(None));
        assert_eq!(connect_bytes(&[0x10, 0xff, 0xff, 0xff, 0xff], 4096), Err(OpeningError::Malformed));
    }

    #[test]
    fn the_length_of_a_packet_has_one_to_four_digits() {
        assert_eq!(packet_bytes(&[0x40]), Ok(None));
        assert_eq!(packet_bytes(&[0x40, 2]), Ok(Some(4)));
        assert_eq!(packet_bytes(&[0x40, 0x80, 1]), Ok(Some(131)));
        assert_eq!(packet_bytes(&[0x40, 0x80, 0x80, 1]), Ok(Some(16_388)));
    }

    #[test]
    fn a_connect_of_3_1_becomes_one_of_3_1_1() {
        let (packet, version) = as_spoken_here(V3_1).unwrap();
        assert_eq!((packet.as_ref(), version), (V3_1_1, Version::V3_1));
    }

    #[test]
    fn its_length_may_lose_a_digit_on_the_way() {
        // 128 bytes after the header become 126.
        let long = [&b"\x10\x80\x01\x00\x06MQIsdp\x03\x02\x00\x78\x00\x72"[..], &[b'x'; 114]].concat();
        assert_eq!(connect_bytes(&long, 4096), Ok(Some(long.len())));
        let (packet, _) = as_spoken_here(&long).unwrap();
        assert_eq!(packet[..9], *b"\x10\x7e\x00\x04MQTT\x04");
        assert_eq!(connect_bytes(&packet, 4096), Ok(Some(128)));
    }

    #[test]
    fn the_unused_flag_of_3_1_is_cleared() {
        let mut odd = V3_1.to_vec();
        odd[11] |= 1;
        assert_eq!(as_spoken_here(&odd).unwrap().0.as_ref(), V3_1_1);
    }

    #[test]
    fn newer_versions_pass_as_they_are() {
        assert_eq!(as_spoken_here(V3_1_1), Ok((Cow::Borrowed(V3_1_1), Version::V3_1_1)));
        assert_eq!(as_spoken_here(V5), Ok((Cow::Borrowed(V5), Version::V5)));
    }

    #[test]
    fn other_levels_are_named() {
        assert_eq!(as_spoken_here(b"\x10\x07\x00\x04MQTT\x06"), Err(OpeningError::UnknownLevel(6)));
        // A bridge of another broker marks itself with the highest bit.
        assert_eq!(as_spoken_here(b"\x10\x09\x00\x06MQIsdp\x83"), Err(OpeningError::UnknownLevel(0x83)));
        assert_eq!(as_spoken_here(b"\x10\x07\x00\x04AMQP\x04"), Err(OpeningError::Malformed));
        assert_eq!(as_spoken_here(b"\x10\x04\x00\x06MQ"), Err(OpeningError::Malformed));
        assert_eq!(as_spoken_here(b"\x10\x00"), Err(OpeningError::Malformed));
    }
}
