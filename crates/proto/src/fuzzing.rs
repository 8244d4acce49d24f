//! What holds for any bytes from outside, one check a decoder. `fuzz/README.md` lists the promises.
//!
//! Each check takes bytes, decodes them, and panics where a promise is broken. `cargo fuzz` explores them; the tests
//! below replay the corpora. Not part of any other build, so that private parts need not be made public for this.

#![allow(missing_docs, reason = "nobody builds on this")]
#![allow(clippy::unwrap_used, reason = "a promise that is broken is to be seen")]

use std::collections::BTreeSet;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use serde_json::Value;

use crate::uplink::decode_any;
use crate::*;

/// `events/up`: bounded; every departure from the published form is named; what we can write reads back as itself.
pub fn check_uplink(bytes: &[u8]) {
    quick_reading_agrees(bytes);
    let uplink = match decode_uplink(bytes) {
        Ok(uplink) => uplink,
        Err(error) => {
            assert!(!error.as_str().is_empty());
            assert!(error.to_string().chars().count() <= 2 * FOUND_CHARS_MAX + 64, "{error}");
            return;
        }
    };
    assert!(bytes.len() <= UPLINK_BYTES_MAX && uplink.events.len() <= SERVICES_MAX);
    let names: BTreeSet<&str> = uplink.tolerances.iter().map(|tolerance| tolerance.as_str()).collect();
    assert_eq!(names.len(), uplink.tolerances.len(), "a tolerance is named twice");
    if let Subject::Unusable(text) = &uplink.subject {
        at_most(text, SUBJECT_CHARS_MAX);
    }
    for event in &uplink.events {
        is_bounded(event);
        reads_back(&uplink.subject, event);
    }
    if let Ok(tree) = serde_json::from_slice::<Value>(bytes) {
        departures_are_named(&uplink, &tree);
    }
    if bytes.len() < UPLINK_BYTES_MAX {
        let padded = [b"\n", bytes].concat();
        assert_eq!(decode_uplink(&padded), Ok(uplink), "white space before a message means nothing");
    }
}

/// The usual shape has a reader of its own, and the general reader finds the same in it.
pub(crate) fn quick_reading_agrees(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && bytes.len() <= UPLINK_BYTES_MAX
    {
        assert_eq!(decode_uplink(bytes), decode_any(text), "{text}");
    }
}

fn is_bounded(event: &UplinkEvent) {
    at_most(event.event_id.as_deref().unwrap_or_default(), EVENT_ID_CHARS_MAX);
    if let EventTime::Odd(text) = &event.event_time {
        at_most(text, EVENT_TIME_CHARS_MAX);
    }
    match &event.body {
        EventBody::VersionReport(report) => {
            for version in [&report.fw_version, &report.sw_version].into_iter().flatten() {
                // One more for the mark of what was cut.
                at_most(version.as_str(), VERSION_CHARS_MAX + 1);
                assert_eq!(version.was_cut(), version.as_str().chars().count() > VERSION_CHARS_MAX);
                assert!(!version.was_cut() || Version::parse_target(version.as_str()).is_err());
            }
            assert!(report.modules.len() <= MODULES_MAX);
            for (name, version) in &report.modules {
                assert!(!name.is_empty() && !version.is_empty());
                at_most(name, MODULE_NAME_CHARS_MAX);
                at_most(version, VERSION_CHARS_MAX);
            }
        }
        EventBody::ProgressReport(report) => {
            at_most(report.description.as_deref().unwrap_or_default(), DESCRIPTION_CHARS_MAX);
            assert!(!(report.progress.is_some() && report.progress_unusable));
            assert_eq!(ResultCode::from_wire(report.code.to_wire()), report.code);
        }
        EventBody::OtherService { service_id, event_type, content } => {
            at_most(service_id, NAME_CHARS_MAX);
            at_most(event_type, NAME_CHARS_MAX);
            if let Some(content) = content {
                content_is_bounded(content);
            }
        }
        EventBody::UnknownOta { event_type } => at_most(event_type, NAME_CHARS_MAX),
        EventBody::Rejected { problem, .. } => at_most(&problem.found, FOUND_CHARS_MAX),
        EventBody::Nameless => {}
    }
}

