//! Every limit of the MQTT endpoint, each a setting with a default and the reason for it.
//!
//! Always true:
//! - Reaching a limit is counted, and costs nobody but the link that reached it.
//! - A limit on how fast a device may speak is kept by reading slower, never by dropping what was read.

use std::num::NonZeroU16;
use std::time::Duration;

use otaru_proto::limits::{TOPIC_BYTES_MAX, UPLINK_BYTES_MAX};

use crate::keepalive::KeepAliveRule;
use crate::rate::UplinkRate;

/// Characters that are recorded of a topic of another device.
///
/// Enough to name the device, whose id has at most 128 characters; a topic may have 65 535 bytes, and each such
/// publication may leave a line in the audit log.
pub(crate) const FOREIGN_TOPIC_CHARS_MAX: usize = 200;

/// Certificates that a device presents.
///
/// Its own and those between it and the CA: device hierarchies have two or three. Checking a chain tries them in
/// any order, so that many of them would be work for us at no cost for a stranger.
pub(crate) const CLIENT_CERTIFICATES_MAX: usize = 8;

/// Bytes of all certificates that a device presents.
///
/// Three with keys of RSA 4096 are 6 KiB. TLS keeps them as long as the connection, and for resuming it: a stranger
/// gets no more of our memory this way than by other ways.
pub(crate) const CLIENT_CERTIFICATE_BYTES_MAX: usize = 16 * 1024;

/// What devices may do, and for how long.
#[derive(Clone, Debug)]
pub struct GatewayLimits {
    /// From the accepted connection to the answered CONNECT, the TLS handshake included.
    ///
    /// A TLS handshake takes two round trips and CONNECT one more. On the worst mobile links a round trip is two
    /// seconds, and a lost segment costs another: ten seconds leave room for both and bound what a silent peer
    /// holds.
    pub handshake_time_max: Duration,
    /// Largest packet read from a device that is connected.
    ///
    /// The largest payload and the longest topic (MQTT measures it in 16 bits), which leaves the usual topic of
    /// 200 bytes more room for MQTT 5 properties than any client uses.
    pub packet_bytes_max: u32,
    /// Largest CONNECT, read before we know who is asking.
    ///
    /// The longest client id, user name and password are 256, 256 and 64 characters, together below 2.5 KiB even
    /// if every character takes four bytes. The rest is for a will and for MQTT 5 properties.
    pub connect_bytes_max: u32,
    /// Most QoS 1 uplinks of one session that are not acknowledged yet; more are not read. Announced to MQTT 5
    /// devices as Receive Maximum.
    ///
    /// The client libraries of the SDKs keep 10 to 20 in flight. At one commit in two milliseconds 64 still allow
    /// 32 000 uplinks a second on one link.
    pub uplinks_in_flight_max: NonZeroU16,
    /// Most bytes of unacknowledged uplinks of one session; the packet that exceeds it is the last one read.
    ///
    /// Two of the largest payloads, so that a device may send one while another is being stored, and 64 of them
    /// do not add up to 64 MiB a device.
    pub uplink_bytes_in_flight_max: usize,
    /// How fast one session may speak for long, and how much at once; `None`: as fast as it likes.
    ///
    /// Published as 50 messages a second. Four seconds' worth at once, because devices that were offline send
    /// what they have kept.
    pub uplink_rate: Option<UplinkRate>,
    /// Most connections in all; further ones are closed before CONNECT.
    ///
    /// An idle session takes a few KiB, so this many fit into the memory of a large server. The operating
    /// system's limit on open files usually comes first; reaching that one delays accepting.
    pub connections_max: usize,
    /// Most connections from one address (IPv6: one /64); further ones are closed before CONNECT.
    ///
    /// A whole site may be behind one translated address, or the whole fleet behind one balancer. Such an address
    /// has 65 535 ports towards one of ours, so the default refuses nobody; a smaller one is for installations
    /// that know their networks.
    pub connections_per_address_max: usize,
    /// Most connections that have not had their CONNECT answered; further ones wait in the listener's queue. Those that
    /// kept us waiting for a second do not count.
    ///
    /// One core does about 4 800 TLS handshakes a second. When a fleet comes back at once, those begun are to be
    /// finished within their time rather than all to be begun.
    pub handshakes_max: usize,
    /// Most connections that do not count there because they keep us waiting; past it, the one that does so for longest is
    /// closed.
    ///
    /// A connection that has said nothing is some two KiB and a file. These are three times as many as may be busy, and
    /// with those a quarter of the files that a service usually has.
    pub handshakes_aside_max: usize,
    /// How long a device may leave what we write unread.
    ///
    /// Some SDKs read nothing while they download, but what we have to say meanwhile fits into the socket's
    /// buffer. Whoever lets that fill up, and stay full for a minute, is gone.
    pub write_time_max: Duration,
    /// Most QoS 1 downlinks of one session that the device has not acknowledged; further ones are held. An MQTT 5
    /// device's Receive Maximum may be lower and is respected.
    ///
    /// Some devices acknowledge only after the upgrade, so others must not wait for that. A gateway is asked about
    /// 50 children at once; this is twenty times that.
    pub downlinks_in_flight_max: NonZeroU16,
    /// Most downlinks that are held; a device that lets more wait is disconnected and asked anew when it returns.
    ///
    /// As many as may be in flight: a session then never keeps more than some 4 MiB of notices. Answers are not held:
    /// how many there are is up to the device.
    pub downlinks_held_max: usize,
    /// QoS of what is delivered without a subscription.
    pub downlink_qos: DownlinkQos,
    /// Which keep alive intervals are accepted.
    pub keep_alive: KeepAliveRule,
    /// How long a device that is at work may be silent, beyond its keep alive.
    ///
    /// The C and Python SDKs send nothing, not even pings, while they download. Two hours are a 50 MB image at
    /// 7 KiB a second.
    pub silence_at_work_max: Duration,
    /// When to ask the peer's kernel whether it is still there: after how much silence, how often, how many times.
    ///
    /// A device with the recommended keep alive of 120 s is disconnected after 180 s of silence, so probes are
    /// sent only to those that are at work or have a longer one. Five minutes then tell a busy device from a
    /// dead path.
    pub tcp_probe: TcpProbe,
    /// How long sessions may take to say goodbye when the endpoint shuts down.
    ///
    /// A DISCONNECT is one small write. What is not written then waits for a device that does not read.
    pub shutdown_time_max: Duration,
    /// How long a connection is kept after our last word, so that the peer can read it before the reset that
    /// unread input would cause.
    pub linger_time_max: Duration,
}

