//! From bytes to an [`Uplink`]: which member may be what.
//!
//! This is the hot path. A typical report is read in one pass without building a tree; what is copied is what
//! the result keeps. One of the usual shape is taken apart by [`quick`], any other with serde; what the parts mean
//! is decided here for both.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{
    EventBody, FieldProblem, ProgressReport, Subject, Tolerance, Uplink, UplinkError, UplinkEvent,
    VersionReport, quick,
};
use crate::code::ResultCode;
use crate::device_id::DeviceId;
use crate::envelope::{Envelope, Members, Paras, Service, Services, skip, take_all};
use crate::event_time::{EventTime, parse_event_time};
use crate::json::{self, Scalar, Unreadable, skip_list, skip_object, visit_scalars};
use crate::limits::{
    DESCRIPTION_CHARS_MAX, EVENT_ID_CHARS_MAX, EVENT_TIME_CHARS_MAX, MODULE_NAME_CHARS_MAX, MODULES_MAX,
    NAME_CHARS_MAX, SUBJECT_CHARS_MAX, UPLINK_BYTES_MAX, VERSION_CHARS_MAX,
};
use crate::percent::Percent;
use crate::services::read_contents;
use crate::text::bounded;
use crate::version::Version;

/// Reads one message from `events/up`. Total: any bytes give a message or an error.
///
/// # Errors
///
/// The message as a whole cannot be read. To be counted; the device keeps its connection and gets its
/// acknowledgement, because sending the same again would change nothing.
pub fn decode_uplink(bytes: &[u8]) -> Result<Uplink, UplinkError> {
    let text = json::text_of(bytes, UPLINK_BYTES_MAX)?;
    let Some(usual) = quick::read(text) else { return decode_any(text) };
    let mut seen = Seen(Vec::new());
    let subject = read_subject(&usual.subject, &mut seen);
    let mut events = alloc::vec![read_event(usual.service, &mut seen)];
    read_contents(text, &mut events);
    Ok(Uplink { subject, events, tolerances: seen.0 })
}

/// Reads a message of any shape.
pub(crate) fn decode_any(text: &str) -> Result<Uplink, UplinkError> {
    let envelope: Envelope<'_, ReportParas<'_>> = json::read_object_of(text)?;
    let mut seen = Seen(Vec::new());
    let subject = read_subject(&envelope.subject, &mut seen);
    let mut events = match envelope.services {
        Services::Absent => Vec::new(),
        Services::Null => {
            seen.saw(Tolerance::NullMember);
            Vec::new()
        }
        Services::List(services) => {
            services.into_iter().map(|service| read_event(service, &mut seen)).collect()
        }
        Services::Single(service) => {
            seen.saw(Tolerance::SingleServiceObject);
            alloc::vec![read_event(service, &mut seen)]
        }
        Services::TooMany => return Err(UplinkError::TooManyServices),
        Services::Wrong(found) => return Err(UplinkError::Services { found }),
    };
    read_contents(text, &mut events);
    Ok(Uplink { subject, events, tolerances: seen.0 })
}

/// The tolerances met so far, each once.
struct Seen(Vec<Tolerance>);

impl Seen {
    fn saw(&mut self, tolerance: Tolerance) {
        if !self.0.contains(&tolerance) {
            self.0.push(tolerance);
        }
    }
}

/// The members of `paras` that either report knows. Which report it is may come after them.
#[derive(Default)]
pub(super) struct ReportParas<'de> {
    result_code: Scalar<'de>,
    progress: Scalar<'de>,
    version: Scalar<'de>,
    description: Scalar<'de>,
    fw_version: Scalar<'de>,
    sw_version: Scalar<'de>,
    modules: Modules,
}

impl<'de> ReportParas<'de> {
    /// Where a member belongs that is neither list nor object.
    pub(super) fn scalar(&mut self, name: &str) -> Option<&mut Scalar<'de>> {
        Some(match name {
            "result_code" => &mut self.result_code,
            "progress" => &mut self.progress,
            "version" => &mut self.version,
            "description" => &mut self.description,
            "fw_version" => &mut self.fw_version,
            "sw_version" => &mut self.sw_version,
            _ => return None,
        })
    }
}

