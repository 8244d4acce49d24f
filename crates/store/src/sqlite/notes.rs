//! What devices say beside upgrades.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::columns::{Columns, Statements};
use super::{Reading, Tx};
use crate::error::StoreError;
use crate::limits::LOG_LINES_KEPT;
use crate::rows::*;
use crate::rules;
use crate::transact::Note;

impl Tx<'_> {
    pub(super) fn write_notes(&mut self, notes: Vec<Note>) -> Result<(), StoreError> {
        let mut logged = BTreeSet::new();
        let mut properties = BTreeMap::new();
        for note in rules::fold_notes(notes) {
            let device = note.device();
            let there = "SELECT 1 FROM device WHERE key = ?1 AND deleted_at IS NULL";
            if self.conn.one(there, [device], |row| row.get::<_, i64>(0))?.is_none() {
                continue;
            }
            match note {
                Note::Sdk { sdk_version, .. } => {
                    self.conn.run(
                        "INSERT INTO device_sdk (device, sdk_version) VALUES (?1, ?2)
                         ON CONFLICT (device) DO UPDATE SET sdk_version = excluded.sdk_version",
                        (device, sdk_version),
                    )?;
                }
                Note::Property { row, .. } => {
                    let kept = match properties.entry(device) {
                        Entry::Occupied(kept) => kept.into_mut(),
                        Entry::Vacant(unknown) => unknown.insert(self.kept_properties(device)?),
                    };
                    self.write_property(device, &row, kept)?;
                }
                Note::Log { row, .. } => {
                    self.conn.run(
                        "INSERT INTO device_log (device, timestamp, kind, content, received_at)
                         VALUES (?1, ?2, ?3, ?4, ?5)",
                        (device, row.timestamp, row.kind, row.content, row.received_at.0),
                    )?;
                    logged.insert(device);
                }
            }
        }
        for device in logged {
            self.conn.run(
                "DELETE FROM device_log WHERE device = ?1 AND seq <= (SELECT seq FROM device_log
                 WHERE device = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
                (device, LOG_LINES_KEPT),
            )?;
        }
        Ok(())
    }

    /// Writes the properties of one service. `kept` has the services of the device and their bytes.
    fn write_property(
        &self,
        device: DeviceKey,
        row: &PropertyRow,
        kept: &mut BTreeMap<String, usize>,
    ) -> Result<(), StoreError> {
        let had = kept.remove(&row.service_id).is_some();
        if rules::has_room_for_property(kept.values().copied(), row) {
            self.conn.run(
                "INSERT INTO device_property (device, service_id, properties, event_time, received_at)
                 VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (device, service_id) DO UPDATE SET properties = excluded.properties,
                 event_time = excluded.event_time, received_at = excluded.received_at",
                (device, &row.service_id, &row.properties, &row.event_time, row.received_at.0),
            )?;
            kept.insert(row.service_id.clone(), rules::property_bytes(row));
        } else if had {
            self.conn.run(
                "DELETE FROM device_property WHERE device = ?1 AND service_id = ?2",
                (device, &row.service_id),
            )?;
        }
        Ok(())
    }

    /// The services of a device whose properties are kept, each with its bytes.
    fn kept_properties(&self, device: DeviceKey) -> Result<BTreeMap<String, usize>, StoreError> {
        let kept = self.conn.all(
            "SELECT service_id, octet_length(service_id) + octet_length(properties) FROM device_property
             WHERE device = ?1",
            [device],
            |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)),
        )?;
        Ok(kept.into_iter().map(|(id, bytes)| (id, usize::try_from(bytes).unwrap_or(usize::MAX))).collect())
    }

    pub(super) fn forget_notes(&self, device: DeviceKey) -> Result<(), StoreError> {
        for table in ["device_sdk", "device_property", "device_log"] {
            self.conn.run(&format!("DELETE FROM {table} WHERE device = ?1"), [device])?;
        }
        Ok(())
    }
}

impl Reading<'_> {
    pub(crate) fn sdk_version(&self, device: DeviceKey) -> Result<Option<String>, StoreError> {
        self.conn.one("SELECT sdk_version FROM device_sdk WHERE device = ?1", [device], |row| row.get(0))
    }

    pub(crate) fn properties(
        &self,
        device: DeviceKey,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<PropertyRow>, StoreError> {
        self.conn.all(
            "SELECT service_id, properties, event_time, received_at FROM device_property
             WHERE device = ?1 AND service_id > ?2 ORDER BY service_id LIMIT ?3",
            (device, after.unwrap_or(""), limit),
            |row| {
                Ok(PropertyRow {
                    service_id: row.get(0)?,
                    properties: row.get(1)?,
                    event_time: row.get(2)?,
                    received_at: row.wall(3)?,
                })
            },
        )
    }

    pub(crate) fn log(
        &self,
        device: DeviceKey,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<(i64, LogRow)>, StoreError> {
        self.conn.all(
            "SELECT seq, timestamp, kind, content, received_at FROM device_log
             WHERE device = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3",
            (device, before.unwrap_or(i64::MAX), limit),
            |row| {
                let line = LogRow {
                    timestamp: row.get(1)?,
                    kind: row.get(2)?,
                    content: row.get(3)?,
                    received_at: row.wall(4)?,
                };
                Ok((row.get(0)?, line))
            },
        )
    }
}
