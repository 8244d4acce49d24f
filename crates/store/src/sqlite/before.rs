//! A copy of the store from before its schema is changed, for going back to the release before.
//!
//! ```text
//! otaru.db.before-0010       the store as it was before its schema became version 10
//! otaru.db.before-0010.new   being copied; nothing refers to it
//! ```
//!
//! Always true:
//! - No step is taken before the copy is whole, durable and has its name.
//! - A change that was interrupted goes on from where it is and keeps the copy from before its first step.
//!
//! Not here: the steps (`migrate`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::copy::{Copied, copy};
use super::migrate;
use crate::error::StoreError;
use crate::limits::COPIES_KEPT;
use crate::private_files;

/// Brings the schema of the store in `file` to the version of this release. If that changes anything, a copy is kept
/// beside it first, and copies before the last few are deleted afterwards. A store that was never used is not copied.
///
/// # Errors
///
/// - `TooNew`, `Corrupt`: as `migrate` says.
/// - `Unavailable`: the copy could not be made; nothing was changed.
pub(super) fn bring_up_to_date(conn: &mut Connection, file: &Path) -> Result<(), StoreError> {
    bring_up_to_date_with(conn, file, &private_files::free_bytes)
}

fn bring_up_to_date_with(
    conn: &mut Connection,
    file: &Path,
    free_bytes: &dyn Fn(&Path) -> io::Result<u64>,
) -> Result<(), StoreError> {
    let found = migrate::examine(conn)?;
    let known = migrate::known_schema();
    if found == known {
        return Ok(());
    }
    if found > 0 && was_used(conn)? {
        keep_copy(conn, file, found, known, free_bytes)?;
    }
    migrate::bring_up_to_date(conn)?;
    forget_old_copies(file);
    Ok(())
}

/// Whether a platform has run on it.
fn was_used(conn: &Connection) -> Result<bool, StoreError> {
    Ok(conn.query_row("SELECT boots > 0 FROM life", [], |row| row.get(0))?)
}

fn keep_copy(
    conn: &Connection,
    file: &Path,
    found: i64,
    known: i64,
    free_bytes: &dyn Fn(&Path) -> io::Result<u64>,
) -> Result<(), StoreError> {
    let kept = beside(file, &format!("{known:04}"));
    // From before a first step that was taken already.
    if kept.exists() && Copied::open(&kept).and_then(|copy| copy.schema()).is_ok_and(|then| then < found) {
        return Ok(());
    }
    let failed = |cause: io::Error| {
        StoreError::Unavailable(format!(
            "its schema is to be changed, and the copy from before, {}, cannot be made: {cause}",
            kept.display()
        ))
    };
    let dir = file.parent().unwrap_or(Path::new("."));
    let bytes: i64 = conn.query_row(
        "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
        [],
        |row| row.get(0),
    )?;
    // As much again for what the steps write.
    let needed = u64::try_from(bytes).unwrap_or(0).saturating_mul(2);
    let new = beside(file, &format!("{known:04}.new"));
    match fs::remove_file(&new) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(failed(cause)),
        Ok(()) | Err(_) => {}
    }
    let free = free_bytes(dir).map_err(failed)?;
    if free < needed {
        return Err(StoreError::Unavailable(format!(
            "its schema is to be changed from version {found} to {known}, and a copy is made before: that needs \
             {needed} bytes, and {free} are free in {}; make room there, or go on with the release before",
            dir.display()
        )));
    }
    copy(conn, &new, || Ok(()))?;
    fs::rename(&new, &kept).and_then(|()| private_files::sync_dir(dir)).map_err(failed)?;
    tracing::info!(file = %kept.display(), "the store was copied before its schema is changed");
    Ok(())
}

fn beside(file: &Path, version: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".before-{version}"));
    PathBuf::from(name)
}

