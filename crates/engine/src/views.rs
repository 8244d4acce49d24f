//! What operators are shown: rows with everything derived that a reader would otherwise have to work out.

use std::sync::Arc;

use otaru_core::WallTime;
use otaru_core::campaign::PackageFacts;
use otaru_core::deployment::{Label, explain, failure};
use otaru_proto::ResultCode;
use otaru_store::{DeploymentKey, DeploymentRecord, DeviceRecord, PackageRow, ReportRecord, ReportSeq};

use crate::downloads::{DownloadActivity, DownloadView};
use crate::ids::deployment_id;

/// A device as shown.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceView {
    /// As registered, and as lived.
    pub record: DeviceRecord,
    /// It is connected, or its gateway is.
    pub online: bool,
    /// The last thing it said about upgrades.
    pub last_report: Option<ReportView>,
    /// The SDK it says it runs; asked for where one device is shown.
    pub sdk_version: Option<String>,
    /// The groups that it is in, by public id; asked for where one device is shown.
    pub group_ids: Option<Vec<String>>,
}

/// What a device is to applications, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeviceStatus {
    /// It may not connect.
    Frozen,
    /// It is connected, or its gateway is.
    Online,
    /// It was.
    Offline,
    /// It never was, and never reported.
    Inactive,
}

impl DeviceStatus {
    /// Every one.
    pub const ALL: [DeviceStatus; 4] =
        [DeviceStatus::Frozen, DeviceStatus::Online, DeviceStatus::Offline, DeviceStatus::Inactive];
}

impl DeviceView {
    /// What it is, in one word.
    #[must_use]
    pub fn status(&self) -> DeviceStatus {
        let state = &self.record.state;
        let was_here = state.connected_at.is_some() || state.last_report_at.is_some();
        match (self.record.row.frozen, self.online, was_here) {
            (true, ..) => DeviceStatus::Frozen,
            (false, true, _) => DeviceStatus::Online,
            (false, false, true) => DeviceStatus::Offline,
            (false, false, false) => DeviceStatus::Inactive,
        }
    }
}

/// A report as shown.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportView {
    /// Its place in the history.
    pub seq: ReportSeq,
    /// When it was received.
    pub received_at: WallTime,
    /// As received; bytes that are no UTF-8 are shown as the replacement character.
    pub payload: String,
    /// What we made of it.
    pub reading: serde_json::Value,
    /// Of which campaign.
    pub campaign_id: Option<String>,
}

impl ReportView {
    pub(crate) fn of(record: ReportRecord) -> ReportView {
        ReportView {
            seq: record.seq,
            received_at: record.received_at,
            payload: String::from_utf8(record.payload)
                .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
            reading: serde_json::from_str(&record.reading).unwrap_or(serde_json::Value::Null),
            campaign_id: record.campaign_id,
        }
    }
}

/// Failures that ended in the same way, as shown.
#[derive(Clone, Debug, PartialEq)]
pub struct FailuresView {
    /// How they ended.
    pub outcome: &'static str,
    /// The code of their last report.
    pub result_code: Option<i64>,
    /// What that code says.
    pub says: CodeSays,
    /// How many there are.
    pub n: u64,
    /// Some of them, the last made first.
    pub examples: Vec<DeploymentView>,
}

/// What a result code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeSays {
    /// Its stable name; `vendor` for everything outside the published table, `none` without a report.
    pub name: &'static str,
    /// In one plain sentence.
    pub phrase: &'static str,
}

impl CodeSays {
    pub(crate) fn of(code: Option<i64>) -> CodeSays {
        match code.map(ResultCode::from_wire) {
            None => CodeSays { name: "none", phrase: "The device reported no result code." },
            Some(ResultCode::OnTrack) => {
                CodeSays { name: "on_track", phrase: "Nothing had gone wrong by the device's last report." }
            }
            Some(ResultCode::Failed(code)) => CodeSays { name: code.as_str(), phrase: code.phrase() },
        }
    }
}

/// A deployment as shown.
#[derive(Clone, Debug, PartialEq)]
pub struct DeploymentView {
    /// For paging.
    pub key: DeploymentKey,
    /// 24 lower-case hex digits.
    pub deployment_id: String,
    /// On which device.
    pub device_id: String,
    /// Of which campaign.
    pub campaign_id: String,
    /// Where it is.
    pub state: &'static str,
    /// How it ended, once it has.
    pub outcome: Option<&'static str>,
    /// The code of the last report.
    pub result_code: Option<i64>,
    /// The furthest progress of this attempt, in percent.
    pub progress: Option<u8>,
    /// Which try of this run.
    pub attempt: u32,
    /// Which run: an operator's retry adds one.
    pub run: u32,
    /// The version in the last message that carried one.
    pub reported_version: Option<String>,
    /// The version that the device named first.
    pub version_before: Option<String>,
    /// The version of the package that it was to get; `None` while none was chosen.
    pub target_version: Option<String>,
    /// The device's own words.
    pub description: Option<String>,
    /// The wanted version was announced after the end.
    pub late_success: bool,
    /// How far its device came with the package, in this attempt; `None` if nothing was fetched.
    pub download: Option<DownloadView>,
    /// It is installed though the package was never fetched whole from here: a warning, for a mirror or a gateway may
    /// have brought it.
    pub unfetched_success: bool,
    /// In one plain sentence.
    pub explanation: String,
    /// Why the attempt ended without success, or the deployment.
    pub failure: Option<String>,
    /// When it last changed.
    pub updated_at: WallTime,
    /// When it was made.
    pub created_at: WallTime,
}

impl DeploymentView {
    pub(crate) fn of(
        record: DeploymentRecord,
        packages: &[Arc<PackageRow>],
        facts: &[PackageFacts],
        downloads: &DownloadActivity,
    ) -> DeploymentView {
        let deployment = &record.row.deployment;
        let package = deployment.package.and_then(|index| packages.get(usize::from(index)));
        let size_bytes =
            package.and_then(|package| package.content.artifact()).map_or(0, |(_, size_bytes)| size_bytes);
        let label = deployment.label();
        let outcome = match label {
            Label::Finished(kind) => Some(kind.name()),
            Label::Queued
            | Label::Released
            | Label::Asked
            | Label::Offered
            | Label::Running
            | Label::Confirming
            | Label::Waiting => None,
        };
        DeploymentView {
            key: record.row.key,
            deployment_id: deployment_id(record.row.created_at, record.row.key),
            device_id: record.device_id.to_string(),
            campaign_id: record.campaign_id,
            state: label.state_name(),
            outcome,
            result_code: deployment.result_code.map(|code| code.to_wire()),
            progress: deployment.progress.map(|percent| percent.get()),
            attempt: deployment.attempt,
            run: record.row.run,
            reported_version: deployment.reported_version.clone(),
            version_before: deployment.version_before.clone(),
            target_version: package.map(|package| package.version.clone()),
            description: deployment.description.clone(),
            late_success: deployment.late_success,
            download: downloads.view(record.row.key, deployment.attempt, deployment.fetched, size_bytes),
            unfetched_success: deployment.unfetched_success,
            explanation: explain(deployment, facts),
            failure: failure(deployment, facts),
            updated_at: record.row.updated_at,
            created_at: record.row.created_at,
        }
    }
}
