//! API tokens: who asks, and what they may do.
//!
//! Always true:
//! - Of a token only its hash is kept.
//! - At most one token is the environment's, and it is the one that the last start with a variable was given.

use otaru_store::{Actor, ProjectKey, Role, StoreError, TokenRow};
use sha2::{Digest, Sha256};

use crate::driver::Engine;
use crate::errors::{Faulty, Kind};
use crate::limits::NAME_CHARS_MAX;

/// The name of the admin token that the environment gives. Nobody else may use it.
const GIVEN: &str = "admin (OTARU_ADMIN_TOKEN)";

/// The name of the admin token that the first start makes.
const FIRST: &str = "admin";

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
    /// A name that means something else.
    #[error("the name {GIVEN:?} is the one of the environment's token; choose another")]
    Reserved,
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
            TokenError::Name(_) | TokenError::Reserved => "invalid",
            TokenError::Random => "internal",
            TokenError::Store(error) => error.code(),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            TokenError::Unknown => Kind::Unauthorized,
            TokenError::Missing(_) => Kind::NotFound,
            TokenError::Name(_) | TokenError::Reserved => Kind::Invalid,
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
    /// - `Name`: none, or too long a one.
    /// - `Reserved`: the name of the environment's token.
    pub async fn create_token(&self, by: &Operator, name: &str, role: Role) -> Result<NewToken, TokenError> {
        let chars = name.trim().chars().count();
        if chars == 0 || chars > NAME_CHARS_MAX {
            return Err(TokenError::Name(chars));
        }
        if name.trim() == GIVEN {
            return Err(TokenError::Reserved);
        }
        let token = Engine::random_token()?;
        let row = self.keep_token(&by.actor, name.trim(), role, &token).await?;
        Ok(NewToken { row, token })
    }

    /// Makes sure that there is an admin. To be called at every start.
    ///
    /// A `given` token is the environment's: it becomes an admin's, and the one given before is worthless from now
    /// on. Without one, a token is made and answered if there is no admin yet; whoever has to keep it before it is
    /// worth anything uses [`has_admin`](Engine::has_admin) and [`add_first_admin`](Engine::add_first_admin).
    ///
    /// # Errors
    ///
    /// The store could not be read or written.
    pub async fn ensure_admin(&self, given: Option<&str>) -> Result<Option<String>, TokenError> {
        if let Some(given) = given {
            self.take_given(given).await?;
            return Ok(None);
        }
        if self.has_admin().await? {
            return Ok(None);
        }
        let made = Engine::random_token()?;
        self.add_first_admin(&made).await?;
        Ok(Some(made))
    }

    /// Whether somebody may make and revoke tokens.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn has_admin(&self) -> Result<bool, TokenError> {
        Ok(self.shared.store.tokens().await?.iter().any(|row| row.role == Role::Admin))
    }

    /// Makes `token` an admin's. For a store without one.
    ///
    /// # Errors
    ///
    /// The store could not be read or written.
    pub async fn add_first_admin(&self, token: &str) -> Result<(), TokenError> {
        let platform = self.shared.platform();
        if let Some(row) = self.shared.store.token_by_hash(&hash(token)).await? {
            self.drop_token(&platform, &row).await?;
        }
        self.keep_token(&platform, FIRST, Role::Admin, token).await?;
        Ok(())
    }

    /// A token that nobody has yet: 32 random bytes, with a prefix that secret scanners can look for.
    ///
    /// # Errors
    ///
    /// `Random`: the machine has no randomness to give.
    pub fn random_token() -> Result<String, TokenError> {
        Ok(format!("otaru_{}", random_hex::<32>().map_err(|_| TokenError::Random)?))
    }

    async fn take_given(&self, given: &str) -> Result<(), TokenError> {
        let (platform, hash) = (self.shared.platform(), hash(given));
        let (mut is_kept, mut replaced) = (false, false);
        for row in self.shared.store.tokens().await? {
            if row.name == GIVEN && row.hash == hash && row.role == Role::Admin {
                is_kept = true;
            } else if row.name == GIVEN || row.hash == hash {
                // First what is to be worthless: should the process end here, the next start with the variable does
                // the rest. The same token under another name is the environment's from now on, so that the next
                // change of the variable makes it worthless as well.
                self.drop_token(&platform, &row).await?;
                replaced |= row.hash != hash;
            }
        }
        if !is_kept {
            self.keep_token(&platform, GIVEN, Role::Admin, given).await?;
        }
        match (is_kept, replaced) {
            (_, true) => {
                tracing::info!("OTARU_ADMIN_TOKEN is another one; the one before is worthless from now on");
            }
            (false, false) => tracing::info!("the token of OTARU_ADMIN_TOKEN is an admin's from now on"),
            (true, false) => {}
        }
        Ok(())
    }

    /// Forgets a token that may be gone already.
    async fn drop_token(&self, by: &Actor, row: &TokenRow) -> Result<(), StoreError> {
        let now = self.shared.clock.wall();
        match self.shared.store.revoke_token(by, &row.token_id, now).await {
            Err(StoreError::Missing { .. }) => Ok(()),
            other => other,
        }
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

pub(crate) fn random_hex<const N: usize>() -> Result<String, ring::error::Unspecified> {
    let mut bytes = [0u8; N];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes)?;
    Ok(hex(&bytes))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use otaru_store::{BlobStore, Store, Vault};

    use super::*;
    use crate::clock::SystemClock;
    use crate::settings::Settings;

    async fn engine() -> Engine {
        let (store, _) = Store::memory_with_faults();
        let clock = Arc::new(SystemClock::new());
        Engine::open(Settings::default(), store, BlobStore::memory(), Vault::for_tests(), clock)
            .await
            .unwrap()
    }

    async fn names(engine: &Engine) -> Vec<String> {
        engine.tokens().await.unwrap().into_iter().map(|row| row.name).collect()
    }

    async fn is_admin(engine: &Engine, token: &str) -> bool {
        match engine.operator(token).await {
            Ok(operator) => operator.role == Role::Admin,
            Err(TokenError::Unknown) => false,
            Err(other) => panic!("{other}"),
        }
    }

    #[tokio::test]
    async fn the_environments_token_replaces_the_one_it_gave_before() {
        let engine = engine().await;
        for _ in 0..2 {
            assert_eq!(engine.ensure_admin(Some("one")).await.unwrap(), None);
            assert!(is_admin(&engine, "one").await);
            assert_eq!(names(&engine).await, [GIVEN], "the same again changes nothing");
        }
        let before = engine.tokens().await.unwrap();
        engine.ensure_admin(Some("one")).await.unwrap();
        assert_eq!(engine.tokens().await.unwrap(), before);

        engine.ensure_admin(Some("two")).await.unwrap();
        assert!(is_admin(&engine, "two").await && !is_admin(&engine, "one").await);
        assert_eq!(names(&engine).await, [GIVEN]);
        assert_eq!(engine.ensure_admin(None).await.unwrap(), None, "without a variable it stays");
        assert!(is_admin(&engine, "two").await);
    }

    #[tokio::test]
    async fn the_environment_replaces_nobody_elses_token() {
        let engine = engine().await;
        let first = engine.ensure_admin(None).await.unwrap().unwrap();
        let by = engine.operator(&first).await.unwrap();
        let made = engine.create_token(&by, "ci", Role::Admin).await.unwrap().token;
        for given in ["one", "two"] {
            engine.ensure_admin(Some(given)).await.unwrap();
        }
        assert!(is_admin(&engine, &first).await && is_admin(&engine, &made).await);
        assert_eq!(names(&engine).await, [FIRST, "ci", GIVEN]);
    }

    #[tokio::test]
    async fn a_token_that_was_revoked_is_made_again_while_the_variable_is_set() {
        let engine = engine().await;
        engine.ensure_admin(Some("one")).await.unwrap();
        let by = engine.operator("one").await.unwrap();
        let row = engine.tokens().await.unwrap().remove(0);
        engine.revoke_token(&by, &row.token_id).await.unwrap();
        assert!(!is_admin(&engine, "one").await);
        engine.ensure_admin(Some("one")).await.unwrap();
        assert!(is_admin(&engine, "one").await);
    }

    #[tokio::test]
    async fn a_token_that_the_environment_gives_is_an_admins_whatever_it_was_before() {
        let engine = engine().await;
        let first = engine.ensure_admin(None).await.unwrap().unwrap();
        let by = engine.operator(&first).await.unwrap();
        let viewer = engine.create_token(&by, "ci", Role::Viewer).await.unwrap().token;
        engine.ensure_admin(Some(&viewer)).await.unwrap();
        assert!(is_admin(&engine, &viewer).await);
        assert_eq!(names(&engine).await, [FIRST, GIVEN]);
        engine.ensure_admin(Some("another")).await.unwrap();
        assert!(!is_admin(&engine, &viewer).await);
    }

    #[tokio::test]
    async fn the_name_of_the_environments_token_is_nobody_elses() {
        let engine = engine().await;
        engine.ensure_admin(Some("one")).await.unwrap();
        let by = engine.operator("one").await.unwrap();
        let refused = engine.create_token(&by, &format!(" {GIVEN} "), Role::Viewer).await.err().unwrap();
        assert_eq!(refused.code(), "invalid");
        assert!(refused.to_string().contains(GIVEN), "{refused}");
    }
}
