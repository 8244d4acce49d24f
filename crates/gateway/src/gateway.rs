//! The endpoint as a whole: what it listens on, and its beginning and end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use otaru_engine::Engine;
use otaru_places::Places;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::admission::Admission;
use crate::failures::Failures;
use crate::limits::{GatewayLimits, LimitError};
use crate::listener;
use crate::meters::Meters;
use crate::stop::Stop;

/// What to listen on, and what devices may do.
#[derive(Clone, Debug, Default)]
pub struct GatewayConfig {
    /// MQTT over TCP, by convention port 1883.
    pub plain: Option<SocketAddr>,
    /// MQTT over TLS, by convention port 8883. Certificates are the configuration's: a resolver in it may change
    /// them while serving. Devices without a server name must be served too, so there has to be a default one.
    /// With [`certificates_are_welcome`](crate::certificates_are_welcome) as its verifier, devices can present one.
    pub tls: Option<(SocketAddr, Arc<rustls::ServerConfig>)>,
    /// What devices may do.
    pub limits: GatewayLimits,
}

/// Why the endpoint could not begin to listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The operator's to fix.
    #[error("neither a plain nor a TLS address is configured for MQTT")]
    NoAddress,
    /// The operator's to fix.
    #[error("limits of MQTT are unusable")]
    Limits(#[from] LimitError),
    /// The address is taken or not this machine's, or the port needs a privilege.
    #[error("cannot listen for MQTT on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the operating system said.
        #[source]
        cause: io::Error,
    },
}

/// The MQTT endpoint, listening. Connections that arrive before [`serve`](Gateway::serve) wait.
pub struct Gateway {
    plain: Option<(TcpListener, SocketAddr)>,
    tls: Option<(TcpListener, SocketAddr, TlsAcceptor)>,
    shared: Arc<Shared>,
}

/// What all connections have in common.
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) limits: GatewayLimits,
    pub(crate) meters: Meters,
    pub(crate) admission: Arc<Admission>,
    pub(crate) failures: Failures,
    /// One for each connection whose CONNECT is not answered yet.
    pub(crate) handshakes: Arc<Places>,
    pub(crate) stop: Stop,
}

impl Gateway {
    /// Begins to listen. To be called in a tokio runtime, after the recorder of metrics is installed.
    ///
    /// # Errors
    ///
    /// - `NoAddress`, `Limits`: the configuration is not usable.
    /// - `Listen`: the operating system refuses an address; none is kept.
    pub fn bind(engine: Engine, config: GatewayConfig) -> Result<Gateway, BindError> {
        let GatewayConfig { plain, tls, limits } = config;
        limits.check()?;
        if plain.is_none() && tls.is_none() {
            return Err(BindError::NoAddress);
        }
        let plain = plain.map(bind).transpose()?;
        let tls = match tls {
            Some((address, config)) => {
                let (listener, address) = bind(address)?;
                Some((listener, address, TlsAcceptor::from(config)))
            }
            None => None,
        };
        let shared = Shared {
            engine,
            meters: Meters::new(),
            admission: Admission::new(limits.connections_max, limits.connections_per_address_max),
            failures: Failures::default(),
            handshakes: Places::new(limits.handshakes_max, limits.handshakes_aside_max),
            stop: Stop::new(),
            limits,
        };
        Ok(Gateway { plain, tls, shared: Arc::new(shared) })
    }

    /// Where the plain listener is, with the port the system chose if 0 was asked for.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.plain.as_ref().map(|(_, address)| *address)
    }

    /// Where the TLS listener is.
    #[must_use]
    pub fn tls_addr(&self) -> Option<SocketAddr> {
        self.tls.as_ref().map(|(_, address, _)| *address)
    }

    /// Holds sessions until `shutdown` resolves; then tells MQTT 5 devices so, closes all connections and returns
    /// when the last one is gone, at most `shutdown_time_max` later.
    ///
    /// Dropping the future instead closes everything without a word.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let Gateway { plain, tls, shared } = self;
        let listening = async {
            let plain = async {
                if let Some((listener, _)) = plain {
                    listener::listen(listener, None, &shared).await;
                }
            };
            let tls = async {
                if let Some((listener, _, acceptor)) = tls {
                    listener::listen(listener, Some(acceptor), &shared).await;
                }
            };
            tokio::join!(plain, tls);
        };
        let stopping = async {
            shutdown.await;
            shared.stop.tell();
        };
        tokio::join!(listening, stopping);
    }
}

fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), BindError> {
    let bound = || {
        let listener = listener::open(address)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bound().map_err(|cause| BindError::Listen { address, cause })
}
