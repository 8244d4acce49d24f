//! What an agent hears: our own form, and the forms the public pages and older platforms have.

use alloc::string::String;
use core::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Access, Downlink, DownlinkError, Notice, TaskInfo};
use crate::device_id::DeviceId;
use crate::envelope::{Envelope, Members, Paras, Service, Services, skip};
use crate::json::{self, Compact, Scalar, Unreadable, skip_list, visit_scalars};
use crate::limits::{DOWNLINK_BYTES_MAX, NAME_CHARS_MAX, SIGN_CHARS};
use crate::package_kind::PackageKind;
use crate::text::bounded;
use crate::uplink::FieldProblem;

/// Reads one message from `events/down`, as an upgrade agent does. Total: any bytes give a message or an
/// error.
///
/// Returns the device it is for, `None` if none is named, and the first `$ota` event; the platform never
/// sends two. Absent and null members are the same. `file_name` (unknown to the 2023 text), `expires` and
/// all of `paras` of a query may be absent; a notice of the first form without `access_token` is fetched
/// with its URL alone. `sign` is taken in either case and handed on in lower case.
///
/// # Errors
///
/// There is nothing in it that an upgrade agent could act on. Never a reason to disconnect.
pub fn decode_downlink(bytes: &[u8]) -> Result<(Option<DeviceId>, Downlink), DownlinkError> {
    let envelope: Envelope<'_, DownParas<'_>> = json::read_object(bytes, DOWNLINK_BYTES_MAX)?;
    let subject = read_subject(&envelope.subject)?;
    let mut services = match envelope.services {
        Services::List(services) => services,
        Services::Single(service) => alloc::vec![service],
        Services::Absent | Services::Null | Services::TooMany | Services::Wrong(_) => {
            return Err(DownlinkError::NoEvent);
        }
    };
    if services.is_empty() {
        return Err(DownlinkError::NoEvent);
    }
    let about_upgrades = services.iter().position(|service| service.service_id.non_empty() == Some("$ota"));
    let service = services.swap_remove(about_upgrades.unwrap_or(0));
    read_event(service).map(|downlink| (subject, downlink))
}

fn read_subject(subject: &Scalar<'_>) -> Result<Option<DeviceId>, DownlinkError> {
    match subject {
        Scalar::Absent | Scalar::Null => Ok(None),
        Scalar::Text(text) if text.is_empty() => Ok(None),
        Scalar::Text(text) => DeviceId::parse(text).map(Some).map_err(DownlinkError::Subject),
        Scalar::Bool(_)
        | Scalar::Int(_)
        | Scalar::Huge(_)
        | Scalar::Float(_)
        | Scalar::List
        | Scalar::Object => Err(DownlinkError::Field {
            event_type: String::from("message"),
            problem: problem("object_device_id", subject, "a device id"),
        }),
    }
}

fn read_event(service: Service<'_, DownParas<'_>>) -> Result<Downlink, DownlinkError> {
    let event_type = service.event_type.non_empty().unwrap_or_default();
    let (Some("$ota"), false) = (service.service_id.non_empty(), event_type.is_empty()) else {
        return Err(DownlinkError::OtherService {
            service_id: bounded(service.service_id.non_empty().unwrap_or_default(), NAME_CHARS_MAX),
            event_type: bounded(event_type, NAME_CHARS_MAX),
        });
    };
    let (kind, has_token) = match event_type {
        "version_query" => {
            let paras = match service.paras {
                Paras::Object(paras) => paras,
                Paras::Absent | Paras::Null | Paras::Wrong(_) => DownParas::default(),
            };
            return read_task(paras.task_id, &paras.sub_device_count, paras.task_ext_info)
                .map(|task| Downlink::VersionQuery { task })
                .map_err(|problem| field(event_type, problem));
        }
        "firmware_upgrade" => (PackageKind::Firmware, true),
        "software_upgrade" => (PackageKind::Software, true),
        "firmware_upgrade_v2" => (PackageKind::Firmware, false),
        "software_upgrade_v2" => (PackageKind::Software, false),
        unknown => return Err(DownlinkError::UnknownOta { event_type: bounded(unknown, NAME_CHARS_MAX) }),
    };
    let found = match service.paras {
        Paras::Object(paras) => {
            return read_notice(kind, has_token, paras)
                .map(Downlink::Notice)
                .map_err(|problem| field(event_type, problem));
        }
        Paras::Absent => Scalar::Absent.kind(),
        Paras::Null => Scalar::Null.kind(),
        Paras::Wrong(found) => found,
    };
    let problem = FieldProblem { field: "paras", found: String::from(found), accepted: "an object" };
    Err(field(event_type, problem))
}

fn field(event_type: &str, problem: FieldProblem) -> DownlinkError {
    DownlinkError::Field { event_type: String::from(event_type), problem }
}

fn read_notice(kind: PackageKind, has_token: bool, paras: DownParas<'_>) -> Result<Notice, FieldProblem> {
    let access = match paras.access_token.non_empty() {
        Some(token) if has_token => Access::Token(String::from(token)),
        Some(_) | None => Access::SignedUrl,
    };
    let file_size = integer(&paras.file_size).and_then(|bytes| u64::try_from(bytes).ok());
    Ok(Notice {
        kind,
        access,
        version: required("version", &paras.version)?,
        url: required("url", &paras.url)?,
        file_size: file_size.ok_or_else(|| problem("file_size", &paras.file_size, "a number of bytes"))?,
        file_name: String::from(paras.file_name.non_empty().unwrap_or_default()),
        expires_secs: optional_count("expires", &paras.expires)?,
        sign: read_sign(&paras.sign)?,
        custom_info: match paras.custom_info {
            Scalar::Text(info) => Some(info.into_owned()),
            Scalar::Absent
            | Scalar::Null
            | Scalar::Bool(_)
            | Scalar::Int(_)
            | Scalar::Huge(_)
            | Scalar::Float(_)
            | Scalar::List
            | Scalar::Object => None,
        },
        task: read_task(paras.task_id, &paras.sub_device_count, paras.task_ext_info)?,
    })
}

