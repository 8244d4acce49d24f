//! Objects read in the background: what a package promises becomes an artifact, or the package invalid.
//!
//! Always true:
//! - Which packages are still to be read is in the store; a crash reads from the beginning.
//! - An object that is not what was promised, or is not there any more, makes its package invalid, which is said where people
//!   look; everything else is tried again, ever more rarely.
//! - No device is told of a package before its bytes are kept.
//!
//! Not here: where objects are (`objects`), what waits for them (`campaign::plan`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use otaru_store::{Content, ObjectPlace, PackageKey, PackageRow, PendingPackage, ReadOutcome, StoreError};
use tokio::task::JoinSet;

use crate::artifacts::{Declared, IngestError};
use crate::driver::{Engine, Shared};
use crate::limits::{READ_AGAIN_AFTER, READ_AT_ONCE_MAX, READ_LOOK_EVERY, RETRY_PAUSE};
use crate::objects::ObjectError;
use crate::packages::PackageError;
use crate::tokens::Operator;

/// A package that could not be read yet.
struct Delay {
    failures: u32,
    /// Not before.
    until: Duration,
}

impl Delay {
    fn after(failures: u32, now: Duration) -> Delay {
        let (first, most) = READ_AGAIN_AFTER;
        let pause = first.saturating_mul(1_u32 << failures.min(16)).min(most);
        Delay { failures: failures + 1, until: now + pause }
    }
}

/// Reads what is to be read, until the engine stops.
pub(crate) async fn read(shared: Arc<Shared>) {
    let mut delays: BTreeMap<PackageKey, Delay> = BTreeMap::new();
    let mut reading: JoinSet<(PackageKey, Result<bool, StoreError>)> = JoinSet::new();
    let mut under_way: BTreeMap<tokio::task::Id, PackageKey> = BTreeMap::new();
    while !shared.is_stopping() {
        let mut pending = match shared.all_pending().await {
            Ok(pending) => pending,
            Err(error) => {
                tracing::warn!(%error, "packages to be read could not be looked for; it is tried again");
                tokio::time::sleep(RETRY_PAUSE.1).await;
                continue;
            }
        };
        let known: BTreeSet<PackageKey> = pending.iter().map(|package| package.key).collect();
        delays.retain(|key, _| known.contains(key));
        let now = shared.clock.elapsed();
        // What was never tried comes first, then what has waited longest: a store that is gone holds up nobody else.
        pending.sort_by_key(|package| (delays.get(&package.key).map(|delay| delay.until), package.key));
        for PendingPackage { key, place } in pending {
            let is_free = reading.len() < READ_AT_ONCE_MAX && !under_way.values().any(|other| *other == key);
            if is_free && delays.get(&key).is_none_or(|delay| delay.until <= now) {
                let reader = shared.clone();
                let task = reading.spawn(async move { (key, reader.read_one(key, place).await) });
                under_way.insert(task.id(), key);
            }
        }
        // What is being read, or has no place yet, waits for one that is done.
        let has_place = reading.len() < READ_AT_ONCE_MAX;
        let waiting =
            delays.iter().filter(|(key, _)| has_place && !under_way.values().any(|other| other == *key));
        let next = waiting.map(|(_, delay)| delay.until.saturating_sub(now)).min();
        let pause = next.unwrap_or(READ_LOOK_EVERY).clamp(RETRY_PAUSE.0, READ_LOOK_EVERY);
        tokio::select! {
            biased;
            () = shared.contents_changed.notified() => {}
            Some(done) = reading.join_next_with_id() => {
                let (task, is_done) = match done {
                    Ok((task, (_, Ok(is_done)))) => (task, is_done),
                    Ok((task, (key, Err(error)))) => {
                        tracing::warn!(package_key = key.0, %error, "what became of a package could not be noted");
                        (task, false)
                    }
                    Err(failed) => {
                        tracing::error!(error = %failed, "reading a package ended badly; it is tried again");
                        (failed.id(), false)
                    }
                };
                if let Some(key) = under_way.remove(&task) {
                    if is_done {
                        delays.remove(&key);
                    } else {
                        let failures = delays.get(&key).map_or(0, |delay| delay.failures);
                        delays.insert(key, Delay::after(failures, shared.clock.elapsed()));
                    }
                }
            }
            () = tokio::time::sleep(pause) => {}
        }
    }
    reading.shutdown().await;
}

