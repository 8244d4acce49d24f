//! What holds for any history, each promise a function with the sentence as its doc comment.

use std::collections::{BTreeMap, BTreeSet};

use otaru_core::ServiceTime;
use otaru_core::campaign::{CampaignState, Policy};
use otaru_core::deployment::{Deployment, Label, OutcomeKind, State};
use otaru_store::{
    CampaignFilter, CampaignKey, Counts, DeploymentFilter, DeploymentKey, DeploymentRecord, DeviceKey, Page,
    Store, StoreError,
};

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The name of the function that holds the sentence.
    pub promise: &'static str,
    /// What was seen instead.
    pub seen: String,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.promise, self.seen)
    }
}

/// A campaign as it is looked at.
pub(crate) struct Looked {
    pub(crate) key: CampaignKey,
    pub(crate) policy: Policy,
    pub(crate) is_over: bool,
    pub(crate) is_cancelled: bool,
    pub(crate) counts: Counts,
    /// The versions of its packages.
    pub(crate) versions: Vec<String>,
    pub(crate) deployments: Vec<DeploymentRecord>,
}

/// Everything that is stored of campaigns, seen at one moment.
pub(crate) struct Sight {
    pub(crate) campaigns: Vec<Looked>,
    next_wake: Option<ServiceTime>,
    quarantined: usize,
}

impl Sight {
    /// Looks. Reading the store in memory does not wait, so that nothing changes meanwhile.
    pub(crate) async fn of(store: &Store) -> Result<Sight, StoreError> {
        let mut campaigns = Vec::new();
        for (row, counts) in
            store.campaigns(CampaignFilter::default(), Page { after: None, limit: 100 }).await?
        {
            let versions = row.packages.iter().map(|package| package.version.clone()).collect();
            let page = Page { after: None, limit: u32::MAX };
            let deployments = store.deployments(row.key, DeploymentFilter::default(), page).await?;
            campaigns.push(Looked {
                key: row.key,
                policy: row.policy.clone(),
                is_over: matches!(row.state, CampaignState::Finished | CampaignState::Cancelled),
                is_cancelled: row.state == CampaignState::Cancelled,
                counts,
                versions,
                deployments,
            });
        }
        let quarantined = store.quarantined(10).await?.len();
        Ok(Sight { campaigns, next_wake: store.next_wake().await?, quarantined })
    }

    fn deployments(&self) -> impl Iterator<Item = (&Looked, &DeploymentRecord)> {
        self.campaigns.iter().flat_map(|campaign| campaign.deployments.iter().map(move |one| (campaign, one)))
    }
}

/// What somebody who watches everything from outside remembers.
#[derive(Default)]
pub(crate) struct Witness {
    before: BTreeMap<DeploymentKey, Deployment>,
    /// The versions that each device named in a message that reached the platform.
    pub(crate) named: BTreeMap<String, BTreeSet<String>>,
    /// On which link notice was given of which attempt.
    notices: BTreeSet<(u64, DeploymentKey, u32)>,
}

type Kept = Result<(), Broken>;

fn broken(promise: &'static str, seen: String) -> Kept {
    Err(Broken { promise, seen })
}

impl Witness {
    /// Looks at everything that is stored.
    pub(crate) fn look(&mut self, sight: &Sight) -> Kept {
        self.what_is_finished_stays(sight)?;
        self.installed_means_that_the_device_said_so(sight)?;
        self.progress_goes_forward_within_an_attempt(sight)?;
        no_device_is_worked_on_twice(sight)?;
        counters_equal_the_recount(sight)?;
        slots_are_not_exceeded(sight)?;
        nothing_waits_for_nothing(sight)?;
        attempts_and_notices_are_limited(sight)?;
        nothing_is_kept_aside(sight)?;
        self.before = sight.deployments().map(|(_, one)| (one.row.key, one.row.deployment.clone())).collect();
        Ok(())
    }

    /// What is finished stays as it is, but for notes of what came late.
    fn what_is_finished_stays(&self, sight: &Sight) -> Kept {
        for (_, one) in sight.deployments() {
            let Some(before) = self.before.get(&one.row.key) else { continue };
            let after = &one.row.deployment;
            if before.label().is_finished()
                && (after.state != before.state || (before.late_success && !after.late_success))
            {
                let seen = format!("{}: {:?} became {:?}", one.device_id, before.state, after.state);
                return broken("what_is_finished_stays", seen);
            }
        }
        Ok(())
    }

    /// A deployment counts as installed only if a message of the device reached us that names the version.
    fn installed_means_that_the_device_said_so(&self, sight: &Sight) -> Kept {
        for (campaign, one) in sight.deployments() {
            let is_there = matches!(
                one.row.deployment.label(),
                Label::Finished(OutcomeKind::Installed | OutcomeKind::AlreadyInstalled)
            );
            let named = self.named.get(one.device_id.as_str());
            let is_named =
                named.is_some_and(|named| campaign.versions.iter().any(|wanted| named.contains(wanted)));
            if is_there && !is_named {
                return broken(
                    "installed_means_that_the_device_said_so",
                    format!("{} never said so", one.device_id),
                );
            }
        }
        Ok(())
    }

