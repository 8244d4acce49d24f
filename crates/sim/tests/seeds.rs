//! Thousands of histories, each from its seed. `sim replay SEED` tells what happened in one.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use otaru_sim::{Scenario, play};

/// How many seeds are played: `./test` asks for 2 000, an optimised build does them in less than two minutes.
fn seeds() -> u64 {
    std::env::var("OTARU_SIM_SEEDS").map_or(100, |count| count.parse().unwrap())
}

#[test]
fn no_history_breaks_a_promise() {
    let (next, crashes) = (AtomicU64::new(1), AtomicU64::new(0));
    let (failed, endings) = (Mutex::new(Vec::new()), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > seeds() {
                        return;
                    }
                    let played = play(&Scenario::of(seed), false);
                    crashes.fetch_add(u64::from(played.crashes), Ordering::Relaxed);
                    let mut endings = endings.lock().unwrap();
                    for (kind, count) in played.endings {
                        *endings.entry(kind.name()).or_insert(0) += count;
                    }
                    if let Some(broken) = played.broken {
                        failed.lock().unwrap().push(format!("seed {seed}: {broken}"));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), seeds(), failed.join("\n"));
    // The histories get everywhere.
    let endings = endings.into_inner().unwrap();
    for ending in ["installed", "already_installed", "failed", "timed_out", "version_mismatch", "cancelled"] {
        assert!(endings.contains_key(ending), "no {ending} among {endings:?}");
    }
    assert!(crashes.into_inner() > seeds() / 2);
}

/// Seeds that once broke a promise, each with what was wrong.
#[test]
fn what_was_broken_once_stays_whole() {
    // A store that stood still without an error: the time for an answer went on, and was over before the question was said.
    let seed = 20_881;
    assert_eq!(play(&Scenario::of(seed), false).broken, None, "seed {seed}");
}

#[test]
fn a_seed_replays() {
    for seed in 1..=60 {
        let [once, again] = [(); 2].map(|()| play(&Scenario::of(seed), false));
        assert_eq!((once.fingerprint, once.events), (again.fingerprint, again.events), "seed {seed}");
    }
}
