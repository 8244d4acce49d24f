//! Which bytes of a file were served, whatever pieces they were asked for in.
//!
//! Always true:
//! - The parts are in order, and between two of them at least one byte is missing.
//! - A byte that was served twice counts once.
//! - Nothing is counted that was not served. Past the limit of parts the smallest one is forgotten, and that this
//!   happened is remembered: then what is missing may have been served after all.

use std::ops::Range;

use crate::limits::COVERAGE_PARTS_MAX;

/// The bytes of one file that were served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Coverage {
    parts: Vec<Range<u64>>,
    is_patchy: bool,
}

impl Coverage {
    pub(crate) fn add(&mut self, served: Range<u64>) {
        if served.is_empty() {
            return;
        }
        // Everything that overlaps or touches becomes one part.
        let first = self.parts.partition_point(|part| part.end < served.start);
        let after = self.parts.partition_point(|part| part.start <= served.end);
        let joined = self.parts[first..after]
            .iter()
            .fold(served, |all, part| all.start.min(part.start)..all.end.max(part.end));
        self.parts.splice(first..after, [joined]);
        if self.parts.len() > COVERAGE_PARTS_MAX {
            self.forget_smallest();
        }
    }

    /// How many different bytes were served, at least.
    pub(crate) fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.end - part.start).sum()
    }

    /// Every byte of a file of this size was served.
    pub(crate) fn is_whole(&self, size_bytes: u64) -> bool {
        self.parts.first().is_some_and(|part| part.start == 0 && part.end >= size_bytes)
    }

    /// Something that was served has been forgotten.
    pub(crate) fn is_patchy(&self) -> bool {
        self.is_patchy
    }

    fn forget_smallest(&mut self) {
        let smallest = (0..self.parts.len()).min_by_key(|at| self.parts[*at].end - self.parts[*at].start);
        if let Some(at) = smallest {
            self.parts.remove(at);
            self.is_patchy = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn of(served: &[(u64, u64)]) -> Coverage {
        let mut coverage = Coverage::default();
        served.iter().for_each(|(start, end)| coverage.add(*start..*end));
        coverage
    }

    fn parts(served: &[(u64, u64)]) -> Vec<(u64, u64)> {
        of(served).parts.iter().map(|part| (part.start, part.end)).collect()
    }

    #[test]
    fn pieces_that_meet_become_one() {
        assert_eq!(parts(&[(0, 10), (20, 30), (10, 20)]), [(0, 30)]);
        assert_eq!(parts(&[(20, 30), (0, 10)]), [(0, 10), (20, 30)]);
        assert_eq!(parts(&[(0, 10), (20, 30), (40, 50), (5, 45)]), [(0, 50)]);
        assert_eq!(parts(&[(5, 5)]), []);
    }

    #[test]
    fn what_a_retry_repeats_counts_once() {
        assert_eq!(of(&[(0, 600), (0, 600), (300, 700)]).bytes(), 700);
        assert!(!of(&[(0, 600), (0, 600)]).is_whole(1_000));
        assert!(of(&[(0, 600), (0, 1_000)]).is_whole(1_000));
        assert!(of(&[(500, 1_000), (0, 500)]).is_whole(1_000));
    }

    #[test]
    fn scattered_pieces_are_bounded_and_never_said_to_be_more_than_they_are() {
        let mut coverage = Coverage::default();
        for at in 0..10_000 {
            coverage.add(at * 10..at * 10 + 5);
        }
        assert_eq!(coverage.parts.len(), COVERAGE_PARTS_MAX);
        assert!(coverage.is_patchy() && coverage.bytes() <= 50_000);
        coverage.add(0..100_000);
        assert!(coverage.is_whole(100_000), "one whole download makes up for what was forgotten");
    }

    /// Compared with the set of the bytes themselves, over many made-up ways of asking.
    #[test]
    fn it_is_the_set_of_the_bytes_served() {
        let mut seed: u64 = 1;
        let mut below = |sides: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % sides
        };
        for _ in 0..2_000 {
            let mut coverage = Coverage::default();
            let mut bytes = BTreeSet::new();
            for _ in 0..below(30) {
                let start = below(100);
                let served = start..start + below(30);
                coverage.add(served.clone());
                bytes.extend(served);
                assert_eq!(coverage.bytes(), bytes.len() as u64);
                assert_eq!(coverage.is_whole(90), (0..90).all(|byte| bytes.contains(&byte)));
                assert!(coverage.parts.windows(2).all(|pair| pair[0].end < pair[1].start));
            }
            assert!(!coverage.is_patchy());
        }
    }
}
