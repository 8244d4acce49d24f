//! What is noted beside upgrades: who did what, what could not be processed, what devices say of themselves.

use otaru_core::WallTime;
use otaru_proto::DeviceId;

/// Who did what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// Its place in the log.
    pub seq: i64,
    /// When.
    pub at: WallTime,
    /// Who.
    pub actor: String,
    /// What, in one word: `campaign_started`, `foreign_child_refused`.
    pub action: String,
    /// On what, by public id.
    pub subject: String,
}

/// An event that was kept aside because it could not be processed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantinedRow {
    /// Its place among them.
    pub seq: i64,
    /// Whose, by public id, if that was known.
    pub device_id: Option<DeviceId>,
    /// When.
    pub at: WallTime,
    /// As received, or a description.
    pub payload: Vec<u8>,
    /// What went wrong.
    pub error: String,
}

/// The properties of one service of a device, as last reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertyRow {
    /// Which service.
    pub service_id: String,
    /// The text of a JSON object.
    pub properties: String,
    /// The device's own time, as sent.
    pub event_time: Option<String>,
    /// When it was received.
    pub received_at: WallTime,
}

/// A line of a device's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRow {
    /// The device's own time, as sent.
    pub timestamp: Option<String>,
    /// What kind of line, in the device's words.
    pub kind: Option<String>,
    /// What it says.
    pub content: String,
    /// When it was received.
    pub received_at: WallTime,
}
