//! What the store hands out and takes: plain values in the words of the domain.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use otaru_core::campaign::{Act, CampaignState, Policy, Selection};
use otaru_core::deployment::{Deployment, Label};
use otaru_core::{Epoch, Fingerprint, ServiceTime, WallTime};
use otaru_proto::DeviceId;
use serde::{Deserialize, Serialize};

use crate::error::StoreError;

mod access;
mod logs;
mod modules;
mod packages;
mod pushes;
mod search;
mod spaces;

pub use access::*;
pub use logs::*;
pub use modules::*;
pub use packages::*;
pub use pushes::*;
pub use search::*;
pub use spaces::*;

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);
    )*};
}

keys! {
    /// A tenant, inside the store.
    ProjectKey;
    /// A product, inside the store.
    ProductKey;
    /// A device, inside the store. Never given to another device.
    DeviceKey;
    /// A package, inside the store.
    PackageKey;
    /// A campaign, inside the store.
    CampaignKey;
    /// A deployment, inside the store. Grows with time.
    DeploymentKey;
    /// A report's place in the history of all devices. Grows with time.
    ReportSeq;
    /// A line's place in the outbox.
    OutboxSeq;
    /// What an operator asked to be done to many deployments, inside the store.
    ActionKey;
    /// A group of devices, inside the store. Never given to another group.
    GroupKey;
    /// An OTA module, inside the store.
    ModuleKey;
    /// A resource space, inside the store.
    SpaceKey;
    /// A rule by which applications are told, inside the store.
    PushRuleKey;
    /// Where to a rule tells, inside the store.
    PushActionKey;
}

/// What is noted of the master key that sealed a store's secrets: made from it, and useless for opening anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyMark(pub [u8; 32]);

/// Seals again what was sealed for a context.
pub(crate) type Reseal = dyn FnMut(&str, &[u8]) -> Result<Vec<u8>, StoreError> + Send;

/// Who asks for a change; recorded with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// For people: a token's name, `platform`, or a command.
    pub name: String,
    /// The tenant whose rows are meant.
    pub project: ProjectKey,
}

/// A page of a list: what comes after `after`, at most `limit` entries. Keys grow; lists are oldest first
/// unless an operation says otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Page<K> {
    /// The key of the last entry already seen.
    pub after: Option<K>,
    /// At most this many.
    pub limit: u32,
}

/// A page of a list that has the newest first.
#[derive(Clone, Copy, Debug)]
pub struct Newest<K> {
    /// Only what is older than this.
    pub before: Option<K>,
    /// So many are left out.
    pub skip: u32,
    /// At most this many.
    pub limit: u32,
}

/// What members of the application API belong to, with its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Thing {
    /// A product.
    Product(ProductKey),
    /// A device.
    Device(DeviceKey),
    /// A group of devices.
    Group(GroupKey),
    /// A package.
    Package(PackageKey),
    /// A campaign.
    Campaign(CampaignKey),
}

impl Thing {
    /// The word and the number that it is stored under.
    pub(crate) const fn parts(self) -> (&'static str, i64) {
        match self {
            Thing::Product(key) => ("product", key.0),
            Thing::Device(key) => ("device", key.0),
            Thing::Group(key) => ("group", key.0),
            Thing::Package(key) => ("package", key.0),
            Thing::Campaign(key) => ("campaign", key.0),
        }
    }
}

/// What the store knew when it was opened.
#[derive(Clone, Debug)]
pub struct Boot {
    /// Counts the openings of this store, from 1. Session epochs of this run begin with it.
    pub number: i64,
    /// The service time of the last heartbeat; 0 for a new store.
    pub service_time: ServiceTime,
    /// The wall time of the last heartbeat; `None` for a new store.
    pub last_seen: Option<WallTime>,
    /// The default tenant, made at the first opening.
    pub project: ProjectRow,
}

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectRow {
    /// Inside the store.
    pub key: ProjectKey,
    /// 24 lower-case hex digits.
    pub project_id: String,
}

/// A product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProductRow {
    /// Inside the store.
    pub key: ProductKey,
    /// Given by the caller, or 24 lower-case hex digits. Unique per server.
    pub product_id: String,
    /// For people.
    pub name: String,
    /// The resource space that it is in; `None`: the default one. It stays there.
    pub space: Option<SpaceKey>,
    /// When it was made.
    pub created_at: WallTime,
}

/// What a device proves itself with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// A password made from its secret.
    #[default]
    Secret,
    /// The key of its certificate.
    X509,
}

