//! From the parameters of other services to what they say.
//!
//! This is a second pass over the message, made only when it has such an event, so that reports of upgrades pay
//! nothing for it.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::de::MapAccess;
use serde_json::Value;

use super::{ChildRequest, ChildStatus, LogLine, NewChild, ServiceContent};
use crate::envelope::{Envelope, Members, Paras, Service, Services};
use crate::json::{self, Scalar};
use crate::limits::{
    CHILD_STATUSES_MAX, CHILDREN_PER_REQUEST_MAX, DEVICE_ID_CHARS_MAX, FILE_NAME_CHARS_MAX, FOUND_CHARS_MAX,
    LOG_CONTENT_CHARS_MAX, NAME_CHARS_MAX, PERSONAL_NAME_CHARS_MAX, SDK_VERSION_CHARS_MAX,
};
use crate::text::bounded;
use crate::uplink::{EventBody, FieldProblem, UplinkEvent};

/// Adds to the events of other services what they say, where this platform knows them.
pub(crate) fn read_contents(text: &str, events: &mut [UplinkEvent]) {
    if !events.iter().any(is_known) {
        return;
    }
    // Read before without an error, so that it can be read again.
    let Ok(envelope) = json::read_object_of::<Envelope<'_, Tree>>(text) else { return };
    let services = match envelope.services {
        Services::List(services) => services,
        Services::Single(service) => alloc::vec![service],
        Services::Absent | Services::Null | Services::TooMany | Services::Wrong(_) => return,
    };
    for (event, service) in events.iter_mut().zip(services) {
        if is_known(event)
            && let EventBody::OtherService { content, .. } = &mut event.body
        {
            *content = read_content(&service).map(Box::new);
        }
    }
}

fn is_known(event: &UplinkEvent) -> bool {
    match &event.body {
        EventBody::OtherService { service_id, event_type, .. } => known(service_id, event_type).is_some(),
        EventBody::VersionReport(_)
        | EventBody::ProgressReport(_)
        | EventBody::UnknownOta { .. }
        | EventBody::Nameless
        | EventBody::Rejected { .. } => false,
    }
}

type Reader = fn(&Tree) -> Result<ServiceContent, FieldProblem>;

/// How an event is read, and which request of a gateway it is.
fn known(service_id: &str, event_type: &str) -> Option<(Reader, Option<ChildRequest>)> {
    let reader: (Reader, Option<ChildRequest>) = match (service_id, event_type) {
        ("$time_sync", "time_sync_request") => (time_sync, None),
        // Java and Android gateways leave the dollar sign out.
        ("$sub_device_manager" | "sub_device_manager", request) => match request {
            "sub_device_sync_request" => (sync, None),
            "sub_device_update_status" => (statuses, Some(ChildRequest::UpdateStatus)),
            "add_sub_device_request" => (add, Some(ChildRequest::Add)),
            "delete_sub_device_request" => (delete, Some(ChildRequest::Delete)),
            _ => return None,
        },
        ("$log", "log_report") => (log, None),
        ("$sdk_info", "sdk_info_report") => (sdk_info, None),
        ("$file_manager", "get_upload_url") => (upload_url, None),
        ("$file_manager", "get_download_url") => (download_url, None),
        _ => return None,
    };
    Some(reader)
}

fn read_content(service: &Service<'_, Tree>) -> Option<ServiceContent> {
    let (reader, request) = known(service.service_id.non_empty()?, service.event_type.non_empty()?)?;
    let none = Tree::default();
    let read = match &service.paras {
        Paras::Object(paras) => reader(paras),
        Paras::Absent | Paras::Null => reader(&none),
        Paras::Wrong(found) => {
            Err(FieldProblem { field: "paras", found: (*found).to_string(), accepted: "an object" })
        }
    };
    Some(read.unwrap_or_else(|problem| ServiceContent::Unusable { request, problem }))
}

fn time_sync(paras: &Tree) -> Result<ServiceContent, FieldProblem> {
    let device_send_time = paras.integer("device_send_time")?.ok_or_else(|| FieldProblem {
        field: "device_send_time",
        found: Scalar::Absent.kind().to_string(),
        accepted: "an integer, in milliseconds since 1970,",
    })?;
    Ok(ServiceContent::TimeSync { device_send_time })
}

fn sync(paras: &Tree) -> Result<ServiceContent, FieldProblem> {
    let version = paras.integer("version")?.unwrap_or(0).max(0);
    Ok(ServiceContent::SyncChildren { version })
}

fn statuses(paras: &Tree) -> Result<ServiceContent, FieldProblem> {
    let list = paras.list("device_statuses", CHILD_STATUSES_MAX, "a list of 1 to 100 statuses")?;
    let statuses = list.iter().map(|entry| {
        let status = text_of(entry, "status", NAME_CHARS_MAX).unwrap_or_default();
        ChildStatus {
            device_id: text_of(entry, "device_id", DEVICE_ID_CHARS_MAX).unwrap_or_default(),
            online: match status.as_str() {
                "ONLINE" => Ok(true),
                "OFFLINE" => Ok(false),
                _ => Err(status),
            },
        }
    });
    Ok(ServiceContent::ChildStatuses(statuses.collect()))
}