impl<'de> Members<'de> for ReportParas<'de> {
    fn take<A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        if let Some(slot) = self.scalar(name) {
            *slot = object.next_value()?;
        } else if name == "modules" {
            self.modules = object.next_value()?;
        } else {
            skip(object)?;
        }
        Ok(())
    }
}

fn read_subject(subject: &Scalar<'_>, seen: &mut Seen) -> Subject {
    match subject {
        Scalar::Absent => Subject::Connected,
        Scalar::Null => {
            seen.saw(Tolerance::NullMember);
            Subject::Connected
        }
        Scalar::Text(text) => match &**text {
            "" => {
                seen.saw(Tolerance::SubjectBlank);
                Subject::Connected
            }
            "-1" => {
                seen.saw(Tolerance::SubjectMinusOne);
                Subject::Connected
            }
            text => DeviceId::parse(text)
                .map_or_else(|_| Subject::Unusable(bounded(text, SUBJECT_CHARS_MAX)), Subject::Named),
        },
        Scalar::Bool(_)
        | Scalar::Int(_)
        | Scalar::Huge(_)
        | Scalar::Float(_)
        | Scalar::List
        | Scalar::Object => Subject::Unusable(subject.found()),
    }
}

fn read_event(service: Service<'_, ReportParas<'_>>, seen: &mut Seen) -> UplinkEvent {
    let event_time = read_event_time(&service.event_time, seen);
    let event_id = read_text(&service.event_id, EVENT_ID_CHARS_MAX, seen);
    for name in [&service.service_id, &service.event_type] {
        if matches!(name, Scalar::Null) {
            seen.saw(Tolerance::NullMember);
        }
    }
    let body = match (service.service_id.non_empty(), service.event_type.non_empty()) {
        (Some("$ota"), Some("version_report")) => {
            report("version_report", EventBody::VersionReport, read_version_report(service.paras, seen))
        }
        (Some("$ota"), Some("upgrade_progress_report")) => report(
            "upgrade_progress_report",
            EventBody::ProgressReport,
            read_progress_report(service.paras, seen),
        ),
        (Some("$ota"), Some(unknown)) => {
            EventBody::UnknownOta { event_type: bounded(unknown, NAME_CHARS_MAX) }
        }
        (Some(service_id), Some(event_type)) => EventBody::OtherService {
            service_id: bounded(service_id, NAME_CHARS_MAX),
            event_type: bounded(event_type, NAME_CHARS_MAX),
            content: None,
        },
        (None, _) | (_, None) => EventBody::Nameless,
    };
    UplinkEvent { body, event_time, event_id }
}

fn report<R>(event_type: &str, body: fn(R) -> EventBody, read: Result<R, FieldProblem>) -> EventBody {
    match read {
        Ok(report) => body(report),
        Err(problem) => EventBody::Rejected { event_type: String::from(event_type), problem },
    }
}

fn read_version_report(
    paras: Paras<ReportParas<'_>>,
    seen: &mut Seen,
) -> Result<VersionReport, FieldProblem> {
    let paras = present(paras, "an object with `fw_version` or `sw_version`")?;
    // A version is all there is to such a report. One of a wrong type is a mistake somebody has to see.
    let unusable = |field| move |found| FieldProblem { field, found, accepted: "a text" };
    let fw_version = read_version(&paras.fw_version, seen).map_err(unusable("fw_version"))?;
    let sw_version = read_version(&paras.sw_version, seen).map_err(unusable("sw_version"))?;
    if paras.modules.left_out {
        seen.saw(Tolerance::UnusableMember);
    }
    Ok(VersionReport { fw_version, sw_version, modules: paras.modules.kept })
}

