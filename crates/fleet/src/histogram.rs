//! Latencies in a fixed number of buckets, counted by many tasks at once.
//!
//! Always true:
//! - A histogram has one size, whatever it counts: 16 buckets per doubling from 1 µs to about 70 min.
//! - A quantile is at most 6.25 % above the true one, and never below it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets per doubling.
const SUB_BITS: u32 = 4;
const SUBS: u64 = 1 << SUB_BITS;

/// Doublings above the first 16 µs; the last bucket holds everything from 2³² µs on.
const DOUBLINGS: u32 = 32 - SUB_BITS;

const BUCKETS: usize = ((DOUBLINGS + 1) << SUB_BITS) as usize;

/// How often which span of time was seen.
#[derive(Debug)]
pub struct Histogram {
    buckets: Box<[AtomicU64; BUCKETS]>,
}

/// What is commonly asked of a histogram. Zero if nothing was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantiles {
    /// How many were counted.
    pub count: u64,
    /// Half were not slower.
    pub p50: Duration,
    /// Nine of ten were not slower.
    pub p90: Duration,
    /// 99 of 100 were not slower.
    pub p99: Duration,
    /// None was slower, within the width of a bucket.
    pub max: Duration,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { buckets: Box::new([const { AtomicU64::new(0) }; BUCKETS]) }
    }
}

impl Histogram {
    /// Counts one.
    pub fn count(&self, span: Duration) {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket_of(micros)].fetch_add(1, Ordering::Relaxed);
    }

    /// The quantiles of what was counted so far.
    #[must_use]
    pub fn quantiles(&self) -> Quantiles {
        let counts: Vec<u64> = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        let count = counts.iter().sum();
        let at = |rank: u64| {
            let mut below = 0;
            let found = counts.iter().position(|n| {
                below += n;
                below >= rank
            });
            found.map_or(Duration::ZERO, |bucket| Duration::from_micros(upper_bound(bucket)))
        };
        if count == 0 {
            return Quantiles::default();
        }
        Quantiles {
            count,
            p50: at(count.div_ceil(2)),
            p90: at((count * 9).div_ceil(10)),
            p99: at((count * 99).div_ceil(100)),
            max: at(count),
        }
    }
}

fn bucket_of(micros: u64) -> usize {
    if micros < SUBS {
        return usize::try_from(micros).unwrap_or(0);
    }
    let doubling = micros.ilog2() - SUB_BITS;
    if doubling >= DOUBLINGS {
        return BUCKETS - 1;
    }
    let sub = (micros >> doubling) & (SUBS - 1);
    ((doubling as usize + 1) << SUB_BITS) + usize::try_from(sub).unwrap_or(0)
}

/// The largest number of microseconds that falls into a bucket.
fn upper_bound(bucket: usize) -> u64 {
    let (row, sub) = (bucket >> SUB_BITS, bucket as u64 & (SUBS - 1));
    match row.checked_sub(1) {
        None => sub,
        Some(doubling) => ((SUBS + sub + 1) << doubling) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_span_falls_into_the_bucket_whose_bound_is_next_above_it() {
        for micros in (0..5_000).chain([65_535, 65_536, 1_000_000, 60_000_000, u64::from(u32::MAX)]) {
            let bucket = bucket_of(micros);
            let bound = upper_bound(bucket);
            assert!(bound >= micros, "{micros} is above {bound}");
            assert!(bound as f64 <= micros as f64 * 1.0625 + 1.0, "{micros} is far below {bound}");
            assert!(bucket == 0 || upper_bound(bucket - 1) < micros, "{micros} belongs further down");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_where_the_ranks_are() {
        let histogram = Histogram::default();
        assert_eq!(histogram.quantiles(), Quantiles::default());
        for millis in 1..=100 {
            histogram.count(Duration::from_millis(millis));
        }
        let seen = histogram.quantiles();
        assert_eq!(seen.count, 100);
        let near = |found: Duration, millis: f64| {
            let ratio = found.as_secs_f64() * 1000.0 / millis;
            assert!((1.0..=1.0626).contains(&ratio), "{found:?} for {millis} ms");
        };
        near(seen.p50, 50.0);
        near(seen.p90, 90.0);
        near(seen.p99, 99.0);
        near(seen.max, 100.0);
    }
}
