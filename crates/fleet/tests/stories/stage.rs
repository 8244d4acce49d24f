//! A platform small enough to be looked through: it accepts devices, says what a test wants and writes down what it
//! hears. It decides nothing.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mqtt_protocol_core::mqtt;
use mqtt_protocol_core::mqtt::connection::Event;
use mqtt_protocol_core::mqtt::packet::{Packet, Qos, v3_1_1};
use mqtt_protocol_core::mqtt::prelude::*;
use mqtt_protocol_core::mqtt::result_code::ConnectReturnCode;
use otaru_fleet::{
    Child, Crowd, DeviceConfig, Downloader, Endpoint, Pace, Script, Site, TalliesNow, TlsTrust,
};
use otaru_proto::{
    Access, DeviceId, Downlink, EventBody, Notice, PackageKind, Subject, Version, decode_uplink,
    encode_downlink, events_down,
};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

/// No step of these stories takes longer on a machine that works.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the platform does with PUBLISH.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manners {
    Acknowledges,
    /// Closes the link on the first progress report instead of acknowledging it.
    HangsUpOnce,
}

/// An MQTT listener that accepts whom it is told to.
pub struct Platform {
    pub address: SocketAddr,
    heard: mpsc::UnboundedReceiver<String>,
    doors: Arc<Doors>,
}

/// What all connections share.
struct Doors {
    tell: mpsc::UnboundedSender<String>,
    /// To the device that connected last.
    say: Mutex<Option<mpsc::UnboundedSender<Vec<u8>>>>,
    connack: ConnectReturnCode,
    hangs_up: AtomicBool,
    tls: Option<TlsAcceptor>,
}

/// A stage with one device on it.
pub struct Stage {
    pub crowd: Crowd,
    platform: Platform,
    device: DeviceId,
    pub http: Http,
}

impl Platform {
    pub async fn open(manners: Manners) -> Platform {
        Platform::with(manners, ConnectReturnCode::Accepted, None).await
    }

    pub async fn with(manners: Manners, connack: ConnectReturnCode, tls: Option<TlsAcceptor>) -> Platform {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, heard) = mpsc::unbounded_channel();
        let hangs_up = AtomicBool::new(manners == Manners::HangsUpOnce);
        let doors = Arc::new(Doors { tell, say: Mutex::default(), connack, hangs_up, tls });
        tokio::spawn(accept(listener, Arc::clone(&doors)));
        Platform { address, heard, doors }
    }

    /// Whatever is heard next.
    pub async fn next(&mut self) -> String {
        let heard = tokio::time::timeout(PATIENCE, self.heard.recv()).await;
        heard.expect("waited in vain").expect("the platform is up")
    }

    /// The next things heard are these, in this order.
    pub async fn hears(&mut self, expected: &[&str]) {
        for expected in expected {
            assert_eq!(self.next().await, *expected);
        }
    }

    pub fn says(&self, device: &DeviceId, downlink: &Downlink) {
        let say = self.doors.say.lock().unwrap();
        say.as_ref().expect("a device is connected").send(encode_downlink(device, downlink, 0)).unwrap();
    }
}

/// A device with the usual hurry.
pub fn device(id: &str, script: Script) -> DeviceConfig {
    DeviceConfig {
        device_id: DeviceId::parse(id).unwrap(),
        secret: "s3cret".into(),
        firmware: Version::parse_target("1.4.0").unwrap(),
        software: None,
        script,
        pace: Pace { step: Duration::from_millis(5), reboot: Duration::from_millis(20) },
        subscribes: true,
        seed: 1,
        children: Vec::new(),
    }
}

/// A crowd that connects to `address`, plain or trusting as told.
pub fn crowd(address: SocketAddr, trust: Option<&TlsTrust>) -> Crowd {
    let tls = trust.map(|trust| trust.client_config().unwrap());
    let endpoint = Endpoint { host: "127.0.0.1".into(), port: address.port(), tls };
    Crowd::at(Site::new(endpoint, Downloader::default(), 0))
}

