//! Campaigns: made, started, paused, resumed, stopped.
//!
//! Always true:
//! - What was answered is stored; what remains to be done for it is found again after a crash.
//!
//! Not here: what is done for them in the background (`campaign_work`).

use std::collections::{BTreeMap, BTreeSet};

use otaru_core::WallTime;
use otaru_core::campaign::{CampaignState, PackagesError, Policy, PolicyError, check_packages};
use otaru_proto::{DeviceId, TASK_EXT_CHARS_MAX};
use otaru_store::{CampaignRow, Counts, DeviceKey, NewCampaign, PackageRow, StoreError, Targets};

use crate::batch::facts_of;
use crate::campaign_work::Work;
use crate::driver::Engine;
use crate::errors::{Faulty, Kind};
use crate::limits::{
    CAMPAIGN_GROUPS_MAX, LISTED_DEVICES_MAX, NAME_CHARS_MAX, START_AHEAD_MS_MAX, START_PAST_MS_MAX,
};
use crate::tokens::Operator;

/// A campaign that an operator wants.
#[derive(Clone, Debug)]
pub struct CampaignRequest {
    /// For people.
    pub name: String,
    /// 1 to 10 packages of one product and kind, whose source versions do not overlap.
    pub package_ids: Vec<String>,
    /// Which devices.
    pub devices: DeviceSelection,
    /// Under which rules.
    pub policy: Policy,
    /// Passed on to devices with every word about the campaign, as `task_ext_info`; at most 512 characters of JSON.
    pub ext_info: Option<serde_json::Map<String, serde_json::Value>>,
    /// Start at once.
    pub start: bool,
    /// Start by itself then, by the wall clock; not together with `start`.
    pub start_at: Option<WallTime>,
}

/// Which devices a campaign is for. Only devices of the packages' product are ever meant.
#[derive(Clone, Debug)]
pub enum DeviceSelection {
    /// These.
    Ids(Vec<String>),
    /// These, which the caller has looked up and which are all of the packages' product. There may be none: then the
    /// campaign ends as soon as it has started.
    Known(Vec<DeviceKey>),
    /// All of this product.
    Product(String),
    /// All of the packages' product that have all of these tags.
    Tags(BTreeMap<String, String>),
    /// All of the packages' product that are in one of these groups while the deployments are made.
    Groups(Vec<String>),
}

