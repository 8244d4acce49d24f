//! One device's MQTT, whatever the version: bytes in, what they say out; what we say in, bytes out.
//!
//! The state machine is `mqtt-protocol-core`'s. This is the one module that knows it, and the one that knows that
//! 3.1.1 and 5.0 have different packets.
//!
//! Always true:
//! - Nothing is answered here that the session did not ask for, except the DISCONNECT that MQTT 5 owes to a
//!   protocol error.
//! - What is to be written gathers in one buffer, in the order in which it was said.
//! - A PUBACK for something that was not published in this session is ignored. Libraries that acknowledge only
//!   after the application has handled a message do so in the next session, if the first one was cut meanwhile.
//!
//! Not here: sockets, time, and what any of it means.

use std::collections::BTreeSet;

use bytes::Bytes;
use mqtt_protocol_core::mqtt;
use mqtt_protocol_core::mqtt::common::{ArcPayload, Cursor};
use mqtt_protocol_core::mqtt::connection::{ConnectionOptions, Event};
use mqtt_protocol_core::mqtt::packet::{
    MaximumQos, Packet, Property, Qos, ReasonString, ReceiveMaximum, RetainAvailable, ServerKeepAlive,
    SessionExpiryInterval, SharedSubscriptionAvailable, SubEntry, SubscriptionIdentifierAvailable,
    WildcardSubscriptionAvailable, v3_1_1, v5_0,
};
use mqtt_protocol_core::mqtt::prelude::*;
use mqtt_protocol_core::mqtt::result_code::{
    ConnectReasonCode, ConnectReturnCode, DisconnectReasonCode, MqttError, PubackReasonCode,
    SubackReasonCode, SubackReturnCode, UnsubackReasonCode,
};

use crate::frame;
use crate::limits::PUBACK_BYTES_MAX;

/// What a device says.
pub(crate) enum Heard {
    Publish(Published),
    /// A downlink of this session is acknowledged.
    Acknowledged,
    /// Something else is; to be counted.
    StaleAcknowledgement,
    Subscribe {
        packet_id: u16,
        wishes: Vec<Wish>,
    },
    Unsubscribe {
        packet_id: u16,
        filters: usize,
    },
    Ping,
    Disconnect,
}

/// One filter of a SUBSCRIBE.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) filter: String,
    pub(crate) qos: Qos,
}

/// What a wish gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grant {
    AtMostOnce,
    AtLeastOnce,
    NotYours,
    NoSharing,
}

/// A PUBLISH as it was read.
pub(crate) enum Published {
    V3(v3_1_1::Publish),
    V5(v5_0::Publish),
}

impl Published {
    pub(crate) fn topic(&self) -> &str {
        match self {
            Published::V3(packet) => packet.topic_name(),
            Published::V5(packet) => packet.topic_name(),
        }
    }

    pub(crate) fn qos(&self) -> Qos {
        match self {
            Published::V3(packet) => packet.qos(),
            Published::V5(packet) => packet.qos(),
        }
    }

    /// `None` for QoS 0.
    pub(crate) fn packet_id(&self) -> Option<u16> {
        match self {
            Published::V3(packet) => packet.packet_id(),
            Published::V5(packet) => packet.packet_id(),
        }
    }

    pub(crate) fn payload_bytes(&self) -> usize {
        match self {
            Published::V3(packet) => packet.payload().len(),
            Published::V5(packet) => packet.payload().len(),
        }
    }

    /// The payload where it was read to, without copying it again.
    pub(crate) fn payload(&self) -> Bytes {
        let payload = match self {
            Published::V3(packet) => packet.payload(),
            Published::V5(packet) => packet.payload(),
        };
        Bytes::from_owner(Payload(payload.clone()))
    }
}

struct Payload(ArcPayload);

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

/// Who asks to be connected, and how.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) client_id: String,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Vec<u8>>,
    pub(crate) keep_alive_secs: u16,
    /// MQTT 5: it wants to be authenticated in a way that is not ours.
    pub(crate) wants_other_authentication: bool,
}

