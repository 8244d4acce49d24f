//! The batch.

use otaru_core::campaign::CampaignState;
use otaru_core::deployment::{Deployment, Label, OutcomeKind};
use otaru_core::{Epoch, ServiceTime, WallTime};

use super::world::{
    Must, NOW, World, asked, finished, id, new_device, offered, released, report, running, unfinished_of,
    waiting,
};
use crate::{
    CampaignKey, Changes, DeploymentFilter, DeploymentKey, DeploymentRow, DeviceKey, DeviceState, Fault,
    NewDevice, OutboxLine, Page, QuarantinedEvent, ReportSeq, Say, StoreError, Wanted,
};

pub(super) async fn what_is_wanted_is_loaded_with_all_that_belongs_to_it(world: &World) {
    let devices = world.devices(4).await;
    let child = NewDevice { gateway_id: Some(id("device00003")), ..new_device("child") };
    let child = world.device_with(child).await.row.key;
    let first = world.filled("c1", &released(9)).await;
    let second = world.filled("c2", &Deployment::queued()).await;
    world.put(first, devices[0], finished(OutcomeKind::Installed)).await.must();
    world.put(first, devices[1], asked(3)).await.must();
    let wanted = Wanted {
        devices: vec![devices[0]],
        device_ids: vec![id("child"), id("none")],
        registering: Vec::new(),
        due: Some((ServiceTime(3), 10)),
        latest: Some(unfinished_of(second, None, 2)),
    };
    let loaded = world.load(wanted).await;
    assert_eq!(loaded.devices.keys().copied().collect::<Vec<_>>(), [devices[0], devices[1], child]);
    assert_eq!(loaded.by_id.iter().collect::<Vec<_>>(), [(&id("child"), &child)]);

    let view = &loaded.devices[&devices[0]];
    assert_eq!(*view.row, world.store.device_by_key(devices[0]).await.must().must().row);
    assert_eq!(view.unfinished.len(), 1);
    assert_eq!(view.unfinished[0].campaign, second);
    let last = view.last_finished.as_ref().must();
    assert_eq!((last.campaign, last.deployment.label()), (first, Label::Finished(OutcomeKind::Installed)));
    assert_eq!(view.state.last_finished, Some(last.key));

    let of_both: Vec<CampaignKey> =
        loaded.devices[&child].unfinished.iter().map(|row| row.campaign).collect();
    assert_eq!(of_both, [first, second], "oldest first");
    assert_eq!(loaded.devices[&child].row.gateway, Some(devices[3]));
    assert_eq!(loaded.devices[&child].children, 0);
    let gateway = world.load(Wanted { devices: vec![devices[3]], ..Wanted::default() }).await;
    assert_eq!(gateway.devices[&devices[3]].children, 1);

    assert_eq!(loaded.campaigns.len(), 2);
    let (row, counts) = &loaded.campaigns[&first];
    assert_eq!(**row, world.store.campaign_by_key(first).await.must().must().0);
    assert_eq!((counts.of(Label::Asked), counts.of(Label::Released), counts.total()), (1, 3, 5));
    let due = world.store.deployment_of(first, devices[1]).await.must().must().row.key;
    assert_eq!(loaded.due, [due]);
    let unfinished =
        world.store.deployments(second, DeploymentFilter::default(), Page { after: None, limit: 2 });
    let unfinished: Vec<DeploymentRow> =
        unfinished.await.must().into_iter().map(|record| record.row).collect();
    assert_eq!(loaded.latest, unfinished);
}

pub(super) async fn what_does_not_exist_is_absent(world: &World) {
    world.device("device1").await;
    let wanted = Wanted {
        devices: vec![DeviceKey(99), DeviceKey(-1)],
        device_ids: vec![id("none")],
        registering: Vec::new(),
        due: Some((ServiceTime(i64::MAX), 10)),
        latest: Some(unfinished_of(CampaignKey(99), None, 10)),
    };
    let loaded = world.load(wanted).await;
    assert!(loaded.devices.is_empty() && loaded.by_id.is_empty() && loaded.campaigns.is_empty());
    assert!(loaded.due.is_empty() && loaded.latest.is_empty());
}

