//! Downloads: who may have which bytes, and which devices are at it.
//!
//! Always true:
//! - A token is bound to one deployment, one attempt and an end; nothing secret is stored for it.
//! - A token is worth nothing once its deployment has ended, or a new attempt has begun.
//! - A complete download is written once; what leads to it is counted in memory only.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use otaru_core::deployment::Label;
use otaru_core::limits::DOWNLOAD_QUIET_MS;
use otaru_core::{Epoch, ServiceTime, WallTime};
use otaru_store::{BlobReader, DeploymentKey, DeploymentRow, DeviceKey, PackageRow, StoreError};
use serde::Serialize;
use sha2::Sha256;

use crate::coverage::Coverage;
use crate::driver::{Engine, Shared};
use crate::errors::{Faulty, Kind};
use crate::ids::{deployment_id, deployment_key};
use crate::inbox::Input;
use crate::limits::{DOWNLOAD_REMEMBERED, DOWNLOADS_REMEMBERED_MAX};

/// Bytes that a device may have now.
pub struct Download {
    /// Their SHA-256.
    pub artifact_id: String,
    /// How many.
    pub size_bytes: u64,
    /// What the device is told they are called.
    pub file_name: String,
    /// The bytes.
    pub reader: BlobReader,
    /// Count what is served with this; dropping it says that the request is over.
    pub tally: DownloadTally,
}

/// Why a device does not get the bytes.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// Nothing to check.
    #[error(
        "no token; send the notice's access_token as `Authorization: Bearer TOKEN` or `?access_token=TOKEN`"
    )]
    NoToken,
    /// Not one of ours, or of another deployment.
    #[error("this token is not for this download")]
    BadToken,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// The deployment has ended, or another attempt has begun.
    #[error("the upgrade that this token belongs to is over")]
    Finished,
    /// There is no such deployment.
    #[error("there is no such download")]
    Unknown,
    /// The bytes are not where they should be.
    #[error("the package's bytes are missing")]
    BytesMissing,
    /// Try again later.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Try again later.
    #[error("the artifact cannot be read")]
    Blob(#[from] otaru_store::BlobError),
}

impl Faulty for DownloadError {
    fn code(&self) -> &'static str {
        match self {
            DownloadError::NoToken => "download_token_missing",
            DownloadError::BadToken => "download_token_invalid",
            DownloadError::Expired => "download_token_expired",
            DownloadError::Finished => "download_over",
            DownloadError::Unknown => "not_found",
            DownloadError::BytesMissing => "internal",
            DownloadError::Store(error) => error.code(),
            DownloadError::Blob(_) => "unavailable",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            DownloadError::NoToken | DownloadError::BadToken => Kind::Unauthorized,
            DownloadError::Expired | DownloadError::Finished => Kind::Forbidden,
            DownloadError::Unknown => Kind::NotFound,
            DownloadError::BytesMissing => Kind::Internal,
            DownloadError::Store(error) => error.kind(),
            DownloadError::Blob(_) => Kind::Unavailable,
        }
    }
}

impl Engine {
    /// Opens the bytes that a device was told to fetch.
    ///
    /// `token` is what came as a bearer token or as `access_token`. May be called again with the same token, for
    /// a retry or another range, until the deployment ends or the token expires.
    ///
    /// # Errors
    ///
    /// Says whether the token, the time or the deployment is the reason; see [`DownloadError`].
    pub async fn download(&self, deployment: &str, token: Option<&str>) -> Result<Download, DownloadError> {
        let shared = &self.shared;
        let token = token.filter(|t| !t.is_empty()).ok_or(DownloadError::NoToken)?;
        let key = deployment_key(deployment).ok_or(DownloadError::Unknown)?;
        let record = shared.store.deployment(key).await?.ok_or(DownloadError::Unknown)?;
        if deployment_id(record.row.created_at, record.row.key) != deployment {
            return Err(DownloadError::Unknown);
        }
        let claim = shared.download_tokens.check(deployment, token).ok_or(DownloadError::BadToken)?;
        if claim.expires_at <= shared.clock.wall() {
            return Err(DownloadError::Expired);
        }
        let state = &record.row.deployment;
        let is_told = matches!(state.label(), Label::Offered | Label::Running | Label::Confirming);
        if !is_told || claim.attempt != state.attempt {
            return Err(DownloadError::Finished);
        }
        let campaign =
            shared.store.campaign_by_key(record.row.campaign).await?.ok_or(DownloadError::Unknown)?.0;
        let package = state.package.and_then(|index| campaign.packages.get(usize::from(index)));
        let package: &Arc<PackageRow> = package.ok_or(DownloadError::Unknown)?;
        let (artifact_id, size_bytes) = package.content.artifact().ok_or(DownloadError::BytesMissing)?;
        let reader = shared.blobs.open(artifact_id).await?.ok_or(DownloadError::BytesMissing)?;
        Ok(Download {
            artifact_id: artifact_id.to_owned(),
            size_bytes,
            file_name: package.file_name.clone(),
            reader,
            tally: DownloadTally::begin(shared.clone(), &record.row, size_bytes),
        })
    }
}

