//! What breaks MQTT, by mistake or on purpose, costs its own link and nobody else's.

use std::time::Duration;

use crate::link::*;
use crate::platform::{Platform, SECRET, until};

const DEVICE: &str = "p1_d1";

#[tokio::test]
async fn qos_2_is_not_spoken() {
    let platform = Platform::start().await;
    for version in ALL_VERSIONS {
        let mut link = platform.device(&format!("p1_{version:?}"), version).await;
        let report = link.publish("telemetry", 2, 1, "{}");
        link.send(&report).await;
        link.is_sent_away(155).await;
    }
}

#[tokio::test]
async fn what_came_before_a_broken_packet_counts() {
    let platform = Platform::start().await;
    let mut link = platform.device(DEVICE, V3_1_1).await;
    let mut bytes = link.publish(&events_up(DEVICE), 1, 1, &version_report("V5"));
    bytes.extend(link.publish("telemetry", 2, 2, "{}"));
    link.send(&bytes).await;
    link.is_closed().await;
    until("the report is stored", async || platform.firmware_version(DEVICE).await.as_deref() == Some("V5"))
        .await;
}

#[tokio::test]
async fn a_packet_over_the_limit_is_refused_before_it_is_read() {
    let platform = Platform::with(|limits| limits.packet_bytes_max = 8192).await;
    for version in ALL_VERSIONS {
        let mut link = platform.device(&format!("p1_{version:?}"), version).await;
        link.send(&[0x30, 0x80, 0x80, 0x80, 0x01]).await;
        link.is_sent_away(149).await;
    }
}

#[tokio::test]
async fn a_large_connect_is_refused_before_it_is_read() {
    let platform = Platform::start().await;
    let mut link = Link::dial(platform.address, V3_1_1).await;
    link.send(&[0x10, 0x81, 0x20]).await;
    link.is_closed().await;
}

#[tokio::test]
async fn what_is_no_mqtt_gets_no_answer() {
    let platform = Platform::start().await;
    let strangers: [&[u8]; 7] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x30\x03\x00\x01t",
        b"\x10\xff\xff\xff\xff",
        b"\x10\x07\x00\x04AMQP\x04",
        b"\x10\x02\x00\x04",
        b"\x00",
    ];
    for bytes in strangers {
        let mut link = Link::dial(platform.address, V3_1_1).await;
        link.send(bytes).await;
        link.is_closed().await;
    }
}

#[tokio::test]
async fn a_connect_that_contradicts_itself_gets_no_answer() {
    let platform = Platform::start().await;
    platform.register(DEVICE).await;
    for version in ALL_VERSIONS {
        // A password without a user name is nothing MQTT 3 permits; a cut password nothing at all.
        let mut cut = Connect::of(version, DEVICE, SECRET).bytes();
        cut.truncate(cut.len() - 4);
        cut[1] -= 4;
        let mut link = Link::dial(platform.address, version).await;
        link.send(&cut).await;
        link.is_closed().await;
    }
}

#[tokio::test]
async fn what_only_makes_sense_elsewhere_ends_the_session() {
    let platform = Platform::start().await;
    let packets: [&[u8]; 7] = [
        b"\x20\x02\x00\x00",
        b"\x50\x02\x00\x01",
        b"\x90\x03\x00\x01\x00",
        b"\xd0\x00",
        b"\xf0\x00",
        b"\x00\x00",
        b"\x82\x02\x00\x01",
    ];
    for version in ALL_VERSIONS {
        for (number, bytes) in packets.into_iter().enumerate() {
            let mut link = platform.device(&format!("p1_{version:?}_{number}"), version).await;
            link.send(bytes).await;
            ends(&mut link, bytes).await;
        }
        let mut link = platform.device(&format!("p1_{version:?}_twice"), version).await;
        link.send(&Connect::of(version, "p1_x", SECRET).bytes()).await;
        ends(&mut link, b"a second CONNECT").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noise_ends_its_own_session_and_no_other() {
    let platform = Platform::with(|limits| {
        limits.handshake_time_max = Duration::from_secs(1);
        limits.keep_alive.accepted_secs = 1..=1200;
    })
    .await;
    let mut bystander = platform.device("p1_bystander", V5).await;
    platform.register(DEVICE).await;
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    for round in 0..200 {
        let version = ALL_VERSIONS[round % 3];
        let mut link = Link::dial(platform.address, version).await;
        if round % 2 == 0 {
            // A short keep alive, for noise that looks like the beginning of something long.
            let connect = Connect { keep_alive_secs: 1, ..Connect::of(version, DEVICE, SECRET) };
            link.connect(&connect).await;
        }
        let bytes: Vec<u8> = (0..noise.below(64) + 1).map(|_| noise.byte()).collect();
        // The session may end while this is being written.
        let _ = link.try_send(&bytes).await;
        if round % 40 < 2 {
            while link.receive().await.is_some() {}
        }
    }
    bystander.is_alive().await;
    platform.connect(Connect::of(V3_1_1, DEVICE, SECRET)).await.is_alive().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_never_reads_is_given_up() {
    let platform = Platform::with(|limits| {
        limits.uplink_rate = None;
        limits.write_time_max = Duration::from_millis(200);
    })
    .await;
    let mut bystander = platform.device("p1_bystander", V3_1_1).await;
    let mut link = platform.device(DEVICE, V3_1_1).await;
    let pings = [0xc0, 0].repeat(32 * 1024);
    // It asks for more answers than any buffer holds and reads none of them.
    let asking = async { while link.try_send(&pings).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, asking).await.expect("the connection ends");
    bystander.is_alive().await;
}

/// Expects the end, whatever is said before it.
async fn ends(link: &mut Link, after: &[u8]) {
    let mut said = Vec::new();
    while let Some(received) = link.receive().await {
        said.push(received.kind());
    }
    assert!(said.iter().all(|kind| *kind == DISCONNECT), "after {after:02x?}: {said:?}");
}

/// Numbers without pattern, the same in every run (xorshift).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.next() >> 56).unwrap()
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
