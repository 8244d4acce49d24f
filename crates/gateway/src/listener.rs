//! Accepting connections, and hearing of their end.
//!
//! Always true:
//! - Every connection is a task of its own and is joined: a panic in one ends that one.
//! - A connection over a limit is closed before a byte of it is read, or waits, one here and the others in the kernel's
//!   queue.
//! - Running out of files stops accepting for a moment, and nothing else.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;

use otaru_places::Place;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;

use crate::gateway::Shared;
use crate::handshake::{self, Arrived, Caller, NotOpened};
use crate::limits::{ACCEPT_PAUSE, LISTEN_QUEUE, TcpProbe};
use crate::meters::Counted;
use crate::session::{self, Conversation};
use crate::transport::Stream;

/// Opens a listening socket.
pub(crate) fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the connections of the last run to be forgotten.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_QUEUE)?;
    TcpListener::from_std(socket.into())
}

/// Accepts until told to stop, and returns when all its connections have ended.
pub(crate) async fn listen(listener: TcpListener, tls: Option<TlsAcceptor>, shared: &Arc<Shared>) {
    let mut connections = JoinSet::new();
    let mut stop = pin!(shared.stop.wait());
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(ended) = connections.join_next() => note_end(shared, &ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => match shared.admission.admit(peer.ip()) {
                    Ok(seat) => {
                        let mut place = pin!(shared.handshakes.take());
                        let place = loop {
                            tokio::select! {
                                () = &mut stop => break None,
                                place = &mut place => break Some(Arc::new(place)),
                                Some(ended) = connections.join_next() => note_end(shared, &ended),
                            }
                        };
                        let Some(place) = place else { break };
                        let caller = Caller { peer, seat, arrived: Arrived::Plain, place };
                        begin(&mut connections, stream, caller, tls.as_ref(), shared);
                    }
                    Err(full) => {
                        shared.meters.refused(full.label());
                        tracing::debug!(%peer, reason = full.label(), "connection closed before CONNECT");
                    }
                },
                Err(error) if concerns_one_connection(&error) => shared.meters.refused("accept_failed"),
                Err(error) => {
                    shared.meters.refused("accept_failed");
                    tracing::warn!(%error, "cannot accept connections; trying again");
                    // Ended sessions give files back; stopping is looked at right after.
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    let goodbyes = async {
        while let Some(ended) = connections.join_next().await {
            note_end(shared, &ended);
        }
    };
    if timeout(shared.limits.shutdown_time_max, goodbyes).await.is_err() {
        tracing::warn!(connections = connections.len(), "closing connections that do not end by themselves");
        connections.shutdown().await;
    }
}

fn begin(
    connections: &mut JoinSet<()>,
    stream: TcpStream,
    caller: Caller,
    tls: Option<&TlsAcceptor>,
    shared: &Arc<Shared>,
) {
    let deadline = Instant::now() + shared.limits.handshake_time_max;
    if let Err(error) = prepare(&stream, &shared.limits.tcp_probe) {
        // The peer is gone already.
        shared.meters.refused("accept_failed");
        tracing::debug!(peer = %caller.peer, %error, "connection lost before CONNECT");
        return;
    }
    let place = caller.place.clone();
    // Boxed here, so that a session does not keep the room its handshake took.
    match tls.cloned() {
        None => {
            let opened = Box::pin(handshake::open(stream, caller, deadline, shared.clone()));
            connections.spawn(converse(opened, place, shared.clone()));
        }
        Some(acceptor) => {
            let for_handshake = shared.clone();
            let opened = Box::pin(async move {
                let accepted = timeout_at(deadline, acceptor.accept(stream)).await;
                let stream = accepted.map_err(|_| NotOpened::TimedOut)?.map_err(NotOpened::Tls)?;
                let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
                let caller = Caller { arrived: Arrived::OverTls(certificates), ..caller };
                handshake::open(stream, caller, deadline, for_handshake).await
            });
            connections.spawn(converse(opened, place, shared.clone()));
        }
    }
}

/// One connection, from its handshake to its end.
async fn converse<S: Stream>(
    opened: Pin<Box<impl Future<Output = Result<Box<Conversation<S>>, NotOpened>>>>,
    place: Arc<Place>,
    shared: Arc<Shared>,
) {
    let _counted = Counted::new(&shared.meters.connections);
    let opened = tokio::select! {
        opened = place.attend(opened) => opened.unwrap_or(Err(NotOpened::Crowded)),
        () = shared.stop.wait() => Err(NotOpened::Shutdown),
    };
    drop(place);
    match opened {
        Ok(conversation) => session::run(conversation).await,
        Err(not_opened) => {
            shared.meters.refused(not_opened.label());
            tracing::debug!(reason = not_opened.label(), detail = %not_opened, "connection did not become a session");
        }
    }
}

fn prepare(stream: &TcpStream, probe: &TcpProbe) -> io::Result<()> {
    // What is to be said in one go is written in one go.
    stream.set_nodelay(true)?;
    let keepalive =
        TcpKeepalive::new().with_time(probe.after).with_interval(probe.every).with_retries(probe.times);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

fn note_end(shared: &Shared, ended: &Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        shared.meters.panics.increment(1);
        tracing::error!(%error, "a connection panicked; the others go on");
    }
}

/// `accept` hands out errors of the connection it would have accepted as its own (accept(2)).
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
