//! One event, one step. The `match` is the diagram.

use alloc::string::ToString;

use otaru_proto::{FailureCode, PackageKind, Percent, ProgressReport, ResultCode, Version, VersionReport};

use super::outcome::{Because, Outcome, OutcomeKind};
use super::state::{Deployment, Doubt, Question, State, Underway};
use crate::campaign::{Choice, PackageFacts, Policy, choose};
use crate::limits::{ASK_LATER_MS, QUESTIONS_MAX};
use crate::{Epoch, ServiceTime};

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The wave that has the device was opened.
    Opened,
    /// An operator wants the next attempt now, and not after the pause.
    Retried,
    /// The plan lets the device go: it can be reached in this session, and there is a slot for it. Changes nothing
    /// if the device is in another session by now, or in none.
    Start {
        /// The session.
        epoch: Epoch,
    },
    /// The device can be reached in this session. Harmless if that is known already, or not true any more.
    Reconnected {
        /// The session.
        epoch: Epoch,
    },
    /// The device cannot be reached any more. Changes nothing if it can be by now.
    LinkLost,
    /// The device said which versions it runs, asked or not.
    VersionReported(&'a VersionReport),
    /// The device said how the upgrade goes.
    Progressed(&'a ProgressReport),
    /// The whole package has been served in this attempt. Changes nothing if another attempt has begun.
    Fetched {
        /// Which attempt.
        attempt: u32,
    },
    /// Time has passed. May come too early and more than once.
    Woken,
    /// An operator stopped it.
    Cancelled,
    /// Another campaign takes the device over.
    Superseded,
    /// The device is busy in another campaign, and this one does not wait. Changes nothing once it has begun.
    Conflicted,
    /// The device was deleted.
    Removed,
}

/// What is known around a deployment when an event arrives.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// Now.
    pub now: ServiceTime,
    /// The session in which the device can be reached, if it can.
    pub reachable: Option<Epoch>,
    /// The campaign's packages, in its order.
    pub packages: &'a [PackageFacts],
    /// The campaign's rules.
    pub policy: &'a Policy,
    /// The campaign lets devices go: it is running, not paused.
    pub open: bool,
    /// The campaign was cancelled: whatever happens next ends the deployment.
    pub cancelled: bool,
    /// When the device last asked for bytes of its package.
    pub last_download: Option<ServiceTime>,
    /// One more question may be open now through the session that reaches the device. `false` only for a child of a gateway
    /// that has enough to answer; what need not be asked at once is then asked later.
    pub may_ask: bool,
    /// Of what the device was told in this session or a later one, no download was missed. `None` if one may have
    /// been.
    pub watched_since: Option<Epoch>,
}

/// What is now to be said to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Say {
    /// Which version do you run?
    AskVersion,
    /// Upgrade to the package with this index.
    Notice(u8),
}

/// What a step decided.
#[must_use = "the new state is to be stored, and then the word is to be said"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The deployment as it is now.
    pub deployment: Deployment,
    /// What to say, in the session in which the device can be reached. At most one thing.
    pub say: Option<Say>,
}