impl Auth {
    /// Stable; stored and shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Auth::Secret => "secret",
            Auth::X509 => "x509",
        }
    }
}

/// A device as registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRow {
    /// Inside the store.
    pub key: DeviceKey,
    /// Unique per server.
    pub device_id: DeviceId,
    /// The maker's own number, unique within the product.
    pub node_id: String,
    /// Which product it is an instance of.
    pub product: ProductKey,
    /// The same, by public id.
    pub product_id: String,
    /// The device through which it is reached, for a child.
    pub gateway: Option<DeviceKey>,
    /// For people.
    pub name: Option<String>,
    /// For choosing devices.
    pub tags: BTreeMap<String, String>,
    /// What it proves itself with.
    pub auth: Auth,
    /// Its secret, sealed by the vault; `None` for one with a certificate, and for a child that never connects by
    /// itself.
    pub sealed_secret: Option<Vec<u8>>,
    /// Of its certificate; `None` for one with a secret, and for one whose certificate is judged by its issuer.
    pub fingerprint: Option<Fingerprint>,
    /// It may not connect.
    pub frozen: bool,
    /// When it was registered.
    pub created_at: WallTime,
    /// For a child: its gateway's topology version when it came.
    pub joined: Option<i64>,
}

/// What changes about a device while it lives. One narrow row per device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceState {
    /// As last reported.
    pub firmware_version: Option<String>,
    /// As last reported.
    pub software_version: Option<String>,
    /// The last of its reports; the others hang on it by `previous`.
    pub last_report: Option<ReportSeq>,
    /// When that was received.
    pub last_report_at: Option<WallTime>,
    /// Its latest session.
    pub epoch: Option<Epoch>,
    /// When that session began.
    pub connected_at: Option<WallTime>,
    /// When its first session began.
    pub first_connected_at: Option<WallTime>,
    /// Of its deployments that chose a package, the one that finished last: late truth belongs to it.
    pub last_finished: Option<DeploymentKey>,
    /// For a child, what was last heard of it: it is there, or not. `None`: nothing yet, and it counts as there.
    pub there: Option<bool>,
}

/// A child that moved from one gateway to another.
#[derive(Clone, Debug, PartialEq)]
pub struct Moved {
    /// As it is now.
    pub record: DeviceRecord,
    /// The gateway that it left, and its topology version since; `None`: it was there already.
    pub left: Option<(DeviceKey, i64)>,
    /// The gateway that it came to, likewise.
    pub joined: Option<(DeviceKey, i64)>,
}

/// A device that a gateway asks to have registered as its child.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Registering {
    /// The id it would get.
    pub device_id: DeviceId,
    /// The maker's own number.
    pub node_id: String,
    /// Which product, by public id.
    pub product_id: String,
}

/// What stands in the way of registering a device, beside one with the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Registrable {
    /// Nothing.
    Free,
    /// There is no such product.
    NoProduct,
    /// Another device of the product has the node id.
    NodeTaken,
}

/// A change of who is a gateway's child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopologyChange {
    /// The gateway's topology version since.
    pub version: i64,
    /// It came, with what is known of it; otherwise it went.
    pub came: bool,
    /// Which child.
    pub child: DeviceRecord,
}

/// What changed about a gateway's children.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// The version now.
    pub version: i64,
    /// The first changes after the version that was asked for, in order.
    pub changes: Vec<TopologyChange>,
}

/// A device with what changes about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRecord {
    /// As registered.
    pub row: DeviceRow,
    /// As lived.
    pub state: DeviceState,
    /// The public id of its gateway, for a child.
    pub gateway_id: Option<DeviceId>,
}

/// A device to be registered.
#[derive(Clone, Debug)]
pub struct NewDevice {
    /// Public id, already made.
    pub device_id: DeviceId,
    /// The maker's own number.
    pub node_id: String,
    /// Which product, by public id.
    pub product_id: String,
    /// Its gateway, by public id.
    pub gateway_id: Option<DeviceId>,
    /// For people.
    pub name: Option<String>,
    /// For choosing devices.
    pub tags: BTreeMap<String, String>,
    /// What it proves itself with.
    pub auth: Auth,
    /// Sealed by the vault.
    pub sealed_secret: Option<Vec<u8>>,
    /// Of its certificate.
    pub fingerprint: Option<Fingerprint>,
}

