//! What holds for any publication of a device on its other topics. `fuzz/README.md` lists the promises.
//!
//! Not part of any build but tests and `cargo fuzz`.

#![allow(clippy::unwrap_used, reason = "a promise that is broken is to be seen")]

use otaru_proto::{
    DEVICE_ID_CHARS_MAX, NAME_CHARS_MAX, PROPERTY_SERVICES_MAX, SystemTopic, Topic, classify,
    decode_properties, shadow_response,
};

use crate::inbox::UplinkReading;
use crate::limits::REQUEST_ID_CHARS_MAX;
use crate::told::Told;

/// A topic, a line break, and a payload: what is told belongs to the topic, and an answer stays below the device's own.
pub fn check_told(bytes: &[u8]) {
    let at = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (topic, payload) = bytes.split_at(at);
    let topic = String::from_utf8_lossy(topic);
    let payload = payload.get(1..).unwrap_or_default();
    let told = match UplinkReading::of_other_topic(&topic, payload) {
        UplinkReading::Told(told) => told,
        UplinkReading::Ignored => return,
        reading @ (UplinkReading::Event(_) | UplinkReading::ForeignTopic(_)) => {
            panic!("{topic}: {reading:?}")
        }
    };
    assert!(!topic.ends_with("?encoding=gzip"), "compressed bytes are not read");
    let Topic::System { kind, .. } = classify(&topic) else { panic!("{topic} is none of the platform's") };
    match told {
        Told::Properties(services) => {
            assert!(matches!(
                kind,
                SystemTopic::PropertiesReport | SystemTopic::PropertiesGetResponse { .. }
            ));
            assert_eq!(decode_properties(payload), Ok(services));
        }
        Told::ChildrensProperties(children) => {
            assert_eq!(kind, SystemTopic::GatewayPropertiesReport);
            for (id, services) in children {
                assert!(id.as_str().len() <= DEVICE_ID_CHARS_MAX && services.len() <= PROPERTY_SERVICES_MAX);
            }
        }
        Told::ShadowRequest { request_id, about, service_id } => {
            assert_eq!(kind, SystemTopic::ShadowGet { request_id: &request_id });
            assert!(request_id.chars().count() <= REQUEST_ID_CHARS_MAX);
            assert!(service_id.is_none_or(|service| (1..=NAME_CHARS_MAX).contains(&service.chars().count())));
            assert_ne!(about.as_ref().map(otaru_proto::DeviceId::as_str), Some("-1"));
            let own = otaru_proto::DeviceId::parse("d1").unwrap();
            let answer = shadow_response(&own, &request_id);
            assert!(answer.starts_with("$oc/devices/d1/sys/shadow/get/response/request_id="));
            is_a_topic(&answer);
        }
    }
}

/// MQTT 3.1.1, 3.3.2.1 and 4.7.3: what is published to has no wildcards and no NUL.
fn is_a_topic(topic: &str) {
    assert!(!topic.contains(['+', '#', '\0']), "nothing can be published on {topic:?}");
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod corpus;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_keeps_what_is_promised() {
        corpus::replay("told", check_told);
    }
}