/// Advances one deployment by one event.
///
/// Pure: no clock, no storage, no logging. The caller stores the deployment together with what is to be said
/// in one transaction, and only then says it. Call it again for every event and when
/// [`Deployment::wake_at`] has come; a call too many changes nothing. The same report twice ends in the same
/// state as once.
///
/// A report names no campaign: route it to the device's only deployment between `asked` and `confirming`, or
/// to the one that was told before and is to be tried again (`waiting`, or `released` for the next attempt), or
/// to the one that finished last. That there is at most one at work is the store's invariant.
pub fn step(deployment: &Deployment, event: Event<'_>, seen: &Circumstances<'_>) -> Step {
    let current = deployment.clone();
    match (&deployment.state, event) {
        // What was served is noted beside whatever is so, and decides nothing.
        (_, Event::Fetched { attempt }) => fetched(current, attempt),

        // What is finished is history, whatever arrives late; only the late truth is noted beside it.
        (State::Finished(outcome), Event::VersionReported(report)) => {
            late_truth(current, outcome.kind, report, seen)
        }
        (State::Finished(_), _) => unchanged(current),

        // The operator outranks the device.
        (_, Event::Cancelled) => finish(current, OutcomeKind::Cancelled, Because::Stopped),
        (_, Event::Superseded) => finish(current, OutcomeKind::Superseded, Because::TakenOver),
        (_, Event::Removed) => finish(current, OutcomeKind::Removed, Because::DeviceDeleted),

        // Ending a large campaign takes a while; none of its devices is told anything meanwhile.
        (_, _) if seen.cancelled => finish(current, OutcomeKind::Cancelled, Because::Stopped),

        // Links come and go between an event and its turn: what is known now outranks what was seen then.
        (_, Event::Start { epoch } | Event::Reconnected { epoch }) if seen.reachable != Some(epoch) => {
            unchanged(current)
        }
        (_, Event::LinkLost) if seen.reachable.is_some() => unchanged(current),

        // Closed: waits for a person.
        (State::Queued, Event::Opened) => {
            to(current, State::Released { until: seen.now.after(seen.policy.timers.online()) })
        }
        (State::Queued, _) => unchanged(current),

        // May go: waits for the device, and for the plan.
        (State::Released { until }, Event::Start { epoch }) => {
            let asked = State::Asked { question: ask(seen, epoch, 1), released_until: *until };
            say(to(current, asked), Say::AskVersion)
        }
        (State::Released { .. }, Event::Conflicted) => finish(current, OutcomeKind::Conflict, Because::Busy),
        (State::Released { until }, Event::Woken) if seen.now >= *until => absent(current, seen),
        (State::Released { .. }, Event::VersionReported(report)) => {
            told_before(current, seen, |package| names(report, package))
        }
        (State::Released { .. } | State::Asked { .. }, Event::Progressed(report)) => {
            told_before(current, seen, |package| is_proof(report, package))
        }
        (State::Released { .. }, _) => unchanged(current),

        // Asked: the answer decides whether and with which package.
        (State::Asked { .. }, Event::VersionReported(report)) => answered(current, report, seen),
        (State::Asked { question, released_until }, Event::Reconnected { epoch })
            if question.epoch != epoch =>
        {
            let asked = State::Asked { question: ask(seen, epoch, 1), released_until: *released_until };
            say(to(current, asked), Say::AskVersion)
        }
        (State::Asked { released_until, .. }, Event::LinkLost) => {
            to(current, State::Released { until: *released_until })
        }
        (State::Asked { question, released_until }, Event::Woken) if seen.now >= question.until => {
            unanswered(current, *question, *released_until, seen)
        }
        (State::Asked { .. }, _) => unchanged(current),

        // Told: the device's reports decide, by the decision table; silence by the timers.
        (State::Offered(u) | State::Running(u) | State::Confirming { underway: u, .. }, event) => {
            let underway = *u;
            match event {
                Event::VersionReported(report) => version_underway(current, underway, report, seen),
                Event::Progressed(report) => progressed(current, underway, report, seen),
                Event::Reconnected { epoch } => reconnected(current, underway, epoch, seen),
                // Devices reboot while they install: a lost link is no failure.
                Event::LinkLost => {
                    with_underway(current, Underway { question: None, linked_in: None, ..underway })
                }
                Event::Woken => woken(current, underway, seen),
                Event::Opened
                | Event::Retried
                | Event::Start { .. }
                | Event::Fetched { .. }
                | Event::Cancelled
                | Event::Superseded
                | Event::Conflicted
                | Event::Removed => unchanged(current),
            }
        }

        // Failed, to be tried again. The device may still turn out to have done it.
        (State::Waiting { until, .. }, Event::Woken) if seen.now >= *until => try_again(current, seen),
        (State::Waiting { .. }, Event::Retried) => try_again(current, seen),
        (State::Waiting { .. }, Event::VersionReported(report)) => {
            told_before(current, seen, |package| names(report, package))
        }
        (State::Waiting { .. }, Event::Progressed(report)) => {
            told_before(current, seen, |package| is_proof(report, package))
        }
        (State::Waiting { .. }, _) => unchanged(current),
    }
}

// --- Before the notice -------------------------------------------------------------------------------------

/// The time for coming online is over. A device that is online, or that a paused campaign keeps waiting, is
/// not late: we are.
fn absent(current: Deployment, seen: &Circumstances<'_>) -> Step {
    if seen.reachable.is_some() || !seen.open {
        return to(current, State::Released { until: seen.now.after(seen.policy.timers.online()) });
    }
    finish(current, OutcomeKind::TimedOut, Because::NeverOnline)
}

