//! What is done for campaigns in the background: deployments made, released, ended, taken away; and starts by themselves.
//!
//! Always true:
//! - One chunk of one campaign is in the store at a time, campaigns in turn; reports come in between.
//! - What is left to be done is in the store: a crash repeats at most a chunk, which is harmless.
//!
//! Not here: what operators ask for (`campaigns`, `actions`).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use otaru_core::campaign::{CampaignState, Policy, first_step};
use otaru_core::deployment::{Deployment, Label};
use otaru_core::{ServiceTime, WallTime};
use otaru_store::{
    Actor, CampaignFilter, CampaignKey, CampaignRow, Counts, DeviceKey, GroupKey, Page, StoreError,
};
use tokio::sync::Notify;

use crate::actions::unfinished_acts;
use crate::driver::Shared;
use crate::limits::{FILL_CHUNK, RETRY_PAUSE, SCHEDULE_CHECK_EVERY, STARTED_AT_ONCE_MAX};

/// Something to be done for a campaign: one chunk at a time, campaigns in turn.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// Make its deployments, and then what follows.
    Fill {
        campaign: CampaignKey,
        /// The connected devices that still have their turn before the others; `None`: it has not begun.
        first: Option<Connected>,
    },
    /// Let its queued deployments go, and look at those that may go already.
    Release(CampaignKey),
    /// End what is not finished.
    End(CampaignKey),
    /// Do what was asked of its deployments.
    Act {
        campaign: CampaignKey,
        /// It begins with a stop.
        stops: bool,
    },
    /// Take away the deployments of one that was deleted.
    Forget(CampaignKey),
    /// Take away the members of a group that was deleted.
    ForgetGroup(GroupKey),
}

impl Work {
    /// Whether both are the same kind of work for the same campaign.
    fn is_like(&self, other: &Work) -> bool {
        match (self, other) {
            (Work::Fill { campaign, .. }, Work::Fill { campaign: of, .. }) => campaign == of,
            (Work::Release(campaign), Work::Release(of))
            | (Work::End(campaign), Work::End(of))
            | (Work::Forget(campaign), Work::Forget(of)) => campaign == of,
            (Work::Act { campaign, .. }, Work::Act { campaign: of, .. }) => campaign == of,
            (Work::ForgetGroup(group), Work::ForgetGroup(of)) => group == of,
            (
                Work::Fill { .. }
                | Work::Release(_)
                | Work::End(_)
                | Work::Act { .. }
                | Work::Forget(_)
                | Work::ForgetGroup(_),
                _,
            ) => false,
        }
    }

    /// Whether devices may go because of it.
    fn lets_go(&self) -> bool {
        match self {
            Work::Fill { .. } | Work::Release(_) | Work::Act { stops: false, .. } => true,
            Work::End(_) | Work::Act { stops: true, .. } | Work::Forget(_) | Work::ForgetGroup(_) => false,
        }
    }

    /// What follows once a campaign was started or resumed.
    pub(crate) fn after_start(row: &CampaignRow) -> Work {
        if row.filled { Work::Release(row.key) } else { Work::Fill { campaign: row.key, first: None } }
    }
}

/// The devices that were connected when the making of a campaign's deployments began: one list for all chunks, which costs
/// a million connected devices 8 MB for as long as their deployments are made.
#[derive(Clone, Debug)]
pub(crate) struct Connected {
    devices: Arc<[DeviceKey]>,
    /// So many had their turn.
    done: usize,
}

impl Connected {
    fn of(devices: Vec<DeviceKey>) -> Connected {
        Connected { devices: devices.into(), done: 0 }
    }

    /// Those whose turn it is.
    fn chunk(&self) -> &[DeviceKey] {
        let end = self.devices.len().min(self.done + FILL_CHUNK as usize);
        &self.devices[self.done..end]
    }

    /// Those have had their turn.
    fn go_on(&mut self) {
        self.done += self.chunk().len();
        if self.done == self.devices.len() {
            *self = Connected::of(Vec::new());
        }
    }
}

