//! Devices that upgrade as soon as they are told: how many offers a second a server makes.
//!
//! A device answers a version question at once; told to upgrade, it says at once that it is done and that it runs the
//! new version, and downloads nothing. So one upgrade is the least that the protocol allows: question, answer, notice,
//! and the report that ends it.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use otaru_proto::{
    DeviceId, Downlink, Percent, ProgressReport, ResultCode, Version, VersionReport, decode_downlink,
    encode_progress_report, encode_version_report, events_up,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::frames::{self, Packet};
use super::{ConnectionError, Identity, LoadError, dial, in_range, resolve};
use crate::clock;
use crate::limits::{LOAD_CONNECTING_AT_ONCE, LOAD_CONNECTIONS_MAX};

/// What is to be generated.
#[derive(Clone, Debug)]
pub struct UpgradesConfig {
    /// `host:port` of a plain MQTT listener.
    pub target: String,
    /// Whether the target may be another machine.
    pub allow_remote: bool,
    /// How many devices.
    pub connections: usize,
    /// Who they say they are.
    pub identity: Identity,
    /// The version that they say they run at first.
    pub version: String,
    /// It ends after so many notices, or
    pub notices: u64,
    /// after so long.
    pub at_most: Duration,
}

/// What was seen. Times are milliseconds since 1970, to be compared with what others on this machine saw.
#[derive(Clone, Debug, PartialEq)]
pub struct UpgradesReport {
    /// Notices in all.
    pub notices: u64,
    /// How many devices got one.
    pub devices_told: u64,
    /// Version questions in all.
    pub questions: u64,
    /// When the first one came.
    pub first_notice_at_ms: Option<i64>,
    /// When the last one came.
    pub last_notice_at_ms: Option<i64>,
    /// When 1 %, 2 % … 100 % of the notices had come.
    pub percentiles_at_ms: Vec<i64>,
}

/// What all devices share.
struct Seen {
    notices: AtomicU64,
    questions: AtomicU64,
    devices_told: AtomicU64,
    times: Mutex<Vec<i64>>,
    enough: u64,
    until: Instant,
}

impl Seen {
    fn is_over(&self) -> bool {
        self.notices.load(Ordering::Relaxed) >= self.enough || Instant::now() >= self.until
    }
}

/// Connects, calls `connected`, and upgrades until it is enough, or until `over`. The devices stay connected to the end.
///
/// # Errors
///
/// See [`LoadError`]. A connection that fails ends the run.
pub async fn run(
    config: &UpgradesConfig,
    connected: impl FnOnce(),
    over: impl Future<Output = ()>,
) -> Result<UpgradesReport, LoadError> {
    in_range("connections", config.connections, LOAD_CONNECTIONS_MAX)?;
    let address = resolve(&config.target, config.allow_remote).await?;
    let at_once = Arc::new(Semaphore::new(LOAD_CONNECTING_AT_ONCE));
    let mut connecting = JoinSet::new();
    for number in 0..config.connections {
        let (device, _) = config.identity.login(number)?;
        let connect = config.identity.connect_packet(number)?;
        let at_once = Arc::clone(&at_once);
        connecting.spawn(async move {
            let _turn = at_once.acquire_owned().await.expect("nobody closes the semaphore");
            let socket = dial(address, &connect).await;
            (number, device, socket)
        });
    }
    let mut sockets = Vec::with_capacity(config.connections);
    while let Some(dialled) = connecting.join_next().await {
        let (number, device, socket) = dialled?;
        sockets.push((number, device, socket.map_err(|cause| LoadError::Connect { number, cause })?));
    }
    connected();
    let seen = Arc::new(Seen {
        notices: AtomicU64::new(0),
        questions: AtomicU64::new(0),
        devices_told: AtomicU64::new(0),
        times: Mutex::new(Vec::new()),
        enough: config.notices,
        until: Instant::now() + config.at_most,
    });
    let mut devices = JoinSet::new();
    for (number, id, socket) in sockets {
        let topic = events_up(&id);
        let device = Device { id, socket, topic, version: config.version.clone(), next_id: 1, told: 0 };
        let seen = Arc::clone(&seen);
        devices.spawn(async move { (number, device.live(&seen).await) });
    }
    let mut over = std::pin::pin!(over);
    loop {
        let ended = tokio::select! {
            ended = devices.join_next() => ended,
            () = &mut over => break,
        };
        let Some(ended) = ended else { break };
        let (number, ended) = ended?;
        ended.map_err(|cause| LoadError::Ended { number, acknowledged: 0, cause })?;
    }
    drop(devices);
    let mut times = seen.times.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    times.sort_unstable();
    let percentile =
        |percent: usize| times.get((times.len() * percent).div_ceil(100).saturating_sub(1)).copied();
    Ok(UpgradesReport {
        notices: seen.notices.load(Ordering::Relaxed),
        devices_told: seen.devices_told.load(Ordering::Relaxed),
        questions: seen.questions.load(Ordering::Relaxed),
        first_notice_at_ms: times.first().copied(),
        last_notice_at_ms: times.last().copied(),
        percentiles_at_ms: (1..=100).filter_map(percentile).collect(),
    })
}