/// The device named its version. A report without the version slot that matters is no answer.
fn answered(mut current: Deployment, report: &VersionReport, seen: &Circumstances<'_>) -> Step {
    let Some(kind) = seen.packages.first().map(|p| p.kind) else { return unchanged(current) };
    let Some(version) = slot(report, kind) else { return unchanged(current) };
    current.reported_version = Some(version.to_string());
    current.version_before.get_or_insert_with(|| version.to_string());
    match choose(seen.packages, version.as_str()) {
        Choice::HasIt(index) => {
            // Told in an earlier attempt, it got there by itself in the meantime.
            let was_told = current.package.is_some();
            current.package = u8::try_from(index).ok();
            let kind = if was_told { OutcomeKind::Installed } else { OutcomeKind::AlreadyInstalled };
            finish(current, kind, Because::WantedVersionSeen)
        }
        Choice::NoneFits => {
            let because = Because::SourceNotCovered(current.reported_version.clone());
            finish(current, OutcomeKind::NotEligible, because)
        }
        Choice::Tell(index) => {
            let (Some(told_in), Ok(index)) = (seen.reachable, u8::try_from(index)) else {
                return unchanged(current);
            };
            current.package = Some(index);
            current.notices = 1;
            let until = seen.now.after(seen.policy.timers.result());
            let underway = Underway {
                told_in,
                until,
                last_call: false,
                question: None,
                look_again: None,
                linked_in: Some(told_in),
                partly_unseen: false,
            };
            say(to(current, State::Offered(underway)), Say::Notice(index))
        }
    }
}

/// The question's time is over. Without a link nobody could answer; with one, a busy device gets a second
/// chance.
fn unanswered(
    current: Deployment,
    question: Question,
    released_until: ServiceTime,
    seen: &Circumstances<'_>,
) -> Step {
    match seen.reachable {
        None if seen.now >= released_until => absent(current, seen),
        None => to(current, State::Released { until: released_until }),
        Some(epoch) if epoch != question.epoch || question.times < QUESTIONS_MAX => {
            let times = if epoch == question.epoch { question.times + 1 } else { 1 };
            let asked = State::Asked { question: ask(seen, epoch, times), released_until };
            say(to(current, asked), Say::AskVersion)
        }
        Some(_) => give_up(current, OutcomeKind::TimedOut, Because::NoVersionAnswer, seen),
    }
}

// --- After the notice --------------------------------------------------------------------------------------

/// A report of the device that was told: the decision table, row by row.
///
/// Rows 1 and 2 (no deployment at work; no usable code) never get here.
fn progressed(
    mut current: Deployment,
    underway: Underway,
    report: &ProgressReport,
    seen: &Circumstances<'_>,
) -> Step {
    let Some(package) = target(&current, seen) else { return unchanged(current) };
    current.result_code = Some(report.code);
    current.description.clone_from(&report.description);
    let done = match report.progress {
        Some(percent) => percent.get() == 100,
        None => !report.progress_unusable,
    };
    match report.code {
        // Row 9. The version of a failure is not believed: the C and C# SDKs name the one they did not install.
        ResultCode::Failed(code) if code != FailureCode::AlreadyLatest => {
            give_up(current, OutcomeKind::Failed, Because::Code(code), seen)
        }
        // Row 8. The C# sample also says "already the latest" when the hash is wrong.
        ResultCode::Failed(_) => doubted(current, underway, Doubt::ClaimsLatest, seen),
        // Rows 3 and 4. At work; what version it names meanwhile does not matter.
        ResultCode::OnTrack if !done => {
            note_version(&mut current, report);
            current.progress = current.progress.max(report.progress);
            to(current, State::Running(underway))
        }
        ResultCode::OnTrack => {
            note_version(&mut current, report);
            current.progress = current.progress.max(Percent::new(100).ok());
            match &report.version {
                // Row 5. The only proof.
                Some(version) if runs(version, package) => {
                    installed_when_told(current, underway, package, seen)
                }
                // Row 7. Huawei's Java sample says this after the download, before it installs.
                Some(_) => doubted(current, underway, Doubt::OtherVersion, seen),
                // Row 6.
                None => doubted(current, underway, Doubt::VersionMissing, seen),
            }
        }
    }
}

