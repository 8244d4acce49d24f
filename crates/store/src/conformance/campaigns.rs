//! Campaigns and lists of deployments.

use std::collections::BTreeSet;

use otaru_core::WallTime;
use otaru_core::campaign::CampaignState;
use otaru_core::deployment::{Deployment, Label, OutcomeKind};

use super::world::{Must, NOW, PRODUCT, World, finished, id, new_campaign, new_device, released, tags};
use crate::{
    CampaignFilter, CampaignKey, DeviceKey, NewCampaign, NewDevice, PackageKey, Page, StoreError, Targets,
};

pub(super) async fn a_campaign_begins_empty_and_in_preparation(world: &World) {
    let package = world.package().await;
    let targets = Targets::Tags(tags(&[("site", "north")]));
    let made = world.campaign("c1", targets.clone()).await;
    assert_eq!((made.campaign_id.as_str(), made.product_id.as_str()), ("c1", PRODUCT));
    assert_eq!((made.state, made.started, made.filled), (CampaignState::Preparing, true, false));
    assert_eq!((made.created_at, made.started_at, made.finished_at), (NOW, Some(NOW), None));
    assert_eq!((made.targets.clone(), made.created_by.as_str()), (targets, "tester"));
    assert_eq!(*made.packages[0], package);
    let (stored, counts) = world.store.campaign("c1").await.must().must();
    assert_eq!((&stored, counts.total()), (&made, 0));
    assert_eq!(world.store.campaign_by_key(made.key).await.must().must().0, made);
    assert_eq!(world.store.campaign("c2").await.must(), None);
    assert_eq!(world.store.campaign_by_key(CampaignKey(99)).await.must(), None);
    assert_eq!(world.store.unfilled_campaigns().await.must(), [made.key]);
}

pub(super) async fn a_campaign_needs_its_product_and_packages(world: &World) {
    let package = world.package().await.key;
    let new = new_campaign("c1", Targets::Product, package);
    let elsewhere = NewCampaign { product_id: "none".to_owned(), ..new.clone() };
    let refused = world.store.create_campaign(&world.actor, elsewhere, NOW).await;
    assert!(matches!(refused, Err(StoreError::Missing { what: "product", .. })));
    let refused = world.store.create_campaign(&world.stranger, new.clone(), NOW).await;
    assert!(matches!(refused, Err(StoreError::Missing { what: "product", .. })));
    let nothing = NewCampaign { packages: vec![package, PackageKey(99)], ..new.clone() };
    let refused = world.store.create_campaign(&world.actor, nothing, NOW).await;
    assert!(matches!(refused, Err(StoreError::Missing { what: "package", .. })));
    assert_eq!(world.store.campaign("c1").await.must(), None, "nothing of it stayed");
    world.store.create_campaign(&world.actor, new.clone(), NOW).await.must();
    let refused = world.store.create_campaign(&world.actor, new, NOW).await;
    assert!(matches!(refused, Err(StoreError::Exists { what: "campaign", .. })));
}

pub(super) async fn ten_thousand_devices_are_filled_in_chunks(world: &World) {
    let devices: BTreeSet<DeviceKey> = world.devices(10_000).await.into_iter().collect();
    let campaign = world.campaign("c1", Targets::Product).await.key;
    let (mut added, mut rounds) = (BTreeSet::new(), 0);
    loop {
        let filled = world.store.fill_campaign(campaign, 3_000, NOW, &released(9), &[]).await.must();
        assert!(filled.added.len() <= 3_000);
        rounds += 1;
        for device in filled.added {
            assert!(added.insert(device), "each once");
        }
        let (row, counts) = world.store.campaign_by_key(campaign).await.must().must();
        assert_eq!((counts.of(Label::Released), row.filled), (added.len() as u64, filled.done));
        if filled.done {
            break;
        }
    }
    assert_eq!((rounds, added), (4, devices));
    assert_eq!(world.counts(campaign).await, [(Label::Released, 10_000)].into());
    assert_eq!(world.store.unfilled_campaigns().await.must(), []);
    let again = world.store.fill_campaign(campaign, 3_000, NOW, &released(9), &[]).await.must();
    assert_eq!((again.added.len(), again.done), (0, true), "a call too many does nothing");
    let refused = world.store.fill_campaign(CampaignKey(99), 1, NOW, &released(9), &[]).await;
    assert!(matches!(refused, Err(StoreError::Missing { what: "campaign", .. })));
}

