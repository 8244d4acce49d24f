//! A bounded load of status reports: so many connections, so many reports in flight on each.
//!
//! Every report is an `upgrade_progress_report` at QoS 1 on the device's own topic, and the next one is sent when
//! one is acknowledged, or by the clock. What is counted is acknowledgements; latency is from PUBLISH to PUBACK, and
//! by the clock from when the report was due.
//!
//! Beside it: connections that come and go ([`visits`]), that sit and do nothing ([`idle`]), devices that upgrade as
//! soon as they are told ([`upgrades`]), and streams that fetch a package ([`downloads`]).
//!
//! Always true:
//! - No report is measured before all connections are up and the warm-up is over.
//! - A PUBACK that is not for the oldest report of its connection is counted as out of order.
//! - Addresses other than the loopback are refused unless asked for: this is a tool to hurt servers with.
//!
//! The packets are written and read by hand here: the generator shares the machine with what it measures, and
//! every microsecond it takes is one the server does not have.

mod connection;
pub mod downloads;
mod frames;
pub mod idle;
pub mod upgrades;
pub mod visits;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use otaru_proto::{
    DeviceId, DeviceIdError, Percent, ProgressReport, ResultCode, Version, VersionReport,
    encode_progress_report, encode_version_report, events_up,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout};

use crate::clock;
use crate::histogram::{Histogram, Quantiles};
use crate::limits::{LOAD_CONNECTING_AT_ONCE, LOAD_CONNECTIONS_MAX, LOAD_IN_FLIGHT_MAX};
use crate::link::Login;
use crate::net::NetError;
use connection::{Connection, Part, SILENCE_MAX};
use frames::{Packet, Report};

/// What is to be generated.
#[derive(Clone, Debug)]
pub struct LoadConfig {
    /// `host:port` of a plain MQTT listener.
    pub target: String,
    /// Whether the target may be another machine.
    pub allow_remote: bool,
    /// How many connections.
    pub connections: usize,
    /// Reports in flight on each.
    pub in_flight: usize,
    /// One report of each connection so often, instead of as many as are acknowledged.
    pub every: Option<Duration>,
    /// Who the connections say they are.
    pub identity: Identity,
    /// Before anything is measured.
    pub warm_up: Duration,
    /// For how long is measured.
    pub length: Length,
    /// About how many bytes a report has; at least what the protocol needs.
    pub payload_bytes: usize,
    /// The version that the devices say they run.
    pub version: String,
}

/// Who the connections say they are. Connection `n`, counted from 0, is `{prefix}{n}`.
#[derive(Clone)]
pub enum Identity {
    /// Registered devices with one secret.
    Devices {
        /// What their ids begin with.
        prefix: String,
        /// Of all of them.
        secret: String,
    },
    /// Client ids that are user names too, with one password, for brokers.
    Users {
        /// What the client ids begin with.
        prefix: String,
        /// Of all of them.
        password: String,
    },
    /// Plain client ids without credentials, for brokers.
    Anonymous {
        /// What the client ids begin with.
        prefix: String,
    },
}

impl Identity {
    /// How connection `number` logs in, and which device it is.
    fn login(&self, number: usize) -> Result<(DeviceId, Login), LoadError> {
        let (Identity::Devices { prefix, .. }
        | Identity::Users { prefix, .. }
        | Identity::Anonymous { prefix }) = self;
        let device = DeviceId::parse(&format!("{prefix}{number}")).map_err(LoadError::Prefix)?;
        let client_id = device.as_str().to_owned();
        let login = match self {
            Identity::Devices { secret, .. } => {
                Login::of_device(&device, secret, clock::unix_ms().div_euclid(1000))
            }
            Identity::Users { password, .. } => {
                Login { credentials: Some((client_id.clone(), password.clone())), client_id }
            }
            Identity::Anonymous { .. } => Login { client_id, credentials: None },
        };
        Ok((device, login))
    }

    /// The CONNECT packet of connection `number`, as bytes.
    fn connect_packet(&self, number: usize) -> Result<Vec<u8>, LoadError> {
        let (_, login) = self.login(number)?;
        Ok(login.packet().map_err(|_| LoadError::Login)?.to_continuous_buffer())
    }
}

