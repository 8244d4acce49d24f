//! Artifact intake: bytes in, hashed on the way, kept under their hash.

use std::fmt::Display;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use otaru_store::{Actor, ArtifactRow, BlobError, StoreError};
use sha2::{Digest, Sha256};

use crate::driver::{Engine, Shared};
use crate::errors::{Faulty, Kind};
use crate::limits::{DISK_LOOKED_AT_EVERY, ORPHAN_AGE};
use crate::tokens::{Operator, hex};

/// What the sender says about the bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// Their SHA-256, 64 hex digits of either case.
    pub sha256: Option<String>,
    /// How many.
    pub size_bytes: Option<u64>,
}

/// Why an upload did not become an artifact. Nothing is kept in any case.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// Not the form of a digest.
    #[error("`X-Sha256` is {0:?}; 64 hex digits are accepted")]
    BadDigest(String),
    /// It ended early, or went on too long.
    #[error("upload is {got} bytes but {declared} were declared; send the whole file again")]
    SizeMismatch {
        /// As declared.
        declared: u64,
        /// As received.
        got: u64,
    },
    /// It is not what the sender meant.
    #[error(
        "upload hashes to {got} but {declared} was declared; it was altered on its way here, or is another file"
    )]
    DigestMismatch {
        /// As declared.
        declared: String,
        /// As received.
        got: String,
    },
    /// Nothing in it.
    #[error("upload is empty; send the file as the body")]
    Empty,
    /// More than is accepted.
    #[error("upload is larger than {accepted} bytes")]
    TooLarge {
        /// How many are accepted.
        accepted: u64,
    },
    /// The sender went away.
    #[error("upload broke off after {got} bytes: {cause}")]
    BrokeOff {
        /// As received.
        got: u64,
        /// What the connection said.
        cause: String,
    },
    /// Uploads stop before reports suffer.
    #[error("the disk has {free} bytes left; uploads stop at {reserve}, so that reports can still be stored")]
    DiskReserve {
        /// Free now.
        free: u64,
        /// Kept free.
        reserve: u64,
    },
    /// Storage refused; trying again may succeed.
    #[error("could not write to artifact storage: {0}")]
    Blob(#[from] BlobError),
    /// Try again later, or ours.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Faulty for IngestError {
    fn code(&self) -> &'static str {
        match self {
            IngestError::BadDigest(_) | IngestError::Empty => "invalid",
            IngestError::SizeMismatch { .. } | IngestError::BrokeOff { .. } => "upload_incomplete",
            IngestError::DigestMismatch { .. } => "digest_mismatch",
            IngestError::TooLarge { .. } => "too_large",
            IngestError::DiskReserve { .. } => "disk_full",
            IngestError::Blob(_) => "unavailable",
            IngestError::Store(error) => error.code(),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            IngestError::BadDigest(_)
            | IngestError::SizeMismatch { .. }
            | IngestError::DigestMismatch { .. }
            | IngestError::Empty
            | IngestError::BrokeOff { .. } => Kind::Invalid,
            IngestError::TooLarge { .. } => Kind::TooLarge,
            IngestError::DiskReserve { .. } | IngestError::Blob(_) => Kind::Unavailable,
            IngestError::Store(error) => error.kind(),
        }
    }
}

impl Engine {
    /// Keeps an uploaded file as an artifact. The answer also says whether it is new.
    ///
    /// `body` is read once, to its end, hashed on the way and never held whole; at most
    /// [`Settings::artifact_bytes_max`](crate::Settings) bytes. The same bytes uploaded again get the id they
    /// already have, so that trying again is safe.
    ///
    /// # Errors
    ///
    /// - `SizeMismatch`, `DigestMismatch`, `BrokeOff`, `Empty`, `TooLarge`: the sender's; nothing is kept.
    /// - `DiskReserve`, `Blob`, `Store`: ours; nothing is kept, and trying again may succeed.
    pub async fn ingest<S, E>(
        &self,
        by: &Operator,
        declared: Declared,
        body: S,
    ) -> Result<(ArtifactRow, bool), IngestError>
    where
        S: Stream<Item = Result<Bytes, E>>,
        E: Display,
    {
        self.shared.keep_bytes(&by.actor, declared, body).await
    }

    /// An artifact.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn artifact(&self, artifact_id: &str) -> Result<Option<ArtifactRow>, StoreError> {
        self.shared.store.artifact(artifact_id).await
    }

    /// Deletes an artifact that no package has; `false`: there is none. Downloads of it that have begun go on.
    ///
    /// # Errors
    ///
    /// `InUse`: a package has it.
    pub async fn delete_artifact(&self, by: &Operator, artifact_id: &str) -> Result<bool, StoreError> {
        self.shared.delete_artifact(&by.actor, artifact_id).await
    }
}

