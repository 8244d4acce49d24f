//! What holds for any bytes on an MQTT link. `fuzz/README.md` lists the promises.
//!
//! Not part of any build but tests and `cargo fuzz`.

#![allow(clippy::unwrap_used, reason = "a promise that is broken is to be seen")]

use std::borrow::Cow;

use mqtt_protocol_core::mqtt::packet::Qos;
use mqtt_protocol_core::mqtt::result_code::DisconnectReasonCode;
use otaru_engine::UplinkReading;
use otaru_proto::{DeviceId, FilterVerdict, classify_filter};

use crate::frame::{self, OpeningError, Version};
use crate::limits::{FOREIGN_TOPIC_CHARS_MAX, GatewayLimits};
use crate::uplink::{self, Kind};
use crate::wire::{Grant, Heard, Hello, Published, Terms, Unsaid, Wire};

/// A link from its first byte: what is no CONNECT is refused by its first bytes; one that is accepted is the same however
/// it is cut, in all three versions, and says the same when it is written again.
pub fn check_connect(bytes: &[u8]) {
    let limits = GatewayLimits::default();
    let bytes_max = usize::try_from(limits.connect_bytes_max).unwrap();
    let found = frame::connect_bytes(bytes, bytes_max);
    found_as_early_as_possible(bytes, bytes_max, found);
    let Ok(Some(length)) = found else { return };
    assert!(length <= bytes_max && length <= bytes.len() && bytes[0] == 0x10);
    let (connect, following) = bytes.split_at(length);
    let Ok((spoken, version)) = frame::as_spoken_here(connect) else { return };
    assert_eq!(
        frame::connect_bytes(&spoken, bytes_max),
        Ok(Some(spoken.len())),
        "the length says where it ends"
    );
    match version {
        Version::V3_1 => {
            // What leaves here is one of 3.1.1, and stays one.
            assert_eq!(frame::as_spoken_here(&spoken), Ok((Cow::Borrowed(&*spoken), Version::V3_1_1)));
        }
        Version::V3_1_1 | Version::V5 => assert_eq!(&*spoken, connect),
    }
    let Ok((mut wire, hello)) = open(&spoken) else { return };
    if version != Version::V5 {
        assert!(!hello.wants_other_authentication);
        let (_, again) = open(&written(&hello)).unwrap();
        assert_eq!(again, hello, "what it says can be said again");
    }
    if wire.accept(TERMS).is_err() {
        // It takes no CONNACK of this size. It is not told, and nothing is written.
        assert!(version == Version::V5 && wire.take_output().is_empty());
        return;
    }
    assert!(is_whole_packets(&wire.take_output()));
    check_cuts(&spoken, following);
}

/// What follows an accepted CONNECT. The first byte chooses the version.
pub fn check_session(bytes: &[u8]) {
    let Some((version, packets)) = bytes.split_first() else { return };
    let connect: &[u8] = match version % 3 {
        0 => b"\x10\x13\x00\x06MQIsdp\x03\x02\x00\x78\x00\x05abcde",
        1 => b"\x10\x11\x00\x04MQTT\x04\x02\x00\x78\x00\x05abcde",
        _ => b"\x10\x12\x00\x04MQTT\x05\x02\x00\x78\x00\x00\x05abcde",
    };
    let (spoken, _) = frame::as_spoken_here(connect).unwrap();
    check_cuts(&spoken, packets);
}

const TERMS: Terms = Terms { receive_maximum: 64, keep_alive_secs: Some(120) };

fn open(connect: &[u8]) -> Result<(Wire, Hello), mqtt_protocol_core::mqtt::result_code::MqttError> {
    let limits = GatewayLimits::default();
    Wire::open(connect, limits.packet_bytes_max, limits.downlinks_in_flight_max.get())
}

