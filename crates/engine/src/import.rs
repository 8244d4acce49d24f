//! Many devices registered at once, chunk by chunk, between the batches of reports.
//!
//! Always true:
//! - What is answered as registered is stored.
//! - One chunk of all imports is in the store at a time, so that a report waits for one of them at most.
//! - Nothing but its own chunk is in memory here: how long an import is does not matter.
//!
//! Not here: what an import looks like (`api`).

use std::collections::BTreeMap;

use otaru_proto::DeviceId;
use otaru_store::{Imported, StoreError};

use crate::devices::{CheckedDevice, DeviceError, DeviceRequest};
use crate::driver::Engine;
use crate::limits::{IMPORT_OUTAGE_PATIENCE, RETRY_PAUSE};
use crate::tokens::Operator;

/// What became of one device of an import.
#[derive(Debug)]
pub enum ImportOutcome {
    /// It is registered.
    Created {
        /// Its id, given or made.
        device_id: DeviceId,
        /// Its secret, if that was made here; shown once.
        secret: Option<String>,
    },
    /// It was there already: the same id, node id, product, gateway and kind of proof. Nothing about it was changed.
    Exists {
        /// Its id, given or made.
        device_id: DeviceId,
    },
    /// It is not registered.
    Refused(DeviceError),
}

impl Engine {
    /// Looks at everything about a device of an import that can be said without the store, makes its secret if it needs
    /// one, and seals it. Takes some microseconds of the caller's own time.
    ///
    /// # Errors
    ///
    /// What about the device is not accepted.
    pub fn check_import(&self, request: DeviceRequest) -> Result<CheckedDevice, DeviceError> {
        self.check_device(request)
    }

    /// Registers the devices of one chunk and answers, in the same order, what became of each, once that is stored. An
    /// outage of the store is waited out for a while.
    ///
    /// Meant for up to [`IMPORT_CHUNK`](crate::limits::IMPORT_CHUNK) devices. A chunk that was answered with an error may
    /// be sent again.
    ///
    /// # Errors
    ///
    /// The store is out for longer than that, or the platform is shutting down. Nothing that is known of was stored.
    pub async fn import_devices(
        &self,
        by: &Operator,
        checked: Vec<CheckedDevice>,
    ) -> Result<Vec<ImportOutcome>, StoreError> {
        let shared = &self.shared;
        if checked.is_empty() {
            return Ok(Vec::new());
        }
        let _turn = shared.importing.acquire().await.map_err(|_| stopped())?;
        let devices: Vec<_> = checked.iter().map(|checked| checked.device.clone()).collect();
        let give_up_at = shared.clock.elapsed() + IMPORT_OUTAGE_PATIENCE;
        let became = loop {
            if shared.is_out_of_service() {
                return Err(stopped());
            }
            let now = shared.clock.wall();
            match shared.store.import_devices(&by.actor, devices.clone(), now).await {
                Ok(became) => break became,
                Err(StoreError::Unavailable(error)) if shared.clock.elapsed() < give_up_at => {
                    tracing::warn!(error, "a chunk of an import waits for the store");
                    tokio::time::sleep(RETRY_PAUSE.1).await;
                }
                Err(error) => return Err(error),
            }
        };
        let mut gateways = BTreeMap::new();
        for became in &became {
            if let Imported::Created { joined: Some((gateway, version)), .. } = became {
                // The first: what came after it is told as well.
                gateways.entry(*gateway).or_insert(*version);
            }
        }
        for (gateway, version) in gateways {
            shared.children_changed(gateway, version);
        }
        Ok(checked.into_iter().zip(became).map(outcome).collect())
    }
}

fn outcome((checked, became): (CheckedDevice, Imported)) -> ImportOutcome {
    let CheckedDevice { device, secret, is_generated } = checked;
    let device_id = device.device_id;
    match became {
        Imported::Created { .. } => {
            ImportOutcome::Created { device_id, secret: secret.filter(|_| is_generated) }
        }
        Imported::Exists => ImportOutcome::Exists { device_id },
        Imported::Refused(error) => ImportOutcome::Refused(error.into()),
    }
}

fn stopped() -> StoreError {
    StoreError::Unavailable("the platform is shutting down".to_owned())
}
