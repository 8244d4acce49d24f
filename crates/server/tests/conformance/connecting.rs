//! How SDKs connect, and what they are answered.

use otaru_proto::{Stamp, device_password};
use rustls::version::{TLS12, TLS13};
use serde_json::json;

use crate::device::{Device, Line};
use crate::downloads::with_tls;
use crate::link::{ALL_VERSIONS, Connect, SUBACK, UNSUBACK, V3_1, V3_1_1, V5, Version};
use crate::platform::Platform;
use crate::recorded;
use crate::stage::{NEW, OLD, Stage};

/// The SDKs whose CONNECT is recorded.
const RECORDED: [&str; 6] = ["python", "c", "java", "go", "ts", "ctlove"];

/// The code with which these bytes are answered, and the connection.
async fn tried(device: &Device, name: &str) -> (u8, Line) {
    let version = if name.ends_with("_retry") { V3_1 } else { V3_1_1 };
    device.tries(&device.platform.mqtt(), &recorded::connect(name), version).await
}

async fn code(device: &Device, connect: &Connect) -> u8 {
    device.tries(&device.platform.mqtt(), &connect.bytes(), connect.version).await.0
}

/// A CONNECT with this sign type and hour, and the password that goes with the hour.
fn stamped(device: &Device, sign_type: u8, stamp: &str) -> Connect {
    let password = device_password(device.secret.as_bytes(), &Stamp::parse(stamp).unwrap());
    let client_id = format!("{}_0_{sign_type}_{stamp}", device.id);
    Connect { client_id, password: Some(password), ..device.connect() }
}

/// A device that has work to do and connects with these bytes is asked, without a SUBSCRIBE.
async fn is_asked_without_subscribing(name: &str) {
    let (stage, device) = Stage::captured(&[]).await;
    let campaign = stage.campaign(&[&device], json!({})).await;
    let (code, mut line) = tried(&device, name).await;
    assert_eq!(code, 0, "{name}");
    line.is_asked().await;
    line.runs(OLD).await;
    line.is_told("firmware_upgrade").await;
    campaign.comes_to(&device, "offered").await;
}

#[tokio::test]
async fn capture_fact_1_without_a_subscribe_the_device_is_told_all_the_same() {
    for name in ["python", "c", "java", "go"] {
        is_asked_without_subscribing(name).await;
    }
}

/// Subscribes to the six topics one after the other, as C's and ctlove's functions do.
async fn subscribes_to_all(line: &mut Line, device: &Device, qos: u8, in_one_packet: bool) {
    let prefix = format!("$oc/devices/{}/sys", device.id);
    let filters: Vec<String> = [
        "messages/down",
        "commands/#",
        "properties/set/#",
        "properties/get/#",
        "events/down",
        "shadow/get/response/#",
    ]
    .iter()
    .map(|topic| format!("{prefix}/{topic}"))
    .collect();
    let chunk = if in_one_packet { filters.len() } else { 1 };
    for (number, part) in filters.chunks(chunk).enumerate() {
        let wishes: Vec<(&str, u8)> = part.iter().map(|filter| (filter.as_str(), qos)).collect();
        let packet = line.link.subscribe(500 + u16::try_from(number).unwrap(), &wishes);
        line.link.send(&packet).await;
        let (kind, body) = line.next_but_publish().await;
        assert_eq!((kind, &body[2..]), (SUBACK, vec![qos; part.len()].as_slice()));
    }
}

#[tokio::test]
async fn capture_fact_1_with_a_subscribe_it_is_told_once() {
    for (qos, in_one_packet) in [(0, false), (1, false), (0, true), (1, true)] {
        let stage = Stage::new().await;
        let device = stage.device("dev1").await;
        let mut line = device.connects().await;
        subscribes_to_all(&mut line, &device, qos, in_one_packet).await;
        stage.campaign(&[&device], json!({})).await;
        line.is_asked().await;
        line.is_told_nothing().await;
        line.runs(OLD).await;
        line.is_told("firmware_upgrade").await;
        line.is_told_nothing().await;
    }
}

