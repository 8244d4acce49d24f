//! The one form of what is answered.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Answer, ChildInfo, ChildState, FailedChild, FailedName, ShadowService};
use crate::device_id::DeviceId;
use crate::event_time::format_event_time;
use crate::json::{self, Writer};

/// The bytes of an answer to the device `to`, for its own `events/down`.
///
/// `event_id` repeats the request's; the answers to a gateway must have one, notices and the time have none.
/// `event_time_ms` is in milliseconds since 1970. The same arguments always give the same bytes.
pub fn encode_answer(to: &DeviceId, answer: &Answer, event_id: Option<&str>, event_time_ms: i64) -> Vec<u8> {
    let (service_id, event_type) = match answer {
        Answer::Time { .. } => ("$time_sync", "time_sync_response"),
        Answer::StatusesUpdated { .. } => ("$sub_device_manager", "sub_device_update_status_response"),
        Answer::ChildrenAdded { .. } => ("$sub_device_manager", "add_sub_device_response"),
        Answer::ChildrenDeleted { .. } => ("$sub_device_manager", "delete_sub_device_response"),
        Answer::AddedNotify { .. } => ("$sub_device_manager", "add_sub_device_notify"),
        Answer::DeletedNotify { .. } => ("$sub_device_manager", "delete_sub_device_notify"),
        Answer::NoFiles { upload: true, .. } => ("$file_manager", "get_upload_url_response"),
        Answer::NoFiles { upload: false, .. } => ("$file_manager", "get_download_url_response"),
    };
    let mut out = Writer::default();
    out.open('{');
    out.text_member("object_device_id", to.as_str());
    out.key("services");
    out.open('[');
    out.open('{');
    out.text_member("service_id", service_id);
    out.text_member("event_type", event_type);
    out.text_member("event_time", &format_event_time(event_time_ms));
    if let Some(event_id) = event_id {
        out.text_member("event_id", event_id);
    }
    out.key("paras");
    out.open('{');
    write_paras(&mut out, answer);
    out.close('}');
    out.close('}');
    out.close(']');
    out.close('}');
    out.finish().into_bytes()
}

/// The bytes of an answer to `shadow/get`, for `shadow/get/response` with the request's id in the topic.
///
/// `about` is the device asked about. What it reported last stands under `reported`; nothing is ever desired of it, so
/// `desired` is empty. A `reported` that is no JSON object is left out with its service.
pub fn encode_shadow(about: &DeviceId, services: &[ShadowService]) -> Vec<u8> {
    let mut out = Writer::default();
    out.open('{');
    out.text_member("object_device_id", about.as_str());
    out.key("shadow");
    out.open('[');
    for service in services {
        let Some(reported) = json::compact_object(&service.reported) else { continue };
        let at = format_event_time(service.reported_at_ms);
        out.open('{');
        out.text_member("service_id", &service.service_id);
        write_side(&mut out, "desired", "{}", &at);
        write_side(&mut out, "reported", &reported, &at);
        out.literal_member("version", "0");
        out.close('}');
    }
    out.close(']');
    out.close('}');
    out.finish().into_bytes()
}

fn write_side(out: &mut Writer, name: &str, properties: &str, at: &str) {
    out.key(name);
    out.open('{');
    out.literal_member("properties", properties);
    out.text_member("event_time", at);
    out.close('}');
}

fn write_paras(out: &mut Writer, answer: &Answer) {
    match answer {
        Answer::Time { device_send_time, server_recv_time, server_send_time } => {
            out.literal_member("device_send_time", &device_send_time.to_string());
            out.literal_member("server_recv_time", &server_recv_time.to_string());
            out.literal_member("server_send_time", &server_send_time.to_string());
        }
        Answer::StatusesUpdated { done, failed } => {
            write_list(out, "successful_devices", done, |out, (device_id, online)| {
                let state = if *online { ChildState::Online } else { ChildState::Offline };
                out.open('{');
                out.text_member("device_id", device_id);
                out.text_member("status", state.as_str());
                out.close('}');
            });
            write_list(out, "failed_devices", failed, write_failed);
        }
        Answer::ChildrenAdded { done, failed } => {
            write_list(out, "successful_devices", done, write_child);
            write_list(out, "failed_devices", failed, write_failed);
        }
        Answer::ChildrenDeleted { done, failed } => {
            write_list(out, "successful_devices", done, |out: &mut Writer, id: &String| out.text(id));
            write_list(out, "failed_devices", failed, write_failed);
        }
        Answer::AddedNotify { children, version } => {
            write_list(out, "devices", children, write_child);
            out.literal_member("version", &version.to_string());
        }
        Answer::DeletedNotify { children, parent_device_id, version } => {
            write_list(out, "devices", children, |out, (node_id, device_id)| {
                out.open('{');
                out.text_member("parent_device_id", parent_device_id);
                out.text_member("node_id", node_id);
                out.text_member("device_id", device_id);
                out.close('}');
            });
            out.literal_member("version", &version.to_string());
        }
        Answer::NoFiles { file_name, .. } => {
            out.text_member("url", "");
            out.text_member("bucket_name", "");
            out.text_member("object_name", file_name);
            out.literal_member("expire", "0");
            out.text_member("error_code", "IOTDA.000029");
            out.text_member("error_msg", "This platform keeps no files of devices.");
        }
    }
}

fn write_list<T>(out: &mut Writer, name: &str, items: &[T], write: impl Fn(&mut Writer, &T)) {
    out.key(name);
    out.open('[');
    for item in items {
        write(out, item);
    }
    out.close(']');
}

fn write_child(out: &mut Writer, child: &ChildInfo) {
    out.open('{');
    out.text_member("parent_device_id", &child.parent_device_id);
    out.text_member("node_id", &child.node_id);
    out.text_member("device_id", &child.device_id);
    if let Some(name) = &child.name {
        out.text_member("name", name);
    }
    out.text_member("product_id", &child.product_id);
    if let Some(version) = &child.fw_version {
        out.text_member("fw_version", version);
    }
    if let Some(version) = &child.sw_version {
        out.text_member("sw_version", version);
    }
    out.text_member("status", child.status.as_str());
    out.close('}');
}

fn write_failed(out: &mut Writer, failed: &FailedChild) {
    out.open('{');
    match &failed.who {
        FailedName::Device(device_id) => out.text_member("device_id", device_id),
        FailedName::Node { node_id, product_id } => {
            out.text_member("node_id", node_id);
            out.text_member("product_id", product_id);
        }
    }
    out.text_member("error_code", failed.error_code);
    out.text_member("error_msg", &failed.error_msg);
    out.close('}');
}