/// No verdict changes with what follows, and none is late.
fn found_as_early_as_possible(bytes: &[u8], bytes_max: usize, found: Result<Option<usize>, OpeningError>) {
    let head = &bytes[..bytes.len().min(5)];
    match found {
        Ok(Some(length)) => {
            for end in [0, 1, length / 2, length - 1] {
                assert_eq!(frame::connect_bytes(&bytes[..end], bytes_max), Ok(None), "{end} of {length}");
            }
            assert_eq!(frame::connect_bytes(&bytes[..length], bytes_max), found);
        }
        Ok(None) => assert!(bytes.len() < bytes_max, "there is no end to it"),
        Err(error) => assert_eq!(frame::connect_bytes(head, bytes_max), Err(error), "five bytes decide"),
    }
}

/// A CONNECT of 3.1.1 that says so much and no more.
fn written(hello: &Hello) -> Vec<u8> {
    let text = |into: &mut Vec<u8>, bytes: &[u8]| {
        into.extend_from_slice(&u16::try_from(bytes.len()).unwrap().to_be_bytes());
        into.extend_from_slice(bytes);
    };
    let mut body = b"\x00\x04MQTT\x04".to_vec();
    let has = |is_there: bool, flag: u8| if is_there { flag } else { 0 };
    body.push(0x02 | has(hello.username.is_some(), 0x80) | has(hello.password.is_some(), 0x40));
    body.extend_from_slice(&hello.keep_alive_secs.to_be_bytes());
    text(&mut body, hello.client_id.as_bytes());
    if let Some(username) = &hello.username {
        text(&mut body, username.as_bytes());
    }
    if let Some(password) = &hello.password {
        text(&mut body, password);
    }
    // Two digits are enough for a CONNECT that is read.
    let (low, high) = (u8::try_from(body.len() & 0x7f).unwrap(), u8::try_from(body.len() >> 7).unwrap());
    let mut packet = if high == 0 { vec![0x10, low] } else { vec![0x10, low | 0x80, high] };
    packet.append(&mut body);
    packet
}

/// The same packets, read at once, byte by byte, and in two parts, are the same to us.
fn check_cuts(connect: &[u8], packets: &[u8]) {
    let whole = converse(connect, &[packets]);
    let single: Vec<&[u8]> = packets.chunks(1).collect();
    assert_eq!(converse(connect, &single), whole, "byte by byte");
    // Somewhere that the bytes choose.
    let sum: usize = packets.iter().map(|byte| usize::from(*byte)).sum();
    let (first, second) = packets.split_at(sum % (packets.len() + 1));
    assert_eq!(converse(connect, &[first, second]), whole, "cut after {} bytes", first.len());
}

/// One conversation, as `session` holds it: what was heard, how it ended, and what was answered.
fn converse(connect: &[u8], reads: &[&[u8]]) -> (Vec<String>, Vec<u8>) {
    let own = DeviceId::parse("d1").unwrap();
    let (mut wire, _) = open(connect).unwrap();
    let mut heard = Vec::new();
    if wire.accept(TERMS).is_err() {
        return (heard, wire.take_output());
    }
    // One downlink of each kind is on its way.
    for qos in [Qos::AtMostOnce, Qos::AtLeastOnce] {
        if let Err(unsaid) = wire.say("$oc/devices/d1/sys/events/down", b"{}", qos) {
            assert_eq!(unsaid, Unsaid::TooLarge);
        }
    }
    for read in reads {
        let mut rest = *read;
        while !rest.is_empty() {
            let before = rest.len();
            let step = match wire.hear(&mut rest) {
                Ok(None) => Ok(()),
                Ok(Some(said)) => {
                    heard.push(shown(&said));
                    react(&mut wire, &said, &own)
                }
                Err(error) => Err(format!("{error}")),
            };
            if let Err(end) = step {
                heard.push(end);
                wire.disconnect(DisconnectReasonCode::ProtocolError, "it broke the protocol");
                let answers = wire.take_output();
                assert!(is_whole_packets(&answers), "{answers:02x?}");
                return (heard, answers);
            }
            assert!(rest.len() < before, "no progress");
        }
    }
    let answers = wire.take_output();
    assert!(is_whole_packets(&answers), "{answers:02x?}");
    (heard, answers)
}

