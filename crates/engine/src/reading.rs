//! What we made of a message, kept beside its own words and shown to whoever asks why.

use otaru_proto::{EventBody, EventTime, FieldProblem, Uplink, UplinkError, UplinkEvent, format_event_time};
use serde::Serialize;

/// The reading of one message: a JSON object in the report history.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Reading<'a> {
    /// One entry per element of `services`, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<EventReading<'a>>,
    /// Departures from the published form that were accepted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tolerances: Vec<&'static str>,
    /// Why the message, or its claim to speak for another device, was not accepted. It changed nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected: Option<String>,
    /// How many bytes the message had, where only its beginning is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_bytes: Option<usize>,
}

#[derive(Debug, Default, Serialize)]
struct EventReading<'a> {
    event: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    result_code: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fw_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sw_version: Option<&'a str>,
    /// The device's own time, as far as it can be read. Not used to decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    event_time: Option<String>,
    /// What followed: the deployment's state or outcome afterwards, or why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    then: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected: Option<String>,
}

impl<'a> Reading<'a> {
    /// A message that was understood; [`Reading::event`] adds what followed from each event.
    pub(crate) fn of(uplink: &Uplink) -> Reading<'a> {
        Reading {
            events: Vec::with_capacity(uplink.events.len()),
            tolerances: uplink.tolerances.iter().map(|t| t.as_str()).collect(),
            rejected: None,
            payload_bytes: None,
        }
    }

    /// A message that could not be read at all.
    pub(crate) fn unreadable(error: &UplinkError) -> Reading<'a> {
        Reading { rejected: Some(error.to_string()), ..Reading::default() }
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
    pub(crate) fn event(&mut self, event: &'a UplinkEvent, then: Option<&'static str>) {
        let event_time = match &event.event_time {
            EventTime::Documented(unix_ms) => Some(format_event_time(*unix_ms)),
            EventTime::Odd(text) => Some(text.clone()),
            EventTime::Absent => None,
        };
        let entry = match &event.body {
            EventBody::ProgressReport(report) => EventReading {
                event: "upgrade_progress_report",
                result_code: Some(report.code.to_wire()),
                progress: report.progress.map(|p| p.get()),
                version: report.version.as_ref().map(|v| v.as_str()),
                ..EventReading::default()
            },
            EventBody::VersionReport(report) => EventReading {
                event: "version_report",
                fw_version: report.fw_version.as_ref().map(|v| v.as_str()),
                sw_version: report.sw_version.as_ref().map(|v| v.as_str()),
                ..EventReading::default()
            },
            EventBody::Rejected { event_type, problem } => EventReading {
                event: event_type,
                rejected: Some(problem_text(problem)),
                ..EventReading::default()
            },
            EventBody::OtherService { event_type, .. } | EventBody::UnknownOta { event_type } => {
                EventReading { event: event_type, ..EventReading::default() }
            }
            EventBody::Nameless => EventReading { event: "", ..EventReading::default() },
        };
        self.events.push(EventReading { event_time, then, ..entry });
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a reading has only text and numbers")
    }
}

fn problem_text(problem: &FieldProblem) -> String {
    problem.to_string()
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
