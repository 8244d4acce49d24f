//! One device's session, from CONNACK to the end of the connection.
//!
//! Always true:
//! - PUBACKs go out in the order in which the publications came in, each when the engine says so and not before.
//! - What is not stored yet is limited: a session at its limit is not read until something is.
//! - A downlink is published once, in this session or not at all; nothing but lines of the outbox waits for room.
//! - One turn of the loop writes at most once, whatever gathered for writing.
//! - An idle session holds no buffers.
//!
//! Not here: the packets (`wire`), what topics are for (`uplink`), and why a device is told something (the engine).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mqtt_protocol_core::mqtt::packet::Qos;
use mqtt_protocol_core::mqtt::result_code::MqttError;
use otaru_engine::{Delivery, OutboxSeq, Session, Uplink, UplinkReading};
use otaru_proto::{FilterVerdict, classify_filter};
use tokio::time::{Instant, sleep_until};

use crate::admission::Seat;
use crate::closing::Closing;
use crate::gateway::Shared;
use crate::keepalive::{self, KeepAlive, Verdict};
use crate::limits::DownlinkQos;
use crate::meters::Counted;
use crate::rate::Pace;
use crate::transport::{self, Stream, WriteFailure};
use crate::uplink;
use crate::wire::{Grant, Heard, Published, Unsaid, Wire, Wish};

/// A session and everything that goes with it.
pub(crate) struct Conversation<S> {
    stream: S,
    wire: Wire,
    session: Session,
    shared: Arc<Shared>,
    /// Read from the stream and not heard yet.
    input: Vec<u8>,
    /// Handed to the engine and not acknowledged by it yet, oldest first.
    in_flight: VecDeque<InFlight>,
    in_flight_bytes: usize,
    pace: Pace,
    intake: Intake,
    downlink_qos: Qos,
    /// Downlinks for which there is no room until the device acknowledges others, oldest first.
    held: VecDeque<Line>,
    /// Lines in the output of `wire`.
    unwritten: Vec<OutboxSeq>,
    patience: Duration,
    last_heard: Instant,
    /// When to judge the device's silence.
    judge_at: Instant,
    counted: Counted,
    seat: Seat,
}

/// A QoS 1 publication that is not acknowledged yet.
struct InFlight {
    packet_id: u16,
    is_foreign: bool,
    bytes: u32,
}

/// A downlink that waits.
struct Line {
    /// Where it stands in the outbox.
    seq: OutboxSeq,
    topic: Arc<str>,
    payload: Bytes,
}

/// Whether the device is listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Intake {
    Open,
    /// Too much is not stored yet.
    Full,
    /// It spoke too fast.
    Throttled {
        until: Instant,
    },
}

impl<S: Stream> Conversation<S> {
    /// Begins after CONNACK, with the `input` that followed CONNECT.
    pub(crate) fn new(
        stream: S,
        wire: Wire,
        session: Session,
        keep_alive: KeepAlive,
        input: Vec<u8>,
        seat: Seat,
        shared: Arc<Shared>,
    ) -> Box<Conversation<S>> {
        let now = Instant::now();
        let patience = keep_alive.patience();
        Box::new(Conversation {
            stream,
            wire,
            session,
            input,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            pace: Pace::default(),
            intake: Intake::Open,
            downlink_qos: match shared.limits.downlink_qos {
                DownlinkQos::AtLeastOnce => Qos::AtLeastOnce,
                DownlinkQos::AtMostOnce => Qos::AtMostOnce,
            },
            held: VecDeque::new(),
            unwritten: Vec::new(),
            patience,
            last_heard: now,
            judge_at: now + patience,
            counted: Counted::new(&shared.meters.sessions),
            seat,
            shared,
        })
    }

    /// Goes on until there is a reason to close.
    async fn go_on(&mut self) -> Result<Infallible, Closing> {
        let shared = self.shared.clone();
        let mut deliveries = Vec::new();
        let mut timer = pin!(sleep_until(self.judge_at));
        let mut stop = pin!(shared.stop.wait());
        loop {
            if shared.stop.is_told() {
                return Err(Closing::Shutdown);
            }
            self.look_at_intake();
            let wake_at = match self.intake {
                Intake::Throttled { until } => until,
                Intake::Open | Intake::Full => self.judge_at,
            };
            // A timer that fires too early is cheaper than one that is moved with every packet.
            if timer.is_elapsed() || wake_at < timer.deadline() {
                timer.as_mut().reset(wake_at);
            }
            let is_open = self.intake == Intake::Open;
            let has_input = !self.input.is_empty();
            tokio::select! {
                biased;
                () = self.session.deliveries(&mut deliveries) => self.deliver(&mut deliveries)?,
                () = shared.engine.room(), if is_open && has_input => self.hear()?,
                read = transport::read_some(&mut self.stream, &mut self.input), if is_open && !has_input => {
                    match read {
                        Ok(0) | Err(_) => return Err(Closing::Lost),
                        Ok(bytes) => {
                            self.last_heard = Instant::now();
                            shared.meters.received_bytes.increment(u64::try_from(bytes).unwrap_or(u64::MAX));
                        }
                    }
                }
                () = &mut timer => self.judge_silence()?,
                () = &mut stop => return Err(Closing::Shutdown),
            }
            self.write().await?;
        }
    }