pub(super) async fn what_a_batch_writes_the_next_one_loads(world: &World) {
    let device = world.device("device1").await;
    let campaign = world.filled("c1", &released(9)).await;
    let later = WallTime(NOW.0 + 7);
    let committed = world
        .batch(&[device], move |loaded| {
            let view = &loaded.devices[&device];
            let mut row = view.unfinished[0].clone();
            row.deployment = running(50);
            row.deployment.progress = otaru_proto::Percent::new(40).ok();
            row.deployment.result_code = Some(otaru_proto::ResultCode::OnTrack);
            row.deployment.description = Some("halb \"fertig\"".to_owned());
            row.updated_at = later;
            let state = DeviceState {
                firmware_version: Some("v1".to_owned()),
                software_version: Some("s1".to_owned()),
                epoch: Some(Epoch(12)),
                connected_at: Some(later),
                ..view.state.clone()
            };
            let changes = Changes {
                devices: vec![(device, state)],
                deployments: vec![row.clone()],
                ..Changes::default()
            };
            (changes, row)
        })
        .await
        .must();
    assert_eq!(committed.next_wake, Some(ServiceTime(50)));
    let loaded = world.load(Wanted { devices: vec![device], ..Wanted::default() }).await;
    assert_eq!(loaded.devices[&device].unfinished, [committed.answer]);
    let state = &loaded.devices[&device].state;
    assert_eq!(
        (state.firmware_version.as_deref(), state.software_version.as_deref()),
        (Some("v1"), Some("s1"))
    );
    assert_eq!((state.epoch, state.connected_at), (Some(Epoch(12)), Some(later)));
    assert_eq!(world.store.device_by_key(device).await.must().must().state, *state);
    assert_eq!(world.counts(campaign).await, [(Label::Running, 1)].into());
}

pub(super) async fn a_batch_that_breaks_a_rule_leaves_nothing(world: &World) {
    let devices = world.devices(2).await;
    let first = world.filled("c1", &released(9)).await;
    let second = world.filled("c2", &released(9)).await;
    world.put(first, devices[1], offered(9)).await.must();
    let broken = world
        .batch(&devices.clone(), move |loaded| {
            let mut changes = Changes::default();
            let view = &loaded.devices[&devices[0]];
            let mut fine = view.unfinished[0].clone();
            fine.deployment = asked(5);
            let mut second_at_work = loaded.devices[&devices[1]].unfinished[1].clone();
            second_at_work.deployment = offered(5);
            changes.deployments = vec![fine, second_at_work];
            let state = DeviceState { firmware_version: Some("v9".to_owned()), ..view.state.clone() };
            changes.devices = vec![(devices[0], state)];
            changes.reports = vec![report(devices[0], "lost")];
            changes.outbox = vec![line(devices[0], 1)];
            changes.audit = vec![("a".to_owned(), "b".to_owned(), "c".to_owned())];
            let aside = QuarantinedEvent {
                device: None,
                at: NOW,
                payload: bytes::Bytes::new(),
                error: String::new(),
            };
            changes.quarantined = vec![aside];
            changes.ended = vec![first];
            (changes, ())
        })
        .await;
    let Err(broken) = broken else { panic!("two at work on one device") };
    assert!(matches!(broken, StoreError::Constraint(_)), "{broken}");
    assert_eq!(broken.fault(), Fault::Bug);
    assert_eq!(world.labels(first).await, [Label::Released, Label::Offered]);
    assert_eq!(world.labels(second).await, [Label::Released, Label::Released]);
    assert_eq!(world.counts(first).await, [(Label::Released, 1), (Label::Offered, 1)].into());
    assert_eq!(world.counts(second).await, [(Label::Released, 2)].into());
    assert_eq!(world.state_of(first).await, CampaignState::Preparing);
    let device = world.store.device(&id("device00000")).await.must().must();
    assert_eq!(device.state, DeviceState::default());
    assert_eq!(world.store.reports(device.row.key, None, 10).await.must(), []);
    assert_eq!(world.store.outbox(10).await.must(), []);
    assert_eq!(world.store.quarantined(10).await.must(), []);
    let log = world.store.audit(Page { after: None, limit: 1 }).await.must();
    assert_eq!(log[0].action, "campaign_created");
    world.put(second, device.row.key, asked(5)).await.must();
    assert_eq!(world.labels(second).await, [Label::Asked, Label::Released], "and it goes on");
}

