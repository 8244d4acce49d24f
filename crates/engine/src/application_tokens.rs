//! Tokens that applications get for an access key and its secret, to send in place of a signature.
//!
//! Always true:
//! - Nothing is stored for a token: it says whose it is and when it ends, and carries a keyed hash of both.
//! - A token is worth nothing once its access key is revoked, and may do what that key may.
//! - Another one does not end the ones before.
//!
//! Not here: what is asked and answered (`otaru-api`).

use hmac::{Hmac, KeyInit, Mac};
use otaru_core::WallTime;
use sha2::Sha256;

use crate::access_keys::{AccessKeyError, Signer};
use crate::downloads::from_hex;
use crate::driver::Engine;
use crate::errors::{Faulty, Kind};
use crate::limits::APPLICATION_TOKEN_LIFE;
use crate::tokens::{Operator, hex};

/// A token that was just made.
#[derive(Clone, PartialEq, Eq)]
pub struct ApplicationToken {
    /// The token itself; shown once.
    pub token: String,
    /// Who holds it.
    pub operator: Operator,
    /// From when it is good.
    pub issued_at: WallTime,
    /// When it ends.
    pub expires_at: WallTime,
}

/// Why a token of an application is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ApplicationTokenError {
    /// Not one of ours, or altered.
    #[error(
        "this token is not known; get one with POST /v3/auth/tokens, or make one with `otaru token create`"
    )]
    Unknown,
    /// Its time is over.
    #[error("the time of this token is over; get a new one with POST /v3/auth/tokens")]
    Expired,
    /// Its access key was revoked.
    #[error("the access key of this token was revoked")]
    Revoked,
    /// Its access key could not be looked up.
    #[error(transparent)]
    AccessKey(#[from] AccessKeyError),
}

impl Faulty for ApplicationTokenError {
    fn code(&self) -> &'static str {
        match self {
            ApplicationTokenError::Unknown
            | ApplicationTokenError::Expired
            | ApplicationTokenError::Revoked => "unauthorized",
            ApplicationTokenError::AccessKey(error) => error.code(),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            ApplicationTokenError::Unknown
            | ApplicationTokenError::Expired
            | ApplicationTokenError::Revoked => Kind::Unauthorized,
            ApplicationTokenError::AccessKey(error) => error.kind(),
        }
    }
}

impl Engine {
    /// Makes a token for whoever knows an access key and its secret; `None`: they do not belong together.
    ///
    /// # Errors
    ///
    /// As [`signer`](Engine::signer).
    pub async fn application_token(
        &self,
        access_key: &str,
        secret: &str,
    ) -> Result<Option<ApplicationToken>, AccessKeyError> {
        let shared = &self.shared;
        let Some(Signer { operator, secret: ours }) = self.signer(access_key).await? else { return Ok(None) };
        if !shared.application_tokens.are_same(&ours, secret) {
            return Ok(None);
        }
        let issued_at = shared.clock.wall();
        let life_ms = i64::try_from(APPLICATION_TOKEN_LIFE.as_millis()).unwrap_or(i64::MAX);
        // Whole seconds are what a token holds.
        let expires_at = WallTime(issued_at.0.saturating_add(life_ms) / 1_000 * 1_000);
        let token = shared.application_tokens.make(access_key, expires_at);
        Ok(Some(ApplicationToken { token, operator, issued_at, expires_at }))
    }

    /// Who holds this token of an application.
    ///
    /// # Errors
    ///
    /// `Unknown`, `Expired`, `Revoked`. `AccessKey`: it could not be looked up.
    pub async fn application(&self, token: &str) -> Result<Operator, ApplicationTokenError> {
        let shared = &self.shared;
        let read = shared.application_tokens.read(token).ok_or(ApplicationTokenError::Unknown)?;
        let (access_key, expires_at) = read;
        if expires_at <= shared.clock.wall() {
            return Err(ApplicationTokenError::Expired);
        }
        let signer = self.signer(access_key).await?;
        signer.map(|signer| signer.operator).ok_or(ApplicationTokenError::Revoked)
    }
}

/// Makes and checks tokens: `otaruapp.KEY.EXPIRY.MAC`, the mac over the key and the expiry.
pub(crate) struct ApplicationTokens {
    key: [u8; 32],
}

/// What tokens begin with.
const PREFIX: &str = "otaruapp.";

impl ApplicationTokens {
    pub(crate) fn new(key: [u8; 32]) -> ApplicationTokens {
        ApplicationTokens { key }
    }

    fn make(&self, access_key: &str, expires_at: WallTime) -> String {
        let expires_secs = expires_at.0 / 1_000;
        let mac = self.mac(access_key, expires_secs).finalize().into_bytes();
        format!("{PREFIX}{access_key}.{expires_secs}.{}", hex(&mac))
    }

