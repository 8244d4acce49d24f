//! What an operator does to single deployments of a campaign, and which of them are meant.

use alloc::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{CampaignState, Policy};
use crate::ServiceTime;
use crate::deployment::{Deployment, Label, OutcomeKind};

/// What an operator asks of deployments. The names are part of the API and of what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// What is not finished ends as `cancelled`.
    Stop,
    /// What ended without success gets a further run; what waits for another attempt makes it now.
    Retry,
    /// What waits for a person may go.
    Confirm,
}

/// Which deployments are meant: those for which everything that is given holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Counted under one of these; `None` is whatever the act can be done to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeSet<Label>>,
    /// Whose last report carried one of these codes, as on the wire; of those that have ended, only failures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codes: Option<BTreeSet<i64>>,
}

/// What there is to do to one deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToDo {
    /// This act.
    Act,
    /// Nothing: it is not among those that are meant.
    NotMeant,
    /// Nothing: the act cannot be done to one that is where this one is.
    WrongState,
}

impl Act {
    /// Every act.
    pub const ALL: [Act; 3] = [Act::Stop, Act::Retry, Act::Confirm];

    /// The stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Act::Stop => "stop",
            Act::Retry => "retry",
            Act::Confirm => "confirm",
        }
    }

    /// The act of a stable name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Act> {
        Act::ALL.into_iter().find(|act| act.name() == name)
    }

    /// The states in which a campaign's deployments may be treated so.
    ///
    /// A campaign that has finished goes on when one of its deployments is retried. One that was cancelled was given up as
    /// a whole, and stays so.
    #[must_use]
    pub const fn accepted_in(self) -> &'static [CampaignState] {
        use CampaignState::{Draft, Finished, Paused, Preparing, Running, Scheduled};
        match self {
            Act::Stop => &[Draft, Preparing, Scheduled, Running, Paused],
            Act::Retry => &[Draft, Preparing, Scheduled, Running, Paused, Finished],
            Act::Confirm => &[Preparing, Running, Paused],
        }
    }

    /// Whether a campaign's deployments may be treated so now. What is confirmed waits for its device from then on, so that
    /// nothing is confirmed before the start.
    #[must_use]
    pub fn is_accepted(self, state: CampaignState, started: bool) -> bool {
        self.accepted_in().contains(&state) && (started || self != Act::Confirm)
    }

    /// Whether it can be done to a deployment that is counted under `label`.
    ///
    /// Nothing is retried that succeeded, and nothing of a device that was deleted.
    #[must_use]
    pub const fn fits(self, label: Label) -> bool {
        match (self, label) {
            (Act::Stop, _) => !label.is_finished(),
            (Act::Confirm, _) => matches!(label, Label::Queued),
            (
                Act::Retry,
                Label::Waiting
                | Label::Finished(
                    OutcomeKind::Failed
                    | OutcomeKind::TimedOut
                    | OutcomeKind::VersionMismatch
                    | OutcomeKind::NotEligible
                    | OutcomeKind::Conflict
                    | OutcomeKind::Cancelled
                    | OutcomeKind::Superseded,
                ),
            ) => true,
            (
                Act::Retry,
                Label::Finished(
                    OutcomeKind::Installed | OutcomeKind::AlreadyInstalled | OutcomeKind::Removed,
                )
                | Label::Queued
                | Label::Released
                | Label::Asked
                | Label::Offered
                | Label::Running
                | Label::Confirming,
            ) => false,
        }
    }

    /// The labels under which there may be something to do.
    #[must_use]
    pub fn labels(self, selection: &Selection) -> BTreeSet<Label> {
        let meant = |label: &Label| {
            selection.labels.as_ref().is_none_or(|labels| labels.contains(label))
                && (selection.codes.is_none() || !label.is_finished() || label.is_failure())
        };
        Label::ALL.into_iter().filter(|label| self.fits(*label) && meant(label)).collect()
    }

    /// What there is to do to this deployment.
    #[must_use]
    pub fn to_do(self, selection: &Selection, deployment: &Deployment) -> ToDo {
        if !selection.takes(deployment) {
            ToDo::NotMeant
        } else if self.fits(deployment.label()) {
            ToDo::Act
        } else {
            ToDo::WrongState
        }
    }
}

impl Selection {
    /// Whether a deployment is meant.
    #[must_use]
    pub fn takes(&self, deployment: &Deployment) -> bool {
        let label = deployment.label();
        let code = deployment.result_code.map(otaru_proto::ResultCode::to_wire);
        let code = code.filter(|_| !label.is_finished() || label.is_failure());
        self.labels.as_ref().is_none_or(|labels| labels.contains(&label))
            && self.codes.as_ref().is_none_or(|codes| code.is_some_and(|code| codes.contains(&code)))
    }
}

