//! How long a device may be silent.
//!
//! Always true:
//! - Every packet counts as a sign of life.
//! - A device that is at work is not judged by its keep alive, for some SDKs send nothing while they download.
//!   What finds a dead path meanwhile is TCP's own probe.
//!
//! Not here: whether a device is at work (the engine knows), and timers (the session has them).

use std::ops::RangeInclusive;
use std::time::Duration;

/// Which keep alive intervals are accepted in a CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeepAliveRule {
    /// In seconds.
    pub accepted_secs: RangeInclusive<u16>,
    /// What 0 ("no keep alive") is taken for; `None`: it is refused like any other value out of range.
    pub zero_as_secs: Option<u16>,
}

impl KeepAliveRule {
    /// Accepts 5 s and more, and takes 0 for 1200 s.
    ///
    /// Devices that ask for less than 30 or more than 1200 seconds have been seen to work elsewhere. Below five,
    /// one lost segment cuts the link.
    pub fn lenient() -> KeepAliveRule {
        KeepAliveRule { accepted_secs: 5..=u16::MAX, zero_as_secs: Some(1200) }
    }

    /// The published range and nothing else: 30 to 1200 s.
    pub fn strict() -> KeepAliveRule {
        KeepAliveRule { accepted_secs: 30..=1200, zero_as_secs: None }
    }

    /// What a device that asks for `asked_secs` gets; `None` if it is refused.
    pub(crate) fn settle(&self, asked_secs: u16) -> Option<KeepAlive> {
        match (asked_secs, self.zero_as_secs) {
            (0, Some(secs)) => Some(KeepAlive { secs, altered: true }),
            _ if self.accepted_secs.contains(&asked_secs) => {
                Some(KeepAlive { secs: asked_secs, altered: false })
            }
            _ => None,
        }
    }
}

/// The interval that holds for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeepAlive {
    pub(crate) secs: u16,
    /// It is not what the device asked for; MQTT 5 can tell it so.
    pub(crate) altered: bool,
}

impl KeepAlive {
    /// One and a half times the interval (MQTT 3.1.1, 3.1.2.10). Never zero: the limits refuse a rule that permits
    /// an interval of zero.
    pub(crate) fn patience(self) -> Duration {
        Duration::from_millis(u64::from(self.secs) * 1500)
    }
}

/// What a silence means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Look again after this much longer.
    Wait(Duration),
    Gone,
}

/// Judges a device that has said nothing for `silence`, with `patience` from its keep alive.
///
/// To be asked when the patience is over, and again when the answer says; asking more often is harmless.
/// `is_at_work` is asked only if it matters.
pub(crate) fn judge(
    silence: Duration,
    patience: Duration,
    silence_at_work_max: Duration,
    is_at_work: impl FnOnce() -> bool,
) -> Verdict {
    if silence < patience {
        return Verdict::Wait(patience - silence);
    }
    if silence < silence_at_work_max && is_at_work() {
        // Work may end at any time; half the patience keeps the judgement as prompt as the keep alive itself.
        return Verdict::Wait((patience / 2).max(RECHECK_MIN).min(silence_at_work_max - silence));
    }
    Verdict::Gone
}

/// No keep alive is so short that looking more often would tell more.
const RECHECK_MIN: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn the_lenient_rule_refuses_only_what_cannot_work() {
        let rule = KeepAliveRule::lenient();
        assert_eq!(rule.settle(0), Some(KeepAlive { secs: 1200, altered: true }));
        assert_eq!(rule.settle(4), None);
        assert_eq!(rule.settle(5), Some(KeepAlive { secs: 5, altered: false }));
        assert_eq!(rule.settle(65_535), Some(KeepAlive { secs: 65_535, altered: false }));
    }

    #[test]
    fn the_strict_rule_is_the_published_one() {
        let rule = KeepAliveRule::strict();
        let accepted = |secs| rule.settle(secs).is_some();
        assert_eq!([0, 29, 30, 1200, 1201].map(accepted), [false, false, true, true, false]);
    }

    #[test]
    fn an_idle_device_has_one_and_a_half_intervals() {
        let patience = KeepAlive { secs: 120, altered: false }.patience();
        let idle = |silence| judge(silence, patience, secs(7200), || false);
        assert_eq!(idle(secs(0)), Verdict::Wait(secs(180)));
        assert_eq!(idle(secs(179)), Verdict::Wait(secs(1)));
        assert_eq!(idle(secs(180)), Verdict::Gone);
    }

    #[test]
    fn a_device_at_work_has_two_hours() {
        let at_work = |silence| judge(silence, secs(180), secs(7200), || true);
        assert_eq!(at_work(secs(180)), Verdict::Wait(secs(90)));
        assert_eq!(at_work(secs(7190)), Verdict::Wait(secs(10)));
        assert_eq!(at_work(secs(7200)), Verdict::Gone);
    }

    #[test]
    fn the_longest_interval_is_not_shortened_by_the_two_hours() {
        let patience = KeepAlive { secs: 65_535, altered: false }.patience();
        assert_eq!(judge(secs(7200), patience, secs(7200), || true), Verdict::Wait(patience - secs(7200)));
    }
}