/// Waits until the devices have done what is asked for.
pub async fn until(crowd: &Crowd, is_done: impl Fn(&TalliesNow) -> bool) {
    let done = async {
        while !is_done(&crowd.tallies().now()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, done).await;
    assert!(waited.is_ok(), "waited in vain; so far: {:?}", crowd.tallies().now());
}

impl Stage {
    pub async fn with(script: Script) -> Stage {
        Stage::with_manners(script, Manners::Acknowledges).await
    }

    pub async fn with_manners(script: Script, manners: Manners) -> Stage {
        Stage::with_device(device("lamp_1", script), manners).await
    }

    /// A gateway with one child.
    pub async fn with_child(gateway: Script, child: Script) -> Stage {
        let DeviceConfig { firmware, software, script, pace, seed, .. } = device("lamp_1", child);
        let device_id = DeviceId::parse("button_1").unwrap();
        let child = Child { device_id, firmware, software, script, pace, seed };
        let gateway = DeviceConfig { children: vec![child], ..device("lamp_1", gateway) };
        Stage::with_device(gateway, Manners::Acknowledges).await
    }

    async fn with_device(device: DeviceConfig, manners: Manners) -> Stage {
        let platform = Platform::open(manners).await;
        let mut crowd = crowd(platform.address, None);
        let id = device.device_id.clone();
        crowd.add(device);
        Stage { crowd, platform, device: id, http: Http::serve(vec![Answer::Whole; 16]).await }
    }

    /// The next things heard are these, in this order.
    pub async fn hears(&mut self, expected: &[&str]) {
        self.platform.hears(expected).await;
    }

    pub async fn next(&mut self) -> String {
        self.platform.next().await
    }

    pub async fn until(&self, is_done: impl Fn(&TalliesNow) -> bool) {
        until(&self.crowd, is_done).await;
    }

    /// Switches the device off.
    pub async fn stops(&mut self) {
        let nobody = crowd(self.platform.address, None);
        let panicked = std::mem::replace(&mut self.crowd, nobody).stop().await;
        assert_eq!(panicked, 0);
    }

    pub fn asks(&self) {
        self.platform.says(&self.device, &Downlink::VersionQuery { task: None });
    }

    pub fn tells(&self, version: &str) {
        self.platform.says(&self.device, &Downlink::Notice(self.http.notice(version)));
    }

    /// On the device's link, about somebody else.
    pub fn asks_about(&self, other: &str) {
        self.platform.says(&DeviceId::parse(other).unwrap(), &Downlink::VersionQuery { task: None });
    }

    /// On the device's link, to somebody else.
    pub fn tells_about(&self, other: &str, version: &str) {
        let notice = Downlink::Notice(self.http.notice(version));
        self.platform.says(&DeviceId::parse(other).unwrap(), &notice);
    }
}

async fn accept(listener: TcpListener, doors: Arc<Doors>) {
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let doors = Arc::clone(&doors);
        tokio::spawn(async move {
            match &doors.tls {
                None => converse(socket, &doors).await,
                Some(tls) => match tls.accept(socket).await {
                    Ok(socket) => converse(socket, &doors).await,
                    Err(_) => {
                        let _ = doors.tell.send("no handshake".into());
                    }
                },
            }
        });
    }
}

/// One device, until it goes or is hung up on.
async fn converse(mut socket: impl AsyncRead + AsyncWrite + Unpin, doors: &Doors) {
    let (sender, mut words) = mpsc::unbounded_channel();
    *doors.say.lock().unwrap() = Some(sender);
    let mut mqtt = mqtt::Connection::<mqtt::role::Server>::new(mqtt::Version::V3_1_1);
    mqtt.set_auto_ping_response(true);
    let mut input = [0; 4096];
    let mut topic = String::new();
    'link: loop {
        let events = tokio::select! {
            read = socket.read(&mut input) => match read {
                Ok(0) | Err(_) => break 'link,
                Ok(n) => {
                    let mut events = Vec::new();
                    let mut cursor = mqtt::common::Cursor::new(&input[..n]);
                    while !cursor.remaining_slice().is_empty() {
                        events.extend(mqtt.recv(&mut cursor));
                    }
                    events
                }
            },
            Some(payload) = words.recv() => {
                let id = mqtt.acquire_packet_id().unwrap();
                let publish = v3_1_1::Publish::builder().topic_name(topic.as_str()).unwrap();
                mqtt.checked_send(publish.qos(Qos::AtLeastOnce).packet_id(id).payload(payload).build().unwrap())
            }
        };
        let mut queue = VecDeque::from(events);
        while let Some(event) = queue.pop_front() {
            if let Event::RequestSendPacket { packet, .. } = event {
                let _ = socket.write_all(&packet.to_continuous_buffer()).await;
                let _ = socket.flush().await;
            } else if let Event::NotifyPacketReceived(packet) = event {
                if let Packet::V3_1_1Connect(connect) = packet {
                    let name = connect.user_name().unwrap_or(connect.client_id()).to_owned();
                    topic = events_down(&DeviceId::parse(&name).unwrap());
                    let _ = doors.tell.send(format!("connected {name}"));
                    let answer = v3_1_1::Connack::builder().session_present(false);
                    queue.extend(mqtt.checked_send(answer.return_code(doors.connack).build().unwrap()));
                } else if let Packet::V3_1_1Subscribe(subscribe) = packet {
                    let suback = v3_1_1::Suback::builder().packet_id(subscribe.packet_id());
                    let granted = mqtt::result_code::SubackReturnCode::SuccessMaximumQos1;
                    queue.extend(mqtt.checked_send(suback.return_codes(vec![granted]).build().unwrap()));
                } else if let Packet::V3_1_1Publish(publish) = packet {
                    let words = read(&topic, publish.payload().as_slice());
                    let is_progress = !words.contains("version");
                    let _ = doors.tell.send(words);
                    if is_progress && doors.hangs_up.swap(false, Ordering::Relaxed) {
                        break 'link;
                    }
                    let puback = v3_1_1::Puback::builder().packet_id(publish.packet_id().unwrap());
                    queue.extend(mqtt.checked_send(puback.build().unwrap()));
                }
            }
        }
    }
    let _ = doors.tell.send("gone".into());
}

