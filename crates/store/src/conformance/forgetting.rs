//! What is forgotten: by age, and because somebody deleted it.

use otaru_core::WallTime;
use otaru_core::campaign::CampaignState;
use otaru_core::deployment::OutcomeKind;

use super::world::{Must, NOW, World, artifact, finished, released, report, running};
use crate::{
    Aging, CampaignFilter, CampaignKey, Changes, DeploymentFilter, DeviceKey, LogRow, NewReport, Note, Page,
    QuarantinedEvent, StoreError, Targets, Wanted,
};

const HOUR: i64 = 3_600_000;

/// So many hours after `NOW`.
fn at(hours: i64) -> WallTime {
    WallTime(NOW.0 + hours * HOUR)
}

async fn reported(world: &World, device: DeviceKey, text: &str, at: WallTime) {
    let report = NewReport { received_at: at, ..report(device, text) };
    let changes = Changes { reports: vec![report], ..Changes::default() };
    world.batch(&[device], |_| (changes, ())).await.must();
}

/// What is left of a device's reports, the newest first.
async fn told(world: &World, device: DeviceKey) -> Vec<String> {
    let reports = world.store.reports(device, None, 100).await.must();
    reports.into_iter().map(|record| String::from_utf8_lossy(&record.payload).into_owned()).collect()
}

/// Forgets what is older, in chunks of two; how many rows are gone.
async fn forget(world: &World, kind: Aging, before: WallTime) -> u32 {
    let (mut from, mut rows) = (0, 0);
    loop {
        let step = world.store.forget(kind, before, from, 2).await.must();
        rows += step.rows;
        match step.next {
            Some(next) => from = next,
            None => return rows,
        }
    }
}

pub(super) async fn reports_are_forgotten_from_the_front_and_histories_end_there(world: &World) {
    let (one, other) = (world.device("one").await, world.device("other").await);
    for hour in 0..4 {
        reported(world, one, &format!("one {hour}"), at(hour)).await;
        reported(world, other, &format!("other {hour}"), at(hour)).await;
    }
    assert_eq!(forget(world, Aging::Reports, at(2)).await, 4);
    assert_eq!(told(world, one).await, ["one 3", "one 2"]);
    assert_eq!(told(world, other).await, ["other 3", "other 2"]);
    assert_eq!(forget(world, Aging::Reports, at(2)).await, 0, "again");
    reported(world, one, "one 4", at(4)).await;
    assert_eq!(told(world, one).await, ["one 4", "one 3", "one 2"]);
}

pub(super) async fn a_younger_row_before_older_ones_stays_and_does_not_hold_them(world: &World) {
    let device = world.device("device1").await;
    for (text, hour) in [("a", 0), ("after the jump", 50), ("b", 1), ("c", 1), ("d", 9), ("e", 9)] {
        reported(world, device, text, at(hour)).await;
    }
    assert_eq!(forget(world, Aging::Reports, at(5)).await, 3);
    assert_eq!(told(world, device).await[..2], ["e", "d"]);
}

pub(super) async fn lines_of_logs_are_forgotten_by_age(world: &World) {
    let device = world.device("device1").await;
    let line = |hour: i64| LogRow {
        timestamp: None,
        kind: None,
        content: format!("line {hour}"),
        received_at: at(hour),
    };
    let notes = (0..5).map(|hour| Note::Log { device, row: line(hour) }).collect();
    let changes = Changes { notes, ..Changes::default() };
    world.batch(&[device], |_| (changes, ())).await.must();
    assert_eq!(forget(world, Aging::DeviceLogs, at(3)).await, 3);
    let left = world.store.log(device, None, 100).await.must();
    assert_eq!(left.iter().map(|(_, row)| row.content.as_str()).collect::<Vec<_>>(), ["line 4", "line 3"]);
}