/// Why a campaign was not made or not moved.
#[derive(Debug, thiserror::Error)]
pub enum CampaignError {
    /// There is none.
    #[error("there is no campaign {0}")]
    Unknown(String),
    /// The device is not among its devices, or not registered any more.
    #[error("campaign {campaign_id} has no deployment on device {device_id}")]
    NotOn {
        /// Which campaign.
        campaign_id: String,
        /// Which device.
        device_id: String,
    },
    /// No name, or too long a one.
    #[error("`name` has {0} characters; 1 to 256 are accepted")]
    Name(usize),
    /// A package that does not exist.
    #[error("`package_ids` names {0}, which does not exist; make it with POST /api/v1/packages")]
    UnknownPackage(String),
    /// The same package twice.
    #[error("`package_ids` names {0} twice")]
    PackageTwice(String),
    /// Packages that do not go together.
    #[error(transparent)]
    Packages(#[from] PackagesError),
    /// A rule outside its range.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// More than devices are told.
    #[error("`ext_info` has {0} characters of JSON; up to 512 are accepted")]
    ExtInfo(usize),
    /// No device at all.
    #[error("`devices.ids` is empty; name at least one device, or choose by product_id or tags")]
    NoDevices,
    /// A list that is too long.
    #[error("`devices.ids` has {0} entries; up to 30000 are accepted, or choose by product_id or tags")]
    TooManyDevices(usize),
    /// No tag at all would mean everything.
    #[error("`devices.tags` is empty; name at least one tag, or choose by product_id")]
    NoTags,
    /// No group at all.
    #[error("`devices.group_ids` is empty; name at least one group, or choose by product_id or tags")]
    NoGroups,
    /// More groups than are walked together.
    #[error("`devices.group_ids` has {0} entries; up to 10 are accepted, or choose by product_id or tags")]
    TooManyGroups(usize),
    /// A group that does not exist.
    #[error("`devices.group_ids` names {0}, which does not exist; make it with POST /api/v1/groups")]
    UnknownGroup(String),
    /// Devices that are not registered.
    #[error(
        "`devices.ids` names {count} unregistered devices, the first are {first}; register them or leave them out"
    )]
    UnknownDevices {
        /// How many.
        count: usize,
        /// Some of them.
        first: String,
    },
    /// Devices that the packages are not for.
    #[error("`devices.ids` names {count} devices of another product than {product}, the first are {first}")]
    WrongProduct {
        /// How many.
        count: usize,
        /// Some of them.
        first: String,
        /// The packages' product.
        product: String,
    },
    /// A product that the packages are not for.
    #[error("`devices.product_id` is {asked}, but the packages are for {product}")]
    OtherProduct {
        /// What was asked for.
        asked: String,
        /// The packages' product.
        product: String,
    },
    /// Two starts.
    #[error("`start` is true and `start_at` is given; one of them is accepted")]
    TwoStarts,
    /// A start that is over.
    #[error("`start_at` is {0} s ago; a time from a minute ago on is accepted, or `\"start\": true`")]
    StartAtPast(i64),
    /// A start that is too far away.
    #[error("`start_at` is {0} days from now; up to 366 are accepted")]
    StartAtFar(i64),
    /// Not in this state.
    #[error("campaign {campaign_id} is {state}; only a campaign that is {accepted} can be {verb}")]
    WrongState {
        /// Which.
        campaign_id: String,
        /// Where it is.
        state: &'static str,
        /// Where it would have to be.
        accepted: &'static str,
        /// What was to happen to it.
        verb: &'static str,
    },
    /// Try again later, or ours.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Faulty for CampaignError {
    fn code(&self) -> &'static str {
        match self {
            CampaignError::Unknown(_) | CampaignError::NotOn { .. } => "not_found",
            CampaignError::Name(_)
            | CampaignError::ExtInfo(_)
            | CampaignError::NoDevices
            | CampaignError::NoTags
            | CampaignError::NoGroups
            | CampaignError::TooManyGroups(_)
            | CampaignError::TwoStarts
            | CampaignError::StartAtPast(_)
            | CampaignError::StartAtFar(_) => "invalid",
            CampaignError::UnknownGroup(_) => "unknown_group",
            CampaignError::UnknownPackage(_) => "unknown_package",
            CampaignError::PackageTwice(_) | CampaignError::Packages(_) => "packages_do_not_fit",
            CampaignError::Policy(_) => "invalid_policy",
            CampaignError::TooManyDevices(_) => "too_many_devices",
            CampaignError::UnknownDevices { .. } => "unknown_devices",
            CampaignError::WrongProduct { .. } | CampaignError::OtherProduct { .. } => "wrong_product",
            CampaignError::WrongState { .. } => "wrong_state",
            CampaignError::Store(error) => error.code(),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            CampaignError::Unknown(_) | CampaignError::NotOn { .. } => Kind::NotFound,
            CampaignError::WrongState { .. } => Kind::Conflict,
            CampaignError::Store(error) => error.kind(),
            CampaignError::Name(_)
            | CampaignError::ExtInfo(_)
            | CampaignError::UnknownPackage(_)
            | CampaignError::PackageTwice(_)
            | CampaignError::Packages(_)
            | CampaignError::Policy(_)
            | CampaignError::NoDevices
            | CampaignError::TooManyDevices(_)
            | CampaignError::NoTags
            | CampaignError::NoGroups
            | CampaignError::TooManyGroups(_)
            | CampaignError::UnknownGroup(_)
            | CampaignError::TwoStarts
            | CampaignError::StartAtPast(_)
            | CampaignError::StartAtFar(_)
            | CampaignError::UnknownDevices { .. }
            | CampaignError::WrongProduct { .. }
            | CampaignError::OtherProduct { .. } => Kind::Invalid,
        }
    }
}

impl Engine {
    /// Makes a campaign. It is stored when this returns; its deployments are made in the background, connected
    /// devices first, and go at once if `start` is set. Calling it again makes another campaign.
    ///
    /// # Errors
    ///
    /// What about the request is not accepted, with the value; nothing is stored then.
    pub async fn create_campaign(
        &self,
        by: &Operator,
        request: CampaignRequest,
    ) -> Result<CampaignRow, CampaignError> {
        self.make_campaign(by, request, None).await
    }