/// What MQTT 5 is told in CONNACK, beside the size limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) receive_maximum: u16,
    /// Only if it is not what the device asked for.
    pub(crate) keep_alive_secs: Option<u16>,
}

/// A refusal in both languages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct No {
    pub(crate) return_code: ConnectReturnCode,
    pub(crate) reason_code: ConnectReasonCode,
    pub(crate) reason: String,
}

/// Why a downlink was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsaid {
    /// As many as permitted wait for their PUBACK. One of those makes room.
    NoRoom,
    /// The device does not take packets of this size.
    TooLarge,
}

pub(crate) struct Wire {
    core: mqtt::Connection<mqtt::role::Server>,
    is_v5: bool,
    /// Packet ids of downlinks without their PUBACK.
    unacknowledged: BTreeSet<u16>,
    unacknowledged_max: u16,
    /// The last packet was read to its end.
    is_between_packets: bool,
    /// A PUBACK of which not all has arrived. It is gathered here, because it must be known whole before the
    /// state machine may see it.
    puback: Vec<u8>,
    output: Vec<u8>,
}

impl Wire {
    /// Begins with a whole CONNECT, which [`frame::as_spoken_here`] has seen.
    ///
    /// # Errors
    ///
    /// What is wrong with it; [`MqttError::ClientIdentifierNotValid`] deserves an answer.
    pub(crate) fn open(
        connect: &[u8],
        packet_bytes_max: u32,
        unacknowledged_max: u16,
    ) -> Result<(Wire, Hello), MqttError> {
        let options = ConnectionOptions::new().maximum_packet_size_recv(packet_bytes_max);
        let mut core = mqtt::Connection::with_options(mqtt::Version::Undetermined, options);
        let mut heard = None;
        for event in core.recv(&mut Cursor::new(connect)) {
            match event {
                Event::NotifyPacketReceived(packet) => heard = Some(packet),
                Event::NotifyError(error) => return Err(error),
                // Of a CONNECT that cannot be read, the answer the library proposes goes with the error.
                Event::RequestSendPacket { .. }
                | Event::NotifyPacketIdReleased(_)
                | Event::RequestTimerReset { .. }
                | Event::RequestTimerCancel(_)
                | Event::RequestClose => {}
            }
        }
        let (hello, is_v5) = match heard {
            Some(Packet::V3_1_1Connect(packet)) => (hello_v3(&packet), false),
            Some(Packet::V5_0Connect(packet)) => (hello_v5(&packet), true),
            Some(_) | None => return Err(MqttError::MalformedPacket),
        };
        let wire = Wire {
            core,
            is_v5,
            unacknowledged: BTreeSet::new(),
            unacknowledged_max,
            is_between_packets: true,
            puback: Vec::new(),
            output: Vec::new(),
        };
        Ok((wire, hello))
    }

    /// Says yes to the CONNECT.
    ///
    /// # Errors
    ///
    /// The device does not take a packet of the size of the answer.
    pub(crate) fn accept(&mut self, terms: Terms) -> Result<(), MqttError> {
        let events = if self.is_v5 {
            // The library adds Maximum Packet Size.
            let mut props: Vec<Property> = vec![
                ReceiveMaximum::new(terms.receive_maximum)?.into(),
                MaximumQos::new(1)?.into(),
                RetainAvailable::new(0)?.into(),
                WildcardSubscriptionAvailable::new(1)?.into(),
                SubscriptionIdentifierAvailable::new(0)?.into(),
                SharedSubscriptionAvailable::new(0)?.into(),
                // Whatever was asked for: nothing of a session is kept.
                SessionExpiryInterval::new(0)?.into(),
            ];
            if let Some(secs) = terms.keep_alive_secs {
                props.push(ServerKeepAlive::new(secs)?.into());
            }
            let connack = v5_0::Connack::builder()
                .session_present(false)
                .reason_code(ConnectReasonCode::Success)
                .props(props)
                .build()?;
            self.core.checked_send(connack)
        } else {
            let connack = v3_1_1::Connack::builder()
                .session_present(false)
                .return_code(ConnectReturnCode::Accepted)
                .build()?;
            self.core.checked_send(connack)
        };
        self.write_down(events)
    }