/// Deletes all copies but the last few. One that cannot be deleted is in nobody's way.
fn forget_old_copies(file: &Path) {
    let (Some(dir), Some(name)) = (file.parent(), file.file_name().and_then(|name| name.to_str())) else {
        return;
    };
    let prefix = format!("{name}.before-");
    let Ok(entries) = fs::read_dir(dir) else { return };
    let mut copies: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version = entry.file_name().to_str()?.strip_prefix(&prefix)?.parse().ok()?;
            Some((version, entry.path()))
        })
        .collect();
    copies.sort();
    let old = copies.len().saturating_sub(COPIES_KEPT);
    for (_, path) in copies.drain(..old) {
        match fs::remove_file(&path) {
            Ok(()) => tracing::info!(file = %path.display(), "an older copy of the store was deleted"),
            Err(error) => tracing::warn!(file = %path.display(), %error, "an older copy of the store stays"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::migrate::tests::migrate_to;

    /// A store in a file, as the release with this schema left it after one run.
    struct Old {
        dir: tempfile::TempDir,
        conn: Connection,
    }

    impl Old {
        fn new(schema: usize) -> Old {
            let old = Old::unused(schema);
            old.conn
                .execute_batch(
                    "UPDATE life SET boots = 1;
                     INSERT INTO project (project_id, created_at) VALUES ('p', 0);
                     INSERT INTO product (project, product_id, name, created_at) VALUES (1, 'lamp', '', 0);",
                )
                .unwrap();
            old
        }

        fn unused(schema: usize) -> Old {
            let dir = tempfile::tempdir().unwrap();
            let mut conn = Connection::open(dir.path().join("otaru.db")).unwrap();
            conn.pragma_update(None, "journal_mode", "wal").unwrap();
            migrate_to(&mut conn, schema);
            Old { dir, conn }
        }

        fn file(&self) -> PathBuf {
            self.dir.path().join("otaru.db")
        }

        fn bring_up_to_date(&mut self) -> Result<(), StoreError> {
            let file = self.file();
            bring_up_to_date(&mut self.conn, &file)
        }

        fn copies(&self) -> Vec<String> {
            let mut names: Vec<String> = fs::read_dir(self.dir.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter(|name| name.contains(".before-"))
                .collect();
            names.sort();
            names
        }

        /// The copy from before this release's schema.
        fn copy(&self) -> PathBuf {
            beside(&self.file(), &format!("{:04}", migrate::known_schema()))
        }

        fn products_in_copy(&self) -> Vec<String> {
            let conn = Connection::open(self.copy()).unwrap();
            let mut statement = conn.prepare("SELECT product_id FROM product ORDER BY key").unwrap();
            statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        }

        fn schema(&self) -> i64 {
            migrate::examine(&self.conn).unwrap()
        }
    }

    fn schema_of(file: &Path) -> i64 {
        Copied::open(file).unwrap().schema().unwrap()
    }

    #[test]
    fn a_store_of_any_older_schema_is_copied_before_it_is_changed() {
        let known = migrate::known_schema();
        for schema in 1..known {
            let mut old = Old::new(usize::try_from(schema).unwrap());
            old.bring_up_to_date().unwrap();
            assert_eq!(old.schema(), known);
            assert_eq!(old.copies(), [format!("otaru.db.before-{known:04}")]);
            assert_eq!(schema_of(&old.copy()), schema);
            assert_eq!(old.products_in_copy(), ["lamp"]);
        }
    }

    #[test]
    fn a_store_that_was_never_used_or_is_up_to_date_is_not_copied() {
        let mut unused = Old::unused(1);
        unused.bring_up_to_date().unwrap();
        assert_eq!(unused.copies(), [""; 0]);
        let mut fresh = Old::unused(0);
        fresh.bring_up_to_date().unwrap();
        assert_eq!(fresh.copies(), [""; 0]);
        let mut current = Old::new(usize::try_from(migrate::known_schema()).unwrap());
        current.bring_up_to_date().unwrap();
        assert_eq!(current.copies(), [""; 0]);
    }

    #[test]
    fn without_room_for_a_copy_nothing_is_changed_and_it_says_what_to_do() {
        let mut old = Old::new(1);
        let file = old.file();
        let refused = bring_up_to_date_with(&mut old.conn, &file, &|_| Ok(4096)).unwrap_err().to_string();
        for part in ["from version 1 to", "4096 are free", "make room"] {
            assert!(refused.contains(part), "{refused}");
        }
        assert_eq!(old.schema(), 1);
        assert_eq!(old.copies(), [""; 0]);
        old.bring_up_to_date().unwrap();
        assert_eq!(old.products_in_copy(), ["lamp"], "with room it goes on");
    }

    #[test]
    fn what_was_killed_while_copying_is_copied_again() {
        let mut old = Old::new(1);
        let mut half = old.copy().into_os_string();
        half.push(".new");
        fs::write(&half, "SQLite format 3, and no more").unwrap();
        old.bring_up_to_date().unwrap();
        assert!(!Path::new(&half).exists());
        assert_eq!(old.products_in_copy(), ["lamp"]);
    }

    #[test]
    fn what_was_killed_between_two_steps_keeps_the_copy_from_before_the_first() {
        let mut old = Old::new(1);
        copy(&old.conn, &old.copy(), || Ok(())).unwrap();
        migrate_to(&mut old.conn, 2);
        old.bring_up_to_date().unwrap();
        assert_eq!(schema_of(&old.copy()), 1);
        assert_eq!(old.schema(), migrate::known_schema());
    }

    #[test]
    fn who_went_back_and_comes_again_has_a_copy_of_the_meantime() {
        let mut old = Old::new(1);
        copy(&old.conn, &old.copy(), || Ok(())).unwrap();
        old.conn
            .execute_batch(
                "INSERT INTO product (project, product_id, name, created_at) VALUES (1, 'fan', '', 0)",
            )
            .unwrap();
        old.bring_up_to_date().unwrap();
        assert_eq!(old.products_in_copy(), ["lamp", "fan"]);
    }

    #[test]
    fn the_last_copies_stay_and_older_ones_go() {
        let mut old = Old::new(1);
        for version in ["0002", "0003", "mine"] {
            fs::write(beside(&old.file(), version), "").unwrap();
        }
        old.bring_up_to_date().unwrap();
        let latest = format!("otaru.db.before-{:04}", migrate::known_schema());
        assert_eq!(old.copies(), ["otaru.db.before-0003", &latest, "otaru.db.before-mine"]);
    }
}
