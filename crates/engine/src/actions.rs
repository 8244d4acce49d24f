//! What operators do to single deployments of a campaign, or to many of them: stop, retry and confirm.
//!
//! Always true:
//! - Named devices are answered one by one, once it is done.
//! - Everything else is stored as what was asked, and done in chunks between the batches of reports; a crash resumes it.
//! - Asking again does nothing more: what is done is not there to be done.
//!
//! Not here: what fits what (`otaru-core`), and the campaign as a whole (`campaigns`).

use std::collections::BTreeMap;

use otaru_core::campaign::{Act, CampaignState, Selection};
use otaru_core::deployment::{Event, Label};
use otaru_proto::DeviceId;
use otaru_store::{
    ActionRow, Asked, CampaignKey, CampaignRow, Counts, DeploymentFilter, DeploymentKey, DeviceKey, Latest,
    Loaded, Page, StoreError, Wanted, Which,
};

use crate::batch::{ActedOn, Answer, Around, By, Treated, Wish, act, end_all};
use crate::campaign_work::Work;
use crate::campaigns::CampaignError;
use crate::driver::{Engine, Shared};
use crate::errors::{Faulty, Kind};
use crate::ids::deployment_id;
use crate::limits::{ACT_CHUNK, ACTIONS_WAITING_MAX, LISTED_DEVICES_MAX};
use crate::tokens::Operator;

/// Which deployments an operator means: those for which everything that is given holds.
#[derive(Clone, Debug, Default)]
pub struct DeploymentSelection {
    /// On these devices, by public id; `None` is every device of the campaign.
    pub device_ids: Option<Vec<String>>,
    /// Where they are, and what was heard.
    pub selection: Selection,
}

/// What comes of it.
#[derive(Clone, Debug, PartialEq)]
pub enum ActAnswer {
    /// It is done; what became of each device that was named, in that order.
    Done(Vec<ActedDevice>),
    /// It is stored and will be done. As many deployments may be meant now, at most.
    Accepted(u64),
}

/// What became of one device that was named.
#[derive(Clone, Debug, PartialEq)]
pub struct ActedDevice {
    /// As it was named.
    pub device_id: String,
    /// What was done.
    pub result: ActResult,
    /// The latest run of the campaign on the device, if there is one.
    pub deployment: Option<ActedDeployment>,
}

/// A deployment after an act.
#[derive(Clone, Debug, PartialEq)]
pub struct ActedDeployment {
    /// 24 lower-case hex digits.
    pub deployment_id: String,
    /// Which run.
    pub run: u32,
    /// Where it is now.
    pub label: Label,
}

/// What was done to one device's deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActResult {
    /// It was stopped.
    Stopped,
    /// It has a further run.
    Retried,
    /// It may go.
    Confirmed,
    /// Nothing: the campaign has no deployment on such a device.
    NotFound,
    /// Nothing: it cannot be done to a deployment that is where this one is.
    WrongState,
    /// Nothing: something else that was given does not hold for it.
    NotSelected,
}

impl ActResult {
    /// Every result.
    pub const ALL: [ActResult; 6] = [
        ActResult::Stopped,
        ActResult::Retried,
        ActResult::Confirmed,
        ActResult::NotFound,
        ActResult::WrongState,
        ActResult::NotSelected,
    ];

