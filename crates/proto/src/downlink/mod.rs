//! What a device is told on `events/down`: to say its version, or to upgrade.
//!
//! Always true:
//! - What we send has one form, byte for byte: compact JSON, one event, members in a fixed order, numbers as
//!   numbers, no nulls. Each rule is there for an SDK; see [`encode_downlink`].
//! - A notice names no attempt, so a device cannot know a repeated one: it runs it again.
//!
//! Not here: when to say any of this, and answers of other services than `$ota`.

use alloc::string::String;

use crate::device_id::DeviceIdError;
use crate::json;
use crate::limits::{
    CUSTOM_INFO_CHARS_MAX, DEPTH_MAX, DOWNLINK_BYTES_MAX, DOWNLINK_INT_MAX, SIGN_CHARS, TASK_EXT_CHARS_MAX,
};
use crate::package_kind::PackageKind;
use crate::text;
use crate::uplink::FieldProblem;
use crate::version::{TargetVersionError, Version};

mod decode;
mod encode;

pub use decode::decode_downlink;
pub use encode::encode_downlink;

/// A message to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Downlink {
    /// `version_query`: say what you run. The device answers with both versions; the query does not say
    /// which one is meant.
    VersionQuery {
        /// For a gateway: the task the question is part of.
        task: Option<TaskInfo>,
    },
    /// `firmware_upgrade`, `software_upgrade` and their `_v2`: here is a package, upgrade.
    Notice(Notice),
}

/// What a device is told about the task a message belongs to; published in 2024.
///
/// The first two are for gateways; outside gateway mode only the third occurs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskInfo {
    /// `task_id`, for example 24 hexadecimal digits; left out if empty.
    pub task_id: String,
    /// `sub_device_count`: how many children of this gateway are in the task; left out if 0.
    pub sub_device_count: u32,
    /// `task_ext_info`: the text of a JSON object, from whoever made the task. The C SDK cannot read it and
    /// takes no harm.
    pub ext: Option<String>,
}

/// The message that tells a device to upgrade.
///
/// Published as: `version`, `url`, `file_size`, `file_name` and `sign` required, `access_token`, `expires`
/// and `custom_info` optional; the 2023 text has no `file_name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What is upgraded; with [`Notice::access`] it chooses the event type.
    pub kind: PackageKind,
    /// How the package is fetched.
    pub access: Access,
    /// The version the device shall run afterwards.
    pub version: String,
    /// Where the package is. The C SDK needs an explicit port, and for [`Access::SignedUrl`] a `?`; there
    /// the URL itself is the secret.
    pub url: String,
    /// Bytes of the package, at most 2³¹−1.
    pub file_size: u64,
    /// A plain file name. Empty only in a notice that was heard without one; the C# SDK fails without it.
    pub file_name: String,
    /// For how many seconds the package can be fetched; 0 in a notice that was heard without it.
    pub expires_secs: u32,
    /// SHA-256 of the package, 64 lower-case hexadecimal digits: Python, C and C# compare exactly.
    pub sign: String,
    /// Free text of the package for the device. Always sent as text: the Java SDK fails on an object.
    pub custom_info: Option<String>,
    /// For a gateway: the task the notice is part of.
    pub task: Option<TaskInfo>,
}

/// How the package of a notice is fetched.
#[derive(Clone, PartialEq, Eq)]
pub enum Access {
    /// With `Authorization: Bearer {token}`; `firmware_upgrade` and `software_upgrade`.
    Token(String),
    /// With the URL alone; `firmware_upgrade_v2` and `software_upgrade_v2`. The Java and Python samples do
    /// not check `sign` in this form.
    SignedUrl,
}

/// A token is a secret; it is not printed.
impl core::fmt::Debug for Access {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Access::Token(_) => "Token(…)",
            Access::SignedUrl => "SignedUrl",
        })
    }
}

/// Why a notice should not be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoticeError {
    /// The version is none a package can have.
    #[error("notice names no usable version")]
    Version(#[source] TargetVersionError),
    /// A member that devices cannot do without is empty.
    #[error("notice has an empty `{field}`")]
    Empty {
        /// The member's name on the wire.
        field: &'static str,
    },
    /// A number that devices would read into 32 bits does not fit there.
    #[error("`{field}` is {found}; at most {DOWNLINK_INT_MAX} fits into what devices read it into")]
    TooBig {
        /// The member's name on the wire.
        field: &'static str,
        /// Its value.
        found: u64,
    },
    /// A text is longer than published.
    #[error("`{field}` has more than {chars_max} characters")]
    TooLong {
        /// The member's name on the wire.
        field: &'static str,
        /// How many it may have.
        chars_max: usize,
    },
    /// The hash is not written as devices compare it.
    #[error("`sign` is not {SIGN_CHARS} lower-case hexadecimal digits")]
    Sign,
    /// The file name contains a path.
    #[error("`file_name` is {found:?}; a plain name without a path is expected")]
    FileName {
        /// As given.
        found: String,
    },
    /// The task's text is not a JSON object.
    #[error("`task_ext_info` is not a JSON object")]
    TaskExt,
}

