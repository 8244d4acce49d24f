//! Groups of devices.

use otaru_core::WallTime;
use rusqlite::Row;

use super::columns::{Columns, Statements, to_json};
use super::{Reading, Tx};
use crate::error::StoreError;
use crate::limits::GROUPS_OF_DEVICE_MAX;
use crate::rows::*;
use crate::rules::{self, action};

const GROUP: &str = "SELECT key, group_id, name, description, members, created_at, space FROM device_group";

fn group(row: &Row<'_>) -> rusqlite::Result<GroupRow> {
    Ok(GroupRow {
        key: row.get(0)?,
        group_id: row.get(1)?,
        name: row.get(2)?,
        description: row.get(3)?,
        members: row.unsigned(4)?,
        created_at: row.wall(5)?,
        space: row.get(6)?,
    })
}

impl Tx<'_> {
    pub(crate) fn create_group(
        &mut self,
        actor: &Actor,
        new: &NewGroup,
        now: WallTime,
    ) -> Result<GroupRow, StoreError> {
        let count: Option<u64> = self.conn.one(
            "SELECT count(*) FROM device_group WHERE project = ?1",
            [actor.project],
            |row| row.unsigned(0),
        )?;
        rules::group::check_room(count.unwrap_or(0))?;
        self.name_is_free(actor, &new.name)?;
        let added = self.conn.run(
            "INSERT INTO device_group (project, group_id, name, description, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
            (actor.project, &new.group_id, &new.name, &new.description, now.0),
        )?;
        if added == 0 {
            return Err(StoreError::Exists { what: "group", id: new.group_id.clone() });
        }
        self.note(actor, action::GROUP_CREATED, &new.group_id, now)?;
        self.group_of(actor, &new.group_id)
    }

    pub(crate) fn patch_group(
        &mut self,
        actor: &Actor,
        group_id: &str,
        patch: &GroupPatch,
        now: WallTime,
    ) -> Result<GroupRow, StoreError> {
        let before = self.group_of(actor, group_id)?;
        let name = patch.name.as_ref().unwrap_or(&before.name);
        let description = patch.description.as_ref().unwrap_or(&before.description);
        if *name == before.name && *description == before.description {
            return Ok(before);
        }
        if *name != before.name {
            self.name_is_free(actor, name)?;
        }
        self.conn.run(
            "UPDATE device_group SET name = ?2, description = ?3 WHERE key = ?1",
            (before.key, name, description),
        )?;
        self.note(actor, action::GROUP_CHANGED, group_id, now)?;
        self.group_of(actor, group_id)
    }

    pub(crate) fn delete_group(
        &mut self,
        actor: &Actor,
        group_id: &str,
        now: WallTime,
    ) -> Result<GroupKey, StoreError> {
        let GroupRow { key, .. } = self.group_of(actor, group_id)?;
        let campaigns: Vec<CampaignKey> =
            self.conn.all("SELECT key FROM campaign WHERE filled = 0", [], |row| row.get(0))?;
        for campaign in campaigns {
            let row = self.stored_campaign(campaign)?;
            // One that has ended before is not made further.
            let is_made = !rules::is_over(row.state);
            if is_made && matches!(&row.targets, Targets::Groups(groups) if groups.contains(&key)) {
                let by = format!("campaign {}, whose deployments are being made", row.campaign_id);
                return Err(StoreError::InUse { what: "group", id: group_id.to_owned(), by });
            }
        }
        self.conn.run("INSERT INTO device_group_leaving (grp) VALUES (?1)", [key])?;
        self.conn.run("DELETE FROM device_group WHERE key = ?1", [key])?;
        self.note(actor, action::GROUP_DELETED, group_id, now)?;
        Ok(key)
    }

    pub(crate) fn forget_members(&mut self, key: GroupKey, chunk: u32) -> Result<bool, StoreError> {
        let is_leaving =
            self.conn.one("SELECT 1 FROM device_group_leaving WHERE grp = ?1", [key], |_| Ok(()))?.is_some();
        if !is_leaving {
            return Ok(true);
        }
        let devices: Vec<DeviceKey> = self.conn.all(
            "SELECT device FROM device_group_member WHERE grp = ?1 LIMIT ?2",
            (key, chunk),
            |row| row.get(0),
        )?;
        for device in &devices {
            self.conn.run("DELETE FROM device_group_member WHERE grp = ?1 AND device = ?2", (key, device))?;
        }
        if devices.len() < chunk as usize {
            self.conn.run("DELETE FROM device_group_leaving WHERE grp = ?1", [key])?;
            return Ok(true);
        }
        Ok(false)
    }

    pub(crate) fn add_members(
        &mut self,
        actor: &Actor,
        group_id: &str,
        devices: &[DeviceKey],
        now: WallTime,
    ) -> Result<u64, StoreError> {
        let GroupRow { key, members, .. } = self.group_of(actor, group_id)?;
        let added: Vec<DeviceKey> = self.conn.all(
            "INSERT INTO device_group_member (grp, device)
             SELECT ?1, d.key FROM json_each(?2) wanted CROSS JOIN device d ON d.key = wanted.value
             WHERE d.deleted_at IS NULL ON CONFLICT DO NOTHING RETURNING device",
            (key, to_json(&devices)?),
            |row| row.get(0),
        )?;
        rules::group::check_members(group_id, members + added.len() as u64)?;
        for device in &added {
            let groups: Option<u64> = self.conn.one(
                "SELECT count(*) FROM device_group_member WHERE device = ?1",
                [device],
                |row| row.unsigned(0),
            )?;
            if let Some(groups) = groups.filter(|groups| *groups > GROUPS_OF_DEVICE_MAX) {
                let device_id: Option<String> =
                    self.conn
                        .one("SELECT device_id FROM device WHERE key = ?1", [device], |row| row.get(0))?;
                return Err(rules::group::in_too_many(&device_id.unwrap_or_default(), groups));
            }
        }
        let count = added.len() as u64;
        if count > 0 {
            self.note(actor, action::GROUP_MEMBERS_ADDED, &rules::group::moved(group_id, count), now)?;
        }
        Ok(count)
    }

    pub(crate) fn remove_members(
        &mut self,
        actor: &Actor,
        group_id: &str,
        devices: &[DeviceKey],
        now: WallTime,
    ) -> Result<u64, StoreError> {
        let GroupRow { key, .. } = self.group_of(actor, group_id)?;
        let mut count = 0;
        for device in devices {
            count += self
                .conn
                .run("DELETE FROM device_group_member WHERE grp = ?1 AND device = ?2", (key, device))?;
        }
        let count = count as u64;
        if count > 0 {
            self.note(actor, action::GROUP_MEMBERS_REMOVED, &rules::group::moved(group_id, count), now)?;
        }
        Ok(count)
    }

    /// A device that is deleted leaves its groups.
    pub(super) fn leave_groups(&self, device: DeviceKey) -> Result<(), StoreError> {
        self.conn.run("DELETE FROM device_group_member WHERE device = ?1", [device])?;
        Ok(())
    }

    /// The group that an actor names; those of other projects do not exist for it.
    fn group_of(&self, actor: &Actor, group_id: &str) -> Result<GroupRow, StoreError> {
        self.conn
            .one(&format!("{GROUP} WHERE group_id = ?1 AND project = ?2"), (group_id, actor.project), group)?
            .ok_or_else(|| StoreError::Missing { what: "group", id: group_id.to_owned() })
    }

    fn name_is_free(&self, actor: &Actor, name: &str) -> Result<(), StoreError> {
        let taken = self.conn.one(
            "SELECT 1 FROM device_group WHERE project = ?1 AND name = ?2",
            (actor.project, name),
            |_| Ok(()),
        )?;
        match taken {
            Some(()) => Err(StoreError::Exists { what: "group name", id: name.to_owned() }),
            None => Ok(()),
        }
    }
}

