//! Objects that a package names by bucket and key, and the buckets they are in.
//!
//! ```text
//! otaru/SHA256[/NAME]      what was uploaded to the platform
//! BUCKET/path/to/file.bin  a file below the directory of a configured bucket, or an object in an S3-compatible store
//! ```
//!
//! Always true:
//! - Nothing outside of a bucket's directory is read, also not through a link; nothing is opened that is not a file.
//! - Devices are served from the artifact: what happens to the object later does not matter.
//!
//! Not here: when an object is read (`contents`).

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use otaru_store::{ArtifactRow, ObjectPlace, StoreError};
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use crate::artifacts::IngestError;
use crate::driver::{Engine, Shared};
use crate::errors::{Faulty, Kind};

mod s3;

pub use s3::{S3Bucket, S3Error, S3Place};

/// The bucket of what was uploaded to the platform.
pub const OWN_BUCKET: &str = "otaru";

/// Bytes of a file read at once.
const PIECE_BYTES: usize = 256 << 10;

/// How long looking for a file, or reading so much of it, may take: a directory may be on another machine, which may be gone.
const PIECE_TIME: Duration = Duration::from_secs(30);

/// Where buckets are, by name.
pub type Buckets = BTreeMap<String, Bucket>;

/// A configured bucket.
#[derive(Clone, Debug)]
pub enum Bucket {
    /// Files below this directory.
    Directory(PathBuf),
    /// Objects of an S3-compatible store.
    S3(S3Bucket),
}

/// Why an object is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// No such bucket is configured.
    #[error(
        "there is no bucket {0}; buckets are set as `buckets.NAME = \"/a/directory\"` or `\"s3://BUCKET\"`, and `otaru` has what was uploaded"
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
    /// It may be there, and the platform may not read it.
    #[error("the object {key} in bucket {bucket} may not be read: {cause}")]
    Forbidden {
        /// In which bucket.
        bucket: String,
        /// Which object.
        key: String,
        /// What the bucket says.
        cause: String,
    },
    /// Where it is does not answer.
    #[error("the object {key} in bucket {bucket} cannot be read: {cause}")]
    Unreadable {
        /// In which bucket.
        bucket: String,
        /// Which object.
        key: String,
        /// What the bucket says.
        cause: String,
    },
    /// There is nothing in it.
    #[error("the object {key} in bucket {bucket} is empty")]
    Empty {
        /// In which bucket.
        bucket: String,
        /// Which object.
        key: String,
    },
    /// More than is accepted.
    #[error("the object {key} in bucket {bucket} is larger than {accepted} bytes")]
    TooLarge {
        /// In which bucket.
        bucket: String,
        /// Which object.
        key: String,
        /// How many are accepted.
        accepted: u64,
    },
    /// It is another one than was meant.
    #[error("the object {key} in bucket {bucket} hashes to {got}, and not to {declared} as was said")]
    OtherDigest {
        /// In which bucket.
        bucket: String,
        /// Which object.
        key: String,
        /// What was said.
        declared: String,
        /// What it is.
        got: String,
    },
    /// Its bytes could not be kept.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// Try again later, or ours.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Faulty for ObjectError {
    fn code(&self) -> &'static str {
        match self {
            ObjectError::NoBucket(_) | ObjectError::Missing { .. } | ObjectError::Forbidden { .. } => {
                "unknown_artifact"
            }
            ObjectError::Key(_) | ObjectError::Empty { .. } | ObjectError::TooLarge { .. } => "invalid",
            ObjectError::OtherDigest { .. } => "digest_mismatch",
            ObjectError::Unreadable { .. } => "unavailable",
            ObjectError::Ingest(error) => error.code(),
            ObjectError::Store(error) => error.code(),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            ObjectError::NoBucket(_)
            | ObjectError::Missing { .. }
            | ObjectError::Forbidden { .. }
            | ObjectError::Key(_)
            | ObjectError::Empty { .. }
            | ObjectError::TooLarge { .. }
            | ObjectError::OtherDigest { .. } => Kind::Invalid,
            ObjectError::Unreadable { .. } => Kind::Unavailable,
            ObjectError::Ingest(error) => error.kind(),
            ObjectError::Store(error) => error.kind(),
        }
    }
}

/// An object that is there.
pub(crate) struct FoundObject {
    pub(crate) size_bytes: u64,
    at: At,
}

/// Where its bytes are.
enum At {
    File(PathBuf),
    S3(s3::Found),
}

/// Why an object was not found, in a bucket and under a key that whoever asks knows.
#[derive(Debug)]
enum Why {
    Missing,
    Forbidden(String),
    Unreadable(String),
}

impl Why {
    fn of_io(cause: &io::Error) -> Why {
        use io::ErrorKind::{InvalidFilename, NotADirectory, NotFound, PermissionDenied};
        let kind = cause.kind();
        if matches!(kind, NotFound | NotADirectory | InvalidFilename) {
            Why::Missing
        } else if kind == PermissionDenied {
            Why::Forbidden(cause.to_string())
        } else {
            Why::Unreadable(cause.to_string())
        }
    }
}

