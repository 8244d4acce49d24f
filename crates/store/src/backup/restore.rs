//! Making a data directory from a backup.
//!
//! ```text
//! DIR/restoring/new/        copied from the backup and verified
//! DIR/restoring/moving      from here on only renames are left
//! DIR/restoring/replaced/   what was in the way; ends as DIR/replaced-…
//! ```
//!
//! Always true:
//! - Nothing in the data directory is touched before the whole backup was copied and verified.
//! - Nothing that was in the way is deleted.
//! - While `restoring` is there, no store is opened; doing the restore once more brings it to its end.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use otaru_core::WallTime;

use super::{
    ARTIFACTS, BackupError, DATABASE, FORMAT, MANIFEST, Manifest, SECRETS, copy_file, digest, failed, parent,
    place, sync_tree,
};
use crate::error::StoreError;
use crate::limits::{RUNS_SKIPPED_MAX, RUNS_SKIPPED_MIN};
use crate::private_files;
use crate::sqlite::copy::{Copied, begin_again};
use crate::sqlite::{known_schema, lock};

const RESTORING: &str = "restoring";

/// What was restored.
#[derive(Clone, Debug)]
pub struct Restored {
    /// What the backup says of itself.
    pub manifest: Manifest,
    /// Where what was in the data directory before is now.
    pub replaced: Option<PathBuf>,
}

/// Makes the data directory `dir` from the backup `from`. Blocks for as long as copying takes.
///
/// The number of runs goes on after every one there may have been since the backup, so that no session has the number
/// of an earlier one. A secret that the backup lacks stays as it is in `dir`.
///
/// *Retry*: safe, also after the process was killed; what was restored before is in the way then, as any other store.
///
/// # Errors
///
/// - `Damaged`: `from` is no backup, is not what its manifest says, or was made by a newer release.
/// - `Occupied`: there is a store in `dir`, and not `replace`.
/// - `Store`: `Locked`, while a server has `dir` open.
/// - `Io`: the disk refused.
pub fn restore(from: &Path, dir: &Path, replace: bool, now: WallTime) -> Result<Restored, BackupError> {
    let manifest = read_manifest(from)?;
    let _lock = lock(dir)?;
    let (restoring, database) = (dir.join(RESTORING), dir.join(DATABASE));
    let (fresh, moving) = (restoring.join("new"), restoring.join("moving"));
    // Once renaming had begun, what is in the directory is what was restored, or was to be moved aside.
    if !moving.exists() && database.exists() && !replace {
        return Err(BackupError::Occupied { path: dir.to_owned() });
    }
    if fresh.exists() {
        fs::remove_dir_all(&fresh).map_err(failed("delete", &fresh))?;
    }
    private_files::make_dir(&fresh).map_err(failed("make", &fresh))?;
    stage(from, &fresh, &manifest)?;
    let since = now.0.saturating_sub(manifest.made_at) / 1000;
    begin_again(&fresh.join(DATABASE), RUNS_SKIPPED_MIN + since.clamp(0, RUNS_SKIPPED_MAX))?;
    sync_tree(&restoring)?;
    private_files::sync_dir(dir).map_err(failed("sync", dir))?;

    private_files::open_or_make(&moving).map_err(failed("make", &moving))?;
    private_files::sync_dir(&restoring).map_err(failed("sync", &restoring))?;
    let replaced = move_aside(dir, &restoring.join("replaced"), &manifest)?;
    // The store comes last: without it, nobody takes the directory for a whole one.
    let names = manifest.secrets.iter().map(|secret| secret.name.as_str());
    for name in [ARTIFACTS].into_iter().chain(names).chain([DATABASE]) {
        let to = dir.join(name);
        fs::rename(fresh.join(name), &to).map_err(failed("make", &to))?;
    }
    private_files::sync_dir(dir).map_err(failed("sync", dir))?;
    let replaced = match replaced {
        Some(aside) => {
            let kept = dir.join(format!("replaced-{}", now.0));
            fs::rename(&aside, &kept).map_err(failed("keep", &kept))?;
            Some(kept)
        }
        None => None,
    };
    fs::remove_dir_all(&restoring).map_err(failed("delete", &restoring))?;
    private_files::sync_dir(dir).map_err(failed("sync", dir))?;
    Ok(Restored { manifest, replaced })
}

