//! What can be asked about the key that the secrets are sealed with.

use super::Store;
use crate::error::StoreError;
use crate::rows::{KeyMark, Reseal};

/// The master key. Its users are in `master_key`.
impl Store {
    /// What was noted of the key that the secrets are sealed with.
    pub(crate) async fn key_mark(&self) -> Result<Option<KeyMark>, StoreError> {
        read!(self, |t| t.key_mark())
    }

    /// Notes the key that the secrets are sealed with.
    ///
    /// *Retry*: safe.
    pub(crate) async fn note_key_mark(&self, mark: KeyMark) -> Result<(), StoreError> {
        write!(self, Small, |t| t.note_key_mark(&mark))
    }

    /// Seals every secret again and notes the key that does it; how many there were. All of them, or none.
    ///
    /// *Retry*: what `reseal` cannot open ends it.
    ///
    /// # Errors
    ///
    /// Those of `reseal`.
    pub(crate) async fn seal_again(&self, mark: KeyMark, mut reseal: Box<Reseal>) -> Result<u64, StoreError> {
        write!(self, Large, |t| t.seal_again(&mark, &mut *reseal))
    }
}