pub(super) async fn an_emptied_log_does_not_give_its_places_again(world: &World) {
    let device = world.device("device1").await;
    let before: Vec<i64> = audit(world).await;
    assert!(forget(world, Aging::Audit, at(1)).await > 0);
    assert!(audit(world).await.is_empty());
    world.device("device2").await;
    assert!(audit(world).await[0] > before[0], "a page after an old line is after it");

    for text in ["first", "second"] {
        let event = QuarantinedEvent {
            device: Some(device),
            at: NOW,
            payload: text.as_bytes().to_vec().into(),
            error: "why".to_owned(),
        };
        let changes = Changes { quarantined: vec![event], ..Changes::default() };
        world.batch(&[], |_| (changes, ())).await.must();
        assert_eq!(world.store.quarantined(10).await.must().len(), 1);
        assert_eq!(forget(world, Aging::Quarantine, at(0)).await, 0, "it is from now");
        assert_eq!(forget(world, Aging::Quarantine, at(1)).await, 1);
    }
}

async fn audit(world: &World) -> Vec<i64> {
    world.store.audit(Page { after: None, limit: 100 }).await.must().iter().map(|row| row.seq).collect()
}

pub(super) async fn an_artifact_in_a_package_is_not_deleted(world: &World) {
    world.package().await;
    let id = artifact().artifact_id;
    let refused = world.store.delete_artifact(&world.actor, &id, NOW).await;
    match refused {
        Err(StoreError::InUse { what: "artifact", by, .. }) => assert_eq!(by, "package package1"),
        other => panic!("{other:?}"),
    }
    world.store.delete_package(&world.actor, "package1", NOW).await.must();
    let refused = world.store.delete_artifact(&world.stranger, &id, NOW).await;
    assert!(matches!(refused, Err(StoreError::Missing { what: "artifact", .. })));
    world.store.delete_artifact(&world.actor, &id, NOW).await.must();
    assert_eq!(world.store.artifact(&id).await.must(), None);
    let refused = world.store.delete_artifact(&world.actor, &id, NOW).await;
    assert!(matches!(refused, Err(StoreError::Missing { what: "artifact", .. })));
}

pub(super) async fn an_artifact_is_unused_since_its_last_upload_or_package(world: &World) {
    let unused = async |hour: i64| {
        let rows = world.store.unused_artifacts(at(hour), None, 10).await.must();
        rows.into_iter().map(|row| row.artifact_id).collect::<Vec<_>>()
    };
    world.store.add_artifact(&world.actor, artifact()).await.must();
    let id = artifact().artifact_id;
    assert_eq!(unused(0).await, Vec::<String>::new(), "it came at this moment");
    assert_eq!(unused(1).await, std::slice::from_ref(&id));

    let again = crate::ArtifactRow { created_at: at(2), ..artifact() };
    assert_eq!(world.store.add_artifact(&world.actor, again).await.must(), artifact(), "the older row");
    assert_eq!(unused(2).await, Vec::<String>::new());

    world.package().await;
    assert_eq!(unused(100).await, Vec::<String>::new(), "a package has it");
    world.store.delete_package(&world.actor, "package1", at(5)).await.must();
    assert_eq!(unused(5).await, Vec::<String>::new());
    assert_eq!(unused(6).await, std::slice::from_ref(&id));
    let after = world.store.unused_artifacts(at(6), Some(&id), 10).await.must();
    assert_eq!(after, [], "the page after it");
}

/// A campaign over every device, each deployment of which has ended.
async fn ended(world: &World, campaign_id: &str, devices: &[DeviceKey]) -> CampaignKey {
    let key = world.filled(campaign_id, &released(5)).await;
    for device in devices {
        world.put(key, *device, finished(OutcomeKind::Installed)).await.must();
    }
    let moved = world.store.move_campaign(
        &world.actor,
        key,
        &[CampaignState::Preparing],
        CampaignState::Finished,
        None,
        NOW,
    );
    moved.await.must().must();
    key
}

pub(super) async fn only_a_campaign_that_has_ended_is_deleted(world: &World) {
    let device = world.device("device1").await;
    let key = world.filled("campaign1", &running(5)).await;
    let delete = async || world.store.delete_campaign(&world.actor, "campaign1", NOW).await;
    assert_eq!(delete().await.must(), None, "it is being prepared");
    let to = CampaignState::Cancelled;
    world
        .store
        .move_campaign(&world.actor, key, &[CampaignState::Preparing], to, None, NOW)
        .await
        .must()
        .must();
    assert_eq!(delete().await.must(), None, "a device is at work");
    world.put(key, device, finished(OutcomeKind::Cancelled)).await.must();
    let refused = world.store.delete_campaign(&world.stranger, "campaign1", NOW).await;
    assert!(matches!(refused, Err(StoreError::Missing { what: "campaign", .. })));
    assert_eq!(delete().await.must(), Some(key));
    assert!(matches!(delete().await, Err(StoreError::Missing { what: "campaign", .. })));
}

