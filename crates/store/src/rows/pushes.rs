//! Rules by which applications are told, where to, and what is due.

use otaru_core::WallTime;
use serde::{Deserialize, Serialize};

use super::{PushActionKey, PushRuleKey};

/// What an application is told the changes of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PushSubject {
    /// Campaigns that come into another state.
    Campaign,
    /// Devices whose versions, name, tags, gateway or freezing change.
    Device,
    /// Deployments that come into another state.
    Deployment,
}

impl PushSubject {
    /// Stable; stored.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            PushSubject::Campaign => "campaign",
            PushSubject::Device => "device",
            PushSubject::Deployment => "deployment",
        }
    }
}

/// A rule by which applications are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushRule {
    /// Inside the store; 0 for a rule to be made.
    pub key: PushRuleKey,
    /// Public id.
    pub rule_id: String,
    /// The changes of what.
    pub subject: PushSubject,
    /// It is in force.
    pub active: bool,
    /// The text of a JSON object, as it was sent.
    pub members: String,
    /// When it was made.
    pub created_at: WallTime,
}

/// Where to a rule tells.
#[derive(Clone, PartialEq, Eq)]
pub struct PushAction {
    /// Inside the store; 0 for an action to be made.
    pub key: PushActionKey,
    /// Public id.
    pub action_id: String,
    /// Of which rule, by public id.
    pub rule_id: String,
    /// Where to.
    pub url: String,
    /// What its notifications are signed with, sealed by the vault for [`push_token_context`](crate::push_token_context).
    pub sealed_token: Option<Vec<u8>>,
    /// The text of a JSON object, as it was sent, without the token.
    pub members: String,
    /// When it was made.
    pub created_at: WallTime,
    /// Of its rule.
    pub subject: PushSubject,
    /// Whether its rule is in force.
    pub active: bool,
}

impl std::fmt::Debug for PushAction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PushAction")
            .field("action_id", &self.action_id)
            .field("rule_id", &self.rule_id)
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// A thing whose change an application has not been told yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushDue {
    /// The key of the campaign, device or deployment, as the subject says.
    pub thing: i64,
    /// Grows with each change.
    pub version: i64,
    /// How often telling it failed.
    pub attempts: u32,
}

/// What became of one that was due. It stays due if the thing has changed since.
#[derive(Clone, Debug)]
pub struct PushSettled {
    /// As it was due.
    pub due: PushDue,
    /// What became of it.
    pub became: PushBecame,
}

/// What became of a notification.
#[derive(Clone, Debug)]
pub enum PushBecame {
    /// The application took it.
    Told,
    /// It is tried again.
    Failed {
        /// How much it counts: attempts add up.
        weight: u32,
    },
    /// It is not tried again, and kept with the reason.
    Dead {
        /// What was to be told.
        body: String,
        /// Why it was not taken.
        error: String,
    },
}

/// A notification that an application did not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushDead {
    /// Its place among all of them.
    pub seq: i64,
    /// When it was given up.
    pub at: WallTime,
    /// What was to be told.
    pub body: String,
    /// Why it was not taken.
    pub error: String,
}
