//! One MQTT link of a device: MQTT 3.1.1, clean session, no will, events at QoS 1.
//!
//! Always true:
//! - What was said is on its way after the next [`Link::hear`]; nothing is said twice on one link.
//! - [`Link::hear`] may be dropped at any await and called again: nothing is lost.
//! - Messages from the platform are acknowledged at once, as the SDKs do that do not block.
//!
//! Not here: trying again (`device`).

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use mqtt_protocol_core::mqtt;
use mqtt_protocol_core::mqtt::connection::{ConnectionOptions, Event, TimerKind};
use mqtt_protocol_core::mqtt::packet::{Packet, Qos, SubEntry, SubOpts, v3_1_1};
use mqtt_protocol_core::mqtt::prelude::*;
use mqtt_protocol_core::mqtt::result_code::{ConnectReturnCode, MqttError};
use otaru_proto::{ClientId, DeviceId, Stamp, device_password};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::limits::{CONNECT_TIMEOUT, KEEP_ALIVE_SECS, PACKET_BYTES_MAX, PUBACK_TIMEOUT, READ_BUFFER_BYTES};
use crate::net::{Endpoint, NetError, Socket};

/// What a device says about itself when it connects.
#[derive(Clone)]
pub struct Login {
    /// MQTT client id.
    pub client_id: String,
    /// MQTT user name and password; `None` for brokers that take anybody.
    pub credentials: Option<(String, String)>,
}

impl Login {
    /// The credentials of a device in the present hour, in the form whose hour is not checked (sign type 0).
    #[must_use]
    pub fn of_device(device: &DeviceId, secret: &str, unix_secs: i64) -> Login {
        let stamp = Stamp::from_unix_secs(unix_secs);
        let client_id = ClientId { device: device.clone(), id_type: 0, sign_type: 0, stamp }.to_string();
        let password = device_password(secret.as_bytes(), &stamp);
        Login { client_id, credentials: Some((device.as_str().to_owned(), password)) }
    }

    /// The CONNECT packet.
    pub(crate) fn packet(&self) -> Result<v3_1_1::Connect, MqttError> {
        let connect = v3_1_1::Connect::builder()
            .client_id(self.client_id.as_str())?
            .clean_session(true)
            .keep_alive(KEEP_ALIVE_SECS);
        match &self.credentials {
            Some((user, password)) => connect.user_name(user.as_str())?.password(password.as_str())?,
            None => connect,
        }
        .build()
    }
}

/// A password is a secret; it is not printed.
impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No socket.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The platform said no.
    #[error("refused with CONNACK {code}: {meaning}")]
    Refused {
        /// The number in CONNACK.
        code: u8,
        /// What it means on this platform.
        meaning: &'static str,
    },
    /// Neither yes nor no in time.
    #[error("no CONNACK within {} s", CONNECT_TIMEOUT.as_secs())]
    TimedOut,
    /// The link ended before CONNACK.
    #[error("link ended before CONNACK")]
    Link(#[from] LinkError),
    /// The login cannot be written as a CONNECT packet.
    #[error("client id or password does not fit into CONNECT: {0:?}")]
    Login(MqttError),
}

impl ConnectError {
    /// Whether only a person can change the answer: bad password, unknown, frozen.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, ConnectError::Refused { code: 4 | 5, .. })
    }
}

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The platform closed it.
    #[error("closed by the platform")]
    Closed,
    /// The network did.
    #[error("network")]
    Network(#[from] io::Error),
    /// A report was not acknowledged in time.
    #[error("no PUBACK within {} s", PUBACK_TIMEOUT.as_secs())]
    NoAcknowledgement,
    /// A question for life was not answered.
    #[error("no PINGRESP")]
    NoPong,
    /// What came is no MQTT.
    #[error("not MQTT: {0:?}")]
    Protocol(MqttError),
}