/// What became of one device of an import.
#[derive(Debug)]
pub enum Imported {
    /// It is registered as was asked for.
    Created {
        /// Inside the store.
        key: DeviceKey,
        /// For a child: its gateway, and the gateway's topology version since it came.
        joined: Option<(DeviceKey, i64)>,
    },
    /// It was there already, with the same node id, product, gateway and kind of proof. Nothing was changed.
    Exists,
    /// What stands in its way: `Exists`, `Missing` or `ChildAsGateway`, as when it is registered by itself.
    Refused(StoreError),
}

/// What becomes of the tags of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagsChange {
    /// These, and no others.
    Replaced(BTreeMap<String, String>),
    /// These beside those that it has, in place of those with the same key; refused where it would have more than `most`.
    Added {
        /// What it gets.
        tags: BTreeMap<String, String>,
        /// How many it may have.
        most: usize,
    },
    /// Those that it has but for these keys.
    Removed(BTreeSet<String>),
}

/// What to change about a registered device; `None` leaves a member as it is.
#[derive(Clone, Debug, Default)]
pub struct DevicePatch {
    /// A name, or none.
    pub name: Option<Option<String>>,
    /// What becomes of its tags.
    pub tags: Option<TagsChange>,
    /// A JSON object of what applications say about it, each member in place of the one with the same name.
    pub members: Option<String>,
    /// Whether it is refused.
    pub frozen: Option<bool>,
    /// A new sealed secret.
    pub sealed_secret: Option<Vec<u8>>,
    /// The fingerprint of another certificate, or none.
    pub fingerprint: Option<Option<Fingerprint>>,
}

/// Which devices of a list are wanted; everything given must hold.
#[derive(Clone, Debug, Default)]
pub struct DeviceFilter {
    /// Only of this product, by public id.
    pub product_id: Option<String>,
    /// Only with all of these tags.
    pub tags: BTreeMap<String, String>,
    /// Only children of this gateway.
    pub gateway_id: Option<DeviceId>,
    /// Only members of this group.
    pub group_id: Option<String>,
}

/// A group of devices to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewGroup {
    /// Unique on this server.
    pub group_id: String,
    /// For people; unique within the project.
    pub name: String,
    /// For people; may be empty.
    pub description: String,
}

/// A group of devices as remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRow {
    /// Inside the store.
    pub key: GroupKey,
    /// Unique on this server.
    pub group_id: String,
    /// For people; unique within the project.
    pub name: String,
    /// For people; may be empty.
    pub description: String,
    /// How many devices are in it.
    pub members: u64,
    /// The resource space that it is in; `None`: the default one. It stays there.
    pub space: Option<SpaceKey>,
    /// When it was made.
    pub created_at: WallTime,
}

/// What is to be changed about a group; `None` leaves it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupPatch {
    /// The new name.
    pub name: Option<String>,
    /// The new description.
    pub description: Option<String>,
}

/// What deciding about a connection needs: who it is, what proves it, and through whom it is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectFacts {
    /// Inside the store.
    pub key: DeviceKey,
    /// Which product it is an instance of, by public id.
    pub product_id: String,
    /// What it proves itself with.
    pub auth: Auth,
    /// Its secret, sealed by the vault; `None` for one with a certificate, and for a child that never connects by
    /// itself.
    pub sealed_secret: Option<Vec<u8>>,
    /// Of its certificate, if that is known.
    pub fingerprint: Option<Fingerprint>,
    /// It may not connect.
    pub frozen: bool,
    /// It has registered children.
    pub is_gateway: bool,
    /// The device through which it is reached, for a child.
    pub gateway: Option<DeviceKey>,
}

impl std::fmt::Debug for ConnectFacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectFacts")
            .field("key", &self.key)
            .field("product_id", &self.product_id)
            .field("auth", &self.auth)
            .field("fingerprint", &self.fingerprint)
            .field("frozen", &self.frozen)
            .field("is_gateway", &self.is_gateway)
            .field("gateway", &self.gateway)
            .finish_non_exhaustive()
    }
}

/// A device that a list of ids names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownDevice {
    /// Inside the store.
    pub key: DeviceKey,
    /// Which product it is an instance of, by public id.
    pub product_id: String,
}

/// Which devices a campaign is for. Stored with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Targets {
    /// These, in this order.
    Devices(Vec<DeviceKey>),
    /// All of the campaign's product.
    Product,
    /// Those of the campaign's product with all of these tags.
    Tags(BTreeMap<String, String>),
    /// Those of the campaign's product that are in one of these groups while its deployments are made.
    Groups(Vec<GroupKey>),
}

