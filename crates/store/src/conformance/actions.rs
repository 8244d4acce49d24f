//! What operators do to deployments: further runs, and what was asked of many.

use std::collections::BTreeSet;

use otaru_core::campaign::{Act, CampaignState, Selection};
use otaru_core::deployment::{Deployment, Label, OutcomeKind};
use otaru_core::{ServiceTime, WallTime};

use super::world::{Must, NOW, World, asked, finished, id, new_device, offered, released};
use crate::{
    ActionKey, Asked, CampaignKey, Changes, DeploymentFilter, DeploymentKey, DeploymentRow, DeviceKey,
    FurtherRun, Latest, Page, Progress, StoreError, Wanted, Which,
};

const FAILED: Label = Label::Finished(OutcomeKind::Failed);

pub(super) async fn a_further_run_takes_the_place_of_the_one_before(world: &World) {
    let devices = world.devices(3).await;
    let campaign = world.filled("c1", &released(9)).await;
    for device in &devices[..2] {
        world.put(campaign, *device, finished(OutcomeKind::Failed)).await.must();
    }
    let first = world.store.deployment_of(campaign, devices[0]).await.must().must().row;
    let made = world.run_again(campaign, &devices[..1], released(77)).await.must();
    let second = world.store.deployment_of(campaign, devices[0]).await.must().must().row;
    assert_eq!(made, [second.key]);
    let expected = DeploymentRow {
        key: second.key,
        run: 2,
        deployment: released(77),
        created_at: NOW,
        updated_at: NOW,
        ..first.clone()
    };
    assert_eq!(second, expected);
    assert!(second.key > first.key);
    // The counters are about the latest run, and so are the lists.
    assert_eq!(world.counts(campaign).await, [(Label::Released, 2), (FAILED, 1)].into());
    let listed = world.deployments(campaign, DeploymentFilter::default()).await;
    let listed: Vec<DeploymentKey> = listed.iter().map(|record| record.row.key).collect();
    assert_eq!(listed.len(), 3);
    assert!(listed.contains(&second.key) && !listed.contains(&first.key));
    assert_eq!(world.deployments(campaign, DeploymentFilter::only(FAILED)).await.len(), 1);
    let failures = world.store.failures(campaign, 10, 10).await.must();
    assert_eq!(failures.iter().map(|group| (group.label, group.n)).collect::<Vec<_>>(), [(FAILED, 1)]);
    // The history of the device has both.
    let history = world.store.deployments_of_device(devices[0], 10).await.must();
    assert_eq!(history.iter().map(|record| record.row.run).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(world.store.next_wake().await.must(), Some(ServiceTime(9)));
    // And so on.
    world.put(campaign, devices[0], finished(OutcomeKind::TimedOut)).await.must();
    world.run_again(campaign, &devices[..1], Deployment::queued()).await.must();
    assert_eq!(world.store.deployment_of(campaign, devices[0]).await.must().must().row.run, 3);
    let expected = [(Label::Queued, 1), (Label::Released, 1), (FAILED, 1)];
    assert_eq!(world.counts(campaign).await, expected.into());
}

pub(super) async fn what_is_finished_stays_when_there_is_a_further_run(world: &World) {
    let device = world.device("device1").await;
    let campaign = world.filled("c1", &released(9)).await;
    world.put(campaign, device, finished(OutcomeKind::TimedOut)).await.must();
    let first = world.store.deployment_of(campaign, device).await.must().must().row;
    world.run_again(campaign, &[device], released(77)).await.must();
    assert_eq!(world.store.deployment(first.key).await.must().must().row, first);
    // The truth about it may still arrive, and belongs to it.
    let loaded = world.load(Wanted { devices: vec![device], ..Wanted::default() }).await;
    let view = &loaded.devices[&device];
    assert_eq!(view.last_finished.as_ref().map(|row| row.key), Some(first.key));
    assert_eq!(view.unfinished.iter().map(|row| row.run).collect::<Vec<_>>(), [2]);
    let late = Deployment { late_success: true, ..first.deployment.clone() };
    let changes = Changes {
        deployments: vec![DeploymentRow { deployment: late, ..first.clone() }],
        ..Changes::default()
    };
    world.batch(&[device], |_| (changes, ())).await.must();
    assert!(world.store.deployment(first.key).await.must().must().row.deployment.late_success);
    assert_eq!(world.counts(campaign).await, [(Label::Released, 1)].into());
    let timed_out = DeploymentFilter::only(Label::Finished(OutcomeKind::TimedOut));
    assert_eq!(world.deployments(campaign, timed_out).await, []);
}

pub(super) async fn a_further_run_that_breaks_a_rule_leaves_nothing(world: &World) {
    let devices = world.devices(3).await;
    let campaign = world.filled("c1", &released(9)).await;
    world.put(campaign, devices[0], finished(OutcomeKind::Failed)).await.must();
    world.put(campaign, devices[1], finished(OutcomeKind::Removed)).await.must();
    world.put(campaign, devices[2], finished(OutcomeKind::Failed)).await.must();
    let key = async |device| world.store.deployment_of(campaign, device).await.must().must().row.key;
    let (first, of_gone) = (key(devices[0]).await, key(devices[1]).await);
    world.store.delete_device(&world.actor, &id("device00001"), NOW).await.must();
    let run = |previous, deployment: Deployment| FurtherRun { previous, deployment };
    let again = run(first, released(77));
    world.run_again(campaign, &devices[..1], released(77)).await.must();
    let second = key(devices[0]).await;
    for (runs, words) in [
        (vec![again.clone()], "further run"),
        (vec![run(second, released(77))], "not finished"),
        (vec![run(of_gone, released(77))], "not there"),
        (vec![run(DeploymentKey(99), released(77))], "there is none"),
    ] {
        refused(world, runs, words).await;
    }
    world.put(campaign, devices[0], finished(OutcomeKind::Failed)).await.must();
    refused(world, vec![run(second, offered(7))], "in the middle").await;
    refused(world, vec![run(second, released(7)), run(second, released(7))], "twice").await;
    assert_eq!(
        world.counts(campaign).await,
        [(FAILED, 2), (Label::Finished(OutcomeKind::Removed), 1)].into()
    );
}

/// A rule that an index keeps is said in the words of the database.
async fn refused(world: &World, runs: Vec<FurtherRun>, words: &str) {
    let changes = Changes { runs, ..Changes::default() };
    let refused = world.batch(&[], |_| (changes, ())).await.map(|_| ());
    let said = matches!(&refused, Err(StoreError::Constraint(said)) if said.contains(words) || said.contains("UNIQUE"));
    assert!(said, "{words}: {refused:?}");
}

pub(super) async fn the_latest_runs_are_found_by_device_and_by_label(world: &World) {
    let mut devices = world.devices(5).await;
    let campaign = world.filled("c1", &released(9)).await;
    let other = world.filled("c2", &Deployment::queued()).await;
    let late = world.device_with(new_device("late")).await.row.key;
    for device in [0, 1, 3] {
        world.put(campaign, devices[device], finished(OutcomeKind::Failed)).await.must();
    }
    world.put(campaign, devices[4], asked(3)).await.must();
    world.run_again(campaign, &[devices[1]], released(77)).await.must();
    devices.push(late);
    let load = async |which| {
        let latest = Some(Latest { campaign, which });
        let loaded = world.load(Wanted { latest, ..Wanted::default() }).await;
        for row in &loaded.latest {
            assert!(loaded.devices.contains_key(&row.device), "each comes with its device");
        }
        assert!(loaded.campaigns.contains_key(&campaign), "and all with the campaign");
        let place = |device| devices.iter().position(|known| *known == device).must();
        let rows = loaded.latest.iter().map(|row| (place(row.device), row.run));
        (rows.collect::<Vec<_>>(), loaded.latest.last().map(|row| row.key))
    };
    let named = vec![devices[3], late, devices[1], devices[0], devices[1], DeviceKey(99)];
    let found = load(Which::Devices(named)).await.0;
    assert_eq!(found, [(0, 1), (3, 1), (1, 2)], "by key, each once");
    assert_eq!(load(Which::Devices(vec![late])).await.0, []);
    let failed = BTreeSet::from([FAILED]);
    let labels = |labels: &BTreeSet<Label>, after, until, limit| {
        let filter = DeploymentFilter { labels: Some(labels.clone()), ..DeploymentFilter::default() };
        Which::Page { filter, page: Page { after, limit }, until }
    };
    let (page, last) = load(labels(&failed, None, None, 1)).await;
    assert_eq!(page, [(0, 1)]);
    assert_eq!(
        load(labels(&failed, last, None, 5)).await.0,
        [(3, 1)],
        "a run that has a later one is not there"
    );
    assert_eq!(load(labels(&failed, None, last, 5)).await.0, [(0, 1)], "up to the last one that is meant");
    let several = BTreeSet::from([Label::Asked, Label::Released]);
    assert_eq!(load(labels(&several, None, None, 9)).await.0, [(2, 1), (4, 1), (1, 2)]);
    assert_eq!(load(labels(&BTreeSet::new(), None, None, 9)).await.0, []);
    assert_eq!(world.labels(other).await.len(), 5);
}

pub(super) async fn a_campaign_that_finished_goes_on_with_a_further_run(world: &World) {
    let device = world.device("device1").await;
    let first = world.filled("c1", &released(9)).await;
    let cancelled = world.filled("c2", &released(9)).await;
    let from = [CampaignState::Preparing];
    let end = CampaignState::Cancelled;
    world.store.move_campaign(&world.actor, cancelled, &from, end, None, NOW).await.must().must();
    world.put(first, device, finished(OutcomeKind::Failed)).await.must();
    let changes = Changes { ended: vec![first], ..Changes::default() };
    world.batch(&[device], |_| (changes, ())).await.must();
    assert_eq!(world.state_of(first).await, CampaignState::Finished);
    for _ in 0..2 {
        let changes = Changes { reopened: vec![first, cancelled], ..Changes::default() };
        world.batch(&[device], |_| (changes, ())).await.must();
        let (row, _) = world.store.campaign_by_key(first).await.must().must();
        assert_eq!((row.state, row.finished_at), (CampaignState::Running, None));
    }
    assert_eq!(world.state_of(cancelled).await, CampaignState::Cancelled, "that is for good");
    world.run_again(first, &[device], released(9)).await.must();
    let loaded = world.load(Wanted { devices: vec![device], ..Wanted::default() }).await;
    assert_eq!(loaded.campaigns[&first].0.state, CampaignState::Running, "batches see it too");
    let later = WallTime(NOW.0 + 5);
    let changes = Changes { ended: vec![first], ..Changes::default() };
    world.store.transact(later, Wanted::default(), |_| (changes, ())).await.must();
    let (row, _) = world.store.campaign_by_key(first).await.must().must();
    assert_eq!((row.state, row.finished_at), (CampaignState::Finished, Some(later)));
    let changes = Changes { reopened: vec![CampaignKey(99)], ..Changes::default() };
    let refused = world.batch(&[], |_| (changes, ())).await.map(|_| ());
    assert!(matches!(refused, Err(StoreError::Constraint(_))));
}

pub(super) async fn what_was_asked_is_there_until_it_is_done(world: &World) {
    world.devices(3).await;
    let first = world.filled("c1", &released(9)).await;
    let last = world.deployments(first, DeploymentFilter::default()).await[2].row.key;
    let selection = Selection { labels: Some([FAILED].into()), codes: Some([4].into()) };
    let ask = async |campaign, act, selection: &Selection| {
        let from = [CampaignState::Preparing];
        let asked =
            world.store.ask_action(&world.actor, campaign, &from, act, selection.clone(), 2, NOW).await;
        match asked.must() {
            Asked::Noted(row) => row,
            Asked::WrongState(_) | Asked::TooMany(_) => panic!("it should be noted"),
        }
    };
    let retry = ask(first, Act::Retry, &selection).await;
    assert_eq!((retry.campaign, retry.act, &retry.selection), (first, Act::Retry, &selection));
    assert_eq!((retry.until, retry.position, retry.created_at), (last, None, NOW));
    assert_eq!(retry.actor, "tester");
    let second = world.filled("c2", &released(9)).await;
    let stop = ask(second, Act::Stop, &Selection::default()).await;
    assert!(stop.until > retry.until && stop.key > retry.key);
    assert_eq!(world.store.actions(None).await.must(), [retry.clone(), stop.clone()]);
    assert_eq!(world.store.actions(Some(second)).await.must(), std::slice::from_ref(&stop));
    let log = world.store.audit(Page { after: None, limit: 10 }).await.must();
    let lines: Vec<_> = log.iter().map(|line| (line.action.as_str(), line.subject.as_str())).collect();
    assert!(lines.contains(&("deployments_retried", "c1")) && lines.contains(&("deployments_stopped", "c2")));

    let go_on = async |key: ActionKey, progress| {
        let changes = Changes { action: Some((key, progress)), ..Changes::default() };
        world.batch(&[], |_| (changes, ())).await.must();
        world.store.actions(Some(first)).await.must()
    };
    let position = DeploymentKey(last.0 - 1);
    let went_on = crate::ActionRow { position: Some(position), ..retry.clone() };
    assert_eq!(go_on(retry.key, Progress::UpTo(position)).await, [went_on]);
    for progress in [Progress::Done, Progress::Done, Progress::UpTo(last)] {
        assert_eq!(go_on(retry.key, progress).await, [], "what is done stays away");
    }
    assert_eq!(world.store.actions(None).await.must(), [stop]);
    let again = ask(first, Act::Retry, &selection).await;
    assert!(again.key > retry.key, "a key is not given again");
}

pub(super) async fn nothing_is_asked_of_a_campaign_in_another_state_or_of_one_that_has_enough_to_do(
    world: &World,
) {
    let campaign = world.filled("c1", &released(9)).await;
    let ask = async |campaign, from: &[CampaignState]| {
        world.store.ask_action(&world.actor, campaign, from, Act::Stop, Selection::default(), 2, NOW).await
    };
    let lines = world.store.audit(Page { after: None, limit: 100 }).await.must().len();
    let from = [CampaignState::Running, CampaignState::Paused];
    assert_eq!(ask(campaign, &from).await.must(), Asked::WrongState(CampaignState::Preparing));
    let missing = ask(CampaignKey(99), &[CampaignState::Preparing]).await;
    assert!(matches!(missing, Err(StoreError::Missing { what: "campaign", .. })));
    assert_eq!(world.store.actions(None).await.must(), []);
    assert_eq!(world.store.audit(Page { after: None, limit: 100 }).await.must().len(), lines);
    for _ in 0..2 {
        assert!(matches!(ask(campaign, &[CampaignState::Preparing]).await.must(), Asked::Noted(_)));
    }
    assert_eq!(ask(campaign, &[CampaignState::Preparing]).await.must(), Asked::TooMany(2));
    assert_eq!(world.store.actions(None).await.must().len(), 2);
}
