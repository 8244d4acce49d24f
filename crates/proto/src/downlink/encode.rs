//! The one form of what we tell devices.

use alloc::string::ToString;
use alloc::vec::Vec;

use super::{Access, Downlink, Notice, TaskInfo};
use crate::device_id::DeviceId;
use crate::event_time::format_event_time;
use crate::json::{self, Writer};

/// The bytes of a message to the device `to`, for `events/down` of the device that is connected: `to`
/// itself, or its gateway.
///
/// The same arguments always give the same bytes. What it obeys, and for whom:
/// - `object_device_id` is always there: the C SDK otherwise answers as `-1`.
/// - `paras` is always an object: Java and C# hand a null one to the application.
/// - Exactly one event: the C SDK handles three at most, and a bad one spoils the others.
/// - Numbers are numbers, for C#, Java and Go.
/// - No null members: C# fails on a null number.
/// - `file_name` is always there: C# names its download by it.
///
/// `event_time_ms` is in milliseconds since 1970. A `task_ext_info` that is no JSON object, or an empty one,
/// is left out; [`Notice::check`] finds the former.
pub fn encode_downlink(to: &DeviceId, downlink: &Downlink, event_time_ms: i64) -> Vec<u8> {
    let event_type = match downlink {
        Downlink::VersionQuery { .. } => "version_query",
        Downlink::Notice(notice) => notice.event_type(),
    };
    let mut out = Writer::default();
    out.open('{');
    out.text_member("object_device_id", to.as_str());
    out.key("services");
    out.open('[');
    out.open('{');
    out.text_member("service_id", "$ota");
    out.text_member("event_type", event_type);
    out.text_member("event_time", &format_event_time(event_time_ms));
    out.key("paras");
    out.open('{');
    match downlink {
        Downlink::VersionQuery { task } => write_task(&mut out, task.as_ref()),
        Downlink::Notice(notice) => write_notice(&mut out, notice),
    }
    out.close('}');
    out.close('}');
    out.close(']');
    out.close('}');
    out.finish().into_bytes()
}

fn write_notice(out: &mut Writer, notice: &Notice) {
    out.text_member("version", &notice.version);
    out.text_member("url", &notice.url);
    out.literal_member("file_size", &notice.file_size.to_string());
    out.text_member("file_name", &notice.file_name);
    if let Access::Token(token) = &notice.access {
        out.text_member("access_token", token);
    }
    out.literal_member("expires", &notice.expires_secs.to_string());
    out.text_member("sign", &notice.sign);
    if let Some(info) = &notice.custom_info {
        out.text_member("custom_info", info);
    }
    write_task(out, notice.task.as_ref());
}

fn write_task(out: &mut Writer, task: Option<&TaskInfo>) {
    let Some(task) = task else { return };
    if !task.task_id.is_empty() {
        out.text_member("task_id", &task.task_id);
    }
    if task.sub_device_count > 0 {
        out.literal_member("sub_device_count", &task.sub_device_count.to_string());
    }
    if let Some(ext) = task.ext.as_deref().and_then(json::compact_object)
        && ext != "{}"
    {
        out.literal_member("task_ext_info", &ext);
    }
}