fn content_is_bounded(content: &ServiceContent) {
    match content {
        ServiceContent::TimeSync { .. } => {}
        ServiceContent::SyncChildren { version } => assert!(*version >= 0),
        ServiceContent::ChildStatuses(statuses) => {
            assert!((1..=CHILD_STATUSES_MAX).contains(&statuses.len()));
            for status in statuses {
                at_most(&status.device_id, DEVICE_ID_CHARS_MAX);
                if let Err(word) = &status.online {
                    at_most(word, NAME_CHARS_MAX);
                }
            }
        }
        ServiceContent::AddChildren(children) => {
            assert!((1..=CHILDREN_PER_REQUEST_MAX).contains(&children.len()));
            for child in children {
                let ids = [Some(&child.node_id), Some(&child.product_id)];
                for id in ids.into_iter().chain([child.device_id.as_ref(), child.parent_device_id.as_ref()]) {
                    at_most(id.map_or("", String::as_str), DEVICE_ID_CHARS_MAX);
                }
                at_most(child.name.as_deref().unwrap_or_default(), PERSONAL_NAME_CHARS_MAX);
                let _ = DeviceId::parse(&child.id());
            }
        }
        ServiceContent::DeleteChildren(ids) => {
            assert!((1..=CHILDREN_PER_REQUEST_MAX).contains(&ids.len()));
            ids.iter().for_each(|id| at_most(id, DEVICE_ID_CHARS_MAX));
        }
        ServiceContent::Log(line) => {
            at_most(&line.content, LOG_CONTENT_CHARS_MAX);
            at_most(line.kind.as_deref().unwrap_or_default(), NAME_CHARS_MAX);
            at_most(line.timestamp.as_deref().unwrap_or_default(), NAME_CHARS_MAX);
        }
        ServiceContent::SdkInfo { sdk_version } => {
            at_most(sdk_version.as_deref().unwrap_or_default(), SDK_VERSION_CHARS_MAX);
        }
        ServiceContent::FileUrl { file_name, .. } => at_most(file_name, FILE_NAME_CHARS_MAX),
        ServiceContent::Unusable { problem, .. } => at_most(&problem.found, FOUND_CHARS_MAX),
    }
}

/// A report that was read, written by a well-behaved device, is the same report in the published form.
fn reads_back(subject: &Subject, event: &UplinkEvent) {
    let device = match subject {
        Subject::Named(device) => device.clone(),
        Subject::Connected | Subject::Unusable(_) => DeviceId::parse("d1").unwrap(),
    };
    let time = match event.event_time {
        EventTime::Documented(unix_ms) => Some(unix_ms),
        EventTime::Odd(_) | EventTime::Absent => None,
    };
    let (written, body, is_cut) = match &event.body {
        EventBody::VersionReport(report) => {
            let is_cut = [&report.fw_version, &report.sw_version].into_iter().flatten().any(Version::was_cut);
            (encode_version_report(&device, report, time), event.body.clone(), is_cut)
        }
        EventBody::ProgressReport(report) => {
            let is_cut = report.version.as_ref().is_some_and(Version::was_cut);
            // Without the number that nobody could use, which is never written.
            let body =
                EventBody::ProgressReport(ProgressReport { progress_unusable: false, ..report.clone() });
            (encode_progress_report(&device, report, time), body, is_cut)
        }
        EventBody::OtherService { .. }
        | EventBody::UnknownOta { .. }
        | EventBody::Nameless
        | EventBody::Rejected { .. } => return,
    };
    let read = decode_uplink(&written).unwrap();
    assert_eq!(read.subject, Subject::Named(device));
    assert_eq!(read.events.len(), 1);
    assert_eq!(read.events[0].body, body);
    assert_eq!(read.events[0].event_time, time.map_or(EventTime::Absent, EventTime::Documented));
    let named: &[Tolerance] = if is_cut { &[Tolerance::VersionCut] } else { &[] };
    assert_eq!(read.tolerances, named, "what we write needs no tolerance");
}

