//! A platform in a test, and devices that speak to it without a network.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test may fail where it stands")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use otaru_core::WallTime;
use otaru_core::campaign::Policy;
use otaru_engine::{
    CampaignRequest, Channel, Clock, ConnectRequest, Counts, Declared, Delivery, DeploymentView,
    DeviceRequest, DeviceSelection, Engine, Operator, PackageDelivery, PackageRequest, Page, Refusal, Role,
    Session, Settings, Uplink, UplinkReading,
};
use otaru_proto::{
    ClientId, DeviceId, Downlink, Notice, PackageKind, Percent, ProgressReport, ResultCode, Stamp, Version,
    VersionReport, decode_downlink, decode_uplink, device_password, encode_progress_report,
    encode_version_report,
};
use otaru_store::{Actor, BlobStore, Faults, SqliteOptions, Store, Vault};

pub const SECRET: &str = "s3cret-S3CRET";
pub const PEER: &str = "127.0.0.1:50000";

/// A clock that the test winds. It also moves by itself, like a real one.
pub struct WoundClock {
    real: otaru_engine::SystemClock,
    ahead: Mutex<Duration>,
    is_broken: std::sync::atomic::AtomicBool,
}

impl WoundClock {
    pub fn new() -> Arc<WoundClock> {
        let (ahead, is_broken) = Default::default();
        Arc::new(WoundClock { real: otaru_engine::SystemClock::new(), ahead, is_broken })
    }
    /// From now on whoever looks at it panics.
    pub fn breaks(&self) {
        self.is_broken.store(true, std::sync::atomic::Ordering::Relaxed);
    }
    pub fn pass(&self, span: Duration) {
        *self.ahead.lock().unwrap() += span;
    }
}

impl Clock for WoundClock {
    fn wall(&self) -> WallTime {
        WallTime(self.real.wall().0 + i64::try_from(self.ahead.lock().unwrap().as_millis()).unwrap())
    }
    fn elapsed(&self) -> Duration {
        assert!(
            !self.is_broken.load(std::sync::atomic::Ordering::Relaxed),
            "the clock is broken, as this test wants"
        );
        self.real.elapsed() + *self.ahead.lock().unwrap()
    }
}

pub struct Platform {
    pub engine: Engine,
    pub clock: Arc<WoundClock>,
    pub faults: Option<Faults>,
    pub by: Operator,
}

pub fn settings() -> Settings {
    Settings {
        settle: Duration::ZERO,
        reconnect_grace: Duration::ZERO,
        disk_reserve_bytes: 0,
        public_url: "http://127.0.0.1:8080".into(),
        ..Settings::default()
    }
}

impl Platform {
    pub async fn in_memory() -> Platform {
        Platform::in_memory_with(settings()).await
    }

    pub async fn in_memory_with(settings: Settings) -> Platform {
        let (store, faults) = Store::memory_with_faults();
        Platform::on(store, Some(faults), settings, WoundClock::new()).await
    }

    /// Product `p`, device `p_sn1`, and a package that brings it to `v2`.
    pub async fn with_a_device() -> (Platform, DeviceId, String) {
        let platform = Platform::in_memory().await;
        platform.product().await;
        let id = platform.register("sn1").await;
        let package = platform.package("v2", &[]).await;
        (platform, id, package)
    }

    /// A package that brings devices to `v2`, and so many connected ones, `p_sn0` first.
    pub async fn with_devices(count: usize) -> (Platform, Vec<Device>, String) {
        let platform = Platform::in_memory().await;
        platform.product().await;
        let package = platform.package("v2", &[]).await;
        let mut devices = Vec::new();
        for number in 0..count {
            let id = platform.register(&format!("sn{number}")).await;
            devices.push(platform.connect(&id).await);
        }
        (platform, devices, package)
    }