fn add(paras: &Tree) -> Result<ServiceContent, FieldProblem> {
    let list = paras.list("devices", CHILDREN_PER_REQUEST_MAX, "a list of 1 to 50 devices")?;
    let children = list.iter().map(|entry| NewChild {
        node_id: text_of(entry, "node_id", DEVICE_ID_CHARS_MAX).unwrap_or_default(),
        product_id: text_of(entry, "product_id", DEVICE_ID_CHARS_MAX).unwrap_or_default(),
        device_id: text_of(entry, "device_id", DEVICE_ID_CHARS_MAX),
        parent_device_id: text_of(entry, "parent_device_id", DEVICE_ID_CHARS_MAX),
        name: text_of(entry, "name", PERSONAL_NAME_CHARS_MAX),
    });
    Ok(ServiceContent::AddChildren(children.collect()))
}

fn delete(paras: &Tree) -> Result<ServiceContent, FieldProblem> {
    let list = paras.list("devices", CHILDREN_PER_REQUEST_MAX, "a list of 1 to 50 device ids")?;
    let ids = list.iter().map(|entry| bounded(entry.as_str().unwrap_or_default(), DEVICE_ID_CHARS_MAX));
    Ok(ServiceContent::DeleteChildren(ids.collect()))
}

fn log(paras: &Tree) -> Result<ServiceContent, FieldProblem> {
    let content = match paras.get("content") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => bounded(text, LOG_CONTENT_CHARS_MAX),
        Some(other) => bounded(&other.to_string(), LOG_CONTENT_CHARS_MAX),
    };
    let timestamp = match paras.get("timestamp") {
        Some(Value::Number(number)) => Some(number.to_string()),
        Some(_) | None => paras.text("timestamp", NAME_CHARS_MAX),
    };
    Ok(ServiceContent::Log(LogLine { timestamp, kind: paras.text("type", NAME_CHARS_MAX), content }))
}

fn sdk_info(paras: &Tree) -> Result<ServiceContent, FieldProblem> {
    Ok(ServiceContent::SdkInfo { sdk_version: paras.text("device_sdk_version", SDK_VERSION_CHARS_MAX) })
}

fn upload_url(paras: &Tree) -> Result<ServiceContent, FieldProblem> {
    Ok(ServiceContent::FileUrl { upload: true, file_name: paras.file_name() })
}

fn download_url(paras: &Tree) -> Result<ServiceContent, FieldProblem> {
    Ok(ServiceContent::FileUrl { upload: false, file_name: paras.file_name() })
}

/// All members of `paras`. Of two with the same name the last one counts.
#[derive(Default)]
struct Tree(Vec<(String, Value)>);

impl<'de> Members<'de> for Tree {
    fn take<A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        let value = object.next_value()?;
        self.0.push((name.to_string(), value));
        Ok(())
    }
}

impl Tree {
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// A text that is not empty.
    fn text(&self, name: &str, chars_max: usize) -> Option<String> {
        self.get(name).and_then(|value| usable_text(value, chars_max))
    }

    fn file_name(&self) -> String {
        self.text("file_name", FILE_NAME_CHARS_MAX).unwrap_or_default()
    }

    /// An integer; Python writes one as a text. `None` if it is absent or null.
    fn integer(&self, field: &'static str) -> Result<Option<i64>, FieldProblem> {
        let integer = match self.get(field) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Number(number)) => number.as_i64(),
            Some(Value::String(text)) => text.parse().ok(),
            Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => None,
        };
        match (integer, self.get(field)) {
            (Some(integer), _) => Ok(Some(integer)),
            (None, found) => Err(FieldProblem { field, found: found_text(found), accepted: "an integer" }),
        }
    }

    /// A list of 1 to `most` elements.
    fn list(
        &self,
        field: &'static str,
        most: usize,
        accepted: &'static str,
    ) -> Result<&[Value], FieldProblem> {
        let problem = |found: String| FieldProblem { field, found, accepted };
        match self.get(field) {
            Some(Value::Array(list)) if list.is_empty() => Err(problem("an empty list".to_string())),
            Some(Value::Array(list)) if list.len() > most => {
                Err(problem(alloc::format!("a list of {}", list.len())))
            }
            Some(Value::Array(list)) => Ok(list),
            found => Err(problem(found_text(found))),
        }
    }
}

fn text_of(entry: &Value, name: &str, chars_max: usize) -> Option<String> {
    entry.get(name).and_then(|value| usable_text(value, chars_max))
}

fn usable_text(value: &Value, chars_max: usize) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(|text| bounded(text, chars_max))
}

/// A value for an error message, cut; of lists and objects only that they were there.
fn found_text(value: Option<&Value>) -> String {
    let found = match value {
        None => Scalar::Absent.kind().to_string(),
        Some(Value::Array(_)) => Scalar::List.kind().to_string(),
        Some(Value::Object(_)) => Scalar::Object.kind().to_string(),
        Some(value @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_))) => {
            value.to_string()
        }
    };
    bounded(&found, FOUND_CHARS_MAX)
}
