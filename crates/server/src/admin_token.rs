//! The first admin token, in a file that only the server's user can read.
//!
//! Always true: a token is in its file before it is worth anything. Wherever a start is interrupted, there is no
//! admin whose token nobody has.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use otaru_engine::Engine;

/// In the data directory.
const FILE: &str = "admin.token";

/// What is shorter was not made here: a file that somebody emptied or began to write.
const CHARS_MIN: usize = 32;

/// Makes sure that there is an admin: with the token that is `given`, or with one that is kept in `dir`. Returns the
/// file if its token is an admin's from now on.
pub(crate) async fn ensure(
    engine: &Engine,
    dir: &Path,
    given: Option<&str>,
) -> anyhow::Result<Option<PathBuf>> {
    if given.is_some() || engine.has_admin().await? {
        engine.ensure_admin(given).await?;
        return Ok(None);
    }
    let (path, token) = match left(dir)? {
        Some(token) => (dir.join(FILE), token),
        None => {
            let made = Engine::random_token()?;
            (keep(dir, &made)?, made)
        }
    };
    engine.add_first_admin(&token).await?;
    Ok(Some(path))
}

/// The token that a start has kept in `dir` before it was interrupted.
fn left(dir: &Path) -> anyhow::Result<Option<String>> {
    if !is_in(dir) {
        return Ok(None);
    }
    let token = read(dir)?;
    let is_whole = token.len() >= CHARS_MIN && token.bytes().all(|byte| byte.is_ascii_graphic());
    Ok(is_whole.then_some(token))
}

/// Keeps `token` in `dir`, mode 0600, replacing an older one. Returns the file.
fn keep(dir: &Path, token: &str) -> anyhow::Result<PathBuf> {
    let (path, new) = (dir.join(FILE), dir.join("admin.token.new"));
    let written = || -> io::Result<()> {
        // A leftover of a crash may be there with any mode.
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(format!("{token}\n").as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, &path)?;
        std::fs::File::open(dir)?.sync_all()
    };
    written().with_context(|| {
        format!(
            "cannot keep the admin token in {}; start again when that can be written, or with OTARU_ADMIN_TOKEN set",
            path.display()
        )
    })?;
    Ok(path)
}

/// Whether a server keeps its first admin token in `dir`.
pub(crate) fn is_in(dir: &Path) -> bool {
    dir.join(FILE).exists()
}

/// The token that a server keeps in its data directory.
pub(crate) fn read(dir: &Path) -> anyhow::Result<String> {
    let path = dir.join(FILE);
    let text = std::fs::read_to_string(&path).with_context(|| {
        format!(
            "cannot read {}; is this the data directory of a server that made its own token?",
            path.display()
        )
    })?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use otaru_engine::{Role, Settings, SystemClock};
    use otaru_store::{BlobStore, Store, Vault};
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Arc;

    #[test]
    fn a_token_is_kept_for_its_owner_only_and_a_newer_one_replaces_it() {
        let dir = tempfile::tempdir().unwrap();
        keep(dir.path(), "otaru_one").unwrap();
        let path = keep(dir.path(), "otaru_two").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read(dir.path()).unwrap(), "otaru_two");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    /// An engine on a store that can be made to fail.
    async fn engine() -> (Engine, otaru_store::Faults) {
        let (store, faults) = Store::memory_with_faults();
        let clock = Arc::new(SystemClock::new());
        let (blobs, vault) = (BlobStore::memory(), Vault::for_tests());
        (Engine::open(Settings::default(), store, blobs, vault, clock).await.unwrap(), faults)
    }

    async fn is_admin(engine: &Engine, token: &str) -> bool {
        engine.operator(token).await.is_ok_and(|operator| operator.role == Role::Admin)
    }

    #[tokio::test]
    async fn a_start_that_is_interrupted_before_the_token_is_stored_is_finished_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let (engine, faults) = engine().await;
        faults.fail_until_healed();
        assert!(ensure(&engine, dir.path(), None).await.is_err());
        faults.heal();
        let kept = read(dir.path()).unwrap();
        assert!(!is_admin(&engine, &kept).await);

        assert_eq!(ensure(&engine, dir.path(), None).await.unwrap(), Some(dir.path().join(FILE)));
        assert_eq!(read(dir.path()).unwrap(), kept);
        assert!(is_admin(&engine, &kept).await);
        assert_eq!(ensure(&engine, dir.path(), None).await.unwrap(), None);
        assert_eq!(engine.tokens().await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_token_that_cannot_be_kept_is_nobodys() {
        let dir = tempfile::tempdir().unwrap();
        let (engine, _) = engine().await;
        let refused = ensure(&engine, &dir.path().join("missing"), None).await.unwrap_err();
        assert!(refused.to_string().contains("OTARU_ADMIN_TOKEN"), "{refused}");
        assert!(engine.tokens().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_file_without_a_whole_token_makes_nobody_an_admin() {
        for left in ["", "\n", "otaru_12", "two words that are together long enough to be one"] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join(FILE), left).unwrap();
            let (engine, _) = engine().await;
            ensure(&engine, dir.path(), None).await.unwrap();
            assert!(!is_admin(&engine, left.trim()).await, "{left:?}");
            assert!(is_admin(&engine, &read(dir.path()).unwrap()).await, "{left:?}");
        }
    }

    #[tokio::test]
    async fn a_token_from_the_environment_is_not_kept_in_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let (engine, _) = engine().await;
        assert_eq!(ensure(&engine, dir.path(), Some("given")).await.unwrap(), None);
        assert!(is_admin(&engine, "given").await && !is_in(dir.path()));
        assert_eq!(ensure(&engine, dir.path(), None).await.unwrap(), None);
        assert!(!is_in(dir.path()), "there is an admin");
    }
}
