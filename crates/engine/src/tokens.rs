//! API tokens: who asks, and what they may do.

use otaru_store::{Actor, ProjectKey, Role, StoreError, TokenRow};
use sha2::{Digest, Sha256};

use crate::driver::Engine;
use crate::errors::{Faulty, Kind};
use crate::limits::NAME_CHARS_MAX;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// Recorded with every change.
    pub actor: Actor,
    /// What they may do.
    pub role: Role,
}

/// A token that was just made.
#[derive(Clone, PartialEq, Eq)]
pub struct NewToken {
    /// What is kept of it.
    pub row: TokenRow,
    /// The token itself; shown once.
    pub token: String,
}

/// Why a token is not accepted, made or revoked.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Not one of ours, or revoked.
    #[error("this API token is not known; make one with `otaru token create`")]
    Unknown,
    /// There is no such token.
    #[error("there is no token {0}")]
    Missing(String),
    /// A name outside its range.
    #[error("`name` has {0} characters; 1 to 256 are accepted")]
    Name(usize),
    /// The machine has no randomness to give.
    #[error("the system's random source failed")]
    Random,
    /// Try again later, or ours.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Faulty for TokenError {
    fn code(&self) -> &'static str {
        match self {
            TokenError::Unknown => "unauthorized",
            TokenError::Missing(_) => "not_found",
            TokenError::Name(_) => "invalid",
            TokenError::Random => "internal",
            TokenError::Store(error) => error.code(),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            TokenError::Unknown => Kind::Unauthorized,
            TokenError::Missing(_) => Kind::NotFound,
            TokenError::Name(_) => Kind::Invalid,
            TokenError::Random => Kind::Internal,
            TokenError::Store(error) => error.kind(),
        }
    }
}

impl Engine {
    /// Who holds this token.
    ///
    /// # Errors
    ///
    /// `Unknown`: nobody does.
    pub async fn operator(&self, bearer: &str) -> Result<Operator, TokenError> {
        let row = self.shared.store.token_by_hash(&hash(bearer)).await?.ok_or(TokenError::Unknown)?;
        Ok(Operator { actor: Actor { name: row.name, project: row.project }, role: row.role })
    }

    /// Makes a token for someone.
    ///
    /// # Errors
    ///
    /// `Name`: none, or too long a one.
    pub async fn create_token(&self, by: &Operator, name: &str, role: Role) -> Result<NewToken, TokenError> {
        let chars = name.trim().chars().count();
        if chars == 0 || chars > NAME_CHARS_MAX {
            return Err(TokenError::Name(chars));
        }
        let token = random_token()?;
        let row = self.keep_token(&by.actor, name.trim(), role, &token).await?;
        Ok(NewToken { row, token })
    }

    /// Makes sure that `token`, or one that is made now, is an admin's. For the first start.
    ///
    /// Answers with a token that was made, and with `None` if `token` was given or there is an admin already.
    ///
    /// # Errors
    ///
    /// The store could not be written.
    pub async fn ensure_admin(&self, token: Option<&str>) -> Result<Option<String>, TokenError> {
        let platform = self.shared.platform();
        if let Some(token) = token {
            if self.shared.store.token_by_hash(&hash(token)).await?.is_none() {
                self.keep_token(&platform, "admin", Role::Admin, token).await?;
            }
            return Ok(None);
        }
        if self.shared.store.tokens().await?.iter().any(|row| row.role == Role::Admin) {
            return Ok(None);
        }
        let made = random_token()?;
        self.keep_token(&platform, "admin", Role::Admin, &made).await?;
        Ok(Some(made))
    }

    async fn keep_token(
        &self,
        by: &Actor,
        name: &str,
        role: Role,
        token: &str,
    ) -> Result<TokenRow, TokenError> {
        let now = self.shared.clock.wall();
        let project: ProjectKey = by.project;
        let row = TokenRow {
            token_id: self.shared.ids.make(now),
            name: name.to_owned(),
            role,
            hash: hash(token),
            project,
            created_at: now,
        };
        self.shared.store.add_token(by, row.clone()).await?;
        Ok(row)
    }

    /// All tokens, without what they are.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn tokens(&self) -> Result<Vec<TokenRow>, StoreError> {
        self.shared.store.tokens().await
    }

    /// Makes a token worthless.
    ///
    /// # Errors
    ///
    /// `Missing`: there is no such token.
    pub async fn revoke_token(&self, by: &Operator, token_id: &str) -> Result<(), TokenError> {
        let now = self.shared.clock.wall();
        match self.shared.store.revoke_token(&by.actor, token_id, now).await {
            Err(StoreError::Missing { .. }) => Err(TokenError::Missing(token_id.to_owned())),
            other => Ok(other?),
        }
    }
}

/// What is kept of a token: it is random enough that a plain hash cannot be turned back.
fn hash(token: &str) -> String {
    hex(&Sha256::digest(token.as_bytes()))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 32 random bytes, with a prefix that secret scanners can look for.
fn random_token() -> Result<String, TokenError> {
    Ok(format!("otaru_{}", random_hex::<32>().map_err(|_| TokenError::Random)?))
}

pub(crate) fn random_hex<const N: usize>() -> Result<String, ring::error::Unspecified> {
    let mut bytes = [0u8; N];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes)?;
    Ok(hex(&bytes))
}
