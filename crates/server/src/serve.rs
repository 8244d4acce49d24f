//! `otaru serve`: from the command line to the last fsync.

use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::{self, ServeArgs};
use crate::config::{Config, DEFAULT_FILE, check};
use crate::platform::{Listening, Platform};
use crate::tls::Renewal;
use crate::{admin_token, exit, logging, notify, say};

pub(crate) fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    if args.print_config {
        say::out(DEFAULT_FILE.trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let config = check(args.raw(|| std::env::vars().collect()), cli::secrets_of_environment())?;
    logging::start(&config.log_filter, config.log_format);
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(config))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(config: Config) -> anyhow::Result<()> {
    // Before the ready line: whoever waits for it may send a signal at once.
    let mut signals = Signals::install()?;
    let reload = signal(SignalKind::hangup())?;
    let pair = config.tls.as_ref().map(|tls| tls.pair.clone());
    let device_ca = config.device_ca_file.clone().zip(config.engine.device_ca.clone());
    let (data_dir, given_token) = (config.data_dir.clone(), config.secrets.admin_token.clone());
    let platform = Platform::open(config).await?;
    if let Some(path) = admin_token::ensure(platform.engine(), &data_dir, given_token.as_deref()).await? {
        say::aside(format_args!("otaru: made an admin token; it is in {}", path.display()));
    }
    let renewal = Renewal::new(pair, device_ca);
    let listening = platform.listening().clone();
    tracing::info!(data_dir = %data_dir.display(), public_url = %listening.public_url, "serving");
    say::shown(ready_line(&listening));
    notify::service_manager(notify::READY);
    let engine = platform.engine().clone();
    let shutdown = async {
        tokio::select! {
            () = signals.first() => {}
            part = engine.broken() => {
                tracing::error!(part, "a part of the engine has ended; stopping, so that a supervisor starts anew");
            }
        }
        notify::service_manager(notify::STOPPING);
    };
    tokio::select! {
        () = platform.serve(shutdown) => {}
        never = renewal.run(reload) => match never {},
    }
    // Nothing is lost by ending: what was not stored was not acknowledged.
    anyhow::ensure!(
        !engine.is_broken(),
        "a part of the engine ended; start again, and report what the log says"
    );
    tracing::info!("stopped");
    Ok(())
}

/// The one line by which scripts know that everything listens, and where.
fn ready_line(listening: &Listening) -> String {
    let mut line = "otaru ready".to_owned();
    let listeners = [
        ("mqtt", listening.mqtt),
        ("http", listening.http),
        ("mqtts", listening.mqtts),
        ("https", listening.https),
        ("device_https", listening.device_https),
    ];
    for (name, address) in listeners {
        if let Some(address) = address {
            line.push_str(&format!(" {name}={address}"));
        }
    }
    line
}

/// SIGTERM and SIGINT.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(crate) fn install() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the first signal. From then on a second one ends the process at once.
    pub(crate) async fn first(&mut self) {
        self.one().await;
        tracing::info!("stopping; a second signal ends at once");
        if let Ok(mut more) = Signals::install() {
            tokio::spawn(async move {
                more.one().await;
                std::process::exit(i32::from(exit::FAILURE));
            });
        }
    }

    async fn one(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
