//! A device as bytes on a link: it says what it is told to say, and keeps what it hears.

use std::collections::VecDeque;
use std::sync::Arc;

use otaru_fleet::{Endpoint, Socket};
use serde_json::{Value, json};

use crate::link::{CONNACK, Connect, Link, PUBACK, PUBLISH, Told, V3_1_1, Version, events_up};
use crate::platform::Platform;

/// A registered device.
#[derive(Clone)]
pub struct Device {
    pub id: String,
    pub secret: String,
    pub platform: Arc<Platform>,
}

impl Device {
    /// What an SDK with MQTT 3.1.1 would send.
    pub fn connect(&self) -> Connect {
        Connect::of(V3_1_1, &self.id, &self.secret)
    }

    pub async fn connects(&self) -> Line {
        self.connects_with(&self.connect()).await
    }

    pub async fn connects_with(&self, connect: &Connect) -> Line {
        let (code, line) = self.tries(&self.platform.mqtt(), &connect.bytes(), connect.version).await;
        assert_eq!(code, 0, "let in");
        line
    }

    /// Sends a CONNECT, and answers with the code of the CONNACK.
    pub async fn tries(&self, endpoint: &Endpoint, connect: &[u8], version: Version) -> (u8, Line) {
        let mut link = Link::over(endpoint.dial().await.unwrap(), version);
        link.send(connect).await;
        let connack = link.receive().await.expect("a CONNACK");
        assert_eq!(connack.kind(), CONNACK, "{connack:?}");
        (connack.body[1], Line::over(self, link))
    }

    pub async fn shown(&self) -> Value {
        self.platform.get(&format!("/devices/{}", self.id)).await
    }

    /// What the device said, newest first.
    pub async fn reports(&self) -> Vec<Value> {
        let listed = self.platform.get(&format!("/devices/{}/reports", self.id)).await;
        listed["items"].as_array().unwrap().clone()
    }

    /// What was made of the device's last message that was kept.
    pub async fn last_reading(&self) -> Value {
        self.reports().await.first().expect("a message was kept")["reading"].clone()
    }

    pub fn down(&self) -> String {
        format!("$oc/devices/{}/sys/events/down", self.id)
    }
}

/// A device's connection.
pub struct Line {
    pub link: Link<Socket>,
    device: String,
    packet_id: u16,
    /// What was said to the device while it waited for something else.
    heard: VecDeque<Told>,
    /// Whether downlinks are acknowledged as they arrive.
    pub acknowledges: bool,
}

impl Line {
    pub fn over(device: &Device, link: Link<Socket>) -> Line {
        let device = device.id.clone();
        Line { link, device, packet_id: 0, heard: VecDeque::new(), acknowledges: true }
    }

    // --- Saying ---

    /// Publishes to the own `events/up` with QoS 1 and waits for the PUBACK.
    pub async fn says(&mut self, payload: &str) {
        let topic = events_up(&self.device);
        self.says_on(&topic, 2, payload.as_bytes()).await;
    }

    /// Publishes with these flags of the first byte, and waits for the PUBACK unless it is QoS 0.
    pub async fn says_on(&mut self, topic: &str, flags: u8, payload: &[u8]) {
        self.packet_id += 1;
        let packet = self.link.publish_with(topic, flags, self.packet_id, payload);
        self.link.send(&packet).await;
        if flags & 6 != 0 {
            self.is_acknowledged(self.packet_id).await;
        }
    }

    pub async fn is_acknowledged(&mut self, packet_id: u16) {
        let received = self.next_but_publish().await;
        assert_eq!((received.0, received.1.get(..2)), (PUBACK, Some(&packet_id.to_be_bytes()[..])));
    }

    /// An `$ota` event with these `paras`, as the documents have it.
    pub async fn event(&mut self, event_type: &str, paras: Value) {
        let device = self.device.clone();
        self.event_of(&device, event_type, paras).await;
    }

    /// The same about a child.
    pub async fn event_of(&mut self, subject: &str, event_type: &str, paras: Value) {
        self.says(&envelope(subject, event_type, paras).to_string()).await;
    }

    pub async fn reports(&mut self, paras: Value) {
        self.event("upgrade_progress_report", paras).await;
    }

    /// A gateway says that its child is there.
    pub async fn brings(&mut self, child: &Device) {
        let statuses = json!([{ "device_id": child.id, "status": "ONLINE" }]);
        let message = json!({ "services": [{
            "service_id": "$sub_device_manager", "event_type": "sub_device_update_status",
            "paras": { "device_statuses": statuses },
        }] });
        self.says(&message.to_string()).await;
    }