    /// Within one attempt progress only grows; the pause before the next one begins it anew.
    fn progress_goes_forward_within_an_attempt(&self, sight: &Sight) -> Kept {
        for (_, one) in sight.deployments() {
            let Some(before) = self.before.get(&one.row.key) else { continue };
            let after = &one.row.deployment;
            let is_same = before.attempt == after.attempt && after.label() != Label::Waiting;
            if is_same && after.progress < before.progress {
                let seen = format!("{}: {:?} after {:?}", one.device_id, after.progress, before.progress);
                return broken("progress_goes_forward_within_an_attempt", seen);
            }
        }
        Ok(())
    }

    /// No notice is said twice in one session: a new one belongs to a new attempt.
    pub(crate) fn no_notice_is_said_twice_in_a_session(
        &mut self,
        link: u64,
        deployment: DeploymentKey,
        attempt: u32,
    ) -> Kept {
        if !self.notices.insert((link, deployment, attempt)) {
            let seen = format!("attempt {attempt} of {deployment:?} on link {link}");
            return broken("no_notice_is_said_twice_in_a_session", seen);
        }
        Ok(())
    }
}

/// No device has two deployments at work.
fn no_device_is_worked_on_twice(sight: &Sight) -> Kept {
    let mut at_work: BTreeSet<DeviceKey> = BTreeSet::new();
    for (_, one) in sight.deployments() {
        if one.row.deployment.label().holds_slot() && !at_work.insert(one.row.device) {
            return broken("no_device_is_worked_on_twice", one.device_id.to_string());
        }
    }
    Ok(())
}

/// A campaign's counters equal what is counted one by one.
fn counters_equal_the_recount(sight: &Sight) -> Kept {
    for campaign in &sight.campaigns {
        let mut recount: BTreeMap<Label, u64> = BTreeMap::new();
        for one in &campaign.deployments {
            *recount.entry(one.row.deployment.label()).or_default() += 1;
        }
        let counts: BTreeMap<Label, u64> = campaign
            .counts
            .0
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(label, n)| (*label, *n))
            .collect();
        if counts != recount {
            return broken("counters_equal_the_recount", format!("{counts:?}, recounted {recount:?}"));
        }
    }
    Ok(())
}

/// No more devices are at work than the campaign has slots.
fn slots_are_not_exceeded(sight: &Sight) -> Kept {
    for campaign in &sight.campaigns {
        let held = campaign.counts.slots_held();
        if let Some(most) = campaign.policy.slots.concurrency
            && held > u64::from(most)
        {
            return broken(
                "slots_are_not_exceeded",
                format!("{held} of {most} in campaign {:?}", campaign.key),
            );
        }
    }
    Ok(())
}

/// Whatever is unfinished waits for a deadline or for a person, and the store knows the earliest deadline.
fn nothing_waits_for_nothing(sight: &Sight) -> Kept {
    for (_, one) in sight.deployments() {
        let deployment = &one.row.deployment;
        let wake = deployment.wake_at();
        let waits_for_a_person = matches!(deployment.state, State::Queued | State::Finished(_));
        if wake.is_none() != waits_for_a_person {
            return broken("nothing_waits_for_nothing", format!("{}: {:?}", one.device_id, deployment.state));
        }
        if wake.is_some_and(|wake| sight.next_wake.is_none_or(|next| next > wake)) {
            let seen =
                format!("{} waits for {wake:?}, and the store for {:?}", one.device_id, sight.next_wake);
            return broken("nothing_waits_for_nothing", seen);
        }
    }
    Ok(())
}

/// Nobody is tried more often, or told more often in one attempt, than the campaign says.
fn attempts_and_notices_are_limited(sight: &Sight) -> Kept {
    for (campaign, one) in sight.deployments() {
        let deployment = &one.row.deployment;
        if deployment.attempt > campaign.policy.retry.count + 1
            || deployment.notices > campaign.policy.notices_max
        {
            let seen =
                format!("{}: attempt {}, notice {}", one.device_id, deployment.attempt, deployment.notices);
            return broken("attempts_and_notices_are_limited", seen);
        }
    }
    Ok(())
}

/// No event is so odd that it cannot be decided and stored.
fn nothing_is_kept_aside(sight: &Sight) -> Kept {
    if sight.quarantined > 0 {
        return broken("nothing_is_kept_aside", format!("{} events in quarantine", sight.quarantined));
    }
    Ok(())
}

/// What is acknowledged is in the history, word for word, before the device hears of it.
pub(crate) async fn what_is_acknowledged_is_in_the_history(
    store: &Store,
    device: DeviceKey,
    payload: &[u8],
) -> Kept {
    let promise = "what_is_acknowledged_is_in_the_history";
    let mut before = None;
    loop {
        let page = match store.reports(device, before, 50).await {
            Ok(page) => page,
            Err(error) => return broken(promise, error.to_string()),
        };
        if page.iter().any(|report| report.payload == payload) {
            return Ok(());
        }
        match page.last() {
            Some(last) => before = Some(last.seq),
            None => return broken(promise, String::from_utf8_lossy(payload).into_owned()),
        }
    }
}

/// Messages are acknowledged in the order in which they arrived, each once.
pub(crate) fn acknowledgements_come_in_order(open: Option<u16>, acknowledged: u16) -> Kept {
    if open != Some(acknowledged) {
        return broken("acknowledgements_come_in_order", format!("{acknowledged} instead of {open:?}"));
    }
    Ok(())
}
