//! How far a device says it has come.

use core::fmt;

use serde::{Deserialize, Serialize};

/// Progress in whole percent.
///
/// Invariant: `0..=100`, established here; nobody checks again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "u8")]
pub struct Percent(u8);

/// A number that is no percentage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("progress is {0}; an integer from 0 to 100 is accepted")]
pub struct PercentOutOfRange(pub i64);

impl Percent {
    /// Nothing done yet.
    pub const ZERO: Percent = Percent(0);

    /// All done, as far as the device is concerned. No proof of a new version.
    pub const FULL: Percent = Percent(100);

    /// Takes whatever integer the wire carried and keeps it only if it means something.
    ///
    /// # Errors
    ///
    /// Outside `0..=100`.
    pub fn new(percent: i64) -> Result<Percent, PercentOutOfRange> {
        match u8::try_from(percent) {
            Ok(p @ 0..=100) => Ok(Percent(p)),
            Ok(_) | Err(_) => Err(PercentOutOfRange(percent)),
        }
    }

    /// The number, `0..=100`.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<i64> for Percent {
    type Error = PercentOutOfRange;

    fn try_from(percent: i64) -> Result<Percent, PercentOutOfRange> {
        Percent::new(percent)
    }
}

impl From<Percent> for u8 {
    fn from(percent: Percent) -> u8 {
        percent.0
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_zero_to_one_hundred_is_a_percentage() {
        assert_eq!(Percent::new(0), Ok(Percent::ZERO));
        assert_eq!(Percent::new(100), Ok(Percent::FULL));
        for wrong in [-1, 101, 256, i64::MIN, i64::MAX] {
            assert_eq!(Percent::new(wrong), Err(PercentOutOfRange(wrong)));
        }
    }

    #[test]
    fn stored_as_an_integer_and_checked_when_it_comes_back() {
        assert_eq!(serde_json::to_string(&Percent::FULL).unwrap(), "100");
        assert_eq!(serde_json::from_str::<Percent>("40").unwrap().get(), 40);
        assert!(serde_json::from_str::<Percent>("101").is_err());
    }
}