impl Shared {
    /// Reads bytes to their end and keeps them under their hash.
    pub(crate) async fn keep_bytes<S, E>(
        &self,
        by: &Actor,
        declared: Declared,
        body: S,
    ) -> Result<(ArtifactRow, bool), IngestError>
    where
        S: Stream<Item = Result<Bytes, E>>,
        E: Display,
    {
        let digest = declared.sha256.as_deref().map(normal_digest).transpose()?;
        let accepted = self.settings.artifact_bytes_max;
        if declared.size_bytes.is_some_and(|size| size > accepted) {
            return Err(IngestError::TooLarge { accepted });
        }
        self.leaves_room_for(declared.size_bytes.unwrap_or(0)).await?;
        let mut writer = self.blobs.writer().await?;
        let mut hasher = Sha256::new();
        let (mut got, mut looked_at): (u64, u64) = (0, 0);
        let mut body = std::pin::pin!(body);
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|cause| match declared.size_bytes {
                Some(size) if got < size => IngestError::SizeMismatch { declared: size, got },
                Some(_) | None => IngestError::BrokeOff { got, cause: cause.to_string() },
            })?;
            got += piece.len() as u64;
            if got > accepted {
                return Err(IngestError::TooLarge { accepted });
            }
            hasher.update(&piece);
            writer.write(&piece).await?;
            // Others write as well, and not every sender says how much is to come.
            if got - looked_at >= DISK_LOOKED_AT_EVERY {
                looked_at = got;
                self.leaves_room_for(declared.size_bytes.map_or(0, |size| size.saturating_sub(got))).await?;
            }
        }
        if let Some(size) = declared.size_bytes
            && size != got
        {
            return Err(IngestError::SizeMismatch { declared: size, got });
        }
        if got == 0 {
            return Err(IngestError::Empty);
        }
        let artifact_id = hex(&hasher.finalize());
        if let Some(digest) = digest
            && digest != artifact_id
        {
            return Err(IngestError::DigestMismatch { declared: digest, got: artifact_id });
        }
        // Until the row is there, nobody takes the bytes for an orphan.
        let _kept = self.artifacts.read().await;
        let known = self.store.artifact(&artifact_id).await?;
        // The bytes first, then the row that promises them.
        writer.finish(&artifact_id).await?;
        let row = ArtifactRow { artifact_id, size_bytes: got, created_at: self.clock.wall() };
        let row = self.store.add_artifact(by, row).await?;
        Ok((row, known.is_none()))
    }

    /// Refuses so many further bytes if the disk would be too full with them.
    async fn leaves_room_for(&self, bytes: u64) -> Result<(), IngestError> {
        let (free, reserve) = (self.blobs.free_bytes().await?, self.settings.disk_reserve_bytes);
        if free.saturating_sub(bytes) < reserve {
            return Err(IngestError::DiskReserve { free, reserve });
        }
        Ok(())
    }

    /// Shows how much room there is, and says so when uploads are refused from now on, or no longer.
    pub(crate) async fn look_at_the_disk(&self) {
        // What cannot be asked is not shown; an upload is told why.
        let Ok(free) = self.blobs.free_bytes().await else { return };
        #[expect(clippy::cast_precision_loss, reason = "bytes, shown to people")]
        metrics::gauge!("otaru_disk_free_bytes").set(free as f64);
        let reserve = self.settings.disk_reserve_bytes;
        let is_low = free < reserve;
        if self.disk_is_low.swap(is_low, Ordering::Relaxed) == is_low {
            return;
        }
        if is_low {
            tracing::warn!(free, reserve, "the disk is nearly full: uploads are refused until there is room");
        } else {
            tracing::info!(free, reserve, "there is room on the disk again: uploads are taken");
        }
    }

    pub(crate) async fn delete_artifact(&self, by: &Actor, artifact_id: &str) -> Result<bool, StoreError> {
        let _none_is_being_kept = self.artifacts.write().await;
        match self.store.delete_artifact(by, artifact_id, self.clock.wall()).await {
            Err(StoreError::Missing { .. }) => return Ok(false),
            other => other?,
        }
        // The row first: bytes without a row are taken away later, should this fail.
        if let Err(error) = self.blobs.delete(artifact_id).await {
            tracing::warn!(artifact_id, %error, "the bytes of a deleted artifact stay for now");
        }
        Ok(true)
    }

    /// Takes away bytes that no artifact has: what a crash left between the two. How many files.
    pub(crate) async fn delete_orphans(&self) -> Result<u64, StoreError> {
        let old = match self.blobs.older_than(ORPHAN_AGE).await {
            Ok(old) => old,
            Err(error) => {
                tracing::warn!(%error, "could not look for bytes without an artifact");
                return Ok(0);
            }
        };
        let mut gone = 0;
        for artifact_id in old {
            if self.is_stopping() {
                break;
            }
            let _none_is_being_kept = self.artifacts.write().await;
            if self.store.artifact(&artifact_id).await?.is_none() {
                match self.blobs.delete(&artifact_id).await {
                    Ok(_) => gone += 1,
                    Err(error) => {
                        tracing::warn!(artifact_id, %error, "bytes without an artifact stay for now");
                    }
                }
            }
        }
        Ok(gone)
    }
}

fn normal_digest(digest: &str) -> Result<String, IngestError> {
    if digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(digest.to_ascii_lowercase());
    }
    Err(IngestError::BadDigest(digest.chars().take(80).collect()))
}
