//! Downloads: who may have which bytes, and which devices are at it.
//!
//! Always true:
//! - A token is bound to one deployment, one attempt and an end; nothing secret is stored for it.
//! - A token is worth nothing once its deployment has ended, or a new attempt has begun.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use hmac::{Hmac, KeyInit, Mac};
use otaru_core::deployment::Label;
use otaru_core::{ServiceTime, WallTime};
use otaru_store::{BlobReader, DeploymentKey, PackageRow, StoreError};
use sha2::Sha256;

use crate::driver::{Engine, Shared};
use crate::errors::{Faulty, Kind};
use crate::ids::{deployment_id, deployment_key};

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
        let reader = shared.blobs.open(&package.artifact_id).await?.ok_or(DownloadError::BytesMissing)?;
        Ok(Download {
            artifact_id: package.artifact_id.clone(),
            size_bytes: package.size_bytes,
            file_name: package.file_name.clone(),
            reader,
            tally: DownloadTally::begin(shared.clone(), key),
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

/// Which deployments are downloading, or were a moment ago.
#[derive(Default)]
pub(crate) struct DownloadActivity {
    seen: Mutex<BTreeMap<DeploymentKey, Activity>>,
}

#[derive(Clone, Copy, Debug)]
struct Activity {
    in_flight: u32,
    last: ServiceTime,
    bytes: u64,
}

impl DownloadActivity {
    /// When the device last asked for bytes; `now` while it is being served.
    pub(crate) fn last_seen(&self, deployment: DeploymentKey, now: ServiceTime) -> Option<ServiceTime> {
        let seen = self.lock();
        seen.get(&deployment).map(|activity| if activity.in_flight > 0 { now } else { activity.last })
    }

    /// How many bytes were served for this deployment by this process.
    pub(crate) fn bytes(&self, deployment: DeploymentKey) -> Option<u64> {
        self.lock().get(&deployment).map(|activity| activity.bytes)
    }

    /// The deployment has ended. Its entry goes, unless bytes are still under way.
    pub(crate) fn forget(&self, deployment: DeploymentKey) {
        let mut seen = self.lock();
        if seen.get(&deployment).is_some_and(|activity| activity.in_flight == 0) {
            seen.remove(&deployment);
        }
    }

    /// Drops entries that nobody asks for any more.
    pub(crate) fn tidy(&self, now: ServiceTime) {
        let day = std::time::Duration::from_secs(25 * 3600);
        self.lock().retain(|_, activity| activity.in_flight > 0 || activity.last.after(day) > now);
    }

    fn touch(&self, deployment: DeploymentKey, now: ServiceTime, change: impl FnOnce(&mut Activity)) {
        let mut seen = self.lock();
        let activity = seen.entry(deployment).or_insert(Activity { in_flight: 0, last: now, bytes: 0 });
        activity.last = now;
        change(activity);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<DeploymentKey, Activity>> {
        self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Counts the bytes of one request.
pub struct DownloadTally {
    shared: Arc<Shared>,
    deployment: DeploymentKey,
}

impl DownloadTally {
    fn begin(shared: Arc<Shared>, deployment: DeploymentKey) -> DownloadTally {
        shared.downloads.touch(deployment, shared.service.now(), |activity| activity.in_flight += 1);
        DownloadTally { shared, deployment }
    }

    /// So many more bytes were given to the socket.
    pub fn add(&self, bytes: u64) {
        let now = self.shared.service.now();
        self.shared.downloads.touch(self.deployment, now, |activity| activity.bytes += bytes);
    }
}

impl Drop for DownloadTally {
    fn drop(&mut self) {
        let now = self.shared.service.now();
        self.shared.downloads.touch(self.deployment, now, |activity| {
            activity.in_flight = activity.in_flight.saturating_sub(1);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLAIM: Claim = Claim { attempt: 2, expires_at: WallTime(1_800_000_000_000) };

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
