//! A device that is nothing but bytes: it can say what no library would, and sees exactly what is answered.
//!
//! Waiting ends after [`PATIENCE`], which no test is meant to reach.

use std::net::SocketAddr;
use std::time::Duration;

use otaru_proto::{DeviceId, Stamp, device_password};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub const PATIENCE: Duration = Duration::from_secs(30);

/// The MQTT versions, by how they say CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V3_1,
    V3_1_1,
    V5,
}

pub use Version::{V3_1, V3_1_1, V5};

pub const ALL_VERSIONS: [Version; 3] = [V3_1, V3_1_1, V5];

/// A CONNECT to be sent; what is not set is as the SDKs send it.
#[derive(Clone, Debug)]
pub struct Connect {
    pub version: Version,
    pub client_id: String,
    pub username: Option<String>,
    pub password: Option<String>,
    pub keep_alive_secs: u16,
    pub clean: bool,
    pub will: bool,
    /// MQTT 5 properties, encoded.
    pub properties: Vec<u8>,
}

impl Connect {
    /// What the SDK of `device` with this secret would send.
    pub fn of(version: Version, device: &str, secret: &str) -> Connect {
        let stamp = Stamp::parse("2025041401").unwrap();
        Connect {
            version,
            client_id: format!("{device}_0_0_{stamp}"),
            username: Some(device.to_owned()),
            password: Some(device_password(secret.as_bytes(), &stamp)),
            keep_alive_secs: 120,
            clean: true,
            will: false,
            properties: Vec::new(),
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let (name, level): (&str, u8) = match self.version {
            V3_1 => ("MQIsdp", 3),
            V3_1_1 => ("MQTT", 4),
            V5 => ("MQTT", 5),
        };
        let mut body = text(name);
        body.push(level);
        let flag = |set: bool, bit: u8| u8::from(set) << bit;
        body.push(
            flag(self.username.is_some(), 7)
                | flag(self.password.is_some(), 6)
                // A will with QoS 1, retained.
                | flag(self.will, 5)
                | flag(self.will, 3)
                | flag(self.will, 2)
                | flag(self.clean, 1),
        );
        body.extend(self.keep_alive_secs.to_be_bytes());
        if self.version == V5 {
            body.push(u8::try_from(self.properties.len()).unwrap());
            body.extend(&self.properties);
        }
        body.extend(text(&self.client_id));
        if self.will {
            if self.version == V5 {
                body.push(0);
            }
            body.extend(text("last/words"));
            body.extend(text("gone"));
        }
        for credential in [&self.username, &self.password].into_iter().flatten() {
            body.extend(text(credential));
        }
        packet(0x10, &body)
    }
}

/// A packet as it was received: its first byte and what follows the length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub first: u8,
    pub body: Vec<u8>,
}

impl Received {
    pub fn kind(&self) -> u8 {
        self.first >> 4
    }
}

pub const CONNACK: u8 = 2;
pub const PUBLISH: u8 = 3;
pub const PUBACK: u8 = 4;
pub const SUBACK: u8 = 9;
pub const UNSUBACK: u8 = 11;
pub const PINGRESP: u8 = 13;
pub const DISCONNECT: u8 = 14;

/// A message that was published to the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub topic: String,
    pub qos: u8,
    pub dup: bool,
    pub packet_id: Option<u16>,
    pub payload: String,
}

/// One connection.
pub struct Link<S = TcpStream> {
    stream: S,
    version: Version,
    unread: Vec<u8>,
    /// Each byte is written by itself.
    pub in_single_bytes: bool,
}

