//! Bringing the schema of a store up to date.
//!
//! Always true:
//! - The steps are numbered files; one that was released is never edited, a change is a further file.
//! - Each step is one transaction with the number it leads to (`user_version`), so that a crash repeats it or
//!   has it done.
//! - A store from a newer release is not touched.

use rusqlite::{Connection, TransactionBehavior};

use crate::error::StoreError;

/// The steps, from an empty file on. The step at index `n` leads to version `n + 1`.
const STEPS: &[&str] = &[
    include_str!("schema/0001_first.sql"),
    include_str!("schema/0002_children.sql"),
    include_str!("schema/0003_certificates.sql"),
    include_str!("schema/0004_notes.sql"),
    include_str!("schema/0005_lists.sql"),
    include_str!("schema/0006_failures.sql"),
    include_str!("schema/0007_actions.sql"),
    include_str!("schema/0008_forgetting.sql"),
    include_str!("schema/0009_schedule.sql"),
    include_str!("schema/0010_conditions.sql"),
    include_str!("schema/0011_groups.sql"),
    include_str!("schema/0012_master_key.sql"),
    include_str!("schema/0013_applications.sql"),
    include_str!("schema/0014_pushes.sql"),
    include_str!("schema/0015_pushes.sql"),
    include_str!("schema/0016_contents.sql"),
    include_str!("schema/0017_spaces.sql"),
    include_str!("schema/0018_modules.sql"),
];

/// Marks the file as ours: `OTAR`.
const APPLICATION_ID: i64 = 0x4f54_4152;

/// The version of the schema of this release.
pub(crate) fn known_schema() -> i64 {
    i64::try_from(STEPS.len()).expect("there are a handful of steps")
}

/// Brings the schema to the version of this release.
///
/// # Errors
///
/// - `TooNew`: it is at a later version.
/// - `Corrupt`: it is a database of something else.
pub(super) fn bring_up_to_date(conn: &mut Connection) -> Result<(), StoreError> {
    migrate(conn, STEPS)
}

/// The version of the schema of a store that this release can use; 0 for an empty file.
///
/// # Errors
///
/// As [`bring_up_to_date`].
pub(super) fn examine(conn: &Connection) -> Result<i64, StoreError> {
    examine_for(conn, known_schema())
}

fn examine_for(conn: &Connection, known: i64) -> Result<i64, StoreError> {
    let found = version(conn)?;
    if found > known {
        return Err(StoreError::TooNew { found, known });
    }
    let owner: i64 =
        conn.query_row("SELECT application_id FROM pragma_application_id", [], |row| row.get(0))?;
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if owner != APPLICATION_ID && tables > 0 {
        let problem = "it is a database of another program; name an empty directory".to_owned();
        return Err(StoreError::Corrupt { what: "otaru.db", problem });
    }
    Ok(found)
}

fn migrate(conn: &mut Connection, steps: &[&str]) -> Result<(), StoreError> {
    let found = examine_for(conn, i64::try_from(steps.len()).expect("there are a handful of steps"))?;
    for (step, to) in steps.iter().zip(1_i64..) {
        if to <= found {
            continue;
        }
        let step_alone = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        step_alone.execute_batch(step)?;
        step_alone.pragma_update(None, "application_id", APPLICATION_ID)?;
        step_alone.pragma_update(None, "user_version", to)?;
        step_alone.commit()?;
        if found > 0 {
            tracing::info!(from = to - 1, to, "store migrated");
        }
    }
    Ok(())
}

