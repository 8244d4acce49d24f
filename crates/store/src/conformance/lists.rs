//! Lists that are narrowed, and how many entries they have.

use std::collections::BTreeSet;

use otaru_core::campaign::CampaignState;
use otaru_core::deployment::{Deployment, Label, OutcomeKind};
use otaru_proto::ResultCode;

use super::world::{
    Must, NOW, PRODUCT, World, finished, new_campaign, new_device, offered, released, report, running,
};
use crate::limits::{CODES_MAX, REPORTS_LOOKED_AT};
use crate::{
    CampaignFilter, CampaignKey, Changes, DeploymentFilter, DeviceKey, NewCampaign, NewDevice, NewReport,
    OutboxLine, Page, Say, StoreError, Targets, Total,
};

pub(super) async fn deployments_are_listed_by_label_and_paged_without_gaps(world: &World) {
    let devices = world.devices(10).await;
    let campaign = world.filled("c1", &released(9)).await;
    let other = world.filled("c2", &released(9)).await;
    for (number, deployment) in [
        (1, offered(9)),
        (4, finished(OutcomeKind::Installed)),
        (6, finished(OutcomeKind::Failed)),
        (7, offered(9)),
    ] {
        world.put(campaign, devices[number], deployment).await.must();
    }
    let of = async |filter: DeploymentFilter| -> Vec<usize> {
        let records = world.deployments(campaign, filter).await;
        let place = |device| devices.iter().position(|known| *known == device).must();
        records.iter().map(|record| place(record.row.device)).collect()
    };
    assert_eq!(of(DeploymentFilter::default()).await, (0..10).collect::<Vec<_>>());
    assert_eq!(of(DeploymentFilter::only(Label::Offered)).await, [1, 7]);
    assert!(of(DeploymentFilter::only(Label::Queued)).await.is_empty());
    assert_eq!(of(DeploymentFilter::in_state("finished").must()).await, [4, 6]);
    assert_eq!(of(DeploymentFilter::in_state("released").must()).await, [0, 2, 3, 5, 8, 9]);
    assert_eq!(DeploymentFilter::in_state("installed"), None, "that is an outcome");
    let mixed = BTreeSet::from([Label::Offered, Label::Finished(OutcomeKind::Failed)]);
    assert_eq!(of(DeploymentFilter { labels: Some(mixed), codes: None }).await, [1, 6, 7]);
    let filter = DeploymentFilter::only(Label::Offered);
    let page = Page { after: None, limit: 10 };
    let results = world.store.results(campaign, filter.clone(), page).await.must();
    let nodes: Vec<&str> = results.iter().map(|result| result.node_id.as_str()).collect();
    assert_eq!(nodes, ["node-device00001", "node-device00007"]);
    let records: Vec<_> = results.into_iter().map(|result| result.record).collect();
    assert_eq!(records, world.deployments(campaign, filter).await, "the same list");
    let one = &world.deployments(other, DeploymentFilter::default()).await[2];
    assert_eq!((one.device_id.as_str(), one.campaign_id.as_str()), ("device00002", "c2"));
    assert_eq!(world.store.deployment(one.row.key).await.must().as_ref(), Some(one));
    assert_eq!(world.store.deployment(crate::DeploymentKey(9_999)).await.must(), None);
}

/// A failure whose last report had this code.
fn failed(kind: OutcomeKind, code: Option<i64>) -> Deployment {
    Deployment { result_code: code.map(ResultCode::from_wire), ..finished(kind) }
}