/// What can be heard.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A message on one of the device's topics.
    Message(Vec<u8>),
    /// The platform has taken over the publication with this id.
    Acknowledged(u16),
}

/// A link after CONNACK.
pub(crate) struct Link {
    socket: Socket,
    mqtt: mqtt::Connection<mqtt::role::Client>,
    input: BytesMut,
    output: BytesMut,
    unflushed: bool,
    inbox: VecDeque<Heard>,
    ping_at: Option<Instant>,
    pong_by: Option<Instant>,
    end: Option<LinkError>,
    connack: Option<ConnectReturnCode>,
}

impl Link {
    /// Connects and waits for CONNACK.
    pub(crate) async fn connect(endpoint: &Endpoint, login: &Login) -> Result<Link, ConnectError> {
        let connecting = async {
            let socket = endpoint.dial().await?;
            let options = ConnectionOptions::new().maximum_packet_size_recv(PACKET_BYTES_MAX);
            let mut mqtt = mqtt::Connection::with_options(mqtt::Version::V3_1_1, options);
            mqtt.set_auto_pub_response(true);
            mqtt.set_pingresp_recv_timeout(u64::from(KEEP_ALIVE_SECS) * 500);
            let mut link = Link {
                socket,
                mqtt,
                input: BytesMut::new(),
                output: BytesMut::new(),
                unflushed: false,
                inbox: VecDeque::new(),
                ping_at: None,
                pong_by: None,
                end: None,
                connack: None,
            };
            let connect = login.packet().map_err(ConnectError::Login)?;
            let events = link.mqtt.checked_send(connect);
            link.take(events);
            loop {
                link.write().await?;
                if let Some(code) = link.connack {
                    return answer(link, code);
                }
                link.read().await?;
            }
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(done) => done,
            Err(_elapsed) => Err(ConnectError::TimedOut),
        }
    }

    /// Publishes at QoS 1 and returns the id under which it will be acknowledged.
    pub(crate) fn say(&mut self, topic: &str, payload: Vec<u8>) -> Result<u16, LinkError> {
        let id = self.mqtt.acquire_packet_id().map_err(LinkError::Protocol)?;
        let publish = v3_1_1::Publish::builder()
            .topic_name(topic)
            .and_then(|publish| publish.qos(Qos::AtLeastOnce).packet_id(id).payload(payload).build())
            .map_err(LinkError::Protocol)?;
        let events = self.mqtt.checked_send(publish);
        self.take(events);
        Ok(id)
    }

    /// Subscribes at QoS 1. The platform delivers without being asked; some devices ask all the same.
    pub(crate) fn subscribe(&mut self, filter: &str) -> Result<(), LinkError> {
        let id = self.mqtt.acquire_packet_id().map_err(LinkError::Protocol)?;
        let subscribe = SubEntry::new(filter, SubOpts::new().set_qos(Qos::AtLeastOnce))
            .and_then(|entry| v3_1_1::Subscribe::builder().packet_id(id).entries(vec![entry]).build())
            .map_err(LinkError::Protocol)?;
        let events = self.mqtt.checked_send(subscribe);
        self.take(events);
        Ok(())
    }

    /// Sends what was said, keeps the link alive, and waits for something to be heard. Cancel safe.
    pub(crate) async fn hear(&mut self) -> Result<Heard, LinkError> {
        loop {
            if let Some(heard) = self.inbox.pop_front() {
                return Ok(heard);
            }
            self.write().await?;
            if let Some(end) = self.end.take() {
                return Err(end);
            }
            let timer = [self.ping_at, self.pong_by].into_iter().flatten().min();
            match timer {
                None => self.read().await?,
                Some(at) => {
                    if let Ok(read) = tokio::time::timeout_at(at, self.read()).await {
                        read?;
                    } else {
                        self.ring(Instant::now())?;
                    }
                }
            }
        }
    }