    /// Says no to the CONNECT, with the reason if the device takes a packet of that size.
    pub(crate) fn refuse(&mut self, no: &No) {
        let told = if self.is_v5 {
            self.refuse_v5(no, true).or_else(|_| self.refuse_v5(no, false))
        } else {
            v3_1_1::Connack::builder().session_present(false).return_code(no.return_code).build().and_then(
                |connack| {
                    let events = self.core.checked_send(connack);
                    self.write_down(events)
                },
            )
        };
        // A device that takes no CONNACK at all learns from the closed connection.
        let _ = told;
    }

    fn refuse_v5(&mut self, no: &No, with_reason: bool) -> Result<(), MqttError> {
        let connack = v5_0::Connack::builder().session_present(false).reason_code(no.reason_code);
        let connack = if with_reason {
            connack.props(vec![ReasonString::new(no.reason.as_str())?.into()]).build()?
        } else {
            connack.build()?
        };
        let events = self.core.checked_send(connack);
        self.write_down(events)
    }

    /// Takes the next packet off the front of `bytes`. `None`: all of them are read and there is no further whole
    /// packet; call again with what follows.
    ///
    /// # Errors
    ///
    /// The device broke the protocol: close. What MQTT 5 wants it to be told is in the output.
    pub(crate) fn hear(&mut self, bytes: &mut &[u8]) -> Result<Option<Heard>, MqttError> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let begins_puback = self.is_between_packets && bytes.first().is_some_and(|byte| byte >> 4 == PUBACK);
        if begins_puback || !self.puback.is_empty() {
            return self.hear_puback(bytes);
        }
        let mut cursor = Cursor::new(*bytes);
        let events = self.core.recv(&mut cursor);
        let used = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
        *bytes = bytes.get(used..).unwrap_or_default();
        self.is_between_packets = !events.is_empty();
        self.understand(events)
    }

    fn hear_puback(&mut self, bytes: &mut &[u8]) -> Result<Option<Heard>, MqttError> {
        let whole = loop {
            let whole = frame::packet_bytes(&self.puback).map_err(|_| MqttError::MalformedPacket)?;
            match whole {
                Some(whole) if whole > PUBACK_BYTES_MAX => return Err(MqttError::PacketTooLarge),
                Some(whole) if whole == self.puback.len() => break whole,
                Some(_) | None => {}
            }
            let Some((&next, rest)) = bytes.split_first() else { return Ok(None) };
            self.puback.push(next);
            *bytes = rest;
        };
        let puback = std::mem::take(&mut self.puback);
        let header = whole - body_bytes(&puback);
        let packet_id = puback.get(header..header + 2).map(|id| u16::from_be_bytes([id[0], id[1]]));
        match packet_id {
            Some(packet_id) if !self.unacknowledged.remove(&packet_id) => {
                Ok(Some(Heard::StaleAcknowledgement))
            }
            Some(_) | None => {
                let events = self.core.recv(&mut Cursor::new(puback.as_slice()));
                self.understand(events)
            }
        }
    }

    /// Says that the publication with this packet id is stored; or, if it was `foreign`, that it was not for this
    /// device to publish, which only MQTT 5 has words for.
    pub(crate) fn acknowledge(&mut self, packet_id: u16, foreign: bool) -> Result<(), MqttError> {
        let events = if self.is_v5 {
            let puback = v5_0::Puback::builder().packet_id(packet_id);
            let puback = if foreign { puback.reason_code(PubackReasonCode::NotAuthorized) } else { puback };
            self.core.checked_send(puback.build()?)
        } else {
            self.core.checked_send(v3_1_1::Puback::builder().packet_id(packet_id).build()?)
        };
        self.write_down(events)
    }

    /// Whether a QoS 1 downlink may be published now.
    pub(crate) fn has_room(&self) -> bool {
        self.unacknowledged.len() < usize::from(self.unacknowledged_max)
            && self.core.get_receive_maximum_vacancy_for_send() != Some(0)
    }

    /// Publishes a downlink.
    pub(crate) fn say(&mut self, topic: &str, payload: &[u8], qos: Qos) -> Result<(), Unsaid> {
        if qos == Qos::AtMostOnce {
            return self.publish(topic, payload, qos, None).map_err(|_| Unsaid::TooLarge);
        }
        if !self.has_room() {
            return Err(Unsaid::NoRoom);
        }
        let packet_id = self.core.acquire_packet_id().map_err(|_| Unsaid::NoRoom)?;
        match self.publish(topic, payload, qos, Some(packet_id)) {
            Ok(()) => {
                self.unacknowledged.insert(packet_id);
                Ok(())
            }
            Err(_) => {
                self.core.release_packet_id(packet_id);
                Err(Unsaid::TooLarge)
            }
        }
    }

    fn publish(
        &mut self,
        topic: &str,
        payload: &[u8],
        qos: Qos,
        packet_id: Option<u16>,
    ) -> Result<(), MqttError> {
        let events = if self.is_v5 {
            let packet = v5_0::Publish::builder().topic_name(topic)?.qos(qos).payload(payload);
            let packet = if let Some(id) = packet_id { packet.packet_id(id) } else { packet };
            self.core.checked_send(packet.build()?)
        } else {
            let packet = v3_1_1::Publish::builder().topic_name(topic)?.qos(qos).payload(payload);
            let packet = if let Some(id) = packet_id { packet.packet_id(id) } else { packet };
            self.core.checked_send(packet.build()?)
        };
        self.write_down(events)
    }

    /// Answers a SUBSCRIBE, one grant a wish.
    pub(crate) fn grant(&mut self, packet_id: u16, grants: &[Grant]) -> Result<(), MqttError> {
        let events = if self.is_v5 {
            let codes = grants
                .iter()
                .map(|grant| match grant {
                    Grant::AtMostOnce => SubackReasonCode::GrantedQos0,
                    Grant::AtLeastOnce => SubackReasonCode::GrantedQos1,
                    Grant::NotYours => SubackReasonCode::NotAuthorized,
                    Grant::NoSharing => SubackReasonCode::SharedSubscriptionsNotSupported,
                })
                .collect();
            self.core.checked_send(v5_0::Suback::builder().packet_id(packet_id).reason_codes(codes).build()?)
        } else {
            let codes = grants
                .iter()
                .map(|grant| match grant {
                    Grant::AtMostOnce => SubackReturnCode::SuccessMaximumQos0,
                    Grant::AtLeastOnce => SubackReturnCode::SuccessMaximumQos1,
                    Grant::NotYours | Grant::NoSharing => SubackReturnCode::Failure,
                })
                .collect();
            self.core
                .checked_send(v3_1_1::Suback::builder().packet_id(packet_id).return_codes(codes).build()?)
        };
        self.write_down(events)
    }

    /// Answers an UNSUBSCRIBE of so many filters.
    pub(crate) fn unsubscribed(&mut self, packet_id: u16, filters: usize) -> Result<(), MqttError> {
        let events = if self.is_v5 {
            let codes = vec![UnsubackReasonCode::Success; filters];
            self.core
                .checked_send(v5_0::Unsuback::builder().packet_id(packet_id).reason_codes(codes).build()?)
        } else {
            self.core.checked_send(v3_1_1::Unsuback::builder().packet_id(packet_id).build()?)
        };
        self.write_down(events)
    }

    /// Answers a PINGREQ.
    pub(crate) fn pong(&mut self) -> Result<(), MqttError> {
        let events = if self.is_v5 {
            self.core.checked_send(v5_0::Pingresp::new())
        } else {
            self.core.checked_send(v3_1_1::Pingresp::new())
        };
        self.write_down(events)
    }

    /// Tells an MQTT 5 device why it is disconnected, with the reason in words if it takes a packet of that size;
    /// the older versions have nothing to tell it with. Harmless after a protocol error, whose DISCONNECT is
    /// already there.
    pub(crate) fn disconnect(&mut self, reason_code: DisconnectReasonCode, reason: &str) {
        if self.is_v5 {
            let told = self
                .disconnect_v5(reason_code, Some(reason))
                .or_else(|_| self.disconnect_v5(reason_code, None));
            // A device that takes not even this learns from the closed connection.
            let _ = told;
        }
    }

    fn disconnect_v5(
        &mut self,
        reason_code: DisconnectReasonCode,
        reason: Option<&str>,
    ) -> Result<(), MqttError> {
        let disconnect = v5_0::Disconnect::builder().reason_code(reason_code);
        let disconnect = match reason {
            Some(reason) => disconnect.props(vec![ReasonString::new(reason)?.into()]).build()?,
            None => disconnect.build()?,
        };
        let events = self.core.checked_send(disconnect);
        self.write_down(events)
    }

    /// What is to be written to the device, in order. Empty if nothing is.
    pub(crate) fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Keeps what the state machine wants sent.
    fn write_down(&mut self, events: Vec<Event>) -> Result<(), MqttError> {
        for event in events {
            match event {
                Event::RequestSendPacket { packet, .. } => {
                    self.output.extend_from_slice(&packet.to_continuous_buffer());
                }
                Event::NotifyError(error) => return Err(error),
                // Timers and closing are the session's.
                Event::NotifyPacketReceived(_)
                | Event::NotifyPacketIdReleased(_)
                | Event::RequestTimerReset { .. }
                | Event::RequestTimerCancel(_)
                | Event::RequestClose => {}
            }
        }
        Ok(())
    }

    /// Keeps what the state machine wants sent, and says what it heard. Of one packet there is at most one thing.
    fn understand(&mut self, events: Vec<Event>) -> Result<Option<Heard>, MqttError> {
        let mut heard = None;
        let mut problem = None;
        for event in events {
            match event {
                Event::NotifyPacketReceived(packet) => match understand_packet(packet) {
                    Ok(packet) => heard = Some(packet),
                    Err(error) => problem = Some(error),
                },
                Event::RequestSendPacket { packet, .. } => {
                    self.output.extend_from_slice(&packet.to_continuous_buffer());
                }
                Event::NotifyError(error) => problem = Some(error),
                Event::RequestClose => problem = problem.or(Some(MqttError::ProtocolError)),
                Event::NotifyPacketIdReleased(_)
                | Event::RequestTimerReset { .. }
                | Event::RequestTimerCancel(_) => {}
            }
        }
        match problem {
            Some(error) => Err(error),
            None => Ok(heard),
        }
    }
}

