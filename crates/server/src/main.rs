//! The `otaru` binary: reads what is asked for and starts it.
//!
//! Start at `config/check.rs` for what can be set, at `platform.rs` for how the parts are put together, and at
//! `demo/mod.rs` for a tour of the product.
//!
//! Always true:
//! - stdout belongs to command output and to the one ready line of `serve`; the log goes to stderr.
//! - Nothing is started while the configuration has a mistake.
//!
//! Not here: any rule of the product.

// They panic when they cannot write; `say` does not.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

mod access_key;
mod admin_token;
mod backup;
mod cli;
mod client;
mod config;
mod demo;
mod exit;
mod logging;
mod master_key;
mod notify;
mod operator;
mod platform;
mod reserve;
mod rule;
mod say;
mod serve;
mod simulate;
mod tls;
mod token;
mod verdict;

use std::process::ExitCode;

use clap::Parser as _;

use cli::{Cli, Command, MasterKeyCommand, TlsCommand};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match &cli.command {
        Command::Serve(args) => serve::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Simulate(args) => simulate::run(args),
        Command::Token(args) => token::run(args),
        Command::AccessKey(args) => access_key::run(args),
        Command::Rule(args) => rule::run(args),
        Command::Backup(args) => backup::run(args),
        Command::Restore(args) => backup::restore(args),
        Command::MasterKey(args) => match &args.command {
            MasterKeyCommand::Change(args) => master_key::change(args),
        },
        Command::Tls(args) => match &args.command {
            TlsCommand::SelfSigned { out, names } => self_sign(out, names),
        },
    };
    done.unwrap_or_else(|error| exit::of_error(&error))
}

fn self_sign(out: &std::path::Path, names: &[String]) -> anyhow::Result<ExitCode> {
    let files = tls::self_sign(out, names)?;
    let (cert, key) = (files.cert.display(), files.key.display());
    let names = names.join(", ");
    say::out(format_args!(
        "certificate  {cert}  (for {names}; give it to devices as the authority they trust)\n\
         private key  {key}  (readable by you only; keep it here)\n\
         \n\
         Next:\n  \
         otaru serve --mqtts 127.0.0.1:8883 --https 127.0.0.1:8443 --tls-cert {cert} --tls-key {key}"
    ))?;
    Ok(ExitCode::SUCCESS)
}
