//! A device wants in: is it who it says, and if not, what does its owner need to know.
//!
//! Always true:
//! - A live session is ended only by a connection whose credentials are right.
//! - Every refusal is remembered with its reason, and the memory is bounded.
//! - Strangers cannot fill the log: what is logged of refusals is bounded too, and says how many it leaves out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use otaru_core::{Fingerprint, WallTime};
use otaru_proto::{ClientId, DeviceId, Stamp, password_matches};
use otaru_store::{Auth, ConnectFacts};
use serde::Serialize;

use crate::certificates::{self, Channel};
use crate::driver::Engine;
use crate::limits::{REFUSALS_LOGGED_MAX, REFUSALS_LOGGED_WINDOW, REFUSED_MAX};
use crate::sessions::{Session, SessionInner};

/// What a device sends to be let in.
#[derive(Clone, Copy, Debug)]
pub struct ConnectRequest<'a> {
    /// `{device_id}_{id_type}_{sign_type}_{timestamp}`.
    pub client_id: &'a str,
    /// The device id.
    pub username: Option<&'a str>,
    /// The keyed hash. Of a device with a certificate it does not matter: SDKs send none, or one over an empty secret.
    pub password: Option<&'a [u8]>,
    /// How it has reached us, with its certificate if it has presented one.
    pub channel: Channel<'a>,
    /// From where.
    pub peer: SocketAddr,
    /// `MQTT 3.1`, `MQTT 3.1.1` or `MQTT 5.0`.
    pub protocol: &'static str,
}

/// Why a device is not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not of the published form.
    #[error("bad client id: {0}")]
    BadClientId(String),
    /// Outside the range.
    #[error("a keep alive of {0} s is not accepted; use 30 to 1200 s, 120 is recommended")]
    BadKeepAlive(u16),
    /// Nobody registered it.
    #[error(
        "device {0} is not registered; register it with POST /api/v1/devices, with this device_id and its secret"
    )]
    UnknownDevice(String),
    /// The secret is another one.
    #[error(
        "wrong password; it is the lower-case hex HMAC-SHA256 with the client id's last ten digits as key and the device's secret as message"
    )]
    WrongPassword,
    /// It has a certificate, and came without TLS.
    #[error(
        "the device proves itself with a certificate, which needs TLS, and it came to the plain listener; let it connect to the one of `mqtts`"
    )]
    CertificateNeedsTls,
    /// It has a certificate, and presented none.
    #[error(
        "the device is registered with `auth` \"x509\" and presented no certificate; install its certificate and key on it, or register it anew with a secret"
    )]
    CertificateMissing,
    /// It presented another certificate than the registered one, or nothing says which one it should be.
    #[error("{}", unknown_certificate(.device, .presented, .registered.as_ref()))]
    CertificateUnknown {
        /// Its id.
        device: String,
        /// Of what it presented.
        presented: Fingerprint,
        /// What is registered; `None`: nothing, and there is no device CA either.
        registered: Option<Fingerprint>,
    },
    /// Nobody that we know issued its certificate.
    #[error(
        "the device's certificate was not issued by the device CA: {problem}; give the device one that was, let it present those in between as well, or register the fingerprint {presented}"
    )]
    CertificateNotIssued {
        /// Of what it presented.
        presented: Fingerprint,
        /// What does not fit.
        problem: String,
    },
    /// Too late, or too early.
    #[error(
        "the device's certificate, or one above it, is not valid now: {problem}; give the device a new one, or look at the server's clock"
    )]
    CertificateExpired {
        /// Since when, or until when.
        problem: String,
    },
    /// The device CA issued it for somebody else.
    #[error(
        "the common names in the device's certificate are {names}; the device CA has to issue it with {device} as the only one, or the fingerprint {presented} has to be registered"
    )]
    CertificateOtherName {
        /// Its id.
        device: String,
        /// The common names in it.
        names: String,
        /// Of what it presented.
        presented: Fingerprint,
    },
    /// Client id and user name differ.
    #[error("the client id names {client_id_device}, the user name {username}; both are to be the device id")]
    NotThisDevice {
        /// From the client id.
        client_id_device: String,
        /// From the user name.
        username: String,
    },
    /// Sign type 1, and the hour is too far from ours.
    #[error(
        "the client id's hour {0} is outside the accepted window; set the device's clock, or use sign type 0"
    )]
    StampOutsideWindow(String),
    /// An operator froze it.
    #[error("the device is frozen and is not let in until an operator unfreezes it")]
    Frozen,
    /// Not now.
    #[error("the platform cannot check credentials now; try again later")]
    Unavailable,
}