    /// Sees whether the device may be listened to now.
    fn look_at_intake(&mut self) {
        let limits = &self.shared.limits;
        let intake = if self.in_flight.len() >= usize::from(limits.uplinks_in_flight_max.get())
            || self.in_flight_bytes >= limits.uplink_bytes_in_flight_max
        {
            Intake::Full
        } else {
            let ready_at =
                limits.uplink_rate.as_ref().and_then(|rate| self.pace.ready_at(rate, Instant::now()));
            ready_at.map_or(Intake::Open, |until| Intake::Throttled { until })
        };
        if self.intake == Intake::Open {
            match intake {
                Intake::Open => {}
                Intake::Full => self.shared.meters.in_flight_full.increment(1),
                Intake::Throttled { .. } => self.shared.meters.throttled.increment(1),
            }
        }
        self.intake = intake;
    }

    /// Hears as much of the input as may be heard, and hands all of its uplinks to the engine at once.
    fn hear(&mut self) -> Result<(), Closing> {
        let input = std::mem::take(&mut self.input);
        let mut rest = input.as_slice();
        let mut uplinks = Vec::new();
        let heard = self.hear_all(&mut rest, &mut uplinks);
        // What came before a packet that ends the session counts.
        if !uplinks.is_empty() {
            self.session.submit(uplinks);
        }
        if !rest.is_empty() {
            self.input = rest.to_vec();
        }
        heard
    }

    fn hear_all(&mut self, rest: &mut &[u8], uplinks: &mut Vec<Uplink>) -> Result<(), Closing> {
        while self.intake == Intake::Open && !rest.is_empty() {
            let Some(heard) = self.wire.hear(rest).map_err(closing_for)? else { continue };
            if let Some(rate) = &self.shared.limits.uplink_rate
                && !matches!(heard, Heard::Acknowledged | Heard::StaleAcknowledgement)
            {
                let payload_bytes = match &heard {
                    Heard::Publish(published) => published.payload_bytes(),
                    Heard::Acknowledged
                    | Heard::StaleAcknowledgement
                    | Heard::Subscribe { .. }
                    | Heard::Unsubscribe { .. }
                    | Heard::Ping
                    | Heard::Disconnect => 0,
                };
                self.pace.spend(rate, Instant::now(), payload_bytes);
            }
            match heard {
                Heard::Publish(published) => uplinks.extend(self.take_in(&published)?),
                Heard::Acknowledged => self.say_held(),
                Heard::StaleAcknowledgement => self.shared.meters.stale_acknowledgements.increment(1),
                Heard::Subscribe { packet_id, wishes } => {
                    let grants: Vec<Grant> = wishes.iter().map(|wish| self.grant(wish)).collect();
                    self.wire.grant(packet_id, &grants).map_err(Closing::Protocol)?;
                }
                Heard::Unsubscribe { packet_id, filters } => {
                    self.wire.unsubscribed(packet_id, filters).map_err(Closing::Protocol)?;
                }
                Heard::Ping => self.wire.pong().map_err(Closing::Protocol)?,
                Heard::Disconnect => return Err(Closing::Disconnected),
            }
            self.look_at_intake();
        }
        Ok(())
    }

