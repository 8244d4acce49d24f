//! Backups, made while the platform serves.
//!
//! Always true:
//! - One is made at a time.
//! - One that has begun goes on when whoever asked for it has gone away.
//! - The line in the audit log is written first, so that the backup has it as well.

use std::path::PathBuf;
use std::sync::Arc;

use otaru_store::{BackupError as CopyError, BackupOptions, Changes, Manifest, StoreError, Wanted};
use tokio::sync::TryAcquireError;

use crate::driver::Engine;
use crate::errors::{Faulty, Kind};
use crate::tokens::Operator;

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// One at a time.
    #[error("another backup is being made; ask again when that one is done")]
    Running,
    /// It could not be made; nothing of it stays.
    #[error(transparent)]
    Copy(#[from] CopyError),
}

impl From<StoreError> for BackupError {
    fn from(error: StoreError) -> BackupError {
        BackupError::Copy(error.into())
    }
}

impl Faulty for BackupError {
    fn code(&self) -> &'static str {
        match self {
            BackupError::Running => "backup_running",
            BackupError::Copy(error) => match error {
                CopyError::Directory { .. } => "invalid",
                CopyError::NotEmpty { .. } => "not_empty",
                CopyError::NoRoom { .. } => "disk_full",
                // With the reason: only whoever asked can do something about the directory.
                CopyError::ArtifactGone { .. } | CopyError::Io { .. } => "backup_failed",
                CopyError::Store(StoreError::Unavailable(_)) => "backup_failed",
                CopyError::Store(error) => error.code(),
                // What restoring can answer.
                CopyError::Damaged { .. } | CopyError::Occupied { .. } => "internal",
            },
        }
    }

    fn kind(&self) -> Kind {
        match self {
            BackupError::Running => Kind::Conflict,
            BackupError::Copy(error) => match error {
                CopyError::Directory { .. } => Kind::Invalid,
                CopyError::NotEmpty { .. } => Kind::Conflict,
                CopyError::NoRoom { .. } | CopyError::ArtifactGone { .. } | CopyError::Io { .. } => {
                    Kind::Unavailable
                }
                CopyError::Store(error) => error.kind(),
                CopyError::Damaged { .. } | CopyError::Occupied { .. } => Kind::Internal,
            },
        }
    }
}

impl Engine {
    /// Makes a backup in `directory`, an absolute path on this machine, outside the data directory, that is empty or not
    /// there yet. Everything that was acknowledged before is in it. `secrets`: with the master key and the admin token
    /// that are in the data directory.
    ///
    /// Takes as long as the disk needs for the store. Retry: safe; a directory that was filled by a call whose answer was
    /// lost is refused.
    ///
    /// # Errors
    ///
    /// - `Running`: another one is being made.
    /// - `Copy`: nothing of it stays; see there.
    pub async fn back_up(
        &self,
        by: &Operator,
        directory: PathBuf,
        secrets: bool,
    ) -> Result<Manifest, BackupError> {
        let turn = match Arc::clone(&self.shared.backing_up).try_acquire_owned() {
            Ok(turn) => turn,
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => return Err(BackupError::Running),
        };
        let (shared, by) = (Arc::clone(&self.shared), by.actor.name.clone());
        let making = tokio::spawn(async move {
            let _turn = turn;
            let now = shared.clock.wall();
            let subject = directory.display().to_string();
            if subject.contains(char::is_control) {
                let why = "which has control characters; a path without any is accepted";
                return Err(CopyError::Directory { path: directory, why }.into());
            }
            let line = (by, "backup_begun".to_owned(), subject.clone());
            let changes = Changes { audit: vec![line], ..Changes::default() };
            shared.store.transact(now, Wanted::default(), |_| (changes, ())).await?;
            let options = BackupOptions { secrets, reserve_bytes: shared.settings.disk_reserve_bytes, now };
            let made = shared.store.back_up(&directory, options).await;
            match &made {
                Ok(manifest) => tracing::info!(
                    directory = subject,
                    bytes = manifest.database_bytes,
                    artifacts = manifest.artifacts,
                    "backup_begun"
                ),
                Err(error) => tracing::warn!(directory = subject, %error, "no backup was made"),
            }
            Ok::<Manifest, BackupError>(made?)
        });
        making.await.unwrap_or_else(|ended| Err(StoreError::Unavailable(ended.to_string()).into()))
    }
}