/// What waits to be done for campaigns.
#[derive(Default)]
pub(crate) struct CampaignWork {
    waiting: Mutex<VecDeque<Work>>,
    added: Notify,
}

impl CampaignWork {
    pub(crate) fn add(&self, work: Work) {
        {
            let mut waiting = self.lock();
            if waiting.iter().any(|other| other.is_like(&work)) {
                return; // it will do what this one would
            }
            match work {
                // Who stops something does not want to wait for what others start.
                Work::End(_) | Work::Act { stops: true, .. } => waiting.push_front(work),
                Work::Fill { .. }
                | Work::Release(_)
                | Work::Act { stops: false, .. }
                | Work::Forget(_)
                | Work::ForgetGroup(_) => {
                    waiting.push_back(work);
                }
            }
        }
        self.added.notify_one();
    }

    /// Behind all others, so that what fails again and again holds them up as little as possible.
    fn put_back(&self, work: Work) {
        self.lock().push_back(work);
        self.added.notify_one();
    }

    /// Before all others but those that are put in front: its turn has come, and it cannot be done yet.
    fn keep_turn(&self, work: Work) {
        self.lock().push_front(work);
    }

    pub(crate) fn wake(&self) {
        self.added.notify_one();
    }

    fn take(&self) -> Option<Work> {
        self.lock().pop_front()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Work>> {
        self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Does what waits, until the engine stops.
pub(crate) async fn work(shared: Arc<Shared>) {
    while !shared.is_stopping() {
        let Some(work) = shared.campaign_work.take() else {
            shared.campaign_work.added.notified().await;
            continue;
        };
        if work.lets_go() && !shared.inbox.has_few_looks() {
            // Connected devices are let go before more of them may go. What is stopped meanwhile goes first.
            shared.campaign_work.keep_turn(work);
            tokio::select! {
                biased;
                () = shared.campaign_work.added.notified() => {}
                () = shared.inbox.few_looks() => {}
            }
            continue;
        }
        match shared.do_work(work.clone()).await {
            Ok(Some(rest)) => shared.campaign_work.add(rest),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(?work, %error, "work on a campaign failed; it is tried again");
                let others_wait = !shared.campaign_work.lock().is_empty();
                tokio::time::sleep(if others_wait { RETRY_PAUSE.0 } else { RETRY_PAUSE.1 }).await;
                shared.campaign_work.put_back(work);
            }
        }
        // Batches of reports come in between.
        tokio::task::yield_now().await;
    }
}

/// Starts campaigns whose time has come, until the engine stops.
pub(crate) async fn keep_schedule(shared: Arc<Shared>) {
    while !shared.is_stopping() {
        let pause = match shared.start_due().await {
            Ok(Some(next)) => {
                let ahead = u64::try_from(next.0.saturating_sub(shared.clock.wall().0)).unwrap_or(0);
                Duration::from_millis(ahead).clamp(RETRY_PAUSE.0, SCHEDULE_CHECK_EVERY)
            }
            Ok(None) => SCHEDULE_CHECK_EVERY,
            Err(error) => {
                tracing::warn!(%error, "campaigns whose time has come could not be started; it is tried again");
                RETRY_PAUSE.1
            }
        };
        tokio::select! {
            biased;
            () = shared.schedule_changed.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

impl Shared {
    /// Starts the campaigns whose time has come, also while nobody was here. Answers with the time of the next one.
    async fn start_due(&self) -> Result<Option<WallTime>, StoreError> {
        let next = self.store.next_start().await?;
        let now = self.clock.wall();
        if next.is_none_or(|next| next > now) {
            return Ok(next);
        }
        for row in self.store.start_due(&self.platform(), STARTED_AT_ONCE_MAX, now).await? {
            tracing::info!(campaign_id = %row.campaign_id, "the campaign starts by itself");
            self.campaign_work.add(Work::after_start(&row));
        }
        self.store.next_start().await
    }

    /// Finds what a crash or a shutdown left to be done.
    pub(crate) async fn resume_campaigns(&self) -> Result<(), StoreError> {
        for work in unfinished_acts(&self.store.actions(None).await?) {
            self.campaign_work.add(work);
        }
        for campaign in self.store.leaving_campaigns().await? {
            self.campaign_work.add(Work::Forget(campaign));
        }
        for group in self.store.leaving_groups().await? {
            self.campaign_work.add(Work::ForgetGroup(group));
        }
        let states = CampaignState::ALL.into_iter().filter(|state| *state != CampaignState::Finished);
        let not_finished = CampaignFilter { states: Some(states.collect()), ..CampaignFilter::default() };
        let mut after = None;
        loop {
            let campaigns = self.store.campaigns(not_finished.clone(), Page { after, limit: 100 }).await?;
            let Some((last, _)) = campaigns.last() else { return Ok(()) };
            after = Some(last.key);
            for (row, counts) in &campaigns {
                if let Some(work) = unfinished_work(row, counts) {
                    self.campaign_work.add(work);
                }
            }
        }
    }

    /// Does one chunk; answers with what is left.
    async fn do_work(&self, work: Work) -> Result<Option<Work>, StoreError> {
        match work {
            Work::Fill { campaign, first } => self.fill(campaign, first).await,
            Work::Release(campaign) => self.release(campaign).await,
            Work::End(campaign) => self.end(campaign).await,
            Work::Act { campaign, .. } => self.act_further(campaign).await,
            Work::Forget(campaign) => {
                let done = self.store.forget_deployments(campaign, FILL_CHUNK).await?;
                Ok((!done).then_some(Work::Forget(campaign)))
            }
            Work::ForgetGroup(group) => {
                let done = self.store.forget_members(group, FILL_CHUNK).await?;
                Ok((!done).then_some(Work::ForgetGroup(group)))
            }
        }
    }

    /// Deletes a campaign that has ended; its deployments follow in the background. `false`: it has not ended, or is
    /// not there.
    pub(crate) async fn delete_campaign(&self, by: &Actor, campaign_id: &str) -> Result<bool, StoreError> {
        let deleted = match self.store.delete_campaign(by, campaign_id, self.clock.wall()).await {
            Err(StoreError::Missing { .. }) => None,
            other => other?,
        };
        if let Some(key) = deleted {
            self.feed.campaign_deleted(campaign_id);
            self.campaign_work.add(Work::Forget(key));
        }
        Ok(deleted.is_some())
    }

    /// Makes a chunk of the campaign's deployments; connected devices come first and go at once.
    async fn fill(
        &self,
        campaign: CampaignKey,
        first: Option<Connected>,
    ) -> Result<Option<Work>, StoreError> {
        let Some((row, _)) = self.store.campaign_by_key(campaign).await? else { return Ok(None) };
        let is_open = matches!(row.state, CampaignState::Preparing | CampaignState::Paused);
        if is_open && !row.filled {
            // Those that connect from now on get theirs with the others.
            let mut first = first.unwrap_or_else(|| Connected::of(self.sessions.connected()));
            let initial = first_step(row.started, &row.policy, self.waited_until(&row.policy));
            let filled = self
                .store
                .fill_campaign(campaign, FILL_CHUNK, self.clock.wall(), &initial, first.chunk())
                .await?;
            self.feed.campaigns_moved([campaign]);
            if row.started {
                self.consider(&filled.added);
            }
            if !filled.done {
                first.go_on();
                return Ok(Some(Work::Fill { campaign, first: Some(first) }));
            }
        }
        self.filled(campaign).await
    }

    /// The campaign's deployments are made: moves it on to where its operator wants it.
    async fn filled(&self, campaign: CampaignKey) -> Result<Option<Work>, StoreError> {
        let Some((row, _)) = self.store.campaign_by_key(campaign).await? else { return Ok(None) };
        if row.filled && row.state == CampaignState::Preparing {
            let to = if row.started { CampaignState::Running } else { CampaignState::Draft };
            self.move_by_itself(campaign, CampaignState::Preparing, to).await?;
        }
        // It may have been started while it was made a draft.
        let Some((row, _)) = self.store.campaign_by_key(campaign).await? else { return Ok(None) };
        if row.filled && row.started {
            self.move_by_itself(campaign, CampaignState::Draft, CampaignState::Running).await?;
        }
        self.note_wake(self.store.next_wake().await?);
        Ok(row.started.then_some(Work::Release(campaign)))
    }

    /// Moves a campaign on, if it is still in `from`.
    async fn move_by_itself(
        &self,
        campaign: CampaignKey,
        from: CampaignState,
        to: CampaignState,
    ) -> Result<(), StoreError> {
        let now = self.clock.wall();
        self.store.move_campaign(&self.platform(), campaign, &[from], to, None, now).await?;
        self.feed.campaigns_moved([campaign]);
        Ok(())
    }

    /// Lets a chunk of queued deployments go; after the last one looks at every connected device, and ends a
    /// campaign that has nothing to do.
    async fn release(&self, campaign: CampaignKey) -> Result<Option<Work>, StoreError> {
        let Some((row, counts)) = self.store.campaign_by_key(campaign).await? else { return Ok(None) };
        if row.state != CampaignState::Running {
            return Ok(None);
        }
        // What has to be confirmed waits for a person.
        if counts.of(Label::Queued) > 0 && !row.policy.need_confirm {
            let released = Deployment::released(self.waited_until(&row.policy));
            let chunk = self.store.release_chunk(campaign, FILL_CHUNK, self.clock.wall(), &released).await?;
            self.feed.campaigns_moved([campaign]);
            self.consider(&chunk.moved);
            if !chunk.done {
                return Ok(Some(Work::Release(campaign)));
            }
        }
        self.note_wake(self.store.next_wake().await?);
        self.consider_connected();
        if row.filled && counts.unfinished() == 0 {
            self.move_by_itself(campaign, CampaignState::Running, CampaignState::Finished).await?;
        }
        Ok(None)
    }

    /// Ends a chunk of what is not finished.
    async fn end(&self, campaign: CampaignKey) -> Result<Option<Work>, StoreError> {
        let last = self.end_chunk(campaign).await?;
        if last.is_some() {
            return Ok(Some(Work::End(campaign)));
        }
        self.consider_connected();
        Ok(None)
    }

    /// When the absence of a device that may go from now on becomes an outcome.
    fn waited_until(&self, policy: &Policy) -> ServiceTime {
        self.service.now().after(Duration::from_millis(policy.timers.online_ms))
    }

    pub(crate) fn consider(&self, devices: &[DeviceKey]) {
        let connected = self.sessions.connected_among(devices);
        self.inbox.consider_all(connected);
    }

    /// Looks at every device that can be reached, and at the children of every gateway.
    pub(crate) fn consider_connected(&self) {
        self.inbox.begin_round(self.sessions.settled());
    }
}

/// What is left to be done for a campaign as found in the store.
fn unfinished_work(row: &CampaignRow, counts: &Counts) -> Option<Work> {
    match row.state {
        CampaignState::Preparing => Some(Work::Fill { campaign: row.key, first: None }),
        CampaignState::Paused if !row.filled => Some(Work::after_start(row)),
        CampaignState::Draft if row.started => Some(Work::Fill { campaign: row.key, first: None }),
        CampaignState::Running
            if (counts.of(Label::Queued) > 0 && !row.policy.need_confirm) || counts.unfinished() == 0 =>
        {
            Some(Work::Release(row.key))
        }
        CampaignState::Cancelled if counts.unfinished() > 0 => Some(Work::End(row.key)),
        CampaignState::Draft
        | CampaignState::Scheduled
        | CampaignState::Running
        | CampaignState::Paused
        | CampaignState::Finished
        | CampaignState::Cancelled => None,
    }
}