pub(super) async fn failures_are_listed_by_the_code_of_their_last_report(world: &World) {
    let devices = world.devices(9).await;
    let campaign = world.filled("c1", &released(9)).await;
    for (number, kind, code) in [
        (0, OutcomeKind::Failed, Some(4)),
        (1, OutcomeKind::TimedOut, None),
        (2, OutcomeKind::Failed, Some(7)),
        (3, OutcomeKind::TimedOut, Some(4)),
        (4, OutcomeKind::Cancelled, Some(4)),
        (5, OutcomeKind::Failed, Some(4)),
        (6, OutcomeKind::Installed, Some(0)),
        (7, OutcomeKind::Failed, Some(-1_000_000_007)),
    ] {
        world.put(campaign, devices[number], failed(kind, code)).await.must();
    }
    let of = async |labels: Option<&[Label]>, codes: &[Option<i64>]| -> Vec<usize> {
        let labels = labels.map(|labels| labels.iter().copied().collect());
        let filter = DeploymentFilter { labels, codes: Some(codes.iter().copied().collect()) };
        let records = world.deployments(campaign, filter).await;
        let place = |device| devices.iter().position(|known| *known == device).must();
        records.iter().map(|record| place(record.row.device)).collect()
    };
    let timed_out = Label::Finished(OutcomeKind::TimedOut);
    assert_eq!(of(None, &[Some(4)]).await, [0, 3, 5], "what was stopped is no failure");
    assert_eq!(of(None, &[Some(4), Some(7)]).await, [0, 2, 3, 5]);
    assert_eq!(of(None, &[None]).await, [1], "a failure without a report");
    assert_eq!(of(None, &[Some(-1_000_000_007)]).await, [7]);
    assert_eq!(of(None, &[Some(9)]).await, [0; 0]);
    assert_eq!(of(None, &[]).await, [0; 0]);
    assert_eq!(of(Some(&[timed_out]), &[Some(4), None]).await, [1, 3]);
    assert_eq!(of(Some(&[timed_out, Label::Released]), &[Some(4)]).await, [3]);
    assert_eq!(of(Some(&[Label::Released]), &[Some(4)]).await, [0; 0], "codes are those of failures");
    let codes = Some((0..=CODES_MAX as i64).map(Some).collect());
    let too_many = DeploymentFilter { labels: None, codes };
    let refused = world.store.deployments(campaign, too_many, Page { after: None, limit: 1 }).await;
    assert!(matches!(refused, Err(StoreError::Constraint(_))), "{refused:?}");
}

pub(super) async fn a_code_counts_once_the_deployment_has_ended(world: &World) {
    let devices = world.devices(1).await;
    let campaign = world.filled("c1", &released(9)).await;
    let with = |code| DeploymentFilter { labels: None, codes: Some([Some(code)].into()) };
    let on_the_way = Deployment { result_code: Some(ResultCode::from_wire(4)), ..running(9) };
    world.put(campaign, devices[0], on_the_way).await.must();
    assert_eq!(world.deployments(campaign, with(4)).await, []);
    world.put(campaign, devices[0], failed(OutcomeKind::Failed, Some(7))).await.must();
    assert_eq!(world.deployments(campaign, with(7)).await.len(), 1);
    // What is noted of it later does not move it; another code would.
    let late = Deployment { late_success: true, ..failed(OutcomeKind::Failed, Some(7)) };
    world.put(campaign, devices[0], late.clone()).await.must();
    assert_eq!(world.deployments(campaign, with(7)).await[0].row.deployment, late);
    world.put(campaign, devices[0], failed(OutcomeKind::Failed, Some(8))).await.must();
    assert_eq!(world.deployments(campaign, with(7)).await, []);
    assert_eq!(world.deployments(campaign, with(8)).await.len(), 1);
}

