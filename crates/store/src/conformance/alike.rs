//! Random histories of what applications do: whatever comes after whatever, a store answers and shows the same as the one
//! in memory.

use otaru_core::campaign::CampaignState;
use otaru_core::deployment::{Deployment, OutcomeKind};

use super::random::Dice;
use super::world::{Must, NOW, PRODUCT, World, finished, id, new_device, offered, released, running};
use crate::{
    AccessKeyRow, CampaignKey, DeviceFilter, DevicePatch, NewDevice, Newest, Page, PushAction, PushActionKey,
    PushBecame, PushDue, PushRule, PushRuleKey, PushSettled, PushSubject, Role, Store, StoreError,
    TagsChange, Thing,
};

/// Enough for every step to be taken some dozen times.
const STEPS: usize = 1_000;

/// Products, devices and so on that steps are about; few, so that they meet.
const NAMES: usize = 4;

/// One thing that is done, with everything that was chosen about it.
#[derive(Clone, Debug)]
enum Step {
    AddKey(usize),
    RevokeKey(usize),
    MakeProduct(usize, String),
    PatchProduct(usize, Option<String>, Option<String>),
    DeleteProduct(usize),
    /// Of this product or the first one, behind this gateway.
    MakeDevice(usize, Option<usize>, Option<usize>, String),
    PatchDevice(usize, DevicePatch),
    DeleteDevice(usize),
    MoveChild(usize, usize),
    /// `true`: whoever writes it has read it before.
    PutRule(usize, PushSubject, bool, bool),
    DeleteRule(usize),
    PutAction(usize, usize, bool),
    DeleteAction(usize),
    /// `true`: it has changed since it was taken.
    Settle(usize, PushBecame, bool),
    MoveDeployment(usize, Deployment),
    MoveCampaign(CampaignState, CampaignState),
}

pub(super) async fn what_applications_do_leads_to_the_same_in_every_store(world: &World) {
    let twin = World::new(Store::memory()).await;
    let mut campaigns = Vec::new();
    for world in [world, &twin] {
        world.devices(NAMES).await;
        campaigns.push(world.filled("c1", &released(9)).await);
    }
    let mut dice = Dice(0xa11ce);
    let (mut done, mut refused, mut told) = (0, 0, 0);
    for number in 0..STEPS {
        let step = step(&mut dice);
        let [ours, theirs] =
            [taken(world, campaigns[0], step.clone()).await, taken(&twin, campaigns[1], step.clone()).await];
        assert_eq!(ours, theirs, "step {number}: {step:?}");
        assert_eq!(shown(world).await, shown(&twin).await, "step {number}: {step:?}");
        done += usize::from(ours.is_ok());
        refused += usize::from(ours.is_err());
        told += usize::from(matches!((&step, &ours), (Step::Settle(..), Ok(what)) if what != "nothing"));
    }
    assert!(done > STEPS / 4 && refused > STEPS / 10, "{done} done and {refused} refused show little");
    assert!(told > 10, "{told} that were told show little");
}

fn step(dice: &mut Dice) -> Step {
    let (one, other) = (dice.roll(NAMES), dice.roll(NAMES));
    match dice.roll(40) {
        0 => Step::AddKey(one),
        1 => Step::RevokeKey(one),
        2 => Step::MakeProduct(one, members(dice)),
        3 | 4 => {
            let name = (dice.roll(2) == 0).then(|| format!("name {}", dice.roll(3)));
            Step::PatchProduct(one, name, (dice.roll(3) > 0).then(|| members(dice)))
        }
        5 => Step::DeleteProduct(one),
        6 | 7 => {
            let product = (dice.roll(2) == 0).then(|| dice.roll(NAMES));
            let gateway = (dice.roll(2) == 0).then_some(other);
            Step::MakeDevice(one, product, gateway, members(dice))
        }
        8..12 => Step::PatchDevice(one, patch(dice)),
        12 => Step::DeleteDevice(one),
        13 | 14 => Step::MoveChild(one, other),
        15..18 => {
            let subject = [PushSubject::Campaign, PushSubject::Device, PushSubject::Deployment][one % 3];
            Step::PutRule(one, subject, dice.roll(4) > 0, dice.roll(3) > 0)
        }
        18 => Step::DeleteRule(one),
        19..22 => Step::PutAction(one, other, dice.roll(3) > 0),
        22 => Step::DeleteAction(one),
        23..31 => {
            let became = match dice.roll(3) {
                0 => PushBecame::Told,
                1 => PushBecame::Failed { weight: 1 + dice.roll(2) as u32 },
                _ => PushBecame::Dead { body: format!("b{}", dice.roll(100)), error: "410".to_owned() },
            };
            Step::Settle(one, became, dice.roll(4) == 0)
        }
        31..36 => {
            let deployment = match dice.roll(16) {
                0..5 => released(9),
                5..10 => offered(9),
                10..15 => running(9),
                _ => finished(OutcomeKind::Installed),
            };
            Step::MoveDeployment(one, deployment)
        }
        _ => {
            let states = [CampaignState::Preparing, CampaignState::Running, CampaignState::Paused];
            Step::MoveCampaign(states[dice.roll(3)], states[1 + dice.roll(2)])
        }
    }
}