    /// Makes of a publication what the engine is to have, if anything.
    fn take_in(&mut self, published: &Published) -> Result<Option<Uplink>, Closing> {
        if published.qos() == Qos::ExactlyOnce {
            return Err(Closing::Qos);
        }
        let kind = uplink::kind_of(published.topic(), self.session.device_id());
        self.shared.meters.uplink(kind);
        let (reading, payload) = uplink::read(kind, published.topic(), published.payload());
        let is_foreign = match &reading {
            UplinkReading::ForeignTopic(topic) => {
                tracing::debug!(device_id = %self.session.device_id(), topic, "publication on a foreign topic");
                true
            }
            UplinkReading::Event(_) | UplinkReading::Told(_) => false,
            // Nothing to remember and nothing to acknowledge.
            UplinkReading::Ignored if published.packet_id().is_none() => return Ok(None),
            UplinkReading::Ignored => false,
        };
        if let Some(packet_id) = published.packet_id() {
            // The payload of a packet fits: packets are limited to 28 bits.
            let bytes = u32::try_from(payload.len()).unwrap_or(u32::MAX);
            self.in_flight.push_back(InFlight { packet_id, is_foreign, bytes });
            self.in_flight_bytes += payload.len();
        }
        Ok(Some(Uplink { ticket: published.packet_id(), payload, reading }))
    }

    /// What a subscription gets. Downlinks are delivered with and without one, and never twice; it can only raise
    /// their QoS.
    fn grant(&mut self, wish: &Wish) -> Grant {
        match classify_filter(&wish.filter, self.session.device_id()) {
            FilterVerdict::Foreign if wish.filter.starts_with("$share/") => return Grant::NoSharing,
            FilterVerdict::Foreign => return Grant::NotYours,
            FilterVerdict::Own { covers_events_down: true } if wish.qos != Qos::AtMostOnce => {
                self.downlink_qos = Qos::AtLeastOnce;
            }
            FilterVerdict::Own { .. } | FilterVerdict::Custom => {}
        }
        match wish.qos {
            Qos::AtMostOnce => Grant::AtMostOnce,
            Qos::AtLeastOnce | Qos::ExactlyOnce => Grant::AtLeastOnce,
        }
    }

    /// Does what the engine wants done.
    fn deliver(&mut self, deliveries: &mut Vec<Delivery>) -> Result<(), Closing> {
        // Who is leaving is not told anything any more: the next session is asked what it knows.
        let is_leaving = deliveries
            .iter()
            .any(|delivery| matches!(delivery, Delivery::TakenOver | Delivery::Close { .. }));
        for delivery in deliveries.drain(..) {
            match delivery {
                Delivery::Acknowledge(packet_id) => self.acknowledge(packet_id)?,
                Delivery::Say { line, .. } if is_leaving => self.session.said(line),
                Delivery::Say { line: seq, topic, payload } => self.say(Line { seq, topic, payload })?,
                Delivery::Answer { .. } if is_leaving => {}
                Delivery::Answer { topic, payload } => self.answer(&topic, &payload),
                Delivery::TakenOver => return Err(Closing::TakenOver),
                Delivery::Close { reason } => return Err(Closing::Engine(reason)),
            }
        }
        // A burst of acknowledgements leaves no memory behind.
        deliveries.shrink_to(4);
        Ok(())
    }

    fn acknowledge(&mut self, packet_id: u16) -> Result<(), Closing> {
        let Some(next) = self.in_flight.pop_front().filter(|next| next.packet_id == packet_id) else {
            tracing::error!(
                device_id = %self.session.device_id(),
                packet_id,
                "acknowledged something else than the oldest publication in flight"
            );
            return Err(Closing::AcknowledgedOutOfOrder);
        };
        self.in_flight_bytes =
            self.in_flight_bytes.saturating_sub(usize::try_from(next.bytes).unwrap_or(usize::MAX));
        if self.in_flight.is_empty() {
            self.in_flight = VecDeque::new();
        }
        self.shared.meters.acknowledged.increment(1);
        self.wire.acknowledge(packet_id, next.is_foreign).map_err(Closing::Protocol)
    }

    /// Answers a question, once: the device asks again if it has to, so that nothing is kept until it acknowledges. What
    /// it does not read stays unwritten, and whoever has more to tell sees that.
    fn answer(&mut self, topic: &str, payload: &[u8]) {
        match self.wire.say(topic, payload, Qos::AtMostOnce) {
            Ok(()) => self.shared.meters.said.increment(1),
            Err(Unsaid::TooLarge | Unsaid::NoRoom) => self.is_too_large(payload),
        }
    }

    fn is_too_large(&self, payload: &[u8]) {
        self.shared.meters.downlinks_too_large.increment(1);
        tracing::warn!(
            device_id = %self.session.device_id(),
            payload_bytes = payload.len(),
            "the device does not take a message of this size; it is not sent"
        );
    }

