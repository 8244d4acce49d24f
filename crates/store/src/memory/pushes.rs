//! Rules by which applications are told, and what is due.
//!
//! What becomes due is found by looking at everything before and after a write, while there is a rule: what triggers do on
//! disk. That is affordable where a store in memory is used.

use std::collections::BTreeMap;

use otaru_core::WallTime;
use otaru_core::campaign::CampaignState;
use otaru_core::deployment::Label;

use super::Tables;
use crate::error::StoreError;
use crate::limits::{DEAD_LETTERS_MAX, PUSH_ACTIONS_MAX, PUSH_RULES_MAX};
use crate::rows::*;
use crate::rules::{action, push};

#[derive(Default)]
pub(crate) struct Pushes {
    rules: BTreeMap<PushRuleKey, PushRule>,
    pub(super) actions: BTreeMap<PushActionKey, PushAction>,
    due: BTreeMap<(PushActionKey, i64), (i64, u32)>,
    dead: BTreeMap<i64, (PushActionKey, PushDead)>,
    last_rule: i64,
    last_action: i64,
    last_dead: i64,
}

/// What notifications are about, as far as a change of it is told.
#[derive(PartialEq)]
struct Looks {
    /// With the places where there are any of its deployments.
    campaigns: BTreeMap<i64, (CampaignState, Vec<Label>)>,
    deployments: BTreeMap<i64, Label>,
    devices: BTreeMap<i64, (DeviceRow, Option<String>, Option<String>)>,
}

impl Tables {
    /// Does the work, and notes what applications are to be told of it.
    pub(super) fn told_of<R>(
        &mut self,
        work: impl FnOnce(&mut Tables) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        if !self.pushes.rules.values().any(|rule| rule.active) {
            return work(self);
        }
        let before = self.looks();
        let answer = work(self);
        let after = self.looks();
        for (key, campaign) in &after.campaigns {
            if before.campaigns.get(key).is_some_and(|old| old != campaign) {
                self.push(PushSubject::Campaign, *key);
            }
        }
        for (key, label) in &after.deployments {
            // A further run takes the place of one that has ended.
            let is_further =
                || self.deployments.get(&DeploymentKey(*key)).is_some_and(|deployment| deployment.run > 1);
            if before.deployments.get(key).map_or_else(is_further, |old| old != label) {
                self.push(PushSubject::Deployment, *key);
            }
        }
        for (key, device) in &after.devices {
            if before.devices.get(key).is_some_and(|old| old != device) {
                self.push(PushSubject::Device, *key);
            }
        }
        answer
    }

    fn looks(&self) -> Looks {
        let shown = |device: &super::tables::Device| {
            let row = DeviceRow { sealed_secret: None, fingerprint: None, ..DeviceRow::clone(&device.row) };
            (row, device.state.firmware_version.clone(), device.state.software_version.clone())
        };
        let live = self.devices.iter().filter(|(_, device)| !device.deleted);
        let there = |campaign: &super::tables::Campaign| {
            Label::ALL.into_iter().filter(|label| campaign.counts.of(*label) > 0).collect::<Vec<_>>()
        };
        let campaigns = self.campaigns.iter();
        Looks {
            campaigns: campaigns
                .map(|(key, campaign)| (key.0, (campaign.row.state, there(campaign))))
                .collect(),
            deployments: self.deployments.iter().map(|(key, row)| (key.0, row.deployment.label())).collect(),
            devices: live.map(|(key, device)| (key.0, shown(device))).collect(),
        }
    }

    fn push(&mut self, subject: PushSubject, thing: i64) {
        let Pushes { rules, actions, due, .. } = &mut self.pushes;
        let is_told = |action: &PushAction| {
            rules
                .values()
                .any(|rule| rule.rule_id == action.rule_id && rule.active && rule.subject == subject)
        };
        for (key, _) in actions.iter().filter(|(_, action)| is_told(action)) {
            let one = due.entry((*key, thing)).or_insert((0, 0));
            *one = (one.0 + 1, 0);
        }
    }

    pub(crate) fn put_push_rule(
        &mut self,
        actor: &Actor,
        new: &PushRule,
        now: WallTime,
    ) -> Result<PushRule, StoreError> {
        let there = self.push_rule(&new.rule_id)?;
        let what = if there.is_some() { action::RULE_CHANGED } else { action::RULE_CREATED };
        let (key, created_at) = match there {
            Some(there) => (there.key, there.created_at),
            None if new.key != PushRuleKey(0) => return Err(push::no_rule(&new.rule_id)),
            None => {
                push::check_room("rules", self.pushes.rules.len() as u64, PUSH_RULES_MAX)?;
                self.pushes.last_rule += 1;
                (PushRuleKey(self.pushes.last_rule), now)
            }
        };
        let rule = PushRule { key, created_at, ..new.clone() };
        self.pushes.rules.insert(key, rule.clone());
        self.note(&actor.name, what, &new.rule_id, now);
        Ok(rule)
    }

    pub(crate) fn delete_push_rule(
        &mut self,
        actor: &Actor,
        rule_id: &str,
        now: WallTime,
    ) -> Result<(), StoreError> {
        let rule = self.push_rule(rule_id)?.ok_or_else(|| push::no_rule(rule_id))?;
        for action in self.push_actions(Some(rule_id))? {
            self.forget_push_action(action.key);
        }
        self.pushes.rules.remove(&rule.key);
        self.note(&actor.name, action::RULE_DELETED, rule_id, now);
        Ok(())
    }