/// `None` if none of the three is there. A task without gateways has at most the last.
fn read_task(
    task_id: Scalar<'_>,
    sub_device_count: &Scalar<'_>,
    ext: Ext,
) -> Result<Option<TaskInfo>, FieldProblem> {
    let sub_device_count = optional_count("sub_device_count", sub_device_count)?;
    let task_id = String::from(task_id.non_empty().unwrap_or_default());
    let is_there = !task_id.is_empty() || sub_device_count > 0 || ext.0.is_some();
    Ok(is_there.then_some(TaskInfo { task_id, sub_device_count, ext: ext.0 }))
}

fn read_sign(sign: &Scalar<'_>) -> Result<String, FieldProblem> {
    match sign.non_empty() {
        Some(text) if text.len() == SIGN_CHARS && text.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            Ok(text.to_ascii_lowercase())
        }
        Some(_) | None => Err(problem("sign", sign, "a SHA-256 in 64 hexadecimal digits")),
    }
}

fn required(field: &'static str, value: &Scalar<'_>) -> Result<String, FieldProblem> {
    value.non_empty().map(String::from).ok_or_else(|| problem(field, value, "a text"))
}

/// 0 if it is absent or null.
fn optional_count(field: &'static str, value: &Scalar<'_>) -> Result<u32, FieldProblem> {
    if let Scalar::Absent | Scalar::Null = value {
        return Ok(0);
    }
    integer(value)
        .and_then(|count| u32::try_from(count).ok())
        .ok_or_else(|| problem(field, value, "an integer from 0 to 4294967295"))
}

fn integer(value: &Scalar<'_>) -> Option<i64> {
    match value {
        Scalar::Int(number) => Some(*number),
        Scalar::Absent
        | Scalar::Null
        | Scalar::Bool(_)
        | Scalar::Huge(_)
        | Scalar::Float(_)
        | Scalar::Text(_)
        | Scalar::List
        | Scalar::Object => None,
    }
}

fn problem(field: &'static str, found: &Scalar<'_>, accepted: &'static str) -> FieldProblem {
    FieldProblem { field, found: found.found(), accepted }
}

/// The members of `paras` that a query or a notice knows.
#[derive(Default)]
struct DownParas<'de> {
    version: Scalar<'de>,
    url: Scalar<'de>,
    file_size: Scalar<'de>,
    file_name: Scalar<'de>,
    access_token: Scalar<'de>,
    expires: Scalar<'de>,
    sign: Scalar<'de>,
    custom_info: Scalar<'de>,
    task_id: Scalar<'de>,
    sub_device_count: Scalar<'de>,
    task_ext_info: Ext,
}

impl<'de> Members<'de> for DownParas<'de> {
    fn take<A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        match name {
            "version" => self.version = object.next_value()?,
            "url" => self.url = object.next_value()?,
            "file_size" => self.file_size = object.next_value()?,
            "file_name" => self.file_name = object.next_value()?,
            "access_token" => self.access_token = object.next_value()?,
            "expires" => self.expires = object.next_value()?,
            "sign" => self.sign = object.next_value()?,
            "custom_info" => self.custom_info = object.next_value()?,
            "task_id" => self.task_id = object.next_value()?,
            "sub_device_count" => self.sub_device_count = object.next_value()?,
            "task_ext_info" => self.task_ext_info = object.next_value()?,
            _ => skip(object)?,
        }
        Ok(())
    }
}

/// The member `task_ext_info` as compact JSON, if it is an object that is not empty.
#[derive(Default)]
struct Ext(Option<String>);

impl<'de> Deserialize<'de> for Ext {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Ext, D::Error> {
        struct Any;

        impl Any {
            fn scalar(self, _: Scalar<'_>) -> Ext {
                Ext(None)
            }
        }

        impl<'de> Visitor<'de> for Any {
            type Value = Ext;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            visit_scalars!(Ext);

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Ext, A::Error> {
                skip_list(list).map(|()| Ext(None))
            }

            fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Ext, A::Error> {
                let Compact(text) =
                    Compact::deserialize(serde::de::value::MapAccessDeserializer::new(object))?;
                Ok(Ext((text != "{}").then_some(text)))
            }
        }

        deserializer.deserialize_any(Any)
    }
}

impl From<Unreadable> for DownlinkError {
    fn from(unreadable: Unreadable) -> DownlinkError {
        match unreadable {
            Unreadable::Empty => DownlinkError::Empty,
            Unreadable::TooLarge { bytes } => DownlinkError::TooLarge { bytes },
            Unreadable::NotUtf8 { at } => DownlinkError::NotUtf8 { at },
            Unreadable::NotJson { line, column, problem } => DownlinkError::NotJson { line, column, problem },
            Unreadable::NotAnObject { found } => DownlinkError::NotAnObject { found },
            Unreadable::TooDeep => DownlinkError::TooDeep,
        }
    }
}
