//! Connections that come and go: how many devices a second are let in.
//!
//! One visit is TCP, CONNECT, CONNACK, DISCONNECT and the end of the connection, as another device each time. Latency
//! is from the first packet of TCP to CONNACK.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{ConnectionError, Identity, LoadError, dial, in_range, resolve};
use crate::histogram::{Histogram, Quantiles};
use crate::limits::LOAD_CONNECTIONS_MAX;

/// What is to be generated.
#[derive(Clone, Debug)]
pub struct VisitsConfig {
    /// `host:port` of a plain MQTT listener.
    pub target: String,
    /// Whether the target may be another machine.
    pub allow_remote: bool,
    /// How many different devices, in turn.
    pub devices: usize,
    /// How many visits at the same time.
    pub at_once: usize,
    /// Who they say they are.
    pub identity: Identity,
    /// Before anything is measured.
    pub warm_up: Duration,
    /// For how long is measured.
    pub span: Duration,
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VisitsReport {
    /// Answered CONNECTs while measuring.
    pub visits: u64,
    /// The same per second.
    pub per_sec: f64,
    /// From the first packet to CONNACK.
    pub latency: Quantiles,
}

/// Warms up, and measures.
///
/// # Errors
///
/// See [`LoadError`]. One visit that is refused or fails ends the run.
pub async fn run(config: &VisitsConfig) -> Result<VisitsReport, LoadError> {
    in_range("devices", config.devices, LOAD_CONNECTIONS_MAX)?;
    in_range("visits at once", config.at_once, config.devices)?;
    let address = resolve(&config.target, config.allow_remote).await?;
    let connects = (0..config.devices)
        .map(|number| config.identity.connect_packet(number))
        .collect::<Result<Vec<_>, _>>()?;
    let (connects, next) = (Arc::new(connects), Arc::new(AtomicUsize::new(0)));
    let (latency, counted) = (Arc::new(Histogram::default()), Arc::new(AtomicU64::new(0)));
    let from = Instant::now() + config.warm_up;
    let until = from + config.span;
    let mut visitors: JoinSet<Result<(), LoadError>> = JoinSet::new();
    for _ in 0..config.at_once {
        let (connects, next) = (Arc::clone(&connects), Arc::clone(&next));
        let (latency, counted) = (Arc::clone(&latency), Arc::clone(&counted));
        visitors.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed) % connects.len();
                let begin = Instant::now();
                if begin >= until {
                    return Ok(());
                }
                let visit = async {
                    let mut socket = dial(address, &connects[number]).await?;
                    let now = Instant::now();
                    socket.write_all(&[0xe0, 0]).await?;
                    // We close, so that it is our port that rests before it is used again.
                    socket.shutdown().await?;
                    Ok::<_, ConnectionError>(now)
                };
                let let_in = visit.await.map_err(|cause| LoadError::Connect { number, cause })?;
                if let_in >= from && let_in < until {
                    latency.count(let_in - begin);
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    while let Some(ended) = visitors.join_next().await {
        ended??;
    }
    let visits = counted.load(Ordering::Relaxed);
    Ok(VisitsReport {
        visits,
        per_sec: visits as f64 / config.span.as_secs_f64(),
        latency: latency.quantiles(),
    })
}