/// A JSON object with a few members.
fn members(dice: &mut Dice) -> String {
    let all = ["\"a\":1", "\"a\":{\"b\":[null]}", "\"c\":\"text\"", "\"d\":null"];
    let chosen: Vec<&str> = all.into_iter().filter(|_| dice.roll(2) == 0).collect();
    format!("{{{}}}", chosen.join(","))
}

fn patch(dice: &mut Dice) -> DevicePatch {
    let tags = |dice: &mut Dice| {
        let n = 1 + dice.roll(3);
        (0..n).map(|_| (format!("k{}", dice.roll(5)), format!("v{}", dice.roll(2)))).collect()
    };
    let changed = match dice.roll(4) {
        0 => None,
        1 => Some(TagsChange::Replaced(tags(dice))),
        2 => Some(TagsChange::Added { tags: tags(dice), most: 3 }),
        _ => Some(TagsChange::Removed([format!("k{}", dice.roll(5))].into())),
    };
    DevicePatch {
        name: (dice.roll(3) == 0).then(|| (dice.roll(2) == 0).then(|| format!("n{}", dice.roll(2)))),
        tags: changed,
        members: (dice.roll(2) == 0).then(|| members(dice)),
        frozen: (dice.roll(4) == 0).then(|| dice.roll(2) == 0),
        ..DevicePatch::default()
    }
}

fn device(number: usize) -> String {
    format!("device{number:05}")
}

/// What a step was answered with, in words.
async fn taken(world: &World, campaign: CampaignKey, step: Step) -> Result<String, String> {
    let (store, actor) = (&world.store, &world.actor);
    let answer = match step {
        Step::AddKey(key) => {
            let row = AccessKeyRow {
                access_key: format!("AK{key}"),
                name: "app".to_owned(),
                role: Role::Operator,
                sealed_secret: vec![1],
                project: actor.project,
                created_at: NOW,
            };
            store.add_access_key(actor, row).await.map(|()| String::new())
        }
        Step::RevokeKey(key) => {
            store.revoke_access_key(actor, &format!("AK{key}"), NOW).await.map(|()| String::new())
        }
        Step::MakeProduct(product, members) => {
            let made =
                store.create_product_with(actor, &format!("p{product}"), "Product", None, members, NOW).await;
            made.map(|row| format!("{row:?}"))
        }
        Step::PatchProduct(product, name, members) => {
            let product_id = format!("p{product}");
            let changed = store.patch_product(actor, &product_id, name.as_deref(), members, NOW).await;
            changed.map(|row| format!("{row:?}"))
        }
        Step::DeleteProduct(product) => {
            store.delete_product(actor, &format!("p{product}"), NOW).await.map(|()| String::new())
        }
        Step::MakeDevice(number, product, gateway, members) => {
            let new = NewDevice {
                product_id: product.map_or_else(|| PRODUCT.to_owned(), |product| format!("p{product}")),
                gateway_id: gateway.map(|gateway| id(&device(gateway))),
                ..new_device(&device(number))
            };
            let made = store.create_device_with(actor, new, members, NOW).await;
            made.map(|record| format!("{record:?}"))
        }
        Step::PatchDevice(number, patch) => {
            let changed = store.patch_device(actor, &id(&device(number)), patch, NOW).await;
            changed.map(|record| format!("{record:?}"))
        }
        Step::DeleteDevice(number) => {
            let gone = store.delete_device(actor, &id(&device(number)), NOW).await;
            gone.map(|version| format!("{version:?}"))
        }
        Step::MoveChild(child, gateway) => {
            let moved = store.move_child(actor, &id(&device(child)), &id(&device(gateway)), NOW).await;
            moved.map(|moved| format!("{moved:?}"))
        }
        Step::PutRule(rule, subject, active, was_read) => {
            put_rule(world, &format!("r{rule}"), subject, active, was_read).await
        }
        Step::DeleteRule(rule) => {
            store.delete_push_rule(actor, &format!("r{rule}"), NOW).await.map(|()| String::new())
        }
        Step::PutAction(action, rule, was_read) => {
            put_action(world, &format!("a{action}"), &format!("r{rule}"), was_read).await
        }
        Step::DeleteAction(action) => {
            store.delete_push_action(actor, &format!("a{action}"), NOW).await.map(|()| String::new())
        }
        Step::Settle(action, became, is_late) => settle(world, &format!("a{action}"), became, is_late).await,
        Step::MoveDeployment(number, deployment) => {
            // The device that the campaign was filled with, also when another one has its id now.
            let key = crate::DeviceKey(number as i64 + 1);
            world.put(campaign, key, deployment).await.map(|()| String::new())
        }
        Step::MoveCampaign(from, to) => {
            let moved = store.move_campaign(actor, campaign, &[from], to, None, NOW).await;
            moved.map(|moved| format!("{moved:?}"))
        }
    };
    answer.map_err(|error| {
        // That one is in the words of the database.
        if matches!(error, StoreError::Constraint(_)) {
            "constraint".to_owned()
        } else {
            format!("{error:?}")
        }
    })
}