impl Shared {
    async fn all_pending(&self) -> Result<Vec<PendingPackage>, StoreError> {
        let mut all = Vec::new();
        loop {
            let after = all.last().map(|package: &PendingPackage| package.key);
            let page = self.store.pending_packages(after, 100).await?;
            let is_last = page.len() < 100;
            all.extend(page);
            if is_last {
                return Ok(all);
            }
        }
    }

    /// Reads the bytes of one package and notes what became of it. `false`: it is to be tried again.
    async fn read_one(&self, key: PackageKey, place: ObjectPlace) -> Result<bool, StoreError> {
        let outcome = self.outcome_of(&place).await;
        let is_done = !matches!(outcome, ReadOutcome::Delayed(_));
        let settled =
            self.store.settle_package(&self.platform(), key, outcome.clone(), self.clock.wall()).await;
        if let Some(row) = settled? {
            let package_id = &row.package_id;
            match outcome {
                ReadOutcome::Kept(_) => tracing::info!(%package_id, "the bytes of a package are kept"),
                ReadOutcome::Delayed(error) => {
                    tracing::warn!(%package_id, %error, "the bytes of a package cannot be read yet; it is tried again");
                }
                ReadOutcome::Refused(error) => {
                    tracing::warn!(%package_id, %error, "a package is invalid, and no device is told of it");
                }
            }
            if row.content.is_ready() {
                // Whoever waits for it may go.
                self.consider_connected();
            }
        }
        Ok(is_done)
    }

    async fn outcome_of(&self, place: &ObjectPlace) -> ReadOutcome {
        match self.keep_object(place).await {
            Ok(artifact_id) => ReadOutcome::Kept(artifact_id),
            Err(error) if is_final(&error) => ReadOutcome::Refused(error.to_string()),
            Err(error) => ReadOutcome::Delayed(error.to_string()),
        }
    }

    async fn keep_object(&self, place: &ObjectPlace) -> Result<String, ObjectError> {
        let found = self.find_object(place).await?;
        let declared = Declared { sha256: place.sha256.clone(), size_bytes: Some(found.size_bytes) };
        let unreadable = |cause: std::io::Error| ObjectError::Unreadable {
            bucket: place.bucket.clone(),
            key: place.key.clone(),
            cause: cause.to_string(),
        };
        let bytes = found.open().await.map_err(unreadable)?;
        // Whoever takes the bytes sees them end early, and not why.
        let broke: Mutex<Option<std::io::Error>> = Mutex::default();
        let lock = || broke.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let bytes = bytes.map(|piece| {
            piece.map_err(|cause| {
                let shown = cause.to_string();
                *lock() = Some(cause);
                shown
            })
        });
        let kept = self.keep_bytes(&self.platform(), declared, bytes).await;
        if let Some(cause) = lock().take() {
            return Err(unreadable(cause));
        }
        let (bucket, key) = (place.bucket.clone(), place.key.clone());
        let (artifact, _) = kept.map_err(|error| match error {
            IngestError::Empty => ObjectError::Empty { bucket, key },
            IngestError::TooLarge { accepted } => ObjectError::TooLarge { bucket, key, accepted },
            IngestError::DigestMismatch { declared, got } => {
                ObjectError::OtherDigest { bucket, key, declared, got }
            }
            IngestError::SizeMismatch { .. } | IngestError::BrokeOff { .. } => {
                ObjectError::Unreadable { bucket, key, cause: "it changed while it was read".to_owned() }
            }
            IngestError::BadDigest(_)
            | IngestError::DiskReserve { .. }
            | IngestError::Blob(_)
            | IngestError::Store(_) => error.into(),
        })?;
        Ok(artifact.artifact_id)
    }
}

