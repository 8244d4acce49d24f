//! The place for bytes: artifacts, each known by the SHA-256 of what it holds.
//!
//! ```text
//! DIR/artifacts/incoming/7      being written
//! DIR/artifacts/ab/cdef…        kept; the name is the id, split after two digits
//! ```
//!
//! Always true:
//! - What can be opened is whole: bytes are written aside, made durable, and then renamed.
//! - When [`BlobWriter::finish`] answers `Ok`, the artifact survives the loss of power (not in memory).
//! - What was being written when the process died is gone at the next opening.
//! - An artifact never changes. Keeping the same bytes again is harmless.
//!
//! Not here: hashing, and the limits on what may come in (`otaru-engine`).

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::fs;
use tokio::io::AsyncWriteExt;

use crate::error::Fault;
use crate::private_files;

/// Where artifacts are kept. Cheap to clone; all clones are the same place.
#[derive(Clone, Debug)]
pub enum BlobStore {
    /// In a directory.
    Directory(BlobDirectory),
    /// Gone when the process is; for tests and simulations.
    Memory(BlobMemory),
}

/// Artifacts in a directory.
#[derive(Clone, Debug)]
pub struct BlobDirectory {
    artifacts: Arc<Path>,
    next_incoming: Arc<AtomicU64>,
}

/// Artifacts in memory.
#[derive(Clone, Debug, Default)]
pub struct BlobMemory {
    kept: Arc<Mutex<BTreeMap<String, Bytes>>>,
}

/// Why bytes were not kept or found.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// Not the SHA-256 of anything.
    #[error("{id:?} is no artifact id; 64 lower-case hex digits are accepted")]
    Id {
        /// What was given instead.
        id: String,
    },
    /// The disk or its file system refused.
    #[error("could not {doing} {}", path.display())]
    Io {
        /// `write`, `open`, …
        doing: &'static str,
        /// Which file or directory.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
}

impl BlobError {
    /// Whose fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            BlobError::Id { .. } => Fault::Caller,
            BlobError::Io { .. } => Fault::Unavailable,
        }
    }
    /// Whether it is for want of space.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        match self {
            BlobError::Id { .. } => false,
            BlobError::Io { cause, .. } => {
                matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
        }
    }
}

impl BlobStore {
    /// Opens the place for bytes in a data directory, making it at first, and removes what was half written.
    ///
    /// Call it once per process and directory: a second opening would remove what the first is writing.
    ///
    /// # Errors
    ///
    /// - `Io`: the directory cannot be made or read.
    pub async fn open_directory(dir: &Path) -> Result<BlobStore, BlobError> {
        let artifacts = dir.join("artifacts");
        let incoming = artifacts.join("incoming");
        let made = incoming.clone();
        blocking(move || {
            private_files::make_dir(&made)?;
            for entry in std::fs::read_dir(&made)? {
                std::fs::remove_file(entry?.path())?;
            }
            Ok(())
        })
        .await
        .map_err(failed("prepare", &incoming))?;
        Ok(BlobStore::Directory(BlobDirectory {
            artifacts: artifacts.into(),
            next_incoming: Arc::new(AtomicU64::new(1)),
        }))
    }

    /// An empty place that is gone when its last clone is.
    #[must_use]
    pub fn memory() -> BlobStore {
        BlobStore::Memory(BlobMemory::default())
    }

    /// Begins to write an artifact whose id is not known yet. Any number may be written at once.
    ///
    /// # Errors
    ///
    /// - `Io`: no file can be made.
    pub async fn writer(&self) -> Result<BlobWriter, BlobError> {
        match self {
            BlobStore::Directory(directory) => {
                let name = directory.next_incoming.fetch_add(1, Ordering::Relaxed).to_string();
                let path = directory.artifacts.join("incoming").join(name);
                let made = path.clone();
                let file =
                    blocking(move || private_files::make_file(&made)).await.map_err(failed("make", &path))?;
                Ok(BlobWriter::File(FileWriter {
                    file: fs::File::from_std(file),
                    aside: Aside(path),
                    artifacts: Arc::clone(&directory.artifacts),
                }))
            }
            BlobStore::Memory(memory) => {
                Ok(BlobWriter::Memory(MemoryWriter { bytes: Vec::new(), place: memory.clone() }))
            }
        }
    }

