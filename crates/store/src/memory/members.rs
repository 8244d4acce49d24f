//! What applications say about things, beyond what the platform uses.

use std::collections::BTreeMap;

use super::Tables;
use crate::error::StoreError;
use crate::rows::Thing;
use crate::rules;

impl Tables {
    pub(crate) fn put_members(&mut self, thing: Thing, members: &str) -> Result<(), StoreError> {
        self.members.insert(thing, members.to_owned());
        Ok(())
    }

    /// Puts each of these in place of the one with the same name. Answers whether anything is another than before.
    pub(crate) fn merge_members(&mut self, thing: Thing, members: &str) -> bool {
        let before = self.members.get(&thing).map(String::as_str);
        let merged = rules::merged(before, members);
        let is_new = before != Some(merged.as_str());
        self.members.insert(thing, merged);
        is_new
    }

    pub(crate) fn members(&self, things: &[Thing]) -> Result<BTreeMap<Thing, String>, StoreError> {
        let known = things.iter().filter_map(|thing| Some((*thing, self.members.get(thing)?.clone())));
        Ok(known.collect())
    }
}
