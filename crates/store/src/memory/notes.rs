//! What devices say beside upgrades.

use super::tables::Tables;
use crate::error::StoreError;
use crate::limits::LOG_LINES_KEPT;
use crate::rows::*;
use crate::rules;
use crate::transact::Note;

impl Tables {
    pub(super) fn write_notes(&mut self, notes: Vec<Note>) {
        for note in rules::fold_notes(notes) {
            let device = note.device();
            if self.live(device).is_none() {
                continue;
            }
            match note {
                Note::Sdk { sdk_version, .. } => {
                    self.sdk_versions.insert(device, sdk_version);
                }
                Note::Property { row, .. } => {
                    let kept = self.properties.entry(device).or_default();
                    kept.remove(&row.service_id);
                    if rules::has_room_for_property(kept.values().map(rules::property_bytes), &row) {
                        kept.insert(row.service_id.clone(), row);
                    }
                }
                Note::Log { row, .. } => {
                    self.last_log += 1;
                    let lines = self.logs.entry(device).or_default();
                    lines.insert(self.last_log, row);
                    if lines.len() > LOG_LINES_KEPT as usize {
                        lines.pop_first();
                    }
                }
            }
        }
    }

    pub(super) fn forget_notes(&mut self, device: DeviceKey) {
        self.sdk_versions.remove(&device);
        self.properties.remove(&device);
        self.logs.remove(&device);
    }

    pub(crate) fn sdk_version(&self, device: DeviceKey) -> Result<Option<String>, StoreError> {
        Ok(self.sdk_versions.get(&device).cloned())
    }

    pub(crate) fn properties(
        &self,
        device: DeviceKey,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<PropertyRow>, StoreError> {
        let kept = self.properties.get(&device).into_iter().flat_map(|kept| kept.values());
        let later = kept.filter(|row| after.is_none_or(|after| row.service_id.as_str() > after));
        Ok(later.take(limit as usize).cloned().collect())
    }

    pub(crate) fn log(
        &self,
        device: DeviceKey,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<(i64, LogRow)>, StoreError> {
        let lines = self.logs.get(&device).into_iter().flatten().rev();
        let earlier = lines.filter(|(seq, _)| before.is_none_or(|before| **seq < before));
        Ok(earlier.take(limit as usize).map(|(seq, row)| (*seq, row.clone())).collect())
    }
}