impl Refusal {
    /// Stable, snake_case; listed in `docs/errors.md`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Refusal::BadClientId(_) => "bad_client_id",
            Refusal::BadKeepAlive(_) => "bad_keep_alive",
            Refusal::UnknownDevice(_) => "unknown_device",
            Refusal::WrongPassword => "wrong_password",
            Refusal::CertificateNeedsTls => "certificate_needs_tls",
            Refusal::CertificateMissing => "certificate_missing",
            Refusal::CertificateUnknown { .. } => "certificate_unknown",
            Refusal::CertificateNotIssued { .. } => "certificate_not_issued",
            Refusal::CertificateExpired { .. } => "certificate_expired",
            Refusal::CertificateOtherName { .. } => "certificate_other_name",
            Refusal::NotThisDevice { .. } => "not_this_device",
            Refusal::StampOutsideWindow(_) => "stamp_outside_window",
            Refusal::Frozen => "frozen",
            Refusal::Unavailable => "unavailable",
        }
    }
}

fn unknown_certificate(device: &str, presented: &Fingerprint, registered: Option<&Fingerprint>) -> String {
    let expected = match registered {
        Some(registered) => format!("{registered} is registered"),
        None => "none is registered, and no `device_ca` is configured".to_owned(),
    };
    format!(
        "the device presented a certificate with the fingerprint {presented}; {expected}; if that certificate is the device's, send PATCH /api/v1/devices/{device} with it as `fingerprint`"
    )
}

impl Engine {
    /// Checks credentials and opens the session, ending an older one of the device.
    ///
    /// # Errors
    ///
    /// The reason, which is also remembered and shown to operators. `Unavailable` is the only one that the
    /// device should answer by trying again as it is.
    pub async fn connect(&self, request: ConnectRequest<'_>) -> Result<Session, Refusal> {
        let admitted = self.admit(&request).await;
        if let Err(refusal) = &admitted {
            self.note_refusal(request.client_id, request.username, request.peer, refusal);
        }
        admitted
    }

    async fn admit(&self, request: &ConnectRequest<'_>) -> Result<Session, Refusal> {
        let shared = &self.shared;
        if shared.is_out_of_service() {
            return Err(Refusal::Unavailable);
        }
        let revocations = shared.revocations();
        let client_id =
            ClientId::parse(request.client_id).map_err(|e| Refusal::BadClientId(e.to_string()))?;
        let username = request.username.unwrap_or_default();
        if client_id.device.as_str() != username {
            let client_id_device = client_id.device.to_string();
            return Err(Refusal::NotThisDevice { client_id_device, username: clip(username) });
        }
        if client_id.sign_type > 1 {
            let problem = format!("sign type {} is not offered; 0 and 1 are", client_id.sign_type);
            return Err(Refusal::BadClientId(problem));
        }
        let ClientId { device, sign_type, stamp, .. } = &client_id;
        let password = request.password.unwrap_or_default();
        let facts = self.check_credentials(device, *sign_type, stamp, password, request.channel).await?;
        let wall = shared.clock.wall();
        let session = self.begin_session(facts.key, client_id.device.clone(), wall);
        // Frozen or deleted between the look and the session: what ended the sessions then missed this one.
        if shared.revocations() != revocations {
            let now =
                shared.store.connect_facts(&client_id.device).await.map_err(|_| Refusal::Unavailable)?;
            match now {
                None => return Err(Refusal::UnknownDevice(client_id.device.to_string())),
                Some(now) if now.frozen => return Err(Refusal::Frozen),
                Some(now) if now != facts => {
                    // If what it has proved is still enough, it may come again.
                    self.check_proof(&now, device, stamp, password, request.channel)?;
                    return Err(Refusal::Unavailable);
                }
                Some(_) => {}
            }
        }
        // And what ended all sessions.
        if shared.is_out_of_service() {
            return Err(Refusal::Unavailable);
        }
        Ok(session)
    }

    /// What holds on every way in: registered, proved to be the one, not frozen, and in time.
    pub(crate) async fn check_credentials(
        &self,
        device: &DeviceId,
        sign_type: u8,
        stamp: &Stamp,
        password: &[u8],
        channel: Channel<'_>,
    ) -> Result<ConnectFacts, Refusal> {
        let shared = &self.shared;
        let facts = shared.store.connect_facts(device).await.map_err(|error| {
            tracing::warn!(%error, "credentials cannot be checked");
            Refusal::Unavailable
        })?;
        let facts = facts.ok_or_else(|| Refusal::UnknownDevice(device.to_string()))?;
        self.check_proof(&facts, device, stamp, password, channel)?;
        if facts.frozen {
            return Err(Refusal::Frozen);
        }
        if sign_type == 1
            && let Some(window) = &shared.settings.sign_window
            && !window.admits(stamp, shared.clock.wall().0 / 1000)
        {
            return Err(Refusal::StampOutsideWindow(stamp.as_str().to_owned()));
        }
        Ok(facts)
    }