/// The deployment with which a run begins, in a campaign that was told to start or was not: it may go at once, or waits
/// for the start or for a person. `until` is when absence becomes an outcome.
#[must_use]
pub fn first_step(started: bool, policy: &Policy, until: ServiceTime) -> Deployment {
    if started && !policy.need_confirm { Deployment::released(until) } else { Deployment::queued() }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use otaru_proto::ResultCode;

    use super::*;

    #[test]
    fn what_is_not_finished_can_be_stopped_and_what_ended_without_success_retried() {
        for label in Label::ALL {
            assert_eq!(Act::Stop.fits(label), !label.is_finished(), "{label:?}");
            let both = Act::Stop.fits(label) && Act::Retry.fits(label);
            assert_eq!(both, label == Label::Waiting, "{label:?}");
            assert_eq!(Act::Confirm.fits(label), label == Label::Queued, "{label:?}");
        }
        let never: Vec<&str> = Label::ALL
            .into_iter()
            .filter(|label| label.is_finished() && !Act::Retry.fits(*label))
            .map(Label::name)
            .collect();
        assert_eq!(never, ["installed", "already_installed", "removed"]);
    }

    #[test]
    fn a_cancelled_campaign_is_left_alone_and_a_finished_one_only_retried() {
        for act in Act::ALL {
            assert!(!act.accepted_in().contains(&CampaignState::Cancelled));
            assert_eq!(act.accepted_in().contains(&CampaignState::Finished), act == Act::Retry);
            assert_eq!(Act::from_name(act.name()), Some(act));
        }
    }

    #[test]
    fn everything_that_is_given_has_to_hold() {
        let failed = Label::Finished(OutcomeKind::Failed);
        let mut deployment = Deployment::queued();
        deployment.state =
            serde_json::from_str(r#"{"finished":{"kind":"failed","because":"busy"}}"#).unwrap();
        deployment.result_code = Some(ResultCode::from_wire(4));
        let select = |labels: &[Label], codes: &[i64]| Selection {
            labels: (!labels.is_empty()).then(|| labels.iter().copied().collect()),
            codes: (!codes.is_empty()).then(|| codes.iter().copied().collect()),
        };
        let timed_out = Label::Finished(OutcomeKind::TimedOut);
        for (selection, expected) in [
            (select(&[], &[]), ToDo::Act),
            (select(&[failed, timed_out], &[]), ToDo::Act),
            (select(&[timed_out], &[]), ToDo::NotMeant),
            (select(&[], &[4, 9]), ToDo::Act),
            (select(&[], &[9]), ToDo::NotMeant),
            (select(&[failed], &[4]), ToDo::Act),
            (select(&[timed_out], &[4]), ToDo::NotMeant),
        ] {
            assert_eq!(Act::Retry.to_do(&selection, &deployment), expected, "{selection:?}");
        }
        assert_eq!(Act::Stop.to_do(&select(&[], &[]), &deployment), ToDo::WrongState);
        deployment.state =
            serde_json::from_str(r#"{"finished":{"kind":"cancelled","because":"stopped"}}"#).unwrap();
        assert_eq!(
            Act::Retry.to_do(&select(&[], &[4]), &deployment),
            ToDo::NotMeant,
            "stopped is no failure"
        );
        let no_report = Deployment::queued();
        assert_eq!(
            Act::Stop.to_do(&select(&[], &[4]), &no_report),
            ToDo::NotMeant,
            "no code is none of these"
        );
        assert_eq!(Act::Retry.labels(&select(&[failed, Label::Queued], &[])), [failed].into());
    }

    #[test]
    fn the_stored_form_of_a_selection_is_pinned() {
        let selection = Selection {
            labels: Some([Label::Waiting, Label::Finished(OutcomeKind::Failed)].into()),
            codes: Some([-1, 4].into()),
        };
        let stored = r#"{"labels":["waiting","failed"],"codes":[-1,4]}"#;
        assert_eq!(serde_json::to_string(&selection).unwrap(), stored);
        assert_eq!(serde_json::from_str::<Selection>(stored).unwrap(), selection);
        assert_eq!(serde_json::from_str::<Selection>("{}").unwrap(), Selection::default());
        assert_eq!(serde_json::to_string(&Act::Retry).unwrap(), r#""retry""#);
    }

    #[test]
    fn a_run_waits_until_the_campaign_starts_and_until_it_is_confirmed_if_it_has_to_be() {
        let (at_once, confirmed) = (Policy::default(), Policy { need_confirm: true, ..Policy::default() });
        let until = ServiceTime(7);
        assert_eq!(first_step(true, &at_once, until), Deployment::released(until));
        for waits in [first_step(false, &at_once, until), first_step(true, &confirmed, until)] {
            assert_eq!(waits, Deployment::queued());
        }
    }

    #[test]
    fn nothing_is_confirmed_before_the_start() {
        for state in CampaignState::ALL {
            assert!(!Act::Confirm.is_accepted(state, false));
            assert_eq!(Act::Retry.is_accepted(state, false), Act::Retry.accepted_in().contains(&state));
        }
        assert!(Act::Confirm.is_accepted(CampaignState::Preparing, true));
    }
}
