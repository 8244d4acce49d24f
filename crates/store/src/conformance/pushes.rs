//! What applications are to be told.

use otaru_core::campaign::CampaignState;
use otaru_core::deployment::OutcomeKind;

use super::world::{Must, NOW, World, finished, id, new_device, offered, released};
use crate::{
    CampaignKey, DevicePatch, Newest, PushAction, PushActionKey, PushBecame, PushDead, PushDue, PushRule,
    PushRuleKey, PushSettled, PushSubject, StoreError,
};

fn rule(rule_id: &str, subject: PushSubject) -> PushRule {
    PushRule {
        key: PushRuleKey(0),
        rule_id: rule_id.to_owned(),
        subject,
        active: true,
        members: "{}".to_owned(),
        created_at: NOW,
    }
}

fn action(action_id: &str, rule_id: &str) -> PushAction {
    PushAction {
        key: PushActionKey(0),
        action_id: action_id.to_owned(),
        rule_id: rule_id.to_owned(),
        url: "http://127.0.0.1/".to_owned(),
        sealed_token: Some(vec![1]),
        members: "{\"a\":1}".to_owned(),
        created_at: NOW,
        subject: PushSubject::Device,
        active: false,
    }
}

/// A rule about this, with one action.
async fn telling(world: &World, name: &str, subject: PushSubject) -> PushActionKey {
    world.store.put_push_rule(&world.actor, rule(name, subject), NOW).await.must();
    let made = world.store.put_push_action(&world.actor, action(&format!("{name}-a"), name), NOW).await;
    made.must().key
}

/// A campaign that has come to run.
async fn running(world: &World) -> CampaignKey {
    let campaign = world.filled("c1", &released(9)).await;
    let (from, to) = ([CampaignState::Preparing], CampaignState::Running);
    world.store.move_campaign(&world.actor, campaign, &from, to, None, NOW).await.must();
    campaign
}

async fn due(world: &World, action: PushActionKey) -> Vec<PushDue> {
    world.store.pushes_due(action, 100).await.must()
}

pub(super) async fn a_rule_and_its_actions_are_made_changed_and_deleted(world: &World) {
    let (store, actor) = (&world.store, &world.actor);
    let made = store.put_push_rule(actor, rule("r1", PushSubject::Campaign), NOW).await.must();
    assert_eq!(store.push_rule("r1").await.must(), Some(made.clone()));
    let off = PushRule { active: false, members: "{\"x\":1}".to_owned(), ..made.clone() };
    assert_eq!(store.put_push_rule(actor, off.clone(), NOW).await.must(), off);
    store.put_push_rule(actor, rule("r2", PushSubject::Device), NOW).await.must();
    let ids: Vec<String> = store.push_rules().await.must().into_iter().map(|rule| rule.rule_id).collect();
    assert_eq!(ids, ["r2", "r1"]);

    let nowhere = store.put_push_action(actor, action("a", "none"), NOW).await;
    assert!(matches!(nowhere, Err(StoreError::Missing { what: "rule", .. })));
    let a1 = store.put_push_action(actor, action("a1", "r1"), NOW).await.must();
    assert_eq!((a1.subject, a1.active, a1.rule_id.as_str()), (PushSubject::Campaign, false, "r1"));
    let moved = PushAction { url: "http://127.0.0.1/x".to_owned(), sealed_token: None, ..a1.clone() };
    assert_eq!(store.put_push_action(actor, moved.clone(), NOW).await.must(), moved);
    let a2 = store.put_push_action(actor, action("a2", "r2"), NOW).await.must();
    assert_eq!(store.push_actions(None).await.must(), [a2.clone(), moved.clone()]);
    assert_eq!(store.push_actions(Some("r1".to_owned())).await.must(), [moved]);
    let count = store.seal_again(crate::KeyMark([1; 32]), Box::new(|_, _| Ok(vec![7]))).await.must();
    assert_eq!(count, 1);
    assert_eq!(store.push_action("a2").await.must().and_then(|a| a.sealed_token), Some(vec![7]));

    store.delete_push_action(actor, "a2", NOW).await.must();
    assert!(matches!(store.delete_push_action(actor, "a2", NOW).await, Err(StoreError::Missing { .. })));
    store.delete_push_rule(actor, "r1", NOW).await.must();
    assert_eq!(store.push_action("a1").await.must(), None);
    assert!(matches!(store.delete_push_rule(actor, "r1", NOW).await, Err(StoreError::Missing { .. })));
}

