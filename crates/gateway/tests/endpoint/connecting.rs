//! Who is let in, what the others are told, and what happens to an older link.

use crate::link::*;
use crate::platform::{Platform, SECRET, until};

const DEVICE: &str = "p1_d1";

fn sdk(version: Version) -> Connect {
    Connect::of(version, DEVICE, SECRET)
}

#[tokio::test]
async fn every_version_is_spoken_also_in_single_bytes() {
    let platform = Platform::start().await;
    platform.register(DEVICE).await;
    for version in ALL_VERSIONS {
        for in_single_bytes in [false, true] {
            let mut link = Link::dial(platform.address, version).await;
            link.in_single_bytes = in_single_bytes;
            let connack = link.connect(&sdk(version)).await;
            if version != V5 {
                assert_eq!(connack, Received { first: 0x20, body: vec![0, 0] });
            }
            let report = link.publish(&events_up(DEVICE), 1, 7, &version_report("V1"));
            link.send(&report).await;
            assert_eq!(link.puback().await, (7, 0));
            link.is_alive().await;
            let subscribe = link.subscribe(8, &[("$oc/devices/p1_d1/sys/events/down", 1)]);
            link.send(&subscribe).await;
            assert_eq!(link.expect(SUBACK).await.body.last(), Some(&1));
            let unsubscribe = link.unsubscribe(9, &["$oc/devices/p1_d1/sys/events/down"]);
            link.send(&unsubscribe).await;
            assert_eq!(link.expect(UNSUBACK).await.body[..2], [0, 9]);
            link.send(&[0xe0, 0]).await;
            link.is_closed().await;
        }
    }
}

#[tokio::test]
async fn mqtt_5_learns_what_is_offered() {
    let platform = Platform::start().await;
    platform.register(DEVICE).await;
    let mut link = Link::dial(platform.address, V5).await;
    let connack = link.connect(&Connect { keep_alive_secs: 0, ..sdk(V5) }).await;
    let properties = &connack.body[3..];
    let has = |property: &[u8]| properties.windows(property.len()).any(|window| window == property);
    assert!(has(&[0x21, 0, 64]), "Receive Maximum: {properties:02x?}");
    assert!(has(&[0x24, 1]), "Maximum QoS: {properties:02x?}");
    assert!(has(&[0x25, 0]), "Retain Available: {properties:02x?}");
    assert!(has(&[0x27, 0, 0x10, 0xff, 0xff]), "Maximum Packet Size: {properties:02x?}");
    assert!(has(&[0x2a, 0]), "Shared Subscription Available: {properties:02x?}");
    assert!(has(&[0x28, 1]), "Wildcard Subscription Available: {properties:02x?}");
    assert!(has(&[0x11, 0, 0, 0, 0]), "Session Expiry Interval: {properties:02x?}");
    assert!(has(&[0x13, 4, 0xb0]), "Server Keep Alive of 1200 s instead of none: {properties:02x?}");
}

#[tokio::test]
async fn a_will_and_a_kept_session_are_accepted_and_mean_nothing() {
    for version in ALL_VERSIONS {
        let platform = Platform::start().await;
        platform.register(DEVICE).await;
        // In MQTT 5 a session is kept for as long as CONNECT says, here for an hour.
        let properties = if version == V5 { vec![0x11, 0, 0, 14, 16] } else { Vec::new() };
        let connect = Connect { will: true, clean: false, properties, ..sdk(version) };
        let mut link = platform.connect(connect.clone()).await;
        platform.upgrade(DEVICE).await;
        let told = link.told().await;
        link.acknowledge(told.packet_id.unwrap()).await;
        link.is_alive().await;
        // The same again: a session is not present, which `connect` looks at.
        platform.connect(connect).await;
    }
}

#[tokio::test]
async fn refusals_have_their_published_codes() {
    let platform = Platform::with(|limits| limits.keep_alive = otaru_gateway::KeepAliveRule::strict()).await;
    platform.register(DEVICE).await;
    platform.register("p1_frozen").await;
    platform.freeze("p1_frozen").await;
    for version in ALL_VERSIONS {
        let code = |v3: u8, v5: u8| if version == V5 { v5 } else { v3 };
        let cases = [
            ("another secret", Connect::of(version, DEVICE, "wrong"), code(4, 134)),
            ("no credentials", Connect { username: None, password: None, ..sdk(version) }, code(4, 134)),
            ("nobody's id", Connect::of(version, "p1_unknown", SECRET), code(4, 134)),
            ("another's id", Connect { username: Some("p1_frozen".into()), ..sdk(version) }, code(4, 134)),
            ("no client id", Connect { client_id: String::new(), ..sdk(version) }, code(2, 133)),
            ("a short client id", Connect { client_id: DEVICE.into(), ..sdk(version) }, code(2, 133)),
            ("keep alive 29", Connect { keep_alive_secs: 29, ..sdk(version) }, code(2, 133)),
            ("keep alive 1201", Connect { keep_alive_secs: 1201, ..sdk(version) }, code(2, 133)),
            ("frozen", Connect::of(version, "p1_frozen", SECRET), code(5, 135)),
        ];
        for (case, connect, expected) in cases {
            assert_eq!(platform.refusal(connect).await, expected, "{case}, {version:?}");
        }
    }
    let refused = platform.engine.refused_connections();
    let codes: Vec<&str> = refused.iter().map(|refused| refused.code).collect();
    for code in ["unknown_device", "frozen"] {
        assert!(codes.contains(&code), "the operator sees who was refused: {codes:?}");
    }
}