/// What a token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) attempt: u32,
    pub(crate) expires_at: WallTime,
}

/// Makes and checks download tokens: `attempt.expiry.mac`, the mac over deployment, attempt and expiry.
pub(crate) struct DownloadTokens {
    key: [u8; 32],
}

impl DownloadTokens {
    pub(crate) fn new(key: [u8; 32]) -> DownloadTokens {
        DownloadTokens { key }
    }

    pub(crate) fn make(&self, deployment: &str, claim: Claim) -> String {
        let mac = self.mac(deployment, claim).finalize().into_bytes();
        let mut token = format!("{}.{}.", claim.attempt, claim.expires_at.0 / 1000);
        for byte in mac {
            token.push_str(&format!("{byte:02x}"));
        }
        token
    }

    /// What the token says, if it is one of ours for this deployment. Compared in constant time.
    pub(crate) fn check(&self, deployment: &str, token: &str) -> Option<Claim> {
        let mut parts = token.split('.');
        let attempt = parts.next()?.parse().ok()?;
        let expires_secs: i64 = parts.next()?.parse().ok()?;
        let given = from_hex(parts.next()?)?;
        if parts.next().is_some() {
            return None;
        }
        let claim = Claim { attempt, expires_at: WallTime(expires_secs.checked_mul(1000)?) };
        self.mac(deployment, claim).verify_slice(&given).ok().map(|()| claim)
    }

    fn mac(&self, deployment: &str, claim: Claim) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.update(deployment.as_bytes());
        mac.update(&claim.attempt.to_be_bytes());
        mac.update(&(claim.expires_at.0 / 1000).to_be_bytes());
        mac
    }
}

pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 64 {
        return None;
    }
    let digits = text.as_bytes().chunks_exact(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// Which deployments are downloading, or were since this process started, and how far they came.
///
/// What is here is in memory and lost with the process: what outlasts it is said once, by `Input::Fetched`.
pub(crate) struct DownloadActivity {
    seen: Mutex<BTreeMap<DeploymentKey, Activity>>,
    /// The first session since which nothing that could still be of use was missed or forgotten.
    watched_since: AtomicI64,
}

#[derive(Clone, Debug)]
struct Activity {
    attempt: u32,
    in_flight: u32,
    /// The deployment has ended; the entry goes with its last request.
    is_over: bool,
    last: ServiceTime,
    last_at: WallTime,
    size_bytes: u64,
    covered: Coverage,
}

impl Activity {
    fn is_whole(&self) -> bool {
        self.covered.is_whole(self.size_bytes)
    }
}

/// How far a device came with its package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DownloadView {
    /// Different bytes that were served for this attempt; of one that was not complete, since the platform started.
    pub bytes: u64,
    /// How many there are.
    pub size_bytes: u64,
    /// Whole percent; 100 only if all of it was served.
    pub percent: u8,
    /// A request is being answered now.
    pub in_flight: bool,
    /// That all of it was served is stored, and outlasts this process.
    pub is_stored: bool,
    /// When the last byte was served; unknown after a restart, and once the deployment has ended.
    pub last_at: Option<WallTime>,
}

/// What a step wants to know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// When the device last asked for bytes; now, while it is being served.
    pub(crate) last: Option<ServiceTime>,
    /// As in `Circumstances`.
    pub(crate) watched_since: Option<Epoch>,
}