    /// Says which firmware it runs.
    pub async fn runs(&mut self, version: &str) {
        self.event("version_report", json!({ "fw_version": version })).await;
    }

    // --- Hearing ---

    /// Whether something was said to the device while it waited for something else.
    pub fn has_heard(&self) -> bool {
        !self.heard.is_empty()
    }

    /// The next downlink.
    pub async fn told(&mut self) -> Told {
        if let Some(told) = self.heard.pop_front() {
            return told;
        }
        let received = self.link.receive().await.expect("a downlink");
        assert_eq!(received.kind(), PUBLISH, "{received:?}");
        let told = self.link.read_publish(&received);
        self.acknowledge(&told).await;
        told
    }

    /// The next downlink about upgrades, whole.
    pub async fn message(&mut self) -> Value {
        loop {
            let told = self.told().await;
            if is_about_upgrades(&told) {
                assert_eq!(told.topic, format!("$oc/devices/{}/sys/events/down", self.device));
                return serde_json::from_str(&told.payload).unwrap();
            }
        }
    }

    /// The next downlink about upgrades, which is an event for `subject`: its type and its `paras`.
    pub async fn told_about(&mut self, subject: &str) -> (String, Value) {
        let message = self.message().await;
        assert_eq!(message["object_device_id"], subject, "{message}");
        let services = message["services"].as_array().unwrap();
        assert_eq!(services.len(), 1, "{message}");
        assert_eq!(services[0]["service_id"], "$ota", "{message}");
        (services[0]["event_type"].as_str().unwrap().to_owned(), services[0]["paras"].clone())
    }

    /// The next downlink is a version question.
    pub async fn is_asked(&mut self) {
        let device = self.device.clone();
        self.is_asked_about(&device).await;
    }

    pub async fn is_asked_about(&mut self, subject: &str) {
        let (event_type, paras) = self.told_about(subject).await;
        assert_eq!((event_type.as_str(), paras), ("version_query", json!({})));
    }

    /// The next downlink is an upgrade notice. Returns its `paras`.
    pub async fn is_told(&mut self, event_type: &str) -> Value {
        let device = self.device.clone();
        self.is_told_about(&device, event_type).await
    }

    pub async fn is_told_about(&mut self, subject: &str, event_type: &str) -> Value {
        let (found, paras) = self.told_about(subject).await;
        assert_eq!(found, event_type, "{paras}");
        paras
    }

    /// Nothing more about upgrades was said to the device by what it has said so far: words are handed over before the
    /// acknowledgement of whatever is said later.
    pub async fn is_told_nothing(&mut self) {
        self.says(r#"{"services":[{"service_id":"$log","event_type":"log_report","paras":{}}]}"#).await;
        self.heard.retain(is_about_upgrades);
        assert_eq!(self.heard, [], "nothing was to be said");
    }

    /// Answers to a ping, whatever was said before.
    pub async fn is_alive(&mut self) {
        self.link.send(&[0xc0, 0]).await;
        let (kind, _) = self.next_but_publish().await;
        assert_eq!(kind, crate::link::PINGRESP);
    }

    /// Kind and body of the next packet that is no downlink; downlinks are kept.
    pub async fn next_but_publish(&mut self) -> (u8, Vec<u8>) {
        loop {
            let received = self.link.receive().await.expect("the connection stays");
            if received.kind() != PUBLISH {
                return (received.kind(), received.body);
            }
            let told = self.link.read_publish(&received);
            self.acknowledge(&told).await;
            self.heard.push_back(told);
        }
    }

    async fn acknowledge(&mut self, told: &Told) {
        if let Some(packet_id) = told.packet_id.filter(|_| self.acknowledges) {
            self.link.acknowledge(packet_id).await;
        }
    }

    /// The device says goodbye and the server has closed.
    pub async fn leaves(mut self) {
        self.link.send(&[0xe0, 0]).await;
        while self.link.receive().await.is_some() {}
    }
}

/// Whether a downlink is one of those that these tests are about; answers of other services may come between.
fn is_about_upgrades(told: &Told) -> bool {
    told.payload.contains(r#""service_id":"$ota""#)
}

/// An event as the documents have it.
pub fn envelope(subject: &str, event_type: &str, paras: Value) -> Value {
    json!({ "object_device_id": subject, "services": [{
        "service_id": "$ota", "event_type": event_type, "event_time": "20250414T010203Z", "paras": paras,
    }] })
}