/// A message in few words: `version 1.4.0`, `0/50 1.4.0`; with the name of whom it is about, if that is not the one
/// whose topic to listen on is `topic`.
fn read(topic: &str, payload: &[u8]) -> String {
    let uplink = decode_uplink(payload).unwrap();
    let about = match &uplink.subject {
        Subject::Named(id) if events_down(id) != topic => format!("{id}: "),
        Subject::Named(_) | Subject::Connected => String::new(),
        Subject::Unusable(id) => panic!("about {id:?}"),
    };
    assert_eq!(uplink.tolerances, [], "a simulated device speaks the published form");
    let words = uplink.events.iter().map(|event| match &event.body {
        EventBody::VersionReport(report) => {
            format!("version {}", report.fw_version.as_ref().map_or("-", |version| version.as_str()))
        }
        EventBody::ProgressReport(report) => {
            let progress = report.progress.map_or_else(String::new, |percent| format!("/{}", percent.get()));
            let version = report.version.as_ref().map_or("-", |version| version.as_str());
            format!("{}{progress} {version}", report.code.to_wire())
        }
        other @ (EventBody::OtherService { .. }
        | EventBody::UnknownOta { .. }
        | EventBody::Nameless
        | EventBody::Rejected { .. }) => panic!("a simulated device does not say {other:?}"),
    });
    about + &words.collect::<Vec<_>>().join(", ")
}

/// What the download server does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The package, or the part that was asked for.
    Whole,
    /// Closes the connection in the middle.
    BreaksOff,
    /// The package with one bit changed.
    Altered,
    /// 403.
    Forbidden,
}

/// A download server that answers its requests one after the other as it is told.
pub struct Http {
    pub package: Vec<u8>,
    url: String,
    /// The head of every request, as received.
    pub heads: Arc<Mutex<Vec<String>>>,
}

impl Http {
    pub async fn serve(answers: Vec<Answer>) -> Http {
        Http::with(answers, None).await
    }

    pub async fn with(answers: Vec<Answer>, tls: Option<TlsAcceptor>) -> Http {
        let package: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}/download/d1/lamp.bin", listener.local_addr().unwrap());
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (bytes, seen) = (package.clone(), Arc::clone(&heads));
        tokio::spawn(async move {
            for answer in answers {
                let (socket, _) = listener.accept().await.unwrap();
                match &tls {
                    None => serve_one(socket, answer, &bytes, &seen).await,
                    Some(tls) => serve_one(tls.accept(socket).await.unwrap(), answer, &bytes, &seen).await,
                }
            }
        });
        Http { package, url, heads }
    }

    pub fn notice(&self, version: &str) -> Notice {
        Notice {
            kind: PackageKind::Firmware,
            access: Access::Token("t0ken".into()),
            version: version.into(),
            url: self.url.clone(),
            file_size: self.package.len() as u64,
            file_name: "lamp.bin".into(),
            expires_secs: 60,
            sign: Sha256::digest(&self.package).iter().map(|byte| format!("{byte:02x}")).collect(),
            custom_info: None,
            task: None,
        }
    }
}

async fn serve_one(
    mut socket: impl AsyncRead + AsyncWrite + Unpin,
    answer: Answer,
    package: &[u8],
    heads: &Mutex<Vec<String>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let from = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("range")
            .then(|| value.trim_start_matches("bytes=").trim_end_matches('-').parse())
    });
    let from: usize = from.map_or(0, Result::unwrap);
    heads.lock().unwrap().push(head);
    let status = match (answer, from) {
        (Answer::Forbidden, _) => "403 Forbidden",
        (_, 0) => "200 OK",
        (_, _) => "206 Partial Content",
    };
    let mut body = package[from..].to_vec();
    let length = if answer == Answer::Forbidden { 0 } else { body.len() };
    match answer {
        Answer::Whole => {}
        Answer::BreaksOff => body.truncate(body.len() / 2),
        Answer::Altered => body[0] ^= 1,
        Answer::Forbidden => body.clear(),
    }
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nAccept-Ranges: bytes\r\nETag: \"e1\"\r\nConnection: close\r\n\r\n"
    );
    let _ = socket.write_all(head.as_bytes()).await;
    let _ = socket.write_all(&body).await;
    let _ = socket.shutdown().await;
}