/// Refuses a data directory whose restore was interrupted.
pub(crate) fn refuse_half_restored(dir: &Path) -> Result<(), StoreError> {
    if !dir.join(RESTORING).exists() {
        return Ok(());
    }
    Err(StoreError::Unavailable(format!(
        "a restore of {} was interrupted; run `otaru restore` again",
        dir.display()
    )))
}

fn damaged(from: &Path, problem: String) -> BackupError {
    BackupError::Damaged { path: from.to_owned(), problem }
}

fn read_manifest(from: &Path) -> Result<Manifest, BackupError> {
    let text = match fs::read(from.join(MANIFEST)) {
        Ok(text) => text,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
            return Err(damaged(from, format!("it has no {MANIFEST}")));
        }
        Err(cause) => return Err(failed("read", &from.join(MANIFEST))(cause)),
    };
    let manifest: Manifest = serde_json::from_slice(&text)
        .map_err(|problem| damaged(from, format!("its {MANIFEST} cannot be understood: {problem}")))?;
    if manifest.format != FORMAT {
        let found = manifest.format;
        return Err(damaged(from, format!("its format is {found}, and this release knows {FORMAT}")));
    }
    if manifest.schema > known_schema() {
        let (found, known) = (manifest.schema, known_schema());
        return Err(damaged(
            from,
            format!("its schema version is {found}, this release knows up to {known}; use a newer release"),
        ));
    }
    if let Some(secret) = manifest.secrets.iter().find(|secret| !SECRETS.contains(&secret.name.as_str())) {
        return Err(damaged(from, format!("its {MANIFEST} names {:?}, which is no secret", secret.name)));
    }
    Ok(manifest)
}

/// Copies what the manifest names and holds the copies against it.
fn stage(from: &Path, to: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    let verified = |name: &str, at: &Path, sha256: &str| {
        let (found, _) = digest(at)?;
        if found == sha256 {
            return Ok(());
        }
        Err(damaged(from, format!("the SHA-256 of {name} is {found} instead of {sha256}")))
    };
    let copied = |name: &str, sha256: &str| {
        let (source, at) = (from.join(name), to.join(name));
        if !source.exists() {
            return Err(damaged(from, format!("{name} is missing")));
        }
        private_files::make_dir(parent(&at)).map_err(failed("make", parent(&at)))?;
        copy_file(&source, &at)?;
        verified(name, &at, sha256)
    };
    copied(DATABASE, &manifest.database_sha256)?;
    for secret in &manifest.secrets {
        copied(&secret.name, &secret.sha256)?;
    }
    let artifacts = to.join(ARTIFACTS);
    private_files::make_dir(&artifacts).map_err(failed("make", &artifacts))?;
    Copied::open(&to.join(DATABASE))?.each_artifact(|artifact_id, _| {
        let name = place(Path::new(ARTIFACTS), artifact_id)
            .ok_or_else(|| damaged(from, format!("{artifact_id:?} is no artifact id")))?;
        copied(&name.to_string_lossy(), artifact_id)
    })
}

/// Moves what is in the way into `aside`; `None` if nothing was. What an interrupted restore has put there already stays,
/// and what it has restored is deleted.
fn move_aside(dir: &Path, aside: &Path, manifest: &Manifest) -> Result<Option<PathBuf>, BackupError> {
    // The log belongs to the store, and goes first: a store without its log lacks what is only there.
    let mut names = vec!["otaru.db-wal", "otaru.db-shm", DATABASE, ARTIFACTS];
    names.extend(manifest.secrets.iter().map(|secret| secret.name.as_str()));
    for name in names {
        let (at, to) = (dir.join(name), aside.join(name));
        if !at.exists() {
            continue;
        }
        if !to.exists() {
            private_files::make_dir(aside).map_err(failed("make", aside))?;
            fs::rename(&at, &to).map_err(failed("move", &at))?;
        } else if at.is_dir() {
            fs::remove_dir_all(&at).map_err(failed("delete", &at))?;
        } else {
            fs::remove_file(&at).map_err(failed("delete", &at))?;
        }
    }
    if !aside.exists() {
        return Ok(None);
    }
    private_files::sync_dir(aside).map_err(failed("sync", aside))?;
    private_files::sync_dir(dir).map_err(failed("sync", dir))?;
    Ok(Some(aside.to_owned()))
}
