//! Every file of `tests/wire` is one situation and what it means; `tests/wire/README.md` has the format.
//!
//! A folder nobody checks, a file of another kind, a key nobody reads: each fails here, so that no fixture
//! can be there in vain.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use otaru_proto::{
    Access, ClientId, DeviceId, Downlink, EventBody, EventTime, FilterVerdict, Notice, PackageKind,
    ServiceContent, Subject, SystemTopic, TaskInfo, Topic, UplinkEvent, VersionReport, classify,
    classify_filter, decode_downlink, decode_uplink, device_password, encode_downlink, format_event_time,
    parse_event_time, password_matches,
};

#[test]
fn every_situation_means_what_its_file_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire");
    let mut failures = Vec::new();
    let mut count = 0;
    for folder in listed(&root) {
        let name = name_of(&folder);
        if name == "README.md" {
            continue;
        }
        let Some((_, check)) = FOLDERS.iter().find(|(known, _)| *known == name) else {
            failures.push(format!("{name}: no folder of fixtures is called that"));
            continue;
        };
        for file in listed(&folder) {
            count += 1;
            if let Err(failure) = Fixture::read(&file).and_then(|mut fixture| {
                check(&mut fixture)?;
                fixture.nothing_left()
            }) {
                failures.push(format!("{name}/{}: {failure}", name_of(&file)));
            }
        }
    }
    assert!(failures.is_empty(), "{} of {count} fixtures:\n{}", failures.len(), failures.join("\n"));
    for (folder, _) in FOLDERS {
        assert!(!listed(&root.join(folder)).is_empty(), "{folder} is empty");
    }
}

type Check = fn(&mut Fixture) -> Result<(), String>;

const FOLDERS: &[(&str, Check)] = &[
    ("uplink", uplink),
    ("uplink_refused", uplink_refused),
    ("downlink", downlink),
    ("downlink_heard", downlink_heard),
    ("downlink_refused", downlink_refused),
    ("topics", topic),
    ("other_topics", other_topic),
    ("filters", filter),
    ("passwords", password),
    ("client_ids_refused", client_id_refused),
];

fn uplink(fixture: &mut Fixture) -> Result<(), String> {
    if let Some(topic) = fixture.optional("topic") {
        same("class", "events_up", class_of_system(&topic))?;
    }
    let uplink = decode_uplink(&fixture.bytes).map_err(|error| format!("refused: {error}"))?;
    let subject = match &uplink.subject {
        Subject::Connected => String::from("connected"),
        Subject::Named(device) => format!("named {device}"),
        Subject::Unusable(text) => format!("unusable {text:?}"),
    };
    same("subject", &fixture.one("subject")?, subject)?;
    let events: Vec<String> = uplink.events.iter().map(event).collect();
    same("events", &fixture.all("event").join("\n"), events.join("\n"))?;
    let tolerances: Vec<&str> = uplink.tolerances.iter().map(|tolerance| tolerance.as_str()).collect();
    same("tolerances", &fixture.one("tolerances")?, tolerances.join(" "))?;
    reactions(fixture)
}

fn uplink_refused(fixture: &mut Fixture) -> Result<(), String> {
    match decode_uplink(&fixture.bytes) {
        Ok(uplink) => Err(format!("was read: {uplink:?}")),
        Err(error) => {
            same("code", &fixture.one("code")?, error.as_str())?;
            same("error", &fixture.one("error")?, said(&error))
        }
    }
}

fn downlink(fixture: &mut Fixture) -> Result<(), String> {
    let (to, downlink) = expected_downlink(fixture)?;
    let to = to.ok_or("what we send names its device")?;
    let time = fixture.one("time")?;
    let time = parse_event_time(&time).ok_or("time is not in the published form")?;
    if let Downlink::Notice(notice) = &downlink {
        notice.check().map_err(|error| format!("should not be sent: {}", said(&error)))?;
    }
    let sent = encode_downlink(&to, &downlink, time);
    same("bytes", &String::from_utf8_lossy(&fixture.bytes), String::from_utf8_lossy(&sent))?;
    let heard = decode_downlink(&sent).map_err(|error| format!("refused: {}", said(&error)))?;
    same_downlink(&(Some(to), downlink), &heard)
}

fn downlink_heard(fixture: &mut Fixture) -> Result<(), String> {
    let expected = expected_downlink(fixture)?;
    fixture.optional("time");
    let heard = decode_downlink(&fixture.bytes).map_err(|error| format!("refused: {}", said(&error)))?;
    same_downlink(&expected, &heard)
}