/// Enters a doubt: ask at once, or after the time that an installation takes. The same doubt twice asks once.
fn doubted(current: Deployment, mut underway: Underway, doubt: Doubt, seen: &Circumstances<'_>) -> Step {
    let known = matches!(&current.state, State::Confirming { doubt: before, .. } if *before == doubt);
    let pending = underway.question.is_some() || underway.look_again.is_some();
    if known && pending {
        return to(current, State::Confirming { doubt, underway });
    }
    match (doubt, seen.reachable) {
        (Doubt::OtherVersion, _) => {
            underway.question = None;
            underway.look_again = Some(seen.now.after(seen.policy.timers.confirm()));
            to(current, State::Confirming { doubt, underway })
        }
        // Asked once in a session; an answer that clears nothing is not asked for again.
        (Doubt::VersionMissing, Some(_)) if known => to(current, State::Confirming { doubt, underway }),
        (Doubt::VersionMissing | Doubt::ClaimsLatest, Some(epoch)) => {
            let underway = asking(underway, seen, epoch);
            say(to(current, State::Confirming { doubt, underway }), Say::AskVersion)
        }
        // The link went with the report: the question waits for the next session.
        (Doubt::VersionMissing | Doubt::ClaimsLatest, None) => {
            to(current, State::Confirming { doubt, underway })
        }
    }
}

/// The device that was told said which version it runs.
fn version_underway(
    mut current: Deployment,
    mut underway: Underway,
    report: &VersionReport,
    seen: &Circumstances<'_>,
) -> Step {
    let Some(package) = target(&current, seen) else { return unchanged(current) };
    let Some(version) = slot(report, package.kind) else { return unchanged(current) };
    current.reported_version = Some(version.to_string());
    if runs(version, package) {
        return installed_when_told(current, underway, package, seen);
    }
    // Only an answer is evidence: what a device says unasked may be its greeting before the reboot.
    let is_answer = underway.question.is_some_and(|q| Some(q.epoch) == seen.reachable);
    if !is_answer {
        return unchanged(current);
    }
    underway.question = None;
    if let State::Confirming { doubt, .. } = &current.state {
        match doubt {
            Doubt::ClaimsLatest => {
                return give_up(
                    current,
                    OutcomeKind::Failed,
                    Because::Code(FailureCode::AlreadyLatest),
                    seen,
                );
            }
            Doubt::OtherVersion => {
                let because = Because::RunsOther(current.reported_version.clone());
                return give_up(current, OutcomeKind::VersionMismatch, because, seen);
            }
            // It may still be about to reboot, as in row 7.
            Doubt::VersionMissing if !underway.last_call => {
                return doubted(current, underway, Doubt::OtherVersion, seen);
            }
            Doubt::VersionMissing => {}
        }
    }
    if underway.last_call {
        return give_up(current, OutcomeKind::TimedOut, Because::NoResult, seen);
    }
    tell_again(current, underway, seen)
}

/// The resend rule. No SDK drops a repeated notice, so it is said again only to a device that has come back
/// since, has answered that it runs something else, is not downloading, and was not told too often.
fn tell_again(mut current: Deployment, mut underway: Underway, seen: &Circumstances<'_>) -> Step {
    let (Some(epoch), Some(package)) = (seen.reachable, current.package) else {
        return with_underway(current, underway);
    };
    if epoch == underway.told_in || current.notices >= seen.policy.notices_max {
        return with_underway(current, underway);
    }
    let quiet = seen.policy.timers.download_quiet();
    if let Some(busy_until) = seen.last_download.map(|at| at.after(quiet)).filter(|until| *until > seen.now) {
        underway.look_again = Some(busy_until);
        return with_underway(current, underway);
    }
    current.notices += 1;
    underway.partly_unseen |= !is_watched(underway, seen);
    underway.told_in = epoch;
    say(to(current, State::Offered(underway)), Say::Notice(package))
}

/// Back after a lost link: ask, but let the device speak first.
fn reconnected(current: Deployment, mut underway: Underway, epoch: Epoch, seen: &Circumstances<'_>) -> Step {
    if underway.linked_in == Some(epoch) || underway.last_call {
        return unchanged(current);
    }
    underway.linked_in = Some(epoch);
    underway.question = None;
    // An earlier look stays: a device that comes back every few seconds is asked all the same.
    let settled = seen.now.after(seen.policy.timers.settle_underway());
    underway.look_again = Some(underway.look_again.map_or(settled, |look| look.min(settled)));
    with_underway(current, underway)
}

