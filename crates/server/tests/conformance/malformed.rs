//! What is not as it should be costs nothing but itself: it is counted, acknowledged, and the link stays.

use serde_json::{Value, json};

use crate::device::envelope;
use crate::link::events_up;
use crate::stage::{NEW, OLD, Stage, Upgrade};

/// Says each of these in the middle of an upgrade; none of them changes it, and the device can go on.
async fn change_nothing(payloads: &[&[u8]]) -> Upgrade {
    let mut up = Upgrade::new().await;
    up.line.reports(json!({ "result_code": 0, "progress": 40, "version": OLD })).await;
    let (before, device) = (up.deployment().await, up.device.shown().await["firmware_version"].clone());
    let topic = events_up(&up.device.id);
    for payload in payloads {
        up.line.says_on(&topic, 2, payload).await;
        up.line.says_on(&topic, 0, payload).await;
    }
    up.line.is_told_nothing().await;
    assert_eq!(up.deployment().await, before);
    assert_eq!(up.device.shown().await["firmware_version"], device);
    up
}

/// And after that the upgrade comes to its end.
async fn goes_on(mut up: Upgrade) {
    up.line.reports(json!({ "result_code": 0, "progress": 100, "version": NEW })).await;
    up.ended("installed").await;
}

fn success() -> String {
    json!({ "result_code": 0, "progress": 100, "version": NEW }).to_string()
}

#[tokio::test]
async fn malformed_8_1_not_json_not_utf8_not_an_object() {
    let mut cut_off = envelope("x", "upgrade_progress_report", json!({})).to_string().into_bytes();
    cut_off.truncate(40);
    let up = change_nothing(&[
        b"upgrade success",
        b"{",
        &cut_off,
        b"{}{}",
        b"\xff\xfe{}",
        b"\x1f\x8b\x08\0",
        b"[]",
        b"\"text\"",
        b"1",
        b"null",
        b"true",
    ])
    .await;
    let reading = up.device.last_reading().await;
    assert!(reading["rejected"].is_string(), "it is kept with what is wrong: {reading}");
    goes_on(up).await;
}

#[tokio::test]
async fn malformed_8_1_an_empty_payload() {
    goes_on(change_nothing(&[b"", b" ", b"\r\n\t"]).await).await;
}

