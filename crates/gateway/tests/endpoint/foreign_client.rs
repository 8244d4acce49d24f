//! The same over a client library that is not ours.

use std::time::Duration;

use otaru_proto::{Stamp, device_password};
use tokio::time::timeout;

use crate::link::{PATIENCE, events_up, version_report};
use crate::platform::{Platform, SECRET};

const DEVICE: &str = "p1_d1";

#[tokio::test]
async fn rumqttc_reports_and_is_told_in_3_1_1() {
    use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
    let platform = Platform::start().await;
    platform.register(DEVICE).await;
    let mut options = MqttOptions::new(client_id(), "127.0.0.1", platform.address.port());
    options.set_credentials(DEVICE, password()).set_keep_alive(Duration::from_secs(120));
    let (client, mut events) = AsyncClient::new(options, 10);
    client.publish(events_up(DEVICE), QoS::AtLeastOnce, false, version_report("V1")).await.unwrap();
    let mut acknowledged = false;
    let story = async {
        loop {
            match events.poll().await.unwrap() {
                Event::Incoming(Packet::PubAck(_)) => {
                    acknowledged = true;
                    platform.upgrade(DEVICE).await;
                }
                Event::Incoming(Packet::Publish(told)) => return told,
                Event::Incoming(_) | Event::Outgoing(_) => {}
            }
        }
    };
    let told = timeout(PATIENCE, story).await.expect("it is told something");
    assert!(acknowledged);
    assert_eq!(told.topic, "$oc/devices/p1_d1/sys/events/down");
    assert!(String::from_utf8_lossy(&told.payload).contains("version_query"));
}

#[tokio::test]
async fn rumqttc_reports_and_is_told_in_5() {
    use rumqttc::v5::mqttbytes::QoS;
    use rumqttc::v5::mqttbytes::v5::Packet;
    use rumqttc::v5::{AsyncClient, Event, MqttOptions};
    let platform = Platform::start().await;
    platform.register(DEVICE).await;
    let mut options = MqttOptions::new(client_id(), "127.0.0.1", platform.address.port());
    options.set_credentials(DEVICE, password()).set_keep_alive(Duration::from_secs(120));
    let (client, mut events) = AsyncClient::new(options, 10);
    for _ in 0..100 {
        let client = client.clone();
        tokio::spawn(async move {
            client.publish(events_up(DEVICE), QoS::AtLeastOnce, false, version_report("V1")).await
        });
    }
    let mut acknowledged = 0;
    let story = async {
        loop {
            match events.poll().await.unwrap() {
                Event::Incoming(Packet::PubAck(_)) => {
                    acknowledged += 1;
                    if acknowledged == 100 {
                        platform.upgrade(DEVICE).await;
                    }
                }
                Event::Incoming(Packet::Publish(told)) => return told,
                Event::Incoming(_) | Event::Outgoing(_) => {}
            }
        }
    };
    let told = timeout(PATIENCE, story).await.expect("it is told something");
    assert_eq!(told.topic, "$oc/devices/p1_d1/sys/events/down");
}

#[tokio::test]
async fn rumqttc_understands_a_refusal() {
    use rumqttc::{AsyncClient, ConnectReturnCode, ConnectionError, MqttOptions};
    let platform = Platform::start().await;
    platform.register(DEVICE).await;
    let mut options = MqttOptions::new(client_id(), "127.0.0.1", platform.address.port());
    options.set_credentials(DEVICE, "wrong");
    let (_client, mut events) = AsyncClient::new(options, 10);
    let refused = timeout(PATIENCE, events.poll()).await.unwrap();
    assert!(
        matches!(refused, Err(ConnectionError::ConnectionRefused(ConnectReturnCode::BadUserNamePassword))),
        "{refused:?}"
    );
}

fn client_id() -> String {
    format!("{DEVICE}_0_0_2025041401")
}

fn password() -> String {
    device_password(SECRET.as_bytes(), &Stamp::parse("2025041401").unwrap())
}