    /// The stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            ActResult::Stopped => "stopped",
            ActResult::Retried => "retried",
            ActResult::Confirmed => "confirmed",
            ActResult::NotFound => "not_found",
            ActResult::WrongState => "wrong_state",
            ActResult::NotSelected => "not_selected",
        }
    }

    fn of(act: Act, treated: Treated) -> ActResult {
        match (treated, act) {
            (Treated::Done, Act::Stop) => ActResult::Stopped,
            (Treated::Done, Act::Retry) => ActResult::Retried,
            (Treated::Done, Act::Confirm) => ActResult::Confirmed,
            (Treated::NotMeant, _) => ActResult::NotSelected,
            (Treated::WrongState, _) => ActResult::WrongState,
            (Treated::Gone, _) => ActResult::NotFound,
        }
    }
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// There is no such campaign, it is in another state, or the store is out.
    #[error(transparent)]
    Campaign(#[from] CampaignError),
    /// A list without entries.
    #[error("`device_ids` is empty; name at least one device, or say `\"all\": true`")]
    NoDevices,
    /// A list that is too long.
    #[error("`device_ids` has {0} entries; up to 30000 are accepted, or choose by `all`, outcome or code")]
    TooManyDevices(usize),
    /// Not all its deployments are there.
    #[error(
        "campaign {0} is preparing: not all of its deployments are made; name `device_ids`, or ask again once it has left \
         that state"
    )]
    Preparing(String),
    /// Too much was asked already.
    #[error(
        "campaign {0} has {1} stops, retries and confirmations that are not done yet, as many as may wait; ask again when they are"
    )]
    TooManyWaiting(String, usize),
    /// Try again later, or ours.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Faulty for ActError {
    fn code(&self) -> &'static str {
        match self {
            ActError::Campaign(error) => error.code(),
            ActError::NoDevices => "invalid",
            ActError::TooManyDevices(_) => "too_many_devices",
            ActError::Preparing(_) => "wrong_state",
            ActError::TooManyWaiting(..) => "too_many_actions",
            ActError::Store(error) => error.code(),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            ActError::Campaign(error) => error.kind(),
            ActError::NoDevices | ActError::TooManyDevices(_) => Kind::Invalid,
            ActError::Preparing(_) | ActError::TooManyWaiting(..) => Kind::Conflict,
            ActError::Store(error) => error.kind(),
        }
    }
}

impl Engine {
    /// Stops, retries or confirms deployments of a campaign.
    ///
    /// With named devices it is done when this returns, and each is answered; a failure in the middle leaves what was done
    /// until then, and asking again does the rest. Otherwise it is stored when this returns and done in the background,
    /// to the deployments that there are now, as they are when their turn comes.
    ///
    /// A campaign that had finished runs again once one of its deployments is retried. Asking again is harmless: what was
    /// stopped is finished, and what has a further run that is not finished gets no other.
    ///
    /// # Errors
    ///
    /// The campaign is unknown or in a state in which it cannot be done; too many devices are named; too much waits
    /// already. Nothing was done then.
    pub async fn act(
        &self,
        by: &Operator,
        campaign_id: &str,
        act: Act,
        chosen: DeploymentSelection,
    ) -> Result<ActAnswer, ActError> {
        let (row, counts) = self.existing(campaign_id).await?;
        if !act.is_accepted(row.state, row.started) {
            return Err(wrong_state(&row.campaign_id, row.state, act).into());
        }
        match chosen.device_ids {
            Some(ids) => {
                let devices = self.act_on(by, &row, act, chosen.selection, ids).await?;
                Ok(ActAnswer::Done(devices))
            }
            None => self.ask(by, &row, &counts, act, chosen.selection).await,
        }
    }

