//! Objects that a package names by bucket and key: found, read once, and kept as artifacts.
//!
//! ```text
//! otaru/SHA256[/NAME]      what was uploaded to the platform
//! BUCKET/path/to/file.bin  a file below the directory of a configured bucket
//! ```
//!
//! Always true:
//! - Nothing outside of a bucket's directory is read, also not through a link.
//! - Devices are served from the artifact: what happens to the file later does not matter.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use futures_util::stream;
use otaru_store::{ArtifactRow, StoreError};
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use crate::artifacts::{Declared, IngestError};
use crate::driver::Engine;
use crate::errors::{Faulty, Kind};
use crate::tokens::Operator;

/// The bucket of what was uploaded to the platform.
pub const OWN_BUCKET: &str = "otaru";

/// Bytes of a file read at once.
const PIECE_BYTES: usize = 256 << 10;

/// Where buckets are, by name.
pub type Buckets = BTreeMap<String, PathBuf>;

/// Why an object did not become an artifact.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// No such bucket is configured.
    #[error(
        "there is no bucket {0}; buckets are set as `buckets.NAME = \"/a/directory\"`, and `otaru` has what was uploaded"
    )]
    NoBucket(String),
    /// Not the key of an object.
    #[error("the object key {0:?} is not accepted; a relative path without `..` is")]
    Key(String),
    /// There is none.
    #[error("there is no object {key} in bucket {bucket}")]
    Missing {
        /// Where it was looked for.
        bucket: String,
        /// What was looked for.
        key: String,
    },
    /// It is there and cannot be read.
    #[error("the object {key} in bucket {bucket} cannot be read: {cause}")]
    Unreadable {
        /// In which bucket.
        bucket: String,
        /// Which object.
        key: String,
        /// What the system says.
        cause: io::Error,
    },
    /// Its bytes are not accepted, or could not be kept.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// Try again later, or ours.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Faulty for ObjectError {
    fn code(&self) -> &'static str {
        match self {
            ObjectError::NoBucket(_) | ObjectError::Missing { .. } => "unknown_artifact",
            ObjectError::Key(_) => "invalid",
            ObjectError::Unreadable { .. } => "unavailable",
            ObjectError::Ingest(error) => error.code(),
            ObjectError::Store(error) => error.code(),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            ObjectError::NoBucket(_) | ObjectError::Missing { .. } | ObjectError::Key(_) => Kind::Invalid,
            ObjectError::Unreadable { .. } => Kind::Unavailable,
            ObjectError::Ingest(error) => error.kind(),
            ObjectError::Store(error) => error.kind(),
        }
    }
}

impl Engine {
    /// Makes sure that an object is kept as an artifact; answers with it and with the name of its file. `sha256`: what its
    /// digest has to be, 64 hex digits.
    ///
    /// Takes as long as reading and writing the file does. Retry: safe; the same bytes are kept once.
    ///
    /// # Errors
    ///
    /// `NoBucket`, `Key`, `Missing`; `Ingest`: `DigestMismatch` among others.
    pub async fn ingest_object(
        &self,
        by: &Operator,
        bucket: &str,
        key: &str,
        sha256: Option<String>,
    ) -> Result<(ArtifactRow, String), ObjectError> {
        if bucket == OWN_BUCKET {
            return self.own_object(key, sha256).await;
        }
        let root = self.shared.settings.buckets.get(bucket);
        let root = root.ok_or_else(|| ObjectError::NoBucket(bucket.to_owned()))?;
        let missing = || ObjectError::Missing { bucket: bucket.to_owned(), key: key.to_owned() };
        let failed = |cause: io::Error| {
            if matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
                missing()
            } else {
                ObjectError::Unreadable { bucket: bucket.to_owned(), key: key.to_owned(), cause }
            }
        };
        let path = root.join(inside(key).ok_or_else(|| ObjectError::Key(key.to_owned()))?);
        let (root, path) = tokio::try_join!(tokio::fs::canonicalize(root), tokio::fs::canonicalize(&path))
            .map_err(failed)?;
        if !path.starts_with(&root) {
            return Err(missing());
        }
        let file = File::open(&path).await.map_err(failed)?;
        let about = file.metadata().await.map_err(failed)?;
        if !about.is_file() {
            return Err(missing());
        }
        let declared = Declared { sha256, size_bytes: Some(about.len()) };
        let (artifact, _) = self.ingest(by, declared, pieces(file)).await?;
        Ok((artifact, file_name(key)))
    }

    async fn own_object(
        &self,
        key: &str,
        sha256: Option<String>,
    ) -> Result<(ArtifactRow, String), ObjectError> {
        let (id, name) = key.split_once('/').unwrap_or((key, ""));
        let artifact = self.artifact(id).await?;
        let artifact = artifact
            .ok_or_else(|| ObjectError::Missing { bucket: OWN_BUCKET.to_owned(), key: key.to_owned() })?;
        if let Some(declared) = sha256
            && !declared.eq_ignore_ascii_case(&artifact.artifact_id)
        {
            return Err(IngestError::DigestMismatch { declared, got: artifact.artifact_id }.into());
        }
        let name = if name.is_empty() { "package.bin" } else { name };
        Ok((artifact, file_name(name)))
    }
}

/// The path of a key, if it stays below where it begins.
fn inside(key: &str) -> Option<&Path> {
    let path = Path::new(key);
    let is_plain = !key.is_empty()
        && !key.contains(char::is_control)
        && path.components().all(|part| matches!(part, Component::Normal(_)));
    is_plain.then_some(path)
}

/// The last part of a key, as devices are told it.
fn file_name(key: &str) -> String {
    let last = key.rsplit('/').next().unwrap_or(key);
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let name: String = last.trim_start_matches('.').chars().map(plain).take(128).collect();
    if name.is_empty() { "package.bin".to_owned() } else { name }
}

fn pieces(file: File) -> impl futures_util::Stream<Item = io::Result<Bytes>> {
    stream::try_unfold(file, |mut file| async move {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        let count = (&mut file).take(PIECE_BYTES as u64).read_to_end(&mut piece).await?;
        Ok((count > 0).then(|| (Bytes::from(piece), file)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stays_below_its_bucket() {
        for key in ["fw.bin", "pump/fw-2.0.0.bin", "a/b/c"] {
            assert!(inside(key).is_some(), "{key}");
        }
        for key in ["", "/etc/passwd", "../x", "a/../../x", "a/..", "./x", "a\0b"] {
            assert!(inside(key).is_none(), "{key:?}");
        }
    }

    #[test]
    fn devices_are_told_a_plain_name() {
        for (key, name) in [
            ("pump/fw-2.0.0.bin", "fw-2.0.0.bin"),
            ("固件 1.bin", "___1.bin"),
            (".hidden", "hidden"),
            ("...", "package.bin"),
        ] {
            assert_eq!(file_name(key), name, "{key}");
        }
    }
}