fn understand_packet(packet: Packet) -> Result<Heard, MqttError> {
    match packet {
        Packet::V3_1_1Publish(packet) => acknowledgeable(Published::V3(packet)),
        Packet::V5_0Publish(packet) => acknowledgeable(Published::V5(packet)),
        Packet::V3_1_1Puback(_) | Packet::V5_0Puback(_) => Ok(Heard::Acknowledged),
        Packet::V3_1_1Subscribe(packet) => {
            Ok(Heard::Subscribe { packet_id: packet.packet_id(), wishes: wishes(packet.entries()) })
        }
        Packet::V5_0Subscribe(packet) => {
            Ok(Heard::Subscribe { packet_id: packet.packet_id(), wishes: wishes(packet.entries()) })
        }
        Packet::V3_1_1Unsubscribe(packet) => {
            Ok(Heard::Unsubscribe { packet_id: packet.packet_id(), filters: packet.entries().len() })
        }
        Packet::V5_0Unsubscribe(packet) => {
            Ok(Heard::Unsubscribe { packet_id: packet.packet_id(), filters: packet.entries().len() })
        }
        Packet::V3_1_1Pingreq(_) | Packet::V5_0Pingreq(_) => Ok(Heard::Ping),
        Packet::V3_1_1Disconnect(_) | Packet::V5_0Disconnect(_) => Ok(Heard::Disconnect),
        // A second CONNECT, parts of QoS 2, what only servers send, and AUTH without having been asked.
        Packet::V3_1_1Connect(_)
        | Packet::V3_1_1Connack(_)
        | Packet::V3_1_1Suback(_)
        | Packet::V3_1_1Unsuback(_)
        | Packet::V3_1_1Pubrec(_)
        | Packet::V3_1_1Pubrel(_)
        | Packet::V3_1_1Pubcomp(_)
        | Packet::V3_1_1Pingresp(_)
        | Packet::V5_0Connect(_)
        | Packet::V5_0Connack(_)
        | Packet::V5_0Suback(_)
        | Packet::V5_0Unsuback(_)
        | Packet::V5_0Pubrec(_)
        | Packet::V5_0Pubrel(_)
        | Packet::V5_0Pubcomp(_)
        | Packet::V5_0Pingresp(_)
        | Packet::V5_0Auth(_) => Err(MqttError::ProtocolError),
    }
}

