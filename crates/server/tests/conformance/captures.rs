//! What was seen on the wire between unmodified SDKs and a server, replayed.

use serde_json::json;

use crate::device::{Device, Line};
use crate::fetch;
use crate::link::{Connect, V3_1_1, events_up};
use crate::recorded::{self, payload};
use crate::stage::{Campaign, NEW, OLD, Stage, Upgrade, download_of, large_package};

/// The captured device, connected with the bytes of this SDK and asked for its version.
pub async fn asked(sdk: &str) -> (Stage, Device, Line, Campaign) {
    let (stage, device) = Stage::captured(&[]).await;
    let (code, mut line) = device.tries(&device.platform.mqtt(), &recorded::connect(sdk), V3_1_1).await;
    assert_eq!(code, 0);
    let campaign = stage.campaign(&[&device], json!({})).await;
    line.is_asked().await;
    (stage, device, line, campaign)
}

/// The captured device, told to upgrade after this SDK's own version report.
pub async fn told(sdk: &str) -> Upgrade {
    let (stage, device, mut line, campaign) = asked(sdk).await;
    line.says(&payload(&format!("{sdk}_version_report"))).await;
    let notice = line.is_told("firmware_upgrade").await;
    Upgrade { stage, device, line, campaign, notice }
}

/// The large package is being downloaded and a connection with a short keep alive says nothing meanwhile.
struct SilentDownload {
    up: Upgrade,
    _download: otaru_fleet::Socket,
}

impl SilentDownload {
    /// The device has been silent for longer than its keep alive allows.
    async fn new() -> SilentDownload {
        let stage = Stage::new().await;
        let package = large_package(&stage).await;
        let device = stage.device("dev1").await;
        let idle = stage.device("dev2").await;
        let campaign = stage.campaign_of(&package, &[&device], json!({})).await;
        let brief = |device: &Device, keep_alive_secs| Connect { keep_alive_secs, ..device.connect() };
        let mut line = device.connects_with(&brief(&device, 2)).await;
        line.acknowledges = false;
        line.is_asked().await;
        line.runs(OLD).await;
        let notice = line.is_told("firmware_upgrade").await;
        let (endpoint, path, token) = download_of(&device.platform, &notice);
        let request = recorded::request("python", &endpoint, &path, &token);
        let download = fetch::begin(&endpoint, &request).await;
        // Another device, which came later and may be silent for longer, is sent away meanwhile.
        idle.connects_with(&brief(&idle, 3)).await.link.is_closed().await;
        let up = Upgrade { stage, device, line, campaign, notice };
        SilentDownload { up, _download: download }
    }
}

#[tokio::test]
async fn capture_fact_6_the_device_is_named_in_every_downlink() {
    let (_stage, device, mut line, _campaign) = asked("c").await;
    // `is_asked` and `is_told` compare it; here it is seen as it is written.
    line.says(&payload("c_version_report")).await;
    let message = line.message().await;
    assert_eq!(message["object_device_id"], device.id);
}

