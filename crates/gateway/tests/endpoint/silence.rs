//! How long a device may say nothing.

use std::time::Duration;

use crate::link::*;
use crate::platform::{Platform, SECRET, until};

const DEVICE: &str = "p1_d1";

/// One second is the shortest interval MQTT can name.
fn short(version: Version, device: &str) -> Connect {
    Connect { keep_alive_secs: 1, ..Connect::of(version, device, SECRET) }
}

async fn platform(silence_at_work_max: Duration) -> Platform {
    let platform = Platform::with(|limits| {
        limits.keep_alive.accepted_secs = 1..=1200;
        limits.silence_at_work_max = silence_at_work_max;
    })
    .await;
    platform.register(DEVICE).await;
    platform
}

#[tokio::test]
async fn a_silent_device_is_sent_away_and_one_that_pings_is_not() {
    let platform = platform(Duration::from_secs(3600)).await;
    platform.register("p1_silent_v3").await;
    platform.register("p1_silent_v5").await;
    let mut pinging = platform.connect(short(V3_1_1, DEVICE)).await;
    let mut silent_v3 = platform.connect(short(V3_1_1, "p1_silent_v3")).await;
    let mut silent_v5 = platform.connect(short(V5, "p1_silent_v5")).await;
    let pings = async {
        let mut every = tokio::time::interval(Duration::from_millis(300));
        loop {
            every.tick().await;
            pinging.is_alive().await;
        }
    };
    tokio::select! {
        () = pings => {}
        () = async { silent_v3.is_sent_away(141).await; silent_v5.is_sent_away(141).await } => {}
    }
    pinging.is_alive().await;
}

#[tokio::test]
async fn a_device_at_work_may_be_silent() {
    let platform = platform(Duration::from_secs(3600)).await;
    platform.register("p1_idle").await;
    let mut at_work = platform.connect(short(V5, DEVICE)).await;
    put_to_work(&platform, &mut at_work).await;
    // As long as an idle device may be silent, and then some.
    platform.connect(short(V5, "p1_idle")).await.is_sent_away(141).await;
    at_work.is_alive().await;
}

#[tokio::test]
async fn but_not_for_ever() {
    let platform = platform(Duration::from_secs(2)).await;
    let mut at_work = platform.connect(short(V5, DEVICE)).await;
    put_to_work(&platform, &mut at_work).await;
    at_work.is_sent_away(141).await;
}

#[tokio::test]
async fn whom_nobody_listens_to_is_not_silent() {
    let platform = Platform::with(|limits| {
        limits.keep_alive.accepted_secs = 1..=1200;
        limits.uplinks_in_flight_max = 1.try_into().unwrap();
    })
    .await;
    platform.register(DEVICE).await;
    platform.register("p1_idle").await;
    let mut waiting = platform.connect(short(V5, DEVICE)).await;
    platform.faults.stall();
    let report = waiting.publish(&events_up(DEVICE), 1, 1, &version_report("V1"));
    waiting.send(&report).await;
    // It waits for its PUBACK for longer than an idle device may be silent.
    platform.connect(short(V5, "p1_idle")).await.is_sent_away(141).await;
    platform.faults.resume();
    assert_eq!(waiting.puback().await, (1, 0));
    waiting.is_alive().await;
}

/// Has the device told to upgrade.
async fn put_to_work(platform: &Platform, link: &mut Link) {
    platform.upgrade(DEVICE).await;
    let query = link.told().await;
    link.acknowledge(query.packet_id.unwrap()).await;
    let report = link.publish(&events_up(DEVICE), 1, 1, &version_report("V1"));
    link.send(&report).await;
    assert_eq!(link.puback().await, (1, 0));
    let notice = link.told().await;
    assert!(notice.payload.contains("firmware_upgrade"), "{}", notice.payload);
    until("it is online", async || platform.is_online(DEVICE).await).await;
}