/// A campaign as remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CampaignRow {
    /// Inside the store.
    pub key: CampaignKey,
    /// 24 lower-case hex digits.
    pub campaign_id: String,
    /// For people.
    pub name: String,
    /// Where it is.
    pub state: CampaignState,
    /// It was told to start; `state` may still be `Preparing`.
    pub started: bool,
    /// All its deployments are made; `total` is final.
    pub filled: bool,
    /// The product of its packages, by public id.
    pub product_id: String,
    /// Its packages, in the order in which the operator gave them.
    pub packages: Vec<Arc<PackageRow>>,
    /// Its rules.
    pub policy: Policy,
    /// Which devices. A list of them is empty where the campaign was read: it may be long, and a page of campaigns would
    /// hold many.
    pub targets: Targets,
    /// Passed on to devices with every word about the campaign: the text of a JSON object.
    pub ext_info: Option<String>,
    /// When it was made.
    pub created_at: WallTime,
    /// When it starts by itself, or did.
    pub start_at: Option<WallTime>,
    /// When it was started.
    pub started_at: Option<WallTime>,
    /// When it ended.
    pub finished_at: Option<WallTime>,
    /// Who made it.
    pub created_by: String,
}

/// A campaign to be made, in state `Preparing`.
#[derive(Clone, Debug)]
pub struct NewCampaign {
    /// Already made.
    pub campaign_id: String,
    /// For people.
    pub name: String,
    /// Starts as soon as its first devices are prepared.
    pub started: bool,
    /// Starts by itself then.
    pub start_at: Option<WallTime>,
    /// The product of its packages, by public id.
    pub product_id: String,
    /// In order.
    pub packages: Vec<PackageKey>,
    /// Its rules.
    pub policy: Policy,
    /// Which devices.
    pub targets: Targets,
    /// Passed on to devices with every word about the campaign: the text of a JSON object.
    pub ext_info: Option<String>,
}

/// What one step of preparing a campaign did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filled {
    /// The devices that have a deployment since, preferred ones first.
    pub added: Vec<DeviceKey>,
    /// Nothing is left to add: the campaign is `filled` and its total final.
    pub done: bool,
}

/// What one step of releasing a campaign's queued deployments did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// The devices whose deployment may go since, oldest deployment first.
    pub moved: Vec<DeviceKey>,
    /// None is queued any more.
    pub done: bool,
}

/// What an operator asked to be done to deployments of a campaign, and is not done yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionRow {
    /// Inside the store. Grows with time.
    pub key: ActionKey,
    /// Of which campaign.
    pub campaign: CampaignKey,
    /// What.
    pub act: Act,
    /// To which deployments.
    pub selection: Selection,
    /// The last deployment that there was when it was asked: what was made later is not meant.
    pub until: DeploymentKey,
    /// The last deployment that was looked at.
    pub position: Option<DeploymentKey>,
    /// Who asked for it.
    pub actor: String,
    /// When.
    pub created_at: WallTime,
}

/// What became of an operator's wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It is noted.
    Noted(ActionRow),
    /// The campaign is in a state in which it is not accepted; nothing was written.
    WrongState(CampaignState),
    /// So many wait already; nothing was written.
    TooMany(usize),
}

/// How many deployments of a campaign are where, of the latest run of each device. `total` is their sum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(pub BTreeMap<Label, u64>);

impl Counts {
    /// How many in this place.
    #[must_use]
    pub fn of(&self, label: Label) -> u64 {
        self.0.get(&label).copied().unwrap_or(0)
    }
    /// How many in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }
    /// How many are not finished.
    #[must_use]
    pub fn unfinished(&self) -> u64 {
        self.0.iter().filter(|(label, _)| !label.is_finished()).map(|(_, n)| n).sum()
    }
    /// How many hold a slot.
    #[must_use]
    pub fn slots_held(&self) -> u64 {
        self.0.iter().filter(|(label, _)| label.holds_slot()).map(|(_, n)| n).sum()
    }
}

/// A deployment as remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentRow {
    /// Inside the store.
    pub key: DeploymentKey,
    /// Of which campaign.
    pub campaign: CampaignKey,
    /// On which device.
    pub device: DeviceKey,
    /// An operator's retry of a finished one adds a run; from 1.
    pub run: u32,
    /// Which wave of the campaign, from 0.
    pub wave: u16,
    /// Where it is and what was heard.
    pub deployment: Deployment,
    /// When it was made.
    pub created_at: WallTime,
    /// When it last changed.
    pub updated_at: WallTime,
}