impl Notice {
    /// The event type: `firmware_upgrade`, `software_upgrade`, `firmware_upgrade_v2` or
    /// `software_upgrade_v2`.
    pub fn event_type(&self) -> &'static str {
        match (self.kind, &self.access) {
            (PackageKind::Firmware, Access::Token(_)) => "firmware_upgrade",
            (PackageKind::Software, Access::Token(_)) => "software_upgrade",
            (PackageKind::Firmware, Access::SignedUrl) => "firmware_upgrade_v2",
            (PackageKind::Software, Access::SignedUrl) => "software_upgrade_v2",
        }
    }

    /// Whether every SDK can take this notice, as far as the notice itself can tell.
    ///
    /// To be asked before sending; encoding does not ask. What only the C downloader wants of a URL is not
    /// asked here, because it is a matter of the fleet.
    ///
    /// # Errors
    ///
    /// The first thing that some device could not read.
    pub fn check(&self) -> Result<(), NoticeError> {
        Version::parse_target(&self.version).map_err(NoticeError::Version)?;
        let token = match &self.access {
            Access::Token(token) => token.as_str(),
            Access::SignedUrl => "-",
        };
        for (field, text) in
            [("url", self.url.as_str()), ("file_name", &self.file_name), ("access_token", token)]
        {
            if text.is_empty() {
                return Err(NoticeError::Empty { field });
            }
        }
        if self.file_name.contains(['/', '\\', '\0']) || self.file_name == "." || self.file_name == ".." {
            return Err(NoticeError::FileName { found: self.file_name.clone() });
        }
        fits("file_size", self.file_size)?;
        fits("expires", u64::from(self.expires_secs))?;
        let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if self.sign.len() != SIGN_CHARS || !self.sign.bytes().all(lower_hex) {
            return Err(NoticeError::Sign);
        }
        if self.custom_info.as_deref().is_some_and(|info| text::cut(info, CUSTOM_INFO_CHARS_MAX).1) {
            return Err(NoticeError::TooLong { field: "custom_info", chars_max: CUSTOM_INFO_CHARS_MAX });
        }
        self.task.as_ref().map_or(Ok(()), TaskInfo::check)
    }
}

impl TaskInfo {
    /// Whether a gateway can take this; see [`Notice::check`].
    ///
    /// # Errors
    ///
    /// The first thing that some device could not read.
    pub fn check(&self) -> Result<(), NoticeError> {
        fits("sub_device_count", u64::from(self.sub_device_count))?;
        let Some(ext) = &self.ext else { return Ok(()) };
        if text::cut(ext, TASK_EXT_CHARS_MAX).1 {
            return Err(NoticeError::TooLong { field: "task_ext_info", chars_max: TASK_EXT_CHARS_MAX });
        }
        json::compact_object(ext).map(|_| ()).ok_or(NoticeError::TaskExt)
    }
}

fn fits(field: &'static str, found: u64) -> Result<(), NoticeError> {
    if found > DOWNLINK_INT_MAX { Err(NoticeError::TooBig { field, found }) } else { Ok(()) }
}

/// Why an agent could not read a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DownlinkError {
    /// No bytes, or only white space.
    #[error("message is empty; a JSON object is expected")]
    Empty,
    /// More than [`DOWNLINK_BYTES_MAX`].
    #[error("message has {bytes} bytes; at most {DOWNLINK_BYTES_MAX} are read")]
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
    /// There is no event in it.
    #[error("message has no event; `services` with one event is expected")]
    NoEvent,
    /// An event of another service, or without a name. Nothing to do for an upgrade agent.
    #[error("event {service_id}/{event_type} is not about upgrades")]
    OtherService {
        /// As sent, cut to 64 characters; empty if absent.
        service_id: String,
        /// As sent, cut to 64 characters; empty if absent.
        event_type: String,
    },
    /// An `$ota` event type that no published page has.
    #[error("event type {event_type:?} is not known")]
    UnknownOta {
        /// As sent, cut to 64 characters.
        event_type: String,
    },
    /// `object_device_id` can be no device.
    #[error("`object_device_id` is no device id")]
    Subject(#[source] DeviceIdError),
    /// A member that the message cannot do without.
    #[error("{event_type} cannot be used")]
    Field {
        /// Which message.
        event_type: String,
        /// What is wrong with it.
        #[source]
        problem: FieldProblem,
    },
}