/// MQTT 3.1.1, 2.3.1: a packet id is not 0. The library reads one and could not acknowledge it.
fn acknowledgeable(published: Published) -> Result<Heard, MqttError> {
    match published.packet_id() {
        Some(0) => Err(MqttError::MalformedPacket),
        Some(_) | None => Ok(Heard::Publish(published)),
    }
}

fn wishes(entries: &[SubEntry]) -> Vec<Wish> {
    entries
        .iter()
        .map(|entry| Wish { filter: entry.topic_filter().to_owned(), qos: entry.sub_opts().qos() })
        .collect()
}

fn hello_v3(packet: &v3_1_1::Connect) -> Hello {
    Hello {
        client_id: packet.client_id().to_owned(),
        username: packet.user_name().map(ToOwned::to_owned),
        password: packet.password().map(ToOwned::to_owned),
        keep_alive_secs: packet.keep_alive(),
        wants_other_authentication: false,
    }
}

fn hello_v5(packet: &v5_0::Connect) -> Hello {
    let names_method = |property: &Property| matches!(property, Property::AuthenticationMethod(_));
    Hello {
        client_id: packet.client_id().to_owned(),
        username: packet.user_name().map(ToOwned::to_owned),
        password: packet.password().map(ToOwned::to_owned),
        keep_alive_secs: packet.keep_alive(),
        wants_other_authentication: packet.props().iter().any(names_method),
    }
}