    /// Whether the device with these facts has proved that it is the one.
    fn check_proof(
        &self,
        facts: &ConnectFacts,
        device: &DeviceId,
        stamp: &Stamp,
        password: &[u8],
        channel: Channel<'_>,
    ) -> Result<(), Refusal> {
        let shared = &self.shared;
        match facts.auth {
            Auth::Secret => {
                let sealed = facts.sealed_secret.as_deref().ok_or(Refusal::WrongPassword)?;
                let secret = shared.vault.open(device.as_str(), sealed).map_err(|error| {
                    tracing::error!(device_id = %device, %error, "a device secret cannot be opened; is the master key the right one?");
                    Refusal::Unavailable
                })?;
                if password_matches(&secret, stamp, password) { Ok(()) } else { Err(Refusal::WrongPassword) }
            }
            Auth::X509 => {
                let ca = shared.settings.device_ca.as_ref();
                certificates::check(channel, device, facts, ca, shared.clock.wall())
            }
        }
    }

    fn begin_session(&self, device: otaru_store::DeviceKey, device_id: DeviceId, at: WallTime) -> Session {
        let shared = &self.shared;
        shared.refused.forget(device_id.as_str());
        let epoch = shared.next_epoch();
        let session = SessionInner::new(device, device_id, epoch);
        shared.sessions.open(&session);
        shared.feed.fleet_moved();
        shared.inbox.opened(device, epoch, at);
        shared.settling.add(shared.clock.elapsed() + shared.settings.settle, device, epoch);
        Session::new(shared.clone(), session)
    }

    /// Remembers a refusal.
    pub fn note_refusal(&self, client_id: &str, username: Option<&str>, peer: SocketAddr, refusal: &Refusal) {
        let (code, clipped) = (refusal.code(), clip(client_id));
        match self.shared.refused.log_line(self.shared.clock.elapsed()) {
            LogLine::Said { left_out: 0 } => {
                tracing::info!(client_id = %clipped, %peer, code, "connection refused");
            }
            LogLine::Said { left_out } => tracing::info!(
                client_id = %clipped, %peer, code, left_out,
                "connection refused, as others that were not logged"
            ),
            LogLine::Last => tracing::warn!(
                client_id = %clipped, %peer, code,
                "connection refused, as many lately; further ones are counted and not logged for a while"
            ),
            LogLine::LeftOut => {}
        }
        // Whom the owner would look for: the user name is the device id, if there is one.
        let name = username.filter(|name| !name.is_empty()).unwrap_or(client_id);
        let at = self.shared.clock.wall();
        self.shared.refused.note(RefusedConnection {
            name: clip(name),
            client_id: clipped,
            peer: peer.to_string(),
            code,
            message: refusal.to_string(),
            first_at: at,
            last_at: at,
            times: 1,
        });
    }

    /// The refusals of the last while, the latest first, one entry per name.
    #[must_use]
    pub fn refused_connections(&self) -> Vec<RefusedConnection> {
        self.shared.refused.all()
    }
}

/// Someone who was not let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusedConnection {
    /// The user name, or the client id if there was none.
    pub name: String,
    /// As sent.
    pub client_id: String,
    /// From where, the last time.
    pub peer: String,
    /// Why, as a stable word.
    pub code: &'static str,
    /// Why, and what to do.
    pub message: String,
    /// The first time since it last got in or was forgotten, in milliseconds since 1970.
    pub first_at: WallTime,
    /// The last time, in milliseconds since 1970.
    pub last_at: WallTime,
    /// How often.
    pub times: u64,
}

/// The refusals of the last while. Bounded: the name that was refused longest ago makes room.
#[derive(Default)]
pub(crate) struct RefusedConnections {
    seen: Mutex<Refused>,
    log: Mutex<LogWindow>,
}

/// What has been logged of refusals in the present window.
#[derive(Default)]
struct LogWindow {
    /// `None`: nobody was refused yet.
    ends: Option<Duration>,
    said: u32,
    left_out: u64,
}

/// What becomes of one refusal in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LogLine {
    /// A line, and how many had none in the window before.
    Said { left_out: u64 },
    /// A line that says that it is the last one for a while.
    Last,
    /// None.
    LeftOut,
}

#[derive(Default)]
struct Refused {
    /// With the number of its last refusal.
    by_name: BTreeMap<String, (u64, RefusedConnection)>,
    /// Names by the number of their last refusal.
    order: BTreeMap<u64, String>,
    next: u64,
}