pub(super) async fn a_deleted_campaign_is_in_no_list_and_its_deployments_go_in_chunks(world: &World) {
    let devices = world.devices(5).await;
    let key = ended(world, "campaign1", &devices).await;
    let kept = ended(world, "campaign2", &devices).await;
    assert_eq!(world.store.leaving_campaigns().await.must(), []);
    world.store.delete_campaign(&world.actor, "campaign1", NOW).await.must().must();

    assert!(world.store.campaign("campaign1").await.must().is_none());
    assert!(world.store.campaign_by_key(key).await.must().is_none());
    let listed =
        world.store.campaigns(CampaignFilter::default(), Page { after: None, limit: 10 }).await.must();
    assert_eq!(listed.iter().map(|(row, _)| row.key).collect::<Vec<_>>(), [kept]);
    assert_eq!(world.store.count_campaigns(CampaignFilter::default()).await.must().n, 1);
    let of_device = world.store.deployments_of_device(devices[0], 10).await.must();
    assert_eq!(of_device.iter().map(|record| record.row.campaign).collect::<Vec<_>>(), [kept]);

    assert_eq!(world.store.leaving_campaigns().await.must(), [key]);
    assert!(!world.store.forget_deployments(key, 3).await.must());
    assert!(world.store.forget_deployments(key, 3).await.must());
    assert!(world.store.forget_deployments(key, 3).await.must(), "again");
    assert_eq!(world.store.leaving_campaigns().await.must(), []);
    assert!(
        world
            .store
            .deployments(key, DeploymentFilter::default(), Page { after: None, limit: 9 })
            .await
            .must()
            .is_empty()
    );
    assert_eq!(world.deployments(kept, DeploymentFilter::default()).await.len(), 5);
    assert!(world.store.forget_deployments(kept, 3).await.must(), "nobody deleted that one");
    assert_eq!(world.deployments(kept, DeploymentFilter::default()).await.len(), 5);
    let made = world.campaign("campaign3", Targets::Product).await.key;
    assert!(made > kept && made > key, "keys are never used again");
}

pub(super) async fn a_device_goes_on_after_the_campaign_that_finished_last_is_deleted(world: &World) {
    let device = world.device("device1").await;
    let key = ended(world, "campaign1", &[device]).await;
    let wanted = || Wanted { devices: vec![device], ..Wanted::default() };
    assert!(world.load(wanted()).await.devices[&device].last_finished.is_some());
    world.store.delete_campaign(&world.actor, "campaign1", NOW).await.must().must();
    let loaded = world.load(wanted()).await;
    assert!(loaded.devices[&device].last_finished.is_none());
    assert!(loaded.campaigns.is_empty());
    assert!(world.store.forget_deployments(key, 3).await.must());
    assert!(world.load(wanted()).await.devices[&device].last_finished.is_none());
    let next = world.filled("campaign2", &released(5)).await;
    world.put(next, device, running(5)).await.must();
}

pub(super) async fn campaigns_are_old_by_their_end(world: &World) {
    let device = world.device("device1").await;
    world.filled("unfinished", &released(5)).await;
    for (campaign_id, hour) in [("later", 7), ("earlier", 3)] {
        let key = world.filled(campaign_id, &released(5)).await;
        world.put(key, device, finished(OutcomeKind::Installed)).await.must();
        let moved = world.store.move_campaign(
            &world.actor,
            key,
            &[CampaignState::Preparing],
            CampaignState::Finished,
            None,
            at(hour),
        );
        moved.await.must().must();
    }
    assert_eq!(world.store.ended_campaigns(at(3), 10).await.must(), Vec::<String>::new());
    assert_eq!(world.store.ended_campaigns(at(4), 10).await.must(), ["earlier"]);
    assert_eq!(world.store.ended_campaigns(at(9), 10).await.must(), ["earlier", "later"]);
    assert_eq!(world.store.ended_campaigns(at(9), 1).await.must(), ["earlier"]);
}