/// QoS of downlinks that the device did not ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DownlinkQos {
    /// Every client library acknowledges by itself; the PUBACK is a hint that the message arrived.
    AtLeastOnce,
    /// As one note in the C SDK has it. An explicit subscription with QoS 1 raises it.
    AtMostOnce,
}

/// TCP keep alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpProbe {
    /// Silence before the first probe.
    pub after: Duration,
    /// Between probes.
    pub every: Duration,
    /// Unanswered probes after which the connection is dead.
    pub times: u32,
}

impl Default for GatewayLimits {
    fn default() -> GatewayLimits {
        GatewayLimits {
            handshake_time_max: Duration::from_secs(10),
            packet_bytes_max: PACKET_BYTES_MAX,
            connect_bytes_max: 4096,
            uplinks_in_flight_max: UPLINKS_IN_FLIGHT_MAX,
            uplink_bytes_in_flight_max: 2 * UPLINK_BYTES_MAX,
            uplink_rate: UplinkRate::new(50, 200),
            connections_max: 1_000_000,
            connections_per_address_max: 65_535,
            handshakes_max: 4096,
            handshakes_aside_max: 12 * 1024,
            write_time_max: Duration::from_secs(60),
            downlinks_in_flight_max: DOWNLINKS_IN_FLIGHT_MAX,
            downlinks_held_max: 1024,
            downlink_qos: DownlinkQos::AtLeastOnce,
            keep_alive: KeepAliveRule::lenient(),
            silence_at_work_max: Duration::from_secs(2 * 60 * 60),
            tcp_probe: TcpProbe { after: Duration::from_secs(180), every: Duration::from_secs(30), times: 4 },
            shutdown_time_max: Duration::from_secs(5),
            linger_time_max: Duration::from_secs(1),
        }
    }
}

impl GatewayLimits {
    /// Names the first limit under which nothing would work.
    ///
    /// # Errors
    ///
    /// Says which one, what it is and what would be accepted.
    pub(crate) fn check(&self) -> Result<(), LimitError> {
        let refuse = |name, found: String, accepted: String| Err(LimitError { name, found, accepted });
        for (name, time) in [
            ("handshake_time_max", self.handshake_time_max),
            ("write_time_max", self.write_time_max),
            ("tcp_probe.after", self.tcp_probe.after),
            ("tcp_probe.every", self.tcp_probe.every),
        ] {
            if time.is_zero() {
                return refuse(name, "0".into(), "a longer time".into());
            }
        }
        for (name, count) in [
            ("connections_max", self.connections_max),
            ("connections_per_address_max", self.connections_per_address_max),
            ("handshakes_max", self.handshakes_max),
            ("uplink_bytes_in_flight_max", self.uplink_bytes_in_flight_max),
        ] {
            if count == 0 {
                return refuse(name, "0".into(), "at least 1".into());
            }
        }
        if self.connect_bytes_max < CONNECT_BYTES_MIN {
            let accepted = format!("at least {CONNECT_BYTES_MIN}");
            return refuse("connect_bytes_max", self.connect_bytes_max.to_string(), accepted);
        }
        if self.packet_bytes_max < self.connect_bytes_max {
            let accepted = format!("at least connect_bytes_max, which is {}", self.connect_bytes_max);
            return refuse("packet_bytes_max", self.packet_bytes_max.to_string(), accepted);
        }
        if self.keep_alive.accepted_secs.contains(&0) || self.keep_alive.zero_as_secs == Some(0) {
            return refuse("keep_alive", "0 s".into(), "at least 1 s".into());
        }
        Ok(())
    }
}