impl Shared {
    /// Looks for an object that a package is to have.
    pub(crate) async fn find_object(&self, place: &ObjectPlace) -> Result<FoundObject, ObjectError> {
        let ObjectPlace { bucket, key, .. } = place;
        let there = self.settings.buckets.get(bucket);
        let there = there.ok_or_else(|| ObjectError::NoBucket(bucket.clone()))?;
        let path = inside(key).ok_or_else(|| ObjectError::Key(key.clone()))?;
        let found = match there {
            Bucket::Directory(root) => match tokio::time::timeout(PIECE_TIME, find_file(root, path)).await {
                Ok(found) => found,
                Err(_) => Err(Why::Unreadable("its directory does not answer".to_owned())),
            },
            Bucket::S3(there) => {
                let found = there.find(key).await;
                found.map(|found| FoundObject { size_bytes: found.size_bytes(), at: At::S3(found) })
            }
        };
        let (bucket, key, accepted) = (bucket.clone(), key.clone(), self.settings.artifact_bytes_max);
        Err(match found {
            Ok(found) if found.size_bytes == 0 => ObjectError::Empty { bucket, key },
            Ok(found) if found.size_bytes > accepted => ObjectError::TooLarge { bucket, key, accepted },
            Ok(found) => return Ok(found),
            Err(Why::Missing) => ObjectError::Missing { bucket, key },
            Err(Why::Forbidden(cause)) => ObjectError::Forbidden { bucket, key, cause },
            Err(Why::Unreadable(cause)) => ObjectError::Unreadable { bucket, key, cause },
        })
    }
}

impl FoundObject {
    /// Its bytes, in pieces.
    pub(crate) async fn open(self) -> io::Result<BoxStream<'static, io::Result<Bytes>>> {
        Ok(match self.at {
            At::File(path) => pieces(File::open(path).await?).boxed(),
            At::S3(found) => found.pieces().boxed(),
        })
    }
}

impl Engine {
    /// What was uploaded to the platform, by the key of its object, `SHA256` or `SHA256/NAME`; and the name of its file.
    /// `sha256`: what its digest has to be.
    ///
    /// # Errors
    ///
    /// `Missing`; `OtherDigest`; `Store`.
    pub async fn own_object(
        &self,
        key: &str,
        sha256: Option<&str>,
    ) -> Result<(ArtifactRow, String), ObjectError> {
        let (id, name) = key.split_once('/').unwrap_or((key, ""));
        let artifact = self.artifact(id).await?;
        let artifact = artifact
            .ok_or_else(|| ObjectError::Missing { bucket: OWN_BUCKET.to_owned(), key: key.to_owned() })?;
        if let Some(declared) = sha256
            && !declared.eq_ignore_ascii_case(&artifact.artifact_id)
        {
            let declared = declared.to_owned();
            let (bucket, key) = (OWN_BUCKET.to_owned(), key.to_owned());
            return Err(ObjectError::OtherDigest { bucket, key, declared, got: artifact.artifact_id });
        }
        let name = if name.is_empty() { "package.bin" } else { name };
        Ok((artifact, file_name(name)))
    }
}

/// A file below `root`, which may be reached through links as long as they stay there.
async fn find_file(root: &Path, path: &Path) -> Result<FoundObject, Why> {
    let failed = |cause: io::Error| Why::of_io(&cause);
    let path = root.join(path);
    // That one was there when the configuration was read.
    let root = tokio::fs::canonicalize(root).await;
    let root = root.map_err(|cause| Why::Unreadable(format!("the directory of the bucket: {cause}")))?;
    let path = tokio::fs::canonicalize(&path).await.map_err(failed)?;
    if !path.starts_with(&root) {
        return Err(Why::Missing);
    }
    // Before it is opened: opening a pipe waits for whoever writes into it.
    let about = tokio::fs::metadata(&path).await.map_err(failed)?;
    if !about.is_file() {
        return Err(Why::Missing);
    }
    // Whether it may be read is known once it was opened.
    File::open(&path).await.map_err(failed)?;
    Ok(FoundObject { size_bytes: about.len(), at: At::File(path) })
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
pub(crate) fn file_name(key: &str) -> String {
    let last = key.rsplit('/').next().unwrap_or(key);
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let name: String = last.trim_start_matches('.').chars().map(plain).take(128).collect();
    if name.is_empty() { "package.bin".to_owned() } else { name }
}

fn pieces(file: File) -> impl futures_util::Stream<Item = io::Result<Bytes>> {
    stream::try_unfold(file, |mut file| async move {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        let mut next = (&mut file).take(PIECE_BYTES as u64);
        let count = tokio::time::timeout(PIECE_TIME, next.read_to_end(&mut piece)).await??;
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
