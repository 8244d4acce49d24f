//! From the first byte to the answered CONNECT.
//!
//! Always true:
//! - Who has not been let in costs little: one small packet is read, within one deadline.
//! - Only a CONNECT that could be read is answered; anything else is closed without a word.
//! - A live session of the device is disturbed only by the right password or certificate: the engine looks at that
//!   first.
//! - What follows CONNECT on the link is not read before CONNECT is answered.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mqtt_protocol_core::mqtt::result_code::{ConnectReasonCode, ConnectReturnCode, MqttError};
use otaru_engine::{Channel, ConnectRequest, Refusal, Session};
use otaru_places::Place;
use rustls::pki_types::CertificateDer;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::admission::Seat;
use crate::frame::{self, OpeningError, Version};
use crate::gateway::Shared;
use crate::keepalive::KeepAlive;
use crate::session::Conversation;
use crate::transport::{self, Stream, WriteFailure};
use crate::wire::{Hello, No, Terms, Wire};

/// Who is at the other end.
pub(crate) struct Caller {
    pub(crate) peer: SocketAddr,
    /// Goes with whatever the connection becomes.
    pub(crate) seat: Seat,
    pub(crate) arrived: Arrived,
    /// Its place among those whose CONNECT is not answered yet.
    pub(crate) place: Arc<Place>,
}

/// How the caller came.
pub(crate) enum Arrived {
    Plain,
    /// With the certificates that it presented, its own first; it holds the key of that one.
    OverTls(Vec<CertificateDer<'static>>),
}

impl Arrived {
    fn channel(&self) -> Channel<'_> {
        match self {
            Arrived::Plain => Channel::Plain,
            Arrived::OverTls(certificates) => Channel::Tls(certificates),
        }
    }
}

/// Why a connection did not become a session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotOpened {
    #[error("the time for the handshake is over")]
    TimedOut,
    #[error("TLS handshake failed: {0}")]
    Tls(io::Error),
    #[error("the peer closed the connection before CONNECT was answered")]
    Lost,
    #[error("{0}")]
    Opening(OpeningError),
    #[error("CONNECT is not acceptable to MQTT: {0}")]
    Protocol(MqttError),
    #[error("authentication method is not supported")]
    OtherAuthentication,
    #[error("{0}")]
    Refused(Refusal),
    #[error("it kept us waiting, like too many others")]
    Crowded,
    #[error("this endpoint shuts down")]
    Shutdown,
}

impl NotOpened {
    /// For metrics.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            NotOpened::TimedOut => "timed_out",
            NotOpened::Tls(_) => "tls_failed",
            NotOpened::Lost => "lost",
            NotOpened::Opening(OpeningError::TooLarge { .. }) => "connect_too_large",
            NotOpened::Opening(OpeningError::UnknownLevel(_)) => "unknown_protocol_level",
            NotOpened::Opening(OpeningError::NotConnect(_) | OpeningError::Malformed) => "not_mqtt",
            NotOpened::Protocol(_) => "malformed_connect",
            NotOpened::OtherAuthentication => "other_authentication",
            NotOpened::Refused(refusal) => refusal.code(),
            NotOpened::Crowded => "crowded_out",
            NotOpened::Shutdown => "shutdown",
        }
    }
}

impl From<WriteFailure> for NotOpened {
    fn from(_: WriteFailure) -> NotOpened {
        NotOpened::Lost
    }
}

