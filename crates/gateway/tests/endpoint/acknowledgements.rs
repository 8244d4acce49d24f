//! PUBACK means stored, or deliberately not stored, and comes in order.

use crate::link::*;
use crate::platform::{Platform, until};

const DEVICE: &str = "p1_d1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_in_flight_are_acknowledged_in_order() {
    for version in ALL_VERSIONS {
        let platform = Platform::with(|limits| limits.uplink_rate = None).await;
        let mut link = platform.device(DEVICE, version).await;
        let reports: Vec<u8> = (1..=500)
            .flat_map(|id| link.publish(&events_up(DEVICE), 1, id, &version_report(&format!("V{id}"))))
            .collect();
        link.send(&reports).await;
        assert_eq!(link.pubacks(500).await, (1..=500).collect::<Vec<u16>>());
    }
}

#[tokio::test]
async fn what_is_not_read_is_acknowledged_in_its_turn() {
    let platform = Platform::start().await;
    for version in ALL_VERSIONS {
        let mut link = platform.connect_anew(DEVICE, version).await;
        let topics = [
            "$oc/devices/p1_d1/sys/properties/report",
            "$oc/devices/p1_d1/sys/events/up",
            "$oc/devices/p1_d2/sys/events/up",
            "$oc/devices/p1_d1/sys/events/down",
            "telemetry",
            "/huawei/v1/devices/p1_d1/data/json",
            "$oc/devices/p1_d1/sys/events/up",
            "$oc/devices/p1_d2/user/x",
            "$oc/m2m/to/p1_d2/from/p1_d1/request_id=1",
        ];
        let mut bytes = Vec::new();
        for (topic, id) in topics.into_iter().zip(11..) {
            // With the retain flag, which is ignored.
            bytes.extend(link.publish_with(topic, 0b0011, id, version_report("V1").as_bytes()));
            // Of QoS 0 nothing is heard.
            bytes.extend(link.publish_with(topic, 0, 0, b"{}"));
        }
        link.send(&bytes).await;
        let foreign = if version == V5 { 135 } else { 0 };
        let mut answers = Vec::new();
        for _ in topics {
            answers.push(link.puback().await);
        }
        assert_eq!(
            answers,
            [(11, 0), (12, 0), (13, foreign), (14, 0), (15, 0), (16, 0), (17, 0), (18, foreign), (19, 0)],
            "{version:?}"
        );
        link.is_alive().await;
    }
}

#[tokio::test]
async fn no_payload_costs_the_connection() {
    let platform = Platform::start().await;
    let mut link = platform.device(DEVICE, V3_1_1).await;
    let deep = "[".repeat(100_000);
    let payloads = ["", " ", "not json", "[]", "{", "{\"services\":7}", "\u{0}", deep.as_str()];
    for (payload, id) in payloads.into_iter().zip(1..) {
        let report = link.publish(&events_up(DEVICE), 1, id, payload);
        link.send(&report).await;
        assert_eq!(link.puback().await, (id, 0), "{payload:.20}");
    }
    let not_text = link.publish_with(&events_up(DEVICE), 2, 99, &[0xff, 0xfe]);
    link.send(&not_text).await;
    assert_eq!(link.puback().await, (99, 0));
    link.is_alive().await;
}

#[tokio::test]
async fn the_largest_payload_is_taken() {
    let platform = Platform::start().await;
    let mut link = platform.device(DEVICE, V3_1_1).await;
    let mut report = version_report("V1");
    report.push_str(&" ".repeat(otaru_proto::limits::UPLINK_BYTES_MAX - report.len()));
    let report = link.publish(&events_up(DEVICE), 1, 1, &report);
    link.send(&report).await;
    assert_eq!(link.puback().await, (1, 0));
    until("read as a version report", async || {
        platform.firmware_version(DEVICE).await.as_deref() == Some("V1")
    })
    .await;
}

#[tokio::test]
async fn nothing_is_acknowledged_while_the_store_does_not_answer() {
    let platform = Platform::start().await;
    let mut link = platform.device(DEVICE, V5).await;
    platform.faults.stall();
    for id in 1..=3 {
        let report = link.publish(&events_up(DEVICE), 1, id, &version_report("V1"));
        link.send(&report).await;
        // The reports were heard, for what came after them was; and nothing was said to them.
        link.is_alive().await;
    }
    let ignored = link.publish("telemetry", 1, 4, "{}");
    link.send(&ignored).await;
    link.is_alive().await;
    platform.faults.resume();
    assert_eq!(link.pubacks(4).await, [1, 2, 3, 4]);
}

#[tokio::test]
async fn nothing_is_acknowledged_after_a_failed_commit_until_the_store_is_back() {
    let platform = Platform::start().await;
    let mut link = platform.device(DEVICE, V5).await;
    platform.faults.fail_until_healed();
    let report = link.publish(&events_up(DEVICE), 1, 1, &version_report("V7"));
    link.send(&report).await;
    until("the outage is noticed", async || !platform.engine.health().ready).await;
    link.is_alive().await;
    assert_eq!(platform.firmware_version(DEVICE).await, None);
    platform.faults.heal();
    assert_eq!(link.puback().await, (1, 0));
    assert_eq!(platform.firmware_version(DEVICE).await.as_deref(), Some("V7"), "acknowledged means stored");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_at_its_limit_is_not_read() {
    for version in ALL_VERSIONS {
        let platform = Platform::with(|limits| limits.uplinks_in_flight_max = 4.try_into().unwrap()).await;
        let mut link = platform.device(DEVICE, version).await;
        platform.faults.stall();
        let mut bytes: Vec<u8> =
            (1..=6).flat_map(|id| link.publish(&events_up(DEVICE), 1, id, &version_report("V1"))).collect();
        bytes.extend([0xc0, 0]);
        link.send(&bytes).await;
        platform.faults.resume();
        // A ping is answered when it is heard. Four in flight, so the sixth report is heard after two PUBACKs and
        // the ping after the third.
        let mut acknowledged = Vec::new();
        loop {
            let received = link.receive().await.expect("a packet");
            match received.kind() {
                PUBACK => acknowledged.push(received.body[1]),
                PINGRESP => break,
                other => panic!("packet of type {other}"),
            }
        }
        assert!(acknowledged.len() >= 3, "the ping was heard too early: {acknowledged:?}");
        let rest = link.pubacks(6 - acknowledged.len()).await;
        let all: Vec<u16> = acknowledged.into_iter().map(u16::from).chain(rest).collect();
        assert_eq!(all, [1, 2, 3, 4, 5, 6]);
    }
}

#[tokio::test]
async fn a_session_with_too_many_bytes_in_flight_is_not_read() {
    let platform = Platform::with(|limits| limits.uplink_bytes_in_flight_max = 1).await;
    let mut link = platform.device(DEVICE, V3_1_1).await;
    platform.faults.stall();
    let mut bytes = link.publish(&events_up(DEVICE), 1, 1, &version_report("V1"));
    bytes.extend([0xc0, 0]);
    link.send(&bytes).await;
    platform.faults.resume();
    assert_eq!(link.puback().await, (1, 0));
    link.expect(PINGRESP).await;
}

impl Platform {
    /// Connects a device, registered or not.
    async fn connect_anew(&self, device_id: &str, version: Version) -> Link {
        if self.engine.device(device_id).await.unwrap().is_none() {
            self.register(device_id).await;
        }
        self.connect(Connect::of(version, device_id, crate::platform::SECRET)).await
    }
}