impl Reading<'_> {
    pub(crate) fn group(&self, group_id: &str) -> Result<Option<GroupRow>, StoreError> {
        self.conn.one(&format!("{GROUP} WHERE group_id = ?1"), [group_id], group)
    }

    pub(super) fn group_by_key(&self, key: GroupKey) -> Result<Option<GroupRow>, StoreError> {
        self.conn.one(&format!("{GROUP} WHERE key = ?1"), [key], group)
    }

    pub(crate) fn groups(
        &self,
        name_part: Option<&str>,
        page: Page<GroupKey>,
    ) -> Result<Vec<GroupRow>, StoreError> {
        self.conn.all(
            &format!(
                "{GROUP} WHERE key > ?1 AND (?3 IS NULL OR instr(lower(name), lower(?3)) > 0)
                 ORDER BY key LIMIT ?2"
            ),
            (page.after.map_or(0, |key| key.0), page.limit, name_part),
            group,
        )
    }

    pub(crate) fn groups_of(&self, device: DeviceKey) -> Result<Vec<GroupRow>, StoreError> {
        self.conn.all(
            "SELECT g.key, g.group_id, g.name, g.description, g.members, g.created_at, g.space
             FROM device_group_member m CROSS JOIN device_group g ON g.key = m.grp
             WHERE m.device = ?1 ORDER BY m.grp",
            [device],
            group,
        )
    }

    pub(crate) fn leaving_groups(&self) -> Result<Vec<GroupKey>, StoreError> {
        self.conn.all("SELECT grp FROM device_group_leaving", [], |row| row.get(0))
    }
}
