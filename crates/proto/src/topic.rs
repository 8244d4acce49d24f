//! Topics: where a message goes and who may listen there.
//!
//! Always true:
//! - Everything that begins with `$oc/` belongs to the platform; every other topic is the customer's own.
//! - Classifying never fails: an unknown topic has a class of its own.
//!
//! Not here: what to do with a publication to somebody else's topic, and the content of messages.

use alloc::string::String;

use crate::device_id::DeviceId;
use crate::limits::TOPIC_BYTES_MAX;

/// Where a device reports events: `$oc/devices/{device_id}/sys/events/up`.
pub fn events_up(device: &DeviceId) -> String {
    system_topic(device, "events/up")
}

/// Where the answer to the `shadow/get` with this `request_id` goes.
pub fn shadow_response(device: &DeviceId, request_id: &str) -> String {
    let mut topic = system_topic(device, "shadow/get/response/request_id=");
    topic.push_str(request_id);
    topic
}

/// Where a device is told events: `$oc/devices/{device_id}/sys/events/down`.
///
/// Most SDKs never subscribe to it and expect it to be delivered all the same.
pub fn events_down(device: &DeviceId) -> String {
    system_topic(device, EVENTS_DOWN)
}

/// What a topic is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic<'a> {
    /// Under `$oc/devices/{device}/sys/`.
    System {
        /// The device level of the topic as it stands there, not checked to be a [`DeviceId`].
        device: &'a str,
        /// What follows `sys/`.
        kind: SystemTopic<'a>,
    },
    /// The rest of `$oc/`: user topics of a device, device to device, bridges.
    OtherOc(&'a str),
    /// Anything else: topics the customer made up, and the older `/huawei/v1/…`.
    Custom(&'a str),
}

/// What follows `$oc/devices/{device}/sys/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemTopic<'a> {
    /// `events/up`: reports of the device. The one uplink we read.
    EventsUp,
    /// `events/down`: what we tell the device. The Go SDK also publishes its file results here.
    EventsDown,
    /// `properties/report`
    PropertiesReport,
    /// `gateway/sub_devices/properties/report`
    GatewayPropertiesReport,
    /// `properties/set/response/request_id={request_id}`
    PropertiesSetResponse {
        /// Chosen by whoever asked.
        request_id: &'a str,
    },
    /// `properties/get/response/request_id={request_id}`
    PropertiesGetResponse {
        /// Chosen by whoever asked.
        request_id: &'a str,
    },
    /// `shadow/get/request_id={request_id}`
    ShadowGet {
        /// Chosen by the device; to be repeated in the topic of an answer.
        request_id: &'a str,
    },
    /// `commands/response/request_id={request_id}`
    CommandResponse {
        /// Chosen by whoever asked.
        request_id: &'a str,
    },
    /// `messages/up`
    MessagesUp,
    /// `bootstrap/up`
    BootstrapUp,
    /// Anything else under `sys/`, without that prefix.
    Other(&'a str),
}

/// Says what `topic` is for.
///
/// `messages/up`, `properties/report` and the gateway's batch may end in `?encoding=gzip`, as SDKs send
/// them when told to compress. Events have no such form: `events/up?encoding=gzip` is
/// [`SystemTopic::Other`], so that compressed bytes are never taken for JSON.
pub fn classify(topic: &str) -> Topic<'_> {
    let Some(rest) = topic.strip_prefix("$oc/") else {
        return if topic == "$oc" { Topic::OtherOc(topic) } else { Topic::Custom(topic) };
    };
    let system = rest
        .strip_prefix("devices/")
        .and_then(|rest| rest.split_at_checked(rest.bytes().position(|byte| byte == b'/')?))
        .and_then(|(device, rest)| Some((device, rest.strip_prefix("/sys/")?)))
        .filter(|(device, suffix)| !device.is_empty() && !suffix.is_empty());
    match system {
        Some((device, suffix)) => Topic::System { device, kind: classify_suffix(suffix) },
        None => Topic::OtherOc(topic),
    }
}

