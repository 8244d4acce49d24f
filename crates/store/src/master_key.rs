//! The master key of a store: taken at the start, and changed by a command.
//!
//! ```text
//! master.key        what opens the secrets
//! master.key.next   the key that a change is about to seal them with; durable before anything is sealed
//! ```
//!
//! Always true:
//! - A key that does not open the secrets of the store is noticed before anything is served.
//! - A change is one transaction, between the moment when the next key is durable and the one when it takes the place of
//!   the old one: whenever it is interrupted, the file that opens the secrets is there, and the next start finds it.
//! - No new key is made while the store has secrets of an older one, unless these are given up by name.
//!
//! Not here: what is sealed (`sqlite/keys.rs`), and how (`vault`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::StoreError;
use crate::private_files;
use crate::vault::{KEY_FILE, Vault, VaultError, keep_key, random_key_text};
use crate::waist::Store;

/// Why there is no vault for a store, or why its key was not changed.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// It is a key, and not the one that sealed the secrets.
    #[error(
        "the secrets in the store were sealed with another master key than the one in {source_name}; bring back the \
         one of this store, or give its secrets up with `otaru master-key change --give-up-secrets`"
    )]
    Other {
        /// `OTARU_MASTER_KEY`, or the path of the file.
        source_name: String,
    },
    /// There is none, and there are secrets.
    #[error(
        "there is no {}, and the store has secrets that it opens; bring it back, set OTARU_MASTER_KEY, or give the \
         secrets up with `otaru master-key change --give-up-secrets`", path.display()
    )]
    Gone {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The old one came from a variable, so the new one has to as well.
    #[error(
        "the master key is in OTARU_MASTER_KEY, so this command cannot keep the new one: put it into \
         OTARU_NEW_MASTER_KEY, as `openssl rand -hex 32` makes it"
    )]
    NowhereToKeep,
    /// Nothing would change.
    #[error("the new master key is the old one; another one is accepted")]
    Same,
    /// A secret does not open with the old key; nothing was changed.
    #[error("nothing was changed: the secret {context} does not open with the master key of this store")]
    Closed {
        /// A device's id, or which access key or rule action it belongs to.
        context: String,
    },
    /// It is no key, or its file cannot be used.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A change that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChange {
    /// How many secrets were sealed again; `None` if they were given up.
    pub sealed_again: Option<u64>,
    /// The file that has the new key; `None` if it is in a variable.
    pub kept_in: Option<PathBuf>,
}

/// Opens the vault of a store: with the key from `env_key` if given (what `OTARU_MASTER_KEY` holds), or else from
/// `dir/master.key`, which is made if the store has never had one. Brings a change that was interrupted to its end.
///
/// *Retry*: safe.
///
/// # Errors
///
/// - `Other`, `Gone`: it is not the key of this store, or there is none.
/// - `Vault`: it is no key, or the file cannot be read or made.
pub async fn open_vault(store: &Store, dir: &Path, env_key: Option<&str>) -> Result<Vault, MasterKeyError> {
    let Some(mark) = store.key_mark().await? else {
        let vault = Vault::open_or_create(dir, env_key)?;
        store.note_key_mark(vault.mark()).await?;
        return Ok(vault);
    };
    if let Some(text) = env_key {
        let vault = Vault::of_text(text, "OTARU_MASTER_KEY")?;
        return if vault.mark() == mark {
            Ok(vault)
        } else {
            Err(MasterKeyError::Other { source_name: "OTARU_MASTER_KEY".to_owned() })
        };
    }
    let (path, next) = (dir.join(KEY_FILE), next(dir));
    let known = path.exists();
    if known {
        let vault = Vault::open_or_create(dir, None)?;
        if vault.mark() == mark {
            return Ok(vault);
        }
    }
    if let Ok(text) = fs::read_to_string(&next) {
        let vault = Vault::of_text(&text, &next.display().to_string())?;
        if vault.mark() == mark {
            put_in_place(dir)?;
            return Ok(vault);
        }
    }
    if known {
        Err(MasterKeyError::Other { source_name: path.display().to_string() })
    } else {
        Err(MasterKeyError::Gone { path })
    }
}

/// Seals every secret of a store again with another master key: `new_key` (what `OTARU_NEW_MASTER_KEY` holds), or a random
/// one. The old one is `env_key` or in the file, as for [`open_vault`]. `give_up`: the old one is lost; its secrets are
/// left as they are, and nothing will open them.
///
/// Takes some seconds for a million secrets, and room for them in the write-ahead log.
///
/// *Retry*: safe; makes one more change.
///
/// # Errors
///
/// - As [`open_vault`], unless `give_up`.
/// - `NowhereToKeep`, `Same`: about the new key.
/// - `Closed`: a secret does not open; nothing was changed.
pub async fn change_master_key(
    store: &Store,
    dir: &Path,
    env_key: Option<&str>,
    new_key: Option<&str>,
    give_up: bool,
) -> Result<KeyChange, MasterKeyError> {
    let old = if give_up { None } else { Some(open_vault(store, dir, env_key).await?) };
    let text = match new_key {
        Some(text) => format!("{}\n", text.trim()),
        None if env_key.is_some() => return Err(MasterKeyError::NowhereToKeep),
        None => random_key_text(),
    };
    let new = Arc::new(Vault::of_text(&text, "OTARU_NEW_MASTER_KEY")?);
    let mark = new.mark();
    if store.key_mark().await? == Some(mark) {
        return Err(MasterKeyError::Same);
    }
    let in_file = env_key.is_none();
    if in_file {
        let next = next(dir);
        keep_key(dir, &next, &text).map_err(|cause| VaultError::File {
            path: next.clone(),
            doing: "made",
            cause,
        })?;
    }
    let sealed_again = match old {
        None => {
            store.note_key_mark(mark).await?;
            None
        }
        Some(old) => {
            let closed = Arc::new(std::sync::Mutex::new(None));
            let seen = Arc::clone(&closed);
            let reseal = move |context: &str, sealed: &[u8]| {
                let plain = old.open(context, sealed).map_err(|error| {
                    *seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
                        Some(context.to_owned());
                    StoreError::Corrupt { what: "device secret", problem: error.to_string() }
                })?;
                Ok(new.seal(context, &plain))
            };
            let done = store.seal_again(mark, Box::new(reseal)).await;
            let closed = closed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
            match (done, closed) {
                (Ok(count), _) => Some(count),
                (Err(_), Some(context)) => return Err(MasterKeyError::Closed { context }),
                (Err(error), None) => return Err(error.into()),
            }
        }
    };
    if in_file {
        put_in_place(dir)?;
    }
    Ok(KeyChange { sealed_again, kept_in: in_file.then(|| dir.join(KEY_FILE)) })
}

fn next(dir: &Path) -> PathBuf {
    dir.join(format!("{KEY_FILE}.next"))
}

/// The next key takes the place of the old one, which nothing needs any more.
fn put_in_place(dir: &Path) -> Result<(), VaultError> {
    let path = dir.join(KEY_FILE);
    let put = || -> io::Result<()> {
        fs::rename(next(dir), &path)?;
        private_files::sync_dir(dir)
    };
    put().map_err(|cause| VaultError::File { path: path.clone(), doing: "replaced", cause })
}

#[cfg(test)]
mod tests;
