//! Numbers that look random and repeat with their seed.
//!
//! SplitMix64 (Steele, Lea, Flood, 2014): eight bytes of state, good enough for jitter and for casting.
//!
//! Not here: anything secret.

use std::time::Duration;

/// A sequence of numbers that its seed decides.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of this seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Random {
        Random(seed)
    }

    /// A sequence of its own for each `index`, so that members of a crowd do not depend on one another's pace.
    #[must_use]
    pub fn fork(seed: u64, index: u64) -> Random {
        let mut parent = Random(seed ^ index.wrapping_mul(0xD605_BBB5_8C8A_BC2D));
        Random(parent.next_u64())
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 for a bound of 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The high half of the product: no division, and no bias that a simulation could notice.
        u64::try_from((u128::from(self.next_u64()) * u128::from(bound)) >> 64)
            .expect("the high half of a product of two 64-bit numbers has 64 bits")
    }

    /// `span`, lengthened or shortened by up to a half: what keeps a crowd from marching in step.
    pub fn about(&mut self, span: Duration) -> Duration {
        let half = u64::try_from(span.as_micros() / 2).unwrap_or(u64::MAX / 4);
        Duration::from_micros(half + self.below(2 * half + 1))
    }

    /// Brings `items` into an order that the seed decides.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = usize::try_from(self.below(last as u64 + 1)).unwrap_or(last);
            items.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_decides_everything() {
        let draw = |seed| {
            let mut random = Random::seeded(seed);
            [random.next_u64(), random.below(10), random.next_u64()]
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert_ne!(Random::fork(7, 0).next_u64(), Random::fork(7, 1).next_u64());
    }

    #[test]
    fn the_first_numbers_are_those_of_the_published_algorithm() {
        // Vigna's splitmix64.c with state 1234567.
        let mut random = Random::seeded(1_234_567);
        assert_eq!(random.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(random.next_u64(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn about_a_span_is_between_half_and_one_and_a_half_of_it() {
        let mut random = Random::seeded(1);
        for _ in 0..1_000 {
            let span = random.about(Duration::from_millis(100));
            assert!((50..=150).contains(&span.as_millis()), "{span:?}");
        }
        assert_eq!(random.about(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn shuffling_loses_nothing() {
        let mut items: Vec<u32> = (0..100).collect();
        Random::seeded(3).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
