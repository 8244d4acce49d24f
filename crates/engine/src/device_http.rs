//! Devices that speak over HTTP: a token instead of a session, and an answer instead of a PUBACK.
//!
//! Always true:
//! - A message is answered for only once everything that follows from it is stored.
//! - A token is worth nothing once its device is frozen, deleted or given another secret. Nothing is stored for it.
//! - Speaking here connects nobody: no session is taken over, and nothing is said to the device.
//!
//! Not here: what a message means; it takes the same way as one that came over MQTT.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use otaru_core::WallTime;
use otaru_proto::{DeviceId, Stamp};
use otaru_store::{ConnectFacts, DeviceKey};
use sha2::Sha256;

use crate::certificates::Channel;
use crate::connect::Refusal;
use crate::downloads::from_hex;
use crate::driver::{Engine, Shared};
use crate::inbox::{Uplink, UplinkReading};
use crate::limits::HTTP_AUDITS_REMEMBERED;
use crate::sessions::{Delivery, Session, SessionInner};

/// What a device sends to get a token.
#[derive(Clone, Copy, Debug)]
pub struct DeviceAuth<'a> {
    /// Who it is.
    pub device_id: &'a str,
    /// 0: the timestamp is not looked at. 1: it must be recent.
    pub sign_type: i64,
    /// The hour that keys the password, `YYYYMMDDHH`.
    pub timestamp: &'a str,
    /// The keyed hash, made as for MQTT.
    pub password: &'a str,
    /// From where.
    pub peer: SocketAddr,
}

/// What a device gets, to speak with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceToken {
    /// To be sent with each message.
    pub access_token: String,
    /// How long it is good for.
    pub expires_in: Duration,
}

/// Why a device that speaks over HTTP is not heard.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceHttpError {
    /// A member that cannot be what it should.
    #[error("`{member}`: {problem}")]
    Invalid {
        /// Which one.
        member: &'static str,
        /// What it is, and what is accepted.
        problem: String,
    },
    /// Its credentials are refused.
    #[error("{}", refused_over_http(.0))]
    Refused(Refusal),
    /// No token came.
    #[error("there is none; send the access_token of POST /v5/device-auth in the header `access_token`")]
    NoToken,
    /// Not ours, or not this device's, or it was withdrawn.
    #[error(
        "it is not one of this device, or the device was frozen, deleted or given another secret since; get a new one with POST /v5/device-auth"
    )]
    BadToken,
    /// Its time is over.
    #[error("its time is over; get a new one with POST /v5/device-auth")]
    Expired,
    /// More than the permitted rate.
    #[error("the device sends more than {per_second} requests a second; wait, then send this one again")]
    TooFast {
        /// What may be kept up.
        per_second: u32,
    },
    /// The store is out, or the platform ends. Nothing can be said of what was sent: send it again.
    #[error("the platform cannot store messages now; send this one again later")]
    Unavailable,
}

/// A refusal in the words of this way in, which has no client id.
fn refused_over_http(refusal: &Refusal) -> String {
    match refusal {
        // Who guesses must not learn which devices exist, nor which of them have certificates instead; the operator finds
        // the rest where refused connections are listed.
        Refusal::WrongPassword | Refusal::UnknownDevice(_) | Refusal::CertificateNeedsTls => "device id or password is wrong; the password is the lower-case hex HMAC-SHA256 with `timestamp` as key and the device's secret as message".into(),
        Refusal::StampOutsideWindow(stamp) => format!(
            "`timestamp` {stamp} is outside the accepted window; set the device's clock, or use sign type 0"
        ),
        Refusal::BadClientId(_)
        | Refusal::BadKeepAlive(_)
        | Refusal::NotThisDevice { .. }
        | Refusal::CertificateMissing
        | Refusal::CertificateUnknown { .. }
        | Refusal::CertificateNotIssued { .. }
        | Refusal::CertificateExpired { .. }
        | Refusal::CertificateOtherName { .. }
        | Refusal::Frozen
        | Refusal::Unavailable => refusal.to_string(),
    }
}