/// How many bytes follow the fixed header of a whole packet.
fn body_bytes(packet: &[u8]) -> usize {
    let digits = packet.iter().skip(1).take_while(|byte| **byte & 0x80 != 0).count() + 1;
    packet.len().saturating_sub(1 + digits)
}

const PUBACK: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    const CONNECT: &[u8] = b"\x10\x11\x00\x04MQTT\x04\x02\x00\x78\x00\x05abcde";
    /// Receive Maximum 2, Maximum Packet Size 40.
    const CONNECT_V5: &[u8] =
        b"\x10\x1a\x00\x04MQTT\x05\x02\x00\x78\x08\x21\x00\x02\x27\x00\x00\x00\x28\x00\x05abcde";
    const TERMS: Terms = Terms { receive_maximum: 64, keep_alive_secs: None };

    /// A session of 3.1.1 whose CONNACK is out.
    fn session() -> Wire {
        let (mut wire, _) = Wire::open(CONNECT, 4096, 3).unwrap();
        wire.accept(TERMS).unwrap();
        assert_eq!(wire.take_output(), [0x20, 2, 0, 0]);
        wire
    }

    /// What the bytes say, one word a packet.
    fn hear(wire: &mut Wire, mut bytes: &[u8]) -> String {
        let mut words = Vec::new();
        while !bytes.is_empty() {
            words.push(match wire.hear(&mut bytes) {
                Ok(None) => break,
                Ok(Some(Heard::Publish(published))) => format!("publish {:?}", published.packet_id()),
                Ok(Some(Heard::Acknowledged)) => "acknowledged".to_owned(),
                Ok(Some(Heard::StaleAcknowledgement)) => "stale".to_owned(),
                Ok(Some(Heard::Subscribe { wishes, .. })) => format!("subscribe {}", wishes.len()),
                Ok(Some(Heard::Unsubscribe { filters, .. })) => format!("unsubscribe {filters}"),
                Ok(Some(Heard::Ping)) => "ping".to_owned(),
                Ok(Some(Heard::Disconnect)) => "disconnect".to_owned(),
                Err(error) => {
                    words.push(format!("{error}"));
                    break;
                }
            });
        }
        words.join(", ")
    }

    #[test]
    fn packets_are_heard_one_by_one_however_they_are_cut() {
        let bytes = b"\x32\x07\x00\x01t\x00\x07{}\xc0\x00\x30\x03\x00\x01t\xe0\x00";
        let whole = hear(&mut session(), bytes);
        assert_eq!(whole, "publish Some(7), ping, publish None, disconnect");
        let mut wire = session();
        let words: Vec<String> =
            bytes.chunks(1).map(|byte| hear(&mut wire, byte)).filter(|word| !word.is_empty()).collect();
        assert_eq!(words.join(", "), whole);
    }

    #[test]
    fn an_acknowledgement_makes_room_for_the_next_downlink() {
        let mut wire = session();
        for _ in 0..3 {
            assert_eq!(wire.say("t", b"{}", Qos::AtLeastOnce), Ok(()));
        }
        assert_eq!(wire.say("t", b"{}", Qos::AtLeastOnce), Err(Unsaid::NoRoom));
        assert_eq!(wire.say("t", b"{}", Qos::AtMostOnce), Ok(()), "QoS 0 needs none");
        assert_eq!(hear(&mut wire, b"\x40\x02\x00\x02"), "acknowledged");
        assert_eq!(wire.say("t", b"{}", Qos::AtLeastOnce), Ok(()));
    }

    #[test]
    fn an_acknowledgement_of_another_session_is_ignored_however_it_is_cut() {
        let mut wire = session();
        assert_eq!(hear(&mut wire, b"\x40\x02\x00\x02"), "stale");
        wire.say("t", b"{}", Qos::AtLeastOnce).unwrap();
        let words: Vec<String> = b"\x40\x02\x00\x01\x40\x02\x00\x01\xc0\x00"
            .chunks(1)
            .map(|byte| hear(&mut wire, byte))
            .filter(|word| !word.is_empty())
            .collect();
        assert_eq!(words.join(", "), "acknowledged, stale, ping");
    }

    #[test]
    fn an_acknowledgement_that_is_none_ends_the_session() {
        assert_eq!(hear(&mut session(), b"\x40\x01\x00"), "MalformedPacket");
        assert_eq!(hear(&mut session(), b"\x40\xff\xff\xff\xff"), "MalformedPacket");
        assert_eq!(hear(&mut session(), b"\x40\xff\x7f\x00"), "PacketTooLarge");
    }

    #[test]
    fn an_mqtt_5_device_sets_limits_for_downlinks_too() {
        let (mut wire, _) = Wire::open(CONNECT_V5, 4096, 1024).unwrap();
        assert_eq!(wire.accept(TERMS), Ok(()));
        wire.take_output();
        assert_eq!(wire.say("t", &[b'x'; 40], Qos::AtLeastOnce), Err(Unsaid::TooLarge));
        assert_eq!(wire.take_output(), b"", "of what is too large nothing is written");
        assert_eq!(wire.say("t", b"{}", Qos::AtLeastOnce), Ok(()), "and it takes no room");
        assert_eq!(wire.say("t", b"{}", Qos::AtLeastOnce), Ok(()));
        assert_eq!(wire.say("t", b"{}", Qos::AtLeastOnce), Err(Unsaid::NoRoom));
    }

    #[test]
    fn a_reason_that_does_not_fit_is_left_out() {
        let (mut wire, _) = Wire::open(CONNECT_V5, 4096, 1024).unwrap();
        wire.refuse(&No {
            return_code: ConnectReturnCode::BadUserNameOrPassword,
            reason_code: ConnectReasonCode::BadUserNameOrPassword,
            reason: "x".repeat(40),
        });
        assert_eq!(wire.take_output(), [0x20, 3, 0, 134, 0]);
    }

    #[test]
    fn a_publication_that_could_not_be_acknowledged_is_not_taken() {
        assert_eq!(hear(&mut session(), b"\x32\x07\x00\x01t\x00\x00{}"), "MalformedPacket");
        let (mut wire, _) = Wire::open(CONNECT_V5, 4096, 3).unwrap();
        wire.accept(TERMS).unwrap();
        assert_eq!(hear(&mut wire, b"\x32\x08\x00\x01t\x00\x00\x00{}"), "MalformedPacket");
    }

    #[test]
    fn a_packet_over_the_limit_is_known_by_its_length() {
        assert_eq!(hear(&mut session(), b"\x30\xff\xff\x7f"), "PacketTooLarge");
    }

    #[test]
    fn whatever_is_said_is_understood_or_refused_and_never_stops_the_reader() {
        let mut noise = Noise(0x2545_f491_4f6c_dd1d);
        let said: [&[u8]; 7] = [
            b"\x32\x0b\x00\x01t\x00\x07\x00{\"a\"}",
            b"\x30\x05\x00\x01t{}",
            b"\x40\x02\x00\x01",
            b"\x40\x04\x00\x01\x00\x00",
            b"\x82\x07\x00\x01\x00\x00\x01#\x01",
            b"\xa2\x05\x00\x02\x00\x01#",
            b"\xc0\x00",
        ];
        let mut understood = 0;
        let mut refused = 0;
        for round in 0..30_000 {
            let connect = if round % 2 == 0 { CONNECT } else { CONNECT_V5 };
            let (mut wire, _) = Wire::open(connect, 4096, 8).unwrap();
            wire.accept(TERMS).unwrap();
            wire.say("t", b"{}", Qos::AtLeastOnce).unwrap();
            let mut bytes: Vec<u8> = (0..4).flat_map(|_| said[noise.below(said.len())].to_vec()).collect();
            for _ in 0..noise.below(4) {
                let place = noise.below(bytes.len());
                bytes[place] = noise.byte();
            }
            let mut chunks = bytes.chunks(1 + noise.below(bytes.len()));
            let ended = chunks.any(|chunk| {
                let mut rest = chunk;
                while !rest.is_empty() {
                    let before = rest.len();
                    match wire.hear(&mut rest) {
                        Ok(Some(_)) => understood += 1,
                        Ok(None) => {}
                        Err(_) => return true,
                    }
                    assert!(rest.len() < before, "no progress in {bytes:02x?}");
                }
                false
            });
            refused += u32::from(ended);
        }
        assert!(understood > 10_000 && refused > 10_000, "{understood} understood, {refused} refused");
    }

    #[test]
    fn no_connect_however_broken_stops_the_reader() {
        let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
        let mut refused = 0;
        for round in 0..30_000 {
            let mut connect = if round % 2 == 0 { CONNECT.to_vec() } else { CONNECT_V5.to_vec() };
            for _ in 0..1 + noise.below(3) {
                // The fixed header has been seen by `frame`.
                let place = 2 + noise.below(connect.len() - 2);
                connect[place] = noise.byte();
            }
            if let Ok((spoken, _)) = frame::as_spoken_here(&connect) {
                refused += u32::from(Wire::open(&spoken, 4096, 8).is_err());
            }
        }
        assert!(refused > 1_000, "{refused} refused");
    }

    /// Numbers without pattern, the same in every run (xorshift).
    struct Noise(u64);

    impl Noise {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        fn byte(&mut self) -> u8 {
            u8::try_from(self.next() >> 56).unwrap()
        }

        fn below(&mut self, bound: usize) -> usize {
            usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
        }
    }
}
