//! Telling applications of changes: the rules, and what is due. Who tells them is `otaru-api`.
//!
//! Always true:
//! - What is due is in the store with the change itself, so that nothing is lost, whatever ends in between.
//! - What is told is how a thing is when it is told; one that changed while it was told is told again.
//! - Tokens that sign notifications are kept sealed.

use otaru_store::{
    CampaignKey, CampaignRow, Counts, DeploymentKey, DeviceKey, Newest, PushAction, PushActionKey, PushDead,
    PushDue, PushRule, PushSettled, StoreError, push_token_context,
};

use crate::access_keys::AccessKeyError;
use crate::driver::Engine;
use crate::tokens::Operator;
use crate::views::{DeploymentView, DeviceView};

impl Engine {
    /// Makes a rule, or writes it anew.
    ///
    /// # Errors
    ///
    /// `Full`: there are enough.
    pub async fn put_push_rule(&self, by: &Operator, rule: PushRule) -> Result<PushRule, StoreError> {
        self.shared.store.put_push_rule(&by.actor, rule, self.wall()).await
    }

    /// Deletes a rule with its actions and what is due for them.
    ///
    /// # Errors
    ///
    /// `Missing`: there is none.
    pub async fn delete_push_rule(&self, by: &Operator, rule_id: &str) -> Result<(), StoreError> {
        self.shared.store.delete_push_rule(&by.actor, rule_id, self.wall()).await
    }

    /// Makes an action of a rule, or writes it anew. `token` signs its notifications from now on; without one, what the
    /// action has sealed does.
    ///
    /// # Errors
    ///
    /// `Missing`: there is no such rule. `Full`: it has enough.
    pub async fn put_push_action(
        &self,
        by: &Operator,
        mut action: PushAction,
        token: Option<&str>,
    ) -> Result<PushAction, StoreError> {
        let context = push_token_context(&action.action_id);
        if let Some(token) = token {
            action.sealed_token = Some(self.shared.vault.seal(&context, token.as_bytes()));
        }
        self.shared.store.put_push_action(&by.actor, action, self.wall()).await
    }

    /// Deletes an action and what is due for it.
    ///
    /// # Errors
    ///
    /// `Missing`: there is none.
    pub async fn delete_push_action(&self, by: &Operator, action_id: &str) -> Result<(), StoreError> {
        self.shared.store.delete_push_action(&by.actor, action_id, self.wall()).await
    }

    /// A rule.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn push_rule(&self, rule_id: &str) -> Result<Option<PushRule>, StoreError> {
        self.shared.store.push_rule(rule_id).await
    }

    /// All rules, the newest first.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn push_rules(&self) -> Result<Vec<PushRule>, StoreError> {
        self.shared.store.push_rules().await
    }

    /// An action.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn push_action(&self, action_id: &str) -> Result<Option<PushAction>, StoreError> {
        self.shared.store.push_action(action_id).await
    }

    /// All actions, of this rule if given, the newest first.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn push_actions(&self, rule_id: Option<String>) -> Result<Vec<PushAction>, StoreError> {
        self.shared.store.push_actions(rule_id).await
    }

    /// What an action's notifications are signed with, if they are.
    ///
    /// # Errors
    ///
    /// `Closed`: the master key is another one than when it was sealed.
    pub fn push_token(&self, action: &PushAction) -> Result<Option<String>, AccessKeyError> {
        let closed = || AccessKeyError::Closed(format!("rule action {}", action.action_id));
        let Some(sealed) = &action.sealed_token else { return Ok(None) };
        let context = push_token_context(&action.action_id);
        let token = self.shared.vault.open(&context, sealed).map_err(|_| closed())?;
        String::from_utf8(token).map(Some).map_err(|_| closed())
    }

    /// Some of what is due for an action.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn pushes_due(&self, action: PushActionKey, limit: u32) -> Result<Vec<PushDue>, StoreError> {
        self.shared.store.pushes_due(action, limit).await
    }

    /// How much is due for an action; counting stops above 100 000.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn count_pushes_due(&self, action: PushActionKey) -> Result<u64, StoreError> {
        self.shared.store.count_pushes_due(action).await
    }

    /// Notes what became of some that were due.
    ///
    /// # Errors
    ///
    /// The store could not be written; they stay due, and are told again.
    pub async fn settle_pushes(
        &self,
        action: PushActionKey,
        settled: Vec<PushSettled>,
    ) -> Result<(), StoreError> {
        self.shared.store.settle_pushes(action, settled, self.wall()).await
    }

    /// What an action did not bring to its application, the newest first.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn dead_pushes(
        &self,
        action: PushActionKey,
        page: Newest<i64>,
    ) -> Result<Vec<PushDead>, StoreError> {
        self.shared.store.dead_pushes(action, page).await
    }

    /// A campaign that is due to be told, unless it was deleted.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn pushed_campaign(
        &self,
        key: CampaignKey,
    ) -> Result<Option<(CampaignRow, Counts)>, StoreError> {
        self.shared.store.campaign_by_key(key).await
    }

    /// A device that is due to be told, unless it was deleted.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn pushed_device(&self, key: DeviceKey) -> Result<Option<DeviceView>, StoreError> {
        let record = self.shared.store.device_by_key(key).await?;
        Ok(record.map(|record| self.view_of(record, None)))
    }

    /// A deployment that is due to be told, unless it was deleted.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn pushed_deployment(&self, key: DeploymentKey) -> Result<Option<DeploymentView>, StoreError> {
        let Some(record) = self.shared.store.deployment(key).await? else { return Ok(None) };
        let campaign = self.shared.store.campaign_by_key(record.row.campaign).await?;
        let Some((campaign, _)) = campaign else { return Ok(None) };
        Ok(self.views(&campaign.packages, vec![record]).pop())
    }
}
