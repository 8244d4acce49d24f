//! `otaru backup`, which asks a running server, and `otaru restore`, which needs a data directory for itself.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use otaru_engine::{Clock as _, SystemClock};
use otaru_store::Restored;
use serde_json::{Value, json};

use crate::cli::{BackupArgs, RestoreArgs};
use crate::say;
use crate::token;

/// How long a backup may take: a store of some hundred gigabytes on a slow disk.
const PATIENCE: Duration = Duration::from_secs(6 * 3600);

/// How often whoever waits hears that it goes on.
const SAID_EVERY: Duration = Duration::from_secs(10);

pub(crate) fn run(args: &BackupArgs) -> anyhow::Result<ExitCode> {
    let client = token::client(&args.server)?.with_patience(PATIENCE);
    let directory = std::path::absolute(&args.directory)?;
    let named = directory.to_str().with_context(|| format!("{} is no UTF-8 text", directory.display()))?;
    let body = json!({ "directory": named, "secrets": !args.no_secrets });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let made = runtime.block_on(async {
        say::aside(format_args!("copying into {named} on the server's machine"));
        let mut making = std::pin::pin!(client.post("/api/v1/backups", &body));
        let mut seconds = 0;
        loop {
            tokio::select! {
                made = &mut making => return made,
                () = tokio::time::sleep(SAID_EVERY) => {
                    seconds += SAID_EVERY.as_secs();
                    say::aside(format_args!("still copying after {seconds} s"));
                }
            }
        }
    })?;
    if args.server.json {
        say::out(&made)?;
    } else {
        say::out(format_args!("backup made in {named}: {}", in_words(&made)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn in_words(made: &Value) -> String {
    let secrets: Vec<&str> =
        made["secrets"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let secrets = if secrets.is_empty() { "no secrets".to_owned() } else { secrets.join(" and ") };
    format!(
        "a store of {} bytes, {} artifacts of {} bytes, {secrets}",
        made["database_bytes"], made["artifacts"], made["artifact_bytes"]
    )
}

pub(crate) fn restore(args: &RestoreArgs) -> anyhow::Result<ExitCode> {
    let (from, to) = (args.backup.display(), args.data_dir.display());
    say::aside(format_args!("copying and verifying {from}"));
    let now = SystemClock::new().wall();
    let Restored { manifest, replaced } =
        otaru_store::restore(&args.backup, &args.data_dir, args.replace, now)?;
    if let Some(replaced) = replaced {
        say::aside(format_args!("what was in {to} is in {} now", replaced.display()));
    }
    if !manifest.secrets.iter().any(|secret| secret.name == "master.key") {
        say::aside(
            "the backup has no master key: put master.key into the data directory, or set OTARU_MASTER_KEY, before \
             the server starts; it starts with the one of this store only",
        );
    }
    say::out(format_args!(
        "restored into {to}: a store of {} bytes, {} artifacts",
        manifest.database_bytes, manifest.artifacts
    ))?;
    Ok(ExitCode::SUCCESS)
}
