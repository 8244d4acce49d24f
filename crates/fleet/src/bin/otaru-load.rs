//! `otaru-load`: how many status reports a server acknowledges, and how fast.
//!
//! Not here: the measuring itself (`otaru_fleet::load`).

use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgGroup, Parser};
use otaru_fleet::load::{self, Identity, Length, LoadConfig, LoadReport};

/// Generates a bounded load of upgrade status reports and measures acknowledgements.
#[derive(Debug, Parser)]
#[command(
    name = "otaru-load",
    version,
    group(ArgGroup::new("length").args(["secs", "reports"])),
    group(ArgGroup::new("identity").args(["secret", "anonymous"]).required(true)),
    after_help = "\
Examples:
  1000 registered devices bench_0 … bench_999 with one secret, one report in flight each, 10 s:
    otaru-load --connections 1000 --in-flight 1 --prefix bench_ --secret s3cret12 --secs 10

  The same load on a broker that takes anybody, for comparison:
    otaru-load --target 127.0.0.1:1884 --connections 1000 --in-flight 1 --prefix bench_ --anonymous

Exit codes: 0 measured, 1 failed, 2 wrong usage, 3 measured, but acknowledgements came out of order."
)]
struct Args {
    /// Plain MQTT listener, host:port. Loopback only, unless --allow-remote.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1883")]
    target: String,
    /// Load another machine; make sure that it is yours.
    #[arg(long)]
    allow_remote: bool,
    /// How many connections.
    #[arg(long, value_name = "N", default_value_t = 100)]
    connections: usize,
    /// Reports in flight on each connection.
    #[arg(long, value_name = "K", default_value_t = 16)]
    in_flight: usize,
    /// Device ids (with --anonymous: client ids) are PREFIX0, PREFIX1, and so on.
    #[arg(long, value_name = "PREFIX", default_value = "load_")]
    prefix: String,
    /// The secret of all these devices.
    #[arg(long, value_name = "SECRET", env = "OTARU_LOAD_SECRET", hide_env_values = true)]
    secret: Option<String>,
    /// Connect without user name and password.
    #[arg(long)]
    anonymous: bool,
    /// Measure for so many seconds [default: 10].
    #[arg(long, value_name = "S")]
    secs: Option<f64>,
    /// Measure until so many reports are acknowledged.
    #[arg(long, value_name = "N")]
    reports: Option<u64>,
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

/// Acknowledgements came out of order; MQTT 3.1.1, 4.6 forbids it.
const OUT_OF_ORDER: u8 = 3;

fn main() -> ExitCode {
    let args = Args::parse();
    match measure(&args) {
        Ok(report) => {
            print(&report, args.json);
            if report.out_of_order > 0 { ExitCode::from(OUT_OF_ORDER) } else { ExitCode::SUCCESS }
        }
        Err(error) => {
            eprintln!("otaru-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &Args) -> anyhow::Result<LoadReport> {
    let config = LoadConfig {
        target: args.target.clone(),
        allow_remote: args.allow_remote,
        connections: args.connections,
        in_flight: args.in_flight,
        identity: match &args.secret {
            Some(secret) if !args.anonymous => {
                Identity::Devices { prefix: args.prefix.clone(), secret: secret.clone() }
            }
            Some(_) | None => Identity::Anonymous { prefix: args.prefix.clone() },
        },
        warm_up: Duration::try_from_secs_f64(args.warm_up)?,
        length: match args.reports {
            Some(reports) => Length::Reports(reports),
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
    Ok(runtime.block_on(load::run(&config))?)
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