    pub(crate) async fn make_campaign(
        &self,
        by: &Operator,
        request: CampaignRequest,
        members: Option<String>,
    ) -> Result<CampaignRow, CampaignError> {
        let shared = &self.shared;
        let name_chars = request.name.trim().chars().count();
        if name_chars == 0 || name_chars > NAME_CHARS_MAX {
            return Err(CampaignError::Name(name_chars));
        }
        let policy = request.policy.check()?;
        if let Some(at) = request.start_at {
            if request.start {
                return Err(CampaignError::TwoStarts);
            }
            check_start(at, shared.clock.wall())?;
        }
        let ext_info = request.ext_info.as_ref().map(ext_info_text).transpose()?;
        let packages = self.packages_named(&request.package_ids).await?;
        let product_id = packages[0].product_id.clone();
        let targets = self.targets(request.devices, &product_id).await?;
        let now = shared.clock.wall();
        let campaign = NewCampaign {
            campaign_id: shared.ids.make(now),
            name: request.name.trim().to_owned(),
            started: request.start,
            start_at: request.start_at,
            product_id,
            packages: packages.iter().map(|package| package.key).collect(),
            policy,
            targets,
            ext_info,
        };
        let row = match members {
            None => shared.store.create_campaign(&by.actor, campaign, now).await?,
            Some(members) => shared.store.create_campaign_with(&by.actor, campaign, members, now).await?,
        };
        shared.feed.campaigns_moved([row.key]);
        shared.campaign_work.add(Work::Fill { campaign: row.key, first: None });
        shared.schedule_changed.notify_one();
        Ok(row)
    }

    async fn packages_named(&self, ids: &[String]) -> Result<Vec<PackageRow>, CampaignError> {
        let mut packages: Vec<PackageRow> = Vec::with_capacity(ids.len().min(16));
        for id in ids.iter().take(otaru_core::limits::CAMPAIGN_PACKAGES_MAX + 1) {
            if packages.iter().any(|package| package.package_id == *id) {
                return Err(CampaignError::PackageTwice(id.clone()));
            }
            let package = self.shared.store.package(id).await?;
            packages.push(package.ok_or_else(|| CampaignError::UnknownPackage(id.clone()))?);
        }
        check_packages(&packages.iter().map(facts_of).collect::<Vec<_>>())?;
        Ok(packages)
    }

    async fn targets(&self, devices: DeviceSelection, product_id: &str) -> Result<Targets, CampaignError> {
        match devices {
            DeviceSelection::Product(asked) if asked == product_id => Ok(Targets::Product),
            DeviceSelection::Product(asked) => {
                Err(CampaignError::OtherProduct { asked, product: product_id.to_owned() })
            }
            DeviceSelection::Tags(tags) if tags.is_empty() => Err(CampaignError::NoTags),
            DeviceSelection::Tags(tags) => Ok(Targets::Tags(tags)),
            DeviceSelection::Groups(ids) => self.named_groups(ids).await,
            DeviceSelection::Known(keys) => Ok(Targets::Devices(keys)),
            DeviceSelection::Ids(ids) => self.named_devices(&ids, product_id).await,
        }
    }

    async fn named_groups(&self, ids: Vec<String>) -> Result<Targets, CampaignError> {
        if ids.is_empty() {
            return Err(CampaignError::NoGroups);
        }
        if ids.len() > CAMPAIGN_GROUPS_MAX {
            return Err(CampaignError::TooManyGroups(ids.len()));
        }
        let mut groups = BTreeSet::new();
        for id in ids {
            let group = self.shared.store.group(&id).await?;
            groups.insert(group.ok_or(CampaignError::UnknownGroup(id))?.key);
        }
        Ok(Targets::Groups(groups.into_iter().collect()))
    }

    async fn named_devices(&self, ids: &[String], product_id: &str) -> Result<Targets, CampaignError> {
        if ids.is_empty() {
            return Err(CampaignError::NoDevices);
        }
        if ids.len() > LISTED_DEVICES_MAX {
            return Err(CampaignError::TooManyDevices(ids.len()));
        }
        let parsed: Vec<Option<DeviceId>> = ids.iter().map(|id| DeviceId::parse(id).ok()).collect();
        let usable: Vec<DeviceId> = parsed.iter().flatten().cloned().collect();
        let mut known = self.shared.store.keys_of(&usable).await?.into_iter();
        let (mut unknown, mut wrong, mut keys, mut seen) =
            (Vec::new(), Vec::new(), Vec::new(), BTreeSet::new());
        for (id, parsed) in ids.iter().zip(&parsed) {
            match parsed.as_ref().and_then(|_| known.next().flatten()) {
                None => unknown.push(id.as_str()),
                Some(device) if device.product_id != product_id => wrong.push(id.as_str()),
                Some(device) => {
                    if seen.insert(device.key) {
                        keys.push(device.key);
                    }
                }
            }
        }
        if !unknown.is_empty() {
            return Err(CampaignError::UnknownDevices { count: unknown.len(), first: first_few(&unknown) });
        }
        if !wrong.is_empty() {
            let (count, first) = (wrong.len(), first_few(&wrong));
            return Err(CampaignError::WrongProduct { count, first, product: product_id.to_owned() });
        }
        Ok(Targets::Devices(keys))
    }

