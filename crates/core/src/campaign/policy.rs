//! Under which rules a campaign's devices go: waves, slots, retries, timers.

use alloc::{string::String, vec, vec::Vec};
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limits::{
    DOWNLOAD_QUIET_MS, NOTICES_PER_ATTEMPT_MAX, RETRIES_MAX, RETRY_INTERVAL_SECS_MAX, SETTLE_UNDERWAY_MS,
};

/// The rules of one campaign, stored with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Version of this stored form. 1 is the first.
    pub version: u16,
    /// The stages. One is the default; there is always one.
    pub waves: Vec<Wave>,
    /// How many devices may be at work at once.
    #[serde(default)]
    pub slots: Slots,
    /// What happens after a failure.
    #[serde(default)]
    pub retry: Retry,
    /// What happens to a device that is busy in another campaign.
    #[serde(default)]
    pub on_conflict: OnConflict,
    /// How long is waited.
    #[serde(default)]
    pub timers: Timers,
    /// Notices within one attempt.
    #[serde(default = "notices_default")]
    pub notices_max: u32,
    /// Gateways are told which campaign a child's word belongs to, and how many of their children it has, so that they
    /// may fetch the package once for all.
    #[serde(default, skip_serializing_if = "is_false")]
    pub gateway_mode: bool,
    /// Each deployment waits until a person confirms it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub need_confirm: bool,
}

/// One stage of a campaign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wave {
    /// The share of the devices that have started once this wave is open, in percent. The last wave has 100.
    pub up_to_percent: u8,
    /// What an operator calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// How many devices may be at work at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slots {
    /// At most this many devices between `asked` and `confirming`; `None` is no limit.
    #[serde(default)]
    pub concurrency: Option<u32>,
}

/// Automatic retries inside one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// How many further attempts follow a failed one; 0 to 5.
    #[serde(default)]
    pub count: u32,
    /// Seconds between a failure and the next attempt; up to 86 400.
    #[serde(default)]
    pub interval_secs: u64,
}

/// What happens to a device that another campaign is working on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnConflict {
    /// It waits until the other one is done.
    #[default]
    Hold,
    /// Its deployment ends as `conflict`.
    Fail,
    /// The other campaign's deployment ends as `superseded`.
    Supersede,
}

/// How long is waited, in milliseconds. The defaults are those of the published platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Timers {
    /// For a device to come online: 25 h.
    pub online_ms: u64,
    /// For the answer to a version question: 3 min.
    pub answer_ms: u64,
    /// From the notice to the final report: 24 h.
    pub result_ms: u64,
    /// From "done" with another version to the question: 10 min, the time of a slow installation and reboot.
    pub confirm_ms: u64,
    /// From a reconnect in the middle of an upgrade to the question, so that the device may speak first: 5 s.
    pub settle_underway_ms: u64,
    /// After the last download request until a notice may be repeated: 1 min.
    pub download_quiet_ms: u64,
}

const HOUR_MS: u64 = 3_600_000;

impl Default for Timers {
    fn default() -> Timers {
        Timers {
            online_ms: 25 * HOUR_MS,
            answer_ms: 180_000,
            result_ms: 24 * HOUR_MS,
            confirm_ms: 600_000,
            settle_underway_ms: SETTLE_UNDERWAY_MS,
            download_quiet_ms: DOWNLOAD_QUIET_MS,
        }
    }
}

impl Timers {
    pub(crate) fn online(&self) -> Duration {
        Duration::from_millis(self.online_ms)
    }
    pub(crate) fn answer(&self) -> Duration {
        Duration::from_millis(self.answer_ms)
    }
    pub(crate) fn result(&self) -> Duration {
        Duration::from_millis(self.result_ms)
    }
    pub(crate) fn confirm(&self) -> Duration {
        Duration::from_millis(self.confirm_ms)
    }
    pub(crate) fn settle_underway(&self) -> Duration {
        Duration::from_millis(self.settle_underway_ms)
    }
    pub(crate) fn download_quiet(&self) -> Duration {
        Duration::from_millis(self.download_quiet_ms)
    }
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            version: 1,
            waves: vec![Wave { up_to_percent: 100, name: None }],
            slots: Slots::default(),
            retry: Retry::default(),
            on_conflict: OnConflict::default(),
            timers: Timers::default(),
            notices_max: NOTICES_PER_ATTEMPT_MAX,
            gateway_mode: false,
            need_confirm: false,
        }
    }
}

/// What is wrong with a policy that an operator asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Too many retries.
    #[error("`retry.count` is {0}; 0 to 5 is accepted")]
    RetryCount(u32),
    /// Too long a pause.
    #[error("`retry.interval_secs` is {0}; 0 to 86400 is accepted")]
    RetryInterval(u64),
    /// A limit that lets nobody go.
    #[error(
        "`limits.concurrency` is 0, so that no device could ever start; 1 or more is accepted, or leave it out"
    )]
    NoSlots,
    /// A timer that ends before it begins.
    #[error("`timers.{0}` is 0; 1 or more milliseconds are accepted")]
    ZeroTimer(&'static str),
}

