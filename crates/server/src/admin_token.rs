//! The first admin token, in a file that only the server's user can read.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// In the data directory.
const FILE: &str = "admin.token";

/// Keeps `token` in `dir`, mode 0600, replacing an older one. Returns the file.
pub(crate) fn keep(dir: &Path, token: &str) -> anyhow::Result<PathBuf> {
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
            "cannot keep the admin token in {}; start again with OTARU_ADMIN_TOKEN set to one",
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
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_token_is_kept_for_its_owner_only_and_a_newer_one_replaces_it() {
        let dir = tempfile::tempdir().unwrap();
        keep(dir.path(), "otaru_one").unwrap();
        let path = keep(dir.path(), "otaru_two").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read(dir.path()).unwrap(), "otaru_two");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
