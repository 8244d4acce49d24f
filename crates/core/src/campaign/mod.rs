//! A campaign: the operator's intent, these devices to one of these packages, under this policy.
//!
//! Always true:
//! - A campaign has at least one wave and one package; its packages are of one product and one kind.
//! - For any version a device may run, at most one package fits.
//! - The policy is a value fixed when the campaign is made.
//!
//! Not here: the steps of a single device (`deployment`), and where campaigns are kept (`store`).

mod act;
mod choose;
mod plan;
#[cfg(test)]
mod plan_tests;
mod policy;

pub use act::{Act, Selection, ToDo, first_step};
pub use choose::{Choice, PackageFacts, PackagesError, check_packages, choose};
pub use plan::{CampaignFacts, Candidate, HeldBack, Plan, plan};
pub use policy::{OnConflict, Policy, PolicyError, Retry, Slots, Timers, Wave};

use serde::{Deserialize, Serialize};

/// Where a campaign is. The names are part of the API and of what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CampaignState {
    /// Made and not started.
    Draft,
    /// Its deployments are being made.
    Preparing,
    /// Starts by itself later.
    Scheduled,
    /// Devices are being told.
    Running,
    /// No further device is told; those at work go on.
    Paused,
    /// Every deployment is finished.
    Finished,
    /// Stopped by an operator.
    Cancelled,
}

impl CampaignState {
    /// Every state, in the order of a campaign's life.
    pub const ALL: [CampaignState; 7] = [
        CampaignState::Draft,
        CampaignState::Preparing,
        CampaignState::Scheduled,
        CampaignState::Running,
        CampaignState::Paused,
        CampaignState::Finished,
        CampaignState::Cancelled,
    ];

    /// The stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            CampaignState::Draft => "draft",
            CampaignState::Preparing => "preparing",
            CampaignState::Scheduled => "scheduled",
            CampaignState::Running => "running",
            CampaignState::Paused => "paused",
            CampaignState::Finished => "finished",
            CampaignState::Cancelled => "cancelled",
        }
    }

    /// The state of a stable name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<CampaignState> {
        CampaignState::ALL.into_iter().find(|state| state.name() == name)
    }
}