    async fn act_on(
        &self,
        by: &Operator,
        campaign: &CampaignRow,
        act: Act,
        selection: Selection,
        ids: Vec<String>,
    ) -> Result<Vec<ActedDevice>, ActError> {
        if ids.is_empty() {
            return Err(ActError::NoDevices);
        }
        if ids.len() > LISTED_DEVICES_MAX {
            return Err(ActError::TooManyDevices(ids.len()));
        }
        let parsed: Vec<Option<DeviceId>> = ids.iter().map(|id| DeviceId::parse(id).ok()).collect();
        let usable: Vec<DeviceId> = parsed.iter().flatten().cloned().collect();
        let mut known = self.shared.store.keys_of(&usable).await?.into_iter();
        let keys: Vec<Option<DeviceKey>> = parsed
            .iter()
            .map(|id| id.as_ref().and_then(|_| known.next().flatten()).map(|device| device.key))
            .collect();
        let devices: Vec<DeviceKey> = keys.iter().copied().flatten().collect();
        let mut became = BTreeMap::new();
        for chunk in devices.chunks(ACT_CHUNK as usize) {
            let by = By::Now(by.actor.name.clone());
            let wish = Wish { campaign: campaign.key, act, selection: selection.clone(), by };
            let acted = self.shared.act(Which::Devices(chunk.to_vec()), wish).await?;
            // Children of gateways that are connected can be reached as well.
            let free = acted.iter().filter(|one| one.may_go()).map(|one| one.device);
            self.shared.inbox.consider_all(free);
            for one in acted {
                // Named twice, it is answered as at first.
                became.entry(one.device).or_insert(one);
            }
        }
        let shown = |(id, key): (String, Option<DeviceKey>)| match key.and_then(|key| became.get(&key)) {
            None => ActedDevice { device_id: id, result: ActResult::NotFound, deployment: None },
            Some(one) => ActedDevice {
                device_id: id,
                result: ActResult::of(act, one.treated),
                deployment: Some(ActedDeployment {
                    deployment_id: one.deployment_id.clone(),
                    run: one.run,
                    label: one.label,
                }),
            },
        };
        Ok(ids.into_iter().zip(keys).map(shown).collect())
    }

    async fn ask(
        &self,
        by: &Operator,
        campaign: &CampaignRow,
        counts: &Counts,
        act: Act,
        selection: Selection,
    ) -> Result<ActAnswer, ActError> {
        let shared = &self.shared;
        if !campaign.filled {
            return Err(ActError::Preparing(campaign.campaign_id.clone()));
        }
        let meant = act.labels(&selection).into_iter().map(|label| counts.of(label)).sum();
        let now = shared.clock.wall();
        let (from, most) = (act.accepted_in(), ACTIONS_WAITING_MAX);
        match shared.store.ask_action(&by.actor, campaign.key, from, act, selection, most, now).await? {
            Asked::Noted(_) => {
                shared.campaign_work.add(Work::Act { campaign: campaign.key, stops: act == Act::Stop });
                Ok(ActAnswer::Accepted(meant))
            }
            Asked::WrongState(state) => Err(wrong_state(&campaign.campaign_id, state, act).into()),
            Asked::TooMany(waiting) => Err(ActError::TooManyWaiting(campaign.campaign_id.clone(), waiting)),
        }
    }
}

fn wrong_state(campaign_id: &str, state: CampaignState, act: Act) -> CampaignError {
    let (accepted, verb) = match act {
        Act::Stop => ("not finished", "stopped device by device"),
        Act::Retry => ("not cancelled", "retried"),
        Act::Confirm => ("started and not finished", "confirmed"),
    };
    CampaignError::WrongState { campaign_id: campaign_id.to_owned(), state: state.name(), accepted, verb }
}

impl Shared {
    /// Does a chunk of what was asked first of a campaign; answers with what is left.
    pub(crate) async fn act_further(&self, campaign: CampaignKey) -> Result<Option<Work>, StoreError> {
        let actions = self.store.actions(Some(campaign)).await?;
        let Some(first) = actions.first() else { return Ok(None) };
        let ActionRow { key, act, selection, until, position, .. } = first.clone();
        // Of what has ended, a code has an index; of the rest it is looked at one by one.
        let codes = selection.codes.as_ref().filter(|_| act == Act::Retry);
        let filter = DeploymentFilter {
            labels: Some(act.labels(&selection)),
            codes: codes.map(|codes| codes.iter().copied().map(Some).collect()),
        };
        let page = Page { after: position, limit: ACT_CHUNK };
        let which = Which::Page { filter, page, until: Some(until) };
        let wish = Wish { campaign, act, selection, by: By::Stored(key, ACT_CHUNK as usize) };
        let acted = self.act(which, wish).await?;
        let may_go: Vec<DeviceKey> = acted.iter().filter(|one| one.may_go()).map(|one| one.device).collect();
        self.consider(&may_go);
        let next = self.store.actions(Some(campaign)).await?;
        if next.first().is_none_or(|next| next.key != key) {
            self.consider_connected();
        }
        Ok(next.first().map(|next| Work::Act { campaign, stops: next.act == Act::Stop }))
    }

