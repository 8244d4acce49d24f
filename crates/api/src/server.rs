//! Sockets: who may connect, how long anything may take, and how it ends.
//!
//! Always true:
//! - Header names leave in title case, whatever a route called them: the C device SDK compares bytes.
//! - All listeners share one limit; a connection over it is not served until another one ends, and the ones
//!   after it wait in the kernel's queue.
//! - Every connection's task is joined before [`Api::serve`] returns.
//!
//! Not here: what is answered (`router`).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures_util::TryFutureExt;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use otaru_engine::Engine;
use otaru_places::{Place, Places};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use crate::caller::Peer;
use crate::guarded::Guarded;
use crate::iotda::push::{self, Pusher};
use crate::limits::{HEAD_BYTES_MAX, HEAD_LINES_MAX, Limits, READ_BUFFER_BYTES_MAX};
use crate::metered::Metered;
use crate::observe;
use crate::router::{Metrics, router};
use crate::routes::device_http::DEVICE_AUTH_PATH;
use crate::routes::events::Closing;

/// Where to listen, and how patiently.
pub struct ApiConfig {
    /// Plain HTTP.
    pub plain: Option<SocketAddr>,
    /// HTTPS. The configuration needs a certificate for connections without a server name: devices send none.
    pub tls: Option<(SocketAddr, Arc<rustls::ServerConfig>)>,
    /// The same on a second address, which can be given to devices alone.
    pub device_tls: Option<(SocketAddr, Arc<rustls::ServerConfig>)>,
    /// Connections and patience.
    pub limits: Limits,
    /// What `/metrics` answers.
    pub metrics: Metrics,
}

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for HTTP on {address}; is the port taken, or the address not this machine's?")]
pub struct BindError {
    /// What was asked for.
    pub address: SocketAddr,
    /// What the system said.
    #[source]
    pub cause: io::Error,
}

/// The HTTP side, listening. Connections are accepted once [`Api::serve`] runs.
pub struct Api {
    plain: Option<Door>,
    tls: Option<Door>,
    device_tls: Option<Door>,
    router: Router,
    pusher: Pusher,
    limits: Limits,
}

/// One listener.
struct Door {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
}

impl Door {
    async fn open_tls(
        wanted: Option<(SocketAddr, Arc<rustls::ServerConfig>)>,
    ) -> Result<Option<Door>, BindError> {
        match wanted {
            Some((address, settings)) => {
                Ok(Some(Door::open(address, Some(TlsAcceptor::from(settings))).await?))
            }
            None => Ok(None),
        }
    }

    async fn open(address: SocketAddr, tls: Option<TlsAcceptor>) -> Result<Door, BindError> {
        let bound = async {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr()?;
            Ok(Door { listener, address, tls })
        };
        bound.await.map_err(|cause| BindError { address, cause })
    }
}

impl Api {
    /// Opens the listeners. From here on the kernel takes connections; they are answered once it serves. To be called
    /// after the recorder of metrics is installed.
    ///
    /// # Errors
    ///
    /// The first address that cannot be listened on, and why.
    pub async fn bind(engine: Engine, config: ApiConfig) -> Result<Api, BindError> {
        observe::describe_metrics();
        push::describe_metrics();
        let pusher = Pusher::new(engine.clone(), config.limits.push);
        let plain = match config.plain {
            Some(address) => Some(Door::open(address, None).await?),
            None => None,
        };
        let tls = Door::open_tls(config.tls).await?;
        let device_tls = Door::open_tls(config.device_tls).await?;
        Ok(Api {
            plain,
            tls,
            device_tls,
            router: router(engine, config.metrics),
            pusher,
            limits: config.limits,
        })
    }

    /// Where plain HTTP is listened for; tells the port when 0 was asked for.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.plain.as_ref().map(|door| door.address)
    }

    /// Where HTTPS is listened for.
    #[must_use]
    pub fn tls_addr(&self) -> Option<SocketAddr> {
        self.tls.as_ref().map(|door| door.address)
    }

    /// Where HTTPS is listened for a second time.
    #[must_use]
    pub fn device_tls_addr(&self) -> Option<SocketAddr> {
        self.device_tls.as_ref().map(|door| door.address)
    }

    /// Serves until `shutdown` resolves; then takes no further connection, lets requests under way finish for
    /// as long as the limits say, drops the rest, and returns when every task has ended.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send) {
        let (closing, closed) = watch::channel(());
        let house = Arc::new(House {
            router: self.router,
            places: Places::new(self.limits.connections_max, self.limits.connections_max),
            limits: self.limits,
            closed,
        });
        let mut doors = JoinSet::new();
        for door in [self.plain, self.tls, self.device_tls].into_iter().flatten() {
            doors.spawn(keep(door, Arc::clone(&house)));
        }
        let end = Arc::clone(&house);
        let pushing = tokio::spawn(self.pusher.run(async move { end.closing().await }));
        shutdown.await;
        // Every waiting task hears of it: the channel's only sender is gone.
        drop(closing);
        while let Some(ended) = doors.join_next().await {
            log_panic(ended);
        }
        log_panic(pushing.await);
    }
}