/// Why devices are not told of these packages yet, for people; `None`: their bytes are kept.
#[must_use]
pub fn why_not_ready(packages: &[Arc<PackageRow>]) -> Option<String> {
    let package = packages.iter().find(|package| !package.content.is_ready())?;
    let named = format!("Package {} ({})", package.package_id, package.version);
    Some(match &package.content {
        Content::Ready { .. } => return None,
        Content::Pending { problem: None } => {
            format!("{named} is being read; devices are told once its bytes are here.")
        }
        Content::Pending { problem: Some(problem) } => {
            format!("{named} cannot be read yet, which is tried again: {problem}.")
        }
        Content::Invalid { problem } => format!("{named} is invalid, so that no device is told: {problem}."),
    })
}

/// Whether trying again would only find the same.
fn is_final(error: &ObjectError) -> bool {
    match error {
        ObjectError::Missing { .. }
        | ObjectError::Key(_)
        | ObjectError::Empty { .. }
        | ObjectError::TooLarge { .. }
        | ObjectError::OtherDigest { .. } => true,
        // Configurations are mended, what is being written changes, and what is ours is not the object's fault.
        ObjectError::NoBucket(_)
        | ObjectError::Forbidden { .. }
        | ObjectError::Unreadable { .. }
        | ObjectError::Store(_)
        | ObjectError::Ingest(_) => false,
    }
}

impl Engine {
    /// Has the bytes of an invalid package read again, once what was wrong with them was put right. Said again, nothing
    /// happens.
    ///
    /// # Errors
    ///
    /// `Unknown`; `Store`.
    pub async fn retry_package(&self, by: &Operator, package_id: &str) -> Result<PackageRow, PackageError> {
        let shared = &self.shared;
        let row = shared.store.retry_package(&by.actor, package_id, shared.clock.wall()).await;
        let row = row.map_err(|error| {
            if matches!(error, StoreError::Missing { what: "package", .. }) {
                PackageError::Unknown(package_id.to_owned())
            } else {
                error.into()
            }
        })?;
        shared.contents_changed.notify_one();
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_tried_ever_more_rarely() {
        let now = Duration::from_secs(1_000);
        let pauses = (0..20).map(|failures| (Delay::after(failures, now).until - now).as_secs());
        let pauses: Vec<u64> = pauses.collect();
        assert_eq!(pauses[..5], [2, 4, 8, 16, 32]);
        assert!(pauses.iter().all(|pause| *pause <= 300) && pauses[19] == 300, "{pauses:?}");
    }

    #[test]
    fn only_what_would_be_found_again_is_final() {
        let (bucket, key) = ("b".to_owned(), "k".to_owned());
        let again = || (bucket.clone(), key.clone());
        let other =
            |(bucket, key)| ObjectError::OtherDigest { bucket, key, declared: "a".into(), got: "b".into() };
        for error in [
            ObjectError::Missing { bucket: bucket.clone(), key: key.clone() },
            other(again()),
            ObjectError::Empty { bucket: bucket.clone(), key: key.clone() },
            ObjectError::TooLarge { bucket: bucket.clone(), key: key.clone(), accepted: 1 },
        ] {
            assert!(is_final(&error), "{error}");
        }
        for error in [
            ObjectError::NoBucket(bucket.clone()),
            ObjectError::Forbidden { bucket: bucket.clone(), key: key.clone(), cause: "no".into() },
            ObjectError::Unreadable { bucket, key, cause: "no answer".into() },
            IngestError::SizeMismatch { declared: 2, got: 1 }.into(),
            IngestError::BrokeOff { got: 1, cause: "gone".into() }.into(),
            IngestError::DiskReserve { free: 1, reserve: 2 }.into(),
            IngestError::Store(StoreError::Constraint("ours".into())).into(),
            ObjectError::Store(StoreError::Missing { what: "artifact", id: "ab".into() }),
        ] {
            assert!(!is_final(&error), "{error}");
        }
    }
}