/// Reads a CONNECT, has the engine decide, and answers.
///
/// # Errors
///
/// Why there is no session. The peer has then been told what it is to be told.
pub(crate) async fn open<S: Stream>(
    mut stream: S,
    caller: Caller,
    deadline: Instant,
    shared: Arc<Shared>,
) -> Result<Box<Conversation<S>>, NotOpened> {
    let peer = caller.peer;
    let mut input = Vec::new();
    let reading = read_connect(&mut stream, &mut input, shared.limits.connect_bytes_max);
    let connect_bytes = timeout_at(deadline, reading).await.map_err(|_| NotOpened::TimedOut)??;
    let following = input.split_off(connect_bytes);
    let (connect, version) = match frame::as_spoken_here(&input) {
        Ok(spoken) => spoken,
        Err(error) => {
            if matches!(error, OpeningError::UnknownLevel(_)) {
                // Whatever they speak, this answer has been the same in all versions (MQTT 5.0, 3.1.2.2).
                transport::part(&mut stream, UNKNOWN_LEVEL, shared.limits.linger_time_max).await;
            }
            return Err(NotOpened::Opening(error));
        }
    };
    let limits = &shared.limits;
    let opened = Wire::open(&connect, limits.packet_bytes_max, limits.downlinks_in_flight_max.get());
    let (mut wire, hello) = match opened {
        Ok(opened) => opened,
        Err(MqttError::ClientIdentifierNotValid) => {
            // Not UTF-8, or cut short: the library keeps nothing to answer with.
            shared.engine.note_refusal("", None, peer, &Refusal::BadClientId("it is not UTF-8".into()));
            let answer = if version == Version::V5 { BAD_CLIENT_ID_V5 } else { BAD_CLIENT_ID };
            transport::part(&mut stream, answer, limits.linger_time_max).await;
            return Err(NotOpened::Protocol(MqttError::ClientIdentifierNotValid));
        }
        Err(error) => return Err(NotOpened::Protocol(error)),
    };
    let deciding = caller.place.work();
    let admitted = admit(&hello, version, &caller, deadline, &shared).await;
    drop(deciding);
    let (session, keep_alive) = match admitted {
        Ok(admitted) => admitted,
        Err(not_admitted) => {
            if let Some(no) = no_for(&not_admitted) {
                wire.refuse(&no);
            }
            // Not for what is our own fault: those who come back are welcome then.
            if !matches!(not_admitted, NotOpened::Refused(Refusal::Unavailable))
                && let Some(pause) = shared.failures.note(peer.ip(), Instant::now())
            {
                shared.meters.refusals_delayed.increment(1);
                sleep_until((Instant::now() + pause).min(deadline)).await;
            }
            transport::part(&mut stream, &wire.take_output(), limits.linger_time_max).await;
            return Err(not_admitted);
        }
    };
    let terms = Terms {
        receive_maximum: limits.uplinks_in_flight_max.get(),
        keep_alive_secs: keep_alive.altered.then_some(keep_alive.secs),
    };
    wire.accept(terms).map_err(NotOpened::Protocol)?;
    transport::write(&mut stream, &wire.take_output(), limits.write_time_max).await?;
    shared.meters.accepted.increment(1);
    tracing::debug!(device_id = %session.device_id(), %peer, protocol = version.name(), "session opened");
    Ok(Conversation::new(stream, wire, session, keep_alive, following, caller.seat, shared))
}

/// Reads until all of a CONNECT is there, and answers how many bytes of the input it is.
async fn read_connect<S: Stream>(
    stream: &mut S,
    input: &mut Vec<u8>,
    bytes_max: u32,
) -> Result<usize, NotOpened> {
    let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    loop {
        if let Some(bytes) = frame::connect_bytes(input, bytes_max).map_err(NotOpened::Opening)? {
            return Ok(bytes);
        }
        match transport::read_some(stream, input).await {
            Ok(0) | Err(_) => return Err(NotOpened::Lost),
            Ok(_) => {}
        }
    }
}

async fn admit(
    hello: &Hello,
    version: Version,
    caller: &Caller,
    deadline: Instant,
    shared: &Shared,
) -> Result<(Session, KeepAlive), NotOpened> {
    let peer = caller.peer;
    if hello.wants_other_authentication {
        return Err(NotOpened::OtherAuthentication);
    }
    let Some(keep_alive) = shared.limits.keep_alive.settle(hello.keep_alive_secs) else {
        let refusal = Refusal::BadKeepAlive(hello.keep_alive_secs);
        shared.engine.note_refusal(&hello.client_id, hello.username.as_deref(), peer, &refusal);
        return Err(NotOpened::Refused(refusal));
    };
    let request = ConnectRequest {
        client_id: &hello.client_id,
        username: hello.username.as_deref(),
        password: hello.password.as_deref(),
        channel: caller.arrived.channel(),
        peer,
        protocol: version.name(),
    };
    match timeout_at(deadline, shared.engine.connect(request)).await {
        Ok(Ok(session)) => Ok((session, keep_alive)),
        Ok(Err(refusal)) => Err(NotOpened::Refused(refusal)),
        Err(_) => {
            shared.engine.note_refusal(
                &hello.client_id,
                hello.username.as_deref(),
                peer,
                &Refusal::Unavailable,
            );
            Err(NotOpened::Refused(Refusal::Unavailable))
        }
    }
}

