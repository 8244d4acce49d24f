//! Many devices at one place.
//!
//! Always true:
//! - Connects of the whole crowd, first ones and repeated ones, go through one gate.
//! - Every device is a task that the crowd owns; stopping a crowd waits for all of them.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::device::{Device, DeviceConfig, StopSignal};
use crate::download::Downloader;
use crate::gate::Gate;
use crate::net::Endpoint;
use crate::tallies::Tallies;

/// What the devices of a crowd have in common.
#[derive(Debug)]
pub struct Site {
    /// Where the platform listens for devices.
    pub endpoint: Endpoint,
    /// How packages are fetched.
    pub downloader: Downloader,
    /// Bounds the rate of connects.
    pub gate: Gate,
    /// What the devices did.
    pub tallies: Tallies,
}

impl Site {
    /// A place whose devices connect to `endpoint`, at most `connects_per_sec` (0: no limit).
    #[must_use]
    pub fn new(endpoint: Endpoint, downloader: Downloader, connects_per_sec: u32) -> Arc<Site> {
        let (gate, tallies) = (Gate::per_sec(connects_per_sec), Tallies::default());
        Arc::new(Site { endpoint, downloader, gate, tallies })
    }
}

/// Devices that are switched on.
#[derive(Debug)]
pub struct Crowd {
    site: Arc<Site>,
    give_stop: watch::Sender<bool>,
    signal: StopSignal,
    devices: JoinSet<()>,
}

impl Crowd {
    /// A crowd of nobody.
    #[must_use]
    pub fn at(site: Arc<Site>) -> Crowd {
        let (give_stop, signal) = StopSignal::pair();
        Crowd { site, give_stop, signal, devices: JoinSet::new() }
    }

    /// Switches one more device on. Must be called within a tokio runtime.
    pub fn add(&mut self, config: DeviceConfig) {
        let device = Device::new(config, Arc::clone(&self.site));
        self.devices.spawn(device.run(self.signal.clone()));
    }

    /// What the devices did so far.
    #[must_use]
    pub fn tallies(&self) -> &Tallies {
        &self.site.tallies
    }

    /// Switches all devices off and waits until they have said goodbye. Returns how many of them had panicked.
    pub async fn stop(mut self) -> usize {
        self.give_stop.send_replace(true);
        let mut panicked = 0;
        while let Some(ended) = self.devices.join_next().await {
            panicked += usize::from(ended.is_err());
        }
        panicked
    }
}