/// A limit under which nothing would work.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("gateway limit {name} is {found}; {accepted} is accepted")]
pub struct LimitError {
    /// The field of [`GatewayLimits`].
    pub name: &'static str,
    /// What it is.
    pub found: String,
    /// What it may be.
    pub accepted: String,
}

/// How much is read from a socket at once, in bytes.
///
/// Space on the stack while reading, not per session. Sixteen progress reports of 400 bytes fit, which is what a
/// busy device has in flight.
pub(crate) const READ_BYTES: usize = 8 * 1024;

/// How much unread input is thrown away after our last word, in bytes, so that it does not cause a reset.
pub(crate) const LINGER_BYTES_MAX: usize = 256 * 1024;

/// Largest PUBACK, in bytes. Its reason string and user properties are of no use to us.
pub(crate) const PUBACK_BYTES_MAX: usize = 4096;

/// How long to wait before accepting again when the operating system refuses, for example for want of files.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that may wait in a listener's queue. The kernel caps it at `net.core.somaxconn`, 4096 by default.
pub(crate) const LISTEN_QUEUE: i32 = 4096;

/// Bytes of payload for which a message counts as one more towards the uplink rate.
///
/// Published as one megabyte a second beside 50 messages a second: a fiftieth of it.
pub(crate) const PACE_BYTES: usize = 1024 * 1024 / 50;

/// Refusals of one address in [`REFUSALS_WINDOW`] that are answered at once.
///
/// A site whose devices have a wrong clock or secret makes a few a second, and its owner should see the answers as they
/// are. Who tries one client id after the other makes thousands a second.
pub(crate) const REFUSALS_FREE: u32 = 50;

/// How long refusals are counted together. SDKs try again every 30 s at the latest.
pub(crate) const REFUSALS_WINDOW: Duration = Duration::from_secs(10);

/// How long a further refusal waits: so long once the free ones are used up, and so much longer for each as many again, up
/// to the longest.
///
/// One connection then guesses twice a second at first, and a thousand at once guess 250 times a second together. An SDK
/// that backs off for seconds does not notice; all of them wait longer than four seconds for their CONNACK.
pub(crate) const REFUSAL_PAUSE: Duration = Duration::from_millis(500);

/// The longest.
pub(crate) const REFUSAL_PAUSE_MAX: Duration = Duration::from_secs(4);

/// Addresses whose refusals are counted in one window: less than a megabyte.
pub(crate) const REFUSALS_REMEMBERED_MAX: usize = 10_000;

/// The smallest usable CONNECT limit: the published lengths in ASCII and the fixed parts.
const CONNECT_BYTES_MIN: u32 = 640;

const PACKET_BYTES_MAX: u32 = (UPLINK_BYTES_MAX + TOPIC_BYTES_MAX) as u32;

const UPLINKS_IN_FLIGHT_MAX: NonZeroU16 = match NonZeroU16::new(64) {
    Some(n) => n,
    None => unreachable!(),
};

const DOWNLINKS_IN_FLIGHT_MAX: NonZeroU16 = match NonZeroU16::new(1024) {
    Some(n) => n,
    None => unreachable!(),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_work() {
        assert_eq!(GatewayLimits::default().check(), Ok(()));
    }

    #[test]
    fn a_limit_under_which_nothing_works_is_named() {
        let say = |limits: GatewayLimits| limits.check().unwrap_err().to_string();
        assert_eq!(
            say(GatewayLimits { connect_bytes_max: 100, ..GatewayLimits::default() }),
            "gateway limit connect_bytes_max is 100; at least 640 is accepted"
        );
        assert_eq!(
            say(GatewayLimits { packet_bytes_max: 4000, ..GatewayLimits::default() }),
            "gateway limit packet_bytes_max is 4000; at least connect_bytes_max, which is 4096 is accepted"
        );
        assert_eq!(
            say(GatewayLimits { handshakes_max: 0, ..GatewayLimits::default() }),
            "gateway limit handshakes_max is 0; at least 1 is accepted"
        );
    }
}