fn read_progress_report(
    paras: Paras<ReportParas<'_>>,
    seen: &mut Seen,
) -> Result<ProgressReport, FieldProblem> {
    let paras = present(paras, "an object with `result_code`")?;
    let progress = read_progress(&paras.progress, seen);
    Ok(ProgressReport {
        code: read_result_code(&paras.result_code, seen)?,
        progress,
        progress_unusable: progress.is_none() && !matches!(paras.progress, Scalar::Absent | Scalar::Null),
        // The code counts even beside a version nobody can read.
        version: read_version(&paras.version, seen).unwrap_or_else(|_| {
            seen.saw(Tolerance::UnusableMember);
            None
        }),
        description: read_text(&paras.description, DESCRIPTION_CHARS_MAX, seen),
    })
}

fn present<P>(paras: Paras<P>, accepted: &'static str) -> Result<P, FieldProblem> {
    let found = match paras {
        Paras::Object(paras) => return Ok(paras),
        Paras::Absent => Scalar::Absent.kind(),
        Paras::Null => Scalar::Null.kind(),
        Paras::Wrong(found) => found,
    };
    Err(FieldProblem { field: "paras", found: String::from(found), accepted })
}

fn read_result_code(code: &Scalar<'_>, seen: &mut Seen) -> Result<ResultCode, FieldProblem> {
    let number = match code {
        Scalar::Int(number) => Some(*number),
        Scalar::Float(number) => whole(*number).inspect(|_| seen.saw(Tolerance::ResultCodeAsWholeFloat)),
        Scalar::Text(text) => text.parse().ok().inspect(|_| seen.saw(Tolerance::ResultCodeAsText)),
        Scalar::Absent | Scalar::Null | Scalar::Bool(_) | Scalar::Huge(_) | Scalar::List | Scalar::Object => {
            None
        }
    };
    number.map(ResultCode::from_wire).ok_or_else(|| FieldProblem {
        field: "result_code",
        found: code.found(),
        accepted: "an integer",
    })
}

fn read_progress(progress: &Scalar<'_>, seen: &mut Seen) -> Option<Percent> {
    let number = match progress {
        Scalar::Absent => return None,
        Scalar::Null => {
            seen.saw(Tolerance::NullMember);
            return None;
        }
        Scalar::Int(number) => Some(*number),
        Scalar::Huge(_) => Some(i64::MAX),
        Scalar::Float(number) => whole(*number).inspect(|_| seen.saw(Tolerance::ProgressAsWholeFloat)),
        Scalar::Text(text) => text.parse().ok().inspect(|_| seen.saw(Tolerance::ProgressAsText)),
        Scalar::Bool(_) | Scalar::List | Scalar::Object => None,
    };
    let Some(number) = number else {
        seen.saw(Tolerance::ProgressUnusable);
        return None;
    };
    Percent::new(number).inspect_err(|_| seen.saw(Tolerance::ProgressOutOfRange)).ok()
}

/// The integer that `number` is, if it has no fraction and is small enough to be exact.
fn whole(number: f64) -> Option<i64> {
    const EXACT_UP_TO: f64 = 9_007_199_254_740_992.0; // 2^53
    let integer = number as i64; // saturating; checked by the comparison
    ((-EXACT_UP_TO..=EXACT_UP_TO).contains(&number) && integer as f64 == number).then_some(integer)
}

/// `Err` with what was found if it is no text.
fn read_version(version: &Scalar<'_>, seen: &mut Seen) -> Result<Option<Version>, String> {
    match version {
        Scalar::Absent => Ok(None),
        Scalar::Null => {
            seen.saw(Tolerance::NullMember);
            Ok(None)
        }
        Scalar::Text(text) => {
            let version = Version::as_sent(text);
            match &version {
                None => seen.saw(Tolerance::EmptyVersion),
                Some(version) if version.was_cut() => seen.saw(Tolerance::VersionCut),
                Some(_) => {}
            }
            Ok(version)
        }
        Scalar::Bool(_)
        | Scalar::Int(_)
        | Scalar::Huge(_)
        | Scalar::Float(_)
        | Scalar::List
        | Scalar::Object => Err(version.found()),
    }
}