pub(super) async fn a_list_is_filled_in_its_order_and_strangers_are_left_out(world: &World) {
    let [a, b, c, d, e] = *world.devices(5).await else { panic!("five") };
    world.store.create_product(&world.actor, "p2", "Other", NOW).await.must();
    let stranger = NewDevice { product_id: "p2".to_owned(), ..new_device("stranger") };
    let stranger = world.device_with(stranger).await.row.key;
    let list = vec![e, stranger, a, e, DeviceKey(99), c, b];
    let campaign = world.campaign("c1", Targets::Devices(list)).await.key;
    let mut walked = Vec::new();
    loop {
        let filled = world.store.fill_campaign(campaign, 2, NOW, &Deployment::queued(), &[]).await.must();
        walked.extend(filled.added);
        if filled.done {
            break;
        }
    }
    assert_eq!(walked, [e, a, c, b]);
    assert_eq!(world.store.deployment_of(campaign, d).await.must(), None);
    assert_eq!(world.counts(campaign).await, [(Label::Queued, 4)].into());
    let made = world.store.deployment_of(campaign, e).await.must().must().row;
    assert_eq!((made.run, made.wave, made.created_at, made.updated_at), (1, 0, NOW, NOW));
    assert_eq!(made.deployment, Deployment::queued());
}

pub(super) async fn tags_choose_the_devices(world: &World) {
    let mut north = Vec::new();
    for number in 0..9 {
        let site = if number % 3 == 0 { "south" } else { "north" };
        let tags = tags(&[("site", site), ("floor", "1")]);
        let device = world.device_with(NewDevice { tags, ..new_device(&format!("d{number}")) }).await.row.key;
        if site == "north" {
            north.push(device);
        }
    }
    let targets = Targets::Tags(tags(&[("floor", "1"), ("site", "north")]));
    let campaign = world.campaign("c1", targets).await.key;
    let all = world.devices(1).await;
    let preferred = [all[0], north[4], DeviceKey(1)];
    let mut walked = world.store.fill_campaign(campaign, 4, NOW, &released(9), &preferred).await.must().added;
    assert_eq!(walked[0], north[4], "preferred, and the only one of them with the tags");
    walked.extend(world.store.fill_campaign(campaign, 4, NOW, &released(9), &[]).await.must().added);
    walked.sort();
    assert_eq!(walked, north);
}

pub(super) async fn preferred_devices_come_first_and_only_once(world: &World) {
    let devices = world.devices(10).await;
    let list = devices[..8].to_vec();
    let campaign = world.campaign("c1", Targets::Devices(list.clone())).await.key;
    let prefer = [devices[9], devices[6], devices[2]];
    let first = world.store.fill_campaign(campaign, 4, NOW, &released(9), &prefer).await.must();
    assert_eq!(
        (first.added.clone(), first.done),
        (vec![devices[6], devices[2], devices[0], devices[1]], false)
    );
    let mut walked = first.added;
    loop {
        let filled = world.store.fill_campaign(campaign, 4, NOW, &released(9), &prefer).await.must();
        walked.extend(filled.added);
        if filled.done {
            break;
        }
    }
    assert_eq!(walked.len(), 8);
    assert_eq!(walked.into_iter().collect::<BTreeSet<_>>(), list.into_iter().collect());
    assert_eq!(world.counts(campaign).await, [(Label::Released, 8)].into());
}