/// A secret is not printed.
impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Identity::Devices { prefix, .. } => write!(f, "Devices({prefix}…)"),
            Identity::Users { prefix, .. } => write!(f, "Users({prefix}…)"),
            Identity::Anonymous { prefix } => write!(f, "Anonymous({prefix}…)"),
        }
    }
}

/// When it is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// So much time.
    For(Duration),
    /// So many acknowledged reports, or a few more: those in flight are not called back.
    Reports(u64),
    /// Until [`run_until`] is told to stop.
    UntilTold,
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoadReport {
    /// How many connections.
    pub connections: usize,
    /// Reports in flight on each.
    pub in_flight: usize,
    /// Bytes of one report, without MQTT around it.
    pub payload_bytes: usize,
    /// How long it took to connect all.
    pub connecting: Duration,
    /// How long was measured.
    pub measured: Duration,
    /// Reports acknowledged while measuring.
    pub reports: u64,
    /// The same per second.
    pub per_sec: f64,
    /// From PUBLISH to PUBACK.
    pub latency: Quantiles,
    /// Acknowledgements that were not for the oldest report.
    pub out_of_order: u64,
    /// Version questions answered on the way.
    pub questions: u64,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A number outside its range.
    #[error("{what} is {found}; 1 to {max} is accepted")]
    OutOfRange {
        /// Which number.
        what: &'static str,
        /// As given.
        found: usize,
        /// The largest one.
        max: usize,
    },
    /// The target has no address.
    #[error("cannot find {target:?}; host:port is accepted")]
    Target {
        /// As given.
        target: String,
        /// What the system says.
        #[source]
        cause: Option<io::Error>,
    },
    /// The target is somebody else's machine.
    #[error("{address} is not a loopback address; say --allow-remote if that machine is yours to load")]
    NotLoopback {
        /// What the target resolves to.
        address: SocketAddr,
    },
    /// The prefix makes no device ids.
    #[error("{{prefix}}0 is no device id")]
    Prefix(#[source] DeviceIdError),
    /// The client id or the version cannot be written down.
    #[error("client id does not fit into CONNECT")]
    Login,
    /// One connection could not be made.
    #[error("connection {number} failed")]
    Connect {
        /// Counted from 0.
        number: usize,
        /// Why.
        #[source]
        cause: ConnectionError,
    },
    /// One connection ended while it was needed.
    #[error("connection {number} ended after {acknowledged} acknowledgements")]
    Ended {
        /// Counted from 0.
        number: usize,
        /// How many reports of it had been acknowledged.
        acknowledged: u64,
        /// Why.
        #[source]
        cause: ConnectionError,
    },
    /// TLS cannot be set up on our side.
    #[error("cannot use TLS")]
    Tls(#[source] NetError),
    /// A task of ours is gone.
    #[error("a connection's task ended by itself")]
    Task(#[from] JoinError),
}

/// What happened to one connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The network.
    #[error("network")]
    Network(#[from] io::Error),
    /// The server closed it.
    #[error("closed by the server")]
    Closed,
    /// The server said no.
    #[error("refused with CONNACK {0}")]
    Refused(u8),
    /// What came is no MQTT, or not what may come.
    #[error("unexpected packet of type {0}")]
    Unexpected(u8),
    /// What was to be fetched is not to be had like that.
    #[error("answered with HTTP {0} where 200 with a length is expected")]
    Status(u16),
    /// The server is silent.
    #[error("nothing was acknowledged for {} s", SILENCE_MAX.as_secs())]
    Silent,
}

/// What all connections of a run share.
struct Run {
    in_flight: usize,
    every: Option<Duration>,
    measure_from: Instant,
    length: Length,
    /// As told from outside.
    is_stopped: AtomicBool,
    counted: AtomicU64,
    latency: Histogram,
}

impl Run {
    fn is_over(&self, now: Instant) -> bool {
        let is_enough = match self.length {
            Length::For(span) => now >= self.measure_from + span,
            Length::Reports(reports) => self.counted.load(Ordering::Relaxed) >= reports,
            Length::UntilTold => false,
        };
        is_enough || self.is_stopped.load(Ordering::Relaxed)
    }

    /// Whether an acknowledgement at `now` belongs to what is measured.
    fn counts(&self, now: Instant) -> bool {
        now >= self.measure_from && !self.is_over(now)
    }
}

/// Connects, warms up, measures.
///
/// # Errors
///
/// See [`LoadError`]. A connection that fails ends the run: a measurement with fewer connections than asked for
/// would be another one.
pub async fn run(config: &LoadConfig) -> Result<LoadReport, LoadError> {
    run_until(config, std::future::pending()).await
}

/// The same, and ends when `stop` resolves, at the latest.
///
/// # Errors
///
/// As [`run`].
pub async fn run_until(
    config: &LoadConfig,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<LoadReport, LoadError> {
    in_range("connections", config.connections, LOAD_CONNECTIONS_MAX)?;
    in_range("reports in flight", config.in_flight, LOAD_IN_FLIGHT_MAX)?;
    let address = resolve(&config.target, config.allow_remote).await?;
    let begin = Instant::now();
    let (parts, payload_bytes) = connect_all(config, address).await?;
    let connecting = begin.elapsed();

    let run = Arc::new(Run {
        in_flight: config.in_flight,
        every: config.every,
        measure_from: Instant::now() + config.warm_up,
        length: config.length,
        is_stopped: AtomicBool::new(false),
        counted: AtomicU64::new(0),
        latency: Histogram::default(),
    });
    let told = Arc::clone(&run);
    let stopping = tokio::spawn(async move {
        stop.await;
        told.is_stopped.store(true, Ordering::Relaxed);
    });
    let mut connections = JoinSet::new();
    let begun = Instant::now();
    for (number, connection) in parts {
        let run = Arc::clone(&run);
        // By the clock, but not all at the same moment.
        let share = number as f64 / config.connections as f64;
        let first_due = begun + config.every.unwrap_or_default().mul_f64(share);
        connections.spawn(async move { (number, connection.report(&run, first_due).await) });
    }
    let mut total = Part::default();
    let mut last_counted = run.measure_from;
    while let Some(ended) = connections.join_next().await {
        let (number, (part, ended)) = ended?;
        total.out_of_order += part.out_of_order;
        total.questions += part.questions;
        last_counted = last_counted.max(part.last_counted.unwrap_or(last_counted));
        if let Err(cause) = ended {
            return Err(LoadError::Ended { number, acknowledged: part.acknowledged, cause });
        }
    }
    stopping.abort();
    let measured = match config.length {
        Length::For(span) if !run.is_stopped.load(Ordering::Relaxed) => span,
        Length::For(_) | Length::Reports(_) | Length::UntilTold => last_counted - run.measure_from,
    };
    let reports = run.counted.load(Ordering::Relaxed);
    Ok(LoadReport {
        connections: config.connections,
        in_flight: config.in_flight,
        payload_bytes,
        connecting,
        measured,
        reports,
        per_sec: if measured.is_zero() { 0.0 } else { reports as f64 / measured.as_secs_f64() },
        latency: run.latency.quantiles(),
        out_of_order: total.out_of_order,
        questions: total.questions,
    })
}

fn in_range(what: &'static str, found: usize, max: usize) -> Result<(), LoadError> {
    if (1..=max).contains(&found) { Ok(()) } else { Err(LoadError::OutOfRange { what, found, max }) }
}

async fn resolve(target: &str, allow_remote: bool) -> Result<SocketAddr, LoadError> {
    let nowhere = |cause| LoadError::Target { target: target.to_owned(), cause };
    let mut found = tokio::net::lookup_host(target).await.map_err(|cause| nowhere(Some(cause)))?;
    let address = found.next().ok_or_else(|| nowhere(None))?;
    if !allow_remote && !address.ip().is_loopback() {
        return Err(LoadError::NotLoopback { address });
    }
    Ok(address)
}

/// Connects, and waits for CONNACK. Exactly that is read: what follows it belongs to the conversation.
async fn dial(address: SocketAddr, connect: &[u8]) -> Result<TcpStream, ConnectionError> {
    let connected = async {
        let mut socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        socket.write_all(connect).await?;
        let mut answer = [0; 4];
        socket.read_exact(&mut answer).await?;
        match frames::first(&answer) {
            Some((Packet::Connack(0), 4)) => Ok(socket),
            Some((Packet::Connack(code), _)) => Err(ConnectionError::Refused(code)),
            Some(_) | None => Err(ConnectionError::Unexpected(answer[0] >> 4)),
        }
    };
    timeout(SILENCE_MAX, connected).await.map_err(|_elapsed| ConnectionError::Silent)?
}

async fn connect_all(
    config: &LoadConfig,
    address: SocketAddr,
) -> Result<(Vec<(usize, Connection)>, usize), LoadError> {
    let at_once = Arc::new(Semaphore::new(LOAD_CONNECTING_AT_ONCE));
    let mut connecting = JoinSet::new();
    let mut payload_bytes = 0;
    for number in 0..config.connections {
        let speaker = speaker(config, number)?;
        payload_bytes = speaker.report.payload_len();
        let at_once = Arc::clone(&at_once);
        connecting.spawn(async move {
            let _turn = at_once.acquire_owned().await.expect("nobody closes the semaphore");
            let connection = dial(address, &speaker.connect).await;
            (number, connection.map(|socket| Connection::new(socket, speaker)))
        });
    }
    let mut connections = Vec::with_capacity(config.connections);
    while let Some(connected) = connecting.join_next().await {
        let (number, connection) = connected?;
        let connection = connection.map_err(|cause| LoadError::Connect { number, cause })?;
        connections.push((number, connection));
    }
    Ok((connections, payload_bytes))
}

/// What one connection says, ready to be sent.
struct Speaker {
    connect: Vec<u8>,
    report: Report,
    version_report: Vec<u8>,
    topic: String,
}

fn speaker(config: &LoadConfig, number: usize) -> Result<Speaker, LoadError> {
    let (device, _) = config.identity.login(number)?;
    let connect = config.identity.connect_packet(number)?;
    let now_ms = clock::unix_ms();
    let version = Version::as_sent(&config.version);
    let progress_of = |description: String| {
        let report = ProgressReport {
            code: ResultCode::OnTrack,
            progress: Some(Percent::new(50).expect("50 is a percentage")),
            progress_unusable: false,
            version: version.clone(),
            description: Some(description),
        };
        encode_progress_report(&device, &report, Some(now_ms))
    };
    let words = "upgrade processing, 50 %".to_owned();
    let bare = progress_of(words.clone()).len();
    // The description brings a report to the wanted size, as a talkative device does.
    let payload = progress_of(words + &".".repeat(config.payload_bytes.saturating_sub(bare)));
    let topic = events_up(&device);
    let report = VersionReport { fw_version: version.clone(), sw_version: None, modules: Vec::new() };
    let version_report = encode_version_report(&device, &report, Some(now_ms));
    Ok(Speaker { connect, report: Report::new(&topic, &payload), version_report, topic })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(target: &str) -> LoadConfig {
        LoadConfig {
            target: target.to_owned(),
            allow_remote: false,
            connections: 1,
            in_flight: 1,
            every: None,
            identity: Identity::Anonymous { prefix: "load_".to_owned() },
            warm_up: Duration::ZERO,
            length: Length::Reports(1),
            payload_bytes: 330,
            version: "1.0.0".to_owned(),
        }
    }

    #[tokio::test]
    async fn other_machines_are_refused_unless_asked_for() {
        let refused = run(&config("192.0.2.1:1883")).await.unwrap_err();
        assert!(matches!(refused, LoadError::NotLoopback { .. }), "{refused}");
        let mut remote = config("192.0.2.1:1883");
        remote.allow_remote = true;
        assert_eq!(resolve(&remote.target, remote.allow_remote).await.unwrap().to_string(), "192.0.2.1:1883");
    }

    #[tokio::test]
    async fn numbers_outside_their_range_are_refused_before_anything_is_opened() {
        let mut none = config("127.0.0.1:1");
        none.in_flight = 0;
        let refused = run(&none).await.unwrap_err().to_string();
        assert_eq!(refused, "reports in flight is 0; 1 to 32768 is accepted");
    }

    #[test]
    fn a_report_has_the_size_that_was_asked_for() {
        let speaker = speaker(&config("127.0.0.1:1"), 7).unwrap();
        assert_eq!(speaker.report.payload_len(), 330);
        assert_eq!(speaker.topic, "$oc/devices/load_7/sys/events/up");
    }
}
