//! `otaru token`: asks a running server.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use otaru_fleet::TlsTrust;
use serde_json::{Value, json};

use crate::admin_token;
use crate::cli::{ServerArgs, TokenArgs, TokenCommand};
use crate::client::ApiClient;
use crate::say;

/// As in the default configuration; a test holds the two together.
const DEFAULT_DATA_DIR: &str = "./otaru-data";

pub(crate) fn run(args: &TokenArgs) -> anyhow::Result<ExitCode> {
    let client = client(&args.server)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match &args.command {
            TokenCommand::Create { name, role } => {
                let made =
                    client.post("/api/v1/tokens", &json!({ "name": name, "role": role.name() })).await?;
                print_made(&made, args.server.json).context("a token was made, but here it is lost")?;
            }
            TokenCommand::List => {
                let listed = client.get("/api/v1/tokens").await?;
                print_list(&listed, args.server.json)?;
            }
            TokenCommand::Revoke { token_id } => {
                client.delete(&format!("/api/v1/tokens/{}", path_part(token_id)?)).await?;
                say::aside(format_args!("revoked {token_id}; whoever uses it is refused from now on"));
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Whom to ask, and with which token.
pub(crate) fn client(server: &ServerArgs) -> anyhow::Result<ApiClient> {
    let token = token(server.token.as_deref(), server.data_dir.as_deref())?;
    let trust = server.ca.clone().map(TlsTrust::Ca);
    ApiClient::new(&server.url, &token, trust.as_ref())
}

/// The token that was given, or the one that a server on this machine keeps.
pub(crate) fn token(given: Option<&str>, data_dir: Option<&Path>) -> anyhow::Result<String> {
    Ok(match (given, data_dir) {
        (Some(token), _) => token.to_owned(),
        (None, Some(dir)) => admin_token::read(dir)?,
        // Where `otaru serve` without flags keeps its data.
        (None, None) if admin_token::is_in(Path::new(DEFAULT_DATA_DIR)) => {
            admin_token::read(Path::new(DEFAULT_DATA_DIR))?
        }
        (None, None) => anyhow::bail!(
            "no token to ask with; give --data-dir DIR of the server on this machine, or an admin token in \
             OTARU_TOKEN or --token"
        ),
    })
}

/// An id as part of a path. Ids are made of nothing that would need escaping.
fn path_part(id: &str) -> anyhow::Result<&str> {
    let is_plain = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_plain.then_some(id).with_context(|| format!("{id:?} is no token id; `otaru token list` shows them"))
}

fn print_made(made: &Value, json: bool) -> anyhow::Result<()> {
    if json {
        return say::out(made);
    }
    let member = |name: &str| made[name].as_str().unwrap_or_default().to_owned();
    let (name, role, id) = (member("name"), member("role"), member("token_id"));
    say::aside(format_args!("{name} ({role}), id {id}; this is shown once:"));
    say::out(member("token"))
}

fn print_list(listed: &Value, json: bool) -> anyhow::Result<()> {
    if json {
        return say::out(listed);
    }
    say::out(format_args!("{:<24}  {:<8}  {:<24}  NAME", "TOKEN ID", "ROLE", "CREATED"))?;
    for token in listed["items"].as_array().into_iter().flatten() {
        let member = |name: &str| token[name].as_str().unwrap_or("-").to_owned();
        say::out(format_args!(
            "{:<24}  {:<8}  {:<24}  {}",
            member("token_id"),
            member("role"),
            member("created_at"),
            member("name")
        ))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Raw, Secrets, check};

    #[test]
    fn the_token_is_looked_for_where_a_server_without_flags_keeps_it() {
        let config = check(Raw::new(), Secrets::default()).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        assert_eq!(config.data_dir, Path::new(DEFAULT_DATA_DIR));
    }
}