#[tokio::test]
async fn capture_fact_6_minus_one_nothing_and_empty_are_the_connected_device() {
    for report in [
        payload("c_version_report_minus_one"),
        payload("c_version_report_unasked"),
        payload("java_version_report").replace(r#""prod1_dev1""#, "null"),
        payload("java_version_report").replace("prod1_dev1", ""),
    ] {
        let (_stage, device, mut line, _campaign) = asked("c").await;
        line.says(&report).await;
        line.is_told("firmware_upgrade").await;
        assert_eq!(device.shown().await["firmware_version"], OLD, "{report}");
    }
}

#[tokio::test]
async fn capture_fact_7_java_says_done_with_the_old_version_before_it_is() {
    let mut up = told("java").await;
    up.line.says(&payload("java_progress_10")).await;
    up.is("running").await;
    up.line.says(&payload("java_downloaded")).await;
    up.is("confirming").await;
    up.line.says(&payload("java_success")).await;
    up.ended("installed").await;
    up.line.is_told_nothing().await;
}

#[tokio::test]
async fn capture_fact_8_python_acknowledges_the_notice_after_the_upgrade_and_reports_in_one_burst() {
    let (_stage, device, mut line, campaign) = asked("python").await;
    line.acknowledges = false;
    line.says(&payload("python_version_report")).await;
    let notice = line.told().await;
    let (qos, packet_id) = (notice.qos, notice.packet_id.expect("a QoS 1 message"));
    assert_eq!((qos, notice.dup), (1, false));
    // Meanwhile the notice stays where it is: not said again, and nothing failed.
    for _ in 0..3 {
        line.is_told_nothing().await;
        line.is_alive().await;
    }
    assert_eq!(campaign.deployment(&device).await["state"], "offered");
    let topic = events_up(&device.id);
    let mut burst = line.link.publish(&topic, 1, 301, &payload("python_progress_10"));
    burst.extend(line.link.publish(&topic, 1, 302, &payload("python_success")));
    burst.extend(crate::link::packet(0x40, &packet_id.to_be_bytes()));
    line.link.send(&burst).await;
    line.is_acknowledged(301).await;
    line.is_acknowledged(302).await;
    campaign.ended(&device, "installed").await;
    line.is_told_nothing().await;
}

#[tokio::test]
async fn capture_fact_9_no_pingreq_during_a_download_is_forgiven() {
    let SilentDownload { mut up, _download } = SilentDownload::new().await;
    up.line.is_alive().await;
    let topic = events_up(&up.device.id);
    let report = |progress: u8, version: &str| {
        let paras = json!({ "result_code": 0, "progress": progress, "version": version });
        crate::device::envelope(&up.device.id, "upgrade_progress_report", paras).to_string()
    };
    let mut burst = Vec::new();
    for (packet_id, progress, version) in [(301, 10, OLD), (302, 50, OLD), (303, 100, NEW)] {
        burst.extend(up.line.link.publish(&topic, 1, packet_id, &report(progress, version)));
    }
    up.line.link.send(&burst).await;
    for packet_id in 301..=303 {
        up.line.is_acknowledged(packet_id).await;
    }
    up.ended("installed").await;
}

#[tokio::test]
async fn capture_fact_9_c_reconnects_and_says_what_it_could_not_say() {
    let mut up = told("c").await;
    // The link goes in the middle of the download.
    let (code, line) = up.device.tries(&up.device.platform.mqtt(), &recorded::connect("c"), V3_1_1).await;
    assert_eq!(code, 0);
    up.line = line;
    let topic = events_up(&up.device.id);
    let mut burst = Vec::new();
    for (packet_id, name) in [(1, "c_progress_10"), (2, "c_progress_50"), (3, "c_success")] {
        burst.extend(up.line.link.publish(&topic, 1, packet_id, &payload(name)));
    }
    up.line.link.send(&burst).await;
    for packet_id in 1..=3 {
        up.line.is_acknowledged(packet_id).await;
    }
    up.ended("installed").await;
    up.line.is_told_nothing().await;
}

#[tokio::test]
async fn capture_fact_10_go_reports_once_with_qos_0() {
    let mut up = told("go").await;
    up.line.says_on(&events_up(&up.device.id), 0, payload("go_success").as_bytes()).await;
    up.ended("installed").await;
    let deployment = up.deployment().await;
    assert_eq!((&deployment["progress"], &deployment["result_code"]), (&json!(100), &json!(0)));
}

#[tokio::test]
async fn capture_fact_12_other_events_are_accepted_and_change_nothing() {
    let (_stage, device) = Stage::captured(&[]).await;
    for (sdk, greetings) in [
        ("python", ["python_log_report", "python_sdk_info"]),
        ("java", ["java_sdk_info", "java_sync_request"]),
    ] {
        let (_, mut line) = device.tries(&device.platform.mqtt(), &recorded::connect(sdk), V3_1_1).await;
        for greeting in greetings {
            line.says(&payload(greeting)).await;
        }
        line.is_told_nothing().await;
        line.is_alive().await;
        let shown = device.shown().await;
        assert_eq!(shown["firmware_version"], json!(null), "{sdk}");
        assert_eq!(shown["software_version"], json!(null), "{sdk}");
    }
}

#[tokio::test]
async fn capture_fact_13_empty_and_null_versions_are_not_said() {
    let (_stage, device) = Stage::captured(&[]).await;
    let (_, mut line) = device.tries(&device.platform.mqtt(), &recorded::connect("go"), V3_1_1).await;
    let versions = async || {
        let shown = device.shown().await;
        (shown["firmware_version"].clone(), shown["software_version"].clone())
    };
    line.says(&payload("java_version_report").replace(OLD, "v0.1.0")).await;
    assert_eq!(versions().await, (json!("v0.1.0"), json!("v0.1.0")), "Java says the same for both");
    line.says(&payload("go_version_report")).await;
    assert_eq!(versions().await, (json!(OLD), json!("v0.1.0")), "Go's empty one is not said");
    line.says(&payload("python_version_report").replace(OLD, "v0.3.0")).await;
    assert_eq!(versions().await, (json!("v0.3.0"), json!("v0.1.0")), "Python says what it was given");
    for greeting in ["python_sdk_info", "java_sdk_info"] {
        line.says(&payload(greeting)).await;
        assert_eq!(versions().await, (json!("v0.3.0"), json!("v0.1.0")), "{greeting}");
    }
}

// --- The table of how they behave --------------------------------------------------------------------------

#[tokio::test]
async fn capture_table_6_a_device_whose_only_thread_is_busy_is_left_alone() {
    let mut up = told("python").await;
    for _ in 0..3 {
        up.line.is_told_nothing().await;
    }
    up.line.says(&payload("python_progress_10")).await;
    up.line.is_told_nothing().await;
    up.line.says(&payload("python_success")).await;
    up.ended("installed").await;
}

#[tokio::test]
async fn capture_table_6_a_puback_after_the_upgrade_holds_up_nobody_else() {
    // A gateway that acknowledges nothing hears about its other children all the same.
    let stage = Stage::new().await;
    let gateway = stage.device("gw").await;
    let mut line = gateway.connects().await;
    line.acknowledges = false;
    let mut children = Vec::new();
    for number in 0..5 {
        let child = stage.child(&format!("child{number}"), &gateway).await;
        line.brings(&child).await;
        children.push(child);
    }
    let listed: Vec<&Device> = children.iter().collect();
    let campaign = stage.campaign(&listed, json!({})).await;
    for _ in &children {
        let asked = line.message().await;
        let child = asked["object_device_id"].as_str().unwrap().to_owned();
        line.event_of(&child, "version_report", json!({ "fw_version": NEW })).await;
    }
    for child in &children {
        campaign.ended(child, "already_installed").await;
    }
}

#[tokio::test]
async fn capture_table_6_publishes_during_the_download_come_steadily_from_java() {
    let mut up = told("java").await;
    for progress in [10, 20, 50, 99] {
        let report = payload("java_progress_10").replace(":10,", &format!(":{progress},"));
        up.line.says(&report).await;
        assert_eq!(up.deployment().await["progress"], progress);
        up.line.is_alive().await;
    }
}

#[tokio::test]
async fn capture_table_6_reports_lost_on_a_drop_are_not_missed_for_good() {
    // Whatever was lost, the version tells: the device is asked when it is back.
    let mut up = told("go").await;
    up.reconnects().await;
    up.line.is_asked().await;
    up.line.says(&payload("go_version_report").replace(OLD, NEW)).await;
    up.ended("installed").await;
}

#[tokio::test]
async fn capture_table_6_a_question_has_empty_paras_and_no_event_id() {
    let stage = Stage::new().await;
    let device = stage.device("dev1").await;
    let mut line = device.connects().await;
    stage.campaign(&[&device], json!({})).await;
    let mut asked = line.message().await;
    let event_time = asked["services"][0]["event_time"].take();
    let event_time = event_time.as_str().unwrap();
    assert!(event_time.len() == 16 && event_time.ends_with('Z') && &event_time[8..9] == "T", "{event_time}");
    let services = json!([{
        "service_id": "$ota", "event_type": "version_query", "event_time": null, "paras": {},
    }]);
    assert_eq!(asked, json!({ "object_device_id": device.id, "services": services }));
}

#[tokio::test]
async fn capture_table_6_a_question_during_an_upgrade_may_be_answered_after_it() {
    let mut up = told("python").await;
    up.reconnects().await;
    up.line.is_asked().await;
    // The handler of the notice runs on: first what it reports, then the answer, with the new version by now.
    up.line.says(&payload("python_progress_10")).await;
    up.is("running").await;
    up.line.says(&payload("python_version_report").replace(OLD, NEW)).await;
    up.ended("installed").await;
    up.line.is_told_nothing().await;
}

#[tokio::test]
async fn quirk_15_python_is_silent_while_it_downloads_and_keeps_its_link() {
    let SilentDownload { mut up, _download } = SilentDownload::new().await;
    up.is("offered").await;
    up.line.is_alive().await;
}

#[tokio::test]
async fn quirk_15_python_loses_its_final_report_and_is_asked_after_the_reconnect() {
    let mut up = told("python").await;
    assert_eq!(up.fetches().await.status, 200);
    // It reported into a link that was gone; what it says now is only its greeting.
    let (_, line) = up.device.tries(&up.device.platform.mqtt(), &recorded::connect("python"), V3_1_1).await;
    up.line = line;
    up.line.says(&payload("python_log_report")).await;
    up.line.is_asked().await;
    up.line.says(&payload("python_version_report").replace(OLD, NEW)).await;
    up.ended("installed").await;
}
