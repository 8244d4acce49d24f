//! Children behind gateways: who they are, whether they are there, and campaigns that count them.

use otaru_core::campaign::Policy;
use otaru_core::deployment::{Deployment, OutcomeKind};

use super::world::{Must, NOW, PRODUCT, World, finished, id, new_campaign, new_device, released};
use crate::{
    Changes, DeviceKey, DeviceState, NewCampaign, NewDevice, Registering, Registrable, StoreError, Targets,
    Wanted,
};

pub(super) async fn what_a_gateway_registers_in_a_batch_is_a_child_since(world: &World) {
    let gateway = world.device("gateway").await;
    let changes = Changes {
        registered: vec![by_gateway(child("child1")), by_gateway(child("child2"))],
        ..Changes::default()
    };
    world.batch(&[gateway], |_| (changes, ())).await.must();
    let made = world.store.device(&id("child1")).await.must().must();
    assert_eq!((made.row.gateway, made.row.node_id.as_str()), (Some(gateway), "node-child1"));
    assert_eq!((made.row.joined, made.state.clone()), (Some(1), DeviceState::default()));
    let loaded = world.load(Wanted { devices: vec![gateway], ..Wanted::default() }).await;
    assert_eq!(loaded.devices[&gateway].children, 2);
    let audit = world.store.audit(crate::Page { after: None, limit: 1 }).await.must();
    let line = (audit[0].actor.as_str(), audit[0].action.as_str(), audit[0].subject.as_str());
    assert_eq!(line, ("gateway", "device_created", "child2"));
}

pub(super) async fn what_cannot_be_registered_is_known_before_and_leaves_nothing(world: &World) {
    let gateway = world.device("gateway").await;
    world.device("taken").await;
    let asked = |device_id: &str, node_id: &str, product_id: &str| Registering {
        device_id: id(device_id),
        node_id: node_id.to_owned(),
        product_id: product_id.to_owned(),
    };
    let registering = [
        (asked("new", "node-new", PRODUCT), Registrable::Free),
        (asked("new", "node-taken", PRODUCT), Registrable::NodeTaken),
        (asked("new", "node-new", "none"), Registrable::NoProduct),
    ];
    let wanted = Wanted {
        registering: registering.iter().map(|(asked, _)| asked.clone()).collect(),
        ..Wanted::default()
    };
    let loaded = world.load(wanted).await;
    assert_eq!(loaded.registrable.into_iter().collect::<Vec<_>>(), {
        let mut sorted = registering.to_vec();
        sorted.sort();
        sorted
    });
    let taken = NewDevice { node_id: "node-taken".to_owned(), ..child("new2") };
    for refused in [child("taken"), taken, NewDevice { gateway_id: Some(id("none")), ..child("new3") }] {
        let registered = vec![by_gateway(child("first")), by_gateway(refused)];
        let changes = Changes { registered, ..Changes::default() };
        let answer = world.batch(&[gateway], |_| (changes, ())).await;
        assert!(matches!(answer, Err(StoreError::Constraint(_))), "{answer:?}");
        assert_eq!(world.store.device(&id("first")).await.must(), None, "nothing of the batch is there");
    }
}

pub(super) async fn a_child_is_taken_out_once_its_deployments_have_ended(world: &World) {
    let gateway = world.device("gateway").await;
    let child1 = world.device_with(child("child1")).await.row.key;
    let campaign = world.filled("c1", &released(9)).await;
    let gone = || Changes { deleted: vec![("gateway".to_owned(), id("child1"))], ..Changes::default() };
    let answer = world.batch(&[child1], move |_| (gone(), ())).await;
    assert!(matches!(answer, Err(StoreError::Constraint(_))), "{answer:?}");
    assert!(world.store.device(&id("child1")).await.must().is_some());
    let ended = world.store.deployment_of(campaign, child1).await.must().must().row;
    let ended = crate::DeploymentRow { deployment: finished(OutcomeKind::Removed), ..ended };
    let changes = Changes { deployments: vec![ended], ..gone() };
    world.batch(&[child1], |_| (changes, ())).await.must();
    assert_eq!(world.store.device(&id("child1")).await.must(), None);
    let loaded = world.load(Wanted { devices: vec![gateway], ..Wanted::default() }).await;
    assert_eq!(loaded.devices[&gateway].children, 0);
}

