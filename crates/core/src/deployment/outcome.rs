//! How a deployment ends, why, and the one word under which it is counted.

use alloc::string::String;

use otaru_proto::FailureCode;
use serde::{Deserialize, Serialize};

/// How a deployment ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The word under which it is counted.
    pub kind: OutcomeKind,
    /// What led to it; the explanation is made from this.
    pub because: Because,
}

/// The word of an outcome. The names are part of the API and of what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// The device announced the wanted version after it was told.
    Installed,
    /// The device ran the wanted version before it was told.
    AlreadyInstalled,
    /// The device reported a failure.
    Failed,
    /// Nothing decisive was heard in time.
    TimedOut,
    /// The device claims to be done and runs something else.
    VersionMismatch,
    /// No package of the campaign fits the version the device runs.
    NotEligible,
    /// The device was busy in another campaign, and this one does not wait.
    Conflict,
    /// An operator stopped it.
    Cancelled,
    /// Another campaign took the device over.
    Superseded,
    /// The device was deleted.
    Removed,
}

/// What led to an outcome, or to the retry that is being waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    /// It announced the wanted version.
    WantedVersionSeen,
    /// It did not come online while it was waited for.
    NeverOnline,
    /// It was asked for its version and did not answer.
    NoVersionAnswer,
    /// It was told and did not finish in time.
    NoResult,
    /// It reported this failure code.
    Code(FailureCode),
    /// It said it was done, and then that it runs this version.
    RunsOther(Option<String>),
    /// It runs this version, which no package of the campaign starts from.
    SourceNotCovered(Option<String>),
    /// The device was busy in another campaign.
    Busy,
    /// An operator stopped it.
    Stopped,
    /// Another campaign took over.
    TakenOver,
    /// The device was deleted.
    DeviceDeleted,
}

/// The one word under which a deployment is counted and listed: its state, or its outcome once finished.
///
/// A campaign's `counts` has one key for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Label {
    /// Its wave is closed, or the campaign has not started.
    Queued,
    /// It may go; the device is waited for.
    Released,
    /// The device was asked which version it runs.
    Asked,
    /// The device was told.
    Offered,
    /// The device reported that it is at work.
    Running,
    /// The device's last word leaves a doubt that is being cleared.
    Confirming,
    /// It failed and will be tried again.
    Waiting,
    /// It ended.
    Finished(OutcomeKind),
}

impl Label {
    /// Every label, states first, in the order in which a campaign shows them.
    pub const ALL: [Label; 17] = [
        Label::Queued,
        Label::Released,
        Label::Asked,
        Label::Offered,
        Label::Running,
        Label::Confirming,
        Label::Waiting,
        Label::Finished(OutcomeKind::Installed),
        Label::Finished(OutcomeKind::AlreadyInstalled),
        Label::Finished(OutcomeKind::Failed),
        Label::Finished(OutcomeKind::TimedOut),
        Label::Finished(OutcomeKind::VersionMismatch),
        Label::Finished(OutcomeKind::NotEligible),
        Label::Finished(OutcomeKind::Conflict),
        Label::Finished(OutcomeKind::Cancelled),
        Label::Finished(OutcomeKind::Superseded),
        Label::Finished(OutcomeKind::Removed),
    ];

    /// The stable name, in the API, in `counts` and in what is stored.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Label::Queued => "queued",
            Label::Released => "released",
            Label::Asked => "asked",
            Label::Offered => "offered",
            Label::Running => "running",
            Label::Confirming => "confirming",
            Label::Waiting => "waiting",
            Label::Finished(kind) => kind.name(),
        }
    }

    /// The label of a stable name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Label> {
        Label::ALL.into_iter().find(|label| label.name() == name)
    }

    /// Whether the deployment has ended.
    #[must_use]
    pub const fn is_finished(self) -> bool {
        matches!(self, Label::Finished(_))
    }

    /// Whether it ended without success, and not because an operator stopped it.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        match self {
            Label::Finished(kind) => kind.is_failure(),
            Label::Queued
            | Label::Released
            | Label::Asked
            | Label::Offered
            | Label::Running
            | Label::Confirming
            | Label::Waiting => false,
        }
    }

    /// Whether the device is at work on it: `asked` to `confirming`.
    ///
    /// A device has at most one such deployment, and only these count against concurrency limits.
    #[must_use]
    pub const fn holds_slot(self) -> bool {
        matches!(self, Label::Asked | Label::Offered | Label::Running | Label::Confirming)
    }

    /// The `state` word of the API: the outcomes share `finished`.
    #[must_use]
    pub const fn state_name(self) -> &'static str {
        match self {
            Label::Finished(_) => "finished",
            Label::Queued
            | Label::Released
            | Label::Asked
            | Label::Offered
            | Label::Running
            | Label::Confirming
            | Label::Waiting => self.name(),
        }
    }
}

impl OutcomeKind {
    /// Whether it is neither a success nor an operator's stop: what the published platform calls `Fail`.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        match self {
            OutcomeKind::Installed | OutcomeKind::AlreadyInstalled | OutcomeKind::Cancelled => false,
            OutcomeKind::Failed
            | OutcomeKind::TimedOut
            | OutcomeKind::VersionMismatch
            | OutcomeKind::NotEligible
            | OutcomeKind::Conflict
            | OutcomeKind::Superseded
            | OutcomeKind::Removed => true,
        }
    }

    /// The stable name, in the API, in `counts` and in what is stored.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            OutcomeKind::Installed => "installed",
            OutcomeKind::AlreadyInstalled => "already_installed",
            OutcomeKind::Failed => "failed",
            OutcomeKind::TimedOut => "timed_out",
            OutcomeKind::VersionMismatch => "version_mismatch",
            OutcomeKind::NotEligible => "not_eligible",
            OutcomeKind::Conflict => "conflict",
            OutcomeKind::Cancelled => "cancelled",
            OutcomeKind::Superseded => "superseded",
            OutcomeKind::Removed => "removed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_whatever_is_neither_a_success_nor_stopped() {
        let failures: alloc::vec::Vec<_> =
            Label::ALL.iter().filter(|label| label.is_failure()).map(|label| label.name()).collect();
        assert_eq!(
            failures,
            ["failed", "timed_out", "version_mismatch", "not_eligible", "conflict", "superseded", "removed"]
        );
    }

    #[test]
    fn names_are_stored_and_therefore_pinned() {
        let names: alloc::vec::Vec<_> = Label::ALL.iter().map(|l| l.name()).collect();
        assert_eq!(
            names,
            [
                "queued",
                "released",
                "asked",
                "offered",
                "running",
                "confirming",
                "waiting",
                "installed",
                "already_installed",
                "failed",
                "timed_out",
                "version_mismatch",
                "not_eligible",
                "conflict",
                "cancelled",
                "superseded",
                "removed",
            ]
        );
        for label in Label::ALL {
            assert_eq!(Label::from_name(label.name()), Some(label));
        }
    }
}
