//! The batch: load what is concerned, decide, write everything that follows, in one transaction.
//!
//! The deciding part is a pure closure that the caller passes in, so that it runs on whatever thread or
//! connection holds the transaction. It may be run again from the start if the engine of the store has to
//! retry; it must not do anything but return.

use std::collections::BTreeMap;
use std::sync::Arc;

use otaru_core::deployment::Deployment;
use otaru_core::{Epoch, ServiceTime, WallTime};
use otaru_proto::DeviceId;

use crate::rows::{
    ActionKey, CampaignKey, CampaignRow, Counts, DeploymentFilter, DeploymentKey, DeploymentRow, DeviceKey,
    DeviceRow, DeviceState, LogRow, NewDevice, Page, PropertyRow, Registering, Registrable,
};

/// What a batch is about. Everything asked for is loaded before the decision; what does not exist is absent.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// These devices.
    pub devices: Vec<DeviceKey>,
    /// These, by public id: the children that gateways spoke for.
    pub device_ids: Vec<DeviceId>,
    /// And whether these could be registered.
    pub registering: Vec<Registering>,
    /// And the devices whose deployments have a deadline at or before this time, at most so many deployments,
    /// earliest first.
    pub due: Option<(ServiceTime, u32)>,
    /// And these deployments of a campaign, with their devices.
    pub latest: Option<Latest>,
}

/// The latest runs of a campaign on some of its devices.
#[derive(Clone, Debug)]
pub struct Latest {
    /// Which campaign.
    pub campaign: CampaignKey,
    /// On which devices.
    pub which: Which,
}

/// Which deployments of a campaign.
#[derive(Clone, Debug)]
pub enum Which {
    /// Those of these devices.
    Devices(Vec<DeviceKey>),
    /// A page of those that `filter` takes, up to `until`, by key.
    Page {
        /// Which of them.
        filter: DeploymentFilter,
        /// Where it begins, and how long it is at most.
        page: Page<DeploymentKey>,
        /// The last one that is meant, if not all are.
        until: Option<DeploymentKey>,
    },
}

/// What the decision sees.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Every device asked for, by any of the ways.
    pub devices: BTreeMap<DeviceKey, DeviceView>,
    /// The devices that were asked for by public id.
    pub by_id: BTreeMap<DeviceId, DeviceKey>,
    /// The campaigns of every deployment in `devices`, and the one asked for by `Wanted::latest`.
    pub campaigns: BTreeMap<CampaignKey, (Arc<CampaignRow>, Counts)>,
    /// What stands in the way of each registration that was asked about, beside a device in `by_id`.
    pub registrable: BTreeMap<Registering, Registrable>,
    /// How many children of a gateway are in a campaign, for the children in `devices` and those of their campaigns
    /// that count them.
    pub siblings: BTreeMap<(CampaignKey, DeviceKey), u32>,
    /// The deployments that are due, as asked for by `Wanted::due`.
    pub due: Vec<DeploymentKey>,
    /// The deployments asked for by `Wanted::latest`, by key; also those of devices that were deleted.
    pub latest: Vec<DeploymentRow>,
}

/// One device with its work.
#[derive(Clone, Debug)]
pub struct DeviceView {
    /// As registered. A deleted device is not loaded.
    pub row: Arc<DeviceRow>,
    /// As lived.
    pub state: DeviceState,
    /// Its unfinished deployments, oldest first.
    pub unfinished: Vec<DeploymentRow>,
    /// The one that finished last, if `state.last_finished` names one.
    pub last_finished: Option<DeploymentRow>,
    /// How many registered children it has.
    pub children: u64,
    /// How often a child of it came or went: its topology version.
    pub topology: u64,
}

