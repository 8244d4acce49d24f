//! The services beside `$ota` that a device may speak of on `events/up`, and what they are answered.
//!
//! Always true:
//! - What is decoded here decides nothing about an upgrade, except through who is a child of whom and whether it can
//!   be reached.
//! - Decoding is total and bounded: a list longer than published is refused as a whole, by name and number, before
//!   anything of it is done.
//! - An answer has one form, byte for byte, as every downlink: compact, no nulls, exactly one event.
//!
//! Sources: pages 3018 to 3022, 30181 to 30184 and 30233 (children), 3040 and 3041 (time), 3042 (SDK information),
//! the log, file and shadow pages; `docs/protocol.md` has the members.
//!
//! Not here: who may register what (that needs the topology), and `$ota`.

use alloc::string::String;
use alloc::vec::Vec;

use crate::uplink::FieldProblem;

mod decode;
mod encode;

pub(crate) use decode::read_contents;
pub use encode::{encode_answer, encode_shadow};

/// What an event of another service than `$ota` says, as far as a platform reacts to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceContent {
    /// `$time_sync` / `time_sync_request`: what time is it? The number is the device's, in whatever unit: Go sends
    /// seconds, Python a text.
    TimeSync {
        /// `device_send_time`, to be repeated in the answer.
        device_send_time: i64,
    },
    /// `$sub_device_manager` / `sub_device_sync_request`: which children came and went since this version?
    SyncChildren {
        /// The last version the gateway knows; 0 if it says none.
        version: i64,
    },
    /// `$sub_device_manager` / `sub_device_update_status`: these children are there, or not.
    ChildStatuses(Vec<ChildStatus>),
    /// `$sub_device_manager` / `add_sub_device_request`: register these as children.
    AddChildren(Vec<NewChild>),
    /// `$sub_device_manager` / `delete_sub_device_request`: these are children no more. Ids as sent.
    DeleteChildren(Vec<String>),
    /// `$log` / `log_report`: a line for whoever looks after the device.
    Log(LogLine),
    /// `$sdk_info` / `sdk_info_report`.
    ///
    /// The versions of firmware and software in it are not read: Java and ArkTS send null, Python an empty text, and C#
    /// a constant.
    SdkInfo {
        /// `device_sdk_version`, for example `JAVA_v1.2.1`; `None` if it says none.
        sdk_version: Option<String>,
    },
    /// `$file_manager` / `get_upload_url` or `get_download_url`: where may this file go, or come from?
    FileUrl {
        /// It wants to send a file; otherwise to fetch one.
        upload: bool,
        /// As sent; empty if it names none.
        file_name: String,
    },
    /// One of the above, but without what makes it one. Nothing follows from it but, for requests of a gateway, an
    /// answer that says so.
    Unusable {
        /// What kind of request it was.
        request: Option<ChildRequest>,
        /// What is wrong with it.
        problem: FieldProblem,
    },
}

/// The requests of a gateway that are answered by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildRequest {
    /// `sub_device_update_status`
    UpdateStatus,
    /// `add_sub_device_request`
    Add,
    /// `delete_sub_device_request`
    Delete,
}

/// What a gateway says of one child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildStatus {
    /// As sent, at most as long as a device id.
    pub device_id: String,
    /// `ONLINE` or `OFFLINE`; otherwise what stood there.
    pub online: Result<bool, String>,
}

/// A child that a gateway wants registered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewChild {
    /// The maker's own number; empty if it was missing.
    pub node_id: String,
    /// Which product; empty if it was missing.
    pub product_id: String,
    /// By default product id, underscore, node id.
    pub device_id: Option<String>,
    /// Who it is a child of, if the gateway says so; only itself is accepted.
    pub parent_device_id: Option<String>,
    /// For people.
    pub name: Option<String>,
}

impl NewChild {
    /// The id it gets.
    pub fn id(&self) -> String {
        match &self.device_id {
            Some(id) => id.clone(),
            None => alloc::format!("{}_{}", self.product_id, self.node_id),
        }
    }
}