struct Device {
    id: DeviceId,
    socket: TcpStream,
    topic: String,
    version: String,
    next_id: u16,
    told: u64,
}

/// How often a device that hears nothing looks whether it is enough.
const LOOK_EVERY: Duration = Duration::from_millis(500);

impl Device {
    async fn live(mut self, seen: &Seen) -> Result<(), ConnectionError> {
        let (mut input, mut output) = (Vec::new(), Vec::new());
        let mut look_at = Instant::now() + LOOK_EVERY;
        loop {
            if seen.is_over() {
                return Ok(());
            }
            let read = tokio::select! {
                read = self.socket.read_buf(&mut input) => read?,
                () = sleep_until(look_at) => {
                    look_at = Instant::now() + LOOK_EVERY;
                    continue;
                }
            };
            if read == 0 {
                return Err(ConnectionError::Closed);
            }
            let mut taken = 0;
            while let Some((packet, len)) = frames::first(&input[taken..]) {
                match packet {
                    Packet::Publish { id, payload } => {
                        if let Some(id) = id {
                            frames::puback(&mut output, id);
                        }
                        let payload = payload.to_vec();
                        self.hear(&payload, &mut output, seen);
                    }
                    Packet::Puback(_) | Packet::Quiet => {}
                    Packet::Connack(_) => return Err(ConnectionError::Unexpected(2)),
                    Packet::Unexpected(kind) => return Err(ConnectionError::Unexpected(kind)),
                }
                taken += len;
            }
            input.drain(..taken);
            self.socket.write_all(&output).await?;
            output.clear();
        }
    }

    fn hear(&mut self, payload: &[u8], output: &mut Vec<u8>, seen: &Seen) {
        let now_ms = clock::unix_ms();
        match decode_downlink(payload) {
            Ok((_, Downlink::Notice(notice))) => {
                seen.notices.fetch_add(1, Ordering::Relaxed);
                seen.times.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(now_ms);
                if self.told == 0 {
                    seen.devices_told.fetch_add(1, Ordering::Relaxed);
                }
                self.told += 1;
                self.version = notice.version;
                let done = ProgressReport {
                    code: ResultCode::OnTrack,
                    progress: Some(Percent::new(100).expect("100 is a percentage")),
                    progress_unusable: false,
                    version: Version::as_sent(&self.version),
                    description: None,
                };
                let payload = encode_progress_report(&self.id, &done, Some(now_ms));
                self.publish(&payload, output);
            }
            Ok((_, Downlink::VersionQuery { .. })) => {
                seen.questions.fetch_add(1, Ordering::Relaxed);
                let fw_version = Version::as_sent(&self.version);
                let report = VersionReport { fw_version, sw_version: None, modules: Vec::new() };
                let payload = encode_version_report(&self.id, &report, Some(now_ms));
                self.publish(&payload, output);
            }
            Err(_) => {}
        }
    }

    fn publish(&mut self, payload: &[u8], output: &mut Vec<u8>) {
        frames::publish(output, &self.topic, self.next_id, payload);
        self.next_id = self.next_id.checked_add(1).unwrap_or(1);
    }
}
