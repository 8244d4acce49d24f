//! A copy of everything that is remembered, and a data directory made from one.
//!
//! ```text
//! BACKUP/manifest.json    what is in here; the last file to be written
//! BACKUP/otaru.db         the store, without a log
//! BACKUP/artifacts/…      every artifact that the store names, as in a data directory
//! BACKUP/master.key       unless the secrets were left out
//! BACKUP/admin.token      likewise, if the platform made one
//! ```
//!
//! Always true:
//! - A directory with the name that was asked for is a whole backup: it is written beside and renamed.
//! - Directories have mode 0700 and files 0600.
//! - A restore that is interrupted leaves a data directory that refuses to be opened until a restore is done.
//!
//! Not here: how pages are copied (`sqlite::copy`).

mod make;
mod restore;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use otaru_core::WallTime;
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use crate::error::{Fault, StoreError};
use crate::private_files;

pub(crate) use restore::refuse_half_restored;
pub use restore::{Restored, restore};

/// The name of the store in a data directory and in a backup.
const DATABASE: &str = "otaru.db";
/// Likewise, of the directory of artifacts.
const ARTIFACTS: &str = "artifacts";
/// The list of what a backup holds.
const MANIFEST: &str = "manifest.json";
/// Files whose content must not become known.
const SECRETS: [&str; 2] = ["master.key", "admin.token"];
/// The version of this layout.
const FORMAT: u32 = 1;

/// How a backup is made.
#[derive(Clone, Copy, Debug)]
pub struct BackupOptions {
    /// Whether the master key and the admin token that are in the data directory are copied.
    pub secrets: bool,
    /// Bytes to be left free on the disk of the backup.
    pub reserve_bytes: u64,
    /// When it is made.
    pub now: WallTime,
}

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the layout: 1.
    pub format: u32,
    /// When it was made, in milliseconds since 1970.
    pub made_at: i64,
    /// The version of the store's schema.
    pub schema: i64,
    /// Bytes of the store.
    pub database_bytes: u64,
    /// SHA-256 of the store, in lower-case hex.
    pub database_sha256: String,
    /// How many artifacts.
    pub artifacts: u64,
    /// Bytes of all artifacts.
    pub artifact_bytes: u64,
    /// The secrets that were copied.
    pub secrets: Vec<SecretFile>,
}

/// A secret in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretFile {
    /// `master.key` or `admin.token`.
    pub name: String,
    /// SHA-256 of the file, in lower-case hex.
    pub sha256: String,
}

/// Why there is no backup, or why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The directory for the backup cannot be one.
    #[error("`directory` is {:?}, {why}", path.display())]
    Directory {
        /// What was asked for.
        path: PathBuf,
        /// What is wrong with it and what is accepted.
        why: &'static str,
    },
    /// There is something in it.
    #[error("{} is not empty; name a directory that is empty or does not exist yet", path.display())]
    NotEmpty {
        /// What was asked for.
        path: PathBuf,
    },
    /// Not enough space.
    #[error("a backup needs {needed} bytes beside the {reserve} that stay free, and {free} are free on the disk of {}", path.display())]
    NoRoom {
        /// Where it was to be.
        path: PathBuf,
        /// Bytes of the backup.
        needed: u64,
        /// Bytes that stay free.
        reserve: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// An artifact was uploaded and deleted within the time of the copy.
    #[error("artifact {artifact_id} was deleted while the backup was made; make it again")]
    ArtifactGone {
        /// Its id.
        artifact_id: String,
    },
    /// Not a backup, or one that is not what its manifest says.
    #[error("{} is no backup that can be restored: {problem}", path.display())]
    Damaged {
        /// The backup.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The data directory holds a store already.
    #[error("{} holds a store already; --replace moves it aside", path.display())]
    Occupied {
        /// The data directory.
        path: PathBuf,
    },
    /// The disk refused.
    #[error("could not {doing} {}: {cause}", path.display())]
    Io {
        /// `make`, `copy`, …
        doing: &'static str,
        /// Which file or directory.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// The store could not be copied.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl BackupError {
    /// Whose fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            BackupError::Directory { .. }
            | BackupError::NotEmpty { .. }
            | BackupError::Damaged { .. }
            | BackupError::Occupied { .. } => Fault::Caller,
            BackupError::NoRoom { .. } | BackupError::ArtifactGone { .. } | BackupError::Io { .. } => {
                Fault::Unavailable
            }
            BackupError::Store(error) => error.fault(),
        }
    }
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |cause| BackupError::Io { doing, path, cause }
}

/// Where an artifact is below `artifacts`; `None` for what is no id.
fn place(artifacts: &Path, artifact_id: &str) -> Option<PathBuf> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let is_id = artifact_id.len() == 64 && artifact_id.bytes().all(is_digit);
    is_id.then(|| artifacts.join(&artifact_id[..2]).join(&artifact_id[2..]))
}

/// The SHA-256 of a file in lower-case hex, and its size in bytes.
fn digest(path: &Path) -> Result<(String, u64), BackupError> {
    let read = || -> io::Result<(String, u64)> {
        let (mut file, mut context, mut size) = (File::open(path)?, Context::new(&SHA256), 0_u64);
        let mut piece = vec![0; 256 << 10];
        loop {
            let count = file.read(&mut piece)?;
            if count == 0 {
                let hex = context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
                return Ok((hex, size));
            }
            context.update(&piece[..count]);
            size += count as u64;
        }
    };
    read().map_err(failed("read", path))
}

/// Copies a file into a new one, durably.
fn copy_file(from: &Path, to: &Path) -> Result<(), BackupError> {
    let copy = || -> io::Result<()> {
        let (mut source, mut target) = (File::open(from)?, private_files::make_file(to)?);
        io::copy(&mut source, &mut target)?;
        target.sync_all()
    };
    copy().map_err(failed("copy", from))
}

/// Makes the names in a directory and in every directory below it durable.
fn sync_tree(dir: &Path) -> Result<(), BackupError> {
    for entry in fs::read_dir(dir).map_err(failed("read", dir))? {
        let entry = entry.map_err(failed("read", dir))?;
        if entry.file_type().map_err(failed("read", dir))?.is_dir() {
            sync_tree(&entry.path())?;
        }
    }
    private_files::sync_dir(dir).map_err(failed("sync", dir))
}

/// The directory that a path is in, also for a name alone.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}