async fn put_rule(
    world: &World,
    rule_id: &str,
    subject: PushSubject,
    active: bool,
    was_read: bool,
) -> Result<String, StoreError> {
    let there = world.store.push_rule(rule_id).await?;
    // One that was deleted since it was read.
    let gone = if was_read { PushRuleKey(0) } else { PushRuleKey(77) };
    let rule = PushRule {
        key: there.map_or(gone, |rule| rule.key),
        rule_id: rule_id.to_owned(),
        subject,
        active,
        members: "{}".to_owned(),
        created_at: NOW,
    };
    world.store.put_push_rule(&world.actor, rule, NOW).await.map(|rule| of_rule(&rule))
}

async fn put_action(
    world: &World,
    action_id: &str,
    rule_id: &str,
    was_read: bool,
) -> Result<String, StoreError> {
    let there = world.store.push_action(action_id).await?;
    let gone = if was_read { PushActionKey(0) } else { PushActionKey(77) };
    let action = PushAction {
        key: there.as_ref().map_or(gone, |action| action.key),
        action_id: action_id.to_owned(),
        // An action stays with its rule.
        rule_id: there.map_or_else(|| rule_id.to_owned(), |action| action.rule_id),
        url: format!("http://{action_id}/"),
        sealed_token: None,
        members: "{}".to_owned(),
        created_at: NOW,
        subject: PushSubject::Device,
        active: false,
    };
    let made = world.store.put_push_action(&world.actor, action, NOW).await;
    made.map(|action| of_action(&action))
}

/// Settles the first of what is due for an action.
async fn settle(
    world: &World,
    action_id: &str,
    became: PushBecame,
    is_late: bool,
) -> Result<String, StoreError> {
    let Some(action) = world.store.push_action(action_id).await? else { return Ok("nothing".to_owned()) };
    let Some(first) = world.store.pushes_due(action.key, 1).await?.pop() else {
        return Ok("nothing".to_owned());
    };
    let due = PushDue { version: first.version - i64::from(is_late), ..first };
    world.store.settle_pushes(action.key, vec![PushSettled { due, became }], NOW).await?;
    Ok(format!("{}", first.thing))
}

// Keys of rules and actions grow, and a store may leave some of them out.

fn of_rule(rule: &PushRule) -> String {
    let PushRule { rule_id, subject, active, members, created_at, .. } = rule;
    format!("{rule_id}: {subject:?} {active} {members} {created_at:?}")
}

fn of_action(action: &PushAction) -> String {
    let PushAction { action_id, rule_id, url, subject, active, .. } = action;
    format!("{action_id} of {rule_id} to {url}, {subject:?} {active}")
}

/// Everything that applications can see. Versions of what is due are only ever held against each other.
async fn shown(world: &World) -> Vec<String> {
    let store = &world.store;
    let mut all = Vec::new();
    let keys = store.access_keys().await.must();
    all.extend(keys.into_iter().map(|key| format!("{} {}", key.access_key, key.name)));
    let products = store.products(Page { after: None, limit: 100 }).await.must();
    let devices = store.devices(DeviceFilter::default(), Page { after: None, limit: 100 }).await.must();
    let things = products.iter().map(|row| Thing::Product(row.key));
    let things = things.chain(devices.iter().map(|record| Thing::Device(record.row.key))).collect();
    all.extend(store.members(things).await.must().into_iter().map(|of| format!("{of:?}")));
    all.extend(products.into_iter().map(|row| format!("{row:?}")));
    all.extend(devices.into_iter().map(|record| format!("{record:?}")));
    all.extend(store.push_rules().await.must().into_iter().map(|rule| of_rule(&rule)));
    for action in store.push_actions(None).await.must() {
        all.push(of_action(&action));
        let due = store.pushes_due(action.key, 100).await.must();
        all.extend(due.into_iter().map(|due| format!("{} after {}", due.thing, due.attempts)));
        let dead = store.dead_pushes(action.key, Newest { before: None, skip: 0, limit: 100 }).await.must();
        all.extend(dead.into_iter().map(|dead| format!("{} {}", dead.body, dead.error)));
    }
    let lines = store.audit(Page { after: None, limit: 5 }).await.must();
    all.extend(lines.into_iter().map(|line| format!("{} {} {}", line.actor, line.action, line.subject)));
    all
}