/// Time has passed for a device that was told.
fn woken(current: Deployment, mut underway: Underway, seen: &Circumstances<'_>) -> Step {
    let claims_latest = matches!(current.state, State::Confirming { doubt: Doubt::ClaimsLatest, .. });
    if underway.question.is_some_and(|q| seen.now >= q.until) {
        underway.question = None;
        if claims_latest {
            return give_up(current, OutcomeKind::Failed, Because::Code(FailureCode::AlreadyLatest), seen);
        }
    }
    if seen.now >= underway.until {
        return match seen.reachable {
            // One last question, in case the only thing missing is the report. The end does not wait for a gateway that has
            // enough to answer; what its child says later is noted as late truth.
            Some(epoch) if !underway.last_call && seen.may_ask => {
                underway = asking(Underway { last_call: true, ..underway }, seen, epoch);
                underway.until = seen.now.after(seen.policy.timers.answer());
                say(with_underway(current, underway), Say::AskVersion)
            }
            // Code 3 was its last word, and stays it.
            Some(_) | None if claims_latest => {
                give_up(current, OutcomeKind::Failed, Because::Code(FailureCode::AlreadyLatest), seen)
            }
            Some(_) | None => give_up(current, OutcomeKind::TimedOut, Because::NoResult, seen),
        };
    }
    if underway.look_again.is_some_and(|at| seen.now >= at) {
        underway.look_again = None;
        match seen.reachable {
            Some(epoch) if seen.may_ask => {
                return say(with_underway(current, asking(underway, seen, epoch)), Say::AskVersion);
            }
            Some(_) => underway.look_again = Some(ask_later(seen)),
            None => {}
        }
    }
    with_underway(current, underway)
}

// --- Ends --------------------------------------------------------------------------------------------------

/// Ends this attempt: another one if there is one left, otherwise the outcome.
fn give_up(mut current: Deployment, kind: OutcomeKind, because: Because, seen: &Circumstances<'_>) -> Step {
    if current.attempt > seen.policy.retry.count {
        return finish(current, kind, because);
    }
    // At least a moment: one waking ends an attempt or begins one, never both.
    let pause = core::time::Duration::from_secs(seen.policy.retry.interval_secs)
        .max(core::time::Duration::from_millis(1));
    current.progress = None;
    to(current, State::Waiting { until: seen.now.after(pause), because })
}

/// The next attempt begins where the first one did: with a device that may go.
fn try_again(mut current: Deployment, seen: &Circumstances<'_>) -> Step {
    current.attempt += 1;
    current.notices = 0;
    current.fetched = false;
    to(current, State::Released { until: seen.now.after(seen.policy.timers.online()) })
}

/// Between attempts: the device that was told earlier may still turn out to have done it.
fn told_before(
    current: Deployment,
    seen: &Circumstances<'_>,
    has_it: impl Fn(&PackageFacts) -> bool,
) -> Step {
    match target(&current, seen) {
        Some(package) if has_it(package) => installed(current, package),
        Some(_) | None => unchanged(current),
    }
}

/// It has what it was told to install. Whether it had it from us is noted, and gates nothing.
///
/// Protocol quirk 28: one SDK does not look at the HTTP status, saves the body of an error as the package and reports
/// success with the wanted version. A success is a warning only if the attempt was watched from its first notice to
/// its end. What is known of a download that is not complete is in memory: after a restart a device may go on with a
/// range, and the bytes before it were served by the run before, or were not. That is not known, so nothing is said.
/// Between two attempts nothing is said either, because a download of the last one is already forgotten.
fn installed_when_told(
    mut current: Deployment,
    underway: Underway,
    package: &PackageFacts,
    seen: &Circumstances<'_>,
) -> Step {
    current.unfetched_success = !current.fetched && is_watched(underway, seen);
    installed(current, package)
}

/// Whether every download since the attempt's first notice was seen.
fn is_watched(underway: Underway, seen: &Circumstances<'_>) -> bool {
    !underway.partly_unseen && seen.watched_since.is_some_and(|since| underway.told_in >= since)
}

/// The whole package was served. It may have been on its way when the device already spoke of success.
fn fetched(mut current: Deployment, attempt: u32) -> Step {
    if current.attempt == attempt && current.notices > 0 {
        current.fetched = true;
        current.unfetched_success = false;
    }
    unchanged(current)
}