#[tokio::test]
async fn mqtt_5_learns_the_reason_but_not_which_devices_exist() {
    let platform = Platform::start().await;
    platform.register(DEVICE).await;
    let mut reasons = Vec::new();
    for connect in [Connect::of(V5, DEVICE, "wrong"), Connect::of(V5, "p1_unknown", "wrong")] {
        let mut link = Link::dial(platform.address, V5).await;
        reasons.push(link.connect(&connect).await.body);
    }
    assert!(reasons[0].len() > 3, "there is a reason string: {reasons:?}");
    assert_eq!(reasons[0], reasons[1]);
}

#[tokio::test]
async fn unknown_versions_are_told_so() {
    let platform = Platform::start().await;
    let mut link = Link::dial(platform.address, V3_1_1).await;
    link.send(&packet(0x10, b"\x00\x04MQTT\x06\x02\x00\x78\x00\x00\x01x")).await;
    assert_eq!(link.expect(CONNACK).await.body, [0, 1]);
    link.is_closed().await;
}

#[tokio::test]
async fn other_ways_to_authenticate_are_not_spoken() {
    let platform = Platform::start().await;
    platform.register(DEVICE).await;
    let properties = b"\x15\x00\x05PLAIN".to_vec();
    assert_eq!(platform.refusal(Connect { properties, ..sdk(V5) }).await, 140);
}

#[tokio::test]
async fn what_follows_connect_at_once_is_heard() {
    let platform = Platform::start().await;
    platform.register(DEVICE).await;
    let mut link = Link::dial(platform.address, V3_1_1).await;
    let report = link.publish(&events_up(DEVICE), 1, 3, &version_report("V1"));
    link.send(&[sdk(V3_1_1).bytes(), report].concat()).await;
    assert_eq!(link.expect(CONNACK).await.body, [0, 0]);
    assert_eq!(link.puback().await, (3, 0));
}

#[tokio::test]
async fn a_new_link_ends_the_older_one() {
    for version in ALL_VERSIONS {
        let platform = Platform::start().await;
        let mut older = platform.device(DEVICE, version).await;
        let mut newer = platform.connect(sdk(version)).await;
        older.is_sent_away(142).await;
        newer.is_alive().await;
        assert!(platform.is_online(DEVICE).await);
    }
}

#[tokio::test]
async fn whoever_does_not_know_the_password_disturbs_nobody() {
    let platform = Platform::start().await;
    let mut link = platform.device(DEVICE, V5).await;
    assert_eq!(platform.refusal(Connect::of(V5, DEVICE, "wrong")).await, 134);
    assert_eq!(platform.refusal(Connect { keep_alive_secs: 1, ..sdk(V5) }).await, 133);
    link.is_alive().await;
}

#[tokio::test]
async fn offline_is_known_however_the_link_ends() {
    let platform = Platform::start().await;
    let mut link = platform.device(DEVICE, V3_1_1).await;
    until("online", async || platform.is_online(DEVICE).await).await;
    link.send(&[0xe0, 0]).await;
    until("offline after DISCONNECT", async || !platform.is_online(DEVICE).await).await;
    let link = platform.connect(sdk(V3_1_1)).await;
    until("online again", async || platform.is_online(DEVICE).await).await;
    drop(link);
    until("offline after a cut", async || !platform.is_online(DEVICE).await).await;
}

#[tokio::test]
async fn a_frozen_device_loses_its_link() {
    let platform = Platform::start().await;
    let mut link = platform.device(DEVICE, V5).await;
    platform.freeze(DEVICE).await;
    link.is_sent_away(152).await;
}

#[tokio::test]
async fn shutting_down_says_goodbye_and_waits_for_nobody() {
    let mut platform = Platform::start().await;
    let mut v5 = platform.device(DEVICE, V5).await;
    let mut v3 = platform.device("p1_d2", V3_1_1).await;
    let mut mute = Link::dial(platform.address, V5).await;
    platform.shut_down().await;
    v5.is_sent_away(139).await;
    v3.is_closed().await;
    mute.is_closed().await;
    assert!(tokio::net::TcpStream::connect(platform.address).await.is_err(), "nobody listens any more");
}
