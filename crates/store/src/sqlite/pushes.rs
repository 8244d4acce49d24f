//! Rules by which applications are told, and what is due. What becomes due is written by triggers, in the transaction of
//! the change.

use otaru_core::WallTime;
use rusqlite::Row;

use super::columns::{Columns, Statements};
use super::{Reading, Tx};
use crate::error::StoreError;
use crate::limits::{DEAD_LETTERS_MAX, PUSH_ACTIONS_MAX, PUSH_RULES_MAX};
use crate::rows::*;
use crate::rules::{action, push};

const RULE: &str = "SELECT key, rule_id, subject, active, members, created_at FROM push_rule";
const ACTION: &str =
    "SELECT a.key, a.action_id, r.rule_id, a.url, a.sealed_token, a.members, a.created_at, r.subject,
    r.active FROM push_action a CROSS JOIN push_rule r ON r.key = a.rule";

fn rule(row: &Row<'_>) -> rusqlite::Result<PushRule> {
    Ok(PushRule {
        key: row.get(0)?,
        rule_id: row.get(1)?,
        subject: row.word(2)?,
        active: row.get(3)?,
        members: row.get(4)?,
        created_at: row.wall(5)?,
    })
}

fn push_action(row: &Row<'_>) -> rusqlite::Result<PushAction> {
    Ok(PushAction {
        key: row.get(0)?,
        action_id: row.get(1)?,
        rule_id: row.get(2)?,
        url: row.get(3)?,
        sealed_token: row.get(4)?,
        members: row.get(5)?,
        created_at: row.wall(6)?,
        subject: row.word(7)?,
        active: row.get(8)?,
    })
}

impl Tx<'_> {
    /// Makes a rule, or writes it anew.
    pub(crate) fn put_push_rule(
        &mut self,
        actor: &Actor,
        new: &PushRule,
        now: WallTime,
    ) -> Result<PushRule, StoreError> {
        let there = Reading { conn: self.conn }.push_rule(&new.rule_id)?;
        if there.is_none() && new.key != PushRuleKey(0) {
            // It was deleted since it was read.
            return Err(push::no_rule(&new.rule_id));
        }
        if there.is_none() {
            let count: Option<u64> =
                self.conn.one("SELECT count(*) FROM push_rule", [], |row| row.unsigned(0))?;
            push::check_room("rules", count.unwrap_or(0), PUSH_RULES_MAX)?;
        }
        self.conn.run(
            "INSERT INTO push_rule (project, rule_id, subject, active, members, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (rule_id) DO UPDATE SET subject = excluded.subject, active = excluded.active,
                 members = excluded.members",
            (actor.project, &new.rule_id, new.subject.name(), new.active, &new.members, now.0),
        )?;
        let what = if there.is_none() { action::RULE_CREATED } else { action::RULE_CHANGED };
        self.note(actor, what, &new.rule_id, now)?;
        Reading { conn: self.conn }
            .push_rule(&new.rule_id)?
            .ok_or_else(|| StoreError::Missing { what: "rule", id: new.rule_id.clone() })
    }

    pub(crate) fn delete_push_rule(
        &mut self,
        actor: &Actor,
        rule_id: &str,
        now: WallTime,
    ) -> Result<(), StoreError> {
        let reading = Reading { conn: self.conn };
        let rule = reading.push_rule(rule_id)?.ok_or_else(|| push::no_rule(rule_id))?;
        for action in reading.push_actions(Some(rule_id))? {
            self.forget_push_action(action.key)?;
        }
        self.conn.run("DELETE FROM push_rule WHERE key = ?1", [rule.key])?;
        self.note(actor, action::RULE_DELETED, rule_id, now)
    }

    /// Makes an action of a rule, or writes it anew.
    pub(crate) fn put_push_action(
        &mut self,
        actor: &Actor,
        new: &PushAction,
        now: WallTime,
    ) -> Result<PushAction, StoreError> {
        let reading = Reading { conn: self.conn };
        let rule = reading.push_rule(&new.rule_id)?.ok_or_else(|| push::no_rule(&new.rule_id))?;
        let there = reading.push_action(&new.action_id)?;
        if there.is_none() && new.key != PushActionKey(0) {
            return Err(push::no_action(&new.action_id));
        }
        if there.is_none() {
            let count = reading.push_actions(Some(&new.rule_id))?.len() as u64;
            push::check_room("actions of a rule", count, PUSH_ACTIONS_MAX)?;
        }
        self.conn.run(
            "INSERT INTO push_action (rule, action_id, url, sealed_token, members, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (action_id) DO UPDATE SET url = excluded.url, sealed_token = excluded.sealed_token,
                 members = excluded.members",
            (rule.key, &new.action_id, &new.url, &new.sealed_token, &new.members, now.0),
        )?;
        let what = if there.is_none() { action::RULE_ACTION_CREATED } else { action::RULE_ACTION_CHANGED };
        self.note(actor, what, &new.action_id, now)?;
        Reading { conn: self.conn }
            .push_action(&new.action_id)?
            .ok_or_else(|| push::no_action(&new.action_id))
    }

    pub(crate) fn delete_push_action(
        &mut self,
        actor: &Actor,
        action_id: &str,
        now: WallTime,
    ) -> Result<(), StoreError> {
        let found = Reading { conn: self.conn }.push_action(action_id)?;
        let found = found.ok_or_else(|| push::no_action(action_id))?;
        self.forget_push_action(found.key)?;
        self.note(actor, action::RULE_ACTION_DELETED, action_id, now)
    }

    fn forget_push_action(&mut self, key: PushActionKey) -> Result<(), StoreError> {
        self.conn.run("DELETE FROM push_due WHERE action = ?1", [key])?;
        self.conn.run("DELETE FROM push_dead WHERE action = ?1", [key])?;
        self.conn.run("DELETE FROM push_action WHERE key = ?1", [key])?;
        Ok(())
    }

    pub(crate) fn settle_pushes(
        &mut self,
        action: PushActionKey,
        settled: &[PushSettled],
        now: WallTime,
    ) -> Result<(), StoreError> {
        for one in settled {
            let due = (action, one.due.thing, one.due.version);
            match &one.became {
                PushBecame::Told => {
                    self.conn
                        .run("DELETE FROM push_due WHERE action = ?1 AND thing = ?2 AND version = ?3", due)?;
                }
                PushBecame::Failed { weight } => {
                    let (action, thing, version) = due;
                    self.conn.run(
                        "UPDATE push_due SET attempts = attempts + ?4
                         WHERE action = ?1 AND thing = ?2 AND version = ?3",
                        (action, thing, version, weight),
                    )?;
                }
                PushBecame::Dead { body, error } => {
                    let gone = self
                        .conn
                        .run("DELETE FROM push_due WHERE action = ?1 AND thing = ?2 AND version = ?3", due)?;
                    if gone == 0 {
                        // It has changed meanwhile, and is told anew.
                        continue;
                    }
                    self.conn.run(
                        "INSERT INTO push_dead (action, at, body, error) VALUES (?1, ?2, ?3, ?4)",
                        (action, now.0, body, error),
                    )?;
                    self.conn.run(
                        "DELETE FROM push_dead WHERE action = ?1 AND seq <= (SELECT seq FROM push_dead
                             WHERE action = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
                        (action, DEAD_LETTERS_MAX),
                    )?;
                }
            }
        }
        Ok(())
    }
}