/// One line of a device's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// The device's own time, usually milliseconds since 1970 as a text. Shown, never used to decide.
    pub timestamp: Option<String>,
    /// `DEVICE_STATUS`, `DEVICE_PROPERTY`, `DEVICE_MESSAGE`, `DEVICE_COMMAND`, or the device's own word.
    pub kind: Option<String>,
    /// What it says, cut.
    pub content: String,
}

/// What a platform answers, or tells a gateway about its children.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `time_sync_response`; times in milliseconds since 1970.
    Time {
        /// As the device sent it.
        device_send_time: i64,
        /// When the request was received.
        server_recv_time: i64,
        /// When the answer was made.
        server_send_time: i64,
    },
    /// `sub_device_update_status_response`
    StatusesUpdated {
        /// Taken note of: id and whether it is there.
        done: Vec<(String, bool)>,
        /// Not taken note of.
        failed: Vec<FailedChild>,
    },
    /// `add_sub_device_response`
    ChildrenAdded {
        /// Registered now or before.
        done: Vec<ChildInfo>,
        /// Not registered.
        failed: Vec<FailedChild>,
    },
    /// `delete_sub_device_response`
    ChildrenDeleted {
        /// Not registered any more.
        done: Vec<String>,
        /// Still as they were.
        failed: Vec<FailedChild>,
    },
    /// `add_sub_device_notify`: these are the gateway's children since `version`.
    AddedNotify {
        /// At most [`CHILDREN_PER_MESSAGE_MAX`](crate::CHILDREN_PER_MESSAGE_MAX).
        children: Vec<ChildInfo>,
        /// Grows with every change of the gateway's children.
        version: i64,
    },
    /// `delete_sub_device_notify`: these are not its children any more.
    DeletedNotify {
        /// At most [`CHILDREN_PER_MESSAGE_MAX`](crate::CHILDREN_PER_MESSAGE_MAX): node id and device id.
        children: Vec<(String, String)>,
        /// Who was their gateway.
        parent_device_id: String,
        /// Grows with every change of the gateway's children.
        version: i64,
    },
    /// `get_upload_url_response` or `get_download_url_response` without a URL: this platform keeps no files of devices.
    ///
    /// The published answer has no form for "no". An empty `url` is a text in every SDK, so that none of them stumbles,
    /// and the two members beside it say why.
    NoFiles {
        /// Which of the two.
        upload: bool,
        /// As the device sent it.
        file_name: String,
    },
}

/// A child as a gateway is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildInfo {
    /// Its gateway.
    pub parent_device_id: String,
    /// The maker's own number.
    pub node_id: String,
    /// Its id.
    pub device_id: String,
    /// For people; left out if there is none.
    pub name: Option<String>,
    /// Its product.
    pub product_id: String,
    /// As last reported; left out if not known.
    pub fw_version: Option<String>,
    /// As last reported; left out if not known.
    pub sw_version: Option<String>,
    /// Where it is.
    pub status: ChildState,
}

/// The published words for where a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildState {
    /// Its gateway said so last.
    Online,
    /// Its gateway said so last.
    Offline,
    /// Nothing was said of it yet.
    Inactive,
}

impl ChildState {
    /// As it stands on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            ChildState::Online => "ONLINE",
            ChildState::Offline => "OFFLINE",
            ChildState::Inactive => "INACTIVE",
        }
    }
}

/// A child for which a request could not be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedChild {
    /// How the answer names it: by `device_id`, or for a registration by `node_id` and `product_id`.
    pub who: FailedName,
    /// For example `IOTDA.014000`.
    pub error_code: &'static str,
    /// What is wrong and what would be accepted.
    pub error_msg: String,
}

/// How an answer names what it could not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailedName {
    /// By its id, as sent.
    Device(String),
    /// By what it was to be registered as, as sent.
    Node {
        /// The maker's own number.
        node_id: String,
        /// The product.
        product_id: String,
    },
}

/// One service of a device's shadow, as the answer to `shadow/get` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShadowService {
    /// Which service.
    pub service_id: String,
    /// The properties last reported: the text of a JSON object.
    pub reported: String,
    /// When, as the answer has it: `yyyyMMdd'T'HHmmss'Z'`.
    pub reported_at_ms: i64,
}
