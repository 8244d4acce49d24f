//! Streams that fetch a package again and again over plain HTTP, and throw it away: how fast it is served.
//!
//! One thread a stream and large blocking reads: the least that reading costs.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{ConnectionError, LoadError};
use crate::limits::LOAD_STREAMS_MAX;

/// What is to be fetched.
#[derive(Clone, Debug)]
pub struct DownloadsConfig {
    /// Plain HTTP, `host:port`; loopback only.
    pub target: SocketAddr,
    /// A whole request for each stream, with its blank line.
    pub requests: Vec<String>,
    /// Before anything is measured.
    pub warm_up: Duration,
    /// For how long is measured.
    pub span: Duration,
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DownloadsReport {
    /// Bytes of bodies while measuring.
    pub bytes: u64,
    /// The same per second.
    pub bytes_per_sec: f64,
    /// Bodies that came whole in all.
    pub whole: u64,
}

/// Bytes of one read.
const READ_BYTES: usize = 256 * 1024;

/// Fetches until the time is over.
///
/// # Errors
///
/// See [`LoadError`]. A stream that fails, or an answer other than 200 with its length, ends the run.
pub fn run(config: &DownloadsConfig) -> Result<DownloadsReport, LoadError> {
    if !config.target.ip().is_loopback() {
        return Err(LoadError::NotLoopback { address: config.target });
    }
    let (found, max) = (config.requests.len(), LOAD_STREAMS_MAX);
    if !(1..=max).contains(&found) {
        return Err(LoadError::OutOfRange { what: "streams", found, max });
    }
    let (bytes, whole) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let from = now() + config.warm_up;
    let until = from + config.span;
    let streams: Vec<_> = config
        .requests
        .iter()
        .map(|request| {
            let (bytes, whole) = (Arc::clone(&bytes), Arc::clone(&whole));
            let (target, request) = (config.target, request.clone());
            std::thread::spawn(move || fetch(target, &request, (from, until), &bytes, &whole))
        })
        .collect();
    for (number, stream) in streams.into_iter().enumerate() {
        let ended = stream.join().unwrap_or(Err(ConnectionError::Closed));
        ended.map_err(|cause| LoadError::Connect { number, cause })?;
    }
    let bytes = bytes.load(Ordering::Relaxed);
    let bytes_per_sec = bytes as f64 / config.span.as_secs_f64();
    Ok(DownloadsReport { bytes, bytes_per_sec, whole: whole.load(Ordering::Relaxed) })
}

#[expect(clippy::disallowed_methods, reason = "there is no runtime whose clock could be asked")]
fn now() -> Instant {
    Instant::now()
}

fn fetch(
    target: SocketAddr,
    request: &str,
    (from, until): (Instant, Instant),
    counted: &AtomicU64,
    whole: &AtomicU64,
) -> Result<(), ConnectionError> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let mut socket = TcpStream::connect(target)?;
        socket.write_all(request.as_bytes())?;
        let (mut body, mut left) = head(&mut socket, &mut buffer)?;
        loop {
            let at = now();
            if at >= until {
                return Ok(());
            }
            if at >= from {
                counted.fetch_add(body, Ordering::Relaxed);
            }
            left = left.saturating_sub(body);
            if left == 0 {
                whole.fetch_add(1, Ordering::Relaxed);
                break;
            }
            body = match socket.read(&mut buffer)? {
                0 => return Err(ConnectionError::Closed),
                read => read as u64,
            };
        }
    }
}

/// Reads the head of the answer: how many bytes of the body came with it, and how many it has in all.
fn head(socket: &mut TcpStream, buffer: &mut [u8]) -> Result<(u64, u64), ConnectionError> {
    let mut len = 0;
    let end = loop {
        match socket.read(&mut buffer[len..])? {
            0 => return Err(ConnectionError::Closed),
            read => len += read,
        }
        if let Some(at) = buffer[..len].windows(4).position(|part| part == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let text = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    match length.and_then(|length| length.trim().parse().ok()) {
        Some(length) if status == 200_u16 => Ok(((len - end) as u64, length)),
        Some(_) | None => Err(ConnectionError::Status(status)),
    }
}
