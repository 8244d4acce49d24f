//! Devices: registering, changing, finding.

use std::collections::BTreeMap;
use std::sync::Arc;

use otaru_core::WallTime;
use otaru_proto::DeviceId;
use rusqlite::{Connection, Row};

use super::chosen::Chosen;
use super::columns::{Columns, KeptDevice, Statements, to_json};
use super::{Reading, Tx};
use crate::error::StoreError;
use crate::rows::*;
use crate::rules::{self, action};

const ROW: &str = "d.key, d.device_id, d.node_id, d.product, p.product_id, d.gateway, d.name, d.tags,
    d.sealed_secret, d.frozen, d.created_at, d.joined, d.auth, d.fingerprint";

const STATE: &str = "s.firmware_version, s.software_version, s.last_report, s.last_report_at, s.epoch,
    s.connected_at, s.last_finished, s.there, s.first_connected_at";

fn device_row(row: &Row<'_>) -> rusqlite::Result<DeviceRow> {
    Ok(DeviceRow {
        key: row.get(0)?,
        device_id: row.device_id(1)?,
        node_id: row.get(2)?,
        product: row.get(3)?,
        product_id: row.get(4)?,
        gateway: row.get(5)?,
        name: row.get(6)?,
        tags: row.json(7)?,
        sealed_secret: row.get(8)?,
        frozen: row.get(9)?,
        created_at: row.wall(10)?,
        joined: row.get(11)?,
        auth: row.word(12)?,
        fingerprint: row.fingerprint_or_none(13)?,
    })
}

/// What changes about a device; the columns of `device_state` from column `at` of the row on.
pub(super) fn device_state(row: &Row<'_>, at: usize) -> rusqlite::Result<DeviceState> {
    Ok(DeviceState {
        firmware_version: row.get(at)?,
        software_version: row.get(at + 1)?,
        last_report: row.get(at + 2)?,
        last_report_at: row.wall_or_none(at + 3)?,
        epoch: row.epoch_or_none(at + 4)?,
        connected_at: row.wall_or_none(at + 5)?,
        last_finished: row.get(at + 6)?,
        there: row.get(at + 7)?,
        first_connected_at: row.wall_or_none(at + 8)?,
    })
}

/// A row of `ROW`, the gateway's id, and `STATE`.
fn device_record(row: &Row<'_>) -> rusqlite::Result<DeviceRecord> {
    Ok(DeviceRecord {
        row: device_row(row)?,
        gateway_id: row.device_id_or_none(14)?,
        state: device_state(row, 15)?,
    })
}

/// A registered device as batches see it.
pub(super) fn kept_device(conn: &Connection, key: DeviceKey) -> Result<Option<KeptDevice>, StoreError> {
    conn.one(
        &format!(
            "SELECT {ROW}, d.children, d.topology FROM device d CROSS JOIN product p ON p.key = d.product
             WHERE d.key = ?1 AND d.deleted_at IS NULL"
        ),
        [key],
        |row| {
            let (children, topology) = (row.unsigned(14)?, row.unsigned(15)?);
            Ok(KeptDevice { row: Arc::new(device_row(row)?), children, topology })
        },
    )
}

pub(super) const KEY_OF: &str = "SELECT key FROM device WHERE device_id = ?1 AND deleted_at IS NULL";

/// The key of the device that has this id now.
pub(super) fn key_of(conn: &Connection, device_id: &str) -> Result<Option<DeviceKey>, StoreError> {
    conn.one(KEY_OF, [device_id], |row| row.get(0))
}

/// Children that came after a version and are there.
pub(super) const CAME: &str = "d.deleted_at IS NULL";

/// Children that went after a version.
pub(super) const WENT: &str = "d.departed IS NOT NULL";

/// Which children of a gateway changed after a version, in order.
pub(super) fn changes(which: &str, is_there: &str) -> String {
    format!(
        "SELECT {ROW}, g.device_id, {STATE}, d.{which} FROM device d CROSS JOIN product p ON p.key = d.product
         CROSS JOIN device_state s ON s.device = d.key LEFT JOIN device g ON g.key = d.gateway
         WHERE d.gateway = ?1 AND d.{which} > ?2 AND {is_there} ORDER BY d.{which} LIMIT ?3"
    )
}