/// The answer to a CONNECT that was read and is not accepted.
///
/// Of wrong credentials it says no more than that: who guesses must not learn which devices exist. The operator
/// finds the rest where refused connections are listed.
fn no_for(not_opened: &NotOpened) -> Option<No> {
    let (return_code, reason_code, reason) = match not_opened {
        NotOpened::Refused(refusal) => match refusal {
            Refusal::BadClientId(_) | Refusal::BadKeepAlive(_) => (
                ConnectReturnCode::IdentifierRejected,
                ConnectReasonCode::ClientIdentifierNotValid,
                refusal.to_string(),
            ),
            Refusal::Unavailable => (
                ConnectReturnCode::ServerUnavailable,
                ConnectReasonCode::ServerUnavailable,
                refusal.to_string(),
            ),
            Refusal::UnknownDevice(_)
            | Refusal::WrongPassword
            | Refusal::CertificateNeedsTls
            | Refusal::CertificateMissing
            | Refusal::CertificateUnknown { .. }
            | Refusal::CertificateNotIssued { .. }
            | Refusal::CertificateExpired { .. }
            | Refusal::CertificateOtherName { .. }
            | Refusal::NotThisDevice { .. }
            | Refusal::StampOutsideWindow(_) => (
                ConnectReturnCode::BadUserNameOrPassword,
                ConnectReasonCode::BadUserNameOrPassword,
                "user name, password or certificate is wrong".to_owned(),
            ),
            Refusal::Frozen => {
                (ConnectReturnCode::NotAuthorized, ConnectReasonCode::NotAuthorized, refusal.to_string())
            }
        },
        NotOpened::OtherAuthentication => (
            ConnectReturnCode::NotAuthorized,
            ConnectReasonCode::BadAuthenticationMethod,
            not_opened.to_string(),
        ),
        NotOpened::TimedOut
        | NotOpened::Tls(_)
        | NotOpened::Lost
        | NotOpened::Opening(_)
        | NotOpened::Protocol(_)
        | NotOpened::Crowded
        | NotOpened::Shutdown => return None,
    };
    Some(No { return_code, reason_code, reason })
}

/// CONNACK of 3.1.1 with return code 1.
const UNKNOWN_LEVEL: &[u8] = &[0x20, 2, 0, 1];

/// CONNACK with return code 2.
const BAD_CLIENT_ID: &[u8] = &[0x20, 2, 0, 2];

/// CONNACK with reason code 133 and no properties.
const BAD_CLIENT_ID_V5: &[u8] = &[0x20, 3, 0, 133, 0];

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(refusal: Refusal) -> (u8, u8) {
        let no = no_for(&NotOpened::Refused(refusal)).unwrap();
        (no.return_code as u8, no.reason_code as u8)
    }

    #[test]
    fn every_refusal_has_its_code_in_both_languages() {
        assert_eq!(codes(Refusal::BadClientId("x".into())), (2, 133));
        assert_eq!(codes(Refusal::BadKeepAlive(4)), (2, 133));
        assert_eq!(codes(Refusal::Unavailable), (3, 136));
        assert_eq!(codes(Refusal::UnknownDevice("d".into())), (4, 134));
        assert_eq!(codes(Refusal::WrongPassword), (4, 134));
        assert_eq!(codes(Refusal::CertificateNeedsTls), (4, 134));
        assert_eq!(codes(Refusal::CertificateMissing), (4, 134));
        assert_eq!(codes(Refusal::CertificateExpired { problem: "old".into() }), (4, 134));
        assert_eq!(codes(Refusal::StampOutsideWindow("2020010100".into())), (4, 134));
        assert_eq!(codes(Refusal::Frozen), (5, 135));
    }

    #[test]
    fn wrong_credentials_tell_nobody_which_devices_exist() {
        let say = |refusal| no_for(&NotOpened::Refused(refusal)).unwrap().reason;
        assert_eq!(say(Refusal::UnknownDevice("d".into())), say(Refusal::WrongPassword));
        assert_eq!(say(Refusal::UnknownDevice("d".into())), say(Refusal::CertificateMissing));
    }
}