#[tokio::test]
async fn capture_fact_1_unsubscribing_takes_nothing_away() {
    let stage = Stage::new().await;
    let device = stage.device("dev1").await;
    let mut line = device.connects().await;
    subscribes_to_all(&mut line, &device, 1, true).await;
    let topic = device.down();
    let packet = line.link.unsubscribe(900, &[&topic]);
    line.link.send(&packet).await;
    assert_eq!(line.next_but_publish().await.0, UNSUBACK);
    stage.campaign(&[&device], json!({})).await;
    line.is_asked().await;
    line.is_told_nothing().await;
}

#[tokio::test]
async fn capture_fact_2_the_ten_characters_are_a_key_and_no_clock() {
    let stage = Stage::new().await;
    let device = stage.device("dev1").await;
    // The published check value has this hour; the others occur: bumped, local, kept for years, no date at all.
    let connect = stamped(&device, 0, "2025041401");
    let published = "c75150e6cb841417396819e4d2ee4358a416344a03a083e3a8567074ddec820a";
    assert_eq!(connect.password.as_deref(), Some(published));
    for stamp in
        ["2025041401", "2025041424", "2025041499", "2019120219", "2099010100", "0000000000", "9999999999"]
    {
        for sign_type in [0, 1] {
            assert_eq!(code(&device, &stamped(&device, sign_type, stamp)).await, 0, "{sign_type} {stamp}");
        }
    }
}

#[tokio::test]
async fn capture_fact_2_each_sdk_is_let_in_with_its_own_hour() {
    let (_stage, device) = Stage::captured(&[]).await;
    for name in RECORDED {
        let (code, mut line) = tried(&device, name).await;
        assert_eq!(code, 0, "{name}");
        line.is_alive().await;
    }
}

#[tokio::test]
async fn capture_fact_2_a_window_for_sign_type_1_is_the_owners_choice() {
    let stage = Stage::on(Platform::with(&["limits.sign_window=1,26"]), "p").await;
    let device = stage.device("dev1").await;
    for (sign_type, expected) in [(0, 0), (1, 4)] {
        assert_eq!(code(&device, &stamped(&device, sign_type, "2019120219")).await, expected, "{sign_type}");
    }
}

#[tokio::test]
async fn capture_fact_11_a_refused_connect_is_answered_the_same_when_it_is_tried_again_as_mqtt_3_1() {
    let (_stage, device) = Stage::captured(&[]).await;
    for name in ["c", "java", "go"] {
        for name in [name.to_owned(), format!("{name}_retry")] {
            let mut wrong = recorded::connect(&name);
            *wrong.last_mut().unwrap() ^= 1;
            let version = if name.ends_with("_retry") { V3_1 } else { V3_1_1 };
            let (code, mut line) = device.tries(&device.platform.mqtt(), &wrong, version).await;
            assert_eq!(code, 4, "{name}");
            line.link.is_closed().await;
            assert_eq!(tried(&device, &name).await.0, 0, "{name}");
        }
    }
}

#[tokio::test]
async fn capture_fact_11_codes_4_and_5_are_only_for_credentials_and_frozen_devices() {
    let stage = Stage::new().await;
    let device = stage.device("dev1").await;
    let usual = device.connect();
    for version in ALL_VERSIONS {
        let v5 = |old: u8, new: u8| if version == V5 { new } else { old };
        let connect = Connect { version, ..usual.clone() };
        let with = |client_id: &str| Connect { client_id: client_id.to_owned(), ..connect.clone() };
        let unknown = format!("{}x_0_0_2025041401", device.id);
        for (wrong, expected) in [
            (with(&device.id), v5(2, 133)),
            (with(&format!("{}_0_0_202504140", device.id)), v5(2, 133)),
            (Connect { keep_alive_secs: 1201, ..connect.clone() }, v5(2, 133)),
            (Connect { password: Some("0".repeat(64)), ..connect.clone() }, v5(4, 134)),
            (Connect { username: Some(format!("{}x", device.id)), ..with(&unknown) }, v5(4, 134)),
            (Connect { password: connect.password.as_ref().map(|p| p.to_uppercase()), ..connect.clone() }, 0),
        ] {
            assert_eq!(code(&device, &wrong).await, expected, "{wrong:?}");
        }
    }
    let path = format!("/devices/{}", device.id);
    device.platform.change("PATCH", &path, json!({ "frozen": true })).await;
    for (version, expected) in [(V3_1, 5), (V3_1_1, 5), (V5, 135)] {
        assert_eq!(code(&device, &Connect { version, ..usual.clone() }).await, expected);
    }
}