    pub(crate) fn put_push_action(
        &mut self,
        actor: &Actor,
        new: &PushAction,
        now: WallTime,
    ) -> Result<PushAction, StoreError> {
        self.push_rule(&new.rule_id)?.ok_or_else(|| push::no_rule(&new.rule_id))?;
        let there = self.push_action(&new.action_id)?;
        let what = if there.is_some() { action::RULE_ACTION_CHANGED } else { action::RULE_ACTION_CREATED };
        let (key, created_at) = match there {
            Some(there) => (there.key, there.created_at),
            None if new.key != PushActionKey(0) => return Err(push::no_action(&new.action_id)),
            None => {
                let count = self.push_actions(Some(&new.rule_id))?.len() as u64;
                push::check_room("actions of a rule", count, PUSH_ACTIONS_MAX)?;
                self.pushes.last_action += 1;
                (PushActionKey(self.pushes.last_action), now)
            }
        };
        self.pushes.actions.insert(key, PushAction { key, created_at, ..new.clone() });
        self.note(&actor.name, what, &new.action_id, now);
        self.push_action(&new.action_id)?.ok_or_else(|| push::no_action(&new.action_id))
    }

    pub(crate) fn delete_push_action(
        &mut self,
        actor: &Actor,
        action_id: &str,
        now: WallTime,
    ) -> Result<(), StoreError> {
        let found = self.push_action(action_id)?.ok_or_else(|| push::no_action(action_id))?;
        self.forget_push_action(found.key);
        self.note(&actor.name, action::RULE_ACTION_DELETED, action_id, now);
        Ok(())
    }

    fn forget_push_action(&mut self, key: PushActionKey) {
        self.pushes.due.retain(|(action, _), _| *action != key);
        self.pushes.dead.retain(|_, (action, _)| *action != key);
        self.pushes.actions.remove(&key);
    }

    pub(crate) fn settle_pushes(
        &mut self,
        action: PushActionKey,
        settled: &[PushSettled],
        now: WallTime,
    ) -> Result<(), StoreError> {
        for one in settled {
            let place = (action, one.due.thing);
            let is_same = self.pushes.due.get(&place).is_some_and(|(version, _)| *version == one.due.version);
            match &one.became {
                PushBecame::Told if is_same => drop(self.pushes.due.remove(&place)),
                PushBecame::Failed { weight } if is_same => {
                    self.pushes.due.entry(place).and_modify(|(_, attempts)| *attempts += weight);
                }
                PushBecame::Told | PushBecame::Failed { .. } => {}
                // It has changed meanwhile, and is told anew.
                PushBecame::Dead { .. } if !is_same => {}
                PushBecame::Dead { body, error } => {
                    self.pushes.due.remove(&place);
                    self.pushes.last_dead += 1;
                    let seq = self.pushes.last_dead;
                    let dead = PushDead { seq, at: now, body: body.clone(), error: error.clone() };
                    self.pushes.dead.insert(seq, (action, dead));
                    let of_action = self.pushes.dead.iter().filter(|(_, (of, _))| *of == action);
                    let old: Vec<i64> =
                        of_action.rev().skip(DEAD_LETTERS_MAX as usize).map(|(seq, _)| *seq).collect();
                    for seq in old {
                        self.pushes.dead.remove(&seq);
                    }
                }
            }
        }
        Ok(())
    }

    pub(crate) fn push_rule(&self, rule_id: &str) -> Result<Option<PushRule>, StoreError> {
        Ok(self.pushes.rules.values().find(|rule| rule.rule_id == rule_id).cloned())
    }

    pub(crate) fn push_rules(&self) -> Result<Vec<PushRule>, StoreError> {
        Ok(self.pushes.rules.values().rev().cloned().collect())
    }

    pub(crate) fn push_action(&self, action_id: &str) -> Result<Option<PushAction>, StoreError> {
        Ok(self.push_actions(None)?.into_iter().find(|action| action.action_id == action_id))
    }

    pub(crate) fn push_actions(&self, rule_id: Option<&str>) -> Result<Vec<PushAction>, StoreError> {
        let mut actions = Vec::new();
        for action in self.pushes.actions.values().rev() {
            let of_rule = self.push_rule(&action.rule_id)?;
            if let Some(rule) = of_rule.filter(|rule| rule_id.is_none_or(|rule_id| rule.rule_id == rule_id)) {
                actions.push(PushAction { subject: rule.subject, active: rule.active, ..action.clone() });
            }
        }
        Ok(actions)
    }

    pub(crate) fn pushes_due(&self, action: PushActionKey, limit: u32) -> Result<Vec<PushDue>, StoreError> {
        let all = (action, i64::MIN)..=(action, i64::MAX);
        let due = self.pushes.due.range(all).map(|((_, thing), (version, attempts))| PushDue {
            thing: *thing,
            version: *version,
            attempts: *attempts,
        });
        let mut due: Vec<PushDue> = due.collect();
        due.sort_by_key(|due| (due.attempts, due.thing));
        due.truncate(limit as usize);
        Ok(due)
    }

    pub(crate) fn count_pushes_due(&self, action: PushActionKey) -> Result<u64, StoreError> {
        Ok(self.pushes_due(action, 100_001)?.len() as u64)
    }

    pub(crate) fn dead_pushes(
        &self,
        action: PushActionKey,
        page: Newest<i64>,
    ) -> Result<Vec<PushDead>, StoreError> {
        let of_action = self.pushes.dead.values().rev().filter(|(of, _)| *of == action);
        let older = of_action.filter(|(_, dead)| page.before.is_none_or(|before| dead.seq < before));
        let page = older.skip(page.skip as usize).take(page.limit as usize);
        Ok(page.map(|(_, dead)| dead.clone()).collect())
    }
}