fn react(wire: &mut Wire, said: &Heard, own: &DeviceId) -> Result<(), String> {
    let ended = |error| format!("cannot be answered: {error}");
    match said {
        Heard::Publish(published) => {
            if published.qos() == Qos::ExactlyOnce {
                return Err("QoS 2".to_owned());
            }
            let kind = check_publication(published, own);
            match published.packet_id() {
                Some(packet_id) => wire.acknowledge(packet_id, kind == Kind::Foreign).map_err(ended),
                None => Ok(()),
            }
        }
        Heard::Subscribe { packet_id, wishes } => {
            let grants: Vec<Grant> = wishes
                .iter()
                .map(|wish| match classify_filter(&wish.filter, own) {
                    FilterVerdict::Foreign => Grant::NotYours,
                    FilterVerdict::Own { .. } | FilterVerdict::Custom => Grant::AtLeastOnce,
                })
                .collect();
            assert!(!grants.is_empty());
            wire.grant(*packet_id, &grants).map_err(ended)
        }
        Heard::Unsubscribe { packet_id, filters } => {
            assert!(*filters > 0);
            wire.unsubscribed(*packet_id, *filters).map_err(ended)
        }
        Heard::Ping => wire.pong().map_err(ended),
        Heard::Disconnect => Err("goodbye".to_owned()),
        Heard::Acknowledged | Heard::StaleAcknowledgement => Ok(()),
    }
}

/// A publication is for one thing, and only what is read is held.
fn check_publication(published: &Published, own: &DeviceId) -> Kind {
    let limits = GatewayLimits::default();
    let (topic, payload) = (published.topic(), published.payload());
    assert_eq!(payload.len(), published.payload_bytes());
    assert!(topic.len() + payload.len() <= usize::try_from(limits.packet_bytes_max).unwrap());
    assert!(published.packet_id() != Some(0));
    assert_eq!(published.packet_id().is_none(), published.qos() == Qos::AtMostOnce);
    let kind = uplink::kind_of(topic, own);
    let is_own = topic.starts_with("$oc/devices/d1/");
    assert!(kind == Kind::Foreign || is_own || !topic.starts_with("$oc/devices/d1/sys/"));
    let (reading, held) = uplink::read(kind, topic, payload.clone());
    match reading {
        UplinkReading::Event(_) => assert!(topic == "$oc/devices/d1/sys/events/up" && held == payload),
        UplinkReading::Told(_) => assert!(is_own && held == payload),
        UplinkReading::Ignored => assert!(held.is_empty()),
        UplinkReading::ForeignTopic(recorded) => {
            assert!(!is_own && held.is_empty() && topic.starts_with(&recorded));
            assert!(recorded.chars().count() <= FOREIGN_TOPIC_CHARS_MAX);
        }
    }
    kind
}

fn shown(said: &Heard) -> String {
    match said {
        Heard::Publish(published) => format!(
            "publish {:?} {:?} {:?} {:02x?}",
            published.qos(),
            published.packet_id(),
            published.topic(),
            &*published.payload()
        ),
        Heard::Acknowledged => "acknowledged".to_owned(),
        Heard::StaleAcknowledgement => "stale".to_owned(),
        Heard::Subscribe { packet_id, wishes } => format!("subscribe {packet_id} {wishes:?}"),
        Heard::Unsubscribe { packet_id, filters } => format!("unsubscribe {packet_id} {filters}"),
        Heard::Ping => "ping".to_owned(),
        Heard::Disconnect => "disconnect".to_owned(),
    }
}

/// Whether what we write can be taken apart again.
fn is_whole_packets(mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match frame::packet_bytes(bytes) {
            Ok(Some(length)) if length <= bytes.len() => bytes = &bytes[length..],
            Ok(Some(_) | None) | Err(_) => return false,
        }
    }
    true
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod corpus;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connect_keeps_what_is_promised() {
        corpus::replay("mqtt_connect", check_connect);
    }

    #[test]
    fn what_follows_it_keeps_what_is_promised() {
        corpus::replay("mqtt_session", check_session);
    }
}
