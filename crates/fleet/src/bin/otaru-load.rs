//! `otaru-load`: how many status reports a server acknowledges, how many devices it lets in, and how fast.
//!
//! Not here: the measuring itself (`otaru_fleet::load`).

use std::io::Read;
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgGroup, Parser, Subcommand};
use otaru_fleet::load::downloads::{self, DownloadsConfig};
use otaru_fleet::load::idle::{self, IdleConfig};
use otaru_fleet::load::upgrades::{self, UpgradesConfig};
use otaru_fleet::load::visits::{self, VisitsConfig};
use otaru_fleet::load::{self, Identity, Length, LoadConfig, LoadReport};

/// Generates a bounded load of upgrade status reports and measures acknowledgements.
#[derive(Debug, Parser)]
#[command(
    name = "otaru-load",
    version,
    group(ArgGroup::new("length").args(["secs", "reports", "until_stdin_ends"])),
    group(ArgGroup::new("identity").args(["secret", "password", "anonymous"]).required(true)),
    subcommand_negates_reqs = true,
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  1000 registered devices bench_0 … bench_999 with one secret, one report in flight each, 10 s:
    otaru-load --connections 1000 --in-flight 1 --prefix bench_ --secret s3cret12 --secs 10

  The same load on a broker that takes anybody, for comparison:
    otaru-load --target 127.0.0.1:1884 --connections 1000 --in-flight 1 --prefix bench_ --anonymous