impl Engine {
    /// Checks a device's credentials, by the rules for MQTT, and makes it a token.
    ///
    /// Tokens made before stay good until their own end.
    ///
    /// # Errors
    ///
    /// `Invalid`, `Refused`, which is also remembered and shown to operators, `TooFast` or `Unavailable`.
    pub async fn device_token(&self, auth: DeviceAuth<'_>) -> Result<DeviceToken, DeviceHttpError> {
        let shared = &self.shared;
        if shared.is_out_of_service() {
            return Err(DeviceHttpError::Unavailable);
        }
        let invalid = |member, problem| DeviceHttpError::Invalid { member, problem };
        let device = DeviceId::parse(auth.device_id).map_err(|e| invalid("device_id", e.to_string()))?;
        let sign_type = u8::try_from(auth.sign_type).ok().filter(|sign_type| *sign_type <= 1);
        let sign_type = sign_type
            .ok_or_else(|| invalid("sign_type", format!("{} is not offered; 0 and 1 are", auth.sign_type)))?;
        let stamp = Stamp::parse(auth.timestamp).map_err(|e| invalid("timestamp", e.to_string()))?;
        let checked = self
            .check_credentials(&device, sign_type, &stamp, auth.password.as_bytes(), Channel::Plain)
            .await;
        let facts = checked.map_err(|refusal| self.refuse(&device, sign_type, &stamp, auth.peer, refusal))?;
        shared.may_speak(facts.key)?;
        shared.refused.forget(device.as_str());
        let life = shared.settings.device_token_life;
        let life_ms = i64::try_from(life.as_millis()).unwrap_or(i64::MAX);
        let expires_at = WallTime(shared.clock.wall().0.saturating_add(life_ms));
        let access_token =
            shared.device_tokens.make(&facts, expires_at).ok_or(DeviceHttpError::Unavailable)?;
        Ok(DeviceToken { access_token, expires_in: life })
    }

    fn refuse(
        &self,
        device: &DeviceId,
        sign_type: u8,
        stamp: &Stamp,
        peer: SocketAddr,
        refusal: Refusal,
    ) -> DeviceHttpError {
        // Operators look for the device, and see the client id that it would have had over MQTT.
        let client_id = format!("{device}_0_{sign_type}_{stamp}");
        self.note_refusal(&client_id, Some(device.as_str()), peer, &refusal);
        match refusal {
            Refusal::Unavailable => DeviceHttpError::Unavailable,
            Refusal::BadClientId(_)
            | Refusal::BadKeepAlive(_)
            | Refusal::UnknownDevice(_)
            | Refusal::WrongPassword
            | Refusal::NotThisDevice { .. }
            | Refusal::StampOutsideWindow(_)
            | Refusal::CertificateNeedsTls
            | Refusal::CertificateMissing
            | Refusal::CertificateUnknown { .. }
            | Refusal::CertificateNotIssued { .. }
            | Refusal::CertificateExpired { .. }
            | Refusal::CertificateOtherName { .. }
            | Refusal::Frozen => DeviceHttpError::Refused(refusal),
        }
    }

    /// Lets a device with a token say one thing. Call it before reading what it says: it waits until there is room.
    ///
    /// # Errors
    ///
    /// `NoToken`, `BadToken`, `Expired`, `TooFast` or `Unavailable`.
    pub async fn device_visit(
        &self,
        device_id: &str,
        token: Option<&str>,
    ) -> Result<DeviceVisit, DeviceHttpError> {
        let shared = &self.shared;
        let gave_up = shared.gave_up.notified();
        tokio::pin!(gave_up);
        gave_up.as_mut().enable();
        if shared.is_out_of_service() {
            return Err(DeviceHttpError::Unavailable);
        }
        let revocations = shared.revocations();
        let token = token.filter(|t| !t.is_empty()).ok_or(DeviceHttpError::NoToken)?;
        let device = DeviceId::parse(device_id).map_err(|_| DeviceHttpError::BadToken)?;
        let facts = shared.facts_of(&device).await?;
        let facts = facts.filter(|facts| !facts.frozen).ok_or(DeviceHttpError::BadToken)?;
        let expires_at = shared.device_tokens.check(&facts, token).ok_or(DeviceHttpError::BadToken)?;
        if expires_at <= shared.clock.wall() {
            return Err(DeviceHttpError::Expired);
        }
        let audited = shared.may_speak(facts.key)?;
        tokio::select! {
            biased;
            () = shared.inbox.room() => {}
            () = gave_up => return Err(DeviceHttpError::Unavailable),
        }
        let session = SessionInner::continuing(facts.key, device, shared.next_request(), audited);
        let session = Session::new(shared.clone(), session);
        Ok(DeviceVisit { shared: shared.clone(), session, facts, revocations })
    }
}

impl Shared {
    async fn facts_of(&self, device: &DeviceId) -> Result<Option<ConnectFacts>, DeviceHttpError> {
        self.store.connect_facts(device).await.map_err(|error| {
            tracing::warn!(%error, "a device's token cannot be checked");
            DeviceHttpError::Unavailable
        })
    }