/// A message without a tolerance has the published form, judged by a reader that knows no other.
fn departures_are_named(uplink: &Uplink, tree: &Value) {
    if !uplink.tolerances.is_empty() {
        return;
    }
    let is_text =
        |value: Option<&Value>| value.is_none_or(|value| value.as_str().is_some_and(|t| !t.is_empty()));
    match &uplink.subject {
        Subject::Connected => assert_eq!(tree.get("object_device_id"), None),
        Subject::Named(device) => assert_eq!(tree["object_device_id"], device.as_str()),
        Subject::Unusable(_) => assert!(tree.get("object_device_id").is_some()),
    }
    let services = match tree.get("services") {
        None => &[],
        Some(services) => services.as_array().unwrap().as_slice(),
    };
    assert_eq!(services.len(), uplink.events.len());
    for (service, event) in services.iter().zip(&uplink.events) {
        assert!(is_text(service.get("event_id")), "{service}");
        match &event.event_time {
            EventTime::Documented(unix_ms) => {
                assert_eq!(service["event_time"], format_event_time(*unix_ms));
            }
            EventTime::Absent => assert_eq!(service.get("event_time"), None),
            EventTime::Odd(text) => panic!("{text:?} was not named"),
        }
        let paras = &service["paras"];
        match &event.body {
            EventBody::ProgressReport(report) => {
                assert_eq!(
                    (&service["service_id"], &service["event_type"]),
                    (&Value::from("$ota"), &Value::from("upgrade_progress_report"))
                );
                assert_eq!(paras["result_code"].as_i64(), Some(report.code.to_wire()));
                assert_eq!(
                    paras.get("progress").map(|progress| progress.as_i64().unwrap()),
                    report.progress.map(|progress| i64::from(progress.get()))
                );
                assert!(!report.progress_unusable);
                is_the_text(paras.get("version"), report.version.as_ref().map(Version::as_str));
                match (&report.description, paras.get("description")) {
                    (Some(kept), Some(sent)) => assert!(sent.as_str().unwrap().starts_with(kept.as_str())),
                    (kept, sent) => assert!(kept.is_none() && sent.is_none(), "{sent:?}"),
                }
            }
            EventBody::VersionReport(report) => {
                is_the_text(paras.get("fw_version"), report.fw_version.as_ref().map(Version::as_str));
                is_the_text(paras.get("sw_version"), report.sw_version.as_ref().map(Version::as_str));
            }
            EventBody::OtherService { .. }
            | EventBody::UnknownOta { .. }
            | EventBody::Nameless
            | EventBody::Rejected { .. } => {}
        }
    }
}

fn is_the_text(sent: Option<&Value>, kept: Option<&str>) {
    assert_eq!(sent.map(|sent| sent.as_str().expect("no text")), kept);
}

