//! What a truthful platform says in the end of devices with these habits. It knows the devices, and of the platform only
//! what an operator knows: the policy of a campaign, and what he did to it.

use std::collections::BTreeSet;

use otaru_core::campaign::OnConflict;
use otaru_core::deployment::OutcomeKind;

use crate::device::Habit;
use crate::scenario::{Act, Scenario};

/// How the deployment of a device may end in the first campaign, or in the second one.
#[must_use]
pub fn may_end(scenario: &Scenario, device: usize, is_second: bool) -> BTreeSet<OutcomeKind> {
    let (habit, says_again) = scenario.devices[device];
    let mut may = BTreeSet::from([match habit {
        Habit::Succeeds | Habit::Reboots | Habit::OldVersionFirst | Habit::SaysTwice | Habit::Slow => {
            OutcomeKind::Installed
        }
        // What it has is what the first campaign wants.
        Habit::HasIt if is_second => OutcomeKind::Installed,
        Habit::HasIt => OutcomeKind::AlreadyInstalled,
        Habit::Fails(_) => OutcomeKind::Failed,
        Habit::FallsSilent | Habit::Vanishes | Habit::NeverOnline => OutcomeKind::TimedOut,
        Habit::Lies => OutcomeKind::VersionMismatch,
    }]);
    // A word that was lost is not heard, and one that was overtaken is not the last one.
    if !says_again || scenario.trouble.overtakes > 0 {
        match habit {
            Habit::Fails(_) | Habit::Lies => {
                may.insert(OutcomeKind::TimedOut);
            }
            Habit::Succeeds
            | Habit::Reboots
            | Habit::OldVersionFirst
            | Habit::SaysTwice
            | Habit::Slow
            | Habit::FallsSilent
            | Habit::Vanishes
            | Habit::HasIt
            | Habit::NeverOnline => {}
        }
    }
    let does = |what: fn(&Act) -> bool| scenario.operator.iter().any(|(_, act)| what(act));
    let is_stopped = does(|act| matches!(act, Act::Cancel | Act::Stop(_)));
    let is_retried = does(|act| matches!(act, Act::Retry(_)));
    if !is_second && is_stopped {
        may.insert(OutcomeKind::Cancelled);
    }
    if !is_second && is_retried {
        // It may have got there in the run before, which did not hear of it.
        if may.contains(&OutcomeKind::Installed) {
            may.insert(OutcomeKind::AlreadyInstalled);
        }
        // Told again in the middle of what it was told in a run that was stopped, it says that it is busy.
        if is_stopped && habit != Habit::NeverOnline {
            may.extend([OutcomeKind::Failed, OutcomeKind::VersionMismatch, OutcomeKind::TimedOut]);
        }
    }
    if let Some((_, second)) = &scenario.second {
        // It may have been brought to what the second one wants before the first one began.
        if habit == Habit::HasIt {
            may.insert(OutcomeKind::Installed);
        }
        let (own, other) = if is_second { (second, &scenario.policy) } else { (&scenario.policy, second) };
        // A device that is told of something else in the middle of an upgrade, because the other campaign was stopped or had
        // to give way, says that it is busy, and may go on with what it does.
        let tells_the_busy =
            own.on_conflict == OnConflict::Supersede || is_second && is_stopped || !is_second && is_retried;
        if tells_the_busy && habit != Habit::NeverOnline {
            may.extend([OutcomeKind::Failed, OutcomeKind::VersionMismatch, OutcomeKind::TimedOut]);
        }
        if own.on_conflict == OnConflict::Fail {
            may.insert(OutcomeKind::Conflict);
        }
        if other.on_conflict == OnConflict::Supersede {
            may.insert(OutcomeKind::Superseded);
        }
    }
    may
}
