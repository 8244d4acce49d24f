//! `otaru access-key`: asks a running server.

use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::cli::{AccessKeyArgs, AccessKeyCommand};
use crate::say;
use crate::token;

pub(crate) fn run(args: &AccessKeyArgs) -> anyhow::Result<ExitCode> {
    let client = token::client(&args.server)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match &args.command {
            AccessKeyCommand::Create { name, role } => {
                let body = json!({ "name": name, "role": role.name() });
                let made = client.post("/api/v1/access-keys", &body).await?;
                print_made(&made, args.server.json).context("an access key was made, but here it is lost")?;
            }
            AccessKeyCommand::List => {
                let listed = client.get("/api/v1/access-keys").await?;
                print_list(&listed, args.server.json)?;
            }
            AccessKeyCommand::Revoke { access_key } => {
                let is_plain =
                    !access_key.is_empty() && access_key.bytes().all(|b| b.is_ascii_alphanumeric());
                anyhow::ensure!(
                    is_plain,
                    "{access_key:?} is no access key; `otaru access-key list` shows them"
                );
                client.delete(&format!("/api/v1/access-keys/{access_key}")).await?;
                say::aside(format_args!("revoked {access_key}; what it signs is refused from now on"));
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn print_made(made: &Value, json: bool) -> anyhow::Result<()> {
    if json {
        return say::out(made);
    }
    let member = |name: &str| made[name].as_str().unwrap_or_default().to_owned();
    say::aside(format_args!("{} ({}); the secret is shown once:", member("name"), member("role")));
    say::out(format_args!(
        "access key  {}\nsecret key  {}\nproject id  {}",
        member("access_key"),
        member("secret_key"),
        member("project_id")
    ))
}

fn print_list(listed: &Value, json: bool) -> anyhow::Result<()> {
    if json {
        return say::out(listed);
    }
    say::out(format_args!("{:<20}  {:<8}  {:<24}  NAME", "ACCESS KEY", "ROLE", "CREATED"))?;
    for key in listed["items"].as_array().into_iter().flatten() {
        let member = |name: &str| key[name].as_str().unwrap_or("-").to_owned();
        say::out(format_args!(
            "{:<20}  {:<8}  {:<24}  {}",
            member("access_key"),
            member("role"),
            member("created_at"),
            member("name")
        ))?;
    }
    Ok(())
}
