//! Reports as a well-behaved device sends them: compact, the device named, nothing null, nothing empty.

use alloc::string::ToString;
use alloc::vec::Vec;

use super::{ProgressReport, VersionReport};
use crate::device_id::DeviceId;
use crate::event_time::format_event_time;
use crate::json::Writer;

/// The bytes of a version report of `device`, for `events/up` of the device that is connected.
///
/// Without `event_time_ms`, milliseconds since 1970, the receive time counts.
pub fn encode_version_report(
    device: &DeviceId,
    report: &VersionReport,
    event_time_ms: Option<i64>,
) -> Vec<u8> {
    encode(device, "version_report", event_time_ms, |paras| {
        if let Some(version) = &report.fw_version {
            paras.text_member("fw_version", version.as_str());
        }
        if let Some(version) = &report.sw_version {
            paras.text_member("sw_version", version.as_str());
        }
        if !report.modules.is_empty() {
            paras.key("modules");
            paras.open('[');
            for (name, version) in &report.modules {
                paras.open('{');
                paras.text_member("module_name", name);
                paras.text_member("module_version", version);
                paras.close('}');
            }
            paras.close(']');
        }
    })
}

/// The bytes of a progress report of `device`, for `events/up` of the device that is connected.
///
/// Without `event_time_ms`, milliseconds since 1970, the receive time counts. A report without a version is
/// not what the page asks for; the platform will ask for the version.
pub fn encode_progress_report(
    device: &DeviceId,
    report: &ProgressReport,
    event_time_ms: Option<i64>,
) -> Vec<u8> {
    encode(device, "upgrade_progress_report", event_time_ms, |paras| {
        paras.literal_member("result_code", &report.code.to_wire().to_string());
        if let Some(progress) = report.progress {
            paras.literal_member("progress", &progress.get().to_string());
        }
        if let Some(version) = &report.version {
            paras.text_member("version", version.as_str());
        }
        if let Some(description) = &report.description {
            paras.text_member("description", description);
        }
    })
}

fn encode(
    device: &DeviceId,
    event_type: &str,
    event_time_ms: Option<i64>,
    write_paras: impl FnOnce(&mut Writer),
) -> Vec<u8> {
    let mut out = Writer::default();
    out.open('{');
    out.text_member("object_device_id", device.as_str());
    out.key("services");
    out.open('[');
    out.open('{');
    out.text_member("service_id", "$ota");
    out.text_member("event_type", event_type);
    if let Some(unix_ms) = event_time_ms {
        out.text_member("event_time", &format_event_time(unix_ms));
    }
    out.key("paras");
    out.open('{');
    write_paras(&mut out);
    out.close('}');
    out.close('}');
    out.close(']');
    out.close('}');
    out.finish().into_bytes()
}