pub(super) async fn each_rule_has_its_refusal(world: &World) {
    let devices = world.devices(2).await;
    let campaign = world.filled("c1", &released(9)).await;
    world.put(campaign, devices[1], finished(OutcomeKind::Installed)).await.must();
    let done = world.store.deployment_of(campaign, devices[1]).await.must().must().row;
    let open = world.store.deployment_of(campaign, devices[0]).await.must().must().row;
    world.device("gone").await;
    let gone = world.store.device(&id("gone")).await.must().must().row.key;
    world.store.delete_device(&world.actor, &id("gone"), NOW).await.must();

    let row = |change: &dyn Fn(&mut crate::DeploymentRow)| {
        let mut row = open.clone();
        change(&mut row);
        Changes { deployments: vec![row], ..Changes::default() }
    };
    let state = |device| (device, DeviceState::default());
    let cases = [
        ("an unknown deployment", row(&|row| row.key = DeploymentKey(999))),
        ("another campaign", row(&|row| row.campaign = CampaignKey(999))),
        ("another device", row(&|row| row.device = devices[1])),
        ("another run", row(&|row| row.run = 2)),
        (
            "a deployment twice",
            Changes { deployments: vec![open.clone(), open.clone()], ..Changes::default() },
        ),
        (
            "a finished one revived",
            row(&|row| *row = crate::DeploymentRow { deployment: offered(9), ..done.clone() }),
        ),
        ("an unknown device", Changes { devices: vec![state(DeviceKey(999))], ..Changes::default() }),
        ("a deleted device", Changes { devices: vec![state(gone)], ..Changes::default() }),
        (
            "a device twice",
            Changes { devices: vec![state(devices[0]), state(devices[0])], ..Changes::default() },
        ),
        (
            "an unknown device's report",
            Changes { reports: vec![report(DeviceKey(999), "x")], ..Changes::default() },
        ),
        ("a deleted device's report", Changes { reports: vec![report(gone, "x")], ..Changes::default() }),
        ("an unknown campaign's end", Changes { ended: vec![CampaignKey(999)], ..Changes::default() }),
    ];
    for (what, changes) in cases {
        for wanted in [vec![], devices.clone()] {
            let changes = changes.clone();
            let refused = world.batch(&wanted, |_| (changes, ())).await;
            assert!(matches!(refused, Err(StoreError::Constraint(_))), "{what}: {refused:?}");
        }
    }
    let mut late = done.clone();
    late.deployment.late_success = true;
    let changes = Changes { deployments: vec![late.clone()], ..Changes::default() };
    world.batch(&[], |_| (changes, ())).await.must();
    assert_eq!(world.store.deployment(done.key).await.must().must().row, late, "a note on it is allowed");
}

pub(super) async fn a_decision_that_panics_leaves_nothing(world: &World) {
    let device = world.device("device1").await;
    let campaign = world.filled("c1", &released(9)).await;
    let broken: Result<crate::Committed<()>, _> =
        world.batch(&[device], |_| panic!("no such {}", "luck")).await;
    let Err(StoreError::DecisionPanicked(text)) = broken else { panic!("{broken:?}") };
    assert_eq!(text, "no such luck");
    world.put(campaign, device, asked(3)).await.must();
    assert_eq!(world.labels(campaign).await, [Label::Asked], "and it goes on");
}

