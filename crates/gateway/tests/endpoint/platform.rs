//! A platform to connect to: the real engine on a store in memory that can be made to wait or fail, and the
//! endpoint on free ports.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use otaru_core::campaign::Policy;
use otaru_engine::{
    Actor, CampaignRequest, Declared, DeviceCa, DeviceChange, DeviceRequest, DeviceSelection, Engine,
    Operator, PackageDelivery, PackageRequest, Role, Settings, SystemClock,
};
use otaru_gateway::{Gateway, GatewayConfig, GatewayLimits};
use otaru_proto::PackageKind;
use otaru_store::{BlobStore, Faults, ProjectKey, Store, Vault};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::link::{CONNACK, Connect, Link, PATIENCE, Version};

pub const SECRET: &str = "a secret of a device";
pub const PRODUCT: &str = "p1";

pub struct Platform {
    pub engine: Engine,
    pub faults: Faults,
    pub address: SocketAddr,
    pub tls_address: Option<SocketAddr>,
    shutdown: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

impl Platform {
    /// With limits as they are by default.
    pub async fn start() -> Platform {
        Platform::with(|_| ()).await
    }

    pub async fn with(change: impl FnOnce(&mut GatewayLimits)) -> Platform {
        let mut limits =
            GatewayLimits { linger_time_max: Duration::from_millis(200), ..GatewayLimits::default() };
        change(&mut limits);
        Platform::start_with(limits, None, None).await
    }

    pub async fn with_tls(tls: Arc<rustls::ServerConfig>) -> Platform {
        Platform::start_with(GatewayLimits::default(), Some(tls), None).await
    }

    pub async fn with_device_ca(tls: Arc<rustls::ServerConfig>, device_ca: Option<DeviceCa>) -> Platform {
        Platform::start_with(GatewayLimits::default(), Some(tls), device_ca).await
    }

    async fn start_with(
        limits: GatewayLimits,
        tls: Option<Arc<rustls::ServerConfig>>,
        device_ca: Option<DeviceCa>,
    ) -> Platform {
        let (store, faults) = Store::memory_with_faults();
        let settings = Settings { settle: Duration::from_millis(1), device_ca, ..Settings::default() };
        let engine = Engine::open(
            settings,
            store,
            BlobStore::memory(),
            Vault::for_tests(),
            Arc::new(SystemClock::new()),
        )
        .await
        .unwrap();
        let anywhere: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let config = GatewayConfig { plain: Some(anywhere), tls: tls.map(|tls| (anywhere, tls)), limits };
        let gateway = Gateway::bind(engine.clone(), config).unwrap();
        let (address, tls_address) = (gateway.local_addr().unwrap(), gateway.tls_addr());
        let (shutdown, told) = oneshot::channel();
        let serving = tokio::spawn(gateway.serve(async {
            let _ = told.await;
        }));
        engine.create_product(&operator(), Some(PRODUCT.into()), "a product".into()).await.unwrap();
        Platform { engine, faults, address, tls_address, shutdown: Some(shutdown), serving }
    }

    /// Registers a device with [`SECRET`].
    pub async fn register(&self, device_id: &str) {
        let request = DeviceRequest {
            device_id: Some(device_id.into()),
            node_id: device_id.into(),
            product_id: PRODUCT.into(),
            secret: Some(SECRET.into()),
            ..DeviceRequest::default()
        };
        self.engine.register_device(&operator(), request).await.unwrap();
    }

    pub async fn register_child(&self, device_id: &str, gateway_id: &str) {
        let request = DeviceRequest {
            device_id: Some(device_id.into()),
            node_id: device_id.into(),
            product_id: PRODUCT.into(),
            gateway_id: Some(gateway_id.into()),
            ..DeviceRequest::default()
        };
        self.engine.register_device(&operator(), request).await.unwrap();
    }

    pub async fn freeze(&self, device_id: &str) {
        let change = DeviceChange { frozen: Some(true), ..DeviceChange::default() };
        self.engine.patch_device(&operator(), device_id, change).await.unwrap();
    }

    /// Registers a device and connects it.
    pub async fn device(&self, device_id: &str, version: Version) -> Link {
        self.register(device_id).await;
        self.connect(Connect::of(version, device_id, SECRET)).await
    }

    /// Connects, and expects to be let in.
    pub async fn connect(&self, connect: Connect) -> Link {
        let mut link = Link::dial(self.address, connect.version).await;
        let connack = link.connect(&connect).await;
        assert_eq!(connack.body[1], 0, "{connect:?}");
        link
    }

    /// Connects, and expects to be refused and disconnected; answers with the code.
    pub async fn refusal(&self, connect: Connect) -> u8 {
        let mut link = Link::dial(self.address, connect.version).await;
        link.send(&connect.bytes()).await;
        let connack = link.expect(CONNACK).await;
        link.is_closed().await;
        connack.body[1]
    }

    /// A campaign that brings this device from whatever it has to `V2`. It is asked for its version first.
    pub async fn upgrade(&self, device_id: &str) {
        let by = operator();
        let body = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"firmware"))]);
        let (artifact, _) = self.engine.ingest(&by, Declared::default(), body).await.unwrap();
        let package = self
            .engine
            .create_package(
                &by,
                PackageRequest {
                    product_id: PRODUCT.into(),
                    kind: PackageKind::Firmware,
                    version: "V2".into(),
                    content: otaru_engine::NewContent::Kept(artifact.artifact_id),
                    file_name: "firmware.bin".into(),
                    source_versions: Vec::new(),
                    custom_info: None,
                    delivery: PackageDelivery::Token,
                },
            )
            .await
            .unwrap();
        self.engine
            .create_campaign(
                &by,
                CampaignRequest {
                    name: "to V2".into(),
                    package_ids: vec![package.package_id],
                    devices: DeviceSelection::Ids(vec![device_id.into()]),
                    policy: Policy::default(),
                    ext_info: None,
                    start_at: None,
                    start: true,
                },
            )
            .await
            .unwrap();
    }

    pub async fn is_online(&self, device_id: &str) -> bool {
        self.engine.device(device_id).await.unwrap().unwrap().online
    }

    /// As the device last reported it.
    pub async fn firmware_version(&self, device_id: &str) -> Option<String> {
        self.engine.device(device_id).await.unwrap().unwrap().record.state.firmware_version
    }

    /// Ends the endpoint and waits until it has ended.
    pub async fn shut_down(&mut self) {
        drop(self.shutdown.take());
        timeout(PATIENCE, &mut self.serving).await.expect("it ends").expect("it ends well");
    }
}

pub fn operator() -> Operator {
    Operator { actor: Actor { name: "a test".into(), project: ProjectKey(1) }, role: Role::Admin }
}

/// Waits until something is so.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let polling = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, polling).await.unwrap_or_else(|_| panic!("never: {what}"));
}