impl RefusedConnections {
    pub(crate) fn note(&self, refused: RefusedConnection) {
        let mut seen = self.lock();
        let (number, name) = (seen.next, refused.name.clone());
        seen.next += 1;
        let refused = match seen.by_name.remove(&name) {
            Some((last, known)) => {
                seen.order.remove(&last);
                RefusedConnection { first_at: known.first_at, times: known.times + 1, ..refused }
            }
            None => refused,
        };
        if seen.by_name.len() >= REFUSED_MAX
            && let Some((_, oldest)) = seen.order.pop_first()
        {
            seen.by_name.remove(&oldest);
        }
        seen.order.insert(number, name.clone());
        seen.by_name.insert(name, (number, refused));
    }

    /// One more was refused at `now`: whether that is logged.
    fn log_line(&self, now: Duration) -> LogLine {
        let mut window = self.log.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if window.ends.is_none_or(|ends| now >= ends) {
            let left_out = window.left_out;
            *window = LogWindow { ends: Some(now + REFUSALS_LOGGED_WINDOW), said: 1, left_out: 0 };
            return LogLine::Said { left_out };
        }
        if window.said >= REFUSALS_LOGGED_MAX {
            window.left_out += 1;
            return LogLine::LeftOut;
        }
        window.said += 1;
        if window.said == REFUSALS_LOGGED_MAX { LogLine::Last } else { LogLine::Said { left_out: 0 } }
    }

    pub(crate) fn of(&self, name: &str) -> Option<RefusedConnection> {
        self.lock().by_name.get(name).map(|(_, refused)| refused.clone())
    }

    /// It got in.
    pub(crate) fn forget(&self, name: &str) {
        let mut seen = self.lock();
        if let Some((number, _)) = seen.by_name.remove(name) {
            seen.order.remove(&number);
        }
    }

    fn all(&self) -> Vec<RefusedConnection> {
        let seen = self.lock();
        let latest_first = seen.order.values().rev();
        latest_first.filter_map(|name| seen.by_name.get(name)).map(|(_, refused)| refused.clone()).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Refused> {
        self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// At most 256 characters of what a stranger sent.
fn clip(text: &str) -> String {
    text.chars().take(256).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_per_name_and_bounded() {
        let refused = RefusedConnections::default();
        for number in 0..REFUSED_MAX + 5 {
            refused.note(refusal(&format!("device{number}"), i64::try_from(number).unwrap()));
        }
        refused.note(refusal("device900", 9_999));
        assert_eq!(refused.all().len(), REFUSED_MAX);
        assert_eq!(refused.all()[0].name, "device900");
        let twice = refused.of("device900").unwrap();
        assert_eq!((twice.times, twice.first_at, twice.last_at), (2, WallTime(900), WallTime(9_999)));
        assert_eq!(refused.of("device0"), None, "the oldest made room");
        // Whoever is refused again and again is there for as long as that goes on.
        for number in 0..REFUSED_MAX * 2 {
            refused.note(refusal(&format!("stranger{number}"), 10_000));
            refused.note(refusal("device900", 10_000));
        }
        assert_eq!(refused.of("device900").unwrap().times, 2 + REFUSED_MAX as u64 * 2);
        assert_eq!(refused.all().len(), REFUSED_MAX);
        refused.forget("device900");
        assert_eq!(refused.of("device900"), None);
    }

    #[test]
    fn strangers_cannot_fill_the_log_and_the_next_line_says_how_many_it_left_out() {
        let (refused, start) = (RefusedConnections::default(), Duration::from_secs(7));
        let lines: Vec<LogLine> = (0..100_000).map(|_| refused.log_line(start)).collect();
        let (said, left_out) = lines.split_at(REFUSALS_LOGGED_MAX as usize);
        let (last, whole) = said.split_last().unwrap();
        assert!(whole.iter().all(|line| *line == LogLine::Said { left_out: 0 }), "{whole:?}");
        assert_eq!(*last, LogLine::Last);
        assert!(left_out.iter().all(|line| *line == LogLine::LeftOut));
        let later = start + REFUSALS_LOGGED_WINDOW;
        assert_eq!(
            refused.log_line(later),
            LogLine::Said { left_out: u64::try_from(left_out.len()).unwrap() }
        );
        assert_eq!(refused.log_line(later), LogLine::Said { left_out: 0 }, "said once");
    }

    #[test]
    fn a_few_mistakes_of_devices_are_all_logged() {
        let refused = RefusedConnections::default();
        let mut one_a_second = (0..3600).map(Duration::from_secs);
        assert!(one_a_second.all(|now| refused.log_line(now) == LogLine::Said { left_out: 0 }));
    }

    fn refusal(name: &str, at: i64) -> RefusedConnection {
        RefusedConnection {
            name: name.into(),
            client_id: name.into(),
            peer: "127.0.0.1:1".into(),
            code: "unknown_device",
            message: String::new(),
            first_at: WallTime(at),
            last_at: WallTime(at),
            times: 1,
        }
    }
}
