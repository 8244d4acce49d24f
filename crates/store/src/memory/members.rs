//! What applications say about things, beyond what the platform uses.

use std::collections::BTreeMap;

use super::Tables;
use crate::error::StoreError;
use crate::rows::Thing;

impl Tables {
    pub(crate) fn put_members(&mut self, thing: Thing, members: &str) -> Result<(), StoreError> {
        self.members.insert(thing, members.to_owned());
        Ok(())
    }

    pub(crate) fn members(&self, things: &[Thing]) -> Result<BTreeMap<Thing, String>, StoreError> {
        let known = things.iter().filter_map(|thing| Some((*thing, self.members.get(thing)?.clone())));
        Ok(known.collect())
    }
}
