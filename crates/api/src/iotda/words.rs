//! The words of the application API for what the platform calls otherwise: a view of campaigns and deployments.
//!
//! Pure. `Waitting` and `waitting` are spelled so.

use otaru_core::campaign::CampaignState;
use otaru_core::deployment::{Label, OutcomeKind};
use otaru_engine::{CampaignRow, Counts, DeploymentView, DeviceStatus};
use otaru_proto::PackageKind;
use serde::Serialize;

/// What a device is.
pub(super) const fn status(status: DeviceStatus) -> &'static str {
    match status {
        DeviceStatus::Frozen => "FROZEN",
        DeviceStatus::Online => "ONLINE",
        DeviceStatus::Offline => "OFFLINE",
        DeviceStatus::Inactive => "INACTIVE",
    }
}

/// Types of packages; a module is a part of a product that this platform does not version by itself.
pub(super) const PACKAGE_TYPES: &[&str] = &["firmwarePackage", "softwarePackage", "modulePackage"];

pub(super) fn package_type(kind: PackageKind) -> &'static str {
    match kind {
        PackageKind::Firmware => "firmwarePackage",
        PackageKind::Software => "softwarePackage",
    }
}

pub(super) fn kind_of_package(word: &str) -> Option<PackageKind> {
    match word {
        "firmwarePackage" => Some(PackageKind::Firmware),
        "softwarePackage" => Some(PackageKind::Software),
        _ => None,
    }
}

/// Types of tasks that upgrade.
pub(super) fn kind_of_task(word: &str) -> Option<PackageKind> {
    match word {
        "firmwareUpgrade" => Some(PackageKind::Firmware),
        "softwareUpgrade" => Some(PackageKind::Software),
        _ => None,
    }
}

pub(super) fn task_type(kind: PackageKind) -> &'static str {
    match kind {
        PackageKind::Firmware => "firmwareUpgrade",
        PackageKind::Software => "softwareUpgrade",
    }
}

/// Types of tasks that the published pages name and this platform does not run.
pub(super) const OTHER_TASKS: &[&str] = &[
    "moduleUpgrade",
    "createDevices",
    "updateDevices",
    "deleteDevices",
    "freezeDevices",
    "unfreezeDevices",
    "createCommands",
    "createAsyncCommands",
    "createMessages",
    "updateDeviceShadows",
    "changeGateway",
];

/// Where a sub-task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SubStatus {
    Waitting,
    Processing,
    Success,
    Fail,
    FailWaitRetry,
    Stopped,
    Removed,
}

impl SubStatus {
    pub(super) const ALL: [SubStatus; 7] = [
        SubStatus::Waitting,
        SubStatus::Processing,
        SubStatus::Success,
        SubStatus::Fail,
        SubStatus::FailWaitRetry,
        SubStatus::Stopped,
        SubStatus::Removed,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            SubStatus::Waitting => "Waitting",
            SubStatus::Processing => "Processing",
            SubStatus::Success => "Success",
            SubStatus::Fail => "Fail",
            SubStatus::FailWaitRetry => "FailWaitRetry",
            SubStatus::Stopped => "Stopped",
            SubStatus::Removed => "Removed",
        }
    }

    /// `begun`: the campaign lets devices go. Before that nothing is dispatched.
    pub(super) fn of(label: Label, begun: bool) -> SubStatus {
        match label {
            Label::Queued => SubStatus::Waitting,
            Label::Released if !begun => SubStatus::Waitting,
            Label::Released | Label::Asked | Label::Offered | Label::Running | Label::Confirming => {
                SubStatus::Processing
            }
            Label::Waiting => SubStatus::FailWaitRetry,
            Label::Finished(OutcomeKind::Installed | OutcomeKind::AlreadyInstalled) => SubStatus::Success,
            Label::Finished(OutcomeKind::Cancelled) => SubStatus::Stopped,
            Label::Finished(OutcomeKind::Removed) => SubStatus::Removed,
            Label::Finished(
                OutcomeKind::Failed
                | OutcomeKind::TimedOut
                | OutcomeKind::VersionMismatch
                | OutcomeKind::NotEligible
                | OutcomeKind::Conflict
                | OutcomeKind::Superseded,
            ) => SubStatus::Fail,
        }
    }
}

/// Whether a campaign lets devices go, or did.
pub(super) fn has_begun(row: &CampaignRow) -> bool {
    row.started && !matches!(row.state, CampaignState::Draft | CampaignState::Scheduled)
}

/// How many sub-tasks are where. The parts add up to `total`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Progress {
    pub(super) total: u64,
    pub(super) processing: u64,
    pub(super) success: u64,
    pub(super) fail: u64,
    pub(super) waitting: u64,
    pub(super) fail_wait_retry: u64,
    pub(super) stopped: u64,
    pub(super) removed: u64,
}

impl Progress {
    /// `refused`: targets that no device could be found for. `expected`: how many devices there will be, where that is known
    /// before all of them are prepared.
    pub(super) fn of(row: &CampaignRow, counts: &Counts, refused: u64, expected: Option<u64>) -> Progress {
        let begun = has_begun(row);
        let mut progress = Progress::default();
        for label in Label::ALL {
            *progress.part(SubStatus::of(label, begun)) += counts.of(label);
        }
        progress.fail += refused;
        let is_cancelled = row.state == CampaignState::Cancelled;
        if let Some(expected) = expected.filter(|_| !row.filled || is_cancelled) {
            // What is not prepared yet waits, and never will be once the campaign is cancelled.
            let rest = expected.saturating_sub(counts.total());
            if is_cancelled {
                progress.stopped += rest;
            } else {
                progress.waitting += rest;
            }
        }
        progress.total = SubStatus::ALL.iter().map(|status| *progress.part(*status)).sum();
        progress
    }

