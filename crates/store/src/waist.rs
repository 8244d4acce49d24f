//! The waist: everything the rest of the program can ask of what is remembered.
//!
//! Always true:
//! - When a writing operation answers `Ok`, what it wrote survives `kill -9` and the loss of power (SQLite), and
//!   every operation that begins afterwards sees it.
//! - When it answers an error, it wrote nothing. One exception: what was refused with `Unavailable` because the
//!   disk failed in the middle of a commit may turn out to be there after a crash that follows at once.
//! - Dropping the future of an operation that has begun does not undo it: it may still be carried out.
//! - The store has no clock: `now` is the caller's.
//! - A change that an operator asked for and the line in the audit log that names the actor are one transaction.
//!
//! Any operation may answer `Unavailable` (try again later) or `Corrupt` (what is stored cannot be understood);
//! `# Errors` lists what else. *Retry* says what happens when a caller that did not hear the answer asks again.
//!
//! Not here: what any of it means (`otaru-core`), and who may do it (`otaru-engine`).

use std::path::Path;

use otaru_core::campaign::{Act, CampaignState, Selection};
use otaru_core::deployment::Deployment;
use otaru_core::{ServiceTime, WallTime};
use otaru_proto::DeviceId;

use crate::error::StoreError;
use crate::memory::{Faults, MemoryStore};
use crate::rows::*;
use crate::sqlite::{SqliteOptions, SqliteStore};
use crate::transact::{Changes, Committed, Loaded, OutboxLine, Wanted};

/// What is remembered. Cheap to clone; all clones are the same store.
///
/// Dropping the last clone finishes what was asked for and closes the store. That may take as long as a
/// checkpoint, and it gives the data directory free for another process.
#[derive(Clone, Debug)]
pub enum Store {
    /// One file, one writer.
    Sqlite(SqliteStore),
    /// Gone when the process is; for tests and simulations.
    Memory(MemoryStore),
}

/// Asks whichever member it is to write: `small` writes share a commit, `large` ones have their own.
macro_rules! write {
    ($store:expr, $weight:ident, |$tables:ident| $work:expr) => {
        match $store {
            Store::Sqlite(sqlite) => sqlite.write(crate::sqlite::Weight::$weight, move |$tables| $work).await,
            Store::Memory(memory) => memory.write(crate::sqlite::Weight::$weight, move |$tables| $work).await,
        }
    };
}

/// Asks whichever member it is to read, from one consistent view.
macro_rules! read {
    ($store:expr, |$tables:ident| $work:expr) => {
        match $store {
            Store::Sqlite(sqlite) => sqlite.read(move |$tables| $work).await,
            Store::Memory(memory) => memory.read(move |$tables| $work),
        }
    };
}

mod applications;
mod groups;
mod keys;
mod modules;
mod pushes;
mod spaces;

/// Opening, and the store as a whole.
impl Store {
    /// Opens the store in `dir`, making both at first: `dir` with mode 0700, `dir/otaru.db` and its write-ahead
    /// log, `dir/otaru.lock`. An older schema is brought up to date before this returns, and before that the store is
    /// copied to `dir/otaru.db.before-NNNN`, with the version that its schema gets.
    ///
    /// # Errors
    ///
    /// - `Locked`: another process has it open.
    /// - `TooNew`: a newer release made it.
    /// - `Unavailable`: the directory or the file cannot be used, there is no room for the copy, or a restore was
    ///   interrupted; says which and why.
    pub async fn open_sqlite(dir: &Path, options: SqliteOptions) -> Result<Store, StoreError> {
        SqliteStore::open(dir, options).await.map(Store::Sqlite)
    }

    /// An empty store that is gone when its last clone is.
    #[must_use]
    pub fn memory() -> Store {
        Store::memory_with_faults().0
    }

    /// An empty store in memory, and the means to make it wait or fail.
    #[must_use]
    pub fn memory_with_faults() -> (Store, Faults) {
        let (memory, faults) = MemoryStore::new();
        (Store::Memory(memory), faults)
    }

    /// Begins a run: counts it, makes the default project if this is the first, and drops the outbox lines of
    /// earlier runs, whose sessions are gone. Call once after opening, before anything else.
    ///
    /// *Retry*: counts once more, which is harmless.
    pub async fn boot(&self, now: WallTime) -> Result<Boot, StoreError> {
        write!(self, Small, |t| t.boot(now))
    }