pub(super) async fn a_device_deleted_meanwhile_gets_no_deployment(world: &World) {
    let devices = world.devices(4).await;
    for (campaign_id, targets) in [("c1", Targets::Product), ("c2", Targets::Devices(devices.clone()))] {
        let campaign = world.campaign(campaign_id, targets).await.key;
        world.store.fill_campaign(campaign, 1, NOW, &finished(OutcomeKind::Conflict), &[]).await.must();
    }
    world.store.delete_device(&world.actor, &id("device00002"), NOW).await.must();
    for campaign_id in ["c1", "c2"] {
        let campaign = world.store.campaign(campaign_id).await.must().must().0.key;
        let prefer = [devices[2]];
        let filled = world.store.fill_campaign(campaign, 10, NOW, &released(9), &prefer).await.must();
        assert_eq!((filled.added, filled.done), (vec![devices[1], devices[3]], true), "{campaign_id}");
    }
}

pub(super) async fn a_campaign_that_has_ended_is_not_filled_further(world: &World) {
    world.devices(4).await;
    let campaign = world.campaign("c1", Targets::Product).await.key;
    world.store.fill_campaign(campaign, 2, NOW, &released(9), &[]).await.must();
    let from = [CampaignState::Preparing];
    world
        .store
        .move_campaign(&world.actor, campaign, &from, CampaignState::Cancelled, None, NOW)
        .await
        .must()
        .must();
    let filled = world.store.fill_campaign(campaign, 2, NOW, &released(9), &[]).await.must();
    assert_eq!((filled.added.len(), filled.done), (0, true));
    assert!(world.store.campaign_by_key(campaign).await.must().must().0.filled);
    assert_eq!(world.store.unfilled_campaigns().await.must(), []);
    assert_eq!(world.counts(campaign).await, [(Label::Released, 2)].into());
}

pub(super) async fn a_campaign_moves_only_from_where_it_is_expected(world: &World) {
    let campaign = world.campaign("c1", Targets::Product).await.key;
    let move_on = |from: &'static [CampaignState], to| {
        world.store.move_campaign(&world.actor, campaign, from, to, None, NOW)
    };
    use CampaignState::{Paused, Preparing, Running};
    assert_eq!(move_on(&[Running, Paused], Paused).await.must(), None);
    assert_eq!(world.state_of(campaign).await, Preparing);
    assert_eq!(move_on(&[Running, Preparing], Running).await.must().must().state, Running);
    assert_eq!(move_on(&[Preparing], Running).await.must(), None, "the second of two callers");
    move_on(&[Running], Paused).await.must().must();
    move_on(&[Paused], Running).await.must().must();
    assert_eq!(world.state_of(campaign).await, Running);
    let log = world.store.audit(Page { after: None, limit: 3 }).await.must();
    let actions: Vec<&str> = log.iter().map(|row| row.action.as_str()).collect();
    assert_eq!(actions, ["campaign_resumed", "campaign_paused", "campaign_running"]);
    let refused =
        world.store.move_campaign(&world.actor, CampaignKey(99), &[Running], Paused, None, NOW).await;
    assert!(matches!(refused, Err(StoreError::Missing { what: "campaign", .. })));
}

pub(super) async fn starting_and_ending_leave_their_times(world: &World) {
    let package = world.package().await.key;
    let not_started = NewCampaign { started: false, ..new_campaign("c1", Targets::Product, package) };
    let made = world.store.create_campaign(&world.actor, not_started, NOW).await.must();
    assert_eq!((made.started, made.started_at), (false, None));
    let (later, end) = (WallTime(NOW.0 + 5), WallTime(NOW.0 + 9));
    use CampaignState::{Draft, Finished, Preparing, Running};
    let move_on = |from, to, started, now| async move {
        world.store.move_campaign(&world.actor, made.key, &[from], to, started, now).await.must().must()
    };
    assert_eq!(move_on(Preparing, Draft, None, later).await.started_at, None);
    let started = move_on(Draft, Running, Some(true), later).await;
    assert_eq!((started.started, started.started_at, started.finished_at), (true, Some(later), None));
    let ended = move_on(Running, Finished, None, end).await;
    assert_eq!((ended.started_at, ended.finished_at), (Some(later), Some(end)));
    assert_eq!(world.store.campaign("c1").await.must().must().0, ended);
}