    /// Counts a request of a device, unless it is one too many. Answers with what it has caused in the audit log.
    fn may_speak(&self, device: DeviceKey) -> Result<Arc<AtomicU32>, DeviceHttpError> {
        let (per_second, burst) = self.settings.http_rate;
        let counted = self.http_devices.count(device, (per_second, burst), self.clock.elapsed());
        counted.ok_or(DeviceHttpError::TooFast { per_second })
    }
}

/// A device that may say one thing.
///
/// Behind it is a session that nobody knows of: it is not among the connected ones, so that it has no downlinks,
/// and its end means nothing.
pub struct DeviceVisit {
    shared: Arc<Shared>,
    session: Session,
    /// What the token was good for, and how many revocations there had been before.
    facts: ConnectFacts,
    revocations: i64,
}

/// The ticket of the only message of a visit.
const TICKET: u16 = 1;

impl DeviceVisit {
    /// Hands over what was said, and returns once it is stored or deliberately not kept.
    ///
    /// # Errors
    ///
    /// `BadToken`: the device was frozen, deleted or given another secret since the visit began. `Unavailable`: it may
    /// or may not be stored; the device has to send it again.
    pub async fn says(mut self, payload: Bytes, reading: UplinkReading) -> Result<(), DeviceHttpError> {
        // A slow sender may take long to say it. Something may be withdrawn while we look, too: looked at again.
        loop {
            let revocations = self.shared.revocations();
            if revocations == self.revocations {
                break;
            }
            if self.shared.facts_of(self.session.device_id()).await?.as_ref() != Some(&self.facts) {
                return Err(DeviceHttpError::BadToken);
            }
            self.revocations = revocations;
        }
        // Registered before looking, and before handing over, so that no end is missed.
        let gave_up = self.shared.gave_up.notified();
        tokio::pin!(gave_up);
        gave_up.as_mut().enable();
        if self.shared.is_out_of_service() {
            return Err(DeviceHttpError::Unavailable);
        }
        self.session.submit(vec![Uplink { ticket: Some(TICKET), payload, reading }]);
        let mut mail = Vec::new();
        let stored = async {
            while !mail.contains(&Delivery::Acknowledge(TICKET)) {
                self.session.deliveries(&mut mail).await;
            }
        };
        tokio::select! {
            biased;
            () = stored => Ok(()),
            () = gave_up => Err(DeviceHttpError::Unavailable),
        }
    }
}

/// Makes and checks the tokens of devices: `expiry.mac`, the mac over the registration, its secret and the expiry.
pub(crate) struct DeviceTokens {
    key: [u8; 32],
}

impl DeviceTokens {
    pub(crate) fn new(key: [u8; 32]) -> DeviceTokens {
        DeviceTokens { key }
    }

    /// `None` for a device without a secret.
    fn make(&self, facts: &ConnectFacts, expires_at: WallTime) -> Option<String> {
        // Rounded up: not earlier than the device is told.
        let expires_secs = expires_at.0.saturating_add(999) / 1000;
        let mac = self.mac(facts, expires_secs)?.finalize().into_bytes();
        let mut token = format!("{expires_secs}.");
        for byte in mac {
            token.push_str(&format!("{byte:02x}"));
        }
        Some(token)
    }

    /// When the token ends, if it is one of ours for this device as it is now. Compared in constant time.
    fn check(&self, facts: &ConnectFacts, token: &str) -> Option<WallTime> {
        let (expires_secs, given) = token.split_once('.')?;
        let expires_secs: i64 = expires_secs.parse().ok()?;
        let expires_at = WallTime(expires_secs.checked_mul(1000)?);
        self.mac(facts, expires_secs)?.verify_slice(&from_hex(given)?).ok().map(|()| expires_at)
    }

    /// A registration has its own key, and a secret is sealed anew whenever it is set.
    fn mac(&self, facts: &ConnectFacts, expires_secs: i64) -> Option<Hmac<Sha256>> {
        let sealed = facts.sealed_secret.as_deref()?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.update(&facts.key.0.to_be_bytes());
        mac.update(&expires_secs.to_be_bytes());
        mac.update(sealed);
        Some(mac)
    }
}

/// How fast devices speak over HTTP, and what they have caused. Only who spoke a moment ago, or tried something.
#[derive(Default)]
pub(crate) struct HttpDevices {
    seen: Mutex<BTreeMap<DeviceKey, HttpDevice>>,
}