    /// A campaign and where its deployments are.
    ///
    /// # Errors
    ///
    /// The store could not be read.
    pub async fn campaign(&self, campaign_id: &str) -> Result<Option<(CampaignRow, Counts)>, StoreError> {
        self.shared.store.campaign(campaign_id).await
    }

    /// Lets a draft's devices go, also one that is scheduled for later. A campaign that is running already stays as it is.
    ///
    /// # Errors
    ///
    /// `WrongState`: it has ended, or is paused.
    pub async fn start_campaign(
        &self,
        by: &Operator,
        campaign_id: &str,
    ) -> Result<(CampaignRow, Counts), CampaignError> {
        use CampaignState::{Draft, Preparing, Running, Scheduled};
        let (row, counts) = self.existing(campaign_id).await?;
        if row.started && matches!(row.state, Preparing | Running) {
            return Ok((row, counts));
        }
        let to = if row.filled { Running } else { Preparing };
        let accepted = ("draft, scheduled or preparing", "started");
        self.moved(by, &row, &[Draft, Scheduled, Preparing], to, Some(true), accepted).await?;
        self.shared.campaign_work.add(Work::after_start(&row));
        self.existing(campaign_id).await
    }

    /// Sets when a campaign starts by itself, or takes that away: then it is a draft.
    ///
    /// # Errors
    ///
    /// `StartAtPast`, `StartAtFar`: not a time to start at. `WrongState`: it was started, or has ended.
    pub async fn schedule_campaign(
        &self,
        by: &Operator,
        campaign_id: &str,
        start_at: Option<WallTime>,
    ) -> Result<(CampaignRow, Counts), CampaignError> {
        let shared = &self.shared;
        let (row, _) = self.existing(campaign_id).await?;
        let now = shared.clock.wall();
        if let Some(at) = start_at {
            check_start(at, now)?;
        }
        let scheduled = shared.store.schedule_campaign(&by.actor, row.key, start_at, now).await?;
        let found = self.existing(campaign_id).await?;
        if scheduled.is_some() {
            shared.feed.campaigns_moved([found.0.key]);
            shared.schedule_changed.notify_one();
            return Ok(found);
        }
        Err(CampaignError::WrongState {
            campaign_id: campaign_id.to_owned(),
            state: found.0.state.name(),
            accepted: "not started",
            verb: "scheduled",
        })
    }

    /// Lets no further device go; those at work go on.
    ///
    /// # Errors
    ///
    /// `WrongState`: it lets no device go, because it was not started or has ended.
    pub async fn pause_campaign(
        &self,
        by: &Operator,
        campaign_id: &str,
    ) -> Result<(CampaignRow, Counts), CampaignError> {
        use CampaignState::{Paused, Preparing, Running};
        let (row, counts) = self.existing(campaign_id).await?;
        if row.state == Paused {
            return Ok((row, counts));
        }
        // One that is being prepared lets devices go already, if it was started.
        let from: &[CampaignState] = if row.started { &[Running, Preparing] } else { &[Running] };
        self.moved(by, &row, from, Paused, None, ("running", "paused")).await?;
        self.existing(campaign_id).await
    }

    /// Lets devices go again.
    ///
    /// # Errors
    ///
    /// `WrongState`: it is not paused.
    pub async fn resume_campaign(
        &self,
        by: &Operator,
        campaign_id: &str,
    ) -> Result<(CampaignRow, Counts), CampaignError> {
        use CampaignState::{Paused, Preparing, Running};
        let (row, counts) = self.existing(campaign_id).await?;
        if row.state == Running || (row.state == Preparing && row.started) {
            return Ok((row, counts));
        }
        let to = if row.filled { Running } else { Preparing };
        self.moved(by, &row, &[Paused], to, None, ("paused", "resumed")).await?;
        self.shared.campaign_work.add(Work::after_start(&row));
        self.existing(campaign_id).await
    }