impl Policy {
    /// Checks what an operator asked for.
    ///
    /// # Errors
    ///
    /// The first member outside its range, with its value and what is accepted.
    pub fn check(self) -> Result<Policy, PolicyError> {
        if self.retry.count > RETRIES_MAX {
            return Err(PolicyError::RetryCount(self.retry.count));
        }
        if self.retry.interval_secs > RETRY_INTERVAL_SECS_MAX {
            return Err(PolicyError::RetryInterval(self.retry.interval_secs));
        }
        if self.slots.concurrency == Some(0) {
            return Err(PolicyError::NoSlots);
        }
        let timers = [
            ("online_ms", self.timers.online_ms),
            ("answer_ms", self.timers.answer_ms),
            ("result_ms", self.timers.result_ms),
            ("confirm_ms", self.timers.confirm_ms),
        ];
        match timers.into_iter().find(|(_, secs)| *secs == 0) {
            Some((name, _)) => Err(PolicyError::ZeroTimer(name)),
            None => Ok(self),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_false(b: &bool) -> bool {
    !*b
}

fn notices_default() -> u32 {
    NOTICES_PER_ATTEMPT_MAX
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_published_platform() {
        let policy = Policy::default().check().unwrap();
        let hour = Duration::from_secs(3_600);
        assert_eq!(policy.timers.online(), 25 * hour);
        assert_eq!(policy.timers.answer(), Duration::from_secs(180));
        assert_eq!(policy.timers.result(), 24 * hour);
        assert_eq!(policy.timers.confirm(), Duration::from_secs(600));
        assert_eq!(policy.notices_max, 3);
        assert_eq!(policy.retry, Retry { count: 0, interval_secs: 0 });
        assert_eq!(policy.on_conflict, OnConflict::Hold);
        assert_eq!(policy.slots.concurrency, None);
    }

    #[test]
    fn what_is_outside_its_range_is_named_with_what_is_accepted() {
        let retry =
            |count, interval_secs| Policy { retry: Retry { count, interval_secs }, ..Policy::default() };
        let at_once = |limit| Policy { slots: Slots { concurrency: Some(limit) }, ..Policy::default() };
        let timers = |timers| Policy { timers, ..Policy::default() };
        for accepted in [retry(0, 0), retry(5, 86_400), at_once(1)] {
            assert_eq!(accepted.clone().check(), Ok(accepted));
        }
        let usual = Timers::default();
        for (refused, words) in [
            (retry(6, 0), "`retry.count` is 6; 0 to 5 is accepted"),
            (retry(1, 86_401), "`retry.interval_secs` is 86401; 0 to 86400 is accepted"),
            (
                at_once(0),
                "`limits.concurrency` is 0, so that no device could ever start; 1 or more is accepted, or leave it out",
            ),
            (
                timers(Timers { online_ms: 0, ..usual }),
                "`timers.online_ms` is 0; 1 or more milliseconds are accepted",
            ),
            (
                timers(Timers { answer_ms: 0, ..usual }),
                "`timers.answer_ms` is 0; 1 or more milliseconds are accepted",
            ),
            (
                timers(Timers { result_ms: 0, ..usual }),
                "`timers.result_ms` is 0; 1 or more milliseconds are accepted",
            ),
            (
                timers(Timers { confirm_ms: 0, ..usual }),
                "`timers.confirm_ms` is 0; 1 or more milliseconds are accepted",
            ),
        ] {
            assert_eq!(refused.check().unwrap_err().to_string(), words);
        }
    }

    #[test]
    fn the_stored_form_of_the_first_version_is_pinned() {
        let stored = r#"{"version":1,"waves":[{"up_to_percent":100}],"slots":{"concurrency":null},"retry":{"count":0,"interval_secs":0},"on_conflict":"hold","timers":{"online_ms":90000000,"answer_ms":180000,"result_ms":86400000,"confirm_ms":600000,"settle_underway_ms":5000,"download_quiet_ms":60000},"notices_max":3}"#;
        assert_eq!(serde_json::to_string(&Policy::default()).unwrap(), stored);
        let older = stored.replace(r#","settle_underway_ms":5000,"download_quiet_ms":60000"#, "");
        assert_eq!(serde_json::from_str::<Policy>(&older).unwrap(), Policy::default());
        let shortest = r#"{"version":1,"waves":[{"up_to_percent":100}]}"#;
        assert_eq!(serde_json::from_str::<Policy>(shortest).unwrap(), Policy::default());
    }
}