/// `events/down` as an agent hears it: bounded; what was heard and is said in our form is heard the same.
pub fn check_downlink(bytes: &[u8]) {
    let (device, downlink) = match decode_downlink(bytes) {
        Ok(heard) => heard,
        Err(error) => {
            assert!(error.to_string().chars().count() <= 4 * FOUND_CHARS_MAX + 64, "{error}");
            return;
        }
    };
    assert!(bytes.len() <= DOWNLINK_BYTES_MAX);
    if let Downlink::Notice(notice) = &downlink {
        assert!(!notice.version.is_empty() && !notice.url.is_empty());
        assert!(notice.sign.len() == SIGN_CHARS);
        assert!(notice.sign.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
        if let Access::Token(token) = &notice.access {
            assert!(!token.is_empty());
            assert!(!format!("{notice:?}").contains("Token(\""), "a token is printed");
        }
        let _ = notice.check();
    }
    let to = device.unwrap_or_else(|| DeviceId::parse("d1").unwrap());
    let said = encode_downlink(&to, &downlink, 0);
    if said.len() > DOWNLINK_BYTES_MAX {
        return; // Two of the control characters are longer in our form.
    }
    let heard = match decode_downlink(&said) {
        // Ours is a list of events; of one that was not in a list there may be a level too many.
        Err(DownlinkError::TooDeep) => return,
        heard => heard.unwrap(),
    };
    assert_eq!(heard.0, Some(to));
    assert!(without_fractions(heard.1) == without_fractions(downlink), "{}", String::from_utf8_lossy(&said));
}

/// Reading and writing a float may change its last digit, so an extension that may hold one is only known to be there.
fn without_fractions(mut downlink: Downlink) -> Downlink {
    let task = match &mut downlink {
        Downlink::VersionQuery { task } => task,
        Downlink::Notice(notice) => &mut notice.task,
    };
    if let Some(ext) = task.as_mut().and_then(|task| task.ext.as_mut())
        && ext.contains(['.', 'e', 'E'])
    {
        *ext = String::from("a float");
    }
    downlink
}

/// Properties, a gateway's batch of them, and questions for a shadow: bounded; what is kept reads back.
pub fn check_properties(bytes: &[u8]) {
    if let Ok(services) = decode_properties(bytes) {
        assert!(bytes.len() <= PROPERTIES_BYTES_MAX);
        services_are_bounded(&services);
        // Written again by a well-behaved device, it says the same.
        let again = written(&services);
        if again.len() <= PROPERTIES_BYTES_MAX {
            let read = decode_properties(again.as_bytes()).unwrap();
            assert_eq!(read.len(), services.len());
            for (read, kept) in read.iter().zip(&services) {
                assert_eq!((&read.service_id, &read.event_time), (&kept.service_id, &kept.event_time));
                assert!(read.properties == kept.properties || kept.properties.contains(['.', 'e', 'E']));
            }
        }
        let shown: Vec<ShadowService> = services
            .into_iter()
            .map(|service| ShadowService {
                service_id: service.service_id,
                reported: service.properties,
                reported_at_ms: 0,
            })
            .collect();
        let shadow = encode_shadow(&DeviceId::parse("d1").unwrap(), &shown);
        assert!(serde_json::from_slice::<Value>(&shadow).is_ok(), "a shadow is no JSON");
    }
    if let Ok(children) = decode_gateway_properties(bytes) {
        assert!(bytes.len() <= PROPERTIES_BYTES_MAX && children.len() <= CHILDREN_PER_BATCH_MAX);
        for (id, services) in &children {
            at_most(id, DEVICE_ID_CHARS_MAX);
            services_are_bounded(services);
        }
    }
    let (about, service_id) = decode_shadow_request(bytes);
    if let Some(about) = about {
        assert!(!about.is_empty() && about != "-1");
        at_most(&about, DEVICE_ID_CHARS_MAX);
    }
    if let Some(service_id) = service_id {
        assert!(!service_id.is_empty());
        at_most(&service_id, NAME_CHARS_MAX);
    }
}

fn services_are_bounded(services: &[ServiceProperties]) {
    assert!(services.len() <= PROPERTY_SERVICES_MAX);
    for service in services {
        assert!(!service.service_id.is_empty());
        at_most(&service.service_id, NAME_CHARS_MAX);
        at_most(service.event_time.as_deref().unwrap_or_default(), EVENT_TIME_CHARS_MAX);
        assert!(serde_json::from_str::<Value>(&service.properties).is_ok_and(|value| value.is_object()));
    }
}

fn written(services: &[ServiceProperties]) -> String {
    let services: Vec<String> = services
        .iter()
        .map(|service| {
            let time = service
                .event_time
                .as_ref()
                .map(|time| format!(",\"event_time\":{}", Value::from(time.as_str())));
            format!(
                "{{\"service_id\":{},\"properties\":{}{}}}",
                Value::from(service.service_id.as_str()),
                service.properties,
                time.unwrap_or_default()
            )
        })
        .collect();
    format!("{{\"services\":[{}]}}", services.join(","))
}

/// Client ids, device ids and stamps: an accepted one prints back to the same text, and fits where it will stand.
pub fn check_identity(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match ClientId::parse(&text) {
        Ok(client_id) => {
            assert_eq!(client_id.to_string(), text);
            assert!(text.len() <= CLIENT_ID_CHARS_MAX && client_id.id_type < 10 && client_id.sign_type < 10);
            assert_eq!(DeviceId::parse(client_id.device.as_str()), Ok(client_id.device));
            check_stamp(&client_id.stamp);
        }
        Err(error) => at_most(&error.to_string(), 6 * FOUND_CHARS_MAX + 128),
    }
    match DeviceId::parse(&text) {
        Ok(id) => {
            assert_eq!(id.to_string(), text);
            assert!((1..=DEVICE_ID_CHARS_MAX).contains(&text.len()));
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)));
            // It stands in topics without being mistaken for a level or a wildcard.
            assert!(
                matches!(classify(&events_up(&id)), Topic::System { device, kind: SystemTopic::EventsUp } if device == text)
            );
            let client_id = format!("{id}_0_1_2025041401");
            assert!(ClientId::parse(&client_id).is_ok_and(|parsed| parsed.device == id));
        }
        Err(DeviceIdError::Empty) => assert!(text.is_empty()),
        Err(DeviceIdError::TooLong { chars }) => assert!(chars > DEVICE_ID_CHARS_MAX),
        Err(DeviceIdError::Character { found, at }) => assert_eq!(text.chars().nth(at - 1), Some(found)),
    }
    if let Ok(stamp) = Stamp::parse(&text) {
        assert_eq!(stamp.as_str(), text);
        check_stamp(&stamp);
    }
    if let Some(unix_ms) = parse_event_time(&text) {
        assert_eq!(format_event_time(unix_ms), text);
    }
}