/// Everything that follows from a batch. Written whole or not at all, in this order; among the deployments, those
/// that leave their device free come first.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// The new narrow rows, each device once. `last_report`, `last_report_at` and `last_finished` are the store's
    /// own: it sets them from `reports` and `deployments`, and what is given here for them is ignored.
    pub devices: Vec<(DeviceKey, DeviceState)>,
    /// Deployments as they are now, each once. The store compares with what is stored and moves the counters.
    /// A deployment that becomes finished here, and has a package, becomes its device's `last_finished`.
    pub deployments: Vec<DeploymentRow>,
    /// Further runs, each of another deployment. The store gives them keys, the batch's time, and the next run of the
    /// campaign on the device; the counters then count them in place of the runs before.
    pub runs: Vec<FurtherRun>,
    /// Reports, in the order in which they were received. They may concern devices not in `devices`.
    pub reports: Vec<NewReport>,
    /// What is now to be said. Lines are not checked: one for a device that is gone is never drained.
    pub outbox: Vec<OutboxLine>,
    /// Lines of the outbox that were said, or need not be said any more.
    pub said: Vec<crate::rows::OutboxSeq>,
    /// Drop every line for sessions of these devices before these epochs.
    pub silenced: Vec<(DeviceKey, Epoch)>,
    /// Events that could not be processed, kept aside.
    pub quarantined: Vec<QuarantinedEvent>,
    /// Who did what: actor, action, subject.
    pub audit: Vec<(String, String, String)>,
    /// Devices to be registered, each with who asked for it. They must be free, as `Loaded::registrable` says.
    pub registered: Vec<(String, NewDevice)>,
    /// Devices to be taken out, each with who asked for it; their deployments must be finished after this batch.
    pub deleted: Vec<(String, DeviceId)>,
    /// Campaigns that have ended: each becomes `Finished`, unless it has ended already. Their counters are not
    /// looked at.
    pub ended: Vec<CampaignKey>,
    /// Campaigns that go on: each that is `Finished` becomes `Running` and has no end any more, before `ended` is
    /// looked at; others stay as they are.
    pub reopened: Vec<CampaignKey>,
    /// How far an operator's action has come. One that is not there any more stays away.
    pub action: Option<(ActionKey, Progress)>,
    /// What devices said beside upgrades. Those of devices that are gone are left out.
    pub notes: Vec<Note>,
}

/// A further run of a campaign on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FurtherRun {
    /// The latest run so far, which is finished and stays as it is. Its device is registered.
    pub previous: DeploymentKey,
    /// How the new one begins: queued or released.
    pub deployment: Deployment,
}

/// How far an operator's action has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Everything up to this deployment was looked at.
    UpTo(DeploymentKey),
    /// Nothing is left to do.
    Done,
}

/// Something a device said beside upgrades.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Which SDK it runs.
    Sdk {
        /// Whose.
        device: DeviceKey,
        /// As sent.
        sdk_version: String,
    },
    /// The properties of one service; of several in a batch, the last counts.
    Property {
        /// Whose.
        device: DeviceKey,
        /// What is kept.
        row: PropertyRow,
    },
    /// A line of its log.
    Log {
        /// Whose.
        device: DeviceKey,
        /// What is kept.
        row: LogRow,
    },
}

impl Note {
    pub(crate) fn device(&self) -> DeviceKey {
        match self {
            Note::Sdk { device, .. } | Note::Property { device, .. } | Note::Log { device, .. } => *device,
        }
    }
}

/// A report to be kept.
#[derive(Clone, Debug)]
pub struct NewReport {
    /// Whose history it belongs to.
    pub device: DeviceKey,
    /// Which deployment it was about, if any.
    pub deployment: Option<DeploymentKey>,
    /// When it was received.
    pub received_at: WallTime,
    /// As received.
    pub payload: bytes::Bytes,
    /// What we made of it, a JSON object.
    pub reading: String,
}

/// Something to be said to a device in one session, and only in that one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxLine {
    /// Whom it is for.
    pub device: DeviceKey,
    /// Whose session carries it: the device's own, or its gateway's.
    pub via: DeviceKey,
    /// Which session.
    pub epoch: Epoch,
    /// For which deployment.
    pub deployment: DeploymentKey,
    /// What.
    pub say: Say,
}

/// What can be said to a device. Addresses and tokens are made when it is said; nothing secret is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Say {
    /// Which version do you run?
    AskVersion,
    /// Upgrade; with the attempt that the download token is bound to.
    Notice {
        /// Which of the campaign's packages.
        package: u8,
        /// The attempt.
        attempt: u32,
    },
}

/// An event that could not be processed: its transaction failed or its decision panicked, alone.
#[derive(Clone, Debug)]
pub struct QuarantinedEvent {
    /// Whose.
    pub device: Option<DeviceKey>,
    /// When.
    pub at: WallTime,
    /// As received, or a description.
    pub payload: bytes::Bytes,
    /// What went wrong.
    pub error: String,
}

/// The pure part of a batch, and whatever the caller wants back from it.
pub type Decide<R> = Box<dyn FnOnce(Loaded) -> (Changes, R) + Send>;

/// What a committed batch gives back.
#[derive(Debug)]
pub struct Committed<R> {
    /// What the decision returned beside its changes.
    pub answer: R,
    /// The lines that were added to the outbox, in order, with their places.
    pub outbox: Vec<(crate::rows::OutboxSeq, OutboxLine)>,
    /// The further runs that were made, in order.
    pub runs: Vec<DeploymentKey>,
    /// The earliest deadline of any deployment, after this batch.
    pub next_wake: Option<ServiceTime>,
}
