//! "Why is this device not updated?", answered for one device.

use std::sync::Arc;

use otaru_core::campaign::{CampaignFacts, Candidate, HeldBack, plan};
use otaru_core::deployment::State;
use otaru_core::{ServiceTime, WallTime};
use otaru_proto::DeviceId;
use otaru_store::{DeploymentRecord, PackageRow, StoreError};
use serde::Serialize;

use crate::batch::{are_ready, facts_of};
use crate::connect::RefusedConnection;
use crate::contents::why_not_ready;
use crate::devices::DeviceError;
use crate::downloads::DownloadView;
use crate::driver::Engine;
use crate::views::DeploymentView;

/// Deployments of a device that are looked at; the newest count.
const DEPLOYMENTS_SHOWN: u32 = 20;

/// Everything that speaks for or against a device being updated.
#[derive(Clone, Debug, Serialize)]
pub struct DeviceExplanation {
    /// Which device.
    pub device_id: String,
    /// It is registered.
    pub registered: bool,
    /// It is connected, or its gateway is.
    pub online: bool,
    /// It is refused.
    pub frozen: bool,
    /// What it last said it runs.
    pub firmware_version: Option<String>,
    /// What it last said it runs.
    pub software_version: Option<String>,
    /// The answer in plain sentences, the most important first.
    pub sentences: Vec<String>,
    /// Its deployments, the newest first.
    pub deployments: Vec<DeploymentExplanation>,
    /// The last time it was not let in, unless it was since.
    pub refused_connection: Option<RefusedConnection>,
}

/// One deployment of the device.
#[derive(Clone, Debug, Serialize)]
pub struct DeploymentExplanation {
    /// Of which campaign.
    pub campaign_id: String,
    /// For people.
    pub campaign_name: String,
    /// Where that is.
    pub campaign_state: &'static str,
    /// Which deployment.
    pub deployment_id: String,
    /// Where it is.
    pub state: &'static str,
    /// How it ended, once it has.
    pub outcome: Option<&'static str>,
    /// Why it is not being told now, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_back: Option<HeldBackShown>,
    /// When it is looked at again, in milliseconds since 1970, if nothing stands still meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub looked_at_again: Option<WallTime>,
    /// How far the device came with the package, if it fetched any of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub download: Option<DownloadView>,
    /// It is installed though the package was never fetched whole from here; a warning.
    pub unfetched_success: bool,
    /// In one plain sentence.
    pub explanation: String,
}

/// Why a deployment is held back.
#[derive(Clone, Debug, Serialize)]
pub struct HeldBackShown {
    /// Stable, snake_case.
    pub reason: &'static str,
    /// The other campaign, for `busy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub with: Option<String>,
    /// When the campaign starts, for `scheduled`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_at: Option<WallTime>,
    /// In one plain sentence.
    pub explanation: String,
}

impl Engine {
    /// Says why a device is where it is. Also for a device that is not registered but tries to connect.
    ///
    /// # Errors
    ///
    /// `Unknown`: it is neither registered nor was it refused lately.
    pub async fn explain(&self, device_id: &str) -> Result<DeviceExplanation, DeviceError> {
        let shared = &self.shared;
        let refused = shared.refused.of(device_id);
        let record = match DeviceId::parse(device_id) {
            Ok(id) => shared.store.device(&id).await?,
            Err(_) => None,
        };
        let Some(record) = record else {
            let refused = refused.ok_or_else(|| DeviceError::Unknown(device_id.to_owned()))?;
            return Ok(unregistered(device_id, refused));
        };
        let online = shared.sessions.is_connected(&record.row, &record.state);
        let mut explanation = DeviceExplanation {
            device_id: device_id.to_owned(),
            registered: true,
            online,
            frozen: record.row.frozen,
            firmware_version: record.state.firmware_version.clone(),
            software_version: record.state.software_version.clone(),
            sentences: Vec::new(),
            deployments: Vec::new(),
            refused_connection: refused,
        };
        let deployments = shared.store.deployments_of_device(record.row.key, DEPLOYMENTS_SHOWN).await?;
        let busy_with = deployments
            .iter()
            .find(|d| d.row.deployment.label().holds_slot())
            .map(|d| (d.row.key, d.campaign_id.clone()));
        for deployment in deployments {
            let busy =
                busy_with.as_ref().filter(|(key, _)| *key != deployment.row.key).map(|(_, id)| id.clone());
            explanation.deployments.push(self.explain_deployment(deployment, online, busy).await?);
        }
        explanation.sentences = sentences(&explanation);
        Ok(explanation)
    }