impl Tx<'_> {
    pub(crate) fn create_device(
        &mut self,
        actor: &Actor,
        new: &NewDevice,
        now: WallTime,
    ) -> Result<DeviceRecord, StoreError> {
        let product = self.product_of(actor, &new.product_id)?;
        if key_of(self.conn, new.device_id.as_str())?.is_some() {
            return Err(StoreError::Exists { what: "device", id: new.device_id.to_string() });
        }
        let gateway = match &new.gateway_id {
            Some(gateway_id) => Some(self.gateway(gateway_id)?),
            None => None,
        };
        let Some((key, _)) = self.insert_device(product, gateway, new, now)? else {
            return Err(StoreError::Exists { what: "node_id", id: new.node_id.clone() });
        };
        self.note(actor, action::DEVICE_CREATED, new.device_id.as_str(), now)?;
        self.registered(key)
    }

    /// Writes a device and all that belongs to it, with the version of its gateway's topology since; `None` if its id or
    /// its node id is taken.
    pub(super) fn insert_device(
        &mut self,
        product: ProductKey,
        gateway: Option<DeviceKey>,
        new: &NewDevice,
        now: WallTime,
    ) -> Result<Option<(DeviceKey, Option<i64>)>, StoreError> {
        let added = self.conn.run(
            "INSERT INTO device (product, device_id, node_id, gateway, name, tags, sealed_secret, created_at, auth,
                 fingerprint)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
             ON CONFLICT DO NOTHING",
            (
                product,
                new.device_id.as_str(),
                &new.node_id,
                gateway,
                &new.name,
                to_json(&new.tags)?,
                &new.sealed_secret,
                now.0,
                new.auth.name(),
                new.fingerprint.map(|fingerprint| fingerprint.to_string()),
            ),
        )?;
        if added == 0 {
            return Ok(None);
        }
        let key = DeviceKey(self.conn.last_insert_rowid());
        self.conn.run("INSERT INTO device_state (device) VALUES (?1)", [key])?;
        self.tag(key, &new.tags)?;
        let mut joined = None;
        if let Some(gateway) = gateway {
            let version = self.topology_changed(gateway, 1)?;
            self.conn.run("UPDATE device SET joined = ?2 WHERE key = ?1", (key, version))?;
            joined = Some(version);
        }
        Ok(Some((key, joined)))
    }

    /// A child comes or goes. Answers with the gateway's topology version since.
    fn topology_changed(&mut self, gateway: DeviceKey, children: i64) -> Result<i64, StoreError> {
        self.cache.device_changed(gateway);
        let version = self.conn.one(
            "UPDATE device SET children = children + ?2, topology = topology + 1 WHERE key = ?1 RETURNING topology",
            (gateway, children),
            |row| row.get(0),
        )?;
        version.ok_or_else(|| StoreError::Corrupt {
            what: "device",
            problem: format!("its gateway with key {} is not there", gateway.0),
        })
    }

    /// What stands in the way of registering these, beside a device with the same id.
    pub(super) fn registrable(&self, registering: &Registering) -> Result<Registrable, StoreError> {
        let Some(product) = Reading { conn: self.conn }.product(&registering.product_id)? else {
            return Ok(Registrable::NoProduct);
        };
        let taken = self.conn.one(
            "SELECT 1 FROM device WHERE product = ?1 AND node_id = ?2 AND deleted_at IS NULL",
            (product.key, &registering.node_id),
            |_| Ok(()),
        )?;
        Ok(if taken.is_some() { Registrable::NodeTaken } else { Registrable::Free })
    }

    /// The device that is to be a gateway.
    pub(super) fn gateway(&self, gateway_id: &DeviceId) -> Result<DeviceKey, StoreError> {
        let (key, its_gateway) = self
            .conn
            .one(
                "SELECT d.key, g.device_id FROM device d LEFT JOIN device g ON g.key = d.gateway
                 WHERE d.device_id = ?1 AND d.deleted_at IS NULL",
                [gateway_id.as_str()],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?
            .ok_or_else(|| StoreError::Missing { what: "gateway", id: gateway_id.to_string() })?;
        match its_gateway {
            None => Ok(key),
            Some(its_gateway) => {
                Err(StoreError::ChildAsGateway { gateway: gateway_id.to_string(), its_gateway })
            }
        }
    }

    fn tag(&self, key: DeviceKey, tags: &BTreeMap<String, String>) -> Result<(), StoreError> {
        for (tag, value) in tags {
            self.conn
                .run("INSERT INTO device_tag (tag, value, device) VALUES (?1, ?2, ?3)", (tag, value, key))?;
        }
        Ok(())
    }

    fn untag(&self, key: DeviceKey, tags: &BTreeMap<String, String>) -> Result<(), StoreError> {
        for (tag, value) in tags {
            self.conn.run(
                "DELETE FROM device_tag WHERE tag = ?1 AND value = ?2 AND device = ?3",
                (tag, value, key),
            )?;
        }
        Ok(())
    }

    /// The device that an actor names; those of other projects do not exist for it.
    fn device_of(&self, actor: &Actor, device_id: &DeviceId) -> Result<DeviceRecord, StoreError> {
        let missing = || StoreError::Missing { what: "device", id: device_id.to_string() };
        let key: DeviceKey = self
            .conn
            .one(
                "SELECT d.key FROM device d JOIN product p ON p.key = d.product
                 WHERE d.device_id = ?1 AND d.deleted_at IS NULL AND p.project = ?2",
                (device_id.as_str(), actor.project),
                |row| row.get(0),
            )?
            .ok_or_else(missing)?;
        self.registered(key)
    }

    fn registered(&self, key: DeviceKey) -> Result<DeviceRecord, StoreError> {
        Reading { conn: self.conn }.device_by_key(key)?.ok_or_else(|| StoreError::Corrupt {
            what: "device",
            problem: format!("the device with key {} has no state", key.0),
        })
    }

    pub(crate) fn patch_device(
        &mut self,
        actor: &Actor,
        device_id: &DeviceId,
        patch: &DevicePatch,
        now: WallTime,
    ) -> Result<DeviceRecord, StoreError> {
        let old = self.device_of(actor, device_id)?.row;
        let key = old.key;
        if let Some(change) = &patch.tags {
            let tags = rules::tags_after(device_id, &old.tags, change)?;
            self.untag(key, &old.tags)?;
            self.tag(key, &tags)?;
            self.conn.run("UPDATE device SET tags = ?2 WHERE key = ?1", (key, to_json(&tags)?))?;
        }
        if let Some(members) = &patch.members {
            self.merge_members(Thing::Device(key), members)?;
        }
        if let Some(name) = &patch.name {
            self.conn.run("UPDATE device SET name = ?2 WHERE key = ?1", (key, name))?;
        }
        if let Some(frozen) = patch.frozen {
            self.conn.run("UPDATE device SET frozen = ?2 WHERE key = ?1", (key, frozen))?;
        }
        if let Some(secret) = &patch.sealed_secret {
            self.conn.run("UPDATE device SET sealed_secret = ?2 WHERE key = ?1", (key, secret))?;
        }
        if let Some(fingerprint) = &patch.fingerprint {
            let text = fingerprint.map(|fingerprint| fingerprint.to_string());
            self.conn.run("UPDATE device SET fingerprint = ?2 WHERE key = ?1", (key, text))?;
        }
        self.cache.device_changed(key);
        self.note(actor, action::DEVICE_CHANGED, device_id.as_str(), now)?;
        self.registered(key)
    }

    pub(crate) fn move_child(
        &mut self,
        actor: &Actor,
        device_id: &DeviceId,
        gateway_id: &DeviceId,
        now: WallTime,
    ) -> Result<Moved, StoreError> {
        let old = self.device_of(actor, device_id)?.row;
        let from = old.gateway.ok_or_else(|| rules::no_child(device_id))?;
        let to = self.gateway(gateway_id)?;
        if to == from {
            return Ok(Moved { record: self.registered(old.key)?, left: None, joined: None });
        }
        let at_work: Option<String> = self.conn.one(
            "SELECT c.campaign_id FROM deployment t CROSS JOIN campaign c ON c.key = t.campaign
             WHERE t.device = ?1 AND (t.label = 'asked' OR t.label = 'offered' OR t.label = 'running'
                 OR t.label = 'confirming') LIMIT 1",
            [old.key],
            |row| row.get(0),
        )?;
        if let Some(campaign_id) = at_work {
            let by = format!("campaign {campaign_id}");
            return Err(StoreError::InUse { what: "device", id: device_id.to_string(), by });
        }
        self.conn.run("DELETE FROM outbox WHERE via = ?1 AND device = ?2", (from, old.key))?;
        let left = self.topology_changed(from, -1)?;
        // What the old gateway is told of: the row of a device that is gone.
        self.conn.run(
            "INSERT INTO device (product, device_id, node_id, gateway, tags, created_at, deleted_at, departed)
             VALUES (?1, ?2, ?3, ?4, '{}', ?5, ?6, ?7)",
            (old.product, device_id.as_str(), &old.node_id, from, old.created_at.0, now.0, left),
        )?;
        let gone = self.conn.last_insert_rowid();
        self.conn.run("INSERT INTO device_state (device) VALUES (?1)", [gone])?;
        let joined = self.topology_changed(to, 1)?;
        self.conn.run("UPDATE device SET gateway = ?2, joined = ?3 WHERE key = ?1", (old.key, to, joined))?;
        self.conn.run("UPDATE device_state SET there = NULL WHERE device = ?1", [old.key])?;
        self.cache.device_changed(old.key);
        self.note(actor, action::DEVICE_MOVED, device_id.as_str(), now)?;
        let (left, joined) = (Some((from, left)), Some((to, joined)));
        Ok(Moved { record: self.registered(old.key)?, left, joined })
    }

    pub(crate) fn delete_device(
        &mut self,
        actor: &Actor,
        device_id: &DeviceId,
        now: WallTime,
    ) -> Result<Option<i64>, StoreError> {
        let DeviceRow { key, gateway, tags, .. } = self.device_of(actor, device_id)?.row;
        let in_use = |by: String| StoreError::InUse { what: "device", id: device_id.to_string(), by };
        let campaign: Option<String> = self.conn.one(
            concat!(
                "SELECT c.campaign_id FROM deployment t CROSS JOIN campaign c ON c.key = t.campaign
                 WHERE t.device = ?1 AND ",
                unfinished!(),
                " LIMIT 1"
            ),
            [key],
            |row| row.get(0),
        )?;
        if let Some(campaign_id) = campaign {
            return Err(in_use(format!("campaign {campaign_id}")));
        }
        let child: Option<String> = self.conn.one(
            "SELECT device_id FROM device WHERE gateway = ?1 AND deleted_at IS NULL LIMIT 1",
            [key],
            |row| row.get(0),
        )?;
        if let Some(child) = child {
            return Err(in_use(format!("its child {child}")));
        }
        self.untag(key, &tags)?;
        self.leave_groups(key)?;
        self.conn.run(
            "UPDATE device SET deleted_at = ?2, sealed_secret = NULL, fingerprint = NULL, tags = '{}'
             WHERE key = ?1",
            (key, now.0),
        )?;
        self.forget_notes(key)?;
        self.conn.run("DELETE FROM outbox WHERE via = ?1", [key])?;
        let mut version = None;
        if let Some(gateway) = gateway {
            self.conn.run("DELETE FROM outbox WHERE via = ?1 AND device = ?2", (gateway, key))?;
            version = Some(self.topology_changed(gateway, -1)?);
            self.conn.run("UPDATE device SET departed = ?2 WHERE key = ?1", (key, version))?;
        }
        self.cache.device_changed(key);
        self.note(actor, action::DEVICE_DELETED, device_id.as_str(), now)?;
        Ok(version)
    }
}

