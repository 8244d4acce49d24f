//! What operators do to deployments, as a batch of its own: stop, retry, confirm, and the end of all of them.

use otaru_core::campaign::{Act, Selection, ToDo, first_step};
use otaru_core::deployment::{Event, Label};
use otaru_store::{ActionKey, CampaignKey, Changes, DeploymentKey, DeviceKey, FurtherRun, Loaded, Progress};

use super::{Answer, Around, Desk, moved};
use crate::ids::deployment_id;

/// What an operator wants done to the deployments that are loaded as `latest`.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) campaign: CampaignKey,
    pub(crate) act: Act,
    pub(crate) selection: Selection,
    /// What it is to be written down as; for what was asked before, that was done when it was asked.
    pub(crate) by: By,
}

/// How the wish came here.
#[derive(Clone, Debug)]
pub(crate) enum By {
    /// An operator waits for the answer; who it is.
    Now(String),
    /// It was asked before; so many deployments were to be loaded.
    Stored(ActionKey, usize),
}

/// What became of one deployment.
#[derive(Clone, Debug)]
pub(crate) struct ActedOn<I> {
    pub(crate) device: DeviceKey,
    pub(crate) treated: Treated,
    /// Of the run that was found; for a retried one, of the further run, which has none before it is stored.
    pub(crate) deployment_id: I,
    pub(crate) run: u32,
    /// Where it is now; for a retried one, where the further run is.
    pub(crate) label: Label,
}

impl ActedOn<Option<String>> {
    /// With the id that it has by now.
    pub(crate) fn named(self, id_of_next: impl FnOnce() -> Option<String>) -> Option<ActedOn<String>> {
        let ActedOn { device, treated, deployment_id, run, label } = self;
        let deployment_id = deployment_id.or_else(id_of_next)?;
        Some(ActedOn { device, treated, deployment_id, run, label })
    }
}

impl<I> ActedOn<I> {
    /// Whether the device may be told since.
    pub(crate) fn may_go(&self) -> bool {
        self.treated == Treated::Done && !self.label.is_finished()
    }
}

/// What became of each, in order.
pub(crate) type Acted = Vec<ActedOn<Option<String>>>;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Treated {
    Done,
    NotMeant,
    WrongState,
    /// The device was deleted.
    Gone,
}

/// Does what an operator wants; everything that cannot be done is left as it is. Doing it again changes nothing more.
pub(crate) fn act(mut loaded: Loaded, wish: &Wish, around: &Around<'_>) -> (Changes, (Answer, Acted)) {
    let latest = std::mem::take(&mut loaded.latest);
    let last = latest.last().map(|row| row.key);
    let (number, mut is_over) = (latest.len(), true);
    let mut desk = Desk::new(loaded, around);
    let mut acted = Vec::with_capacity(latest.len());
    let campaign = desk.binders.get(&wish.campaign).map(|binder| binder.row.clone());
    if let Some(campaign) = campaign {
        // It may have ended since it was asked.
        let accepted = wish.act.is_accepted(campaign.state, campaign.started);
        is_over = !accepted;
        let until = around.now.after(std::time::Duration::from_millis(campaign.policy.timers.online_ms));
        let first = first_step(campaign.started, &campaign.policy, until);
        for row in latest {
            let label = row.deployment.label();
            let treated = match wish.act.to_do(&wish.selection, &row.deployment) {
                _ if !desk.folders.contains_key(&row.device) => Treated::Gone,
                ToDo::NotMeant => Treated::NotMeant,
                ToDo::Act if !accepted => Treated::WrongState,
                ToDo::WrongState => Treated::WrongState,
                ToDo::Act => Treated::Done,
            };
            let (mut after, mut run) = (label, row.run);
            let mut id = Some(deployment_id(row.created_at, row.key));
            if treated == Treated::Done {
                match wish.act {
                    Act::Stop => after = desk.applied(row.device, row.key, Event::Cancelled).unwrap_or(label),
                    Act::Confirm => after = desk.applied(row.device, row.key, Event::Opened).unwrap_or(label),
                    // The attempt belongs to the run that there is.
                    Act::Retry if label == Label::Waiting => {
                        after = desk.applied(row.device, row.key, Event::Retried).unwrap_or(label);
                    }
                    Act::Retry => {
                        after = first.label();
                        (run, id) = (run + 1, None);
                        let again = FurtherRun { previous: row.key, deployment: first.clone() };
                        desk.changes.runs.push(again);
                        if let Some(binder) = desk.binders.get_mut(&wish.campaign) {
                            moved(binder, label, after);
                        }
                    }
                }
            }
            acted.push(ActedOn { device: row.device, treated, deployment_id: id, run, label: after });
        }
        if acted.iter().any(|one| one.treated == Treated::Done) {
            desk.answer.moved.insert(wish.campaign);
            if let By::Now(actor) = &wish.by {
                let action = otaru_store::acted(wish.act).to_owned();
                desk.changes.audit.push((actor.clone(), action, campaign.campaign_id.clone()));
            }
            if !desk.changes.runs.is_empty() {
                desk.changes.reopened.push(wish.campaign);
            }
        }
    }
    let (mut changes, answer) = desk.finish();
    changes.action = match (&wish.by, last) {
        (By::Stored(action, limit), Some(last)) if number >= *limit && !is_over => {
            Some((*action, Progress::UpTo(last)))
        }
        (By::Stored(action, _), _) => Some((*action, Progress::Done)),
        (By::Now(_), _) => None,
    };
    (changes, (answer, acted))
}

/// What ends all these deployments in the same way: an operator's cancel, or a device's deletion.
pub(crate) fn end_all(
    loaded: Loaded,
    only: Option<CampaignKey>,
    event: Event<'_>,
    around: &Around<'_>,
) -> (Changes, Answer) {
    let mut desk = Desk::new(loaded, around);
    let devices: Vec<DeviceKey> = desk.folders.keys().copied().collect();
    for device in devices {
        for index in 0..desk.folders.get(&device).map_or(0, |f| f.rows.len()) {
            if only.is_none_or(|campaign| desk.folders[&device].rows[index].campaign == campaign) {
                desk.apply(device, index, event);
            }
        }
    }
    desk.let_go();
    desk.finish()
}

impl Desk<'_> {
    /// Applies an event to one of a device's unfinished deployments; where it is then.
    fn applied(&mut self, device: DeviceKey, deployment: DeploymentKey, event: Event<'_>) -> Option<Label> {
        let index = self.folders.get(&device)?.rows.iter().position(|row| row.key == deployment)?;
        self.apply(device, index, event);
        self.folders.get(&device)?.rows.get(index).map(|row| row.deployment.label())
    }
}