fn same_downlink(
    expected: &(Option<DeviceId>, Downlink),
    heard: &(Option<DeviceId>, Downlink),
) -> Result<(), String> {
    same("heard", &format!("{expected:?}"), format!("{heard:?}"))?;
    // Tokens are not printed.
    if expected == heard { Ok(()) } else { Err(String::from("the tokens differ")) }
}

fn downlink_refused(fixture: &mut Fixture) -> Result<(), String> {
    match decode_downlink(&fixture.bytes) {
        Ok(heard) => Err(format!("was read: {heard:?}")),
        Err(error) => same("error", &fixture.one("error")?, said(&error)),
    }
}

fn topic(fixture: &mut Fixture) -> Result<(), String> {
    let topic = fixture.text()?;
    same("class", &fixture.one("class")?, class_of(&topic))
}

fn other_topic(fixture: &mut Fixture) -> Result<(), String> {
    let topic = fixture.one("topic")?;
    same("class", &fixture.one("class")?, class_of(&topic))?;
    reactions(fixture)
}

fn filter(fixture: &mut Fixture) -> Result<(), String> {
    let own = device(&fixture.one("own")?)?;
    let verdict = match classify_filter(&fixture.text()?, &own) {
        FilterVerdict::Own { covers_events_down: true } => "own, covers events/down",
        FilterVerdict::Own { covers_events_down: false } => "own",
        FilterVerdict::Custom => "custom",
        FilterVerdict::Foreign => "foreign",
    };
    same("verdict", &fixture.one("verdict")?, verdict)
}

fn password(fixture: &mut Fixture) -> Result<(), String> {
    let text = fixture.text()?;
    let client_id = ClientId::parse(&text).map_err(|error| said(&error))?;
    same("printed", &text, client_id.to_string())?;
    same("device", &fixture.one("device")?, client_id.device.as_str())?;
    same("id_type", &fixture.one("id_type")?, client_id.id_type.to_string())?;
    same("sign_type", &fixture.one("sign_type")?, client_id.sign_type.to_string())?;
    same("stamp", &fixture.one("stamp")?, client_id.stamp.as_str())?;
    let hours = client_id.stamp.hour_since_epoch().map(|hours| hours.to_string()).unwrap_or_default();
    same("hours", &fixture.one("hours_since_1970")?, hours)?;

    let secret = fixture.one("secret")?;
    let password = fixture.one("password")?;
    same("password", &password, device_password(secret.as_bytes(), &client_id.stamp))?;
    let admitted =
        |given: &str| password_matches(secret.as_bytes(), &client_id.stamp, given.as_bytes()).to_string();
    same("in lower case", "true", admitted(&password))?;
    same("in upper case", "true", admitted(&password.to_uppercase()))?;
    same("cut", "false", admitted(&password[1..]))?;
    same("empty", "false", admitted(""))?;
    let other = if password.ends_with('0') { '1' } else { '0' };
    same("one digit off", "false", admitted(&format!("{}{other}", &password[..63])))
}

fn client_id_refused(fixture: &mut Fixture) -> Result<(), String> {
    match ClientId::parse(&fixture.text()?) {
        Ok(client_id) => Err(format!("was read: {client_id:?}")),
        Err(error) => same("error", &fixture.one("error")?, said(&error)),
    }
}

// What things are called in the files.

fn event(event: &UplinkEvent) -> String {
    let body = match &event.body {
        EventBody::VersionReport(VersionReport { fw_version, sw_version, modules }) => {
            let modules: String =
                modules.iter().map(|(name, version)| format!(" module {name}={version}")).collect();
            let fw = quoted(fw_version.as_ref().map(|version| version.as_str()));
            let sw = quoted(sw_version.as_ref().map(|version| version.as_str()));
            format!("version fw={fw} sw={sw}{modules}")
        }
        EventBody::ProgressReport(report) => {
            let progress = match report.progress {
                Some(percent) => percent.get().to_string(),
                None if report.progress_unusable => String::from("unusable"),
                None => String::from("-"),
            };
            let version = quoted(report.version.as_ref().map(|version| version.as_str()));
            let description = quoted(report.description.as_deref());
            let code = report.code.to_wire();
            format!("progress code={code} progress={progress} version={version} description={description}")
        }
        EventBody::OtherService { service_id, event_type, content } => {
            let content = content.as_deref().map(|content| format!(" says {}", content_line(content)));
            format!("other {service_id} {event_type}{}", content.unwrap_or_default())
        }
        EventBody::UnknownOta { event_type } => format!("unknown {event_type}"),
        EventBody::Nameless => String::from("nameless"),
        EventBody::Rejected { event_type, problem } => format!("rejected {event_type}: {problem}"),
    };
    let time = match &event.event_time {
        EventTime::Documented(unix_ms) => format_event_time(*unix_ms),
        EventTime::Odd(text) => format!("odd:{text:?}"),
        EventTime::Absent => String::from("-"),
    };
    format!("{body} time={time} id={}", quoted(event.event_id.as_deref()))
}