/// Has watched nothing, and so knows nothing about any attempt.
impl Default for DownloadActivity {
    fn default() -> DownloadActivity {
        DownloadActivity::watched_since(Epoch(i64::MAX))
    }
}

impl DownloadActivity {
    /// Nothing has been served yet by this process, whose first session is `first`.
    pub(crate) fn watched_since(first: Epoch) -> DownloadActivity {
        DownloadActivity { seen: Mutex::default(), watched_since: AtomicI64::new(first.0) }
    }

    pub(crate) fn seen(&self, deployment: DeploymentKey, now: ServiceTime) -> Seen {
        let seen = self.lock();
        let since = Epoch(self.watched_since.load(Ordering::Relaxed));
        match seen.get(&deployment) {
            Some(activity) => Seen {
                last: Some(if activity.in_flight > 0 { now } else { activity.last }),
                // All of it was served and that is not stored yet, or never will be because the store was out for
                // too long: nobody may say that it was not.
                watched_since: (!activity.covered.is_patchy() && !activity.is_whole()).then_some(since),
            },
            None => Seen { last: None, watched_since: Some(since) },
        }
    }

    /// How far this attempt of a deployment came; `None` if nothing was asked for. `is_fetched` is what is stored.
    pub(crate) fn view(
        &self,
        deployment: DeploymentKey,
        attempt: u32,
        is_fetched: bool,
        size_bytes: u64,
    ) -> Option<DownloadView> {
        let seen = self.lock();
        let activity = seen.get(&deployment).filter(|activity| activity.attempt == attempt);
        let served = activity.map_or(0, |activity| activity.covered.bytes().min(size_bytes));
        let bytes = if is_fetched { size_bytes } else { served };
        let in_flight = activity.is_some_and(|activity| activity.in_flight > 0);
        (bytes > 0 || in_flight).then(|| DownloadView {
            bytes,
            size_bytes,
            percent: percent(bytes, size_bytes),
            in_flight,
            is_stored: is_fetched,
            last_at: activity.map(|activity| activity.last_at).filter(|_| served > 0),
        })
    }

    /// The deployment has ended. Its entry goes, unless bytes are still under way.
    pub(crate) fn forget(&self, deployment: DeploymentKey) {
        let mut seen = self.lock();
        if let Some(activity) = seen.get_mut(&deployment) {
            activity.is_over = true;
            if activity.in_flight == 0 {
                seen.remove(&deployment);
            }
        }
    }

    /// Drops entries that nobody asks for any more, and, past the limit, those that are quiet. `next` makes the epoch
    /// from which on nothing was forgotten.
    pub(crate) fn tidy(&self, now: ServiceTime, next: impl FnOnce() -> Epoch) {
        let mut seen = self.lock();
        let kept_for = if seen.len() > DOWNLOADS_REMEMBERED_MAX {
            Duration::from_millis(DOWNLOAD_QUIET_MS)
        } else {
            DOWNLOAD_REMEMBERED
        };
        let mut misses_something = false;
        seen.retain(|_, activity| {
            let stays = activity.in_flight > 0 || activity.last.after(kept_for) > now;
            misses_something |= !stays && activity.covered.bytes() > 0 && !activity.is_whole();
            stays
        });
        if misses_something {
            self.watched_since.store(next().0, Ordering::Relaxed);
        }
    }

    fn begin(&self, key: DeploymentKey, attempt: u32, size_bytes: u64, now: ServiceTime, wall: WallTime) {
        let mut seen = self.lock();
        let covered = Coverage::default();
        let fresh =
            Activity { attempt, in_flight: 0, is_over: false, last: now, last_at: wall, size_bytes, covered };
        let activity = seen.entry(key).or_insert_with(|| fresh.clone());
        if activity.attempt != attempt {
            // What is still under way for the last attempt is counted no more, but it ends like any other request.
            *activity = Activity { in_flight: activity.in_flight, ..fresh };
        }
        activity.in_flight += 1;
        activity.last = now;
    }

