//! Between columns and the words of the domain, and what the writer keeps of rows that rarely change.
//!
//! Always true:
//! - Words are stored by their stable names, times and keys as integers, lists and objects as JSON.
//! - What cannot be read back is an error that names the column; it never becomes a default.

use std::collections::BTreeMap;
use std::sync::Arc;

use otaru_core::campaign::CampaignState;
use otaru_core::deployment::Label;
use otaru_core::{Epoch, Fingerprint, ServiceTime, WallTime};
use otaru_proto::{DeviceId, PackageKind};
use rusqlite::types::Type;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::StoreError;
use crate::rows::*;

macro_rules! keys_are_integers {
    ($($key:ident),*) => {$(
        impl rusqlite::ToSql for $key {
            fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
                self.0.to_sql()
            }
        }
        impl rusqlite::types::FromSql for $key {
            fn column_result(value: rusqlite::types::ValueRef<'_>) -> rusqlite::types::FromSqlResult<$key> {
                value.as_i64().map($key)
            }
        }
    )*};
}
keys_are_integers!(
    ActionKey,
    PushRuleKey,
    PushActionKey,
    ProjectKey,
    ProductKey,
    DeviceKey,
    PackageKey,
    CampaignKey,
    DeploymentKey,
    ReportSeq,
    OutboxSeq,
    GroupKey,
    ModuleKey,
    SpaceKey
);

/// A row's columns in the words of the domain.
pub(super) trait Columns {
    fn wall(&self, at: usize) -> rusqlite::Result<WallTime>;
    fn wall_or_none(&self, at: usize) -> rusqlite::Result<Option<WallTime>>;
    fn service(&self, at: usize) -> rusqlite::Result<ServiceTime>;
    fn epoch_or_none(&self, at: usize) -> rusqlite::Result<Option<Epoch>>;
    fn device_id(&self, at: usize) -> rusqlite::Result<DeviceId>;
    fn device_id_or_none(&self, at: usize) -> rusqlite::Result<Option<DeviceId>>;
    fn fingerprint_or_none(&self, at: usize) -> rusqlite::Result<Option<Fingerprint>>;
    fn label(&self, at: usize) -> rusqlite::Result<Label>;
    fn campaign_state(&self, at: usize) -> rusqlite::Result<CampaignState>;
    fn kind(&self, at: usize) -> rusqlite::Result<PackageKind>;
    fn unsigned(&self, at: usize) -> rusqlite::Result<u64>;
    fn json<T: DeserializeOwned>(&self, at: usize) -> rusqlite::Result<T>;
    /// A word that serde knows by its stable name.
    fn word<T: DeserializeOwned>(&self, at: usize) -> rusqlite::Result<T>;
}

impl Columns for Row<'_> {
    fn wall(&self, at: usize) -> rusqlite::Result<WallTime> {
        self.get(at).map(WallTime)
    }
    fn wall_or_none(&self, at: usize) -> rusqlite::Result<Option<WallTime>> {
        Ok(self.get::<_, Option<i64>>(at)?.map(WallTime))
    }
    fn service(&self, at: usize) -> rusqlite::Result<ServiceTime> {
        self.get(at).map(ServiceTime)
    }
    fn epoch_or_none(&self, at: usize) -> rusqlite::Result<Option<Epoch>> {
        Ok(self.get::<_, Option<i64>>(at)?.map(Epoch))
    }
    fn device_id(&self, at: usize) -> rusqlite::Result<DeviceId> {
        let text = self.get_ref(at)?.as_str()?;
        DeviceId::parse(text).map_err(|problem| unreadable(self, at, &problem))
    }
    fn device_id_or_none(&self, at: usize) -> rusqlite::Result<Option<DeviceId>> {
        if self.get_ref(at)? == rusqlite::types::ValueRef::Null {
            return Ok(None);
        }
        self.device_id(at).map(Some)
    }
    fn fingerprint_or_none(&self, at: usize) -> rusqlite::Result<Option<Fingerprint>> {
        let text = self.get_ref(at)?.as_str_or_null()?;
        text.map(Fingerprint::parse).transpose().map_err(|problem| unreadable(self, at, &problem))
    }
    fn label(&self, at: usize) -> rusqlite::Result<Label> {
        let name = self.get_ref(at)?.as_str()?;
        Label::from_name(name).ok_or_else(|| unreadable(self, at, &format!("no label {name:?}")))
    }
    fn campaign_state(&self, at: usize) -> rusqlite::Result<CampaignState> {
        let name = self.get_ref(at)?.as_str()?;
        CampaignState::from_name(name).ok_or_else(|| unreadable(self, at, &format!("no state {name:?}")))
    }
    fn kind(&self, at: usize) -> rusqlite::Result<PackageKind> {
        self.word(at)
    }
    fn unsigned(&self, at: usize) -> rusqlite::Result<u64> {
        u64::try_from(self.get::<_, i64>(at)?).map_err(|problem| unreadable(self, at, &problem))
    }
    fn json<T: DeserializeOwned>(&self, at: usize) -> rusqlite::Result<T> {
        let text = self.get_ref(at)?.as_str()?;
        serde_json::from_str(text).map_err(|problem| unreadable(self, at, &problem))
    }
    fn word<T: DeserializeOwned>(&self, at: usize) -> rusqlite::Result<T> {
        let name = self.get_ref(at)?.as_str()?;
        serde_json::from_value(serde_json::Value::from(name))
            .map_err(|problem| unreadable(self, at, &problem))
    }
}

