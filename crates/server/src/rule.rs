//! `otaru rule`: asks a running server.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::cli::{RuleArgs, RuleCommand};
use crate::exit;
use crate::say;
use crate::token;

pub(crate) fn run(args: &RuleArgs) -> anyhow::Result<ExitCode> {
    let client = token::client(&args.server)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let json = args.server.json;
    runtime.block_on(async {
        match &args.command {
            RuleCommand::List => print_list(&client.get("/api/v1/rules").await?, json)?,
            RuleCommand::Test { rule_id } => {
                let tested =
                    client.post(&format!("/api/v1/rules/{}/test", path_part(rule_id)?), &json!({})).await?;
                return print_test(&tested, json);
            }
            RuleCommand::DeadLetters { rule_id } => {
                let letters =
                    client.get(&format!("/api/v1/rules/{}/dead-letters", path_part(rule_id)?)).await?;
                print_dead(&letters, json)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn path_part(id: &str) -> anyhow::Result<&str> {
    let is_plain = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    anyhow::ensure!(is_plain, "{id:?} is no rule id; `otaru rule list` shows them");
    Ok(id)
}

fn items(listed: &Value) -> impl Iterator<Item = &Value> {
    listed["items"].as_array().into_iter().flatten()
}

fn member(of: &Value, name: &str) -> String {
    of[name].as_str().unwrap_or("-").to_owned()
}

fn print_list(listed: &Value, json: bool) -> anyhow::Result<()> {
    if json {
        return say::out(listed);
    }
    for rule in items(listed) {
        let force = if rule["active"] == true { "in force" } else { "switched off" };
        say::out(format_args!("{}  {}  {force}", member(rule, "rule_id"), member(rule, "resource")))?;
        for action in rule["actions"].as_array().into_iter().flatten() {
            say::out(format_args!("  {}  {} to be told", member(action, "url"), action["due"]))?;
        }
    }
    Ok(())
}

fn print_test(tested: &Value, json: bool) -> anyhow::Result<ExitCode> {
    let all_taken = items(tested).all(|test| test["taken"] == true);
    if json {
        say::out(tested)?;
    } else {
        for test in items(tested) {
            let became = match test["taken"].as_bool() {
                Some(true) => format!("taken with {}", test["status"]),
                Some(false) | None => format!("not taken: {}", member(test, "error")),
            };
            say::out(format_args!("{}  {became}", member(test, "url")))?;
        }
        if items(tested).next().is_none() {
            say::aside("the rule has no action, so that nobody is told");
        }
    }
    Ok(if all_taken { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILURE) })
}

fn print_dead(letters: &Value, json: bool) -> anyhow::Result<()> {
    if json {
        return say::out(letters);
    }
    for letter in items(letters) {
        say::out(format_args!("{}  {}", member(letter, "at"), member(letter, "error")))?;
        say::out(format_args!("  {}", member(letter, "body")))?;
    }
    Ok(())
}