/// What an event of another service says, in one line.
fn content_line(content: &ServiceContent) -> String {
    match content {
        ServiceContent::TimeSync { device_send_time } => format!("time {device_send_time}"),
        ServiceContent::SyncChildren { version } => format!("sync {version}"),
        ServiceContent::ChildStatuses(statuses) => {
            let each = statuses.iter().map(|status| match &status.online {
                Ok(true) => format!("{}=online", status.device_id),
                Ok(false) => format!("{}=offline", status.device_id),
                Err(other) => format!("{}={other:?}", status.device_id),
            });
            each.collect::<Vec<_>>().join(" ")
        }
        ServiceContent::AddChildren(children) => {
            let each = children
                .iter()
                .map(|child| format!("add {} name={}", child.id(), quoted(child.name.as_deref())));
            each.collect::<Vec<_>>().join(" ")
        }
        ServiceContent::DeleteChildren(ids) => format!("delete {}", ids.join(" ")),
        ServiceContent::Log(line) => {
            let (timestamp, kind) = (quoted(line.timestamp.as_deref()), quoted(line.kind.as_deref()));
            format!("log {timestamp} {kind} {:?}", line.content)
        }
        ServiceContent::SdkInfo { sdk_version } => format!("sdk {}", quoted(sdk_version.as_deref())),
        ServiceContent::FileUrl { upload, file_name } => format!("url upload={upload} {file_name:?}"),
        ServiceContent::Unusable { request, problem } => format!("unusable {request:?}: {problem}"),
    }
}

fn quoted(text: Option<&str>) -> String {
    text.map_or_else(|| String::from("-"), |text| format!("{text:?}"))
}

fn class_of(topic: &str) -> String {
    match classify(topic) {
        Topic::System { device, .. } => format!("system {device} {}", class_of_system(topic)),
        Topic::OtherOc(_) => String::from("other_oc"),
        Topic::Custom(_) => String::from("custom"),
    }
}

fn class_of_system(topic: &str) -> String {
    let Topic::System { kind, .. } = classify(topic) else { return class_of(topic) };
    match kind {
        SystemTopic::EventsUp => String::from("events_up"),
        SystemTopic::EventsDown => String::from("events_down"),
        SystemTopic::PropertiesReport => String::from("properties_report"),
        SystemTopic::GatewayPropertiesReport => String::from("gateway_properties_report"),
        SystemTopic::PropertiesSetResponse { request_id } => format!("properties_set_response {request_id}"),
        SystemTopic::PropertiesGetResponse { request_id } => format!("properties_get_response {request_id}"),
        SystemTopic::ShadowGet { request_id } => format!("shadow_get {request_id}"),
        SystemTopic::CommandResponse { request_id } => format!("command_response {request_id}"),
        SystemTopic::MessagesUp => String::from("messages_up"),
        SystemTopic::BootstrapUp => String::from("bootstrap_up"),
        SystemTopic::Other(suffix) => format!("other {suffix}"),
    }
}

fn expected_downlink(fixture: &mut Fixture) -> Result<(Option<DeviceId>, Downlink), String> {
    let to = match fixture.one("to")?.as_str() {
        "-" => None,
        id => Some(device(id)?),
    };
    let number = |text: String| text.parse::<u32>().map_err(|error| format!("{text}: {error}"));
    let task_id = fixture.optional("task_id");
    let sub_device_count = fixture.optional("sub_device_count").map(number).transpose()?;
    let ext = fixture.optional("task_ext_info");
    let task = (task_id.is_some() || sub_device_count.is_some() || ext.is_some()).then(|| TaskInfo {
        task_id: task_id.unwrap_or_default(),
        sub_device_count: sub_device_count.unwrap_or_default(),
        ext,
    });
    let token = fixture.optional("access_token");
    let (kind, access) = match (fixture.one("says")?.as_str(), token) {
        ("version_query", None) => return Ok((to, Downlink::VersionQuery { task })),
        ("firmware_upgrade", Some(token)) => (PackageKind::Firmware, Access::Token(token)),
        ("software_upgrade", Some(token)) => (PackageKind::Software, Access::Token(token)),
        ("firmware_upgrade_v2", None) => (PackageKind::Firmware, Access::SignedUrl),
        ("software_upgrade_v2", None) => (PackageKind::Software, Access::SignedUrl),
        (other, _) => return Err(format!("says {other}, with or without a token, is no downlink")),
    };
    let notice = Notice {
        kind,
        access,
        version: fixture.one("version")?,
        url: fixture.one("url")?,
        file_size: number(fixture.one("file_size")?)?.into(),
        file_name: fixture.one("file_name")?,
        expires_secs: number(fixture.one("expires")?)?,
        sign: fixture.one("sign")?,
        custom_info: fixture.optional("custom_info"),
        task,
    };
    Ok((to, Downlink::Notice(notice)))
}

