//! What devices are told: without asking for it, once, and in one session only.

use crate::link::*;
use crate::platform::{Platform, SECRET};

const DEVICE: &str = "p1_d1";
const EVENTS_DOWN: &str = "$oc/devices/p1_d1/sys/events/down";

#[tokio::test]
async fn a_device_that_never_subscribes_is_told_once() {
    for version in ALL_VERSIONS {
        let platform = Platform::start().await;
        let mut link = platform.device(DEVICE, version).await;
        platform.upgrade(DEVICE).await;
        let told = link.told().await;
        assert_eq!((told.topic.as_str(), told.qos, told.dup), (EVENTS_DOWN, 1, false));
        assert!(told.payload.contains("version_query"), "{}", told.payload);
        link.is_alive().await;
        link.acknowledge(told.packet_id.unwrap()).await;
        link.is_alive().await;
    }
}

#[tokio::test]
async fn a_device_that_subscribes_is_told_once_too() {
    for version in ALL_VERSIONS {
        let platform = Platform::start().await;
        let mut link = platform.device(DEVICE, version).await;
        let wishes = [(EVENTS_DOWN, 0), ("$oc/devices/p1_d1/#", 1), ("$oc/devices/p1_d1/sys/events/+", 0)];
        let subscribe = link.subscribe(1, &wishes);
        link.send(&subscribe).await;
        link.expect(SUBACK).await;
        platform.upgrade(DEVICE).await;
        assert_eq!(link.told().await.qos, 1, "asking for QoS 0 lowers nothing");
        link.is_alive().await;
    }
}

#[tokio::test]
async fn taking_the_subscription_back_takes_nothing_away() {
    let platform = Platform::start().await;
    let mut link = platform.device(DEVICE, V3_1_1).await;
    let subscribe = link.subscribe(1, &[(EVENTS_DOWN, 1)]);
    link.send(&subscribe).await;
    link.expect(SUBACK).await;
    let unsubscribe = link.unsubscribe(2, &[EVENTS_DOWN, "$oc/devices/p1_d1/#"]);
    link.send(&unsubscribe).await;
    link.expect(UNSUBACK).await;
    platform.upgrade(DEVICE).await;
    assert_eq!(link.told().await.topic, EVENTS_DOWN);
}

#[tokio::test]
async fn with_qos_0_by_default_a_subscription_raises_it() {
    for (qos, expected) in [(0, 0), (1, 1), (2, 1)] {
        let platform =
            Platform::with(|limits| limits.downlink_qos = otaru_gateway::DownlinkQos::AtMostOnce).await;
        let mut link = platform.device(DEVICE, V3_1_1).await;
        let subscribe = link.subscribe(1, &[("$oc/devices/p1_d1/sys/#", qos)]);
        link.send(&subscribe).await;
        link.expect(SUBACK).await;
        platform.upgrade(DEVICE).await;
        let told = link.told().await;
        assert_eq!((told.qos, told.packet_id.is_some()), (expected, expected == 1));
    }
}

#[tokio::test]
async fn only_own_and_made_up_topics_may_be_subscribed() {
    let platform = Platform::start().await;
    for version in ALL_VERSIONS {
        let device = format!("p1_{version:?}");
        let mut link = platform.device(&device, version).await;
        let own = format!("$oc/devices/{device}/#");
        let wishes = [
            (own.as_str(), 1),
            ("$oc/devices/p1_other/sys/events/down", 1),
            ("$oc/devices/+/sys/events/down", 1),
            ("#", 0),
            ("+/x", 0),
            ("customers/own", 2),
            ("customers/own", 0),
            ("$share/group/customers/own", 1),
            ("$SYS/#", 0),
        ];
        let subscribe = link.subscribe(7, &wishes);
        link.send(&subscribe).await;
        let suback = link.expect(SUBACK).await;
        let (no, no_sharing) = if version == V5 { (135, 158) } else { (128, 128) };
        let codes = &suback.body[suback.body.len() - wishes.len()..];
        assert_eq!(codes, [1, no, no, no, no, 1, 0, no_sharing, no], "{version:?}");
        link.is_alive().await;
    }
}