fn check_stamp(stamp: &Stamp) {
    let password = device_password(b"secret", stamp);
    assert!(password_matches(b"secret", stamp, password.as_bytes()));
    assert!(!password_matches(b"secret", stamp, stamp.as_str().as_bytes()));
    let window = SignWindow { back_hours: 0, ahead_hours: 0 };
    match stamp.hour_since_epoch() {
        Some(hour) => {
            assert!(window.admits(stamp, hour * 3600) && !window.admits(stamp, hour * 3600 + 3600));
        }
        None => assert!(!window.admits(stamp, 0)),
    }
}

/// Topics and filters. Three lines: who asks, a topic, a filter.
pub fn check_topic(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.splitn(3, '\n');
    let own = DeviceId::parse(lines.next().unwrap_or_default());
    let own = own.unwrap_or_else(|_| DeviceId::parse("d1").unwrap());
    let (topic, filter) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    check_class(topic);
    check_filter(filter, topic, &own);
    check_filter(topic, filter, &own);
}

fn check_class(topic: &str) {
    match classify(topic) {
        Topic::System { device, kind } => {
            assert!(!device.is_empty() && !device.contains('/'));
            let suffix = topic.strip_prefix(&format!("$oc/devices/{device}/sys/")).unwrap();
            let plain = suffix.strip_suffix("?encoding=gzip").unwrap_or(suffix);
            let asked =
                |at: &str, request_id: &str| assert_eq!(suffix, format!("{at}/request_id={request_id}"));
            match kind {
                SystemTopic::EventsUp => assert_eq!(suffix, "events/up", "compressed bytes are no JSON"),
                SystemTopic::EventsDown => assert_eq!(suffix, "events/down"),
                SystemTopic::BootstrapUp => assert_eq!(suffix, "bootstrap/up"),
                SystemTopic::PropertiesReport => assert_eq!(plain, "properties/report"),
                SystemTopic::GatewayPropertiesReport => {
                    assert_eq!(plain, "gateway/sub_devices/properties/report");
                }
                SystemTopic::MessagesUp => assert_eq!(plain, "messages/up"),
                SystemTopic::PropertiesSetResponse { request_id } => {
                    asked("properties/set/response", request_id)
                }
                SystemTopic::PropertiesGetResponse { request_id } => {
                    asked("properties/get/response", request_id)
                }
                SystemTopic::ShadowGet { request_id } => asked("shadow/get", request_id),
                SystemTopic::CommandResponse { request_id } => asked("commands/response", request_id),
                SystemTopic::Other(other) => assert_eq!(other, suffix),
            }
            if let Ok(device) = DeviceId::parse(device) {
                assert_eq!(kind == SystemTopic::EventsUp, topic == events_up(&device));
                assert_eq!(kind == SystemTopic::EventsDown, topic == events_down(&device));
            }
        }
        Topic::OtherOc(all) => assert!(all == topic && (topic == "$oc" || topic.starts_with("$oc/"))),
        Topic::Custom(all) => assert!(all == topic && topic != "$oc" && !topic.starts_with("$oc/")),
    }
}

