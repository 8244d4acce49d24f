//! What we made of a message, kept beside its own words and shown to whoever asks why.
//!
//! Every report has one, so it is written as it is made, without a tree of values before.

use std::fmt::{Display, Write as _};

use otaru_proto::{EventBody, EventTime, Tolerance, Uplink, UplinkError, UplinkEvent, format_event_time};

/// The reading of one message: a JSON object in the report history.
///
/// Its members, where there is something to say, in this order:
///
/// - `events`: an object per element of `services`, in order. In it `event`, `result_code`, `progress`, `version`,
///   `fw_version` and `sw_version` are what was said; `event_time` is the device's own time, as far as it can be
///   read, and not used to decide; `then` is what followed, the deployment's state or outcome afterwards, or why
///   there is none; `rejected` is what is wrong with the event.
/// - `tolerances`: departures from the published form that were accepted.
/// - `rejected`: why the message, or its claim to speak for another device, was not accepted. It changed nothing.
/// - `payload_bytes`: how many bytes the message had, where only its beginning is kept.
#[derive(Debug)]
pub(crate) struct Reading<'a> {
    /// The object up to where `events` goes on, or `tolerances` begins.
    written: String,
    has_events: bool,
    tolerances: &'a [Tolerance],
    rejected: Option<String>,
    payload_bytes: Option<usize>,
}

/// Room for a reading of one event, which typically has some 150 bytes. Longer ones grow.
const TYPICAL_BYTES: usize = 192;

impl<'a> Reading<'a> {
    /// A message that was understood; [`Reading::event`] adds what followed from each event.
    pub(crate) fn of(uplink: &'a Uplink) -> Reading<'a> {
        let mut written = String::with_capacity(TYPICAL_BYTES);
        written.push('{');
        Reading {
            written,
            has_events: false,
            tolerances: &uplink.tolerances,
            rejected: None,
            payload_bytes: None,
        }
    }

    /// A message that could not be read at all.
    pub(crate) fn unreadable(error: &UplinkError) -> Reading<'a> {
        Reading {
            written: String::from('{'),
            has_events: false,
            tolerances: &[],
            rejected: Some(error.to_string()),
            payload_bytes: None,
        }
    }

    /// A message that was understood and is not accepted.
    pub(crate) fn refused(uplink: &'a Uplink, why: String) -> Reading<'a> {
        let mut reading = Reading { rejected: Some(why), ..Reading::of(uplink) };
        for event in &uplink.events {
            reading.event(event, None);
        }
        reading
    }

    /// Only the beginning of it is kept.
    pub(crate) fn cut_from(self, payload_bytes: usize) -> Reading<'a> {
        Reading { payload_bytes: Some(payload_bytes), ..self }
    }

    /// Adds one event and what followed from it.
    pub(crate) fn event(&mut self, event: &UplinkEvent, then: Option<&'static str>) {
        let out = &mut self.written;
        out.push_str(if self.has_events { ",{" } else { "\"events\":[{" });
        self.has_events = true;
        let mut rejected = None;
        match &event.body {
            EventBody::ProgressReport(report) => {
                name(out, "event");
                out.push_str("\"upgrade_progress_report\"");
                number_member(out, "result_code", report.code.to_wire());
                if let Some(progress) = report.progress {
                    number_member(out, "progress", progress.get());
                }
                text_member(out, "version", report.version.as_ref().map(|v| v.as_str()));
            }
            EventBody::VersionReport(report) => {
                name(out, "event");
                out.push_str("\"version_report\"");
                text_member(out, "fw_version", report.fw_version.as_ref().map(|v| v.as_str()));
                text_member(out, "sw_version", report.sw_version.as_ref().map(|v| v.as_str()));
            }
            EventBody::Rejected { event_type, problem } => {
                text_member(out, "event", Some(event_type));
                rejected = Some(problem.to_string());
            }
            EventBody::OtherService { event_type, .. } | EventBody::UnknownOta { event_type } => {
                text_member(out, "event", Some(event_type));
            }
            EventBody::Nameless => text_member(out, "event", Some("")),
        }
        match &event.event_time {
            EventTime::Documented(unix_ms) => {
                text_member(out, "event_time", Some(&format_event_time(*unix_ms)));
            }
            EventTime::Odd(text) => text_member(out, "event_time", Some(text)),
            EventTime::Absent => {}
        }
        text_member(out, "then", then);
        text_member(out, "rejected", rejected.as_deref());
        out.push('}');
    }

    pub(crate) fn into_json(self) -> String {
        let mut out = self.written;
        if self.has_events {
            out.push(']');
        }
        if !self.tolerances.is_empty() {
            name(&mut out, "tolerances");
            for (index, tolerance) in self.tolerances.iter().enumerate() {
                out.push(if index == 0 { '[' } else { ',' });
                text(&mut out, tolerance.as_str());
            }
            out.push(']');
        }
        text_member(&mut out, "rejected", self.rejected.as_deref());
        if let Some(bytes) = self.payload_bytes {
            number_member(&mut out, "payload_bytes", bytes);
        }
        out.push('}');
        out
    }
}