/// What to answer to a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterVerdict {
    /// Inside the device's own `$oc/devices/{own}/`, with or without wildcards.
    Own {
        /// Whether the filter covers the own `events/down`, which is delivered without subscribing too:
        /// once, not twice.
        covers_events_down: bool,
    },
    /// Topics the customer made up.
    Custom,
    /// Somebody else's, everybody's (`#`, `+/…`), the server's (`$SYS`, `$share`), or no valid filter.
    Foreign,
}

/// Says whose topics `filter` covers, for a device that is `own`.
///
/// A filter that begins with a wildcard covers other people's topics and is foreign, even though MQTT
/// keeps it away from `$oc`. Shared subscriptions are foreign: a device has one session, so there is
/// nobody to share with.
pub fn classify_filter(filter: &str, own: &DeviceId) -> FilterVerdict {
    if !is_valid_filter(filter) {
        return FilterVerdict::Foreign;
    }
    let inside_own = filter
        .strip_prefix("$oc/devices/")
        .and_then(|rest| rest.strip_prefix(own.as_str()))
        .and_then(|rest| rest.strip_prefix('/'));
    if let Some(rest) = inside_own {
        return FilterVerdict::Own { covers_events_down: filter_matches(rest, "sys/events/down") };
    }
    if filter.starts_with(['$', '#', '+']) { FilterVerdict::Foreign } else { FilterVerdict::Custom }
}

/// Whether `filter` covers `topic`, level by level (MQTT 3.1.1, 4.7).
///
/// Both are taken to be valid. `a/#` covers `a` as well, and a wildcard in the first level does not match a
/// topic that begins with `$`.
pub fn filter_matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['#', '+']) {
        return false;
    }
    let mut topic_levels = topic.split('/');
    for level in filter.split('/') {
        if level == "#" {
            return true;
        }
        match topic_levels.next() {
            Some(found) if level == "+" || level == found => {}
            Some(_) | None => return false,
        }
    }
    topic_levels.next().is_none()
}

const EVENTS_DOWN: &str = "events/down";

const GZIP: &str = "?encoding=gzip";

fn system_topic(device: &DeviceId, suffix: &str) -> String {
    let mut topic = String::with_capacity(18 + device.as_str().len() + suffix.len());
    topic.push_str("$oc/devices/");
    topic.push_str(device.as_str());
    topic.push_str("/sys/");
    topic.push_str(suffix);
    topic
}

fn classify_suffix(suffix: &str) -> SystemTopic<'_> {
    match suffix {
        "events/up" => return SystemTopic::EventsUp,
        EVENTS_DOWN => return SystemTopic::EventsDown,
        "bootstrap/up" => return SystemTopic::BootstrapUp,
        _ => {}
    }
    match suffix.strip_suffix(GZIP).unwrap_or(suffix) {
        "properties/report" => return SystemTopic::PropertiesReport,
        "gateway/sub_devices/properties/report" => return SystemTopic::GatewayPropertiesReport,
        "messages/up" => return SystemTopic::MessagesUp,
        _ => {}
    }
    match suffix.split_once("/request_id=") {
        Some(("properties/set/response", request_id)) => SystemTopic::PropertiesSetResponse { request_id },
        Some(("properties/get/response", request_id)) => SystemTopic::PropertiesGetResponse { request_id },
        Some(("shadow/get", request_id)) => SystemTopic::ShadowGet { request_id },
        Some(("commands/response", request_id)) => SystemTopic::CommandResponse { request_id },
        Some(_) | None => SystemTopic::Other(suffix),
    }
}

/// MQTT 3.1.1, 4.7.1 and 4.7.3: not empty, no NUL, wildcards alone in their level, `#` only at the end.
fn is_valid_filter(filter: &str) -> bool {
    if filter.is_empty() || filter.len() > TOPIC_BYTES_MAX || filter.contains('\0') {
        return false;
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let valid = match level {
            "#" => levels.peek().is_none(),
            "+" => true,
            other => !other.contains(['#', '+']),
        };
        if !valid {
            return false;
        }
    }
    true
}