    fn part(&mut self, status: SubStatus) -> &mut u64 {
        match status {
            SubStatus::Waitting => &mut self.waitting,
            SubStatus::Processing => &mut self.processing,
            SubStatus::Success => &mut self.success,
            SubStatus::Fail => &mut self.fail,
            SubStatus::FailWaitRetry => &mut self.fail_wait_retry,
            SubStatus::Stopped => &mut self.stopped,
            SubStatus::Removed => &mut self.removed,
        }
    }

    fn unfinished(&self) -> u64 {
        self.waitting + self.processing + self.fail_wait_retry
    }
}

/// Where a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TaskStatus {
    Initializing,
    Waitting,
    Processing,
    Success,
    Fail,
    PartialSuccess,
    Stopping,
    Stopped,
}

impl TaskStatus {
    pub(super) const ALL: [TaskStatus; 8] = [
        TaskStatus::Initializing,
        TaskStatus::Waitting,
        TaskStatus::Processing,
        TaskStatus::Success,
        TaskStatus::Fail,
        TaskStatus::PartialSuccess,
        TaskStatus::Stopping,
        TaskStatus::Stopped,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            TaskStatus::Initializing => "Initializing",
            TaskStatus::Waitting => "Waitting",
            TaskStatus::Processing => "Processing",
            TaskStatus::Success => "Success",
            TaskStatus::Fail => "Fail",
            TaskStatus::PartialSuccess => "PartialSuccess",
            TaskStatus::Stopping => "Stopping",
            TaskStatus::Stopped => "Stopped",
        }
    }

    /// A task that was stopped as a whole stays `Stopped`. Otherwise, once nothing is left to be done, stopped and removed
    /// sub-tasks do not count; where there are no others, it is `Stopped` as well.
    pub(super) fn of(row: &CampaignRow, progress: &Progress) -> TaskStatus {
        match row.state {
            CampaignState::Cancelled if progress.unfinished() > 0 => TaskStatus::Stopping,
            CampaignState::Cancelled => TaskStatus::Stopped,
            CampaignState::Preparing => TaskStatus::Initializing,
            CampaignState::Draft | CampaignState::Scheduled => TaskStatus::Waitting,
            CampaignState::Finished => match (progress.success, progress.fail) {
                (0, 0) => TaskStatus::Stopped,
                (_, 0) => TaskStatus::Success,
                (0, _) => TaskStatus::Fail,
                (_, _) => TaskStatus::PartialSuccess,
            },
            CampaignState::Running | CampaignState::Paused if progress.waitting == progress.total => {
                TaskStatus::Waitting
            }
            CampaignState::Running | CampaignState::Paused => TaskStatus::Processing,
        }
    }

    /// The states in which a campaign may look so; whether it does depends on its counts.
    pub(super) fn states(self) -> Vec<CampaignState> {
        use CampaignState::{Cancelled, Draft, Finished, Paused, Preparing, Running, Scheduled};
        match self {
            TaskStatus::Initializing => vec![Preparing],
            TaskStatus::Waitting => vec![Draft, Scheduled, Running, Paused],
            TaskStatus::Processing => vec![Running, Paused],
            TaskStatus::Success | TaskStatus::Fail | TaskStatus::PartialSuccess => vec![Finished],
            TaskStatus::Stopping => vec![Cancelled],
            TaskStatus::Stopped => vec![Cancelled, Finished],
        }
    }
}

/// What a sub-task that failed is told to have failed with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct SubError {
    pub(super) error_code: &'static str,
    pub(super) error_msg: String,
}

/// What a sub-task that succeeded says.
pub(super) fn output(view: &DeploymentView) -> &'static str {
    match view.outcome {
        Some("installed") => "success",
        Some("already_installed") => "The current version is the same as the target version",
        _ => "",
    }
}

/// The error of a sub-task in `status`, if it has one: the published words, and what is known beyond them.
pub(super) fn error_of(view: &DeploymentView, status: SubStatus) -> Option<SubError> {
    if !matches!(status, SubStatus::Fail | SubStatus::FailWaitRetry) {
        return None;
    }
    let error_code = match view.outcome {
        Some("timed_out") => "IOTDA.014302",
        Some("version_mismatch") => "IOTDA.014303",
        Some("not_eligible") => "IOTDA.014304",
        Some("conflict") => "IOTDA.014305",
        Some("superseded") => "IOTDA.014306",
        // Reported by the device, or on the way to another attempt.
        _ => "IOTDA.014301",
    };
    // Begins with the published words where there are some.
    let error_msg = view.failure.clone().unwrap_or_else(|| view.explanation.clone());
    Some(SubError { error_code, error_msg })
}

/// Why a target became no deployment.
pub(super) fn refused_target(product: Option<&str>) -> SubError {
    match product {
        None => SubError { error_code: "IOTDA.014000", error_msg: "The device does not exist.".to_owned() },
        Some(product) => SubError {
            error_code: "IOTDA.014307",
            error_msg: format!("The device is of product {product}, which the packages are not for."),
        },
    }
}

/// Why something could not be done to a target; the code is the published one.
pub(super) fn not_done(verb: &str) -> SubError {
    SubError {
        error_code: "IOTDA.014219",
        error_msg: format!("The target cannot be {verb} in its current state."),
    }
}