pub(super) async fn failures_are_counted_by_how_they_ended_the_most_frequent_first(world: &World) {
    let devices = world.devices(9).await;
    let campaign = world.filled("c1", &released(9)).await;
    let other = world.filled("c2", &released(9)).await;
    assert_eq!(world.store.failures(campaign, 10, 10).await.must(), []);
    for (number, kind, code) in [
        (0, OutcomeKind::Failed, Some(7)),
        (1, OutcomeKind::Failed, Some(4)),
        (2, OutcomeKind::TimedOut, None),
        (3, OutcomeKind::Installed, Some(0)),
        (4, OutcomeKind::Failed, Some(4)),
        (5, OutcomeKind::TimedOut, Some(0)),
        (6, OutcomeKind::Cancelled, Some(4)),
        (7, OutcomeKind::Failed, Some(4)),
    ] {
        world.put(campaign, devices[number], failed(kind, code)).await.must();
    }
    world.put(other, devices[0], failed(OutcomeKind::Failed, Some(4))).await.must();
    let of = async |limit, examples| -> Vec<(&str, Option<i64>, u64, Vec<usize>)> {
        let groups = world.store.failures(campaign, limit, examples).await.must();
        let place = |device| devices.iter().position(|known| *known == device).must();
        groups
            .into_iter()
            .map(|group| {
                let shown = group.examples.iter().map(|record| place(record.row.device)).collect();
                (group.label.name(), group.code, group.n, shown)
            })
            .collect()
    };
    let all = [
        ("failed", Some(4), 3, vec![7, 4]),
        ("failed", Some(7), 1, vec![0]),
        ("timed_out", None, 1, vec![2]),
        ("timed_out", Some(0), 1, vec![5]),
    ];
    assert_eq!(of(10, 2).await, all);
    assert_eq!(of(1, 0).await, [("failed", Some(4), 3, vec![])]);
    let counted = async |labels: Option<&[Label]>, codes: &[Option<i64>]| {
        let labels = labels.map(|labels| labels.iter().copied().collect());
        let filter = DeploymentFilter { labels, codes: Some(codes.iter().copied().collect()) };
        let listed = world.deployments(campaign, filter.clone()).await.len() as u64;
        assert_eq!(world.store.count_failures(campaign, filter).await.must(), listed);
        listed
    };
    assert_eq!(counted(None, &[Some(4), Some(7)]).await, 4);
    assert_eq!(counted(Some(&[Label::Finished(OutcomeKind::TimedOut)]), &[None, Some(0)]).await, 2);
    assert_eq!(counted(Some(&[Label::Finished(OutcomeKind::Installed)]), &[Some(0)]).await, 0);
    // What follows a failure takes its count along.
    world.put(campaign, devices[1], failed(OutcomeKind::Failed, Some(7))).await.must();
    assert_eq!(of(10, 9).await[0], ("failed", Some(4), 2, vec![7, 4]));
    assert_eq!(of(10, 9).await[1], ("failed", Some(7), 2, vec![1, 0]));
    assert_eq!(world.store.failures(CampaignKey(99), 10, 10).await.must(), []);
}

pub(super) async fn the_runs_of_a_device_come_newest_first(world: &World) {
    let devices = world.devices(2).await;
    let campaign = world.filled("c1", &released(9)).await;
    let other = world.filled("c2", &released(9)).await;
    let runs = world.store.runs(campaign, devices[0], 10).await.must();
    assert_eq!(runs, [world.store.deployment_of(campaign, devices[0]).await.must().must()]);
    assert_eq!(world.store.runs(campaign, devices[0], 0).await.must(), []);
    assert_eq!(world.store.runs(campaign, DeviceKey(99), 10).await.must(), []);
    assert_eq!(world.store.runs(CampaignKey(99), devices[0], 10).await.must(), []);
    assert_eq!(world.store.runs(other, devices[1], 10).await.must()[0].campaign_id, "c2");
    world.put(campaign, devices[0], failed(OutcomeKind::Failed, Some(4))).await.must();
    let second = world.run_again(campaign, &devices[..1], released(9)).await.must()[0];
    let numbers = async |limit| -> Vec<u32> {
        let runs = world.store.runs(campaign, devices[0], limit).await.must();
        runs.iter().map(|record| record.row.run).collect()
    };
    assert_eq!((numbers(10).await, numbers(1).await), (vec![2, 1], vec![2]));
    // What was run before is in no list but this one, and counts for nothing.
    let keys = async |filter| -> Vec<crate::DeploymentKey> {
        world.deployments(campaign, filter).await.iter().map(|record| record.row.key).collect()
    };
    let other_device = world.store.deployment_of(campaign, devices[1]).await.must().must().row.key;
    assert_eq!(keys(DeploymentFilter::default()).await, [other_device, second]);
    assert_eq!(keys(DeploymentFilter::only(Label::Finished(OutcomeKind::Failed))).await, []);
    let with_code = DeploymentFilter { labels: None, codes: Some([Some(4)].into()) };
    assert_eq!(keys(with_code.clone()).await, []);
    assert_eq!(world.store.count_failures(campaign, with_code).await.must(), 0);
    assert_eq!(world.store.failures(campaign, 10, 10).await.must(), []);
}