/// A text that decides nothing.
fn read_text(value: &Scalar<'_>, chars_max: usize, seen: &mut Seen) -> Option<String> {
    match value {
        Scalar::Absent => None,
        Scalar::Null => {
            seen.saw(Tolerance::NullMember);
            None
        }
        Scalar::Text(text) if text.is_empty() => {
            seen.saw(Tolerance::EmptyMember);
            None
        }
        Scalar::Text(text) => Some(bounded(text, chars_max)),
        Scalar::Bool(_)
        | Scalar::Int(_)
        | Scalar::Huge(_)
        | Scalar::Float(_)
        | Scalar::List
        | Scalar::Object => {
            seen.saw(Tolerance::UnusableMember);
            None
        }
    }
}

fn read_event_time(value: &Scalar<'_>, seen: &mut Seen) -> EventTime {
    if let Scalar::Int(_) | Scalar::Huge(_) | Scalar::Float(_) = value {
        seen.saw(Tolerance::EventTimeOddFormat);
        return EventTime::Odd(bounded(&value.found(), EVENT_TIME_CHARS_MAX));
    }
    if let Scalar::Text(text) = value
        && let Some(unix_ms) = parse_event_time(text)
    {
        return EventTime::Documented(unix_ms);
    }
    match read_text(value, EVENT_TIME_CHARS_MAX, seen) {
        Some(odd) => {
            seen.saw(Tolerance::EventTimeOddFormat);
            EventTime::Odd(odd)
        }
        None => EventTime::Absent,
    }
}

/// The member `modules`.
#[derive(Default)]
struct Modules {
    kept: Vec<(String, String)>,
    /// Whether something was there that could not be kept.
    left_out: bool,
}

/// One element of `modules`.
#[derive(Default)]
struct Module<'de> {
    name: Scalar<'de>,
    version: Scalar<'de>,
}

impl<'de> Members<'de> for Module<'de> {
    fn take<A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        match name {
            "module_name" => self.name = object.next_value()?,
            "module_version" => self.version = object.next_value()?,
            _ => skip(object)?,
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Module<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Module<'de>, D::Error> {
        struct Any;

        impl Any {
            fn scalar<'de>(self, _: Scalar<'_>) -> Module<'de> {
                Module::default()
            }
        }

        impl<'de> Visitor<'de> for Any {
            type Value = Module<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a module")
            }

            visit_scalars!(Module<'de>);

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Module<'de>, A::Error> {
                skip_list(list).map(|()| Module::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Module<'de>, A::Error> {
                take_all(object)
            }
        }

        deserializer.deserialize_any(Any)
    }
}

impl<'de> Deserialize<'de> for Modules {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Modules, D::Error> {
        struct Any;

        impl Any {
            fn scalar(self, found: Scalar<'_>) -> Modules {
                Modules { kept: Vec::new(), left_out: !matches!(found, Scalar::Null) }
            }
        }

        impl<'de> Visitor<'de> for Any {
            type Value = Modules;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of modules")
            }

            visit_scalars!(Modules);

            fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Modules, A::Error> {
                skip_object(object).map(|()| Modules { kept: Vec::new(), left_out: true })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Modules, A::Error> {
                let mut modules = Modules::default();
                while let Some(module) = list.next_element::<Module<'de>>()? {
                    match (module.name.non_empty(), module.version.non_empty()) {
                        (Some(name), Some(version)) if modules.kept.len() < MODULES_MAX => modules.kept.push(
                            (bounded(name, MODULE_NAME_CHARS_MAX), bounded(version, VERSION_CHARS_MAX)),
                        ),
                        (Some(_) | None, Some(_) | None) => modules.left_out = true,
                    }
                }
                Ok(modules)
            }
        }

        deserializer.deserialize_any(Any)
    }
}

impl From<Unreadable> for UplinkError {
    fn from(unreadable: Unreadable) -> UplinkError {
        match unreadable {
            Unreadable::Empty => UplinkError::Empty,
            Unreadable::TooLarge { bytes } => UplinkError::TooLarge { bytes },
            Unreadable::NotUtf8 { at } => UplinkError::NotUtf8 { at },
            Unreadable::NotJson { line, column, problem } => UplinkError::NotJson { line, column, problem },
            Unreadable::NotAnObject { found } => UplinkError::NotAnObject { found },
            Unreadable::TooDeep => UplinkError::TooDeep,
        }
    }
}