#[tokio::test]
async fn another_device_hears_nothing_of_it() {
    let platform = Platform::start().await;
    let mut eavesdropper = platform.device("p1_d2", V3_1_1).await;
    let subscribe = eavesdropper.subscribe(1, &[("#", 1), (EVENTS_DOWN, 1), ("$oc/devices/+/#", 1)]);
    eavesdropper.send(&subscribe).await;
    eavesdropper.expect(SUBACK).await;
    let mut link = platform.device(DEVICE, V3_1_1).await;
    platform.upgrade(DEVICE).await;
    link.told().await;
    eavesdropper.is_alive().await;
}

#[tokio::test]
async fn what_was_not_acknowledged_does_not_come_again() {
    let platform = Platform::start().await;
    let mut first = platform.device(DEVICE, V5).await;
    platform.upgrade(DEVICE).await;
    first.told().await;
    let mut second = platform.connect(Connect { clean: false, ..Connect::of(V5, DEVICE, SECRET) }).await;
    first.is_sent_away(142).await;
    // It is asked anew, with a message of its own.
    let told = second.told().await;
    assert!(!told.dup && told.payload.contains("version_query"), "{told:?}");
    second.is_alive().await;
}

#[tokio::test]
async fn an_acknowledgement_from_an_earlier_session_is_harmless() {
    let platform = Platform::start().await;
    for version in ALL_VERSIONS {
        let mut link = platform.device(&format!("p1_{version:?}"), version).await;
        link.acknowledge(1).await;
        link.acknowledge(7).await;
        link.is_alive().await;
    }
}

#[tokio::test]
async fn a_late_acknowledgement_holds_nothing_up() {
    let platform = Platform::start().await;
    let mut link = platform.device(DEVICE, V3_1_1).await;
    platform.upgrade(DEVICE).await;
    let query = link.told().await;
    let report = link.publish(&events_up(DEVICE), 1, 1, &version_report("V1"));
    link.send(&report).await;
    let notice = notice_after_puback(&mut link).await;
    assert_ne!(notice.packet_id, query.packet_id, "both wait for their acknowledgement");
    link.acknowledge(notice.packet_id.unwrap()).await;
    link.acknowledge(query.packet_id.unwrap()).await;
    link.is_alive().await;
}

#[tokio::test]
async fn an_mqtt_5_device_may_take_them_one_by_one() {
    let platform = Platform::start().await;
    platform.register(DEVICE).await;
    let receive_maximum_1 = vec![0x21, 0, 1];
    let connect = Connect { properties: receive_maximum_1, ..Connect::of(V5, DEVICE, SECRET) };
    let mut link = platform.connect(connect).await;
    platform.upgrade(DEVICE).await;
    let query = link.told().await;
    let report = link.publish(&events_up(DEVICE), 1, 1, &version_report("V1"));
    link.send(&report).await;
    assert_eq!(link.puback().await, (1, 0));
    // The notice follows from the report and is in the outbox now; it waits.
    link.is_alive().await;
    link.acknowledge(query.packet_id.unwrap()).await;
    let notice = link.told().await;
    assert!(notice.payload.contains("firmware_upgrade"), "{}", notice.payload);
}

#[tokio::test]
async fn a_device_that_lets_too_many_wait_is_sent_away() {
    let platform = Platform::with(|limits| limits.downlinks_held_max = 0).await;
    platform.register(DEVICE).await;
    let receive_maximum_1 = vec![0x21, 0, 1];
    let connect = Connect { properties: receive_maximum_1, ..Connect::of(V5, DEVICE, SECRET) };
    let mut link = platform.connect(connect).await;
    platform.upgrade(DEVICE).await;
    link.told().await;
    let report = link.publish(&events_up(DEVICE), 1, 1, &version_report("V1"));
    link.send(&report).await;
    assert_eq!(link.puback().await, (1, 0));
    link.is_sent_away(151).await;
}

/// The PUBACK of a report and the notice that follows from it, in the order in which they are said.
async fn notice_after_puback(link: &mut Link) -> Told {
    assert_eq!(link.puback().await, (1, 0));
    let notice = link.told().await;
    assert!(notice.payload.contains("firmware_upgrade"), "{}", notice.payload);
    notice
}