// --- The table of what they send ---------------------------------------------------------------------------

#[tokio::test]
async fn capture_table_3_protocol_levels() {
    let stage = Stage::new().await;
    let device = stage.device("dev1").await;
    for version in ALL_VERSIONS {
        device.connects_with(&Connect { version, ..device.connect() }).await.is_alive().await;
    }
    let mut level_6 = device.connect().bytes();
    level_6[8] = 6;
    assert_eq!(device.tries(&device.platform.mqtt(), &level_6, V3_1_1).await.0, 1);
}

#[tokio::test]
async fn capture_table_3_fallback_to_mqtt_3_1_keeps_the_long_client_id() {
    let (_stage, device) = Stage::captured(&[]).await;
    for name in ["c_retry", "java_retry", "go_retry"] {
        let bytes = recorded::connect(name);
        assert_eq!(&bytes[2..11], b"\0\x06MQIsdp\x03");
        assert!(bytes[15] > 23, "longer than MQTT 3.1 has it");
        let (code, mut line) = tried(&device, name).await;
        assert_eq!(code, 0, "{name}");
        line.is_alive().await;
    }
}

#[tokio::test]
async fn capture_table_3_connect_flags_are_user_password_and_clean_session() {
    let (_stage, device) = Stage::captured(&[]).await;
    for name in RECORDED {
        assert_eq!(recorded::connect(name)[9], 0xc2, "{name}");
        assert_eq!(tried(&device, name).await.0, 0, "{name}");
    }
}

#[tokio::test]
async fn capture_table_3_another_clean_flag_and_a_will_are_accepted_and_mean_nothing() {
    let stage = Stage::new().await;
    let device = stage.device("dev1").await;
    for version in ALL_VERSIONS {
        for (clean, will) in [(true, true), (false, false), (false, true)] {
            // `connect` also sees that no session is said to be present.
            let mut line = Line::of(&device, version).await;
            line.link.connect(&Connect { version, clean, will, ..device.connect() }).await;
            line.is_alive().await;
        }
    }
}

#[tokio::test]
async fn capture_table_3_keep_alive_of_each_sdk_is_accepted() {
    let stage = Stage::on(Platform::with(&["limits.keep_alive=strict"]), "p").await;
    let device = stage.device("dev1").await;
    // ArkTS and MicroPython, most of them, ctlove and the bootstrap of Go, and the ends of the published range.
    for (keep_alive_secs, expected) in
        [(60, 0), (120, 0), (250, 0), (30, 0), (1200, 0), (29, 2), (1201, 2), (0, 2)]
    {
        let connect = Connect { keep_alive_secs, ..device.connect() };
        assert_eq!(code(&device, &connect).await, expected, "{keep_alive_secs}");
    }
}

#[tokio::test]
async fn capture_table_3_keep_alive_outside_the_published_range_is_accepted_by_default() {
    let stage = Stage::on(Platform::with(&["limits.keep_alive=lenient"]), "p").await;
    let device = stage.device("dev1").await;
    for (keep_alive_secs, expected) in [(0, 0), (5, 0), (1201, 0), (65_535, 0), (4, 2)] {
        let connect = Connect { keep_alive_secs, ..device.connect() };
        assert_eq!(code(&device, &connect).await, expected, "{keep_alive_secs}");
    }
}

#[tokio::test]
async fn capture_table_3_client_ids_of_sign_types_0_and_1() {
    let stage = Stage::new().await;
    // Underscores and digits in the device id: it is read from the right.
    for node in ["dev1", "dev_1_0_0_2025041401", "-_-", "0"] {
        let device = stage.device(node).await;
        for sign_type in [0, 1] {
            assert_eq!(code(&device, &stamped(&device, sign_type, "2026112300")).await, 0, "{node}");
        }
        assert_eq!(code(&device, &stamped(&device, 2, "2026112300")).await, 2, "SM3 is not offered");
    }
}