    /// Notes how far the service time has come and what the wall clock shows. What was noted last is what the
    /// next [`boot`](Store::boot) hands out.
    ///
    /// *Retry*: safe.
    pub async fn heartbeat(&self, service: ServiceTime, wall: WallTime) -> Result<(), StoreError> {
        write!(self, Small, |t| t.heartbeat(service, wall))
    }

    /// The batch: loads what is `wanted`, lets `decide` say what follows, and writes that, in one transaction.
    ///
    /// `decide` is pure and does not wait: it runs on the one thread that writes, and nothing else is written
    /// meanwhile. What it sees is the latest state; there are no conflicts. Campaigns that end get `now` as
    /// their end, audit lines as their time. The order of [`Changes`] within one batch does not matter for
    /// deployments: one that gives a device free is written before the one that takes it.
    ///
    /// *Retry*: the batch is either written or not; a caller that does not know (its future was dropped) must
    /// let `decide` find out from what it loads.
    ///
    /// # Errors
    ///
    /// - `Constraint`: a row broke a rule: an unknown or deleted device; an unknown deployment, or one whose
    ///   campaign, device or run differs from what is stored; one that was finished and would be something else;
    ///   a second deployment at work on one device; a row named twice; a further run of one that is not finished, or
    ///   has one already.
    /// - `DecisionPanicked`: `decide` did.
    pub async fn transact<R: Send + 'static>(
        &self,
        now: WallTime,
        wanted: Wanted,
        decide: impl FnOnce(Loaded) -> (Changes, R) + Send + 'static,
    ) -> Result<Committed<R>, StoreError> {
        write!(self, Large, |t| t.transact(now, &wanted, decide))
    }

    /// The earliest deadline of any deployment. Also part of every [`Committed`].
    pub async fn next_wake(&self) -> Result<Option<ServiceTime>, StoreError> {
        read!(self, |t| t.next_wake())
    }

    /// The first `limit` lines of the outbox, in order.
    pub async fn outbox(&self, limit: u32) -> Result<Vec<(OutboxSeq, OutboxLine)>, StoreError> {
        read!(self, |t| t.outbox(limit))
    }
}

/// Products.
impl Store {
    /// Makes a product in the actor's project.
    ///
    /// *Retry*: answers `Exists`.
    ///
    /// # Errors
    ///
    /// - `Exists`: the id is taken, in this project or another.
    pub async fn create_product(
        &self,
        actor: &Actor,
        product_id: &str,
        name: &str,
        now: WallTime,
    ) -> Result<ProductRow, StoreError> {
        let (actor, product_id, name) = (actor.clone(), product_id.to_owned(), name.to_owned());
        write!(self, Small, |t| t.create_product(&actor, &product_id, &name, now))
    }

    /// The product with this id.
    pub async fn product(&self, product_id: &str) -> Result<Option<ProductRow>, StoreError> {
        let product_id = product_id.to_owned();
        read!(self, |t| t.product(&product_id))
    }

    /// A page of the products, oldest first.
    pub async fn products(&self, page: Page<ProductKey>) -> Result<Vec<ProductRow>, StoreError> {
        read!(self, |t| t.products(page))
    }
}

/// Devices.
impl Store {
    /// Registers a device.
    ///
    /// *Retry*: answers `Exists` for the device id.
    ///
    /// # Errors
    ///
    /// - `Missing`: the product (of the actor's project), or the gateway.
    /// - `Exists`: `device`, the id is taken on this server; `node_id`, it is taken within the product.
    /// - `ChildAsGateway`: the gateway is itself a child.
    pub async fn create_device(
        &self,
        actor: &Actor,
        device: NewDevice,
        now: WallTime,
    ) -> Result<DeviceRecord, StoreError> {
        let actor = actor.clone();
        write!(self, Small, |t| t.create_device(&actor, &device, now))
    }

    /// The device with this id, unless it was deleted.
    pub async fn device(&self, device_id: &DeviceId) -> Result<Option<DeviceRecord>, StoreError> {
        let device_id = device_id.clone();
        read!(self, |t| t.device(&device_id))
    }

    /// The device with this key, unless it was deleted.
    pub async fn device_by_key(&self, key: DeviceKey) -> Result<Option<DeviceRecord>, StoreError> {
        read!(self, |t| t.device_by_key(key))
    }