/// A deployment in a list, with the public ids around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentRecord {
    /// The deployment.
    pub row: DeploymentRow,
    /// On which device, by public id (also of a device that was deleted since).
    pub device_id: DeviceId,
    /// Of which campaign, by public id.
    pub campaign_id: String,
}

/// A deployment with its device, for a list of results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultRecord {
    /// The deployment.
    pub record: DeploymentRecord,
    /// The device's number as its maker gave it (also of a device that was deleted since).
    pub node_id: String,
}

/// Which deployments of a campaign are wanted; everything given must hold.
///
/// A list has the latest run of each device: what was run before is history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeploymentFilter {
    /// Only those counted under one of these; `None` means all.
    pub labels: Option<BTreeSet<Label>>,
    /// Only failures whose last report had one of these codes, as on the wire; in it, `None` is a failure without a
    /// report. At most [`CODES_MAX`](crate::limits::CODES_MAX).
    pub codes: Option<BTreeSet<Option<i64>>>,
}

impl DeploymentFilter {
    /// Only those counted under `label`.
    #[must_use]
    pub fn only(label: Label) -> DeploymentFilter {
        DeploymentFilter { labels: Some(BTreeSet::from([label])), codes: None }
    }
    /// Only those that are not finished.
    #[must_use]
    pub fn unfinished() -> DeploymentFilter {
        let labels = Label::ALL.into_iter().filter(|label| !label.is_finished()).collect();
        DeploymentFilter { labels: Some(labels), codes: None }
    }
    /// Those whose `state` word in the API is `state`: one label, or every outcome for `finished`. `None` when
    /// there is no such word.
    #[must_use]
    pub fn in_state(state: &str) -> Option<DeploymentFilter> {
        let labels: BTreeSet<Label> =
            Label::ALL.into_iter().filter(|label| label.state_name() == state).collect();
        if labels.is_empty() {
            None
        } else {
            Some(DeploymentFilter { labels: Some(labels), ..DeploymentFilter::default() })
        }
    }
    /// Whether deployments counted under `label` are wanted, as far as the label decides.
    #[must_use]
    pub fn takes(&self, label: Label) -> bool {
        self.labels.as_ref().is_none_or(|labels| labels.contains(&label))
            && (self.codes.is_none() || label.is_failure())
    }
    /// Every label that it takes.
    pub fn taken(&self) -> impl Iterator<Item = Label> {
        Label::ALL.into_iter().filter(|label| self.takes(*label))
    }
}

/// Failures of a campaign that ended in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failures {
    /// How: one of the outcomes that are failures.
    pub label: Label,
    /// With which code in the last report, as on the wire; `None` without a report.
    pub code: Option<i64>,
    /// How many. Of the latest run of each device.
    pub n: u64,
    /// Some of them, the last made first.
    pub examples: Vec<DeploymentRecord>,
}

/// Which campaigns are wanted; everything given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CampaignFilter {
    /// Only those in one of these; `None` means all.
    pub states: Option<BTreeSet<CampaignState>>,
    /// Only of this product, by public id.
    pub product_id: Option<String>,
    /// Only those with this in their name; the letters A to Z are taken for a to z.
    pub name_part: Option<String>,
}

/// How many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// So many.
    pub n: u64,
    /// Counting stopped there: there may be more.
    pub is_capped: bool,
}

/// A page of the reports that belonged to a campaign, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CampaignReports {
    /// Those found.
    pub reports: Vec<ReportRecord>,
    /// Where to go on, unless there are none before: there may be, but were not looked at.
    pub before: Option<ReportSeq>,
}

/// What grows with time and is forgotten by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aging {
    /// What devices reported, word for word.
    Reports,
    /// Lines of devices' logs.
    DeviceLogs,
    /// Who did what.
    Audit,
    /// What was kept aside.
    Quarantine,
}

impl Aging {
    /// All of them.
    pub const ALL: [Aging; 4] = [Aging::Reports, Aging::DeviceLogs, Aging::Audit, Aging::Quarantine];
}

/// What a step of forgetting came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// So many rows are gone.
    pub rows: u32,
    /// Where to go on; `None`: what follows is younger.
    pub next: Option<i64>,
}

/// A report in a device's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportRecord {
    /// Its place in the history.
    pub seq: ReportSeq,
    /// When it was received.
    pub received_at: WallTime,
    /// As received.
    pub payload: Vec<u8>,
    /// What we made of it, a JSON object.
    pub reading: String,
    /// Of which campaign, if it belonged to one.
    pub campaign_id: Option<String>,
}