#[tokio::test]
async fn capture_table_3_client_id_hour_is_utc_or_bumped_or_local() {
    let (_stage, device) = Stage::captured(&["limits.sign_window=off"]).await;
    for (name, hour) in [("python", "2026112300"), ("c", "2026112301"), ("go", "2026112308")] {
        let bytes = recorded::connect(name);
        assert!(bytes.windows(10).any(|part| part == hour.as_bytes()), "{name}");
        assert_eq!(tried(&device, name).await.0, 0, "{name}");
    }
}

#[tokio::test]
async fn capture_table_3_subscribe_none_or_six_filters() {
    is_asked_without_subscribing("java").await;
    let (stage, device) = Stage::captured(&[]).await;
    let (_, mut line) = tried(&device, "ctlove").await;
    subscribes_to_all(&mut line, &device, 1, false).await;
    stage.campaign(&[&device], json!({})).await;
    line.is_asked().await;
    line.is_told_nothing().await;
}

#[tokio::test]
async fn capture_table_3_reports_with_qos_0_count_like_those_with_qos_1() {
    for flags in [0, 2] {
        let (stage, device) = Stage::captured(&[]).await;
        let (_, mut line) = tried(&device, "go").await;
        let campaign = stage.campaign(&[&device], json!({})).await;
        line.is_asked().await;
        let topic = crate::link::events_up(&device.id);
        line.says_on(&topic, flags, recorded::payload("go_version_report").as_bytes()).await;
        line.is_told("firmware_upgrade").await;
        line.says_on(&topic, flags, recorded::payload("go_success").as_bytes()).await;
        campaign.ended(&device, "installed").await;
    }
}

#[tokio::test]
async fn capture_table_3_ports_with_and_without_tls_serve_the_same_devices() {
    let (_stage, device) = Stage::captured(&[]).await;
    for endpoint in [device.platform.mqtt(), device.platform.mqtts()] {
        for name in RECORDED {
            let (code, mut line) = device.tries(&endpoint, &recorded::connect(name), V3_1_1).await;
            assert_eq!(code, 0, "{name}");
            line.is_alive().await;
        }
    }
}

async fn over_tls(version: &'static rustls::SupportedProtocolVersion, sends_name: bool) {
    let (_stage, device) = Stage::captured(&[]).await;
    let endpoint = with_tls(&device.platform, &device.platform.mqtts(), version, sends_name);
    let (code, mut line) = device.tries(&endpoint, &recorded::connect("java"), V3_1_1).await;
    assert_eq!(code, 0);
    line.is_alive().await;
}

#[tokio::test]
async fn capture_table_3_tls_1_2_only_and_tls_1_3() {
    over_tls(&TLS12, true).await;
    over_tls(&TLS13, true).await;
}

#[tokio::test]
async fn capture_table_3_an_address_as_server_name_or_none_at_all() {
    // What rustls sends for an address is no name; the literal of C, Java and Go comes from foreign clients.
    over_tls(&TLS12, false).await;
    over_tls(&TLS13, false).await;
    let (_stage, device) = Stage::captured(&[]).await;
    let socket =
        tokio::net::TcpStream::connect((device.platform.mqtts().host.as_str(), device.platform.mqtts().port))
            .await
            .unwrap();
    crate::hello::with_an_address_as_name(socket).await;
}

#[tokio::test]
async fn capture_table_3_the_chain_can_be_checked_by_those_who_do() {
    let (_stage, device) = Stage::captured(&[]).await;
    // `mqtts` trusts the server's own certificate and nothing else, and checks the name.
    let (code, _) = device.tries(&device.platform.mqtts(), &recorded::connect("python"), V3_1_1).await;
    assert_eq!(code, 0);
    let other = Platform::with(&[]);
    let stranger = with_tls(&other, &device.platform.mqtts(), &TLS13, true);
    assert!(stranger.dial().await.is_err(), "whoever trusts somebody else is not deceived");
}