pub(super) async fn a_device_has_at_most_one_deployment_at_work(world: &World) {
    let device = world.device("device1").await;
    let first = world.filled("c1", &released(9)).await;
    let second = world.filled("c2", &released(9)).await;
    world.put(first, device, asked(3)).await.must();
    world.put(first, device, offered(3)).await.must();
    for at_work in [asked(3), offered(3), running(3)] {
        let refused = world.put(second, device, at_work).await;
        assert!(matches!(refused, Err(StoreError::Constraint(_))), "{refused:?}");
    }
    world.put(second, device, waiting(3)).await.must();
    world.put(first, device, waiting(3)).await.must();
    world.put(second, device, asked(3)).await.must();
    assert!(matches!(world.put(first, device, asked(3)).await, Err(StoreError::Constraint(_))));
}

pub(super) async fn one_campaign_may_take_a_device_over_within_a_batch(world: &World) {
    let device = world.device("device1").await;
    let first = world.filled("c1", &released(9)).await;
    let second = world.filled("c2", &released(9)).await;
    world.put(first, device, running(3)).await.must();
    let take_over = move |loaded: crate::Loaded| {
        let mut rows = loaded.devices[&device].unfinished.clone();
        rows[0].deployment = finished(OutcomeKind::Superseded);
        rows[1].deployment = asked(4);
        rows.reverse();
        (Changes { deployments: rows, ..Changes::default() }, ())
    };
    world.batch(&[device], take_over).await.must();
    assert_eq!(world.labels(first).await, [Label::Finished(OutcomeKind::Superseded)]);
    assert_eq!(world.labels(second).await, [Label::Asked]);
    world.counts(first).await;
    world.counts(second).await;
}

pub(super) async fn what_finishes_becomes_the_last_finished(world: &World) {
    let device = world.device("device1").await;
    let first = world.filled("c1", &released(9)).await;
    let second = world.filled("c2", &released(9)).await;
    world.put(second, device, finished(OutcomeKind::Installed)).await.must();
    let finish = move |loaded: crate::Loaded| {
        let view = &loaded.devices[&device];
        let mut row = view.unfinished[0].clone();
        row.deployment = finished(OutcomeKind::Failed);
        // A decision that builds the narrow row anew does not break what the store keeps in it.
        let state = DeviceState { firmware_version: Some("v1".to_owned()), ..DeviceState::default() };
        (Changes { devices: vec![(device, state)], deployments: vec![row], ..Changes::default() }, ())
    };
    world.batch(&[device], finish).await.must();
    let last = world.store.deployment_of(first, device).await.must().must().row.key;
    let state = world.store.device_by_key(device).await.must().must().state;
    assert_eq!((state.last_finished, state.firmware_version.as_deref()), (Some(last), Some("v1")));
}

pub(super) async fn what_was_never_asked_does_not_become_the_last_finished(world: &World) {
    let device = world.device("device1").await;
    let first = world.filled("c1", &released(9)).await;
    let second = world.filled("c2", &released(9)).await;
    world.put(first, device, finished(OutcomeKind::TimedOut)).await.must();
    let untold = Deployment { package: None, ..finished(OutcomeKind::Cancelled) };
    world.put(second, device, untold).await.must();
    let last = world.store.deployment_of(first, device).await.must().must().row.key;
    let state = world.store.device_by_key(device).await.must().must().state;
    assert_eq!(state.last_finished, Some(last), "the device may still be at the first one");
}

pub(super) async fn reports_hang_on_each_other_across_batches(world: &World) {
    let devices = world.devices(2).await;
    let campaign = world.filled("c1", &released(9)).await;
    let deployment = world.store.deployment_of(campaign, devices[0]).await.must().must().row.key;
    for batch in 0..5 {
        let mut changes = Changes::default();
        for number in 0..batch {
            let mut one = report(devices[0], &format!("a{batch}{number}"));
            one.deployment = (batch == 2).then_some(deployment);
            one.received_at = WallTime(batch);
            changes.reports.push(one);
            changes.reports.push(report(devices[1], "b"));
        }
        let wanted = if batch % 2 == 0 { &devices[..] } else { &[] };
        world.batch(wanted, |_| (changes, ())).await.must();
    }
    let texts = async |before, limit| {
        let reports = world.store.reports(devices[0], before, limit).await.must();
        let texts: Vec<String> =
            reports.iter().map(|report| String::from_utf8_lossy(&report.payload).into_owned()).collect();
        (texts.join(" "), reports)
    };
    assert_eq!(texts(None, 100).await.0, "a43 a42 a41 a40 a32 a31 a30 a21 a20 a10");
    let (first, reports) = texts(None, 4).await;
    assert_eq!(first, "a43 a42 a41 a40");
    let (rest, reports) = texts(Some(reports[3].seq), 100).await;
    assert_eq!(rest, "a32 a31 a30 a21 a20 a10");
    assert_eq!((reports[3].campaign_id.as_deref(), reports[2].campaign_id.as_deref()), (Some("c1"), None));
    assert_eq!((reports[3].received_at, reports[3].reading.as_str()), (WallTime(2), "{}"));
    assert_eq!(world.store.reports(devices[1], Some(reports[0].seq), 9).await.must(), [], "not its own");
    assert_eq!(world.store.reports(devices[0], Some(ReportSeq(9_999)), 9).await.must(), []);
    assert_eq!(world.store.reports(devices[1], None, 100).await.must().len(), 10);
}