impl Link {
    pub async fn dial(address: SocketAddr, version: Version) -> Link {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Link::over(stream, version)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    pub fn over(stream: S, version: Version) -> Link<S> {
        Link { stream, version, unread: Vec::new(), in_single_bytes: false }
    }

    // --- Saying ---

    pub async fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).await.expect("the connection is open");
    }

    pub async fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let chunk = if self.in_single_bytes { 1 } else { bytes.len().max(1) };
        for part in bytes.chunks(chunk) {
            self.stream.write_all(part).await?;
            self.stream.flush().await?;
        }
        Ok(())
    }

    /// Sends a CONNECT and answers with the whole CONNACK.
    pub async fn connect(&mut self, connect: &Connect) -> Received {
        self.send(&connect.bytes()).await;
        let connack = self.receive().await.expect("a CONNACK");
        assert_eq!(connack.kind(), CONNACK, "{connack:?}");
        assert_eq!(connack.body[0], 0, "a session is never present");
        connack
    }

    pub fn publish(&self, topic: &str, qos: u8, packet_id: u16, payload: &str) -> Vec<u8> {
        self.publish_with(topic, qos << 1, packet_id, payload.as_bytes())
    }

    pub fn publish_with(&self, topic: &str, flags: u8, packet_id: u16, payload: &[u8]) -> Vec<u8> {
        let mut body = text(topic);
        if flags & 0b110 != 0 {
            body.extend(packet_id.to_be_bytes());
        }
        if self.version == V5 {
            body.push(0);
        }
        body.extend(payload);
        packet(0x30 | flags, &body)
    }

    pub fn subscribe(&self, packet_id: u16, wishes: &[(&str, u8)]) -> Vec<u8> {
        let mut body = self.with_packet_id(packet_id);
        for (filter, qos) in wishes {
            body.extend(text(filter));
            body.push(*qos);
        }
        packet(0x82, &body)
    }

    pub fn unsubscribe(&self, packet_id: u16, filters: &[&str]) -> Vec<u8> {
        let mut body = self.with_packet_id(packet_id);
        for filter in filters {
            body.extend(text(filter));
        }
        packet(0xa2, &body)
    }

    fn with_packet_id(&self, packet_id: u16) -> Vec<u8> {
        let mut body = packet_id.to_be_bytes().to_vec();
        if self.version == V5 {
            body.push(0);
        }
        body
    }

    // --- Hearing ---

    /// The next packet; `None` when the other side has closed, in whatever way.
    pub async fn receive(&mut self) -> Option<Received> {
        loop {
            if let Some((received, bytes)) = split(&self.unread) {
                self.unread.drain(..bytes);
                return Some(received);
            }
            let mut space = [0; 4096];
            let read = timeout(PATIENCE, self.stream.read(&mut space)).await;
            match read.expect("something arrives or the connection ends") {
                Ok(0) | Err(_) => return None,
                Ok(bytes) => self.unread.extend(&space[..bytes]),
            }
        }
    }

    pub async fn expect(&mut self, kind: u8) -> Received {
        let received = self.receive().await.expect("a packet");
        assert_eq!(received.kind(), kind, "{received:?}");
        received
    }

    /// Expects a PUBACK, and answers with its packet id and reason code (0 before MQTT 5).
    pub async fn puback(&mut self) -> (u16, u8) {
        let received = self.expect(PUBACK).await;
        let id = u16::from_be_bytes([received.body[0], received.body[1]]);
        (id, received.body.get(2).copied().unwrap_or(0))
    }

    pub async fn pubacks(&mut self, count: usize) -> Vec<u16> {
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(self.puback().await.0);
        }
        ids
    }

    /// Expects a PUBLISH.
    pub async fn told(&mut self) -> Told {
        let received = self.expect(PUBLISH).await;
        self.read_publish(&received)
    }

    /// Reads a PUBLISH.
    pub fn read_publish(&self, received: &Received) -> Told {
        let qos = received.first >> 1 & 3;
        let (topic, mut rest) = split_text(&received.body);
        let mut packet_id = None;
        if qos > 0 {
            packet_id = Some(u16::from_be_bytes([rest[0], rest[1]]));
            rest = &rest[2..];
        }
        if self.version == V5 {
            assert_eq!(rest[0], 0, "a downlink has no properties");
            rest = &rest[1..];
        }
        Told {
            topic,
            qos,
            dup: received.first & 8 != 0,
            packet_id,
            payload: String::from_utf8(rest.to_vec()).unwrap(),
        }
    }

    pub async fn acknowledge(&mut self, packet_id: u16) {
        self.send(&packet(0x40, &packet_id.to_be_bytes())).await;
    }

    /// Pings, and expects the answer to be the very next packet: what came before was answered with nothing.
    pub async fn is_alive(&mut self) {
        self.send(&[0xc0, 0]).await;
        self.expect(PINGRESP).await;
    }

    /// Expects the end of the connection, without another word.
    pub async fn is_closed(&mut self) {
        let received = self.receive().await;
        assert_eq!(received, None, "the connection ends");
    }

    /// Expects to be sent away: with this DISCONNECT reason in MQTT 5, without a word before.
    pub async fn is_sent_away(&mut self, reason_code: u8) {
        if self.version == V5 {
            let disconnect = self.expect(DISCONNECT).await;
            assert_eq!(disconnect.body[0], reason_code, "{disconnect:?}");
        }
        self.is_closed().await;
    }
}

/// Where `device` publishes its events.
pub fn events_up(device: &str) -> String {
    otaru_proto::events_up(&DeviceId::parse(device).unwrap())
}

/// A version report, as `events/up` takes it.
pub fn version_report(version: &str) -> String {
    format!(
        r#"{{"services":[{{"service_id":"$ota","event_type":"version_report","paras":{{"fw_version":"{version}"}}}}]}}"#
    )
}

pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = body.len();
    loop {
        let digit = u8::try_from(length % 128).unwrap();
        length /= 128;
        packet.push(if length > 0 { digit | 0x80 } else { digit });
        if length == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

fn split_text(bytes: &[u8]) -> (String, &[u8]) {
    let length = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    (String::from_utf8(bytes[2..2 + length].to_vec()).unwrap(), &bytes[2 + length..])
}

fn split(bytes: &[u8]) -> Option<(Received, usize)> {
    let mut length = 0;
    for (digit, byte) in bytes.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * digit);
        if byte & 0x80 == 0 {
            let header = 2 + digit;
            let body = bytes.get(header..header + length)?.to_vec();
            return Some((Received { first: bytes[0], body }, header + length));
        }
    }
    None
}