fn version(conn: &Connection) -> Result<i64, StoreError> {
    Ok(conn.query_row("SELECT user_version FROM pragma_user_version", [], |row| row.get(0))?)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Brings the schema to the version of an older release.
    pub(in crate::sqlite) fn migrate_to(conn: &mut Connection, version: usize) {
        migrate(conn, &STEPS[..version]).unwrap();
    }

    #[test]
    fn every_file_of_the_schema_is_a_step_in_the_order_of_its_number() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/sqlite/schema");
        let mut files: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        assert_eq!(files.len(), STEPS.len());
        for (at, (file, step)) in files.iter().zip(STEPS).enumerate() {
            let name = file.file_name().unwrap().to_str().unwrap();
            assert!(name.starts_with(&format!("{:04}_", at + 1)), "{name}");
            assert_eq!(&std::fs::read_to_string(file).unwrap(), step);
        }
    }

    #[test]
    fn an_empty_file_becomes_a_store_and_a_store_is_left_alone() {
        let mut conn = Connection::open_in_memory().unwrap();
        bring_up_to_date(&mut conn).unwrap();
        assert_eq!(version(&conn).unwrap(), i64::try_from(STEPS.len()).unwrap());
        conn.execute("UPDATE life SET boots = 7", []).unwrap();
        bring_up_to_date(&mut conn).unwrap();
        let boots: i64 = conn.query_row("SELECT boots FROM life", [], |row| row.get(0)).unwrap();
        assert_eq!(boots, 7);
    }

    #[test]
    fn later_steps_are_taken_from_where_the_store_is() {
        let steps =
            ["CREATE TABLE a (x) STRICT", "ALTER TABLE a ADD COLUMN y INTEGER", "CREATE TABLE b (z INTEGER)"];
        let steps = [steps[0].replace("(x)", "(x INTEGER)"), steps[1].to_owned(), steps[2].to_owned()];
        let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn, &steps[..1]).unwrap();
        conn.execute("INSERT INTO a VALUES (1)", []).unwrap();
        migrate(&mut conn, &steps).unwrap();
        assert_eq!(version(&conn).unwrap(), 3);
        let kept: i64 = conn.query_row("SELECT x FROM a WHERE y IS NULL", [], |row| row.get(0)).unwrap();
        assert_eq!(kept, 1);
    }

    #[test]
    fn devices_from_before_there_were_certificates_have_secrets() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn, &STEPS[..1]).unwrap();
        conn.execute_batch(
            "INSERT INTO project (project_id, created_at) VALUES ('p', 0);
             INSERT INTO product (project, product_id, name, created_at) VALUES (1, 'p', '', 0);
             INSERT INTO device (product, device_id, node_id, tags, created_at) VALUES (1, 'd', 'd', '{}', 0);",
        )
        .unwrap();
        bring_up_to_date(&mut conn).unwrap();
        let kept: (String, Option<String>) = conn
            .query_row("SELECT auth, fingerprint FROM device", [], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        assert_eq!(kept, ("secret".to_owned(), None));
    }

    /// The label of a deployment, and the code of its last report.
    type Ended<'a> = (&'a str, Option<i64>);

    /// A store as the fourth step left it: one product, and a campaign in each of these states, which has these
    /// deployments.
    fn with_campaigns(campaigns: &[(&str, &[Ended<'_>])]) -> Connection {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn, &STEPS[..4]).unwrap();
        conn.execute_batch(
            "INSERT INTO project (project_id, created_at) VALUES ('p', 0);
             INSERT INTO product (project, product_id, name, created_at) VALUES (1, 'p', '', 0);",
        )
        .unwrap();
        for (number, (state, deployments)) in (1_i64..).zip(campaigns) {
            conn.execute(
                "INSERT INTO campaign (product, campaign_id, name, state, started, filled, policy, targets, created_at,
                     created_by) VALUES (1, ?1, '', ?2, 1, 1, '{}', '{}', 0, '')",
                (number, state),
            )
            .unwrap();
            for (device, (label, code)) in (1_i64..).zip(*deployments) {
                conn.execute(
                    "INSERT INTO deployment (campaign, device, run, wave, label, result_code, body, created_at, updated_at)
                     VALUES (?1, ?2, 1, 0, ?3, ?4, '{}', 0, 0)",
                    (number, device, label, code),
                )
                .unwrap();
            }
        }
        conn
    }

    #[test]
    fn campaigns_from_before_there_were_totals_are_counted() {
        let mut conn = with_campaigns(&[("running", &[]), ("draft", &[]), ("running", &[])]);
        bring_up_to_date(&mut conn).unwrap();
        let mut statement =
            conn.prepare("SELECT product, state, n FROM campaign_tally ORDER BY product, state").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        let counted: Vec<(i64, String, i64)> = rows.map(Result::unwrap).collect();
        let row = |product, state: &str, n| (product, state.to_owned(), n);
        assert_eq!(
            counted,
            [row(0, "draft", 1), row(0, "running", 2), row(1, "draft", 1), row(1, "running", 2)]
        );
    }

    #[test]
    fn failures_from_before_they_were_counted_are_counted() {
        let mut conn = with_campaigns(&[
            (
                "running",
                &[("failed", Some(4)), ("failed", Some(4)), ("timed_out", None), ("installed", Some(0))],
            ),
            ("finished", &[("failed", Some(-1)), ("cancelled", Some(4)), ("timed_out", Some(0))]),
        ]);
        bring_up_to_date(&mut conn).unwrap();
        let mut statement = conn
            .prepare(
                "SELECT campaign, label, has_code, code, n FROM campaign_failure
                 ORDER BY campaign, label, has_code, code",
            )
            .unwrap();
        let rows = statement
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))
            .unwrap();
        let counted: Vec<(i64, String, bool, i64, i64)> = rows.map(Result::unwrap).collect();
        let row = |campaign, label: &str, has_code, code, n| (campaign, label.to_owned(), has_code, code, n);
        assert_eq!(
            counted,
            [
                row(1, "failed", true, 4, 2),
                row(1, "timed_out", false, 0, 1),
                row(2, "failed", true, -1, 1),
                row(2, "timed_out", true, 0, 1),
            ]
        );
    }

    #[test]
    fn packages_from_before_they_could_be_read_later_have_their_artifacts() {
        let mut conn = Connection::open_in_memory().unwrap();
        conn.pragma_update(None, "foreign_keys", true).unwrap();
        migrate(&mut conn, &STEPS[..15]).unwrap();
        conn.execute_batch(
            "INSERT INTO project (project_id, created_at) VALUES ('p', 0);
             INSERT INTO product (project, product_id, name, created_at) VALUES (1, 'p', '', 0);
             INSERT INTO artifact (artifact_id, project, size_bytes, created_at, idle_since) VALUES ('ab', 1, 42, 0, 0);
             INSERT INTO package (product, package_id, kind, version, source_versions, artifact_id, file_name, delivery,
                 created_at) VALUES (1, 'k', 'firmware', 'v', '[]', 'ab', 'f', 'token', 0);
             INSERT INTO campaign (product, campaign_id, name, state, started, filled, policy, targets, created_at,
                 created_by) VALUES (1, 'c', '', 'running', 1, 1, '{}', '{}', 0, '');
             INSERT INTO campaign_package VALUES (1, 0, 1);",
        )
        .unwrap();
        bring_up_to_date(&mut conn).unwrap();
        let kept: (i64, String, bool) = conn
            .query_row("SELECT key, artifact_id, refused FROM package", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .unwrap();
        assert_eq!(kept, (1, "ab".to_owned(), false));
        let broken: i64 =
            conn.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0)).unwrap();
        assert_eq!(broken, 0);
        assert!(conn.execute("DELETE FROM artifact", []).is_err(), "a package has it");
    }

    #[test]
    fn a_step_that_fails_leaves_the_version_before_it() {
        let mut conn = Connection::open_in_memory().unwrap();
        let steps = ["CREATE TABLE a (x INTEGER)", "CREATE TABLE b (y INTEGER); CREATE TABLE a (x INTEGER)"];
        assert!(migrate(&mut conn, &steps).is_err());
        assert_eq!(version(&conn).unwrap(), 1);
        let b: i64 = conn
            .query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'b'", [], |row| row.get(0))
            .unwrap();
        assert_eq!(b, 0);
    }

    #[test]
    fn a_newer_store_and_a_stranger_are_refused() {
        let mut newer = Connection::open_in_memory().unwrap();
        newer.pragma_update(None, "user_version", 99).unwrap();
        let refused = bring_up_to_date(&mut newer).unwrap_err();
        assert!(matches!(refused, StoreError::TooNew { found: 99, .. }), "{refused}");
        let mut stranger = Connection::open_in_memory().unwrap();
        stranger.execute_batch("CREATE TABLE other (x INTEGER)").unwrap();
        assert!(matches!(bring_up_to_date(&mut stranger), Err(StoreError::Corrupt { .. })));
    }
}
