//! The parts put together: store, engine, gateway, API.
//!
//! Always true:
//! - This is the only place that opens a store.
//! - Listeners are open before anybody is told that the platform is ready.
//! - It ends in the order in which nothing is lost: no new connections, sessions closed, what arrived stored, store
//!   closed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use otaru_api::{Api, ApiConfig};
use otaru_engine::{Engine, SystemClock};
use otaru_gateway::{Gateway, GatewayConfig};
use otaru_store::{BlobStore, Store, open_vault};
use tokio::sync::watch;

use crate::config::{Config, PublicUrl};
use crate::logging;
use crate::reserve::reserve;

/// The platform, listening. Connections are answered once it serves.
pub(crate) struct Platform {
    engine: Engine,
    gateway: Gateway,
    api: Api,
    metrics: PrometheusHandle,
    listening: Listening,
}

/// Where everything is, with the ports that the system chose.
#[derive(Clone, Debug)]
pub(crate) struct Listening {
    pub(crate) mqtt: Option<SocketAddr>,
    pub(crate) http: Option<SocketAddr>,
    pub(crate) mqtts: Option<SocketAddr>,
    pub(crate) https: Option<SocketAddr>,
    pub(crate) device_https: Option<SocketAddr>,
    pub(crate) public_url: PublicUrl,
}

/// How often the recorder of metrics sorts what was recorded. Its memory grows with what lies between.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

impl Platform {
    /// Opens the store and the listeners.
    pub(crate) async fn open(config: Config) -> anyhow::Result<Platform> {
        let metrics = recorder()?;
        let store = Store::open_sqlite(&config.data_dir, config.store.clone()).await?;
        let blobs = BlobStore::open_directory(&config.data_dir).await?;
        let vault = open_vault(&store, &config.data_dir, config.secrets.master_key.as_deref()).await?;

        let listen = |what, address| {
            reserve(address).with_context(|| format!("cannot listen for {what} on {address}"))
        };
        let http = config.http.map(|address| listen("HTTP", address)).transpose()?;
        let https = config.https.map(|address| listen("HTTPS", address)).transpose()?;
        let device_https = config.device_https.map(|address| listen("HTTPS", address)).transpose()?;
        let public_url = config.public_url(
            http.as_ref().map(|r| r.address),
            https.as_ref().map(|r| r.address),
            device_https.as_ref().map(|r| r.address),
        );

        let mut settings = config.engine;
        settings.public_url = public_url.to_string();
        let engine = Engine::open(settings, store, blobs, vault, Arc::new(SystemClock::new())).await?;
        let (mqtts_tls, https_tls) = config.tls.map(|tls| (tls.mqtts, tls.https)).unzip();
        let listeners = async {
            let gateway = Gateway::bind(
                engine.clone(),
                GatewayConfig {
                    plain: config.mqtt,
                    tls: config.mqtts.zip(mqtts_tls),
                    limits: config.gateway,
                },
            )?;
            let rendered = metrics.clone();
            let api = Api::bind(
                engine.clone(),
                ApiConfig {
                    plain: http.as_ref().map(|reserved| reserved.address),
                    tls: https.as_ref().map(|reserved| reserved.address).zip(https_tls.clone()),
                    device_tls: device_https.as_ref().map(|reserved| reserved.address).zip(https_tls),
                    limits: config.api,
                    metrics: Arc::new(move || rendered.render()),
                },
            )
            .await?;
            anyhow::Ok((gateway, api))
        };
        let (gateway, api) = match listeners.await {
            Ok(listeners) => listeners,
            Err(error) => {
                engine.stop().await;
                return Err(error);
            }
        };
        let listening = Listening {
            mqtt: gateway.local_addr(),
            mqtts: gateway.tls_addr(),
            http: api.local_addr(),
            https: api.tls_addr(),
            device_https: api.device_tls_addr(),
            public_url,
        };
        Ok(Platform { engine, gateway, api, metrics, listening })
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn listening(&self) -> &Listening {
        &self.listening
    }

    /// Serves until `shutdown` resolves, and returns when everything that was acknowledged is on disk and every
    /// task has ended.
    pub(crate) async fn serve(self, shutdown: impl Future<Output = ()>) {
        let Platform { engine, gateway, api, metrics, .. } = self;
        let (tell, told) = watch::channel(false);
        let end = || {
            let mut told = told.clone();
            async move {
                // An error says that whoever tells is gone, which is the end as well.
                let _ = told.wait_for(|told| *told).await;
            }
        };
        let upkeep = async {
            let end = end();
            tokio::pin!(end);
            loop {
                tokio::select! {
                    () = &mut end => return,
                    () = tokio::time::sleep(UPKEEP_EVERY) => metrics.run_upkeep(),
                }
            }
        };
        let telling = async {
            shutdown.await;
            tell.send_replace(true);
        };
        tokio::join!(telling, upkeep, gateway.serve(end()), api.serve(end()));
        engine.stop().await;
    }
}

/// The recorder that the parts' counters go to. There is one per process; the demo and the tests have their own
/// process each.
fn recorder() -> anyhow::Result<PrometheusHandle> {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder)
        .context("metrics are already recorded elsewhere in this process")?;
    metrics::describe_gauge!("otaru_build_info", "Always 1; `version` says which release this is.");
    metrics::gauge!("otaru_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    logging::describe_metrics();
    Ok(handle)
}