pub(super) async fn what_changes_is_due_once_until_it_was_told(world: &World) {
    let store = &world.store;
    let device = world.device("d1").await;
    let (of_devices, of_campaigns, of_deployments) = (
        telling(world, "devices", PushSubject::Device).await,
        telling(world, "campaigns", PushSubject::Campaign).await,
        telling(world, "deployments", PushSubject::Deployment).await,
    );
    let campaign = running(world).await;
    let campaigns = due(world, of_campaigns).await;
    assert!(
        matches!(campaigns[..], [PushDue { thing, attempts: 0, .. }] if thing == campaign.0),
        "it has deployments, and runs: {campaigns:?}"
    );
    assert_eq!(due(world, of_deployments).await, [], "what is made has not changed");
    assert_eq!(due(world, of_devices).await, []);

    let patch = DevicePatch { name: Some(Some("Hall".to_owned())), ..DevicePatch::default() };
    for _ in 0..2 {
        store.patch_device(&world.actor, &id("d1"), patch.clone(), NOW).await.must();
    }
    assert!(
        matches!(due(world, of_devices).await[..], [PushDue { thing, attempts: 0, .. }] if thing == device.0)
    );
    assert_eq!(store.count_pushes_due(of_devices).await.must(), 1);

    let one = campaigns[0];
    let settle = async |due: PushDue, became: PushBecame| {
        store.settle_pushes(of_campaigns, vec![PushSettled { due, became }], NOW).await.must();
    };
    settle(one, PushBecame::Failed { weight: 1 }).await;
    assert_eq!(due(world, of_campaigns).await[0].attempts, 1);
    store
        .move_campaign(&world.actor, campaign, &[CampaignState::Running], CampaignState::Paused, None, NOW)
        .await
        .must();
    let changed = due(world, of_campaigns).await[0];
    assert!(changed.version > one.version && changed.attempts == 0, "{changed:?}");
    settle(one, PushBecame::Told).await;
    assert_eq!(due(world, of_campaigns).await, [changed], "what was told was how it had been");
    settle(changed, PushBecame::Told).await;
    assert_eq!(due(world, of_campaigns).await, []);
}

pub(super) async fn a_task_is_due_again_when_the_last_of_it_has_ended(world: &World) {
    let store = &world.store;
    let devices = [world.device("d1").await, world.device("d2").await];
    let action = telling(world, "campaigns", PushSubject::Campaign).await;
    let campaign = running(world).await;
    for device in devices {
        world.put(campaign, device, offered(9)).await.must();
        told(world, action).await;
    }
    let (from, to) = ([CampaignState::Running], CampaignState::Cancelled);
    store.move_campaign(&world.actor, campaign, &from, to, None, NOW).await.must();
    assert_eq!(told(world, action).await, 1, "it stops");
    // Nothing about the campaign changes from here on but where its deployments are.
    world.put(campaign, devices[0], finished(OutcomeKind::Cancelled)).await.must();
    told(world, action).await;
    world.put(campaign, devices[1], finished(OutcomeKind::Cancelled)).await.must();
    assert_eq!(told(world, action).await, 1, "it has stopped");
    assert_eq!(told(world, action).await, 0);
}

/// Tells everything that is due; answers how much that was.
async fn told(world: &World, action: PushActionKey) -> usize {
    let all = due(world, action).await;
    let settled = all.iter().map(|due| PushSettled { due: *due, became: PushBecame::Told }).collect();
    world.store.settle_pushes(action, settled, NOW).await.must();
    all.len()
}

pub(super) async fn a_rule_that_is_not_in_force_makes_nothing_due(world: &World) {
    world.device("d1").await;
    let action = telling(world, "campaigns", PushSubject::Campaign).await;
    let off = PushRule { active: false, ..rule("campaigns", PushSubject::Campaign) };
    world.store.put_push_rule(&world.actor, off, NOW).await.must();
    running(world).await;
    assert_eq!(due(world, action).await, []);
}

pub(super) async fn what_was_not_taken_is_kept_the_newest_first(world: &World) {
    let store = &world.store;
    world.device("d1").await;
    let action = telling(world, "campaigns", PushSubject::Campaign).await;
    let other = telling(world, "others", PushSubject::Campaign).await;
    let campaign = running(world).await;
    let one = due(world, action).await[0];
    for number in 0..3 {
        let one = due(world, action).await.first().copied().unwrap_or(one);
        let became = PushBecame::Dead { body: format!("b{number}"), error: "410".to_owned() };
        store.settle_pushes(action, vec![PushSettled { due: one, became }], NOW).await.must();
        assert_eq!(due(world, action).await, []);
        // Due once more, so that the next one is given up as well.
        let (from, to) = match number {
            1 => ([CampaignState::Paused], CampaignState::Running),
            _ => ([CampaignState::Running], CampaignState::Paused),
        };
        store.move_campaign(&world.actor, campaign, &from, to, None, NOW).await.must();
    }
    let page = Newest { before: None, skip: 0, limit: 2 };
    let bodies = |dead: Vec<PushDead>| dead.into_iter().map(|one| one.body).collect::<Vec<_>>();
    let first = store.dead_pushes(action, page).await.must();
    let next = Newest { before: first.last().map(|one| one.seq), ..page };
    assert_eq!(bodies(first), ["b2", "b1"]);
    assert_eq!(bodies(store.dead_pushes(action, next).await.must()), ["b0"]);
    assert_eq!(bodies(store.dead_pushes(other, page).await.must()), Vec::<String>::new());
    assert_eq!(due(world, other).await.len(), 1);
    let device = new_device("d2");
    store.create_device(&world.actor, device, NOW).await.must();
}