    /// Whose it is and when it ends, if it is one of ours. Compared in constant time.
    fn read<'t>(&self, token: &'t str) -> Option<(&'t str, WallTime)> {
        let mut parts = token.strip_prefix(PREFIX)?.split('.');
        let (access_key, expires_secs, given) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let expires_secs: i64 = expires_secs.parse().ok()?;
        let expires_at = WallTime(expires_secs.checked_mul(1_000)?);
        self.mac(access_key, expires_secs).verify_slice(&from_hex(given)?).ok()?;
        Some((access_key, expires_at))
    }

    fn mac(&self, access_key: &str, expires_secs: i64) -> Hmac<Sha256> {
        self.keyed(&[b"token", access_key.as_bytes(), &expires_secs.to_be_bytes()])
    }

    /// Whether two secrets are the same; how long it takes does not say where they differ.
    fn are_same(&self, ours: &str, given: &str) -> bool {
        let ours = self.keyed(&[b"secret", ours.as_bytes()]).finalize().into_bytes();
        self.keyed(&[b"secret", given.as_bytes()]).verify_slice(&ours).is_ok()
    }

    /// Over parts, each with its length.
    fn keyed(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::time::Duration;

    use otaru_store::{BlobStore, Role, Store, Vault};

    use super::*;
    use crate::clock::Clock;
    use crate::settings::Settings;

    const END: WallTime = WallTime(1_800_000_000_000);

    /// Shows what it is wound to.
    struct Wound(AtomicI64);

    impl Clock for Wound {
        fn wall(&self) -> WallTime {
            WallTime(self.0.load(Ordering::Relaxed))
        }
        fn elapsed(&self) -> Duration {
            Duration::ZERO
        }
    }

    #[tokio::test]
    async fn a_token_is_good_for_a_day_and_as_long_as_its_key() {
        let (store, _) = Store::memory_with_faults();
        let clock = Arc::new(Wound(AtomicI64::new(END.0)));
        let (blobs, vault) = (BlobStore::memory(), Vault::for_tests());
        let engine = Engine::open(Settings::default(), store, blobs, vault, clock.clone()).await.unwrap();
        let admin = engine.ensure_admin(None).await.unwrap().unwrap();
        let by = engine.operator(&admin).await.unwrap();
        let key = engine.create_access_key(&by, "app", Role::Viewer).await.unwrap();
        let access_key = key.row.access_key.as_str();
        for (name, secret) in [(access_key, "wrong"), ("nobody", key.secret.as_str()), ("", "")] {
            assert!(engine.application_token(name, secret).await.unwrap().is_none(), "{name} {secret}");
        }
        let made = engine.application_token(access_key, &key.secret).await.unwrap().unwrap();
        assert_eq!((made.issued_at.0, made.expires_at.0), (END.0, END.0 + 24 * 3_600_000));
        let holder = engine.application(&made.token).await.unwrap();
        assert_eq!((&holder, holder.role), (&made.operator, Role::Viewer));
        let again = engine.application_token(access_key, &key.secret).await.unwrap().unwrap();
        assert_eq!(again.token, made.token, "nothing is kept of it");

        clock.0.store(made.expires_at.0 - 1, Ordering::Relaxed);
        engine.application(&made.token).await.unwrap();
        clock.0.store(made.expires_at.0, Ordering::Relaxed);
        let ended = engine.application(&made.token).await;
        assert!(matches!(ended, Err(ApplicationTokenError::Expired)), "{ended:?}");
        let fresh = engine.application_token(access_key, &key.secret).await.unwrap().unwrap();
        engine.application(&fresh.token).await.unwrap();
        engine.revoke_access_key(&by, access_key).await.unwrap();
        let revoked = engine.application(&fresh.token).await;
        assert!(matches!(revoked, Err(ApplicationTokenError::Revoked)), "{revoked:?}");
        assert!(engine.application_token(access_key, &key.secret).await.unwrap().is_none());
    }

    #[test]
    fn a_token_is_for_one_key_and_one_end() {
        let tokens = ApplicationTokens::new([7; 32]);
        let token = tokens.make("AK1", END);
        assert_eq!(tokens.read(&token), Some(("AK1", END)));
        for altered in [
            token.replacen("AK1", "AK2", 1),
            token.replacen("1800000000", "1900000000", 1),
            format!("{token}00"),
            format!("{token}.00"),
            token[PREFIX.len()..].to_owned(),
            token[..token.len() - 2].to_owned(),
        ] {
            assert_eq!(tokens.read(&altered), None, "{altered}");
        }
        assert_eq!(ApplicationTokens::new([8; 32]).read(&token), None, "another master key");
        for garbage in
            ["", "otaruapp.", "otaruapp...", "otaruapp.a.9223372036854775807.00", "otaruapp.a.1.\u{e9}"]
        {
            assert_eq!(tokens.read(garbage), None, "{garbage:?}");
        }
    }

    #[test]
    fn secrets_are_the_same_or_not() {
        let tokens = ApplicationTokens::new([7; 32]);
        assert!(tokens.are_same("abc", "abc"));
        for other in ["", "ab", "abd", "abcd", "Abc"] {
            assert!(!tokens.are_same("abc", other), "{other}");
        }
    }
}
