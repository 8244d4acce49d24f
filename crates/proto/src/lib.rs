//! Everything that can be said on the wire, as types that cannot say anything else.
//!
//! The wire is the IoTDA device protocol: MQTT topics under `$oc/devices/{device_id}/sys/`, JSON in
//! them, and a client id and password made from an hour and a secret. `docs/protocol.md` lists every
//! message and field with its source; `tests/wire/` holds one file per situation.
//!
//! Always true:
//! - Decoding is total: any bytes give a value, or an error that says what is wrong. Nothing panics.
//! - What we send has one form, byte for byte. What we hear is read tolerantly, and every departure
//!   from the published form that was accepted is named in [`Uplink::tolerances`].
//! - Every text that came from a device is bounded here, by a constant of [`limits`].
//! - No I/O, no clock, no async, no random source: the crate is `no_std` with `alloc`, so that these
//!   do not build.
//!
//! Not here: what a report means for an upgrade (that needs the deployment it belongs to), whether a
//! device may speak for another one (that needs the topology), and MQTT packets themselves.

#![no_std]
#![warn(missing_docs)]

extern crate alloc;
#[cfg(any(test, fuzzing))]
extern crate std;

mod calendar;
mod code;
mod credentials;
mod device_id;
mod downlink;
mod envelope;
mod event_time;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod json;
pub mod limits;
mod package_kind;
mod percent;
mod properties;
mod services;
mod text;
mod topic;
mod uplink;
mod version;

pub use code::{FailureCode, ResultCode, VendorCode};
pub use credentials::{
    ClientId, ClientIdError, SignWindow, Stamp, StampError, device_password, password_matches,
};
pub use device_id::{DeviceId, DeviceIdError};
pub use downlink::{
    Access, Downlink, DownlinkError, Notice, NoticeError, TaskInfo, decode_downlink, encode_downlink,
};
pub use event_time::{EventTime, format_event_time, parse_event_time};
pub use limits::*;
pub use package_kind::PackageKind;
pub use percent::{Percent, PercentOutOfRange};
pub use properties::{
    PropertiesError, ServiceProperties, decode_gateway_properties, decode_properties, decode_shadow_request,
};
pub use services::{
    Answer, ChildInfo, ChildRequest, ChildState, ChildStatus, FailedChild, FailedName, LogLine, NewChild,
    ServiceContent, ShadowService, encode_answer, encode_shadow,
};
pub use topic::{
    FilterVerdict, SystemTopic, Topic, classify, classify_filter, events_down, events_up, filter_matches,
    shadow_response,
};
pub use uplink::{
    EventBody, FieldProblem, ProgressReport, Subject, Tolerance, Uplink, UplinkError, UplinkEvent,
    VersionReport, decode_uplink, encode_progress_report, encode_version_report,
};
pub use version::{TargetVersionError, Version};