struct HttpDevice {
    /// When the requests so far would have been made at the permitted rate.
    due: Duration,
    last: Duration,
    audited: Arc<AtomicU32>,
}

impl HttpDevices {
    /// Counts a request, unless it is one too many.
    fn count(
        &self,
        device: DeviceKey,
        (per_second, burst): (u32, u32),
        now: Duration,
    ) -> Option<Arc<AtomicU32>> {
        let mut seen = self.lock();
        let known =
            seen.entry(device).or_insert_with(|| HttpDevice { due: now, last: now, audited: Arc::default() });
        known.last = now;
        if per_second > 0 && burst > 0 {
            let interval = Duration::from_secs(1) / per_second;
            let from = known.due.max(now);
            if from - now > interval * (burst - 1) {
                return None;
            }
            known.due = from + interval;
        }
        Some(known.audited.clone())
    }

    /// Drops those of whom there is nothing to remember.
    pub(crate) fn tidy(&self, now: Duration) {
        self.lock().retain(|_, known| {
            let is_under_way = Arc::strong_count(&known.audited) > 1;
            let has_tried = known.audited.load(Ordering::Relaxed) > 0;
            known.due > now
                || is_under_way
                || (has_tried && now.saturating_sub(known.last) < HTTP_AUDITS_REMEMBERED)
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<DeviceKey, HttpDevice>> {
        self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: WallTime = WallTime(1_800_000_000_000);
    const DEVICE: DeviceKey = DeviceKey(7);

    fn facts(key: i64, sealed: &[u8]) -> ConnectFacts {
        ConnectFacts {
            key: DeviceKey(key),
            product_id: "p".into(),
            sealed_secret: Some(sealed.to_vec()),
            frozen: false,
            is_gateway: false,
            gateway: None,
            auth: otaru_store::Auth::Secret,
            fingerprint: None,
        }
    }

    #[test]
    fn a_token_is_for_one_registration_one_secret_and_one_end() {
        let tokens = DeviceTokens::new([7; 32]);
        let device = facts(7, b"sealed");
        let token = tokens.make(&device, END).unwrap();
        assert!((32..=256).contains(&token.len()), "the published length: {}", token.len());
        assert_eq!(tokens.check(&device, &token), Some(END));
        assert_eq!(tokens.check(&facts(8, b"sealed"), &token), None, "another registration");
        assert_eq!(tokens.check(&facts(7, b"sealed anew"), &token), None, "another secret");
        let later = token.replacen("1800000000", "1900000000", 1);
        assert_eq!(tokens.check(&device, &later), None, "a longer life");
        assert_eq!(DeviceTokens::new([8; 32]).check(&device, &token), None, "another key");
        for garbage in
            ["", ".", "1.2", "1800000000.zz", "9223372036854775807.00", "1800000000.\u{e9}", &"9".repeat(500)]
        {
            assert_eq!(tokens.check(&device, garbage), None, "{garbage:?}");
        }
        let child = ConnectFacts { sealed_secret: None, ..device };
        assert_eq!(tokens.make(&child, END), None, "who has no secret has no token");
    }

    #[test]
    fn the_burst_passes_at_once_and_then_the_rate_holds() {
        let devices = HttpDevices::default();
        let passes = |ms| devices.count(DEVICE, (50, 3), Duration::from_millis(ms)).is_some();
        assert_eq!([passes(0), passes(0), passes(0), passes(0)], [true, true, true, false]);
        assert!(!passes(19), "a refused one costs nothing, and gives nothing back");
        assert!(passes(20));
        assert!(devices.count(DeviceKey(8), (50, 3), Duration::ZERO).is_some(), "each has its own");
        assert_eq!([passes(3_600_000); 1], [true]);
        assert!((0..500).all(|_| devices.count(DEVICE, (0, 3), Duration::ZERO).is_some()), "0 is no limit");
    }

    #[test]
    fn who_has_tried_something_is_remembered_longer() {
        let devices = HttpDevices::default();
        let audited = devices.count(DEVICE, (50, 3), Duration::ZERO).unwrap();
        devices.tidy(Duration::from_secs(10));
        assert_eq!(devices.lock().len(), 1, "its request is still under way");
        audited.store(3, Ordering::Relaxed);
        drop(audited);
        devices.tidy(Duration::from_secs(3599));
        let again = devices.count(DEVICE, (50, 3), Duration::from_secs(3599)).unwrap();
        assert_eq!(again.load(Ordering::Relaxed), 3);
        drop(again);
        devices.tidy(Duration::from_secs(2 * 3600));
        assert_eq!(devices.lock().len(), 0);
    }
}
