//! Connections that sit and do nothing, plain or over TLS: what one costs the server in memory.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::connection::SILENCE_MAX;
use super::frames::{self, Packet};
use super::{ConnectionError, Identity, LoadError, in_range, resolve};
use crate::limits::{LOAD_CONNECTING_AT_ONCE, LOAD_CONNECTIONS_MAX};
use crate::net::{Endpoint, NetError, Socket, TlsTrust};

/// What is to be held.
#[derive(Clone, Debug)]
pub struct IdleConfig {
    /// `host:port` of an MQTT listener.
    pub target: String,
    /// Whether the target may be another machine.
    pub allow_remote: bool,
    /// How many connections.
    pub connections: usize,
    /// Who they say they are.
    pub identity: Identity,
    /// Whether they use TLS; whoever answers is trusted.
    pub tls: bool,
}

/// Connections after CONNACK. Dropping them closes them.
pub struct Idle {
    /// How long it took to connect all.
    pub connecting: Duration,
    sockets: Vec<Socket>,
}

impl Idle {
    /// How many there are.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.sockets.len()
    }
}

/// Connects all of them.
///
/// # Errors
///
/// See [`LoadError`]. A connection that fails ends the run.
pub async fn connect(config: &IdleConfig) -> Result<Idle, LoadError> {
    in_range("connections", config.connections, LOAD_CONNECTIONS_MAX)?;
    let address = resolve(&config.target, config.allow_remote).await?;
    let tls = if config.tls { Some(TlsTrust::Anyone.client_config().map_err(LoadError::Tls)?) } else { None };
    let endpoint = Arc::new(Endpoint { host: address.ip().to_string(), port: address.port(), tls });
    let at_once = Arc::new(Semaphore::new(LOAD_CONNECTING_AT_ONCE));
    let begin = Instant::now();
    let mut connecting = JoinSet::new();
    for number in 0..config.connections {
        let connect = config.identity.connect_packet(number)?;
        let (endpoint, at_once) = (Arc::clone(&endpoint), Arc::clone(&at_once));
        connecting.spawn(async move {
            let _turn = at_once.acquire_owned().await.expect("nobody closes the semaphore");
            let connected = timeout(SILENCE_MAX, sit(&endpoint, &connect)).await;
            connected
                .unwrap_or(Err(ConnectionError::Silent))
                .map_err(|cause| LoadError::Connect { number, cause })
        });
    }
    let mut sockets = Vec::with_capacity(config.connections);
    while let Some(connected) = connecting.join_next().await {
        sockets.push(connected??);
    }
    Ok(Idle { connecting: begin.elapsed(), sockets })
}

async fn sit(endpoint: &Endpoint, connect: &[u8]) -> Result<Socket, ConnectionError> {
    let mut socket = endpoint.dial().await.map_err(|error| match error {
        NetError::Connect { cause, .. } | NetError::Tls { cause, .. } => ConnectionError::Network(cause),
        NetError::Ca { .. } | NetError::Name { .. } => ConnectionError::Unexpected(0),
    })?;
    socket.write_all(connect).await?;
    socket.flush().await?;
    let mut answer = [0; 4];
    socket.read_exact(&mut answer).await?;
    match frames::first(&answer) {
        Some((Packet::Connack(0), 4)) => Ok(socket),
        Some((Packet::Connack(code), _)) => Err(ConnectionError::Refused(code)),
        Some(_) | None => Err(ConnectionError::Unexpected(answer[0] >> 4)),
    }
}