    fn say(&mut self, line: Line) -> Result<(), Closing> {
        if self.held.is_empty() {
            match self.try_to_say(&line) {
                Err(Unsaid::NoRoom) => {}
                Ok(()) | Err(Unsaid::TooLarge) => return Ok(()),
            }
        }
        if self.held.len() >= self.shared.limits.downlinks_held_max {
            return Err(Closing::Unacknowledged);
        }
        self.shared.meters.downlinks_held.increment(1);
        self.held.push_back(line);
        Ok(())
    }

    /// Says what was held, as far as there is room.
    fn say_held(&mut self) {
        while let Some(line) = self.held.pop_front() {
            if self.try_to_say(&line) == Err(Unsaid::NoRoom) {
                self.held.push_front(line);
                return;
            }
        }
        self.held = VecDeque::new();
    }

    fn try_to_say(&mut self, line: &Line) -> Result<(), Unsaid> {
        let said = self.wire.say(&line.topic, &line.payload, self.downlink_qos);
        match said {
            Ok(()) => {
                self.unwritten.push(line.seq);
                self.shared.meters.said.increment(1);
            }
            Err(Unsaid::TooLarge) => {
                // There will be no other chance, so the engine need not keep it.
                self.session.said(line.seq);
                self.is_too_large(&line.payload);
            }
            Err(Unsaid::NoRoom) => {}
        }
        said
    }

    /// Judges the device's silence, if the time has come and it was listened to.
    fn judge_silence(&mut self) -> Result<(), Closing> {
        let now = Instant::now();
        if now < self.judge_at {
            return Ok(());
        }
        if self.intake != Intake::Open || !self.input.is_empty() {
            // Whom we do not listen to is not silent, and neither is whom the engine has no room for.
            self.last_heard = now;
        }
        let silence = now.duration_since(self.last_heard);
        let at_work_max = self.shared.limits.silence_at_work_max;
        match keepalive::judge(silence, self.patience, at_work_max, || self.session.is_at_work()) {
            Verdict::Wait(longer) => {
                self.judge_at = now + longer;
                Ok(())
            }
            Verdict::Gone => Err(Closing::Silent),
        }
    }

    /// Ends the session, says goodbye, and closes.
    async fn end(self: Box<Self>, closing: Closing) {
        let Conversation { mut stream, mut wire, session, shared, held, unwritten, counted, seat, .. } =
            *self;
        shared.meters.closed(closing);
        tracing::debug!(device_id = %session.device_id(), reason = closing.label(), "session closed");
        // What was not said is not said in another session either.
        for line in unwritten.into_iter().chain(held.into_iter().map(|line| line.seq)) {
            session.said(line);
        }
        // The engine need not wait until the connection is gone.
        drop(session);
        drop(counted);
        // The seat is free when the connection is.
        let _seat = seat;
        let Some(reason_code) = closing.reason_code() else { return };
        wire.disconnect(reason_code, closing.label());
        transport::part(&mut stream, &wire.take_output(), shared.limits.linger_time_max).await;
    }

    /// Writes what has gathered, at once.
    async fn write(&mut self) -> Result<(), Closing> {
        let output = self.wire.take_output();
        if output.is_empty() {
            return Ok(());
        }
        transport::write(&mut self.stream, &output, self.shared.limits.write_time_max).await.map_err(
            |failure| match failure {
                WriteFailure::Unread => Closing::Unread,
                WriteFailure::Lost => Closing::Lost,
            },
        )?;
        self.shared.meters.sent_bytes.increment(u64::try_from(output.len()).unwrap_or(u64::MAX));
        for line in self.unwritten.drain(..) {
            self.session.said(line);
        }
        self.unwritten.shrink_to(4);
        Ok(())
    }
}

/// Holds the session until it ends, says goodbye, and closes.
pub(crate) async fn run<S: Stream>(mut conversation: Box<Conversation<S>>) {
    let Err(closing) = conversation.go_on().await;
    // Boxed, so that a session does not keep room for its end.
    Box::pin(conversation.end(closing)).await;
}

fn closing_for(error: MqttError) -> Closing {
    if error == MqttError::PacketTooLarge { Closing::TooLarge } else { Closing::Protocol(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpStream;

    /// What a session holds while nothing happens, beside the engine's part, the task and the socket.
    #[test]
    fn an_idle_session_is_small() {
        fn future_bytes<Fut>(_: impl FnOnce(Box<Conversation<TcpStream>>) -> Fut) -> usize {
            size_of::<Fut>()
        }
        let bytes = size_of::<Conversation<TcpStream>>() + future_bytes(run::<TcpStream>);
        assert!(bytes <= 2 * 1024, "{bytes} bytes");
    }
}