fn installed(mut current: Deployment, package: &PackageFacts) -> Step {
    current.reported_version = Some(package.version.clone());
    finish(current, OutcomeKind::Installed, Because::WantedVersionSeen)
}

fn finish(current: Deployment, kind: OutcomeKind, because: Because) -> Step {
    to(current, State::Finished(Outcome { kind, because }))
}

/// The wanted version, announced after the deployment had ended without it.
fn late_truth(
    mut current: Deployment,
    kind: OutcomeKind,
    report: &VersionReport,
    seen: &Circumstances<'_>,
) -> Step {
    let ended_without = match kind {
        OutcomeKind::Failed | OutcomeKind::TimedOut | OutcomeKind::VersionMismatch => true,
        OutcomeKind::Installed
        | OutcomeKind::AlreadyInstalled
        | OutcomeKind::NotEligible
        | OutcomeKind::Conflict
        | OutcomeKind::Cancelled
        | OutcomeKind::Superseded
        | OutcomeKind::Removed => false,
    };
    if ended_without && target(&current, seen).is_some_and(|package| names(report, package)) {
        current.late_success = true;
    }
    unchanged(current)
}

// --- Small words -------------------------------------------------------------------------------------------

fn unchanged(deployment: Deployment) -> Step {
    Step { deployment, say: None }
}

fn to(mut deployment: Deployment, state: State) -> Step {
    deployment.state = state;
    Step { deployment, say: None }
}

fn say(step: Step, word: Say) -> Step {
    Step { say: Some(word), ..step }
}

/// The same state, with what is known of the device replaced.
fn with_underway(current: Deployment, underway: Underway) -> Step {
    let state = match &current.state {
        State::Offered(_) => State::Offered(underway),
        State::Running(_) => State::Running(underway),
        State::Confirming { doubt, .. } => State::Confirming { doubt: *doubt, underway },
        State::Queued
        | State::Released { .. }
        | State::Asked { .. }
        | State::Waiting { .. }
        | State::Finished(_) => return unchanged(current),
    };
    to(current, state)
}

fn ask(seen: &Circumstances<'_>, epoch: Epoch, times: u8) -> Question {
    Question { epoch, until: seen.now.after(seen.policy.timers.answer()), times }
}

/// When to look again for a device that may not be asked now.
fn ask_later(seen: &Circumstances<'_>) -> ServiceTime {
    seen.now.after(core::time::Duration::from_millis(ASK_LATER_MS))
}

/// The device that was told is asked in this session, and so need not be looked at again for being asked.
fn asking(underway: Underway, seen: &Circumstances<'_>, epoch: Epoch) -> Underway {
    Underway { question: Some(ask(seen, epoch, 1)), look_again: None, linked_in: Some(epoch), ..underway }
}

fn target<'a>(deployment: &Deployment, seen: &Circumstances<'a>) -> Option<&'a PackageFacts> {
    deployment.package.and_then(|index| seen.packages.get(usize::from(index)))
}

/// The version slot that a package of this kind fills.
///
/// The Java SDK sends one text for both; a software campaign is judged by it like by any other.
fn slot(report: &VersionReport, kind: PackageKind) -> Option<&Version> {
    match kind {
        PackageKind::Firmware => report.fw_version.as_ref(),
        PackageKind::Software => report.sw_version.as_ref(),
    }
}

/// The report says that the device runs what the package brings.
fn names(report: &VersionReport, package: &PackageFacts) -> bool {
    slot(report, package.kind).is_some_and(|version| runs(version, package))
}

fn runs(version: &Version, package: &PackageFacts) -> bool {
    version.as_str() == package.version
}

/// Row 5 of the decision table.
fn is_proof(report: &ProgressReport, package: &PackageFacts) -> bool {
    let done = match report.progress {
        Some(percent) => percent.get() == 100,
        None => !report.progress_unusable,
    };
    report.code == ResultCode::OnTrack && done && report.version.as_ref().is_some_and(|v| runs(v, package))
}

fn note_version(current: &mut Deployment, report: &ProgressReport) {
    if let Some(version) = &report.version
        && current.reported_version.as_deref() != Some(version.as_str())
    {
        current.reported_version = Some(version.as_str().to_string());
    }
}
