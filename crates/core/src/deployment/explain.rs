//! A deployment in one plain sentence, for whoever asks "why is this device not updated?".

use alloc::{format, string::String};

use super::outcome::{Because, Outcome, OutcomeKind};
use super::state::{Deployment, Doubt, State};
use crate::campaign::PackageFacts;

/// Says where a deployment is and what it waits for, in one sentence.
///
/// `packages` are the campaign's, in its order. Times are left to the caller, who knows the reader's clock.
#[must_use]
pub fn explain(deployment: &Deployment, packages: &[PackageFacts]) -> String {
    let target =
        deployment.package.and_then(|index| packages.get(usize::from(index))).map(|p| p.version.as_str());
    let target = target.unwrap_or("the wanted version");
    match &deployment.state {
        State::Queued => {
            "Not released yet: the campaign has not started, its wave is not open, or it has to be confirmed."
                .into()
        }
        State::Released { .. } => "May go; waiting for the device to come online.".into(),
        State::Asked { .. } => "The device was asked which version it runs; waiting for its answer.".into(),
        State::Offered(_) => format!("The device was told to upgrade to {target}; it has not reported yet."),
        State::Running(_) => match deployment.progress {
            Some(percent) => format!("The device is at work: {} % reported.", percent.get()),
            None => "The device is at work.".into(),
        },
        State::Confirming { doubt, .. } => confirming(*doubt, deployment, target),
        State::Waiting { because, .. } => {
            format!(
                "Attempt {} ended: {} Another attempt follows.",
                deployment.attempt,
                reason(because, deployment, target)
            )
        }
        State::Finished(outcome) => finished(outcome, deployment, target),
    }
}

/// Why an attempt ended without success, in one sentence that begins with the published platform's words where it has
/// some; `None` where none has.
#[must_use]
pub fn failure(deployment: &Deployment, packages: &[PackageFacts]) -> Option<String> {
    match &deployment.state {
        State::Waiting { because, .. } => {
            let target = deployment.package.and_then(|index| packages.get(usize::from(index)));
            let target = target.map_or("the wanted version", |package| package.version.as_str());
            Some(reason(because, deployment, target))
        }
        State::Finished(outcome) if outcome.kind.is_failure() => Some(explain(deployment, packages)),
        State::Queued
        | State::Released { .. }
        | State::Asked { .. }
        | State::Offered(_)
        | State::Running(_)
        | State::Confirming { .. }
        | State::Finished(_) => None,
    }
}

fn confirming(doubt: Doubt, deployment: &Deployment, target: &str) -> String {
    match doubt {
        Doubt::VersionMissing => "The device says it is done but named no version; it is being asked.".into(),
        Doubt::OtherVersion => format!(
            "The device says it is done but runs {}, not {target}; it may still have to install and is asked later.",
            reported(deployment)
        ),
        Doubt::ClaimsLatest => {
            "The device says it already has the latest version; it is being asked which one it runs.".into()
        }
    }
}

fn finished(outcome: &Outcome, deployment: &Deployment, target: &str) -> String {
    let mut text = match outcome.kind {
        OutcomeKind::Installed => format!("The device itself announced {target}."),
        OutcomeKind::AlreadyInstalled => {
            "The current version is the same as the target version; the device was not told.".into()
        }
        OutcomeKind::Failed
        | OutcomeKind::TimedOut
        | OutcomeKind::VersionMismatch
        | OutcomeKind::NotEligible
        | OutcomeKind::Conflict
        | OutcomeKind::Cancelled
        | OutcomeKind::Superseded
        | OutcomeKind::Removed => reason(&outcome.because, deployment, target),
    };
    if deployment.unfetched_success {
        text.push_str(
            " It is a success without a complete download: in this attempt the whole package was never fetched from \
             here. It may have come through a gateway or a mirror; if not, check what the device really runs.",
        );
    }
    if deployment.late_success {
        text.push_str(&format!(" Later the device announced {target} after all."));
    }
    text
}

/// Why; the platform's published wording where it has one.
fn reason(because: &Because, deployment: &Deployment, target: &str) -> String {
    let mut text: String = match because {
        Because::WantedVersionSeen => format!("The device itself announced {target}."),
        Because::NeverOnline => "Waiting for the device online timeout: the device did not connect in time.".into(),
        Because::NoVersionAnswer => {
            "Waiting for report device firmware version timeout: the device did not say which version it runs.".into()
        }
        Because::NoResult => {
            "Wait for the device to report upgrade result timeout: no final report came in time.".into()
        }
        Because::Code(code) => match code.published_words() {
            Some(words) => format!("{words}: the device reported result code {code}"),
            None => format!("The device reported result code {code}"),
        },
        Because::RunsOther(version) => format!(
            "The device said it was done, but runs {} instead of {target}.",
            version.as_deref().unwrap_or("another version")
        ),
        Because::SourceNotCovered(version) => format!(
            "No package of the campaign starts from {}, which the device runs.",
            version.as_deref().unwrap_or("the version")
        ),
        Because::Busy => "Task Conflict: another campaign was working on the device.".into(),
        Because::Stopped => "Stopped by an operator.".into(),
        Because::TakenOver => "Another campaign took the device over.".into(),
        Because::DeviceDeleted => "The device was deleted.".into(),
    };
    if let (Because::Code(_), Some(words)) = (because, &deployment.description) {
        text.push_str(&format!(" In its words: \u{201c}{words}\u{201d}."));
    }
    text
}

fn reported(deployment: &Deployment) -> &str {
    deployment.reported_version.as_deref().unwrap_or("another version")
}