    /// A page of the devices that `filter` takes, oldest first. A product or gateway that does not exist has
    /// none.
    pub async fn devices(
        &self,
        filter: DeviceFilter,
        page: Page<DeviceKey>,
    ) -> Result<Vec<DeviceRecord>, StoreError> {
        read!(self, |t| t.devices(&filter, page))
    }

    /// Registers devices, all in one transaction: what became of each, in the same order. One that is refused is no
    /// obstacle for the others, and a child may come after its gateway. One line in the audit log names how many were
    /// made. Meant for some hundreds at once: nothing else is written meanwhile.
    ///
    /// *Retry*: safe. What the earlier call made is `Created` again if the same seal of its secret is passed, and
    /// otherwise `Exists`.
    pub async fn import_devices(
        &self,
        actor: &Actor,
        devices: Vec<NewDevice>,
        now: WallTime,
    ) -> Result<Vec<Imported>, StoreError> {
        let actor = actor.clone();
        write!(self, Large, |t| t.import_devices(&actor, &devices, now))
    }

    /// Changes what `patch` names. A new sealed secret replaces the old one at once.
    ///
    /// *Retry*: safe; leaves a second line in the audit log.
    ///
    /// # Errors
    ///
    /// - `Missing`: the device, in the actor's project.
    /// - `Full`: it would have more tags than the patch allows.
    pub async fn patch_device(
        &self,
        actor: &Actor,
        device_id: &DeviceId,
        patch: DevicePatch,
        now: WallTime,
    ) -> Result<DeviceRecord, StoreError> {
        let (actor, device_id) = (actor.clone(), device_id.clone());
        write!(self, Small, |t| t.patch_device(&actor, &device_id, &patch, now))
    }

    /// Takes a device out: its id and node id are free again, its secret is wiped, what is to be said to it is
    /// dropped. Its history stays, and its deployments keep showing the id it had. Answers, for a child, with its
    /// gateway's topology version since.
    ///
    /// *Retry*: answers `Missing`.
    ///
    /// # Errors
    ///
    /// - `Missing`: the device, in the actor's project.
    /// - `InUse`: by an unfinished deployment or by a registered child; end those first.
    pub async fn delete_device(
        &self,
        actor: &Actor,
        device_id: &DeviceId,
        now: WallTime,
    ) -> Result<Option<i64>, StoreError> {
        let (actor, device_id) = (actor.clone(), device_id.clone());
        write!(self, Small, |t| t.delete_device(&actor, &device_id, now))
    }

    /// What deciding about a connection needs. `None` for a device that is not registered or was deleted.
    pub async fn connect_facts(&self, device_id: &DeviceId) -> Result<Option<ConnectFacts>, StoreError> {
        let device_id = device_id.clone();
        read!(self, |t| t.connect_facts(&device_id))
    }

    /// For each id, in the same order, the device it names; `None` where there is none. Meant for lists of tens
    /// of thousands.
    pub async fn keys_of(&self, device_ids: &[DeviceId]) -> Result<Vec<Option<KnownDevice>>, StoreError> {
        let device_ids = device_ids.to_vec();
        read!(self, |t| t.keys_of(&device_ids))
    }

    /// The children of `gateway` after `after` that have unfinished deployments, at most `limit`, by key.
    pub async fn children_with_work(
        &self,
        gateway: DeviceKey,
        after: Option<DeviceKey>,
        limit: u32,
    ) -> Result<Vec<DeviceKey>, StoreError> {
        read!(self, |t| t.children_with_work(gateway, after, limit))
    }

    /// What changed about the children of `gateway` after a version of its topology, in order, at most `limit` changes.
    /// A child that came and went is only gone. A version that never was counts as none.
    pub async fn topology_after(
        &self,
        gateway: DeviceKey,
        version: i64,
        limit: u32,
    ) -> Result<Topology, StoreError> {
        read!(self, |t| t.topology_after(gateway, version, limit))
    }

    /// The last `limit` reports of a device, newest first; with `before`, those that came before that one.
    ///
    /// A `before` that is not a report of this device has none before it.
    pub async fn reports(
        &self,
        device: DeviceKey,
        before: Option<ReportSeq>,
        limit: u32,
    ) -> Result<Vec<ReportRecord>, StoreError> {
        read!(self, |t| t.reports(device, before, limit))
    }