fn unreadable(row: &Row<'_>, at: usize, problem: &dyn std::fmt::Display) -> rusqlite::Error {
    let column = row.as_ref().column_name(at).unwrap_or("?");
    rusqlite::Error::FromSqlConversionFailure(at, Type::Text, format!("column {column}: {problem}").into())
}

/// JSON as it is stored.
pub(super) fn to_json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value)
        .map_err(|problem| StoreError::Constraint(format!("it cannot be stored as JSON: {problem}")))
}

/// The stable name by which serde knows a word.
pub(super) fn to_word<T: Serialize>(word: &T) -> Result<String, StoreError> {
    match serde_json::to_value(word) {
        Ok(serde_json::Value::String(name)) => Ok(name),
        Ok(other) => Err(StoreError::Constraint(format!("{other} is no word"))),
        Err(problem) => Err(StoreError::Constraint(problem.to_string())),
    }
}

/// The number of a length or size that is to be stored.
pub(super) fn to_integer(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| StoreError::Constraint(format!("{number} is more than can be stored")))
}

/// Statements that stay prepared.
pub(super) trait Statements {
    fn statement(&self, sql: &str) -> Result<CachedStatement<'_>, StoreError>;
    /// Runs a statement that gives no rows; how many it changed.
    fn run(&self, sql: &str, values: impl Params) -> Result<usize, StoreError>;
    /// The one row, if there is one.
    fn one<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError>;
    /// Every row.
    fn all<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError>;
}

impl Statements for Connection {
    fn statement(&self, sql: &str) -> Result<CachedStatement<'_>, StoreError> {
        Ok(prepared(self, sql)?)
    }
    fn run(&self, sql: &str, values: impl Params) -> Result<usize, StoreError> {
        Ok(prepared(self, sql)?.execute(values)?)
    }
    fn one<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        Ok(prepared(self, sql)?.query_row(values, read).optional()?)
    }
    fn all<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = prepared(self, sql)?;
        let rows = statement.query_map(values, read)?;
        Ok(rows.collect::<rusqlite::Result<Vec<T>>>()?)
    }
}

fn prepared<'c>(conn: &'c Connection, sql: &str) -> rusqlite::Result<CachedStatement<'c>> {
    #[cfg(test)]
    super::plans::note(sql);
    conn.prepare_cached(sql)
}

/// Device rows kept by the writer: some 500 bytes each.
const DEVICES_KEPT: usize = 16_384;

/// Campaigns kept by the writer: most are small, one with a list of 30 000 targets is 240 KB.
const CAMPAIGNS_KEPT: usize = 256;

/// What the writer keeps of rows that rarely change. The writer is the only one that changes them, and says so;
/// when something is taken back, everything kept is forgotten.
#[derive(Default)]
pub(super) struct Cache {
    devices: BTreeMap<DeviceKey, KeptDevice>,
    campaigns: BTreeMap<CampaignKey, Arc<CampaignRow>>,
}

/// A device that is registered, as batches see it.
#[derive(Clone)]
pub(super) struct KeptDevice {
    pub(super) row: Arc<DeviceRow>,
    pub(super) children: u64,
    pub(super) topology: u64,
}

impl Cache {
    pub(super) fn clear(&mut self) {
        self.devices.clear();
        self.campaigns.clear();
    }
    pub(super) fn device(&self, key: DeviceKey) -> Option<KeptDevice> {
        self.devices.get(&key).cloned()
    }
    pub(super) fn keep_device(&mut self, device: KeptDevice) {
        if self.devices.len() >= DEVICES_KEPT {
            self.devices.clear();
        }
        self.devices.insert(device.row.key, device);
    }
    pub(super) fn device_changed(&mut self, key: DeviceKey) {
        self.devices.remove(&key);
    }
    pub(super) fn campaign(&self, key: CampaignKey) -> Option<Arc<CampaignRow>> {
        self.campaigns.get(&key).map(Arc::clone)
    }
    pub(super) fn keep_campaign(&mut self, row: Arc<CampaignRow>) {
        if self.campaigns.len() >= CAMPAIGNS_KEPT {
            self.campaigns.clear();
        }
        self.campaigns.insert(row.key, row);
    }
    pub(super) fn campaign_changed(&mut self, key: CampaignKey) {
        self.campaigns.remove(&key);
    }
}