/// Begins a member of the object that `out` ends in.
fn name(out: &mut String, name: &'static str) {
    if !out.ends_with('{') {
        out.push(',');
    }
    out.push('"');
    out.push_str(name);
    out.push_str("\":");
}

fn text_member(out: &mut String, member: &'static str, value: Option<&str>) {
    if let Some(value) = value {
        name(out, member);
        text(out, value);
    }
}

fn number_member(out: &mut String, member: &'static str, value: impl Display) {
    name(out, member);
    write!(out, "{value}").expect("a text takes whatever is written");
}

fn text(out: &mut String, value: &str) {
    // RFC 8259, 7. Nearly no text has one of these, and to look for them is quicker than to write byte by byte.
    let is_special = |byte: u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
    if value.bytes().fold(false, |found, byte| found | is_special(byte)) {
        out.push_str(&serde_json::to_string(value).expect("a text is JSON"));
    } else {
        out.push('"');
        out.push_str(value);
        out.push('"');
    }
}

/// Whether a message is worth a line in the device's history: it speaks of upgrades, or it was not understood.
pub(crate) fn is_kept(uplink: &Uplink) -> bool {
    uplink.events.iter().any(|event| match event.body {
        EventBody::VersionReport(_)
        | EventBody::ProgressReport(_)
        | EventBody::UnknownOta { .. }
        | EventBody::Rejected { .. } => true,
        EventBody::OtherService { .. } | EventBody::Nameless => false,
    })
}

#[cfg(test)]
mod tests {
    use otaru_proto::decode_uplink;

    use super::*;

    fn read(message: &str) -> Uplink {
        decode_uplink(message.as_bytes()).unwrap()
    }

    /// What is kept of a message after whose events `then` followed.
    fn reading(message: &str, then: Option<&'static str>) -> String {
        let uplink = read(message);
        let mut reading = Reading::of(&uplink);
        for event in &uplink.events {
            reading.event(event, then);
        }
        let json = reading.into_json();
        assert!(
            serde_json::from_str::<serde_json::Value>(&json).is_ok_and(|value| value.is_object()),
            "{json}"
        );
        json
    }

    #[test]
    fn a_report_is_kept_with_what_followed() {
        assert_eq!(
            reading(
                r#"{"services":[{"service_id":"$ota","event_type":"upgrade_progress_report","event_time":"20250414T010203Z",
                    "paras":{"result_code":-7,"progress":100,"version":"v2","description":"not repeated"}}]}"#,
                Some("confirming")
            ),
            r#"{"events":[{"event":"upgrade_progress_report","result_code":-7,"progress":100,"version":"v2","event_time":"20250414T010203Z","then":"confirming"}]}"#
        );
        assert_eq!(
            reading(
                r#"{"services":[{"service_id":"$ota","event_type":"version_report","paras":{"fw_version":"1","sw_version":"2"}},
                    {"service_id":"$ota","event_type":"version_report","paras":{}}]}"#,
                Some("noted")
            ),
            r#"{"events":[{"event":"version_report","fw_version":"1","sw_version":"2","then":"noted"},{"event":"version_report","then":"noted"}]}"#
        );
    }

    #[test]
    fn what_was_odd_is_named() {
        assert_eq!(
            reading(
                r#"{"object_device_id":"-1","services":[{"service_id":"$ota","event_type":"upgrade_progress_report","event_time":7,
                    "paras":{"result_code":"0","progress":null,"version":"a\"b\\c\n\u0001\u007fé"}}]}"#,
                None
            ),
            "{\"events\":[{\"event\":\"upgrade_progress_report\",\"result_code\":0,\"version\":\"a\\\"b\\\\c\\n\\u0001\u{7f}é\",\
             \"event_time\":\"7\"}],\"tolerances\":[\"subject_minus_one\",\"event_time_odd_format\",\"null_member\",\"result_code_as_text\"]}"
        );
        assert_eq!(
            reading(
                r#"{"services":[{"service_id":"$ota","event_type":"upgrade_progress_report","paras":{}},
                    {"service_id":"$ota","event_type":"\"new\""},{"service_id":"s","event_type":"e"},{}]}"#,
                None
            ),
            r#"{"events":[{"event":"upgrade_progress_report","rejected":"`result_code` is missing; an integer is accepted"},{"event":"\"new\""},{"event":"e"},{"event":""}]}"#
        );
        assert_eq!(reading("{}", None), "{}");
    }

    #[test]
    fn a_message_that_changed_nothing_is_kept_with_the_reason() {
        let error = decode_uplink(b"[]").unwrap_err();
        assert_eq!(
            Reading::unreadable(&error).cut_from(9_008).into_json(),
            r#"{"rejected":"message is a list; a JSON object is expected","payload_bytes":9008}"#
        );
        let uplink = read(
            r#"{"services":{"service_id":"$ota","event_type":"version_report","paras":{"sw_version":"2"}}}"#,
        );
        assert_eq!(
            Reading::refused(&uplink, String::from("not a \"child\"")).into_json(),
            r#"{"events":[{"event":"version_report","sw_version":"2"}],"tolerances":["single_service_object"],"rejected":"not a \"child\""}"#
        );
    }
}