    /// The last `limit` reports of a device that belonged to a campaign, newest first; with `before`, those that came
    /// before that one.
    ///
    /// At most [`REPORTS_LOOKED_AT`](crate::limits::REPORTS_LOOKED_AT) reports of the device are looked at: there may be
    /// fewer than `limit`, or none, and more to be found by going on from `CampaignReports::before`.
    pub async fn campaign_reports(
        &self,
        campaign: CampaignKey,
        device: DeviceKey,
        before: Option<ReportSeq>,
        limit: u32,
    ) -> Result<CampaignReports, StoreError> {
        read!(self, |t| t.campaign_reports(campaign, device, before, limit))
    }
}

/// What devices say beside upgrades.
impl Store {
    /// The SDK a device says it runs.
    pub async fn sdk_version(&self, device: DeviceKey) -> Result<Option<String>, StoreError> {
        read!(self, |t| t.sdk_version(device))
    }

    /// The last properties of a device's services after `after`, at most `limit`, by service.
    pub async fn properties(
        &self,
        device: DeviceKey,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<PropertyRow>, StoreError> {
        let after = after.map(str::to_owned);
        read!(self, |t| t.properties(device, after.as_deref(), limit))
    }

    /// The last `limit` lines of a device's log, newest first, with their places; with `before`, those that came
    /// before that one.
    pub async fn log(
        &self,
        device: DeviceKey,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<(i64, LogRow)>, StoreError> {
        read!(self, |t| t.log(device, before, limit))
    }
}

/// Artifacts and packages.
impl Store {
    /// Notes that an artifact's bytes are kept. The bytes must be in place before this is called.
    ///
    /// Answers what is stored: when the artifact was known already, that is the older row. Only since when it is out of
    /// use, should it be, counts from now on.
    ///
    /// *Retry*: safe.
    pub async fn add_artifact(
        &self,
        actor: &Actor,
        artifact: ArtifactRow,
    ) -> Result<ArtifactRow, StoreError> {
        let actor = actor.clone();
        write!(self, Small, |t| t.add_artifact(&actor, &artifact))
    }

    /// The artifact with this id.
    pub async fn artifact(&self, artifact_id: &str) -> Result<Option<ArtifactRow>, StoreError> {
        let artifact_id = artifact_id.to_owned();
        read!(self, |t| t.artifact(&artifact_id))
    }

    /// Artifacts that no package has, and had not since `before`, in the order of their ids; at most `limit`.
    pub async fn unused_artifacts(
        &self,
        before: WallTime,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<ArtifactRow>, StoreError> {
        let after = after.map(str::to_owned);
        read!(self, |t| t.unused_artifacts(before, after.as_deref(), limit))
    }

    /// Forgets an artifact that no package has. Its bytes may go once this has answered.
    ///
    /// *Retry*: answers `Missing`.
    ///
    /// # Errors
    ///
    /// - `Missing`: the artifact, in the actor's project.
    /// - `InUse`: by a package.
    pub async fn delete_artifact(
        &self,
        actor: &Actor,
        artifact_id: &str,
        now: WallTime,
    ) -> Result<(), StoreError> {
        let (actor, artifact_id) = (actor.clone(), artifact_id.to_owned());
        write!(self, Small, |t| t.delete_artifact(&actor, &artifact_id, now))
    }

    /// Makes a package.
    ///
    /// *Retry*: answers `Exists`.
    ///
    /// # Errors
    ///
    /// - `Missing`: the product (of the actor's project), or the artifact.
    /// - `Exists`: the id, or the version for this product and kind, is taken.
    pub async fn create_package(
        &self,
        actor: &Actor,
        package: NewPackage,
        now: WallTime,
    ) -> Result<PackageRow, StoreError> {
        let actor = actor.clone();
        write!(self, Small, |t| t.create_package(&actor, &package, now))
    }

    /// The package with this id.
    pub async fn package(&self, package_id: &str) -> Result<Option<PackageRow>, StoreError> {
        let package_id = package_id.to_owned();
        read!(self, |t| t.package(&package_id))
    }

    /// The package with this key.
    pub async fn package_by_key(&self, key: PackageKey) -> Result<Option<PackageRow>, StoreError> {
        read!(self, |t| t.package_by_key(key))
    }

    /// A page of the packages, oldest first; with `product_id`, only those of that product.
    pub async fn packages(
        &self,
        product_id: Option<&str>,
        page: Page<PackageKey>,
    ) -> Result<Vec<PackageRow>, StoreError> {
        let product_id = product_id.map(str::to_owned);
        read!(self, |t| t.packages(product_id.as_deref(), page))
    }

    /// Notes what became of reading the bytes of a package. `None`: they are not waited for, or there is no such package any
    /// more; nothing is changed.
    ///
    /// *Retry*: answers `None`.
    ///
    /// # Errors
    ///
    /// `Missing`: the artifact.
    pub async fn settle_package(
        &self,
        actor: &Actor,
        key: PackageKey,
        outcome: ReadOutcome,
        now: WallTime,
    ) -> Result<Option<PackageRow>, StoreError> {
        let actor = actor.clone();
        write!(self, Small, |t| t.settle_package(&actor, key, &outcome, now))
    }

    /// Has the bytes of a package read again that were not what was promised. Nothing happens where they are kept, or are
    /// read anyway.
    ///
    /// *Retry*: safe.
    ///
    /// # Errors
    ///
    /// `Missing`: the package, in the actor's project.
    pub async fn retry_package(
        &self,
        actor: &Actor,
        package_id: &str,
        now: WallTime,
    ) -> Result<PackageRow, StoreError> {
        let (actor, package_id) = (actor.clone(), package_id.to_owned());
        write!(self, Small, |t| t.retry_package(&actor, &package_id, now))
    }

    /// Packages whose bytes are still to be read, the oldest first.
    pub async fn pending_packages(
        &self,
        after: Option<PackageKey>,
        limit: u32,
    ) -> Result<Vec<PendingPackage>, StoreError> {
        read!(self, |t| t.pending_packages(after, limit))
    }

    /// Deletes a package that no campaign has ever named. Its artifact stays.
    ///
    /// *Retry*: answers `Missing`.
    ///
    /// # Errors
    ///
    /// - `Missing`: the package, in the actor's project.
    /// - `InUse`: by a campaign, also by one that ended: what it did would no longer be explained.
    pub async fn delete_package(
        &self,
        actor: &Actor,
        package_id: &str,
        now: WallTime,
    ) -> Result<(), StoreError> {
        let (actor, package_id) = (actor.clone(), package_id.to_owned());
        write!(self, Small, |t| t.delete_package(&actor, &package_id, now))
    }
}

/// Campaigns.
impl Store {
    /// Makes a campaign in state `Preparing`, without deployments: [`fill_campaign`](Store::fill_campaign) makes
    /// those. `started_at` is `now` when it is told to start at once.
    ///
    /// *Retry*: answers `Exists`.
    ///
    /// # Errors
    ///
    /// - `Missing`: the product (of the actor's project), a package, or a group.
    /// - `Exists`: the id is taken.
    pub async fn create_campaign(
        &self,
        actor: &Actor,
        campaign: NewCampaign,
        now: WallTime,
    ) -> Result<CampaignRow, StoreError> {
        let actor = actor.clone();
        write!(self, Large, |t| t.create_campaign(&actor, &campaign, now))
    }

    /// Makes the next deployments of a campaign, at most `chunk`, each as `initial`, run 1, wave 0.
    ///
    /// Call it until it is `done`; a call too many does nothing. How far it came is remembered with the
    /// campaign, so that a crash resumes. Devices of `prefer` (those connected now) that are among the targets
    /// come first, up to `chunk`; the rest follows in the order of the list, or by key. Only devices of the
    /// campaign's product that are not deleted get a deployment, and each only one. A campaign that has ended
    /// gets no more and is done.
    ///
    /// *Retry*: safe; what was added by a call whose answer was lost is not in `added` again.
    ///
    /// # Errors
    ///
    /// - `Missing`: the campaign.
    pub async fn fill_campaign(
        &self,
        campaign: CampaignKey,
        chunk: u32,
        now: WallTime,
        initial: &Deployment,
        prefer: &[DeviceKey],
    ) -> Result<Filled, StoreError> {
        let (initial, prefer) = (initial.clone(), prefer.to_vec());
        write!(self, Large, |t| t.fill_campaign(campaign, chunk, now, &initial, &prefer))
    }

    /// The campaign with this id, and how many of its deployments are where. A list of devices is not handed out: where
    /// campaigns are read, it comes empty.
    pub async fn campaign(&self, campaign_id: &str) -> Result<Option<(CampaignRow, Counts)>, StoreError> {
        let campaign_id = campaign_id.to_owned();
        read!(self, |t| t.campaign(&campaign_id))
    }

    /// The campaign with this key, and how many of its deployments are where.
    pub async fn campaign_by_key(
        &self,
        key: CampaignKey,
    ) -> Result<Option<(CampaignRow, Counts)>, StoreError> {
        read!(self, |t| t.campaign_by_key(key))
    }

    /// A page of the campaigns that `filter` takes, newest first: with `after`, those older than that one. A product
    /// that does not exist has none.
    pub async fn campaigns(
        &self,
        filter: CampaignFilter,
        page: Page<CampaignKey>,
    ) -> Result<Vec<(CampaignRow, Counts)>, StoreError> {
        read!(self, |t| t.campaigns(&filter, page))
    }

    /// How many campaigns `filter` takes: exact without a name, from counters; with one, counted up to
    /// [`COUNTED_MAX`](crate::limits::COUNTED_MAX).
    pub async fn count_campaigns(&self, filter: CampaignFilter) -> Result<Total, StoreError> {
        read!(self, |t| t.count_campaigns(&filter))
    }

    /// The campaigns whose deployments are not all made, oldest first: what a restart has to go on with.
    pub async fn unfilled_campaigns(&self) -> Result<Vec<CampaignKey>, StoreError> {
        read!(self, |t| t.unfilled_campaigns())
    }

    /// Moves a campaign to `to` if it is in one of `from`, and sets `started` if given. `None` when it is in
    /// another state: nothing was written.
    ///
    /// `started_at` is set when `started` first becomes true or the state first becomes `Running`, `finished_at`
    /// when it becomes `Finished` or `Cancelled`.
    ///
    /// *Retry*: `None`, unless `to` is among `from`.
    ///
    /// # Errors
    ///
    /// - `Missing`: the campaign.
    pub async fn move_campaign(
        &self,
        actor: &Actor,
        campaign: CampaignKey,
        from: &[CampaignState],
        to: CampaignState,
        started: Option<bool>,
        now: WallTime,
    ) -> Result<Option<CampaignRow>, StoreError> {
        let (actor, from) = (actor.clone(), from.to_vec());
        write!(self, Small, |t| t.move_campaign(&actor, campaign, &from, to, started, now))
    }

    /// Sets when a campaign starts by itself, or takes that away. `None` when it was started or has ended: nothing was
    /// written.
    ///
    /// *Retry*: safe; leaves a second line in the audit log.
    ///
    /// # Errors
    ///
    /// - `Missing`: the campaign.
    pub async fn schedule_campaign(
        &self,
        actor: &Actor,
        campaign: CampaignKey,
        start_at: Option<WallTime>,
        now: WallTime,
    ) -> Result<Option<CampaignRow>, StoreError> {
        let actor = actor.clone();
        write!(self, Small, |t| t.schedule_campaign(&actor, campaign, start_at, now))
    }

    /// Starts the campaigns whose time has come, at most `limit`, and answers with them. Each is started once, whatever
    /// the clock does afterwards.
    ///
    /// *Retry*: safe; what was started by a call whose answer was lost is not in the answer again.
    pub async fn start_due(
        &self,
        actor: &Actor,
        limit: u32,
        now: WallTime,
    ) -> Result<Vec<CampaignRow>, StoreError> {
        let actor = actor.clone();
        write!(self, Small, |t| t.start_due(&actor, limit, now))
    }

    /// When the next campaign starts by itself.
    pub async fn next_start(&self) -> Result<Option<WallTime>, StoreError> {
        read!(self, |t| t.next_start())
    }

    /// Takes a campaign that has ended out of every list, with its packages, its counters and its audit line. Its
    /// deployments are still there, but nobody's: [`forget_deployments`](Store::forget_deployments) takes them away.
    /// `None` when it has not ended, or something of it is not finished.
    ///
    /// *Retry*: answers `Missing`.
    ///
    /// # Errors
    ///
    /// `Missing`: the campaign, in the actor's project.
    pub async fn delete_campaign(
        &self,
        actor: &Actor,
        campaign_id: &str,
        now: WallTime,
    ) -> Result<Option<CampaignKey>, StoreError> {
        let (actor, campaign_id) = (actor.clone(), campaign_id.to_owned());
        write!(self, Small, |t| t.delete_campaign(&actor, &campaign_id, now))
    }

    /// Campaigns that were deleted and still have deployments, as far as known.
    pub async fn leaving_campaigns(&self) -> Result<Vec<CampaignKey>, StoreError> {
        read!(self, |t| t.leaving_campaigns())
    }

    /// Takes away the deployments of at most `chunk` devices of a deleted campaign. Whether that was all.
    ///
    /// *Retry*: takes away further ones.
    pub async fn forget_deployments(&self, key: CampaignKey, chunk: u32) -> Result<bool, StoreError> {
        write!(self, Large, |t| t.forget_deployments(key, chunk))
    }

    /// Public ids of campaigns that ended before `before`, the earliest first; at most `limit`.
    pub async fn ended_campaigns(&self, before: WallTime, limit: u32) -> Result<Vec<String>, StoreError> {
        read!(self, |t| t.ended_campaigns(before, limit))
    }

    /// Looks at the next `chunk` rows after `from` (0 at first), and forgets those of before `before`. The last report
    /// there is stays, whatever its age.
    ///
    /// *Retry*: safe.
    pub async fn forget(
        &self,
        kind: Aging,
        before: WallTime,
        from: i64,
        chunk: u32,
    ) -> Result<Forgotten, StoreError> {
        write!(self, Large, |t| t.forget(kind, before, from, chunk))
    }

    /// Turns the oldest `limit` queued deployments of a campaign into `released`.
    ///
    /// *Retry*: safe; what was moved by a call whose answer was lost is not in `moved` again.
    ///
    /// # Errors
    ///
    /// - `Missing`: the campaign.
    pub async fn release_chunk(
        &self,
        campaign: CampaignKey,
        limit: u32,
        now: WallTime,
        released: &Deployment,
    ) -> Result<Released, StoreError> {
        let released = released.clone();
        write!(self, Large, |t| t.release_chunk(campaign, limit, now, &released))
    }

    /// Notes what an operator wants done to deployments of a campaign, if that is in one of `from` and fewer than `most`
    /// wishes wait for it; whoever then does it says in [`Changes::action`] how far it has come.
    ///
    /// *Retry*: notes it once more; doing it twice changes nothing more.
    ///
    /// # Errors
    ///
    /// - `Missing`: the campaign.
    #[expect(clippy::too_many_arguments, reason = "each is a part of the wish")]
    pub async fn ask_action(
        &self,
        actor: &Actor,
        campaign: CampaignKey,
        from: &[CampaignState],
        act: Act,
        selection: Selection,
        most: usize,
        now: WallTime,
    ) -> Result<Asked, StoreError> {
        let (actor, from) = (actor.clone(), from.to_vec());
        write!(self, Small, |t| t.ask_action(&actor, campaign, &from, act, &selection, most, now))
    }

    /// What was asked of a campaign's deployments, or of those of all campaigns, and is not done yet; oldest first.
    pub async fn actions(&self, campaign: Option<CampaignKey>) -> Result<Vec<ActionRow>, StoreError> {
        read!(self, |t| t.actions(campaign))
    }

    /// Counts a campaign's deployments one by one. What the counters say must be the same; for tests and for
    /// examining a store, since it reads every deployment.
    pub async fn recount(&self, campaign: CampaignKey) -> Result<Counts, StoreError> {
        read!(self, |t| t.recount(campaign))
    }
}

/// Deployments.
impl Store {
    /// A page of a campaign's deployments that `filter` takes, oldest first; of each device the latest run.
    ///
    /// Costs what the page holds, at any depth and for any filter.
    ///
    /// # Errors
    ///
    /// - `Constraint`: more than [`CODES_MAX`](crate::limits::CODES_MAX) codes.
    pub async fn deployments(
        &self,
        campaign: CampaignKey,
        filter: DeploymentFilter,
        page: Page<DeploymentKey>,
    ) -> Result<Vec<DeploymentRecord>, StoreError> {
        read!(self, |t| t.deployments(campaign, &filter, page))
    }

    /// The same as [`deployments`](Store::deployments), with more about the devices.
    ///
    /// # Errors
    ///
    /// - `Constraint`: more than [`CODES_MAX`](crate::limits::CODES_MAX) codes.
    pub async fn results(
        &self,
        campaign: CampaignKey,
        filter: DeploymentFilter,
        page: Page<DeploymentKey>,
    ) -> Result<Vec<ResultRecord>, StoreError> {
        read!(self, |t| t.results(campaign, &filter, page))
    }

    /// How a campaign's failures ended, the most frequent first, at most `limit` ways; each with how many there are, from
    /// counters, and at most `examples` of them.
    pub async fn failures(
        &self,
        campaign: CampaignKey,
        limit: u32,
        examples: u32,
    ) -> Result<Vec<Failures>, StoreError> {
        read!(self, |t| t.failures(campaign, limit, examples))
    }

    /// How many deployments a filter with codes takes, from counters; 0 for one without.
    pub async fn count_failures(
        &self,
        campaign: CampaignKey,
        filter: DeploymentFilter,
    ) -> Result<u64, StoreError> {
        read!(self, |t| t.count_failures(campaign, &filter))
    }

    /// The deployment with this key.
    pub async fn deployment(&self, key: DeploymentKey) -> Result<Option<DeploymentRecord>, StoreError> {
        read!(self, |t| t.deployment(key))
    }

    /// The latest run of a campaign on a device.
    pub async fn deployment_of(
        &self,
        campaign: CampaignKey,
        device: DeviceKey,
    ) -> Result<Option<DeploymentRecord>, StoreError> {
        read!(self, |t| t.deployment_of(campaign, device))
    }

    /// The last deployment of a campaign on a device that was called so until it was deleted.
    ///
    /// *Cost*: a walk over the deployments of the campaign.
    pub async fn deployment_of_gone(
        &self,
        campaign: CampaignKey,
        device_id: &DeviceId,
    ) -> Result<Option<DeploymentRecord>, StoreError> {
        let device_id = device_id.clone();
        read!(self, |t| t.deployment_of_gone(campaign, &device_id))
    }

    /// The last `limit` runs of a campaign on a device, newest first.
    pub async fn runs(
        &self,
        campaign: CampaignKey,
        device: DeviceKey,
        limit: u32,
    ) -> Result<Vec<DeploymentRecord>, StoreError> {
        read!(self, |t| t.runs(campaign, device, limit))
    }

    /// The last `limit` deployments of a device, newest first, every run of them.
    pub async fn deployments_of_device(
        &self,
        device: DeviceKey,
        limit: u32,
    ) -> Result<Vec<DeploymentRecord>, StoreError> {
        read!(self, |t| t.deployments_of_device(device, limit))
    }
}

/// Tokens, and what happened.
impl Store {
    /// Keeps a token of the actor's making; `created_at` is also the time in the audit log.
    ///
    /// *Retry*: answers `Exists`.
    ///
    /// # Errors
    ///
    /// - `Exists`: the id is taken, or the same token is kept already.
    pub async fn add_token(&self, actor: &Actor, token: TokenRow) -> Result<(), StoreError> {
        let actor = actor.clone();
        write!(self, Small, |t| t.add_token(&actor, &token))
    }

    /// Every token, oldest first.
    pub async fn tokens(&self) -> Result<Vec<TokenRow>, StoreError> {
        read!(self, |t| t.tokens())
    }

    /// The token with this SHA-256, unless it was revoked.
    pub async fn token_by_hash(&self, hash: &str) -> Result<Option<TokenRow>, StoreError> {
        let hash = hash.to_owned();
        read!(self, |t| t.token_by_hash(&hash))
    }

    /// Forgets a token: whoever holds it is refused from now on.
    ///
    /// *Retry*: answers `Missing`.
    ///
    /// # Errors
    ///
    /// - `Missing`: the token, in the actor's project.
    pub async fn revoke_token(&self, actor: &Actor, token_id: &str, now: WallTime) -> Result<(), StoreError> {
        let (actor, token_id) = (actor.clone(), token_id.to_owned());
        write!(self, Small, |t| t.revoke_token(&actor, &token_id, now))
    }

    /// A page of the audit log, newest first: with `after`, what came before that line.
    pub async fn audit(&self, page: Page<i64>) -> Result<Vec<AuditRow>, StoreError> {
        read!(self, |t| t.audit(page))
    }

    /// The last `limit` events that were kept aside, newest first.
    pub async fn quarantined(&self, limit: u32) -> Result<Vec<QuarantinedRow>, StoreError> {
        read!(self, |t| t.quarantined(limit))
    }
}