pub(super) async fn the_reports_of_a_campaign_are_found_among_the_others(world: &World) {
    let devices = world.devices(2).await;
    let (mine, others) = (world.filled("c1", &released(9)).await, world.filled("c2", &released(9)).await);
    let of = async |campaign| world.store.deployment_of(campaign, devices[0]).await.must().must().row.key;
    let (mine_is, other_is) = (of(mine).await, of(others).await);
    let say = async |texts: &[(&str, Option<crate::DeploymentKey>)]| {
        let reports = texts
            .iter()
            .map(|(text, deployment)| NewReport { deployment: *deployment, ..report(devices[0], text) })
            .collect();
        let changes = Changes { reports, ..Changes::default() };
        world.batch(&devices, |_| (changes, ())).await.must();
    };
    let page = async |before, limit| {
        let page = world.store.campaign_reports(mine, devices[0], before, limit).await.must();
        let texts: Vec<String> =
            page.reports.iter().map(|found| String::from_utf8_lossy(&found.payload).into_owned()).collect();
        assert!(page.reports.iter().all(|found| found.campaign_id.as_deref() == Some("c1")));
        (texts.join(" "), page.before)
    };
    assert_eq!(page(None, 10).await, (String::new(), None));
    say(&[("a", None), ("b", Some(mine_is)), ("c", Some(other_is)), ("d", Some(mine_is)), ("e", None)]).await;
    assert_eq!(page(None, 10).await, ("d b".to_owned(), None));
    let (first, before) = page(None, 1).await;
    assert_eq!(first, "d");
    let (second, before) = page(before, 1).await;
    assert_eq!(second, "b");
    assert_eq!(page(before, 1).await, (String::new(), None), "there was one before, of no campaign");
    // Past as many as are looked at there is a place to go on from.
    let later: Vec<_> = (0..REPORTS_LOOKED_AT).map(|_| ("later", Some(other_is))).collect();
    say(&later).await;
    let (none, before) = page(None, 10).await;
    assert_eq!(none, "");
    assert_eq!(page(before, 10).await, ("d b".to_owned(), None));
    let stranger = world.store.campaign_reports(mine, devices[1], before, 10).await.must();
    assert_eq!(stranger.reports, [], "the place is in the history of another device");
}