pub(super) async fn reports_may_come_without_a_change_of_the_device(world: &World) {
    let device = world.device("device1").await;
    let changes = Changes {
        reports: vec![
            report(device, "one"),
            crate::NewReport { received_at: WallTime(8), ..report(device, "two") },
        ],
        ..Changes::default()
    };
    world.batch(&[], |_| (changes, ())).await.must();
    let state = world.store.device_by_key(device).await.must().must().state;
    let newest = world.store.reports(device, None, 1).await.must();
    assert_eq!((state.last_report, state.last_report_at), (Some(newest[0].seq), Some(WallTime(8))));
    let rebuilt = Changes { devices: vec![(device, DeviceState::default())], ..Changes::default() };
    world.batch(&[device], |_| (rebuilt, ())).await.must();
    assert_eq!(
        world.store.device_by_key(device).await.must().must().state,
        state,
        "the chain is the store's"
    );
}

pub(super) async fn due_deployments_come_earliest_first(world: &World) {
    let devices = world.devices(6).await;
    let campaign = world.filled("c1", &released(100)).await;
    for (number, until) in [(0, 30), (1, 10), (2, 20), (3, 10)] {
        world.put(campaign, devices[number], asked(until)).await.must();
    }
    let due = async |until, limit| -> Vec<DeviceKey> {
        let loaded = world.load(Wanted { due: Some((ServiceTime(until), limit)), ..Wanted::default() }).await;
        let find = |key: &DeploymentKey| {
            let mut rows = loaded.devices.values().flat_map(|view| &view.unfinished);
            rows.find(|row| row.key == *key).must().device
        };
        loaded.due.iter().map(find).collect()
    };
    assert_eq!(due(9, 10).await, []);
    assert_eq!(due(20, 10).await, [devices[1], devices[3], devices[2]]);
    assert_eq!(due(20, 2).await, [devices[1], devices[3]]);
    world.put(campaign, devices[1], offered(200)).await.must();
    assert_eq!(due(20, 10).await, [devices[3], devices[2]], "a deadline moves with its deployment");
    assert_eq!(due(i64::MAX, 100).await.len(), 6);
}

pub(super) async fn the_next_wake_is_the_earliest_deadline(world: &World) {
    let devices = world.devices(2).await;
    assert_eq!(world.store.next_wake().await.must(), None);
    let campaign = world.filled("c1", &released(100)).await;
    assert_eq!(world.store.next_wake().await.must(), Some(ServiceTime(100)));
    world.put(campaign, devices[1], asked(7)).await.must();
    assert_eq!(world.store.next_wake().await.must(), Some(ServiceTime(7)));
    for device in devices {
        world.put(campaign, device, finished(OutcomeKind::TimedOut)).await.must();
    }
    assert_eq!(world.store.next_wake().await.must(), None);
}