pub(super) async fn a_campaign_starts_by_itself_once_its_time_has_come(world: &World) {
    use CampaignState::{Cancelled, Draft, Preparing, Running, Scheduled};
    let package = world.package().await.key;
    world.devices(2).await;
    let at = |minutes: i64| WallTime(NOW.0 + minutes * 60_000);
    let make = async |campaign_id, start_at| {
        let new = new_campaign(campaign_id, Targets::Product, package);
        let new = NewCampaign { started: false, start_at, ..new };
        world.store.create_campaign(&world.actor, new, NOW).await.must()
    };
    let (whole, late, unfilled) = (
        make("whole", Some(at(5))).await,
        make("late", Some(at(9))).await,
        make("unfilled", Some(at(3))).await,
    );
    let (never, given_up) = (make("never", None).await, make("given up", Some(at(1))).await);
    assert_eq!((whole.state, whole.start_at, whole.started_at), (Preparing, Some(at(5)), None));
    for row in [&whole, &late, &never, &given_up] {
        while !world.store.fill_campaign(row.key, 9, NOW, &Deployment::queued(), &[]).await.must().done {}
        world.store.move_campaign(&world.actor, row.key, &[Preparing], Draft, None, NOW).await.must().must();
    }
    assert_eq!(world.state_of(whole.key).await, Scheduled, "a draft that starts by itself is scheduled");
    assert_eq!(world.state_of(never.key).await, Draft);
    assert_eq!(world.store.next_start().await.must(), Some(at(1)));
    world
        .store
        .move_campaign(&world.actor, given_up.key, &[Scheduled], Cancelled, None, NOW)
        .await
        .must()
        .must();
    assert_eq!(world.store.next_start().await.must(), Some(at(3)), "whoever is given up does not start");
    let start = async |now, limit| {
        let rows = world.store.start_due(&world.actor, limit, now).await.must();
        rows.iter().map(|row| (row.campaign_id.clone(), row.state)).collect::<Vec<_>>()
    };
    assert_eq!(start(at(2), 9).await, []);
    assert_eq!(start(at(7), 1).await, [("unfilled".to_owned(), Preparing)], "the first first");
    // Whoever prepared it may not have heard of that yet.
    world.store.move_campaign(&world.actor, unfilled.key, &[Preparing], Draft, None, NOW).await.must().must();
    assert_eq!(world.state_of(unfilled.key).await, Draft, "what was started is not scheduled again");
    assert_eq!(start(at(7), 1).await, [("whole".to_owned(), Running)]);
    assert_eq!(start(at(7), 9).await, []);
    assert_eq!(start(at(5), 9).await, [], "also when the clock goes back");
    assert_eq!(world.store.next_start().await.must(), Some(at(9)));
    let row = world.store.campaign_by_key(whole.key).await.must().must().0;
    assert_eq!((row.started, row.start_at, row.started_at), (true, Some(at(5)), Some(at(7))));
    let log = world.store.audit(crate::Page { after: None, limit: 100 }).await.must();
    assert_eq!(log.iter().filter(|line| line.action == "campaign_started").count(), 2);
}