pub(super) async fn campaigns_are_listed_by_state_product_and_name(world: &World) {
    use CampaignState::{Draft, Finished, Paused, Preparing, Running};
    let package = world.package().await.key;
    world.store.create_product(&world.actor, "p2", "Other", NOW).await.must();
    for (number, product, name, state) in [
        (0, PRODUCT, "Spring", Running),
        (1, "p2", "Autumn 1", Running),
        (2, PRODUCT, "spring clean", Paused),
        (3, PRODUCT, "100 %", Preparing),
        (4, PRODUCT, "Offspring", Running),
    ] {
        let new = NewCampaign {
            name: name.to_owned(),
            product_id: product.to_owned(),
            ..new_campaign(&format!("c{number}"), Targets::Product, package)
        };
        let made = world.store.create_campaign(&world.actor, new, NOW).await.must();
        if state != Preparing {
            world.store.move_campaign(&world.actor, made.key, &[Preparing], state, None, NOW).await.must();
        }
    }
    let of = async |states: &[CampaignState], product: Option<&str>, name: Option<&str>| {
        let filter = CampaignFilter {
            states: (!states.is_empty()).then(|| states.iter().copied().collect()),
            product_id: product.map(str::to_owned),
            name_part: name.map(str::to_owned),
        };
        let (mut walked, mut after) = (Vec::new(), None);
        loop {
            let page = world.store.campaigns(filter.clone(), Page { after, limit: 2 }).await.must();
            let Some((last, _)) = page.last() else { break };
            after = Some(last.key);
            walked.extend(page.into_iter().map(|(row, _)| row.campaign_id));
        }
        let total = world.store.count_campaigns(filter).await.must();
        assert_eq!(total, Total { n: walked.len() as u64, is_capped: false }, "of {walked:?}");
        walked.join(" ")
    };
    assert_eq!(of(&[], None, None).await, "c4 c3 c2 c1 c0");
    assert_eq!(of(&[Running], None, None).await, "c4 c1 c0");
    assert_eq!(of(&[Running, Paused], None, None).await, "c4 c2 c1 c0");
    assert_eq!(of(&[Draft], None, None).await, "");
    assert_eq!(of(&[], Some(PRODUCT), None).await, "c4 c3 c2 c0");
    assert_eq!(of(&[Running], Some(PRODUCT), None).await, "c4 c0");
    assert_eq!(of(&[Running], Some("none"), None).await, "");
    assert_eq!(of(&[], None, Some("SPRING")).await, "c4 c2 c0");
    assert_eq!(of(&[Running], Some(PRODUCT), Some("spring")).await, "c4 c0");
    assert_eq!(of(&[], Some("none"), Some("spring")).await, "");
    assert_eq!(of(&[], None, Some("%")).await, "c3", "signs are taken as they are");
    let (row, _) = world.store.campaign("c1").await.must().must();
    world.store.move_campaign(&world.actor, row.key, &[Running], Finished, None, NOW).await.must();
    assert_eq!(of(&[Running], None, None).await, "c4 c0");
    assert_eq!(of(&[Finished], Some("p2"), None).await, "c1");
}

pub(super) async fn a_campaign_is_read_without_the_list_of_its_devices(world: &World) {
    let devices = world.devices(3).await;
    let made = world.campaign("c1", Targets::Devices(devices.clone())).await;
    assert_eq!(made.targets, Targets::Devices(devices.clone()));
    let none = Targets::Devices(Vec::new());
    assert_eq!(world.store.campaign("c1").await.must().must().0.targets, none);
    assert_eq!(world.store.campaign_by_key(made.key).await.must().must().0.targets, none);
    let page = world.store.campaigns(CampaignFilter::default(), Page { after: None, limit: 1 }).await.must();
    assert_eq!(page[0].0.targets, none);
    // It is there all the same.
    let filled = world.store.fill_campaign(made.key, 10, NOW, &released(9), &[]).await.must();
    assert_eq!(filled.added, devices);
    let tagged = Targets::Tags([("devices".to_owned(), "yes".to_owned())].into());
    let made = world.campaign("c2", tagged.clone()).await;
    assert_eq!(world.store.campaign_by_key(made.key).await.must().must().0.targets, tagged);
}

pub(super) async fn a_deleted_device_is_told_nothing_more(world: &World) {
    let gateway = world.device("gateway").await;
    let child = NewDevice { gateway_id: Some(super::world::id("gateway")), ..new_device("child") };
    let child = world.device_with(child).await.row.key;
    let alone = world.device("alone").await;
    let line = |device, via| OutboxLine {
        device,
        via,
        epoch: otaru_core::Epoch(1),
        deployment: crate::DeploymentKey(1),
        say: Say::AskVersion,
    };
    let outbox = vec![line(gateway, gateway), line(child, gateway), line(alone, alone)];
    let changes = Changes { outbox, ..Changes::default() };
    world.batch(&[], |_| (changes, ())).await.must();
    let left = async || -> Vec<DeviceKey> {
        world.store.outbox(10).await.must().iter().map(|(_, line)| line.device).collect()
    };
    world.store.delete_device(&world.actor, &super::world::id("child"), NOW).await.must();
    assert_eq!(left().await, [gateway, alone]);
    world.store.delete_device(&world.actor, &super::world::id("alone"), NOW).await.must();
    assert_eq!(left().await, [gateway]);
}
