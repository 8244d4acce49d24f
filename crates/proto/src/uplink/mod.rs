//! What devices say on `events/up`: version reports, progress reports, and much that is not about upgrades.
//!
//! Always true:
//! - An [`Uplink`] is what the message says, in its order. Whether the sender may say it, and what it
//!   means for an upgrade, is decided elsewhere.
//! - One unusable event does not spoil the others of its message.
//! - Every text is bounded, and every departure from the published form is named once.
//!
//! Not here: payloads of other topics, and the content of events of other services than `$ota` (`services`).

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::code::ResultCode;
use crate::device_id::DeviceId;
use crate::event_time::EventTime;
use crate::limits::{DEPTH_MAX, SERVICES_MAX, UPLINK_BYTES_MAX};
use crate::percent::Percent;
use crate::services::ServiceContent;
use crate::version::Version;

mod decode;
mod encode;
mod quick;
mod tolerance;

#[cfg(any(test, fuzzing))]
pub(crate) use decode::decode_any;
pub use decode::decode_uplink;
pub use encode::{encode_progress_report, encode_version_report};
pub use tolerance::Tolerance;

/// One message from `events/up`.
#[derive(Clone, Debug, PartialEq)]
pub struct Uplink {
    /// Which device it is about.
    pub subject: Subject,
    /// What is reported, in the order of the message. Empty if `services` was absent, null or empty.
    pub events: Vec<UplinkEvent>,
    /// Every departure from the published form that was accepted, each named once, in the order met.
    pub tolerances: Vec<Tolerance>,
}

/// Which device a message is about: `object_device_id`.
///
/// Published since 2024 as required for a child behind a gateway, who must be a child of the connected
/// device; a device that speaks for itself names itself or leaves it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The device that is connected: absent, null, empty, or the C SDK's `-1`.
    Connected,
    /// The device named, which may be the connected one, a child of it, or neither.
    Named(DeviceId),
    /// Something that cannot be a device id, as sent or as JSON type, at most 128 characters. Nothing in
    /// such a message may touch any device.
    Unusable(String),
}

/// One element of `services`.
#[derive(Clone, Debug, PartialEq)]
pub struct UplinkEvent {
    /// What is reported.
    pub body: EventBody,
    /// When, according to the device. Shown, never used to decide.
    pub event_time: EventTime,
    /// The sender's id of the event, at most 128 characters; null and empty ones are left out.
    pub event_id: Option<String>,
}

/// What an event reports.
#[derive(Clone, Debug, PartialEq)]
pub enum EventBody {
    /// `$ota` / `version_report`: what the device runs.
    VersionReport(VersionReport),
    /// `$ota` / `upgrade_progress_report`: how an upgrade is going.
    ProgressReport(ProgressReport),
    /// Another service than `$ota`, known or unknown; names cut to 64 characters.
    OtherService {
        /// For example `$sdk_info`.
        service_id: String,
        /// For example `sdk_info_report`.
        event_type: String,
        /// What it says, if a platform reacts to it.
        content: Option<Box<ServiceContent>>,
    },
    /// `$ota` with an event type that no published page has.
    UnknownOta {
        /// As sent, cut to 64 characters.
        event_type: String,
    },
    /// `service_id` or `event_type` is absent, null, empty or no text, or the element is no object. Java
    /// gateways send such events for children they have nothing to say about.
    Nameless,
    /// A report that misses what makes it one. It must change nothing.
    Rejected {
        /// `version_report` or `upgrade_progress_report`.
        event_type: String,
        /// What is wrong with it.
        problem: FieldProblem,
    },
}

/// `paras` of a `version_report`.
///
/// Published as: `paras` required, `fw_version` and `sw_version` optional. A missing one says nothing about
/// that version. The Java SDK puts one and the same text into both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionReport {
    /// Firmware; `None` if absent, null or empty.
    pub fw_version: Option<Version>,
    /// Software; `None` if absent, null or empty.
    pub sw_version: Option<Version>,
    /// Name and version of custom modules, at most ten.
    ///
    /// No device-side page has this member: the shape is that of the application side. Elements of any other
    /// shape are left out.
    pub modules: Vec<(String, String)>,
}

/// `paras` of an `upgrade_progress_report`.
///
/// Published as: `result_code` and `version` required, `progress` and `description` optional.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgressReport {
    /// Whether anything has gone wrong. [`ResultCode::OnTrack`] with 100 % is not yet success.
    pub code: ResultCode,
    /// How far; `None` if absent, null or unusable.
    pub progress: Option<Percent>,
    /// `progress` was there, and not null, but is no whole number from 0 to 100. Such a report says that the
    /// upgrade is under way; an absent `progress` leaves room for "done". Never encoded.
    pub progress_unusable: bool,
    /// What the device runs, according to this report; `None` if absent, null or empty. In reports of failure
    /// some SDKs put the version they were going to install.
    pub version: Option<Version>,
    /// Free text, at most 1024 characters; `None` if absent, null or empty.
    pub description: Option<String>,
}

/// A member that makes its event unusable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldProblem {
    /// The member's name.
    pub field: &'static str,
    /// What was there: `missing`, `null`, or the value, cut to 64 characters; of a list or an object only
    /// that it was one.
    pub found: String,
    /// What would have been accepted, for example `an integer`.
    pub accepted: &'static str,
}

/// "`result_code` is missing; an integer is accepted"
impl fmt::Display for FieldProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is {}; {} is accepted", self.field, self.found, self.accepted)
    }
}

impl core::error::Error for FieldProblem {}

/// Why a message could not be read at all. To be counted and logged; the device keeps its connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UplinkError {
    /// No bytes, or only white space.
    #[error("message is empty; a JSON object is expected")]
    Empty,
    /// More than [`UPLINK_BYTES_MAX`].
    #[error("message has {bytes} bytes; at most {UPLINK_BYTES_MAX} are read")]
    TooLarge {
        /// How many.
        bytes: usize,
    },
    /// Not text.
    #[error("message is not UTF-8 from byte {at} on")]
    NotUtf8 {
        /// Offset of the first byte that is not.
        at: usize,
    },
    /// Text, but not JSON.
    #[error("message is not JSON at line {line}, column {column}: {problem}")]
    NotJson {
        /// Counted from 1.
        line: usize,
        /// Counted from 1, in bytes.
        column: usize,
        /// What the parser expected.
        problem: String,
    },
    /// JSON, but a list, a text, a number.
    #[error("message is {found}; a JSON object is expected")]
    NotAnObject {
        /// Its JSON type.
        found: &'static str,
    },
    /// More than [`DEPTH_MAX`] levels.
    #[error("message is nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// `services` is neither a list nor an object.
    #[error("`services` is {found}; a list of events is expected")]
    Services {
        /// Its JSON type.
        found: &'static str,
    },
    /// More than [`SERVICES_MAX`] events.
    #[error("`services` has more than {SERVICES_MAX} events")]
    TooManyServices,
}

impl UplinkError {
    /// The stable name, for metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            UplinkError::Empty => "empty",
            UplinkError::TooLarge { .. } => "too_large",
            UplinkError::NotUtf8 { .. } => "not_utf8",
            UplinkError::NotJson { .. } => "not_json",
            UplinkError::NotAnObject { .. } => "not_an_object",
            UplinkError::TooDeep => "too_deep",
            UplinkError::Services { .. } => "services",
            UplinkError::TooManyServices => "too_many_services",
        }
    }
}
