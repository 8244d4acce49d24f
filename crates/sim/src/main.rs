//! `sim`: looks for histories in which a promise is broken, and replays them.
#![allow(clippy::print_stdout, reason = "it is a tool for a terminal")]

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clap::{Parser, Subcommand};
use otaru_sim::{Scenario, play};

/// The proving ground: devices and platform on a virtual clock, over a bad network.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Plays new seeds for a while; prints those that break a promise
    Explore {
        /// For so long
        #[arg(long, default_value_t = 5.0)]
        minutes: f64,
        /// The first seed; one after the other from there
        #[arg(long, default_value_t = 1_000_000)]
        from: u64,
        /// How many are played at once
        #[arg(long, default_value_t = 2)]
        threads: u64,
    },
    /// Plays one seed and tells what happens
    Replay {
        /// Which
        seed: u64,
    },
    /// Plays a day of a large campaign
    Day {
        /// How many devices
        #[arg(long, default_value_t = 10_000)]
        devices: usize,
        /// Which day
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Explore { minutes, from, threads } => explore(minutes, from, threads),
        Command::Replay { seed } => replay(&Scenario::of(seed), true),
        Command::Day { devices, seed } => replay(&Scenario::day(seed, devices), false),
    }
}

#[expect(clippy::disallowed_methods, reason = "how long a person wants to wait is real time")]
fn explore(minutes: f64, from: u64, threads: u64) -> ExitCode {
    let ends = std::time::Instant::now() + Duration::from_secs_f64(minutes * 60.0);
    let (next, events, has_failed) = (AtomicU64::new(from), AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while std::time::Instant::now() < ends {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let played = play(&Scenario::of(seed), false);
                    events.fetch_add(played.events, Ordering::Relaxed);
                    if let Some(broken) = played.broken {
                        has_failed.store(true, Ordering::Relaxed);
                        println!("seed {seed}: {broken}");
                    }
                }
            });
        }
    });
    let seeds = next.load(Ordering::Relaxed) - from;
    println!("{seeds} seeds from {from} on, {} events", events.load(Ordering::Relaxed));
    if has_failed.load(Ordering::Relaxed) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn replay(scenario: &Scenario, tell: bool) -> ExitCode {
    if tell {
        println!("{scenario:#?}");
    }
    let played = play(scenario, tell);
    for line in &played.story {
        println!("{line}");
    }
    println!(
        "{} events in {} virtual seconds, {} crashes, fingerprint {:016x}; ended: {:?}",
        played.events,
        played.lasted / 1_000,
        played.crashes,
        played.fingerprint,
        played.endings
    );
    match played.broken {
        Some(broken) => {
            println!("BROKEN {broken}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}