impl Reading<'_> {
    pub(crate) fn push_rule(&self, rule_id: &str) -> Result<Option<PushRule>, StoreError> {
        self.conn.one(&format!("{RULE} WHERE rule_id = ?1"), [rule_id], rule)
    }

    pub(crate) fn push_rules(&self) -> Result<Vec<PushRule>, StoreError> {
        self.conn.all(&format!("{RULE} ORDER BY key DESC"), [], rule)
    }

    pub(crate) fn push_action(&self, action_id: &str) -> Result<Option<PushAction>, StoreError> {
        self.conn.one(&format!("{ACTION} WHERE a.action_id = ?1"), [action_id], push_action)
    }

    pub(crate) fn push_actions(&self, rule_id: Option<&str>) -> Result<Vec<PushAction>, StoreError> {
        let mut actions = self.conn.all(&format!("{ACTION} ORDER BY a.key DESC"), [], push_action)?;
        actions.retain(|action| rule_id.is_none_or(|rule_id| action.rule_id == rule_id));
        Ok(actions)
    }

    pub(crate) fn pushes_due(&self, action: PushActionKey, limit: u32) -> Result<Vec<PushDue>, StoreError> {
        self.conn.all(
            "SELECT thing, version, attempts FROM push_due WHERE action = ?1 ORDER BY attempts, thing LIMIT ?2",
            (action, limit),
            |row| Ok(PushDue { thing: row.get(0)?, version: row.get(1)?, attempts: row.get(2)? }),
        )
    }

    pub(crate) fn count_pushes_due(&self, action: PushActionKey) -> Result<u64, StoreError> {
        let n = self.conn.one(
            "SELECT count(*) FROM (SELECT thing FROM push_due WHERE action = ?1 LIMIT 100001)",
            [action],
            |row| row.unsigned(0),
        )?;
        Ok(n.unwrap_or(0))
    }

    pub(crate) fn dead_pushes(
        &self,
        action: PushActionKey,
        page: Newest<i64>,
    ) -> Result<Vec<PushDead>, StoreError> {
        self.conn.all(
            "SELECT seq, at, body, error FROM push_dead WHERE action = ?1 AND seq < ?2
             ORDER BY seq DESC LIMIT ?3 OFFSET ?4",
            (action, page.before.unwrap_or(i64::MAX), page.limit, page.skip),
            |row| Ok(PushDead { seq: row.get(0)?, at: row.wall(1)?, body: row.get(2)?, error: row.get(3)? }),
        )
    }
}