    async fn explain_deployment(
        &self,
        record: DeploymentRecord,
        reachable: bool,
        busy_with: Option<String>,
    ) -> Result<DeploymentExplanation, DeviceError> {
        let shared = &self.shared;
        let found = shared.store.campaign_by_key(record.row.campaign).await?;
        let (campaign, counts) = found.ok_or_else(|| {
            DeviceError::Store(StoreError::Missing { what: "campaign", id: record.campaign_id.clone() })
        })?;
        let facts: Vec<_> = campaign.packages.iter().map(|package| facts_of(package)).collect();
        let campaign_facts = CampaignFacts {
            state: campaign.state,
            started: campaign.started,
            start_at: campaign.start_at,
            policy: &campaign.policy,
            slots_held: counts.slots_held(),
            packages_ready: are_ready(&campaign),
        };
        let deployment = &record.row.deployment;
        let candidate = Candidate { device: (), state: &deployment.state, reachable, busy_with };
        let held_back = plan(&campaign_facts, &[candidate]).held_back.pop().map(|(_, why)| why);
        let wall = |at: ServiceTime| {
            let wait = i64::try_from(shared.service.wait_until(at).as_millis()).unwrap_or(i64::MAX);
            WallTime(shared.clock.wall().0.saturating_add(wait))
        };
        let looked_at_again = deployment.wake_at().map(wall);
        let has_begun =
            !matches!(deployment.state, State::Queued | State::Released { .. } | State::Waiting { .. });
        let view = DeploymentView::of(record, &campaign.packages, &facts, &shared.downloads);
        Ok(DeploymentExplanation {
            campaign_id: campaign.campaign_id.clone(),
            campaign_name: campaign.name.clone(),
            campaign_state: campaign.state.name(),
            deployment_id: view.deployment_id,
            state: view.state,
            outcome: view.outcome,
            held_back: held_back.filter(|_| !has_begun).map(|why| shown(&why, &campaign.packages)),
            looked_at_again,
            download: view.download,
            unfetched_success: view.unfetched_success,
            explanation: view.explanation,
        })
    }
}

fn unregistered(device_id: &str, refused: RefusedConnection) -> DeviceExplanation {
    DeviceExplanation {
        device_id: device_id.to_owned(),
        registered: false,
        online: false,
        frozen: false,
        firmware_version: None,
        software_version: None,
        sentences: vec![
            format!("{device_id} is not registered, but something tries to connect under this name."),
            refused.message.clone(),
        ],
        deployments: Vec::new(),
        refused_connection: Some(refused),
    }
}

/// The answer, the most important first.
fn sentences(found: &DeviceExplanation) -> Vec<String> {
    let mut sentences = Vec::new();
    if found.frozen {
        sentences.push(
            "The device is frozen and may not connect; unfreeze it with PATCH {\"frozen\": false}.".into(),
        );
    }
    if let Some(refused) = &found.refused_connection {
        sentences.push(format!("It was refused {} times: {}.", refused.times, refused.message));
    }
    if !found.online {
        sentences.push("The device is not connected.".into());
    }
    let unfinished = found.deployments.iter().filter(|d| d.outcome.is_none());
    for deployment in unfinished {
        let why = deployment.held_back.as_ref().map_or(&deployment.explanation, |held| &held.explanation);
        sentences.push(format!("Campaign \u{201c}{}\u{201d}: {why}", deployment.campaign_name));
    }
    if let Some(last) = found.deployments.iter().find(|d| d.outcome.is_some()) {
        sentences.push(format!(
            "The last one that ended, \u{201c}{}\u{201d}: {}",
            last.campaign_name, last.explanation
        ));
    }
    if found.deployments.is_empty() {
        sentences.push("No campaign has ever been for this device.".into());
    }
    sentences
}