pub(super) async fn a_schedule_is_changed_and_taken_away_until_the_start(world: &World) {
    use CampaignState::{Draft, Preparing, Running, Scheduled};
    let package = world.package().await.key;
    let new = NewCampaign { started: false, ..new_campaign("c1", Targets::Product, package) };
    let key = world.store.create_campaign(&world.actor, new, NOW).await.must().key;
    let (soon, later) = (WallTime(NOW.0 + 5), WallTime(NOW.0 + 9));
    let schedule =
        async |key, start_at| world.store.schedule_campaign(&world.actor, key, start_at, NOW).await;
    let shown = async |start_at| {
        let row = schedule(key, start_at).await.must().must();
        (row.state, row.start_at)
    };
    assert_eq!(shown(Some(later)).await, (Preparing, Some(later)));
    world.store.move_campaign(&world.actor, key, &[Preparing], Draft, None, NOW).await.must().must();
    assert_eq!(world.state_of(key).await, Scheduled);
    assert_eq!(shown(Some(soon)).await, (Scheduled, Some(soon)));
    assert_eq!(world.store.next_start().await.must(), Some(soon));
    assert_eq!(shown(None).await, (Draft, None));
    assert_eq!(world.store.next_start().await.must(), None);
    assert_eq!(world.store.start_due(&world.actor, 9, later).await.must(), []);
    assert_eq!(shown(Some(later)).await, (Scheduled, Some(later)));
    let started = world
        .store
        .move_campaign(&world.actor, key, &[Scheduled], Running, Some(true), soon)
        .await
        .must()
        .must();
    assert_eq!((started.start_at, started.started_at), (None, Some(soon)), "before its time");
    assert_eq!(schedule(key, Some(later)).await.must(), None, "what was started is not scheduled");
    let missing = schedule(CampaignKey(99), None).await;
    assert!(matches!(missing, Err(StoreError::Missing { what: "campaign", .. })));
    let log = world.store.audit(crate::Page { after: None, limit: 100 }).await.must();
    let lines = log.iter().filter(|line| line.action.ends_with("scheduled")).map(|line| line.action.as_str());
    let lines: Vec<&str> = lines.collect();
    let expected = ["campaign_scheduled", "campaign_unscheduled", "campaign_scheduled", "campaign_scheduled"];
    // The move to a draft was one, too.
    assert_eq!(lines, [expected.as_slice(), &["campaign_scheduled"]].concat());
}

pub(super) async fn campaigns_are_listed_newest_first(world: &World) {
    for number in 0..7 {
        world.campaign(&format!("c{number}"), Targets::Product).await;
    }
    let (mut walked, mut after) = (Vec::new(), None);
    loop {
        let page = world.store.campaigns(CampaignFilter::default(), Page { after, limit: 3 }).await.must();
        let Some((last, _)) = page.last() else { break };
        after = Some(last.key);
        walked.extend(page.into_iter().map(|(row, _)| row.campaign_id));
    }
    assert_eq!(walked.join(" "), "c6 c5 c4 c3 c2 c1 c0");
    assert_eq!(world.store.unfilled_campaigns().await.must().len(), 7);
}

pub(super) async fn queued_deployments_are_released_in_chunks(world: &World) {
    let devices = world.devices(5).await;
    let campaign = world.filled("c1", &Deployment::queued()).await;
    assert_eq!(world.store.next_wake().await.must(), None, "what is queued waits for a person");
    world.put(campaign, devices[1], finished(OutcomeKind::Cancelled)).await.must();
    let later = WallTime(NOW.0 + 5);
    let release = |limit| async move {
        let released = world.store.release_chunk(campaign, limit, later, &released(77)).await.must();
        (released.moved, released.done)
    };
    assert_eq!(release(0).await, (vec![], false));
    assert_eq!(release(3).await, (vec![devices[0], devices[2], devices[3]], false));
    assert_eq!(release(3).await, (vec![devices[4]], true));
    assert_eq!(release(3).await, (vec![], true));
    let expected = [(Label::Released, 4), (Label::Finished(OutcomeKind::Cancelled), 1)];
    assert_eq!(world.counts(campaign).await, expected.into());
    let row = world.store.deployment_of(campaign, devices[0]).await.must().must().row;
    assert_eq!((row.deployment, row.updated_at), (released(77), later));
    assert_eq!(world.store.next_wake().await.must(), Some(otaru_core::ServiceTime(77)));
    let refused = world.store.release_chunk(CampaignKey(99), 1, NOW, &released(77)).await;
    assert!(matches!(refused, Err(StoreError::Missing { what: "campaign", .. })));
}

pub(super) async fn the_deployments_of_a_device_come_newest_first(world: &World) {
    let devices = world.devices(2).await;
    for campaign_id in ["c1", "c2", "c3"] {
        world.filled(campaign_id, &Deployment::queued()).await;
    }
    let last_two = world.store.deployments_of_device(devices[1], 2).await.must();
    let ids: Vec<&str> = last_two.iter().map(|record| record.campaign_id.as_str()).collect();
    assert_eq!(ids, ["c3", "c2"]);
    assert!(last_two.iter().all(|record| record.row.device == devices[1]));
    assert_eq!(world.store.deployments_of_device(DeviceKey(99), 2).await.must(), []);
}
