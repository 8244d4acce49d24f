//! Many devices at once.
//!
//! Always true:
//! - A device that nothing stands in the way of costs its own rows and no look-up: the product and the gateway are
//!   asked for once, and whether an id is taken is for the indexes to say.

use std::collections::BTreeMap;

use otaru_core::WallTime;
use otaru_proto::DeviceId;

use super::devices::key_of;
use super::{Reading, Tx};
use crate::error::{Fault, StoreError};
use crate::rows::*;
use crate::rules::{self, action};

/// What is known already of the products and gateways that an import names.
#[derive(Default)]
struct Named<'a> {
    products: BTreeMap<&'a str, ProductKey>,
    gateways: BTreeMap<&'a DeviceId, DeviceKey>,
}

impl Tx<'_> {
    pub(crate) fn import_devices(
        &mut self,
        actor: &Actor,
        devices: &[NewDevice],
        now: WallTime,
    ) -> Result<Vec<Imported>, StoreError> {
        let mut named = Named::default();
        let mut became = Vec::with_capacity(devices.len());
        for new in devices {
            became.push(match self.import_device(actor, new, &mut named, now) {
                Ok(imported) => imported,
                // Looked for before its first row was written.
                Err(error) if error.fault() == Fault::Caller => Imported::Refused(error),
                Err(error) => return Err(error),
            });
        }
        if let Some(subject) = rules::import_subject(devices, &became) {
            self.note(actor, action::DEVICES_IMPORTED, &subject, now)?;
        }
        Ok(became)
    }

    fn import_device<'a>(
        &mut self,
        actor: &Actor,
        new: &'a NewDevice,
        named: &mut Named<'a>,
        now: WallTime,
    ) -> Result<Imported, StoreError> {
        let product = match named.products.get(new.product_id.as_str()) {
            Some(product) => *product,
            None => {
                let product = self.product_of(actor, &new.product_id)?;
                named.products.insert(&new.product_id, product);
                product
            }
        };
        let gateway = match &new.gateway_id {
            None => None,
            Some(gateway_id) => Some(match named.gateways.get(gateway_id) {
                Some(gateway) => *gateway,
                None => {
                    let gateway = self.gateway(gateway_id)?;
                    named.gateways.insert(gateway_id, gateway);
                    gateway
                }
            }),
        };
        if let Some((key, version)) = self.insert_device(product, gateway, new, now)? {
            return Ok(Imported::Created { key, joined: gateway.zip(version) });
        }
        let there = match key_of(self.conn, new.device_id.as_str())? {
            Some(key) => Reading { conn: self.conn }.device_by_key(key)?,
            None => None,
        };
        Ok(match there {
            Some(there) => rules::found_there(&there.row, new, gateway),
            None => Imported::Refused(StoreError::Exists { what: "node_id", id: new.node_id.clone() }),
        })
    }
}