#[tokio::test]
async fn capture_table_3_after_a_disconnect_the_device_may_come_back_at_once() {
    let (_stage, device) = Stage::captured(&[]).await;
    for _ in 0..3 {
        let (code, line) = tried(&device, "python").await;
        assert_eq!(code, 0);
        line.leaves().await;
        device.until(|shown| shown["online"] == false).await;
    }
}

/// A line whose CONNECT is still to be sent.
impl Line {
    async fn of(device: &Device, version: Version) -> Line {
        let endpoint = device.platform.mqtt();
        Line::over(device, crate::link::Link::over(endpoint.dial().await.unwrap(), version))
    }
}

#[tokio::test]
async fn quirk_18_a_device_that_tries_a_wrong_password_for_ever_is_counted_under_its_name() {
    let stage = Stage::new().await;
    let device = stage.device("dev1").await;
    let wrong = Connect { password: Some("5".repeat(64)), ..device.connect() };
    let mut live = device.connects().await;
    for _ in 0..20 {
        assert_eq!(code(&device, &wrong).await, 4);
    }
    let refused = device.platform.get("/refused-connections").await;
    let listed = refused["items"].as_array().unwrap();
    let entries: Vec<_> = listed.iter().filter(|entry| entry["name"] == device.id).collect();
    assert_eq!(entries.len(), 1, "{refused}");
    assert_eq!((&entries[0]["code"], &entries[0]["times"]), (&json!("wrong_password"), &json!(20)));
    live.is_alive().await;
    assert_eq!(code(&device, &device.connect()).await, 0, "and the right one is let in at once");
}

#[tokio::test]
async fn quirk_23_c_counts_its_hour_up_and_keeps_it() {
    let (_stage, device) = Stage::captured(&["limits.sign_window=off"]).await;
    for _ in 0..3 {
        let (code, line) = tried(&device, "c").await;
        assert_eq!(code, 0);
        line.leaves().await;
    }
    for stamp in ["2026112323", "2026112324", "2026112399"] {
        for sign_type in [0, 1] {
            assert_eq!(code_of(&device, sign_type, stamp).await, 0, "{sign_type} {stamp}");
        }
    }
}

#[tokio::test]
async fn quirk_37_the_client_id_of_days_ago_is_accepted_again() {
    let stage = Stage::on(Platform::with(&["limits.sign_window=1,26"]), "p").await;
    let device = stage.device("dev1").await;
    let old = stamped(&device, 0, "2020010100");
    for _ in 0..2 {
        assert_eq!(code(&device, &old).await, 0);
    }
}

async fn code_of(device: &Device, sign_type: u8, stamp: &str) -> u8 {
    code(device, &stamped(device, sign_type, stamp)).await
}

#[tokio::test]
async fn minimum_8_3_line_1_versions_credentials_take_over_and_implicit_delivery() {
    let stage = Stage::new().await;
    let package = stage.package().await;
    for endpoint in [stage.platform.mqtt(), stage.platform.mqtts()] {
        for version in ALL_VERSIONS {
            let device = stage.device(&format!("dev{}_{version:?}", endpoint.port)).await;
            let connect = Connect { version, ..device.connect() };
            let (code, mut older) = device.tries(&endpoint, &connect.bytes(), version).await;
            assert_eq!(code, 0);
            // Somebody without the secret takes nothing over.
            let wrong = Connect { password: Some("0".repeat(64)), ..connect.clone() };
            assert_ne!(device.tries(&endpoint, &wrong.bytes(), version).await.0, 0);
            older.is_alive().await;
            // The device itself does, though its client id is another one.
            let newer = Connect { version, ..stamped(&device, 0, "2026010100") };
            let (code, mut line) = device.tries(&endpoint, &newer.bytes(), version).await;
            assert_eq!(code, 0);
            older.link.is_sent_away(142).await;
            let campaign = stage.campaign_of(&package, &[&device], json!({})).await;
            line.is_asked().await;
            line.runs(NEW).await;
            campaign.ended(&device, "already_installed").await;
        }
    }
}