pub(super) async fn the_topology_tells_what_came_and_went_since_a_version(world: &World) {
    let gateway = world.device("gateway").await;
    for name in ["a", "b", "c"] {
        world.device_with(child(name)).await;
    }
    assert_eq!(world.store.delete_device(&world.actor, &id("b"), NOW).await.must(), Some(4));
    let renewed = world.device_with(child("b")).await;
    assert_eq!(renewed.row.joined, Some(5));
    assert_eq!(world.store.delete_device(&world.actor, &id("c"), NOW).await.must(), Some(6));
    assert_eq!(
        after(world, gateway, 0, 10).await,
        (6, vec![(1, true, "a"), (4, false, "b"), (5, true, "b"), (6, false, "c")])
    );
    assert_eq!(after(world, gateway, 4, 10).await, (6, vec![(5, true, "b"), (6, false, "c")]));
    assert_eq!(after(world, gateway, 0, 2).await, (6, vec![(1, true, "a"), (4, false, "b")]), "a page");
    assert_eq!(after(world, gateway, 6, 10).await, (6, vec![]), "nothing new");
    assert_eq!(after(world, gateway, 7, 1).await, (6, vec![(1, true, "a")]), "a version that never was");
    assert_eq!(after(world, DeviceKey(99), 0, 10).await, (0, vec![]));
    let alone = world.device("alone").await;
    assert_eq!(world.store.delete_device(&world.actor, &id("alone"), NOW).await.must(), None);
    assert_eq!(after(world, alone, 0, 10).await, (0, vec![]));
}

pub(super) async fn whether_a_child_is_there_is_remembered(world: &World) {
    world.device("gateway").await;
    let child1 = world.device_with(child("child1")).await.row.key;
    for there in [Some(true), Some(false), None] {
        let decide = move |loaded: crate::Loaded| {
            let state = DeviceState { there, ..loaded.devices[&child1].state.clone() };
            (Changes { devices: vec![(child1, state)], ..Changes::default() }, ())
        };
        world.batch(&[child1], decide).await.must();
        assert_eq!(world.store.device(&id("child1")).await.must().must().state.there, there);
        let loaded = world.load(Wanted { devices: vec![child1], ..Wanted::default() }).await;
        assert_eq!(loaded.devices[&child1].state.there, there);
    }
}

pub(super) async fn a_campaign_in_gateway_mode_knows_how_many_children_each_gateway_has_in_it(world: &World) {
    let (first, second) = (world.device("gateway").await, world.device("gateway2").await);
    for name in ["a", "b", "c"] {
        world.device_with(child(name)).await;
    }
    let other = NewDevice { gateway_id: Some(id("gateway2")), ..new_device("d") };
    let other = world.device_with(other).await.row.key;
    let package = world.package().await.key;
    let policy = Policy { gateway_mode: true, ..Policy::default() };
    let ext_info = Some(r#"{"site":"north"}"#.to_owned());
    let new =
        NewCampaign { policy, ext_info: ext_info.clone(), ..new_campaign("c1", Targets::Product, package) };
    let counted = world.store.create_campaign(&world.actor, new, NOW).await.must().key;
    let plain = world.filled("c2", &Deployment::queued()).await;
    // In small chunks, some devices first: each is counted once.
    while !world.store.fill_campaign(counted, 2, NOW, &Deployment::queued(), &[other]).await.must().done {}
    let a = world.store.device(&id("a")).await.must().must().row.key;
    let loaded = world.load(Wanted { devices: vec![a, other, first], ..Wanted::default() }).await;
    let siblings: Vec<_> = loaded.siblings.into_iter().collect();
    assert_eq!(
        siblings,
        [((counted, first), 3), ((counted, second), 1)],
        "and none for campaign {}",
        plain.0
    );
    assert_eq!(loaded.campaigns[&counted].0.ext_info, ext_info);
    assert_eq!(loaded.campaigns[&plain].0.ext_info, None);
}

/// What changed after a version: the version now, and for each change its version, whether the child came, and who.
async fn after(
    world: &World,
    gateway: DeviceKey,
    version: i64,
    limit: u32,
) -> (i64, Vec<(i64, bool, &'static str)>) {
    let topology = world.store.topology_after(gateway, version, limit).await.must();
    let changes = topology.changes.iter().map(|change| {
        let name = ["a", "b", "c"].into_iter().find(|name| *name == change.child.row.device_id.as_str());
        (change.version, change.came, name.must())
    });
    (topology.version, changes.collect())
}

fn child(name: &str) -> NewDevice {
    NewDevice { gateway_id: Some(id("gateway")), sealed_secret: None, ..new_device(name) }
}

fn by_gateway(device: NewDevice) -> (String, NewDevice) {
    ("gateway".to_owned(), device)
}
