//! How many may come, how fast they may speak, and how long they may take.

use std::time::Duration;

use otaru_gateway::{BindError, Gateway, GatewayConfig, GatewayLimits, UplinkRate};
use tokio::time::Instant;

use crate::link::*;
use crate::platform::{Platform, SECRET};

const DEVICE: &str = "p1_d1";

#[tokio::test]
async fn whoever_does_not_finish_connect_in_time_is_closed() {
    let platform = Platform::with(|limits| limits.handshake_time_max = Duration::from_millis(100)).await;
    platform.register(DEVICE).await;
    let connect = Connect::of(V3_1_1, DEVICE, SECRET).bytes();
    for bytes in [0, 1, connect.len() - 1] {
        let mut link = Link::dial(platform.address, V3_1_1).await;
        link.send(&connect[..bytes]).await;
        link.is_closed().await;
    }
}

#[tokio::test]
async fn an_address_may_have_so_many_connections() {
    let platform = Platform::with(|limits| limits.connections_per_address_max = 2).await;
    let mut first = platform.device("p1_d1", V3_1_1).await;
    let mut second = platform.device("p1_d2", V3_1_1).await;
    refused_before_connect(&platform).await;
    first.is_alive().await;
    second.is_alive().await;
    first.send(&[0xe0, 0]).await;
    first.is_closed().await;
    // The seat is free soon after the connection has ended.
    crate::platform::until("there is room again", async || {
        let mut link = Link::dial(platform.address, V3_1_1).await;
        let sent = link.try_send(&Connect::of(V3_1_1, "p1_d1", SECRET).bytes()).await;
        sent.is_ok() && link.receive().await.is_some()
    })
    .await;
}

#[tokio::test]
async fn so_many_connections_fit_in_all() {
    let platform = Platform::with(|limits| limits.connections_max = 1).await;
    let mut first = platform.device(DEVICE, V3_1_1).await;
    refused_before_connect(&platform).await;
    first.is_alive().await;
}

#[tokio::test]
async fn connections_over_the_limit_of_handshakes_wait_their_turn() {
    let platform = Platform::with(|limits| {
        limits.handshakes_max = 1;
        limits.handshake_time_max = Duration::from_secs(1);
    })
    .await;
    // The first one says nothing; the second one is let in when the first has used up its time, or its second.
    let mut mute = Link::dial(platform.address, V3_1_1).await;
    let mut second = platform.device(DEVICE, V3_1_1).await;
    mute.is_closed().await;
    // A session is no handshake any more.
    platform.device("p1_d2", V3_1_1).await.is_alive().await;
    second.is_alive().await;
}

#[tokio::test]
async fn a_crowd_that_never_finishes_its_connect_does_not_keep_others_out() {
    let platform = Platform::with(|limits| {
        limits.handshakes_max = 4;
        limits.handshakes_aside_max = 4;
        limits.handshake_time_max = Duration::from_secs(600);
    })
    .await;
    let mut crowd = Vec::new();
    for number in 0..12 {
        let mut link = Link::dial(platform.address, V3_1_1).await;
        if number % 2 == 1 {
            link.send(&Connect::of(V3_1_1, "p1_d1", SECRET).bytes()[..20]).await;
        }
        crowd.push(link);
    }
    // It waits behind those that came before, and not until their ten minutes are over.
    platform.device(DEVICE, V3_1_1).await.is_alive().await;
    crowd[0].is_closed().await;
    // The last ones have time as long as nobody else wants their places.
    crowd[11].send(&[0]).await;
}

#[tokio::test]
async fn whoever_speaks_too_fast_is_heard_slower_and_loses_nothing() {
    let platform = Platform::with(|limits| limits.uplink_rate = UplinkRate::new(50, 5)).await;
    let mut link = platform.device(DEVICE, V3_1_1).await;
    let reports: Vec<u8> =
        (1..=30).flat_map(|id| link.publish(&events_up(DEVICE), 1, id, &version_report("V1"))).collect();
    let began = Instant::now();
    link.send(&reports).await;
    assert_eq!(link.pubacks(30).await, (1..=30).collect::<Vec<u16>>());
    // Five at once and the other twenty-five at fifty a second.
    assert!(began.elapsed() >= Duration::from_millis(500), "{:?}", began.elapsed());
    link.is_alive().await;
}

#[tokio::test]
async fn nothing_listens_on_limits_that_cannot_work() {
    let platform = Platform::start().await;
    let limits = GatewayLimits { handshake_time_max: Duration::ZERO, ..GatewayLimits::default() };
    let config = GatewayConfig { plain: Some("127.0.0.1:0".parse().unwrap()), tls: None, limits };
    let refused = Gateway::bind(platform.engine.clone(), config).err();
    assert!(matches!(refused, Some(BindError::Limits(_))), "{refused:?}");
    let refused = Gateway::bind(platform.engine.clone(), GatewayConfig::default()).err();
    assert!(matches!(refused, Some(BindError::NoAddress)), "{refused:?}");
}

#[tokio::test]
async fn a_taken_address_is_named() {
    let platform = Platform::start().await;
    let config = GatewayConfig { plain: Some(platform.address), ..GatewayConfig::default() };
    let refused = Gateway::bind(platform.engine.clone(), config).err().expect("it is taken");
    assert_eq!(refused.to_string(), format!("cannot listen for MQTT on {}", platform.address));
}

/// A connection that is closed without an answer to its CONNECT.
async fn refused_before_connect(platform: &Platform) {
    let mut link = Link::dial(platform.address, V3_1_1).await;
    // It may be closed before this is written.
    let _ = link.try_send(&Connect::of(V3_1_1, "p1_d1", SECRET).bytes()).await;
    link.is_closed().await;
}