    /// Opens an artifact for reading; `None` if it is not kept. A reader goes on after [`delete`](Self::delete).
    ///
    /// # Errors
    ///
    /// - `Id`: not an artifact id.
    /// - `Io`: it cannot be read.
    pub async fn open(&self, artifact_id: &str) -> Result<Option<BlobReader>, BlobError> {
        check_id(artifact_id)?;
        match self {
            BlobStore::Directory(directory) => {
                let path = place(&directory.artifacts, artifact_id);
                let opened = path.clone();
                let file = blocking(move || {
                    let file = std::fs::File::open(opened)?;
                    let len = file.metadata()?.len();
                    Ok((file, len))
                });
                match file.await {
                    Ok((file, len)) => Ok(Some(BlobReader { len, from: Source::File(Arc::new(file)) })),
                    Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(cause) => Err(failed("open", &path)(cause)),
                }
            }
            BlobStore::Memory(memory) => Ok(memory
                .kept()
                .get(artifact_id)
                .map(|bytes| BlobReader { len: bytes.len() as u64, from: Source::Memory(bytes.clone()) })),
        }
    }

    /// How many bytes an artifact has; `None` if it is not kept.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn len(&self, artifact_id: &str) -> Result<Option<u64>, BlobError> {
        check_id(artifact_id)?;
        match self {
            BlobStore::Directory(directory) => {
                let path = place(&directory.artifacts, artifact_id);
                match fs::metadata(&path).await {
                    Ok(meta) => Ok(Some(meta.len())),
                    Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(cause) => Err(failed("examine", &path)(cause)),
                }
            }
            BlobStore::Memory(memory) => Ok(memory.kept().get(artifact_id).map(|bytes| bytes.len() as u64)),
        }
    }

    /// Deletes an artifact; whether there was one.
    ///
    /// Delete only what no package names: the row goes first, so that a crash in between leaves bytes without a
    /// row, never a row without bytes.
    ///
    /// # Errors
    ///
    /// - `Id`: not an artifact id.
    /// - `Io`: it cannot be deleted.
    pub async fn delete(&self, artifact_id: &str) -> Result<bool, BlobError> {
        check_id(artifact_id)?;
        match self {
            BlobStore::Directory(directory) => {
                let path = place(&directory.artifacts, artifact_id);
                match fs::remove_file(&path).await {
                    Ok(()) => Ok(true),
                    Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(false),
                    Err(cause) => Err(failed("delete", &path)(cause)),
                }
            }
            BlobStore::Memory(memory) => Ok(memory.kept().remove(artifact_id).is_some()),
        }
    }

    /// The ids of all artifacts whose bytes have been here for longer than `age`, in no order.
    ///
    /// Walks over all of them: for tidying up, now and then.
    ///
    /// # Errors
    ///
    /// - `Io`: the directory cannot be read.
    pub async fn older_than(&self, age: Duration) -> Result<Vec<String>, BlobError> {
        match self {
            BlobStore::Directory(directory) => {
                let asked = Arc::clone(&directory.artifacts);
                let found = blocking(move || ids_older_than(&asked, age));
                found.await.map_err(failed("list", &directory.artifacts))
            }
            BlobStore::Memory(memory) => Ok(memory.kept().keys().cloned().collect()),
        }
    }

    /// How many bytes can still be written before the disk is full, for a process that is not root. `u64::MAX`
    /// in memory.
    ///
    /// # Errors
    ///
    /// - `Io`: the file system does not say.
    pub async fn free_bytes(&self) -> Result<u64, BlobError> {
        match self {
            BlobStore::Directory(directory) => {
                let asked = Arc::clone(&directory.artifacts);
                let system = blocking(move || Ok(rustix::fs::statvfs(&*asked)?));
                let system = system.await.map_err(failed("ask for free space at", &directory.artifacts))?;
                Ok(system.f_bavail.saturating_mul(system.f_frsize))
            }
            BlobStore::Memory(_) => Ok(u64::MAX),
        }
    }
}

