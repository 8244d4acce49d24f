//! What is remembered: a narrow set of operations in the words of the domain, and a place for bytes.
//!
//! Always true:
//! - Every member of [`Store`] passes the same suite, `conformance`.
//! - A campaign's counters change in the same transaction as the deployments they count.
//! - When an operation returns `Ok`, what it wrote survives `kill -9` and the loss of power (not in memory).
//! - No SQL and no row type of an engine leaves this crate.
//!
//! Not here: what any of it means (`core`), and who may do it (`engine`).
#![warn(missing_docs)]

mod backup;
mod blobs;
mod error;
pub mod limits;
mod master_key;
mod memory;
mod private_files;
mod rows;
mod rules;
mod sqlite;
mod transact;
mod vault;
mod waist;

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;

pub use backup::{BackupError, BackupOptions, Manifest, Restored, SecretFile, restore};
pub use blobs::{BlobError, BlobPieces, BlobReader, BlobStore, BlobWriter};
pub use error::{Fault, StoreError};
pub use master_key::{KeyChange, MasterKeyError, change_master_key, open_vault};
pub use memory::Faults;
pub use rows::*;
pub use rules::{access_key_context, acted, push_token_context};
pub use sqlite::{SqliteOptions, Synchronous};
pub use transact::{
    Changes, Committed, Decide, DeviceView, FurtherRun, Latest, Loaded, NewReport, Note, OutboxLine,
    Progress, QuarantinedEvent, Say, Wanted, Which,
};
pub use vault::{Vault, VaultError};
pub use waist::Store;