fn check_filter(filter: &str, topic: &str, own: &DeviceId) {
    let matches = filter_matches(filter, topic);
    let levels = |text: &str| text.split('/').map(String::from).collect::<Vec<_>>();
    let is_hidden = topic.starts_with('$') && filter.starts_with(['#', '+']);
    assert_eq!(matches, !is_hidden && covers(&levels(filter), &levels(topic)), "{filter:?} {topic:?}");
    let verdict = classify_filter(filter, own);
    if verdict != FilterVerdict::Foreign {
        // A filter of MQTT: not empty, no NUL, wildcards alone in their level and `#` last.
        assert!(!filter.is_empty() && filter.len() <= TOPIC_BYTES_MAX && !filter.contains('\0'));
        let levels = levels(filter);
        for (at, level) in levels.iter().enumerate() {
            assert!(level == "+" || level == "#" || !level.contains(['+', '#']));
            assert!(level != "#" || at + 1 == levels.len());
        }
    }
    let own_root = format!("$oc/devices/{own}");
    match verdict {
        FilterVerdict::Own { covers_events_down } => {
            assert_eq!(covers_events_down, filter_matches(filter, &events_down(own)));
            let is_own = topic == own_root || topic.starts_with(&format!("{own_root}/"));
            assert!(!matches || is_own, "{filter:?} reaches {topic:?}, which is not {own}'s");
        }
        FilterVerdict::Custom => {
            assert!(!filter_matches(filter, &events_down(own)));
            assert!(!matches || !topic.starts_with('$'), "{filter:?} reaches {topic:?}");
        }
        FilterVerdict::Foreign => {
            assert!(
                !filter.starts_with(&format!("{own_root}/"))
                    || filter.contains(['+', '#', '\0'])
                    || filter.len() > TOPIC_BYTES_MAX
            );
        }
    }
}

/// MQTT 3.1.1, 4.7, said in another way: a filter of levels covers what its first level and the rest cover.
fn covers(filter: &[String], topic: &[String]) -> bool {
    match (filter.split_first(), topic.split_first()) {
        (Some((level, _)), _) if level == "#" => true,
        (Some((level, filter)), Some((found, topic))) => {
            (level == "+" || level == found) && covers(filter, topic)
        }
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn at_most(text: &str, chars_max: usize) {
    assert!(text.chars().count() <= chars_max, "more than {chars_max} characters: {text:?}");
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod corpus;

#[cfg(test)]
mod tests {
    use super::corpus::replay;
    use super::*;

    #[test]
    fn uplinks_keep_what_is_promised() {
        replay("uplink", check_uplink);
    }

    #[test]
    fn downlinks_keep_what_is_promised() {
        replay("downlink", check_downlink);
    }

    #[test]
    fn properties_keep_what_is_promised() {
        replay("properties", check_properties);
    }

    #[test]
    fn ids_keep_what_is_promised() {
        replay("identity", check_identity);
    }

    #[test]
    fn topics_and_filters_keep_what_is_promised() {
        replay("topic", check_topic);
    }
}