fn shown(why: &HeldBack, packages: &[Arc<PackageRow>]) -> HeldBackShown {
    let (reason, with, explanation) = match why {
        HeldBack::NotStarted => ("not_started", None, "The campaign was not started.".to_owned()),
        HeldBack::Scheduled { .. } => {
            ("scheduled", None, "The campaign starts by itself later; `start_at` says when.".to_owned())
        }
        HeldBack::Paused => ("paused", None, "The campaign is paused.".to_owned()),
        HeldBack::Unconfirmed => (
            "unconfirmed",
            None,
            "The campaign has started, and each of its devices waits until it is confirmed; this one was not.".to_owned(),
        ),
        HeldBack::WaveNotOpen => {
            ("wave_not_open", None, "The wave that has the device is not open yet.".to_owned())
        }
        HeldBack::CountingChildren => (
            "counting_children",
            None,
            "The campaign is being prepared; gateways are to be told how many of their children it has, which is known at \
             its end."
                .to_owned(),
        ),
        HeldBack::Offline { .. } => {
            ("offline", None, "May go; waiting for the device to come online.".to_owned())
        }
        HeldBack::Busy { with } => (
            "busy",
            Some(with.clone()),
            format!("Another campaign, {with}, is working on the device; waiting for its end."),
        ),
        HeldBack::TooManyAtOnce { limit } => (
            "too_many_at_once",
            None,
            format!(
                "{limit} devices are at work, as many as the campaign allows at once; waiting for one to end."
            ),
        ),
        HeldBack::PackageNotReady => {
            let why = why_not_ready(packages);
            ("package_not_ready", None, why.unwrap_or_else(|| "The package's bytes are not ready.".to_owned()))
        }
        HeldBack::AwaitingRetry { .. } => {
            ("awaiting_retry", None, "It failed and will be tried again.".to_owned())
        }
        HeldBack::NothingToStart => ("nothing_to_start", None, "Nothing is to be started.".to_owned()),
    };
    let start_at = match why {
        HeldBack::Scheduled { start_at } => Some(*start_at),
        HeldBack::NotStarted
        | HeldBack::Paused
        | HeldBack::Unconfirmed
        | HeldBack::WaveNotOpen
        | HeldBack::CountingChildren
        | HeldBack::Offline { .. }
        | HeldBack::Busy { .. }
        | HeldBack::TooManyAtOnce { .. }
        | HeldBack::PackageNotReady
        | HeldBack::AwaitingRetry { .. }
        | HeldBack::NothingToStart => None,
    };
    HeldBackShown { reason, with, start_at, explanation }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_sentence() {
        let until = ServiceTime(0);
        for why in [
            HeldBack::NotStarted,
            HeldBack::Scheduled { start_at: WallTime(7) },
            HeldBack::Paused,
            HeldBack::Unconfirmed,
            HeldBack::WaveNotOpen,
            HeldBack::CountingChildren,
            HeldBack::Offline { until },
            HeldBack::Busy { with: "01a0".into() },
            HeldBack::TooManyAtOnce { limit: 3 },
            HeldBack::PackageNotReady,
            HeldBack::AwaitingRetry { until },
            HeldBack::NothingToStart,
        ] {
            let shown = shown(&why, &[]);
            assert!(shown.explanation.ends_with('.'), "{why:?}");
            let name = serde_json::to_value(&why).unwrap()["reason"].as_str().unwrap().to_owned();
            assert_eq!(shown.reason, name, "the API's word is core's word");
        }
    }
}