pub(super) async fn unfinished_deployments_are_walked_page_by_page(world: &World) {
    let devices = world.devices(9).await;
    let campaign = world.filled("c1", &released(100)).await;
    world.put(campaign, devices[2], finished(OutcomeKind::Installed)).await.must();
    world.put(campaign, devices[5], offered(4)).await.must();
    world.put(campaign, devices[7], waiting(4)).await.must();
    let (mut walked, mut after) = (Vec::new(), None);
    loop {
        let wanted = Wanted { latest: Some(unfinished_of(campaign, after, 3)), ..Wanted::default() };
        let loaded = world.load(wanted).await;
        assert_eq!(loaded.devices.len(), loaded.latest.len());
        let Some(last) = loaded.latest.last() else { break };
        after = Some(last.key);
        walked.extend(loaded.devices.keys().copied());
    }
    let expected: Vec<DeviceKey> = devices.iter().copied().filter(|device| *device != devices[2]).collect();
    assert_eq!(walked, expected);
}

pub(super) async fn lines_stay_in_the_outbox_until_said_or_silenced(world: &World) {
    let devices = world.devices(3).await;
    let notice = OutboxLine { say: Say::Notice { package: 3, attempt: 2 }, ..line(devices[1], 7) };
    let lines = vec![line(devices[0], 5), notice.clone(), line(devices[0], 6), line(devices[2], 5)];
    let changes = Changes { outbox: lines.clone(), ..Changes::default() };
    let placed = world.batch(&[], |_| (changes, ())).await.must().outbox;
    assert_eq!(placed.iter().map(|(_, line)| line.clone()).collect::<Vec<_>>(), lines);
    assert_eq!(world.store.outbox(10).await.must(), placed);
    assert_eq!(world.store.outbox(2).await.must(), placed[..2]);
    let changes =
        Changes { said: vec![placed[1].0], silenced: vec![(devices[0], Epoch(6))], ..Changes::default() };
    world.batch(&[], |_| (changes, ())).await.must();
    assert_eq!(world.store.outbox(10).await.must(), placed[2..], "only what is older than the epoch goes");
    let changes = Changes { outbox: vec![line(devices[0], 9)], ..Changes::default() };
    let later = world.batch(&[], |_| (changes, ())).await.must().outbox;
    assert!(later[0].0 > placed[3].0, "a place is not given again");
    world.store.delete_device(&world.actor, &id("device00002"), NOW).await.must();
    assert_eq!(world.store.outbox(10).await.must(), [placed[2].clone(), later[0].clone()]);
}

pub(super) async fn a_new_run_forgets_what_was_to_be_said(world: &World) {
    let device = world.device("device1").await;
    let changes = Changes { outbox: vec![line(device, 5)], ..Changes::default() };
    world.batch(&[], |_| (changes, ())).await.must();
    world.store.boot(NOW).await.must();
    assert_eq!(world.store.outbox(10).await.must(), []);
}

pub(super) async fn a_campaign_ends_once(world: &World) {
    let device = world.device("device1").await;
    let first = world.filled("c1", &released(9)).await;
    let second = world.filled("c2", &released(9)).await;
    let from = [CampaignState::Preparing];
    let cancelled = WallTime(NOW.0 - 5);
    world
        .store
        .move_campaign(&world.actor, second, &from, CampaignState::Cancelled, None, cancelled)
        .await
        .must()
        .must();
    for _ in 0..2 {
        let changes = Changes { ended: vec![first, second], ..Changes::default() };
        world.batch(&[device], |_| (changes, ())).await.must();
    }
    let (row, _) = world.store.campaign_by_key(first).await.must().must();
    assert_eq!((row.state, row.finished_at), (CampaignState::Finished, Some(NOW)));
    let (row, _) = world.store.campaign_by_key(second).await.must().must();
    assert_eq!((row.state, row.finished_at), (CampaignState::Cancelled, Some(cancelled)));
    let loaded = world.load(Wanted { devices: vec![device], ..Wanted::default() }).await;
    assert_eq!(loaded.campaigns[&first].0.state, CampaignState::Finished, "batches see it too");
}

fn line(device: DeviceKey, epoch: i64) -> OutboxLine {
    OutboxLine {
        device,
        via: device,
        epoch: Epoch(epoch),
        deployment: DeploymentKey(1),
        say: Say::AskVersion,
    }
}