Exit codes: 0 measured, 1 failed, 2 wrong usage, 3 measured, but acknowledgements came out of order."
)]
struct Args {
    #[command(subcommand)]
    other: Option<Other>,
    #[command(flatten)]
    who: Who,
    /// How many connections.
    #[arg(long, value_name = "N", default_value_t = 100)]
    connections: usize,
    /// Reports in flight on each connection.
    #[arg(long, value_name = "K", default_value_t = 16)]
    in_flight: usize,
    /// One report of each connection every so many seconds, instead of as many as are acknowledged.
    #[arg(long, value_name = "S")]
    every: Option<f64>,
    /// Measure for so many seconds [default: 10].
    #[arg(long, value_name = "S")]
    secs: Option<f64>,
    /// Measure until so many reports are acknowledged.
    #[arg(long, value_name = "N")]
    reports: Option<u64>,
    /// Measure until stdin ends.
    #[arg(long)]
    until_stdin_ends: bool,
    /// Seconds before anything is measured.
    #[arg(long, value_name = "S", default_value_t = 2.0)]
    warm_up: f64,
    /// Bytes of one report.
    #[arg(long, value_name = "BYTES", default_value_t = 330)]
    payload_bytes: usize,
    /// The version that the devices say they run.
    #[arg(long, value_name = "VERSION", default_value = "1.0.0")]
    version_reported: String,
    /// Threads of the generator. One leaves the other cores to the server.
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// Loads of another kind. Each prints one JSON object.
#[derive(Debug, Subcommand)]
enum Other {
    /// Connections that come and go: how many CONNECTs a second are answered.
    #[command(group(ArgGroup::new("identity").args(["secret", "password", "anonymous"]).required(true)))]
    Visits {
        #[command(flatten)]
        who: Who,
        /// How many different devices, in turn.
        #[arg(long, value_name = "N", default_value_t = 1000)]
        devices: usize,
        /// How many at the same time.
        #[arg(long, value_name = "N", default_value_t = 64)]
        at_once: usize,
        /// Seconds before anything is measured.
        #[arg(long, value_name = "S", default_value_t = 2.0)]
        warm_up: f64,
        /// Measure for so many seconds.
        #[arg(long, value_name = "S", default_value_t = 10.0)]
        secs: f64,
    },
    /// Connections that sit and do nothing, until stdin ends.
    #[command(group(ArgGroup::new("identity").args(["secret", "password", "anonymous"]).required(true)))]
    Idle {
        #[command(flatten)]
        who: Who,
        /// How many.
        #[arg(long, value_name = "N", default_value_t = 1000)]
        connections: usize,
        /// Over TLS. Whoever answers is trusted.
        #[arg(long)]
        tls: bool,
    },
    /// Devices that upgrade as soon as they are told, and download nothing: how many offers a second are made. Prints
    /// `connected` when all are.
    #[command(group(ArgGroup::new("identity").args(["secret", "password", "anonymous"]).required(true)))]
    Upgrades {
        #[command(flatten)]
        who: Who,
        /// How many devices.
        #[arg(long, value_name = "N", default_value_t = 1000)]
        connections: usize,
        /// End after so many notices.
        #[arg(long, value_name = "N", default_value_t = u64::MAX)]
        notices: u64,
        /// Stay until stdin ends, however many notices come.
        #[arg(long, conflicts_with = "notices")]
        until_stdin_ends: bool,
        /// End after so many seconds.
        #[arg(long, value_name = "S", default_value_t = 60.0)]
        at_most: f64,
        /// The version that the devices say they run at first.
        #[arg(long, value_name = "VERSION", default_value = "1.0.0")]
        version_reported: String,
    },
    /// Streams that fetch over plain HTTP and throw away. Reads from stdin the requests, one JSON string a line and stream.
    Downloads {
        /// Plain HTTP on this machine, address:port.
        #[arg(long, value_name = "ADDR")]
        target: std::net::SocketAddr,
        /// Seconds before anything is measured.
        #[arg(long, value_name = "S", default_value_t = 2.0)]
        warm_up: f64,
        /// Measure for so many seconds.
        #[arg(long, value_name = "S", default_value_t = 10.0)]
        secs: f64,
    },
}

/// Whom to load, and who it says it is.
#[derive(Clone, Debug, clap::Args)]
struct Who {
    /// Plain MQTT listener, host:port. Loopback only, unless --allow-remote.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1883")]
    target: String,
    /// Load another machine; make sure that it is yours.
    #[arg(long)]
    allow_remote: bool,
    /// Device ids (with --anonymous: client ids) are PREFIX0, PREFIX1, and so on.
    #[arg(long, value_name = "PREFIX", default_value = "load_")]
    prefix: String,
    /// The secret of all these devices.
    #[arg(long, value_name = "SECRET", env = "OTARU_LOAD_SECRET", hide_env_values = true)]
    secret: Option<String>,
    /// Client ids are user names too, with this password, for brokers with a password file.
    #[arg(long, value_name = "PASSWORD")]
    password: Option<String>,
    /// Connect without user name and password.
    #[arg(long)]
    anonymous: bool,
}

impl Who {
    fn identity(&self) -> Identity {
        let prefix = self.prefix.clone();
        match (&self.secret, &self.password) {
            _ if self.anonymous => Identity::Anonymous { prefix },
            (_, Some(password)) => Identity::Users { prefix, password: password.clone() },
            (Some(secret), None) => Identity::Devices { prefix, secret: secret.clone() },
            (None, None) => Identity::Anonymous { prefix },
        }
    }
}

/// Acknowledgements came out of order; MQTT 3.1.1, 4.6 forbids it.
const OUT_OF_ORDER: u8 = 3;

fn main() -> ExitCode {
    let args = Args::parse();
    let measured = match &args.other {
        None => measure(&args).map(|report| {
            print(&report, args.json);
            report.out_of_order == 0
        }),
        Some(other) => measure_other(other).map(|()| true),
    };
    match measured {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(OUT_OF_ORDER),
        Err(error) => {
            eprintln!("otaru-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "the figures are this command's output")]
fn measure_other(other: &Other) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let millis = |span: Duration| span.as_secs_f64() * 1000.0;
    let object = match other {
        Other::Visits { who, devices, at_once, warm_up, secs } => {
            let report = runtime.block_on(visits::run(&VisitsConfig {
                target: who.target.clone(),
                allow_remote: who.allow_remote,
                devices: *devices,
                at_once: *at_once,
                identity: who.identity(),
                warm_up: Duration::try_from_secs_f64(*warm_up)?,
                span: Duration::try_from_secs_f64(*secs)?,
            }))?;
            serde_json::json!({
                "at_once": at_once,
                "visits": report.visits,
                "visits_per_sec": report.per_sec,
                "latency_ms_p50": millis(report.latency.p50),
                "latency_ms_p99": millis(report.latency.p99),
            })
        }
        Other::Idle { who, connections, tls } => {
            return runtime.block_on(async {
                let idle = idle::connect(&IdleConfig {
                    target: who.target.clone(),
                    allow_remote: who.allow_remote,
                    connections: *connections,
                    identity: who.identity(),
                    tls: *tls,
                })
                .await?;
                println!(
                    "{}",
                    serde_json::json!({
                        "connections": idle.connections(),
                        "connecting_secs": idle.connecting.as_secs_f64(),
                    })
                );
                tokio::task::spawn_blocking(stdin_ends).await??;
                Ok(())
            });
        }
        Other::Downloads { target, warm_up, secs } => {
            let requests: Vec<String> = std::io::stdin()
                .lines()
                .map(|line| Ok(serde_json::from_str(&line?)?))
                .collect::<anyhow::Result<_>>()?;
            let report = downloads::run(&DownloadsConfig {
                target: *target,
                requests,
                warm_up: Duration::try_from_secs_f64(*warm_up)?,
                span: Duration::try_from_secs_f64(*secs)?,
            })?;
            serde_json::json!({
                "bytes": report.bytes,
                "bytes_per_sec": report.bytes_per_sec,
                "whole": report.whole,
            })
        }
        Other::Upgrades { who, connections, notices, until_stdin_ends, at_most, version_reported } => {
            let config = UpgradesConfig {
                target: who.target.clone(),
                allow_remote: who.allow_remote,
                connections: *connections,
                identity: who.identity(),
                version: version_reported.clone(),
                notices: *notices,
                at_most: Duration::try_from_secs_f64(*at_most)?,
            };
            let over = async {
                if *until_stdin_ends {
                    let _ = tokio::task::spawn_blocking(stdin_ends).await;
                } else {
                    std::future::pending().await
                }
            };
            let report = runtime.block_on(upgrades::run(&config, || println!("connected"), over))?;
            serde_json::json!({
                "connections": connections,
                "notices": report.notices,
                "devices_told": report.devices_told,
                "questions": report.questions,
                "first_notice_at_ms": report.first_notice_at_ms,
                "last_notice_at_ms": report.last_notice_at_ms,
                "percentiles_at_ms": report.percentiles_at_ms,
            })
        }
    };
    println!("{object}");
    Ok(())
}

fn measure(args: &Args) -> anyhow::Result<LoadReport> {
    let config = LoadConfig {
        target: args.who.target.clone(),
        allow_remote: args.who.allow_remote,
        connections: args.connections,
        in_flight: args.in_flight,
        every: args.every.map(Duration::try_from_secs_f64).transpose()?,
        identity: args.who.identity(),
        warm_up: Duration::try_from_secs_f64(args.warm_up)?,
        length: match args.reports {
            Some(reports) => Length::Reports(reports),
            None if args.until_stdin_ends => Length::UntilTold,
            None => Length::For(Duration::try_from_secs_f64(args.secs.unwrap_or(10.0))?),
        },
        payload_bytes: args.payload_bytes,
        version: args.version_reported.clone(),
    };
    let mut runtime = if args.threads <= 1 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    let runtime = runtime.worker_threads(args.threads.max(1)).enable_all().build()?;
    let until_stdin_ends = args.until_stdin_ends;
    let stop = async move {
        if until_stdin_ends {
            // However it ends.
            let _ = tokio::task::spawn_blocking(stdin_ends).await;
        } else {
            std::future::pending().await
        }
    };
    Ok(runtime.block_on(load::run_until(&config, stop))?)
}

/// Waits until there is no more to read, and throws away what there was.
fn stdin_ends() -> std::io::Result<usize> {
    std::io::stdin().read_to_end(&mut Vec::new())
}

#[expect(clippy::print_stdout, reason = "the figures are this command's output")]
fn print(report: &LoadReport, json: bool) {
    let millis = |span: Duration| span.as_secs_f64() * 1000.0;
    if json {
        let object = serde_json::json!({
            "connections": report.connections,
            "in_flight": report.in_flight,
            "payload_bytes": report.payload_bytes,
            "connecting_secs": report.connecting.as_secs_f64(),
            "measured_secs": report.measured.as_secs_f64(),
            "reports": report.reports,
            "reports_per_sec": report.per_sec,
            "latency_ms_p50": millis(report.latency.p50),
            "latency_ms_p99": millis(report.latency.p99),
            "latency_ms_max": millis(report.latency.max),
            "out_of_order": report.out_of_order,
            "questions": report.questions,
        });
        println!("{object}");
        return;
    }
    println!(
        "{} connections x {} in flight, {} bytes a report, {:.1} s measured",
        report.connections,
        report.in_flight,
        report.payload_bytes,
        report.measured.as_secs_f64()
    );
    println!("acknowledged  {:>12.0} reports/s ({} in all)", report.per_sec, report.reports);
    println!("latency p50   {:>12.3} ms", millis(report.latency.p50));
    println!("latency p99   {:>12.3} ms", millis(report.latency.p99));
    println!("latency max   {:>12.3} ms", millis(report.latency.max));
    println!(
        "connecting    {:>12.0} connects/s",
        report.connections as f64 / report.connecting.as_secs_f64().max(f64::EPSILON)
    );
    if report.questions > 0 {
        println!("answered      {:>12} version questions", report.questions);
    }
    if report.out_of_order > 0 {
        println!("OUT OF ORDER  {:>12} acknowledgements", report.out_of_order);
    }
}