/// What all connections share.
struct House {
    router: Router,
    places: Arc<Places>,
    limits: Limits,
    /// Changes, by the loss of its sender, when the house closes.
    closed: watch::Receiver<()>,
}

impl House {
    /// Resolves when the house closes.
    async fn closing(&self) {
        // An error says that the sender is gone, which is what is waited for; nothing is ever sent.
        let _ = self.closed.clone().changed().await;
    }
}

/// Accepts at one door until the house closes, then sees the guests out.
async fn keep(door: Door, house: Arc<House>) {
    let mut guests = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = house.closing() => break,
            Some(ended) = guests.join_next(), if !guests.is_empty() => {
                log_panic(ended);
                continue;
            }
            accepted = door.listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(address = %door.address, %error, "a connection could not be accepted");
                // The usual reason is that the process is out of files; trying at once again would only spin.
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Only now: a door that waits for somebody must not hold a place that another door could use.
        let place = tokio::select! {
            biased;
            () = house.closing() => break,
            place = house.places.take() => place,
        };
        let (house, tls) = (Arc::clone(&house), door.tls.clone());
        guests.spawn(async move {
            if place.attend(attend(stream, peer, tls, &place, &house)).await.is_err() {
                metrics::counter!("otaru_http_connections_crowded_out_total").increment(1);
                tracing::debug!(%peer, "connection closed: it was idle, like too many others");
            }
        });
    }
    drop(door);
    let all_out = async {
        while let Some(ended) = guests.join_next().await {
            log_panic(ended);
        }
    };
    if tokio::time::timeout(house.limits.drain_patience, all_out).await.is_err() {
        tracing::warn!(
            connections = guests.len(),
            "connections dropped at shutdown; their requests took too long"
        );
        guests.shutdown().await;
    }
}

/// Pause after a failed accept: long enough for files to be closed, short enough for nobody to notice.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One connection from its first byte to its last.
async fn attend(stream: TcpStream, peer: SocketAddr, tls: Option<TlsAcceptor>, place: &Place, house: &House) {
    let _counted = Counted::new();
    // A head must not wait for the acknowledgement of what was sent before it. Failing that, it is only slower.
    let _ = stream.set_nodelay(true);
    let stream = Guarded::new(stream, house.limits.write_patience);
    match tls {
        None => converse(stream, peer, place, house).await,
        Some(tls) => {
            let handshake = tokio::time::timeout(house.limits.handshake_patience, tls.accept(stream));
            let shaken = tokio::select! {
                shaken = handshake => Some(shaken),
                () = house.closing() => None,
            };
            match shaken {
                Some(Ok(Ok(stream))) => converse(stream, peer, place, house).await,
                Some(Ok(Err(error))) => tracing::debug!(%peer, %error, "TLS handshake failed"),
                Some(Err(_)) => tracing::debug!(%peer, "TLS handshake took too long"),
                None => {}
            }
        }
    }
}

/// A connection in the metrics, however it ends.
struct Counted;

impl Counted {
    fn new() -> Counted {
        metrics::gauge!("otaru_http_connections").increment(1);
        Counted
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        metrics::gauge!("otaru_http_connections").decrement(1);
    }
}

/// Requests and answers, until the peer closes or the house does.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: SocketAddr,
    place: &Place,
    house: &House,
) {
    let answer = hyper::service::service_fn(|mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        request.extensions_mut().insert(Closing(house.closed.clone()));
        // From the head of the request to the last byte of the answer. Only devices that ask for a token have a body read
        // before we know who they are: it is theirs to send it soon.
        let work = (request.uri().path() != DEVICE_AUTH_PATH).then(|| place.work());
        house.router.clone().oneshot(request.map(Body::new)).map_ok(|answer| Metered::new(answer, work))
    });
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .title_case_headers(true)
        .header_read_timeout(house.limits.head_patience)
        .max_headers(HEAD_LINES_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(READ_BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), answer);
    let mut conversation = std::pin::pin!(conversation);
    let ended = tokio::select! {
        ended = conversation.as_mut() => ended,
        () = house.closing() => {
            conversation.as_mut().graceful_shutdown();
            conversation.await
        }
    };
    if let Err(error) = ended {
        // Devices close without a word, and scanners send anything; neither is worth more than this.
        tracing::debug!(%peer, %error, "connection ended early");
    }
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task panicked");
    }
}
