//! What a device is answered when it asks for something else than an upgrade.

use std::num::NonZeroU16;

use crate::link::{ALL_VERSIONS, V3_1_1, events_up};
use crate::platform::Platform;

#[tokio::test]
async fn the_time_is_told_after_the_question_is_acknowledged_with_the_devices_own_number() {
    let platform = Platform::start().await;
    for (device_id, version) in ["d1", "d2", "d3"].into_iter().zip(ALL_VERSIONS) {
        let mut device = platform.device(device_id, version).await;
        // Milliseconds, a text as Python sends it, and seconds as Go does.
        for (packet_id, sent, echoed) in [
            (1, "1744592523123", 1_744_592_523_123_i64),
            (2, r#""1744592523123""#, 1_744_592_523_123),
            (3, "1744592523", 1_744_592_523),
        ] {
            let question =
                asks("$time_sync", "time_sync_request", &format!(r#"{{"device_send_time":{sent}}}"#));
            device.send(&device.publish(&events_up(device_id), 1, packet_id, &question)).await;
            assert_eq!(device.puback().await.0, packet_id);
            let told = device.told().await;
            assert_eq!(told.topic, format!("$oc/devices/{device_id}/sys/events/down"));
            let said: serde_json::Value = serde_json::from_str(&told.payload).unwrap();
            assert_eq!(said["object_device_id"], device_id);
            let paras = &said["services"][0]["paras"];
            assert_eq!(paras["device_send_time"], echoed);
            assert!(paras["server_recv_time"].as_i64() <= paras["server_send_time"].as_i64());
            assert_eq!(told.packet_id, None, "with QoS 0: there is nothing to wait for");
        }
    }
}

#[tokio::test]
async fn a_file_is_refused_in_words_instead_of_silence() {
    let platform = Platform::start().await;
    let mut device = platform.device("d1", V3_1_1).await;
    for (request, response) in
        [("get_upload_url", "get_upload_url_response"), ("get_download_url", "get_download_url_response")]
    {
        let question =
            asks("$file_manager", request, r#"{"file_name":"a.log","file_attributes":{"size":3}}"#);
        device.send(&device.publish(&events_up("d1"), 0, 0, &question)).await;
        let said: serde_json::Value = serde_json::from_str(&device.told().await.payload).unwrap();
        let service = &said["services"][0];
        assert_eq!(service["event_type"], response);
        assert_eq!(service["paras"]["url"], "");
        assert_eq!(service["paras"]["error_msg"], "This platform keeps no files of devices.");
    }
}

#[tokio::test]
async fn a_message_full_of_questions_is_answered_a_few_times() {
    let platform = Platform::start().await;
    let mut device = platform.device("d1", V3_1_1).await;
    let question =
        r#"{"service_id":"$time_sync","event_type":"time_sync_request","paras":{"device_send_time":1}}"#;
    let questions = format!(r#"{{"services":[{}]}}"#, vec![question; 256].join(","));
    device.send(&device.publish(&events_up("d1"), 1, 1, &questions)).await;
    device.puback().await;
    for _ in 0..16 {
        device.told().await;
    }
    device.is_alive().await;
}

#[tokio::test]
async fn what_a_device_says_beside_upgrades_is_kept_before_it_is_acknowledged() {
    let platform = Platform::start().await;
    let mut device = platform.device("d1", V3_1_1).await;
    platform.faults.stall();
    let messages = [
        (
            events_up("d1"),
            asks("$sdk_info", "sdk_info_report", r#"{"device_sdk_version":"JAVA_v1.2.1","fw_version":"v9"}"#),
        ),
        (
            events_up("d1"),
            asks("$log", "log_report", r#"{"timestamp":"17","type":"DEVICE_STATUS","content":"connected"}"#),
        ),
        ("$oc/devices/d1/sys/properties/report".into(), battery(70)),
        ("$oc/devices/d1/sys/properties/get/response/request_id=r".into(), battery(80)),
    ];
    for (packet_id, (topic, payload)) in (1..).zip(&messages) {
        device.send(&device.publish(topic, 1, packet_id, payload)).await;
    }
    device.is_alive().await; // and nothing was acknowledged before
    platform.faults.resume();
    assert_eq!(device.pubacks(4).await, [1, 2, 3, 4]);
    let shown = platform.engine.device("d1").await.unwrap().unwrap();
    assert_eq!(shown.sdk_version.as_deref(), Some("JAVA_v1.2.1"));
    assert_eq!(shown.record.state.firmware_version, None, "what SDKs say of versions is not believed");
    let log = platform.engine.log("d1", None, 10).await.unwrap();
    assert_eq!(
        (log.len(), log[0].1.content.as_str(), log[0].1.kind.as_deref()),
        (1, "connected", Some("DEVICE_STATUS"))
    );
    let properties = platform.engine.properties("d1", None, 10).await.unwrap();
    assert_eq!(
        (properties.len(), properties[0].properties.as_str()),
        (1, r#"{"level":80}"#),
        "the last ones"
    );
}

#[tokio::test]
async fn properties_without_an_acknowledgement_are_kept_too_and_compressed_ones_are_let_be() {
    let platform = Platform::start().await;
    let mut device = platform.device("d1", V3_1_1).await;
    for (topic, payload) in [
        ("$oc/devices/d1/sys/properties/report", battery(50)),
        ("$oc/devices/d1/sys/properties/report?encoding=gzip", battery(60)),
        ("$oc/devices/d1/sys/properties/report", "no json".to_owned()),
    ] {
        device.send(&device.publish(topic, 0, 0, &payload)).await;
    }
    device.send(&device.publish(&events_up("d1"), 1, 1, "{}")).await;
    device.puback().await;
    let properties = platform.engine.properties("d1", None, 10).await.unwrap();
    assert_eq!((properties.len(), properties[0].properties.as_str()), (1, r#"{"level":50}"#));
}

#[tokio::test]
async fn a_gateways_batch_is_kept_for_its_own_children_and_for_nobody_else() {
    let platform = Platform::start().await;
    let mut gateway = platform.device("gw", V3_1_1).await;
    platform.register("stranger").await;
    platform.register_child("child", "gw").await;
    gateway.told().await; // of its new child
    let one = |id: &str, level| format!(r#"{{"device_id":"{id}",{}"#, &battery(level)[1..]);
    let batch = format!(r#"{{"devices":[{},{},{}]}}"#, one("child", 1), one("stranger", 2), one("none", 3));
    let topic = "$oc/devices/gw/sys/gateway/sub_devices/properties/report";
    gateway.send(&gateway.publish(topic, 1, 1, &batch)).await;
    gateway.puback().await;
    assert_eq!(platform.engine.properties("child", None, 10).await.unwrap()[0].properties, r#"{"level":1}"#);
    assert!(platform.engine.properties("stranger", None, 10).await.unwrap().is_empty());
    let audit = platform.engine.audit(otaru_engine::Page { after: None, limit: 2 }).await.unwrap();
    assert!(
        audit.iter().all(|line| line.action == "foreign_child_refused" && line.actor == "gw"),
        "{audit:?}"
    );
}

#[tokio::test]
async fn a_device_may_ask_on_and_on_and_nothing_is_kept_until_it_acknowledges() {
    let platform = Platform::with(|limits| {
        limits.downlinks_in_flight_max = NonZeroU16::MIN;
        limits.downlinks_held_max = 0;
    })
    .await;
    let mut device = platform.device("d1", V3_1_1).await;
    platform.upgrade("d1").await;
    let unacknowledged = device.told().await;
    assert!(unacknowledged.packet_id.is_some(), "what is in the outbox is said with QoS 1");
    let question = asks("$time_sync", "time_sync_request", r#"{"device_send_time":1}"#);
    for _ in 0..20 {
        device.send(&device.publish(&events_up("d1"), 0, 0, &question)).await;
        assert_eq!(device.told().await.packet_id, None);
    }
    device.is_alive().await;
}

#[tokio::test]
async fn a_shadow_shows_the_last_properties_of_the_device_or_of_its_child() {
    let platform = Platform::start().await;
    let mut device = platform.device("gw", V3_1_1).await;
    platform.register_child("child", "gw").await;
    device.told().await; // of its new child
    let shadow = async |device: &mut crate::link::Link, request: &str| {
        device.send(&device.publish("$oc/devices/gw/sys/shadow/get/request_id=r-1", 1, 7, request)).await;
        device.puback().await;
        let told = device.told().await;
        assert_eq!(told.topic, "$oc/devices/gw/sys/shadow/get/response/request_id=r-1");
        serde_json::from_str::<serde_json::Value>(&told.payload).unwrap()
    };
    assert_eq!(shadow(&mut device, "").await, serde_json::json!({"object_device_id": "gw", "shadow": []}));
    device.send(&device.publish("$oc/devices/gw/sys/properties/report", 1, 1, &battery(80))).await;
    device.puback().await;
    let shown = shadow(&mut device, r#"{"service_id":"Battery"}"#).await;
    assert_eq!(shown["shadow"][0]["reported"]["properties"], serde_json::json!({"level": 80}));
    assert_eq!(shadow(&mut device, r#"{"service_id":"other"}"#).await["shadow"], serde_json::json!([]));
    let of_child = shadow(&mut device, r#"{"object_device_id":"child"}"#).await;
    assert_eq!(of_child, serde_json::json!({"object_device_id": "child", "shadow": []}));
    // Of a stranger nothing is said; the next word is the answer to a ping.
    platform.register("stranger").await;
    let topic = "$oc/devices/gw/sys/shadow/get/request_id=r-2";
    device.send(&device.publish(topic, 1, 8, r#"{"object_device_id":"stranger"}"#)).await;
    device.puback().await;
    device.is_alive().await;
}

fn battery(level: u32) -> String {
    format!(
        r#"{{"services":[{{"service_id":"Battery","properties":{{"level":{level}}},"event_time":"20250414T010203Z"}}]}}"#
    )
}

fn asks(service_id: &str, event_type: &str, paras: &str) -> String {
    format!(r#"{{"services":[{{"service_id":"{service_id}","event_type":"{event_type}","paras":{paras}}}]}}"#)
}
