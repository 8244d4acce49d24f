//! What a device is answered when it asks for something else than an upgrade.

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
            device.acknowledge(told.packet_id.unwrap()).await;
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

fn asks(service_id: &str, event_type: &str, paras: &str) -> String {
    format!(r#"{{"services":[{{"service_id":"{service_id}","event_type":"{event_type}","paras":{paras}}}]}}"#)
}