    /// A package that brings devices to `v2`, a gateway that is not connected yet, and its children.
    pub async fn with_a_gateway(count: usize) -> (Platform, DeviceId, Vec<DeviceId>, String) {
        let platform = Platform::in_memory().await;
        platform.product().await;
        let package = platform.package("v2", &[]).await;
        let gateway = platform.register("gw").await;
        let mut children = Vec::new();
        for number in 0..count {
            children.push(platform.register_child(&format!("child{number}"), &gateway).await);
        }
        (platform, gateway, children, package)
    }

    pub async fn on_disk(dir: &Path, settings: Settings, clock: Arc<WoundClock>) -> Platform {
        let store = Store::open_sqlite(dir, SqliteOptions::default()).await.unwrap();
        Platform::on(store, None, settings, clock).await
    }

    async fn on(
        store: Store,
        faults: Option<Faults>,
        settings: Settings,
        clock: Arc<WoundClock>,
    ) -> Platform {
        let engine = Engine::open(settings, store, BlobStore::memory(), Vault::for_tests(), clock.clone())
            .await
            .unwrap();
        let token = "otaru_test";
        engine.ensure_admin(Some(token)).await.unwrap();
        let by = engine.operator(token).await.unwrap();
        assert_eq!(by.role, Role::Admin);
        Platform { engine, clock, faults, by }
    }

    pub fn actor(&self) -> Actor {
        self.by.actor.clone()
    }

    pub async fn product(&self) {
        self.engine.create_product(&self.by, Some("p".into()), "Pump".into()).await.unwrap();
    }

    /// Registers `p_{node}`.
    pub async fn register(&self, node: &str) -> DeviceId {
        let request = DeviceRequest {
            node_id: node.into(),
            product_id: "p".into(),
            secret: Some(SECRET.into()),
            ..DeviceRequest::default()
        };
        self.engine.register_device(&self.by, request).await.unwrap().record.row.device_id
    }

    pub async fn register_child(&self, node: &str, gateway: &DeviceId) -> DeviceId {
        let request = DeviceRequest {
            node_id: node.into(),
            product_id: "p".into(),
            gateway_id: Some(gateway.to_string()),
            secret: Some(SECRET.into()),
            ..DeviceRequest::default()
        };
        self.engine.register_device(&self.by, request).await.unwrap().record.row.device_id
    }

    pub async fn package(&self, version: &str, sources: &[&str]) -> String {
        let bytes = Bytes::from(format!("image {version}"));
        let body = futures_util::stream::iter([Ok::<_, std::io::Error>(bytes)]);
        let (artifact, _) = self.engine.ingest(&self.by, Declared::default(), body).await.unwrap();
        let request = PackageRequest {
            product_id: "p".into(),
            kind: PackageKind::Firmware,
            version: version.into(),
            content: otaru_engine::NewContent::Kept(artifact.artifact_id),
            file_name: "app.bin".into(),
            source_versions: sources.iter().map(|s| (*s).to_owned()).collect(),
            custom_info: None,
            delivery: PackageDelivery::Token,
        };
        self.engine.create_package(&self.by, request).await.unwrap().package_id
    }

    pub async fn campaign(&self, package: &str, devices: &[&DeviceId], policy: Policy) -> String {
        self.make_campaign(package, devices, policy, true).await
    }

    pub async fn draft(&self, package: &str, devices: &[&DeviceId]) -> String {
        self.make_campaign(package, devices, Policy::default(), false).await
    }

    async fn make_campaign(
        &self,
        package: &str,
        devices: &[&DeviceId],
        policy: Policy,
        start: bool,
    ) -> String {
        let request = CampaignRequest {
            name: "spring".into(),
            package_ids: vec![package.to_owned()],
            devices: DeviceSelection::Ids(devices.iter().map(|id| id.to_string()).collect()),
            policy,
            ext_info: None,
            start_at: None,
            start,
        };
        self.engine.create_campaign(&self.by, request).await.unwrap().campaign_id
    }

    pub async fn counts(&self, campaign: &str) -> Counts {
        self.engine.campaign(campaign).await.unwrap().unwrap().1
    }

