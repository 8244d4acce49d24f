//! What can be asked about telling applications of changes.
//!
//! What becomes due is written in the transaction of the change: a campaign, device or deployment that changes is due once
//! for each action of an active rule about it, until that was told.

use otaru_core::WallTime;

use super::Store;
use crate::error::StoreError;
use crate::rows::*;

/// Rules, their actions, and what is due.
impl Store {
    /// Makes a rule, or writes the one with this id anew.
    ///
    /// *Retry*: safe.
    ///
    /// # Errors
    ///
    /// - `Full`: there are [`PUSH_RULES_MAX`](crate::limits::PUSH_RULES_MAX).
    pub async fn put_push_rule(
        &self,
        actor: &Actor,
        rule: PushRule,
        now: WallTime,
    ) -> Result<PushRule, StoreError> {
        let actor = actor.clone();
        write!(self, Small, |t| t.put_push_rule(&actor, &rule, now))
    }

    /// Deletes a rule with its actions and everything that is due for them.
    ///
    /// *Retry*: answers `Missing`.
    ///
    /// # Errors
    ///
    /// - `Missing`: `rule`.
    pub async fn delete_push_rule(
        &self,
        actor: &Actor,
        rule_id: &str,
        now: WallTime,
    ) -> Result<(), StoreError> {
        let (actor, rule_id) = (actor.clone(), rule_id.to_owned());
        write!(self, Small, |t| t.delete_push_rule(&actor, &rule_id, now))
    }

    /// Makes an action of a rule, or writes the one with this id anew.
    ///
    /// *Retry*: safe.
    ///
    /// # Errors
    ///
    /// - `Missing`: `rule`.
    /// - `Full`: the rule has [`PUSH_ACTIONS_MAX`](crate::limits::PUSH_ACTIONS_MAX).
    pub async fn put_push_action(
        &self,
        actor: &Actor,
        action: PushAction,
        now: WallTime,
    ) -> Result<PushAction, StoreError> {
        let actor = actor.clone();
        write!(self, Small, |t| t.put_push_action(&actor, &action, now))
    }

    /// Deletes an action and everything that is due for it.
    ///
    /// *Retry*: answers `Missing`.
    ///
    /// # Errors
    ///
    /// - `Missing`: `rule action`.
    pub async fn delete_push_action(
        &self,
        actor: &Actor,
        action_id: &str,
        now: WallTime,
    ) -> Result<(), StoreError> {
        let (actor, action_id) = (actor.clone(), action_id.to_owned());
        write!(self, Small, |t| t.delete_push_action(&actor, &action_id, now))
    }

    /// Notes what became of some that were due.
    ///
    /// *Retry*: safe, but for a dead letter, which is kept twice.
    pub async fn settle_pushes(
        &self,
        action: PushActionKey,
        settled: Vec<PushSettled>,
        now: WallTime,
    ) -> Result<(), StoreError> {
        write!(self, Small, |t| t.settle_pushes(action, &settled, now))
    }

    /// The rule with this id.
    pub async fn push_rule(&self, rule_id: &str) -> Result<Option<PushRule>, StoreError> {
        let rule_id = rule_id.to_owned();
        read!(self, |t| t.push_rule(&rule_id))
    }

    /// All rules, the newest first.
    pub async fn push_rules(&self) -> Result<Vec<PushRule>, StoreError> {
        read!(self, |t| t.push_rules())
    }

    /// The action with this id.
    pub async fn push_action(&self, action_id: &str) -> Result<Option<PushAction>, StoreError> {
        let action_id = action_id.to_owned();
        read!(self, |t| t.push_action(&action_id))
    }

    /// All actions, of this rule if given, the newest first.
    pub async fn push_actions(&self, rule_id: Option<String>) -> Result<Vec<PushAction>, StoreError> {
        read!(self, |t| t.push_actions(rule_id.as_deref()))
    }

    /// Some of what is due for an action, at most `limit`.
    pub async fn pushes_due(&self, action: PushActionKey, limit: u32) -> Result<Vec<PushDue>, StoreError> {
        read!(self, |t| t.pushes_due(action, limit))
    }

    /// How much is due for an action; counting stops above 100 000.
    pub async fn count_pushes_due(&self, action: PushActionKey) -> Result<u64, StoreError> {
        read!(self, |t| t.count_pushes_due(action))
    }

    /// What an action did not bring to its application, the newest first.
    pub async fn dead_pushes(
        &self,
        action: PushActionKey,
        page: Newest<i64>,
    ) -> Result<Vec<PushDead>, StoreError> {
        read!(self, |t| t.dead_pushes(action, page))
    }
}