    /// Says goodbye and closes.
    pub(crate) async fn close(mut self) {
        if let Ok(goodbye) = v3_1_1::Disconnect::builder().build() {
            let events = self.mqtt.checked_send(goodbye);
            self.take(events);
            // A goodbye that does not arrive is no loss: the platform notices the closed socket.
            let _ = self.write().await;
            let _ = self.socket.shutdown().await;
        }
    }

    fn ring(&mut self, now: Instant) -> Result<(), LinkError> {
        if self.pong_by.is_some_and(|at| at <= now) {
            return Err(LinkError::NoPong);
        }
        if self.ping_at.is_some_and(|at| at <= now) {
            self.ping_at = None;
            let events = self.mqtt.notify_timer_fired(TimerKind::PingreqSend);
            self.take(events);
        }
        Ok(())
    }

    async fn write(&mut self) -> Result<(), LinkError> {
        while self.output.has_remaining() {
            self.unflushed = true;
            if self.socket.write_buf(&mut self.output).await? == 0 {
                return Err(LinkError::Closed);
            }
        }
        if self.unflushed {
            self.socket.flush().await?;
            self.unflushed = false;
        }
        Ok(())
    }

    async fn read(&mut self) -> Result<(), LinkError> {
        self.input.reserve(READ_BUFFER_BYTES);
        if self.socket.read_buf(&mut self.input).await? == 0 {
            return Err(LinkError::Closed);
        }
        let input = self.input.split();
        let mut cursor = mqtt::common::Cursor::new(&input[..]);
        while !cursor.remaining_slice().is_empty() && self.end.is_none() {
            let events = self.mqtt.recv(&mut cursor);
            self.take(events);
        }
        Ok(())
    }

    fn take(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::RequestSendPacket { packet, .. } => {
                    for part in packet.to_buffers() {
                        self.output.extend_from_slice(&part);
                    }
                }
                Event::NotifyPacketReceived(packet) => self.take_packet(&packet),
                Event::RequestTimerReset { kind, duration_ms } => {
                    let at = Some(Instant::now() + Duration::from_millis(duration_ms));
                    match kind {
                        TimerKind::PingreqSend => self.ping_at = at,
                        TimerKind::PingrespRecv => self.pong_by = at,
                        TimerKind::PingreqRecv => {} // a server's
                    }
                }
                Event::RequestTimerCancel(TimerKind::PingreqSend) => self.ping_at = None,
                Event::RequestTimerCancel(TimerKind::PingrespRecv) => self.pong_by = None,
                Event::RequestTimerCancel(TimerKind::PingreqRecv) | Event::NotifyPacketIdReleased(_) => {}
                Event::NotifyError(error) => self.end = Some(LinkError::Protocol(error)),
                Event::RequestClose => {
                    self.end.get_or_insert(LinkError::Closed);
                }
            }
        }
    }

    fn take_packet(&mut self, packet: &Packet) {
        if let Packet::V3_1_1Publish(publish) = packet {
            self.inbox.push_back(Heard::Message(publish.payload().as_slice().to_vec()));
        } else if let Packet::V3_1_1Puback(puback) = packet {
            self.inbox.push_back(Heard::Acknowledged(puback.packet_id()));
        } else if let Packet::V3_1_1Connack(connack) = packet {
            self.connack = Some(connack.return_code());
        }
    }
}

fn answer(link: Link, code: ConnectReturnCode) -> Result<Link, ConnectError> {
    let meaning = match code {
        ConnectReturnCode::Accepted => return Ok(link),
        ConnectReturnCode::UnacceptableProtocolVersion => "protocol version not supported",
        ConnectReturnCode::IdentifierRejected => "client id or keep alive not acceptable",
        ConnectReturnCode::ServerUnavailable => "not available now",
        ConnectReturnCode::BadUserNameOrPassword => "unknown device or wrong password",
        ConnectReturnCode::NotAuthorized => "device may not connect",
    };
    Err(ConnectError::Refused { code: code as u8, meaning })
}