    pub async fn state(&self, campaign: &str) -> &'static str {
        self.engine.campaign(campaign).await.unwrap().unwrap().0.state.name()
    }

    pub async fn deployment(&self, campaign: &str, device: &DeviceId) -> DeploymentView {
        self.find_deployment(campaign, device).await.unwrap()
    }

    /// `None` while the campaign is being prepared.
    async fn find_deployment(&self, campaign: &str, device: &DeviceId) -> Option<DeploymentView> {
        let all = self
            .engine
            .deployments(
                campaign,
                otaru_engine::DeploymentFilter::default(),
                Page { after: None, limit: 1000 },
            )
            .await
            .unwrap()
            .0;
        all.into_iter().find(|d| d.device_id == device.as_str())
    }

    /// Waits until the deployment shows this state, or this outcome.
    pub async fn until(&self, campaign: &str, device: &DeviceId, wanted: &str) -> DeploymentView {
        for _ in 0..2_000 {
            if let Some(shown) = self.find_deployment(campaign, device).await
                && (shown.state == wanted || shown.outcome == Some(wanted))
            {
                return shown;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("never {wanted}, but {:?}", self.deployment(campaign, device).await);
    }

    pub async fn until_campaign(&self, campaign: &str, wanted: &str) {
        for _ in 0..2_000 {
            if self.state(campaign).await == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("campaign never {wanted}, but {}", self.state(campaign).await);
    }

    pub async fn until_ready(&self) {
        self.until_health(true).await;
    }

    pub async fn until_not_ready(&self) {
        self.until_health(false).await;
    }

    async fn until_health(&self, ready: bool) {
        for _ in 0..2_000 {
            if self.engine.health().ready == ready {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("never, but {:?}", self.engine.health());
    }

    pub async fn connect(&self, id: &DeviceId) -> Device {
        self.try_connect(id, SECRET).await.unwrap()
    }

    pub async fn try_connect(&self, id: &DeviceId, secret: &str) -> Result<Device, Refusal> {
        let stamp = Stamp::from_unix_secs(1_700_000_000);
        let client_id = ClientId { device: id.clone(), id_type: 0, sign_type: 0, stamp }.to_string();
        let password = device_password(secret.as_bytes(), &stamp);
        let request = ConnectRequest {
            client_id: &client_id,
            username: Some(id.as_str()),
            password: Some(password.as_bytes()),
            peer: PEER.parse::<SocketAddr>().unwrap(),
            channel: Channel::Plain,
            protocol: "MQTT 3.1.1",
        };
        let session = self.engine.connect(request).await?;
        Ok(Device { id: id.clone(), session, next_ticket: 1, mail: Vec::new() })
    }
}

/// A device at the other end of a session.
pub struct Device {
    pub id: DeviceId,
    pub session: Session,
    next_ticket: u16,
    mail: Vec<Delivery>,
}

impl Device {
    /// Publishes, without waiting for the acknowledgement. Answers with its ticket.
    pub fn publish(&mut self, payload: Vec<u8>) -> u16 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let reading = UplinkReading::Event(decode_uplink(&payload));
        self.session.submit(vec![Uplink { ticket: Some(ticket), payload: Bytes::from(payload), reading }]);
        ticket
    }

    /// Publishes and waits for the acknowledgement.
    pub async fn report(&mut self, payload: Vec<u8>) {
        let ticket = self.publish(payload);
        let acknowledged = self.next_matching(|delivery| match delivery {
            Delivery::Acknowledge(ticket) => Some(*ticket),
            _ => None,
        });
        assert_eq!(acknowledged.await, ticket);
    }

    pub async fn report_version(&mut self, version: &str) {
        let report = VersionReport { fw_version: Version::as_sent(version), ..VersionReport::default() };
        self.report(encode_version_report(&self.id.clone(), &report, None)).await;
    }

    pub async fn report_progress(&mut self, code: i64, progress: i64, version: &str) {
        self.report(progress_report(&self.id.clone(), code, progress, version)).await;
    }

    /// The next word to the device, whatever else is in the mailbox.
    pub async fn hears(&mut self) -> Downlink {
        self.hears_about().await.1
    }

    pub async fn hears_about(&mut self) -> (DeviceId, Downlink) {
        let (line, payload) = self
            .next_matching(|delivery| match delivery {
                Delivery::Say { line, payload, .. } => Some((*line, payload.clone())),
                _ => None,
            })
            .await;
        self.session.said(line);
        let (about, downlink) = decode_downlink(&payload).unwrap();
        (about.unwrap(), downlink)
    }

    /// The next word to the device that is like this; others stay.
    pub async fn hears_matching(
        &mut self,
        wanted: impl Fn(&(DeviceId, Downlink)) -> bool,
    ) -> (DeviceId, Downlink) {
        let (line, word) = self
            .next_matching(|delivery| match delivery {
                Delivery::Say { line, payload, .. } => {
                    let (about, downlink) = decode_downlink(payload).unwrap();
                    let word = (about.unwrap(), downlink);
                    wanted(&word).then_some((*line, word))
                }
                _ => None,
            })
            .await;
        self.session.said(line);
        word
    }

    /// The service in the next answer to the device.
    pub async fn answer(&mut self) -> serde_json::Value {
        let payload = self
            .next_matching(|delivery| match delivery {
                Delivery::Answer { payload, .. } => Some(payload.clone()),
                _ => None,
            })
            .await;
        let message: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(message["object_device_id"], self.id.as_str());
        message["services"][0].clone()
    }

    /// Waits for this acknowledgement, whatever comes before it.
    pub async fn acknowledged(&mut self, ticket: u16) {
        self.next_matching(|delivery| (*delivery == Delivery::Acknowledge(ticket)).then_some(())).await;
    }

    pub async fn hears_question(&mut self) {
        assert!(matches!(self.hears().await, Downlink::VersionQuery { .. }));
    }

    pub async fn hears_notice(&mut self) -> Notice {
        match self.hears().await {
            Downlink::Notice(notice) => notice,
            Downlink::VersionQuery { .. } => panic!("asked for its version instead of told to upgrade"),
        }
    }

    /// Asked, answers with `version`, told.
    pub async fn is_told(&mut self, version: &str) -> Notice {
        self.hears_question().await;
        self.report_version(version).await;
        self.hears_notice().await
    }

    /// What is in the mailbox now. Gives the engine a moment to put something there.
    pub async fn heard_nothing_for(&mut self, span: Duration) -> bool {
        let mut mail = std::mem::take(&mut self.mail);
        let _ = tokio::time::timeout(span, self.session.deliveries(&mut mail)).await;
        let nothing = mail.is_empty();
        self.mail = mail;
        nothing
    }

    pub async fn next(&mut self) -> Delivery {
        self.next_matching(|delivery| Some(delivery.clone())).await
    }

    async fn next_matching<T>(&mut self, wanted: impl Fn(&Delivery) -> Option<T>) -> T {
        loop {
            if let Some((at, found)) = self
                .mail
                .iter()
                .enumerate()
                .find_map(|(at, delivery)| wanted(delivery).map(|found| (at, found)))
            {
                self.mail.remove(at);
                return found;
            }
            let waited =
                tokio::time::timeout(Duration::from_secs(20), self.session.deliveries(&mut self.mail)).await;
            assert!(waited.is_ok(), "nothing came for {}", self.id);
        }
    }
}

pub fn progress_report(id: &DeviceId, code: i64, progress: i64, version: &str) -> Vec<u8> {
    let report = ProgressReport {
        code: ResultCode::from_wire(code),
        progress: Percent::new(progress).ok(),
        progress_unusable: false,
        version: Version::as_sent(version),
        description: None,
    };
    encode_progress_report(id, &report, None)
}