/// Looks at the form of the reactions; what they mean is for the crates that decide.
fn reactions(fixture: &mut Fixture) -> Result<(), String> {
    let lines = fixture.all("reaction");
    if lines.is_empty() {
        return Err(String::from("has no reaction"));
    }
    for line in lines {
        let (state, reactions) = line.split_once(" -> ").ok_or(format!("{line}: has no arrow"))?;
        let keys: Vec<&str> =
            state.split(' ').map(|part| part.split_once('=').map_or(part, |(key, _)| key)).collect();
        match keys.as_slice() {
            ["state"] | ["state", "kind", "target", "stored"] | ["then", "answered"] => {}
            _ => return Err(format!("{state}: no such state")),
        }
        for reaction in reactions.split("; ") {
            let known = match reaction.split_once(' ') {
                Some(("progress" | "fail", number)) => number.parse::<i64>().is_ok(),
                Some(("answer", _)) => true,
                Some(_) => false,
                None => [
                    "ignore",
                    "refuse_subject",
                    "keep_waiting",
                    "send_notice",
                    "carry_on",
                    "await_install",
                    "ask_version",
                    "succeed",
                    "none",
                ]
                .contains(&reaction),
            };
            if !known {
                return Err(format!("{reaction}: no such reaction"));
            }
        }
    }
    Ok(())
}

// The files themselves.

struct Fixture {
    bytes: Vec<u8>,
    meaning: BTreeMap<String, Vec<String>>,
}

impl Fixture {
    fn read(path: &Path) -> Result<Fixture, String> {
        if path.extension().is_none_or(|extension| extension != "txt") {
            return Err(String::from("is no .txt"));
        }
        let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
        let rest = text.strip_prefix("origin: ").ok_or("does not begin with its origin")?;
        let (origin, rest) = rest.split_once('\n').ok_or("ends after its origin")?;
        let (payload, meaning) = rest.split_once("\n====\n").ok_or("has no separator")?;
        if origin.is_empty() {
            return Err(String::from("has an empty origin"));
        }
        let bytes = match payload.strip_prefix("hex: ") {
            Some(hex) => from_hex(hex).ok_or("has no valid hex")?,
            None => payload.as_bytes().to_vec(),
        };
        let mut fixture = Fixture { bytes, meaning: BTreeMap::new() };
        for line in meaning.lines() {
            let (key, value) = line.split_once(':').ok_or(format!("{line}: is no key and value"))?;
            let value = value.strip_prefix(' ').unwrap_or(value);
            fixture.meaning.entry(key.to_owned()).or_default().push(value.to_owned());
        }
        fixture.meaning.remove("note");
        Ok(fixture)
    }

    fn text(&self) -> Result<String, String> {
        String::from_utf8(self.bytes.clone()).map_err(|error| error.to_string())
    }

    fn all(&mut self, key: &str) -> Vec<String> {
        self.meaning.remove(key).unwrap_or_default()
    }

    fn optional(&mut self, key: &str) -> Option<String> {
        self.all(key).into_iter().next()
    }

    fn one(&mut self, key: &str) -> Result<String, String> {
        match <[String; 1]>::try_from(self.all(key)) {
            Ok([value]) => Ok(value),
            Err(values) => Err(format!("has {} lines with {key}, one is needed", values.len())),
        }
    }

    fn nothing_left(&self) -> Result<(), String> {
        match self.meaning.keys().next() {
            Some(key) => Err(format!("{key}: nobody reads this")),
            None => Ok(()),
        }
    }
}

fn same(what: &str, expected: &str, found: impl AsRef<str>) -> Result<(), String> {
    let found = found.as_ref();
    if expected == found {
        return Ok(());
    }
    Err(format!("{what} differs\n    expected: {expected}\n    found:    {found}"))
}

/// The error and its causes, as whoever reports it prints them.
fn said(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    said
}

fn device(id: &str) -> Result<DeviceId, String> {
    DeviceId::parse(id).map_err(|error| error.to_string())
}

fn from_hex(hex: &str) -> Option<Vec<u8>> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
}

fn listed(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    paths.sort();
    paths
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