    /// Ends a campaign: what is not finished ends as `cancelled`, at once where something happens to it, and in the
    /// background for the rest. From now on no device is told; those that were told are not called back, for the
    /// protocol has no word for it, but their tokens are worth nothing.
    ///
    /// # Errors
    ///
    /// `WrongState`: it has finished.
    pub async fn cancel_campaign(
        &self,
        by: &Operator,
        campaign_id: &str,
    ) -> Result<(CampaignRow, Counts), CampaignError> {
        use CampaignState::{Cancelled, Draft, Paused, Preparing, Running, Scheduled};
        let (row, counts) = self.existing(campaign_id).await?;
        if row.state == Cancelled {
            return Ok((row, counts));
        }
        let from = [Draft, Preparing, Scheduled, Running, Paused];
        self.moved(by, &row, &from, Cancelled, None, ("not finished", "cancelled")).await?;
        self.shared.campaign_work.add(Work::End(row.key));
        self.existing(campaign_id).await
    }

    /// Deletes a campaign that has ended, with its deployments. What its devices reported stays with them.
    ///
    /// # Errors
    ///
    /// - `Unknown`: there is none.
    /// - `WrongState`: it has not ended, or something of it is still being ended.
    pub async fn delete_campaign(&self, by: &Operator, campaign_id: &str) -> Result<(), CampaignError> {
        let (row, _) = self.existing(campaign_id).await?;
        if self.shared.delete_campaign(&by.actor, campaign_id).await? {
            return Ok(());
        }
        let (now_is, counts) = self.existing(campaign_id).await?;
        let accepted = if counts.unfinished() > 0
            && matches!(now_is.state, CampaignState::Finished | CampaignState::Cancelled)
        {
            "finished or cancelled, down to its last device,"
        } else {
            "finished or cancelled"
        };
        let (campaign_id, state) = (row.campaign_id, now_is.state.name());
        Err(CampaignError::WrongState { campaign_id, state, accepted, verb: "deleted" })
    }

    pub(crate) async fn existing(&self, campaign_id: &str) -> Result<(CampaignRow, Counts), CampaignError> {
        let found = self.shared.store.campaign(campaign_id).await?;
        found.ok_or_else(|| CampaignError::Unknown(campaign_id.to_owned()))
    }

    async fn moved(
        &self,
        by: &Operator,
        row: &CampaignRow,
        from: &[CampaignState],
        to: CampaignState,
        started: Option<bool>,
        (accepted, verb): (&'static str, &'static str),
    ) -> Result<(), CampaignError> {
        let now = self.shared.clock.wall();
        let moved = self.shared.store.move_campaign(&by.actor, row.key, from, to, started, now).await?;
        match moved {
            Some(_) => {
                self.shared.feed.campaigns_moved([row.key]);
                Ok(())
            }
            None => {
                let (now_is, _) = self.existing(&row.campaign_id).await?;
                Err(CampaignError::WrongState {
                    campaign_id: row.campaign_id.clone(),
                    state: now_is.state.name(),
                    accepted,
                    verb,
                })
            }
        }
    }
}

/// Whether a campaign may be told to start by itself then.
fn check_start(at: WallTime, now: WallTime) -> Result<(), CampaignError> {
    let ahead = at.0.saturating_sub(now.0);
    if ahead < -START_PAST_MS_MAX {
        return Err(CampaignError::StartAtPast(-ahead / 1_000));
    }
    if ahead > START_AHEAD_MS_MAX {
        return Err(CampaignError::StartAtFar(ahead / 86_400_000));
    }
    Ok(())
}

/// The text of `ext_info`, if it has one that devices can be told.
fn ext_info_text(ext_info: &serde_json::Map<String, serde_json::Value>) -> Result<String, CampaignError> {
    let text = serde_json::to_string(ext_info).expect("a JSON object has a text");
    let chars = text.chars().count();
    if chars > TASK_EXT_CHARS_MAX { Err(CampaignError::ExtInfo(chars)) } else { Ok(text) }
}

/// The first few of a long list, for a message.
fn first_few(ids: &[&str]) -> String {
    let shown: Vec<String> = ids.iter().take(5).map(|id| id.chars().take(128).collect()).collect();
    shown.join(", ")
}
