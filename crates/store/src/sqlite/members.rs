//! What applications say about things, beyond what the platform uses.

use std::collections::BTreeMap;

use super::columns::Statements;
use super::{Reading, Tx};
use crate::error::StoreError;
use crate::rows::Thing;
use crate::rules;

impl Tx<'_> {
    pub(crate) fn put_members(&mut self, thing: Thing, members: &str) -> Result<(), StoreError> {
        let (word, key) = thing.parts();
        self.conn.run(
            "INSERT INTO app_member (thing, key, members) VALUES (?1, ?2, ?3)
             ON CONFLICT (thing, key) DO UPDATE SET members = excluded.members",
            (word, key, members),
        )?;
        Ok(())
    }

    /// Puts each of these in place of the one with the same name. Answers whether anything is another than before.
    pub(crate) fn merge_members(&mut self, thing: Thing, members: &str) -> Result<bool, StoreError> {
        let before = Reading { conn: self.conn }.members(&[thing])?.remove(&thing);
        let merged = rules::merged(before.as_deref(), members);
        let is_new = before.as_deref() != Some(merged.as_str());
        if is_new {
            self.put_members(thing, &merged)?;
        }
        Ok(is_new)
    }
}

impl Reading<'_> {
    pub(crate) fn members(&self, things: &[Thing]) -> Result<BTreeMap<Thing, String>, StoreError> {
        let mut found = BTreeMap::new();
        for thing in things {
            let members = self.conn.one(
                "SELECT members FROM app_member WHERE thing = ?1 AND key = ?2",
                thing.parts(),
                |row| row.get(0),
            )?;
            found.extend(members.map(|members| (*thing, members)));
        }
        Ok(found)
    }
}
