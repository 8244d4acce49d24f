//! Access keys: pairs of a key and a secret with which applications sign their requests.
//!
//! Always true:
//! - A secret is shown once and kept sealed; whoever reads the store without the master key cannot sign.
//!
//! Not here: what a signature looks like (`otaru-api`).

use std::time::Duration;

use otaru_core::WallTime;
use otaru_store::{AccessKeyRow, Actor, DeviceRecord, Role, StoreError, access_key_context};

use crate::driver::Engine;
use crate::errors::{Faulty, Kind};
use crate::limits::NAME_CHARS_MAX;
use crate::tokens::{Operator, random_hex};

/// An access key that was just made.
#[derive(Clone, PartialEq, Eq)]
pub struct NewAccessKey {
    /// What is kept of it.
    pub row: AccessKeyRow,
    /// Its secret; shown once.
    pub secret: String,
    /// Of which project it is, by public id: the one in the paths of its requests.
    pub project_id: String,
}

/// Who signs with an access key, and with which secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Signer {
    /// Recorded with every change.
    pub operator: Operator,
    /// What signs.
    pub secret: String,
}

/// Why an access key is not accepted, made or revoked.
#[derive(Debug, thiserror::Error)]
pub enum AccessKeyError {
    /// There is no such key.
    #[error("there is no access key {0}")]
    Unknown(String),
    /// A name outside its range.
    #[error("`name` has {0} characters; 1 to 256 are accepted")]
    Name(usize),
    /// Its secret does not open.
    #[error("the secret of {0} does not open with the master key of this server")]
    Closed(String),
    /// The machine has no randomness to give.
    #[error("the system's random source failed")]
    Random,
    /// Try again later, or ours.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Faulty for AccessKeyError {
    fn code(&self) -> &'static str {
        match self {
            AccessKeyError::Unknown(_) => "not_found",
            AccessKeyError::Name(_) => "invalid",
            AccessKeyError::Closed(_) | AccessKeyError::Random => "internal",
            AccessKeyError::Store(error) => error.code(),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            AccessKeyError::Unknown(_) => Kind::NotFound,
            AccessKeyError::Name(_) => Kind::Invalid,
            AccessKeyError::Closed(_) | AccessKeyError::Random => Kind::Internal,
            AccessKeyError::Store(error) => error.kind(),
        }
    }
}

impl Engine {
    /// The id of the project that everything belongs to: 24 lower-case hex digits.
    #[must_use]
    pub fn project_id(&self) -> &str {
        &self.shared.project.project_id
    }

    /// When that project was made.
    #[must_use]
    pub fn project_since(&self) -> WallTime {
        // Six bytes of milliseconds are what its id begins with.
        let millis = self.project_id().get(..12).and_then(|digits| i64::from_str_radix(digits, 16).ok());
        WallTime(millis.unwrap_or(0))
    }

    /// The secret of a device that proves itself with one.
    ///
    /// # Errors
    ///
    /// `Closed`: the master key is another one than when it was sealed.
    pub fn device_secret(&self, device: &DeviceRecord) -> Result<Option<String>, AccessKeyError> {
        let id = device.row.device_id.as_str();
        let closed = || AccessKeyError::Closed(id.to_owned());
        let Some(sealed) = &device.row.sealed_secret else { return Ok(None) };
        let secret = self.shared.vault.open(id, sealed).map_err(|_| closed())?;
        String::from_utf8(secret).map(Some).map_err(|_| closed())
    }

    /// What the clock shows to people.
    #[must_use]
    pub fn wall(&self) -> WallTime {
        self.shared.clock.wall()
    }

    /// Makes an access key. Calling it again makes another one.
    ///
    /// # Errors
    ///
    /// - `Name`: none, or too long a one.
    pub async fn create_access_key(
        &self,
        by: &Operator,
        name: &str,
        role: Role,
    ) -> Result<NewAccessKey, AccessKeyError> {
        let chars = name.trim().chars().count();
        if chars == 0 || chars > NAME_CHARS_MAX {
            return Err(AccessKeyError::Name(chars));
        }
        let shared = &self.shared;
        let access_key = random_hex::<10>().map_err(|_| AccessKeyError::Random)?.to_ascii_uppercase();
        let secret = random_hex::<20>().map_err(|_| AccessKeyError::Random)?;
        let row = AccessKeyRow {
            sealed_secret: shared.vault.seal(&access_key_context(&access_key), secret.as_bytes()),
            access_key,
            name: name.trim().to_owned(),
            role,
            project: by.actor.project,
            created_at: shared.clock.wall(),
        };
        shared.store.add_access_key(&by.actor, row.clone()).await?;
        Ok(NewAccessKey { row, secret, project_id: self.project_id().to_owned() })
    }

    /// All access keys, the oldest first, without their secrets.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn access_keys(&self) -> Result<Vec<AccessKeyRow>, StoreError> {
        self.shared.store.access_keys().await
    }

    /// Makes an access key worthless.
    ///
    /// # Errors
    ///
    /// `Unknown`: there is none.
    pub async fn revoke_access_key(&self, by: &Operator, access_key: &str) -> Result<(), AccessKeyError> {
        let now = self.shared.clock.wall();
        match self.shared.store.revoke_access_key(&by.actor, access_key, now).await {
            Err(StoreError::Missing { .. }) => Err(AccessKeyError::Unknown(access_key.to_owned())),
            other => Ok(other?),
        }
    }

    /// How far the time in a signature may be from ours.
    pub fn signed_within(&self) -> Duration {
        self.shared.settings.signed_within
    }

    /// Who signs with this key; `None`: nobody.
    ///
    /// # Errors
    ///
    /// - `Closed`: the master key is another one than when the secret was sealed.
    pub async fn signer(&self, access_key: &str) -> Result<Option<Signer>, AccessKeyError> {
        let Some(row) = self.shared.store.access_key(access_key).await? else { return Ok(None) };
        let closed = || AccessKeyError::Closed(row.access_key.clone());
        let context = access_key_context(&row.access_key);
        let secret = self.shared.vault.open(&context, &row.sealed_secret).map_err(|_| closed())?;
        let secret = String::from_utf8(secret).map_err(|_| closed())?;
        let name = format!("{} ({})", row.name, row.access_key);
        let operator = Operator { actor: Actor { name, project: row.project }, role: row.role };
        Ok(Some(Signer { operator, secret }))
    }
}

/// Fills `bytes` with what nobody can guess.
///
/// # Errors
///
/// `Random`: the machine has no randomness to give.
pub fn random(bytes: &mut [u8]) -> Result<(), AccessKeyError> {
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), bytes)
        .map_err(|_| AccessKeyError::Random)
}
