//! Which master key the secrets were sealed with, and sealing them again.

use std::sync::Arc;

use super::Tables;
use crate::error::StoreError;
use crate::rows::{KeyMark, Reseal};
use crate::rules::{access_key_context, push_token_context};

impl Tables {
    pub(crate) fn note_key_mark(&mut self, mark: &KeyMark) -> Result<(), StoreError> {
        self.key_mark = Some(*mark);
        Ok(())
    }

    pub(crate) fn seal_again(&mut self, mark: &KeyMark, reseal: &mut Reseal) -> Result<u64, StoreError> {
        let mut again = Vec::new();
        for (key, device) in &self.devices {
            if let Some(sealed) = &device.row.sealed_secret {
                again.push((*key, reseal(device.row.device_id.as_str(), sealed)?));
            }
        }
        let mut keys = self.access_keys.clone();
        for row in &mut keys {
            row.sealed_secret = reseal(&access_key_context(&row.access_key), &row.sealed_secret)?;
        }
        let mut pushes = self.pushes.actions.clone();
        let mut tokens = 0;
        for action in pushes.values_mut() {
            if let Some(sealed) = &action.sealed_token {
                action.sealed_token = Some(reseal(&push_token_context(&action.action_id), sealed)?);
                tokens += 1;
            }
        }
        let count = (again.len() + keys.len() + tokens) as u64;
        self.access_keys = keys;
        self.pushes.actions = pushes;
        for (key, sealed) in again {
            if let Some(device) = self.devices.get_mut(&key) {
                Arc::make_mut(&mut device.row).sealed_secret = Some(sealed);
            }
        }
        self.key_mark = Some(*mark);
        Ok(count)
    }

    pub(crate) fn key_mark(&self) -> Result<Option<KeyMark>, StoreError> {
        Ok(self.key_mark)
    }
}