    /// Answers whether these bytes made it whole.
    fn add(
        &self,
        key: DeploymentKey,
        attempt: u32,
        served: Range<u64>,
        now: ServiceTime,
        wall: WallTime,
    ) -> bool {
        let mut seen = self.lock();
        let Some(activity) = seen.get_mut(&key) else { return false };
        activity.last = now;
        if activity.attempt != attempt || activity.is_whole() {
            return false;
        }
        activity.last_at = wall;
        activity.covered.add(served);
        activity.is_whole()
    }

    fn end(&self, key: DeploymentKey, now: ServiceTime) {
        let mut seen = self.lock();
        if let Some(activity) = seen.get_mut(&key) {
            activity.last = now;
            activity.in_flight = activity.in_flight.saturating_sub(1);
            if activity.is_over && activity.in_flight == 0 {
                seen.remove(&key);
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<DeploymentKey, Activity>> {
        self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Rounded down, so that 100 means all of it.
fn percent(bytes: u64, size_bytes: u64) -> u8 {
    let percent = u128::from(bytes) * 100 / u128::from(size_bytes.max(1));
    u8::try_from(percent.min(100)).unwrap_or(100)
}

/// Counts the bytes of one request.
pub struct DownloadTally {
    shared: Arc<Shared>,
    device: DeviceKey,
    deployment: DeploymentKey,
    attempt: u32,
}

impl DownloadTally {
    fn begin(shared: Arc<Shared>, row: &DeploymentRow, size_bytes: u64) -> DownloadTally {
        let (device, deployment, attempt) = (row.device, row.key, row.deployment.attempt);
        shared.downloads.begin(deployment, attempt, size_bytes, shared.service.now(), shared.clock.wall());
        DownloadTally { shared, device, deployment, attempt }
    }

    /// These bytes of the file were given to the socket. Any of them may come again. When none is missing any more,
    /// that is stored with the next batch, once.
    pub fn add(&self, served: Range<u64>) {
        let shared = &self.shared;
        let (now, wall) = (shared.service.now(), shared.clock.wall());
        if shared.downloads.add(self.deployment, self.attempt, served, now, wall) {
            let (device, deployment, attempt) = (self.device, self.deployment, self.attempt);
            shared.inbox.push(Input::Fetched { device, deployment, attempt });
        }
    }
}

impl Drop for DownloadTally {
    fn drop(&mut self) {
        self.shared.downloads.end(self.deployment, self.shared.service.now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLAIM: Claim = Claim { attempt: 2, expires_at: WallTime(1_800_000_000_000) };

    #[test]
    fn a_hundred_percent_is_all_of_it() {
        assert_eq!([0, 1, 999, 1_000].map(|bytes| percent(bytes, 1_000)), [0, 0, 99, 100]);
        assert_eq!(percent(u64::MAX - 1, u64::MAX), 99);
    }

    const KEY: DeploymentKey = DeploymentKey(7);

    #[test]
    fn what_is_forgotten_is_not_held_to_be_watched() {
        let activity = DownloadActivity::watched_since(Epoch(10));
        let at = |secs: u64| ServiceTime(0).after(Duration::from_secs(secs));
        activity.begin(KEY, 1, 100, at(0), WallTime(0));
        activity.add(KEY, 1, 0..50, at(0), WallTime(0));
        activity.end(KEY, at(0));
        activity.tidy(at(60), || Epoch(20));
        assert_eq!(activity.seen(KEY, at(60)).watched_since, Some(Epoch(10)));
        activity.tidy(at(1_000_000), || Epoch(20));
        assert_eq!(activity.seen(KEY, at(1_000_000)).watched_since, Some(Epoch(20)));
    }

    #[test]
    fn what_is_scattered_beyond_the_limit_is_not_held_to_be_watched() {
        let activity = DownloadActivity::watched_since(Epoch(10));
        let now = ServiceTime(0);
        activity.begin(KEY, 1, 1_000_000, now, WallTime(0));
        for at in 0..1_000 {
            activity.add(KEY, 1, at * 10..at * 10 + 1, now, WallTime(0));
        }
        assert_eq!(activity.seen(KEY, now).watched_since, None);
    }

    #[test]
    fn what_was_served_whole_is_never_said_not_to_be_though_it_is_not_stored_yet() {
        let activity = DownloadActivity::watched_since(Epoch(10));
        let now = ServiceTime(0);
        activity.begin(KEY, 1, 100, now, WallTime(0));
        assert!(activity.add(KEY, 1, 0..100, now, WallTime(0)));
        assert_eq!(activity.seen(KEY, now).watched_since, None);
    }

    #[test]
    fn what_has_ended_is_forgotten_with_its_last_request() {
        let activity = DownloadActivity::watched_since(Epoch(10));
        let now = ServiceTime(0);
        activity.begin(KEY, 1, 100, now, WallTime(0));
        activity.forget(KEY);
        assert!(activity.view(KEY, 1, false, 100).is_some(), "still being served");
        activity.end(KEY, now);
        assert!(activity.lock().is_empty());
    }

    #[test]
    fn past_the_limit_the_quiet_ones_go() {
        let activity = DownloadActivity::watched_since(Epoch(10));
        let at = |secs: u64| ServiceTime(0).after(Duration::from_secs(secs));
        let count = i64::try_from(DOWNLOADS_REMEMBERED_MAX).unwrap();
        for key in 0..=count {
            activity.begin(DeploymentKey(key), 1, 100, at(0), WallTime(0));
            activity.add(DeploymentKey(key), 1, 0..1, at(0), WallTime(0));
            activity.end(DeploymentKey(key), at(0));
        }
        activity.tidy(at(30), || Epoch(20));
        assert_eq!(activity.lock().len(), DOWNLOADS_REMEMBERED_MAX + 1, "a device may still be at it");
        activity.begin(KEY, 1, 100, at(61), WallTime(0));
        activity.tidy(at(61), || Epoch(20));
        assert_eq!(activity.lock().keys().collect::<Vec<_>>(), [&KEY]);
        assert_eq!(
            activity.seen(KEY, at(61)).watched_since,
            Some(Epoch(20)),
            "what was forgotten is not known"
        );
    }

    #[test]
    fn a_new_attempt_begins_with_nothing_and_the_bytes_of_the_last_one_do_not_count_for_it() {
        let activity = DownloadActivity::watched_since(Epoch(1));
        let now = ServiceTime(0);
        activity.begin(KEY, 1, 100, now, WallTime(5));
        assert!(!activity.add(KEY, 1, 0..60, now, WallTime(6)));
        let shown = activity.view(KEY, 1, false, 100).unwrap();
        assert_eq!((shown.bytes, shown.percent, shown.last_at), (60, 60, Some(WallTime(6))));
        assert_eq!(activity.view(KEY, 2, false, 100), None);
        activity.begin(KEY, 2, 100, now, WallTime(7));
        assert!(!activity.add(KEY, 1, 60..100, now, WallTime(8)), "the last attempt's");
        assert_eq!(activity.view(KEY, 2, false, 100).unwrap().bytes, 0);
        assert!(activity.add(KEY, 2, 0..100, now, WallTime(9)), "whole");
        assert!(!activity.add(KEY, 2, 0..100, now, WallTime(9)), "said once");
        activity.end(KEY, now);
        assert!(activity.view(KEY, 2, true, 100).unwrap().in_flight, "the first request still runs");
    }

    #[test]
    fn a_token_is_for_one_deployment_one_attempt_and_one_end() {
        let tokens = DownloadTokens::new([7; 32]);
        let token = tokens.make("01a0", CLAIM);
        assert_eq!(tokens.check("01a0", &token), Some(CLAIM));
        assert_eq!(tokens.check("01a1", &token), None, "another deployment");
        let later = token.replacen("1800000000", "1900000000", 1);
        assert_eq!(tokens.check("01a0", &later), None, "a longer life");
        let attempt = token.replacen("2.", "3.", 1);
        assert_eq!(tokens.check("01a0", &attempt), None, "another attempt");
        assert_eq!(DownloadTokens::new([8; 32]).check("01a0", &token), None, "another key");
        for garbage in ["", ".", "..", "1.2.3", "1.2.zz", &"9".repeat(500), "2.1800000000.\u{e9}"] {
            assert_eq!(tokens.check("01a0", garbage), None, "{garbage:?}");
        }
    }
}