#[tokio::test]
async fn malformed_8_1_unknown_services_and_events_and_no_event_type() {
    let paras = success();
    let event = |service: &str, event: &str| {
        format!(r#"{{"services":[{{"service_id":{service},"event_type":{event},"paras":{paras}}}]}}"#)
    };
    let payloads = [
        event(r#""$device_rule""#, r#""device_rule_config_request""#),
        event(r#""nobody_knows""#, r#""upgrade_progress_report""#),
        event(r#""$ota""#, r#""get_package""#),
        event(r#""$ota""#, r#""UPGRADE_PROGRESS_REPORT""#),
        event(r#""$ota""#, "null"),
        event("null", r#""upgrade_progress_report""#),
        event("null", "null"),
        event("7", "7"),
        format!(r#"{{"services":[{{"paras":{paras}}}]}}"#),
        "{}".to_owned(),
        r#"{"services":null}"#.to_owned(),
        r#"{"services":[]}"#.to_owned(),
        r#"{"services":[null]}"#.to_owned(),
        r#"{"services":[7,"x",[]]}"#.to_owned(),
    ];
    let bytes: Vec<&[u8]> = payloads.iter().map(String::as_bytes).collect();
    goes_on(change_nothing(&bytes).await).await;
}

#[tokio::test]
async fn malformed_8_1_services_as_one_object_is_a_list_of_one() {
    let mut up = Upgrade::new().await;
    let paras = success();
    let event = format!(r#"{{"service_id":"$ota","event_type":"upgrade_progress_report","paras":{paras}}}"#);
    up.line.says(&format!(r#"{{"services":{event}}}"#)).await;
    up.ended("installed").await;
    assert_eq!(up.device.last_reading().await["tolerances"], json!(["single_service_object"]));
}

#[tokio::test]
async fn malformed_8_1_services_of_another_kind() {
    let up = change_nothing(&[
        br#"{"services":"$ota"}"#,
        br#"{"services":7}"#,
        br#"{"services":true}"#,
        br#"{"services":{}}"#,
    ])
    .await;
    goes_on(up).await;
}

#[tokio::test]
async fn malformed_8_1_a_version_report_without_paras() {
    let up = change_nothing(&[
        br#"{"services":[{"service_id":"$ota","event_type":"version_report"}]}"#,
        br#"{"services":[{"service_id":"$ota","event_type":"version_report","paras":null}]}"#,
        br#"{"services":[{"service_id":"$ota","event_type":"version_report","paras":[]}]}"#,
        br#"{"services":[{"service_id":"$ota","event_type":"version_report","paras":"v2.0.0"}]}"#,
    ])
    .await;
    goes_on(up).await;
}

#[tokio::test]
async fn malformed_8_1_progress_that_is_exact_is_taken_and_otherwise_only_it_is_dropped() {
    let mut up = Upgrade::new().await;
    for (progress, shown) in [
        (json!(10), 10),
        (json!("20"), 20),
        (json!(30.0), 30),
        (json!(33.3), 30),
        (json!("80%"), 30),
        (json!(true), 30),
        (json!([50]), 30),
        (json!(400), 30),
    ] {
        up.line.reports(json!({ "result_code": 0, "progress": progress, "version": NEW })).await;
        let deployment = up.deployment().await;
        assert_eq!(
            (&deployment["state"], &deployment["progress"]),
            (&json!("running"), &json!(shown)),
            "{progress}"
        );
    }
    goes_on(up).await;
}

#[tokio::test]
async fn malformed_8_1_an_unknown_result_code_is_a_failure_with_its_number() {
    let mut up = Upgrade::new().await;
    up.line.reports(json!({ "result_code": 4711, "progress": 50, "version": OLD })).await;
    up.ended("failed").await;
    assert_eq!(up.deployment().await["result_code"], 4711);
}

#[tokio::test]
async fn malformed_8_1_a_result_code_as_text_is_a_number() {
    let mut up = Upgrade::new().await;
    up.line.reports(json!({ "result_code": "0", "progress": "100", "version": NEW })).await;
    up.ended("installed").await;
    let mut up = Upgrade::new().await;
    up.line.reports(json!({ "result_code": "7", "progress": 0, "version": OLD })).await;
    up.ended("failed").await;
    assert_eq!(up.deployment().await["result_code"], 7);
}

#[tokio::test]
async fn malformed_8_1_a_version_that_is_too_long_is_cut_and_is_no_target() {
    let mut up = Upgrade::new().await;
    let long = format!("{NEW}{}", "x".repeat(300));
    up.line.reports(json!({ "result_code": 0, "progress": 100, "version": long })).await;
    let deployment = up.deployment().await;
    assert_eq!(deployment["state"], "confirming", "done with another version: {deployment}");
    let shown = deployment["reported_version"].as_str().unwrap();
    assert!(shown.starts_with(&long[..256]) && shown.chars().count() == 257, "{shown}");
    // One that begins like the longest possible target is still another one.
    let stage = Stage::new().await;
    let target = "v".repeat(256);
    let package = stage.package_with(json!({ "version": target })).await;
    let device = stage.device("dev1").await;
    let mut line = device.connects().await;
    let campaign = stage.campaign_of(&package, &[&device], json!({})).await;
    line.is_asked().await;
    line.runs(&format!("{target}v")).await;
    line.is_told("firmware_upgrade").await;
    line.runs(&target).await;
    campaign.ended(&device, "installed").await;
}

#[tokio::test]
async fn malformed_8_1_a_stranger_in_object_device_id_is_never_touched() {
    let mut up = Upgrade::new().await;
    let stranger = up.stage.device("dev2").await;
    let mut line = stranger.connects().await;
    for subject in [up.device.id.as_str(), "nobody_at_all"] {
        line.event_of(subject, "version_report", json!({ "fw_version": NEW })).await;
        assert!(stranger.last_reading().await["rejected"].as_str().unwrap().contains(subject));
        line.event_of(
            subject,
            "upgrade_progress_report",
            json!({ "result_code": 0, "progress": 100, "version": NEW }),
        )
        .await;
        line.event_of(
            subject,
            "upgrade_progress_report",
            json!({ "result_code": 10, "progress": 0, "version": OLD }),
        )
        .await;
    }
    for unusable in [json!(7), json!(["x"]), json!("two words"), json!({ "id": up.device.id })] {
        let mut message = envelope("", "version_report", json!({ "fw_version": NEW }));
        message["object_device_id"] = unusable;
        line.says(&message.to_string()).await;
    }
    line.is_told_nothing().await;
    up.line.is_told_nothing().await;
    up.is("offered").await;
    for device in [&up.device, &stranger] {
        assert_ne!(device.shown().await["firmware_version"], NEW, "{}", device.id);
    }
    goes_on(up).await;
}

#[tokio::test]
async fn malformed_8_1_a_report_without_a_running_upgrade_is_only_kept() {
    let stage = Stage::new().await;
    let device = stage.device("dev1").await;
    let mut line = device.connects().await;
    line.reports(json!({ "result_code": 0, "progress": 100, "version": NEW })).await;
    line.is_told_nothing().await;
    assert_eq!(device.last_reading().await["events"][0]["then"], "no_deployment");
    assert_eq!(device.shown().await["firmware_version"], Value::Null);
}

#[tokio::test]
async fn malformed_8_1_a_report_after_the_end_is_a_note_beside_it() {
    let mut up = Upgrade::new().await;
    up.line.reports(json!({ "result_code": 0, "progress": 100, "version": NEW })).await;
    up.line.reports(json!({ "result_code": 10, "progress": 0, "version": OLD, "description": "late" })).await;
    let noted = &up.device.reports().await[0];
    assert_eq!(noted["reading"]["events"][0]["then"], "after_the_end");
    assert_eq!(noted["campaign_id"], up.campaign.id, "it belongs to what has ended");
    up.ended("installed").await;
    assert_eq!(up.deployment().await["result_code"], 0);
}

#[tokio::test]
async fn malformed_8_1_of_duplicate_keys_the_last_one_counts() {
    let mut up = Upgrade::new().await;
    let paras = format!(
        r#"{{"result_code":10,"progress":3,"version":"{OLD}","result_code":0,"progress":100,"version":"{NEW}"}}"#
    );
    up.line
        .says(&format!(
            r#"{{"services":[],"services":[{{"service_id":"$log","service_id":"$ota","event_type":"upgrade_progress_report","paras":{{}},"paras":{paras}}}]}}"#
        ))
        .await;
    up.ended("installed").await;
}

#[tokio::test]
async fn malformed_8_1_nesting_bombs() {
    let lists = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    let objects = [br#"{"services":"#.repeat(20_000), b"1".to_vec(), b"}".repeat(20_000)].concat();
    let inside = |depth: usize| {
        let bomb = [b"[".repeat(depth), b"]".repeat(depth)].concat();
        let mut paras = success().into_bytes();
        paras.pop();
        paras.extend(br#","extra":"#);
        paras.extend(bomb);
        paras.push(b'}');
        let mut message =
            br#"{"services":[{"service_id":"$ota","event_type":"upgrade_progress_report","paras":"#.to_vec();
        message.extend(paras);
        message.extend(b"}]}");
        message
    };
    let mut up = change_nothing(&[&lists, &objects, &inside(1000), &inside(29)]).await;
    // Below the limit of 32 levels an unknown member does no harm.
    let topic = events_up(&up.device.id);
    up.line.says_on(&topic, 2, &inside(28)).await;
    up.ended("installed").await;
}

#[tokio::test]
async fn malformed_8_1_up_to_1_mib_is_read_and_more_is_not() {
    let mut up = Upgrade::new().await;
    let topic = events_up(&up.device.id);
    let padded = |bytes: usize| {
        let mut message = envelope(
            &up.device.id,
            "upgrade_progress_report",
            json!({ "result_code": 0, "progress": 70, "version": OLD }),
        );
        message["padding"] = json!("");
        let length = message.to_string().len();
        message["padding"] = json!("x".repeat(bytes - length));
        message.to_string().into_bytes()
    };
    let (largest, too_large) = (padded(1 << 20), padded((1 << 20) + 1));
    up.line.says_on(&topic, 2, &too_large).await;
    up.is("offered").await;
    up.line.says_on(&topic, 2, &largest).await;
    assert_eq!(up.deployment().await["progress"], 70);
    goes_on(up).await;
}

#[tokio::test]
async fn malformed_8_1_unknown_topics_of_the_own_device() {
    let mut up = Upgrade::new().await;
    let own = format!("$oc/devices/{}/sys", up.device.id);
    let report =
        envelope(&up.device.id, "upgrade_progress_report", json!({ "result_code": 10, "version": OLD }));
    for topic in
        ["events/up/more", "events", "ota/up", "EVENTS/UP", "events/up?encoding=gzip", "events/down", ""]
    {
        up.line.says_on(&format!("{own}/{topic}"), 2, report.to_string().as_bytes()).await;
        up.line.says_on(&format!("{own}/{topic}"), 0, report.to_string().as_bytes()).await;
    }
    up.line.is_told_nothing().await;
    up.is("offered").await;
    goes_on(up).await;
}

#[tokio::test]
async fn malformed_8_1_too_many_messages_are_read_later_and_all_of_them() {
    let mut up = Upgrade::new().await;
    let throttled = up.device.platform.metric("otaru_gateway_throttled_total", "").await;
    // More at once than the burst of 200, as much as the device's socket takes.
    let topic = events_up(&up.device.id);
    let mut packets = Vec::new();
    for number in 0..260_u16 {
        let report = json!({ "result_code": 0, "progress": number.min(99), "version": OLD });
        let payload = envelope(&up.device.id, "upgrade_progress_report", report).to_string();
        packets.extend(up.line.link.publish(&topic, 1, 1000 + number, &payload));
    }
    up.line.link.send(&packets).await;
    for number in 0..260_u16 {
        up.line.is_acknowledged(1000 + number).await;
    }
    let metric = up.device.platform.metric("otaru_gateway_throttled_total", "").await;
    assert!(metric > throttled, "the device was held up");
    assert_eq!(up.deployment().await["progress"], 99);
    goes_on(up).await;
}