impl Reading<'_> {
    pub(crate) fn device(&self, device_id: &DeviceId) -> Result<Option<DeviceRecord>, StoreError> {
        match key_of(self.conn, device_id.as_str())? {
            Some(key) => self.device_by_key(key),
            None => Ok(None),
        }
    }

    pub(crate) fn device_by_key(&self, key: DeviceKey) -> Result<Option<DeviceRecord>, StoreError> {
        self.conn.one(
            &format!(
                "SELECT {ROW}, g.device_id, {STATE}
                 FROM device d CROSS JOIN product p ON p.key = d.product
                 CROSS JOIN device_state s ON s.device = d.key LEFT JOIN device g ON g.key = d.gateway
                 WHERE d.key = ?1 AND d.deleted_at IS NULL"
            ),
            [key],
            device_record,
        )
    }

    pub(crate) fn topology_after(
        &self,
        gateway: DeviceKey,
        version: i64,
        limit: u32,
    ) -> Result<Topology, StoreError> {
        let now = self
            .conn
            .one("SELECT topology FROM device WHERE key = ?1", [gateway], |row| row.get(0))?
            .unwrap_or(0);
        // Who knows of more than happened was told by another platform, and is told everything.
        let version = if version > now { 0 } else { version };
        let of = |which: &str, is_there: &str, came: bool| {
            self.conn.all(&changes(which, is_there), (gateway, version, limit), |row| {
                Ok(TopologyChange { version: row.get(24)?, came, child: device_record(row)? })
            })
        };
        let mut changes: Vec<TopologyChange> =
            of("joined", CAME, true)?.into_iter().chain(of("departed", WENT, false)?).collect();
        changes.sort_by_key(|change| change.version);
        changes.truncate(limit as usize);
        Ok(Topology { version: now, changes })
    }

    pub(crate) fn devices(
        &self,
        filter: &DeviceFilter,
        page: Page<DeviceKey>,
    ) -> Result<Vec<DeviceRecord>, StoreError> {
        let group = match &filter.group_id {
            Some(group_id) => match self.group(group_id)? {
                Some(group) => Some([group.key]),
                None => return Ok(Vec::new()),
            },
            None => None,
        };
        let Some(chosen) = self.resolve(filter)? else { return Ok(Vec::new()) };
        let chosen = Chosen { groups: group.as_ref().map(|group| &group[..]), ..chosen };
        let after = page.after.map_or(0, |key| key.0);
        // A reader has a time limit of its own.
        let keys = chosen.find(self.conn, after, page.limit, u32::MAX)?.keys;
        let mut devices = Vec::with_capacity(keys.len());
        for key in keys {
            devices.extend(self.device_by_key(key)?);
        }
        Ok(devices)
    }

    /// The filter by keys, but for the group; `None` when it names a product or gateway that there is not.
    fn resolve<'f>(&self, filter: &'f DeviceFilter) -> Result<Option<Chosen<'f>>, StoreError> {
        let product = match &filter.product_id {
            Some(product_id) => match self.product(product_id)? {
                Some(product) => Some(product.key),
                None => return Ok(None),
            },
            None => None,
        };
        let gateway = match &filter.gateway_id {
            Some(gateway_id) => match key_of(self.conn, gateway_id.as_str())? {
                Some(key) => Some(key),
                None => return Ok(None),
            },
            None => None,
        };
        Ok(Some(Chosen { product, gateway, groups: None, tags: &filter.tags }))
    }

    pub(crate) fn connect_facts(&self, device_id: &DeviceId) -> Result<Option<ConnectFacts>, StoreError> {
        self.conn.one(
            "SELECT d.key, p.product_id, d.sealed_secret, d.frozen, d.children, d.gateway, d.auth, d.fingerprint
             FROM device d CROSS JOIN product p ON p.key = d.product
             WHERE d.device_id = ?1 AND d.deleted_at IS NULL",
            [device_id.as_str()],
            |row| {
                Ok(ConnectFacts {
                    key: row.get(0)?,
                    product_id: row.get(1)?,
                    sealed_secret: row.get(2)?,
                    frozen: row.get(3)?,
                    is_gateway: row.get::<_, i64>(4)? > 0,
                    gateway: row.get(5)?,
                    auth: row.word(6)?,
                    fingerprint: row.fingerprint_or_none(7)?,
                })
            },
        )
    }

    pub(crate) fn keys_of(&self, device_ids: &[DeviceId]) -> Result<Vec<Option<KnownDevice>>, StoreError> {
        let mut statement = self.conn.statement(
            "SELECT d.key, p.product_id FROM device d CROSS JOIN product p ON p.key = d.product
             WHERE d.device_id = ?1 AND d.deleted_at IS NULL",
        )?;
        let mut known = Vec::with_capacity(device_ids.len());
        for device_id in device_ids {
            let mut rows = statement.query([device_id.as_str()])?;
            known.push(match rows.next()? {
                Some(row) => Some(KnownDevice { key: row.get(0)?, product_id: row.get(1)? }),
                None => None,
            });
        }
        Ok(known)
    }

    pub(crate) fn children_with_work(
        &self,
        gateway: DeviceKey,
        after: Option<DeviceKey>,
        limit: u32,
    ) -> Result<Vec<DeviceKey>, StoreError> {
        self.conn.all(
            concat!(
                "SELECT d.key FROM device d
                 WHERE d.gateway = ?1 AND d.deleted_at IS NULL AND d.key > ?2
                 AND EXISTS (SELECT 1 FROM deployment t WHERE t.device = d.key AND ",
                unfinished!(),
                ") ORDER BY d.key LIMIT ?3"
            ),
            (gateway, after.map_or(0, |key| key.0), limit),
            |row| row.get(0),
        )
    }
}
