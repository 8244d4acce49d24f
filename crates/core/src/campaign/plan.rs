//! Which devices of a campaign go next, and why the others do not.
//!
//! Planning changes nothing: the plan may be shown, compared, and thrown away. A step that was planned carries
//! its own expectation into `deployment::step`, which does nothing when the world has moved on.

use alloc::{string::String, vec::Vec};

use serde::Serialize;

use super::{CampaignState, OnConflict, Policy};
use crate::{ServiceTime, WallTime, deployment::State};

/// What planning needs to know of a campaign.
#[derive(Clone, Copy, Debug)]
pub struct CampaignFacts<'a> {
    /// Where it is.
    pub state: CampaignState,
    /// It was told to start; while it is being prepared the devices it already has may go.
    pub started: bool,
    /// When it starts by itself.
    pub start_at: Option<WallTime>,
    /// Its rules.
    pub policy: &'a Policy,
    /// How many of its devices hold a slot now.
    pub slots_held: u64,
    /// Every package it may need can be downloaded.
    pub packages_ready: bool,
}

/// One device of the campaign, as last seen. `D` names it.
#[derive(Clone, Debug)]
pub struct Candidate<'a, D> {
    /// Which device.
    pub device: D,
    /// Where its deployment is.
    pub state: &'a State,
    /// The device can be reached now.
    pub reachable: bool,
    /// The campaign that works on the device now, if another one does.
    pub busy_with: Option<String>,
}

/// What to do now.
#[must_use = "the reasons are what operators will ask for"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan<D> {
    /// These go.
    pub start: Vec<D>,
    /// These go once the other campaign's deployment has ended as superseded, which is to be done now.
    pub supersede: Vec<D>,
    /// These end as `conflict`.
    pub conflict: Vec<D>,
    /// These wait, and why.
    pub held_back: Vec<(D, HeldBack)>,
}

/// Why a device of a campaign is not being told now. The names are part of the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum HeldBack {
    /// The campaign was not started.
    NotStarted,
    /// The campaign starts by itself at `start_at`.
    Scheduled {
        /// By the wall clock.
        start_at: WallTime,
    },
    /// The campaign is paused.
    Paused,
    /// The campaign's deployments have to be confirmed, and this one was not.
    Unconfirmed,
    /// The wave that has the device is not open.
    WaveNotOpen,
    /// Gateways are to be told how many of their children the campaign has, which is known once all its deployments
    /// are made.
    CountingChildren,
    /// The device cannot be reached; it is waited for until `until`.
    Offline {
        /// When absence becomes an outcome.
        until: ServiceTime,
    },
    /// Another campaign works on the device.
    Busy {
        /// That campaign.
        with: String,
    },
    /// As many devices as allowed are at work.
    TooManyAtOnce {
        /// How many are allowed.
        limit: u32,
    },
    /// The package's bytes are not there yet, or are not what was promised.
    PackageNotReady,
    /// It failed, and the next attempt begins at `until`.
    AwaitingRetry {
        /// When the next attempt may begin.
        until: ServiceTime,
    },
    /// It is at work, or done: nothing to start.
    NothingToStart,
}

/// What the campaign should do now with these devices.
///
/// The order of `candidates` is the order of preference when slots are scarce. Calling it again with the same
/// view gives the same plan; a candidate that has moved on since costs nothing but a wasted start.
pub fn plan<D: Clone>(campaign: &CampaignFacts<'_>, candidates: &[Candidate<'_, D>]) -> Plan<D> {
    let mut plan =
        Plan { start: Vec::new(), supersede: Vec::new(), conflict: Vec::new(), held_back: Vec::new() };
    let limit = campaign.policy.slots.concurrency;
    let mut held = campaign.slots_held;
    for candidate in candidates {
        let device = candidate.device.clone();
        if let Some(reason) = not_now(campaign, candidate) {
            plan.held_back.push((device, reason));
            continue;
        }
        if let Some(with) = &candidate.busy_with
            && campaign.policy.on_conflict != OnConflict::Supersede
        {
            match campaign.policy.on_conflict {
                OnConflict::Fail => plan.conflict.push(device),
                OnConflict::Hold | OnConflict::Supersede => {
                    plan.held_back.push((device, HeldBack::Busy { with: with.clone() }));
                }
            }
            continue;
        }
        if let Some(limit) = limit
            && held >= u64::from(limit)
        {
            plan.held_back.push((device, HeldBack::TooManyAtOnce { limit }));
            continue;
        }
        held += 1;
        if candidate.busy_with.is_some() {
            plan.supersede.push(device.clone());
        }
        plan.start.push(device);
    }
    plan
}

/// The reasons that concern one device alone, in the order in which a person would give them.
fn not_now<D>(campaign: &CampaignFacts<'_>, candidate: &Candidate<'_, D>) -> Option<HeldBack> {
    let until = match candidate.state {
        State::Released { until } => *until,
        State::Waiting { until, .. } => return Some(HeldBack::AwaitingRetry { until: *until }),
        State::Queued if campaign.started && campaign.policy.need_confirm => {
            return Some(HeldBack::Unconfirmed);
        }
        State::Queued if campaign.started => return Some(HeldBack::WaveNotOpen),
        State::Queued => return Some(not_started(campaign)),
        State::Asked { .. }
        | State::Offered(_)
        | State::Running(_)
        | State::Confirming { .. }
        | State::Finished(_) => return Some(HeldBack::NothingToStart),
    };
    match campaign.state {
        CampaignState::Running => {}
        CampaignState::Preparing if campaign.started && campaign.policy.gateway_mode => {
            return Some(HeldBack::CountingChildren);
        }
        CampaignState::Preparing if campaign.started => {}
        CampaignState::Draft | CampaignState::Preparing | CampaignState::Scheduled => {
            return Some(not_started(campaign));
        }
        CampaignState::Paused => return Some(HeldBack::Paused),
        CampaignState::Finished | CampaignState::Cancelled => return Some(HeldBack::NothingToStart),
    }
    if !campaign.packages_ready {
        return Some(HeldBack::PackageNotReady);
    }
    if !candidate.reachable {
        return Some(HeldBack::Offline { until });
    }
    None
}

/// Why nobody of a campaign that was not started goes.
fn not_started(campaign: &CampaignFacts<'_>) -> HeldBack {
    match campaign.start_at {
        Some(start_at) => HeldBack::Scheduled { start_at },
        None => HeldBack::NotStarted,
    }
}
