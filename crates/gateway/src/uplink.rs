//! What a publication is, judged by its topic.
//!
//! Always true:
//! - Only the device's own `events/up`, properties and questions for its shadow are read.
//! - No topic costs a device its connection: what is not for us is acknowledged in its turn.
//!
//! Not here: what a report means (`otaru-core`), and the acknowledgement (`session`).

use bytes::Bytes;
use otaru_engine::UplinkReading;
use otaru_proto::{DeviceId, SystemTopic, Topic, classify, decode_uplink};

use crate::limits::FOREIGN_TOPIC_CHARS_MAX;

/// What a topic is for, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Events,
    Properties,
    Messages,
    Commands,
    Shadow,
    Bootstrap,
    /// Also what a device publishes on its own downlink topics, as the Go SDK does with its file results.
    OtherOwn,
    Custom,
    Foreign,
}

impl Kind {
    pub(crate) const ALL: [Kind; 9] = [
        Kind::Events,
        Kind::Properties,
        Kind::Messages,
        Kind::Commands,
        Kind::Shadow,
        Kind::Bootstrap,
        Kind::OtherOwn,
        Kind::Custom,
        Kind::Foreign,
    ];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Kind::Events => "events",
            Kind::Properties => "properties",
            Kind::Messages => "messages",
            Kind::Commands => "commands",
            Kind::Shadow => "shadow",
            Kind::Bootstrap => "bootstrap",
            Kind::OtherOwn => "other",
            Kind::Custom => "custom",
            Kind::Foreign => "foreign",
        }
    }
}

/// Says what a publication of `own` on `topic` is.
pub(crate) fn kind_of(topic: &str, own: &DeviceId) -> Kind {
    match classify(topic) {
        Topic::System { device, .. } if device != own.as_str() => Kind::Foreign,
        Topic::System { kind, .. } => match kind {
            SystemTopic::EventsUp => Kind::Events,
            SystemTopic::PropertiesReport
            | SystemTopic::GatewayPropertiesReport
            | SystemTopic::PropertiesSetResponse { .. }
            | SystemTopic::PropertiesGetResponse { .. } => Kind::Properties,
            SystemTopic::MessagesUp => Kind::Messages,
            SystemTopic::CommandResponse { .. } => Kind::Commands,
            SystemTopic::ShadowGet { .. } => Kind::Shadow,
            SystemTopic::BootstrapUp => Kind::Bootstrap,
            SystemTopic::EventsDown | SystemTopic::Other(_) => Kind::OtherOwn,
        },
        Topic::OtherOc(topic) => match device_level(topic) {
            Some(device) if device != own.as_str() => Kind::Foreign,
            // Also device to device and bridges, which are nobody's in particular.
            Some(_) | None => Kind::OtherOwn,
        },
        Topic::Custom(_) => Kind::Custom,
    }
}

/// What is recorded of somebody else's topic.
fn clip(topic: &str) -> String {
    topic.chars().take(FOREIGN_TOPIC_CHARS_MAX).collect()
}

/// What the engine is told of a publication, and with which payload.
///
/// The payload goes along only where it is read: what is ignored need not be held until it is acknowledged.
pub(crate) fn read(kind: Kind, topic: &str, payload: Bytes) -> (UplinkReading, Bytes) {
    match kind {
        Kind::Events => (UplinkReading::Event(decode_uplink(&payload)), payload),
        Kind::Foreign => (UplinkReading::ForeignTopic(clip(topic)), Bytes::new()),
        Kind::Properties | Kind::Shadow => {
            let reading = UplinkReading::of_other_topic(topic, &payload);
            let is_held = matches!(reading, UplinkReading::Told(_));
            (reading, if is_held { payload } else { Bytes::new() })
        }
        Kind::Messages | Kind::Commands | Kind::Bootstrap | Kind::OtherOwn | Kind::Custom => {
            (UplinkReading::Ignored, Bytes::new())
        }
    }
}

/// The device in `$oc/devices/{device}/…`.
fn device_level(topic: &str) -> Option<&str> {
    topic.strip_prefix("$oc/devices/")?.split('/').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(topic: &str) -> Kind {
        kind_of(topic, &DeviceId::parse("p1_d1").unwrap())
    }

    #[test]
    fn one_topic_is_read() {
        assert_eq!(kind("$oc/devices/p1_d1/sys/events/up"), Kind::Events);
        assert_eq!(kind("$oc/devices/p1_d1/sys/events/up/x"), Kind::OtherOwn);
    }

    #[test]
    fn the_other_own_topics_are_told_apart_for_counting() {
        assert_eq!(kind("$oc/devices/p1_d1/sys/properties/report?encoding=gzip"), Kind::Properties);
        assert_eq!(kind("$oc/devices/p1_d1/sys/messages/up"), Kind::Messages);
        assert_eq!(kind("$oc/devices/p1_d1/sys/commands/response/request_id=7"), Kind::Commands);
        assert_eq!(kind("$oc/devices/p1_d1/sys/shadow/get/request_id=7"), Kind::Shadow);
        assert_eq!(kind("$oc/devices/p1_d1/sys/bootstrap/up"), Kind::Bootstrap);
        assert_eq!(kind("$oc/devices/p1_d1/sys/events/down"), Kind::OtherOwn);
        assert_eq!(kind("$oc/devices/p1_d1/user/x"), Kind::OtherOwn);
        assert_eq!(kind("$oc/m2m/to/p1_d2/from/p1_d1/request_id=7"), Kind::OtherOwn);
        assert_eq!(kind("/huawei/v1/devices/p1_d2/data/json"), Kind::Custom);
        assert_eq!(kind("telemetry"), Kind::Custom);
    }

    #[test]
    fn another_devices_topics_are_foreign_whatever_they_are_for() {
        assert_eq!(kind("$oc/devices/p1_d2/sys/events/up"), Kind::Foreign);
        assert_eq!(kind("$oc/devices/p1_d2/sys/messages/up"), Kind::Foreign);
        assert_eq!(kind("$oc/devices/p1_d2/user/x"), Kind::Foreign);
        assert_eq!(kind("$oc/devices/p1_d11/sys/events/up"), Kind::Foreign);
        assert_eq!(kind("$oc/devices/P1_D1/sys/events/up"), Kind::Foreign);
    }

    #[test]
    fn only_what_is_read_is_held() {
        let payload = Bytes::from_static(b"{}");
        assert_eq!(read(Kind::Events, "", payload.clone()).1, payload);
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Events) {
            assert!(read(kind, "t", payload.clone()).1.is_empty(), "{kind:?}");
        }
        let report = "$oc/devices/p1_d1/sys/properties/report";
        let properties = Bytes::from_static(br#"{"services":[]}"#);
        assert_eq!(read(Kind::Properties, report, properties.clone()).1, properties);
        let compressed = format!("{report}?encoding=gzip");
        assert!(read(Kind::Properties, &compressed, properties).1.is_empty());
    }
}