impl BlobMemory {
    fn kept(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Bytes>> {
        // Each use is one call on the map, so that a panic elsewhere cannot leave it half changed.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An artifact being written. Dropped without [`finish`](BlobWriter::finish), nothing of it stays.
#[derive(Debug)]
pub enum BlobWriter {
    /// Into a file that is renamed at the end.
    File(FileWriter),
    /// Into memory.
    Memory(MemoryWriter),
}

/// An artifact being written into a file.
#[derive(Debug)]
pub struct FileWriter {
    file: fs::File,
    aside: Aside,
    artifacts: Arc<Path>,
}

/// An artifact being written into memory.
#[derive(Debug)]
pub struct MemoryWriter {
    bytes: Vec<u8>,
    place: BlobMemory,
}

/// A file that goes away unless it is kept.
#[derive(Debug)]
struct Aside(PathBuf);

impl Drop for Aside {
    fn drop(&mut self) {
        // Absent after a rename. What cannot be removed now is removed at the next opening.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl BlobWriter {
    /// Appends `bytes`.
    ///
    /// # Errors
    ///
    /// - `Io`: the disk refused; this or an earlier piece is lost, so give up.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        match self {
            BlobWriter::File(writer) => {
                writer.file.write_all(bytes).await.map_err(failed("write", &writer.aside.0))
            }
            BlobWriter::Memory(writer) => {
                writer.bytes.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// Keeps what was written as `artifact_id`, which the caller has computed from the bytes. Durable when this
    /// answers. If that artifact is kept already, it stays as it is.
    ///
    /// # Errors
    ///
    /// - `Id`: not an artifact id; nothing is kept.
    /// - `Io`: the disk refused. It may or may not be kept; writing it again is safe.
    pub async fn finish(self, artifact_id: &str) -> Result<(), BlobError> {
        check_id(artifact_id)?;
        match self {
            BlobWriter::File(mut writer) => {
                writer.file.flush().await.map_err(failed("write", &writer.aside.0))?;
                writer.file.sync_all().await.map_err(failed("write", &writer.aside.0))?;
                let FileWriter { file, aside, artifacts } = writer;
                drop(file);
                let to = place(&artifacts, artifact_id);
                let kept = to.clone();
                let keep = move || {
                    let folder = to.parent().unwrap_or(&artifacts);
                    let folder_is_new = !folder.is_dir();
                    private_files::make_dir(folder)?;
                    std::fs::rename(&aside.0, &to)?;
                    private_files::sync_dir(folder)?;
                    if folder_is_new { private_files::sync_dir(&artifacts) } else { Ok(()) }
                };
                blocking(keep).await.map_err(failed("keep", &kept))
            }
            BlobWriter::Memory(writer) => {
                writer.place.kept().insert(artifact_id.to_owned(), writer.bytes.into());
                Ok(())
            }
        }
    }

    /// Gives up: nothing of it stays. The same as dropping it, said aloud.
    pub fn abandon(self) {}
}

/// An artifact that is open for reading.
#[derive(Debug)]
pub struct BlobReader {
    len: u64,
    from: Source,
}

#[derive(Debug)]
enum Source {
    File(Arc<std::fs::File>),
    Memory(Bytes),
}

impl BlobReader {
    /// How many bytes the artifact has.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it is the size of a file, not of a collection")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// The bytes of `range`, in pieces of at most `piece_bytes`. What is beyond the end of the artifact is not there.
    #[must_use]
    pub fn pieces(self, range: Range<u64>, piece_bytes: usize) -> BlobPieces {
        let (at, end) = (range.start.min(self.len), range.end.min(self.len));
        let spare = Arc::default();
        BlobPieces { from: self.from, at, end, piece_bytes: piece_bytes.max(1), spare }
    }
}

/// A part of an artifact on its way out, a piece at a time.
///
/// What the system has in memory is read where it is asked for: a package that is rolled out is, and a trip to another
/// thread would cost more than the reading. Only for what is not there, a thread waits for the disk.
#[derive(Debug)]
pub struct BlobPieces {
    from: Source,
    /// Where the next piece begins.
    at: u64,
    end: u64,
    piece_bytes: usize,
    spare: Arc<Spare>,
}

impl BlobPieces {
    /// The next piece; `None` after the last one. If it is dropped while it waits, the same piece comes next.
    ///
    /// # Errors
    ///
    /// The disk refused, or the file is shorter than it was; there are no further pieces then.
    pub async fn next(&mut self) -> Option<io::Result<Bytes>> {
        if self.at >= self.end {
            return None;
        }
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let piece = self.read(left.min(self.piece_bytes)).await;
        match &piece {
            Ok(bytes) => self.at += bytes.len() as u64,
            Err(_) => self.end = self.at,
        }
        Some(piece)
    }

    async fn read(&self, most: usize) -> io::Result<Bytes> {
        let file = match &self.from {
            Source::Memory(bytes) => {
                // Within an artifact that is in memory.
                let at = usize::try_from(self.at).unwrap_or(usize::MAX).min(bytes.len());
                return Ok(bytes.slice(at..at.saturating_add(most).min(bytes.len())));
            }
            Source::File(file) => file,
        };
        let mut buffer = self.spare.take();
        buffer.resize(most.max(buffer.len()), 0);
        let len = match read_at_once(file, &mut buffer[..most], self.at) {
            Some(len) => len,
            None => {
                let (file, at) = (Arc::clone(file), self.at);
                let waited = blocking(move || {
                    let len = file.read_at(&mut buffer[..most], at)?;
                    Ok((buffer, len))
                });
                let len;
                (buffer, len) = waited.await?;
                len
            }
        };
        if len == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the artifact is shorter than it was"));
        }
        Ok(Bytes::from_owner(Lent { buffer, len, home: Arc::clone(&self.spare) }))
    }
}

/// Reads what the system has in memory; `None` where it would have to wait for the disk, or cannot tell.
#[cfg(target_os = "linux")]
fn read_at_once(file: &std::fs::File, into: &mut [u8], at: u64) -> Option<usize> {
    use rustix::io::{ReadWriteFlags, preadv2};

    preadv2(file, &mut [io::IoSliceMut::new(into)], at, ReadWriteFlags::NOWAIT).ok()
}

#[cfg(not(target_os = "linux"))]
fn read_at_once(_: &std::fs::File, _: &mut [u8], _: u64) -> Option<usize> {
    None
}

/// Buffers that came back. Fresh ones would be cleared by the system page by page, which takes as long as the reading.
#[derive(Debug, Default)]
struct Spare(Mutex<Vec<Vec<u8>>>);

impl Spare {
    fn take(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }
}

/// A buffer that goes back when the last piece of it is done with.
struct Lent {
    buffer: Vec<u8>,
    len: usize,
    home: Arc<Spare>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        self.home.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

/// Ids become paths, so that only what cannot climb is let through.
fn check_id(artifact_id: &str) -> Result<(), BlobError> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if artifact_id.len() == 64 && artifact_id.bytes().all(is_digit) {
        Ok(())
    } else {
        Err(BlobError::Id { id: artifact_id.chars().take(80).collect() })
    }
}

/// Two digits of folder: 256 of them, so that none grows beyond what tools list comfortably.
fn place(artifacts: &Path, checked_id: &str) -> PathBuf {
    let (folder, name) = checked_id.split_at(2);
    artifacts.join(folder).join(name)
}

/// What stands in the folders and has the form of an artifact.
fn ids_older_than(artifacts: &Path, age: Duration) -> io::Result<Vec<String>> {
    let mut ids = Vec::new();
    for folder in std::fs::read_dir(artifacts)? {
        let folder = folder?;
        if !folder.file_type()?.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(folder.path())? {
            let file = file?;
            let (Some(first), Some(rest)) = (
                folder.file_name().to_str().map(str::to_owned),
                file.file_name().to_str().map(str::to_owned),
            ) else {
                continue;
            };
            let id = first + &rest;
            // Age by the file's own clock: one that cannot be told is young.
            let is_old = file.metadata()?.modified()?.elapsed().is_ok_and(|is| is >= age);
            if is_old && check_id(&id).is_ok() {
                ids.push(id);
            }
        }
    }
    Ok(ids)
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BlobError {
    let path = path.to_owned();
    move |cause| BlobError::Io { doing, path, cause }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|stopped| Err(io::Error::other(stopped)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    const OTHER: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9825";

    #[tokio::test]
    async fn a_directory_behaves_like_a_place_for_bytes() {
        let dir = tempfile::tempdir().unwrap();
        behaves_like_a_place_for_bytes(async || BlobStore::open_directory(dir.path()).await.unwrap()).await;
    }

    #[tokio::test]
    async fn memory_behaves_like_a_place_for_bytes() {
        behaves_like_a_place_for_bytes(async || BlobStore::memory()).await;
    }

    async fn behaves_like_a_place_for_bytes(open: impl AsyncFn() -> BlobStore) {
        let blobs = open().await;
        what_was_finished_can_be_read_from_anywhere(&blobs).await;
        what_was_abandoned_is_not_there(&blobs).await;
        the_same_bytes_may_be_kept_twice(&blobs).await;
        ids_that_are_no_ids_are_refused(&blobs).await;
        what_was_deleted_is_gone_but_its_readers_go_on(&blobs).await;
        assert!(blobs.free_bytes().await.unwrap() > 0);
    }

    async fn what_was_finished_can_be_read_from_anywhere(blobs: &BlobStore) {
        assert!(blobs.open(ID).await.unwrap().is_none());
        assert_eq!(blobs.len(ID).await.unwrap(), None);
        keep(blobs, ID, &["hel", "", "lo"]).await;
        assert_eq!(blobs.len(ID).await.unwrap(), Some(5));
        let open = async || blobs.open(ID).await.unwrap().unwrap();
        assert_eq!(open().await.len(), 5);
        assert_eq!(all_of(open().await, 3..5, 100).await, ["lo"]);
        assert_eq!(all_of(open().await, 0..5, 2).await, ["he", "ll", "o"]);
        assert_eq!(all_of(open().await, 1..4, 3).await, ["ell"]);
        assert_eq!(all_of(open().await, 4..900, 2).await, ["o"], "nothing is after the end");
        assert_eq!(all_of(open().await, 5..5, 2).await, [""; 0]);
    }

    #[tokio::test]
    async fn a_file_that_became_shorter_is_an_error_and_not_a_short_artifact() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = BlobStore::open_directory(dir.path()).await.unwrap();
        keep(&blobs, ID, &["hello"]).await;
        let mut pieces = blobs.open(ID).await.unwrap().unwrap().pieces(0..5, 2);
        std::fs::write(place(&dir.path().join("artifacts"), ID), b"hel").unwrap();
        assert_eq!(pieces.next().await.unwrap().unwrap(), "he");
        assert_eq!(pieces.next().await.unwrap().unwrap(), "l");
        assert_eq!(pieces.next().await.unwrap().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert!(pieces.next().await.is_none());
    }

    async fn what_was_abandoned_is_not_there(blobs: &BlobStore) {
        let mut writer = blobs.writer().await.unwrap();
        writer.write(b"half").await.unwrap();
        writer.abandon();
        assert!(blobs.open(OTHER).await.unwrap().is_none());
    }

    async fn the_same_bytes_may_be_kept_twice(blobs: &BlobStore) {
        let reading = blobs.open(ID).await.unwrap().unwrap();
        keep(blobs, ID, &["hello"]).await;
        assert_eq!(all_of(reading, 0..5, 100).await, ["hello"]);
        assert_eq!(blobs.len(ID).await.unwrap(), Some(5));
    }

    async fn ids_that_are_no_ids_are_refused(blobs: &BlobStore) {
        for id in
            ["", "../../../../etc/passwd", "abc", &ID.to_uppercase(), &format!("{ID}0"), &"é".repeat(32)]
        {
            assert!(matches!(blobs.open(id).await, Err(BlobError::Id { .. })), "{id}");
            let writer = blobs.writer().await.unwrap();
            assert!(matches!(writer.finish(id).await, Err(BlobError::Id { .. })), "{id}");
        }
    }

    async fn what_was_deleted_is_gone_but_its_readers_go_on(blobs: &BlobStore) {
        let reading = blobs.open(ID).await.unwrap().unwrap();
        assert!(blobs.delete(ID).await.unwrap());
        assert!(!blobs.delete(ID).await.unwrap());
        assert!(blobs.open(ID).await.unwrap().is_none());
        assert_eq!(all_of(reading, 0..5, 100).await, ["hello"]);
    }

    #[tokio::test]
    async fn leftovers_of_a_crash_are_removed_and_artifacts_stay() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = BlobStore::open_directory(dir.path()).await.unwrap();
        keep(&blobs, ID, &["hello"]).await;
        let incoming = dir.path().join("artifacts/incoming");
        std::fs::write(incoming.join("1"), b"half").unwrap();
        let again = BlobStore::open_directory(dir.path()).await.unwrap();
        assert_eq!(std::fs::read_dir(&incoming).unwrap().count(), 0);
        assert_eq!(again.len(ID).await.unwrap(), Some(5));
        let kept = dir.path().join("artifacts/2c").join(&ID[2..]);
        assert_eq!(std::fs::read(kept).unwrap(), b"hello");
    }

    #[tokio::test]
    async fn a_writer_that_is_dropped_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = BlobStore::open_directory(dir.path()).await.unwrap();
        let mut writer = blobs.writer().await.unwrap();
        writer.write(&[0; 100_000]).await.unwrap();
        drop(writer);
        assert_eq!(std::fs::read_dir(dir.path().join("artifacts/incoming")).unwrap().count(), 0);
    }

    async fn keep(blobs: &BlobStore, id: &str, pieces: &[&str]) {
        let mut writer = blobs.writer().await.unwrap();
        for piece in pieces {
            writer.write(piece.as_bytes()).await.unwrap();
        }
        writer.finish(id).await.unwrap();
    }

    async fn all_of(reader: BlobReader, range: Range<u64>, piece_bytes: usize) -> Vec<String> {
        let mut pieces = reader.pieces(range, piece_bytes);
        let mut all = Vec::new();
        while let Some(piece) = pieces.next().await {
            all.push(String::from_utf8(piece.unwrap().to_vec()).unwrap());
        }
        all
    }
}