    /// Does what is wished to these deployments, in one transaction; what became of each.
    async fn act(&self, which: Which, wish: Wish) -> Result<Vec<ActedOn<String>>, StoreError> {
        let latest = Some(Latest { campaign: wish.campaign, which });
        let wanted = Wanted { latest, ..Wanted::default() };
        let settled = self.settle(wanted, move |loaded, around| act(loaded, &wish, around)).await?;
        let mut runs = settled.runs.into_iter();
        let mut id_of_next = || runs.next().map(|key| deployment_id(settled.wall, key));
        Ok(settled.rest.into_iter().filter_map(|one| one.named(&mut id_of_next)).collect())
    }

    /// Ends a chunk of what is not finished of a cancelled campaign.
    pub(crate) async fn end_chunk(&self, campaign: CampaignKey) -> Result<Option<DeploymentKey>, StoreError> {
        let (filter, page) = (DeploymentFilter::unfinished(), Page { after: None, limit: ACT_CHUNK });
        let which = Which::Page { filter, page, until: None };
        let wanted = Wanted { latest: Some(Latest { campaign, which }), ..Wanted::default() };
        self.end_deployments(wanted, Some(campaign), Event::Cancelled).await
    }

    /// Ends the deployments that are loaded for `wanted`. Answers with the last one asked for.
    pub(crate) async fn end_deployments(
        &self,
        wanted: Wanted,
        only: Option<CampaignKey>,
        event: Event<'static>,
    ) -> Result<Option<DeploymentKey>, StoreError> {
        let decide = move |loaded: Loaded, around: &Around<'_>| {
            let last = loaded.latest.last().map(|row| row.key);
            let (changes, answer) = end_all(loaded, only, event, around);
            (changes, (answer, last))
        };
        self.settle(wanted, decide).await.map(|settled| settled.rest)
    }

    /// Stores what an operator does to deployments. Nobody is told anything: the protocol has no word for it.
    async fn settle<R: Send + 'static>(
        &self,
        wanted: Wanted,
        decide: impl FnOnce(Loaded, &Around<'_>) -> (otaru_store::Changes, (Answer, R)) + Send + 'static,
    ) -> Result<Settled<R>, StoreError> {
        let (now, wall) = (self.service.now(), self.clock.wall());
        let settings = self.settings.clone();
        let decision = move |loaded: Loaded| {
            let (sessions, downloads, questions) = Default::default();
            let around = Around {
                now,
                wall,
                sessions: &sessions,
                downloads: &downloads,
                questions: &questions,
                settings: &settings,
            };
            decide(loaded, &around)
        };
        let committed = self.store.transact(wall, wanted, decision).await?;
        let (answer, rest) = committed.answer;
        self.note_wake(committed.next_wake);
        self.feed.campaigns_moved(answer.moved.iter().copied());
        self.note_finished(&answer);
        // The devices are free for another campaign, and their slots for other devices.
        let next = self.slots.hand_out(&answer.held_for_slot, &answer.free_slots);
        let free = answer.at_work.iter().map(|(device, _)| *device);
        self.inbox.consider_all(free.chain(next));
        Ok(Settled { rest, runs: committed.runs, wall })
    }
}

/// What was stored.
struct Settled<R> {
    rest: R,
    /// The further runs, in order.
    runs: Vec<DeploymentKey>,
    /// When.
    wall: otaru_core::WallTime,
}

/// What is left to be done of what was asked, as found in the store.
pub(crate) fn unfinished_acts(actions: &[ActionRow]) -> Vec<Work> {
    let mut first: BTreeMap<CampaignKey, Act> = BTreeMap::new();
    for action in actions {
        first.entry(action.campaign).or_insert(action.act);
    }
    first.into_iter().map(|(campaign, act)| Work::Act { campaign, stops: act == Act::Stop }).collect()
}
