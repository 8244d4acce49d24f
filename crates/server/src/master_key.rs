//! `otaru master-key change`, which needs a data directory for itself.

use std::process::ExitCode;

use otaru_store::{KeyChange, SqliteOptions, Store, change_master_key};

use crate::cli::{ChangeKeyArgs, variable};
use crate::say;

pub(crate) fn change(args: &ChangeKeyArgs) -> anyhow::Result<ExitCode> {
    let dir = &args.data_dir;
    // Opening makes what is missing; a mistyped directory is no place for a new store.
    anyhow::ensure!(
        dir.join("otaru.db").exists(),
        "there is no store in {}; name the data directory of the server",
        dir.display()
    );
    let (old, new) = (variable("OTARU_MASTER_KEY"), variable("OTARU_NEW_MASTER_KEY"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let KeyChange { sealed_again, kept_in } = runtime.block_on(async {
        let store = Store::open_sqlite(dir, SqliteOptions::default()).await?;
        say::aside(format_args!("sealing every secret in {} with another key", dir.display()));
        let changed =
            change_master_key(&store, dir, old.as_deref(), new.as_deref(), args.give_up_secrets).await?;
        anyhow::Ok(changed)
    })?;
    let done = match sealed_again {
        Some(count) => format!("{count} secrets are sealed with the new master key"),
        None => "the old secrets are given up: give each device and access key a new one".to_owned(),
    };
    match kept_in {
        Some(path) => say::out(format_args!("{done}; it is in {}", path.display()))?,
        None => say::out(format_args!("{done}; start the server with it in OTARU_MASTER_KEY"))?,
    }
    say::aside("backups made before need the old key; make a new backup now");
    Ok(ExitCode::SUCCESS)
}
