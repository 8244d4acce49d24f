//! What applications bring.

use std::ops::Range;

use otaru_core::campaign::CampaignState;
use otaru_core::deployment::Label;
use otaru_proto::PackageKind;

use super::world::{Must, NOW, PRODUCT, World, asked, id, new_campaign, new_device, released};
use crate::{
    AccessKeyRow, DeploymentFilter, DeploymentKey, DeviceCondition, DeviceFact, DeviceKey, DevicePatch,
    DeviceSearch, DeviceText, NewDevice, NewGroup, Newest, NewestDevices, NewestPackages, Role, SearchPage,
    Spaces, StoreError, TagCondition, Targets, TextIs, Thing,
};

fn key(access_key: &str, world: &World) -> AccessKeyRow {
    AccessKeyRow {
        access_key: access_key.to_owned(),
        name: "ci".to_owned(),
        role: Role::Operator,
        sealed_secret: vec![1, 2],
        project: world.actor.project,
        created_at: NOW,
    }
}

fn all<K>() -> Newest<K> {
    Newest { before: None, skip: 0, limit: 50 }
}

pub(super) async fn an_access_key_is_known_until_it_is_revoked(world: &World) {
    let store = &world.store;
    for name in ["AK1", "AK2"] {
        store.add_access_key(&world.actor, key(name, world)).await.must();
    }
    let again = store.add_access_key(&world.actor, key("AK1", world)).await;
    assert!(matches!(again, Err(StoreError::Exists { what: "access key", .. })));
    assert_eq!(store.access_key("AK1").await.must(), Some(key("AK1", world)));
    assert_eq!(store.access_keys().await.must(), [key("AK1", world), key("AK2", world)]);
    let resealed = store.seal_again(crate::KeyMark([1; 32]), Box::new(|_, _| Ok(vec![9]))).await.must();
    assert_eq!(resealed, 2);
    assert_eq!(store.access_key("AK2").await.must().map(|row| row.sealed_secret), Some(vec![9]));
    store.revoke_access_key(&world.actor, "AK1", NOW).await.must();
    assert_eq!(store.access_key("AK1").await.must(), None);
    let twice = store.revoke_access_key(&world.actor, "AK1", NOW).await;
    assert!(matches!(twice, Err(StoreError::Missing { .. })));
}

pub(super) async fn a_product_is_renamed_and_deleted_when_nothing_has_it(world: &World) {
    let store = &world.store;
    let made =
        store.create_product_with(&world.actor, "lamp", "Lamp", None, "{\"a\":1}".into(), NOW).await.must();
    let thing = Thing::Product(made.key);
    assert_eq!(store.members(vec![thing]).await.must()[&thing], "{\"a\":1}");
    let renamed =
        store.patch_product(&world.actor, "lamp", Some("Light"), Some("{}".into()), NOW).await.must();
    assert_eq!((renamed.key, renamed.name.as_str()), (made.key, "Light"));
    assert_eq!(store.members(vec![thing]).await.must()[&thing], "{\"a\":1}");
    let nobodys = store.patch_product(&world.actor, "none", Some("x"), None, NOW).await;
    assert!(matches!(nobodys, Err(StoreError::Missing { what: "product", .. })));

    let device = NewDevice { product_id: "lamp".to_owned(), ..new_device("d1") };
    store.create_device(&world.actor, device.clone(), NOW).await.must();
    let used = store.delete_product(&world.actor, "lamp", NOW).await;
    assert!(matches!(used, Err(StoreError::InUse { what: "product", ref by, .. }) if by == "device d1"));
    store.delete_device(&world.actor, &id("d1"), NOW).await.must();
    store.delete_product(&world.actor, "lamp", NOW).await.must();
    assert_eq!(store.product("lamp").await.must(), None);
    assert_eq!(store.products(crate::Page { after: None, limit: 10 }).await.must(), []);
    assert_eq!(store.newest_products(Spaces::All, None, all()).await.must().0, []);
    assert!(store.members(vec![thing]).await.must().is_empty());
    let nowhere = store.create_device(&world.actor, device, NOW).await;
    assert!(matches!(nowhere, Err(StoreError::Missing { what: "product", .. })));
    let again = store.create_product(&world.actor, "lamp", "Lamp", NOW).await.must();
    assert!(again.key > made.key);
}

pub(super) async fn things_keep_what_applications_say_about_them(world: &World) {
    let (store, actor) = (&world.store, &world.actor);
    world.device("first").await;
    let device =
        store.create_device_with(actor, new_device("d1"), "{\"d\":1}".into(), NOW).await.must().row.key;
    let group = NewGroup { group_id: "g1".into(), name: "Hall".into(), description: String::new() };
    let group = store.create_group_with(actor, group, None, "{\"g\":1}".into(), NOW).await.must().key;
    let package = world.package().await.key;
    let campaign = new_campaign("c1", Targets::Product, package);
    let campaign = store.create_campaign_with(actor, campaign, "{\"c\":1}".into(), NOW).await.must().key;
    let things = vec![Thing::Device(device), Thing::Group(group), Thing::Campaign(campaign)];
    let found = store.members(things.clone()).await.must();
    let texts: Vec<&str> = things.iter().map(|thing| found[thing].as_str()).collect();
    assert_eq!(texts, ["{\"d\":1}", "{\"g\":1}", "{\"c\":1}"]);
    store.delete_device(actor, &id("d1"), NOW).await.must();
    store.delete_group(actor, "g1", NOW).await.must();
    let rest: Vec<Thing> = store.members(things).await.must().into_keys().collect();
    assert_eq!(rest.last(), Some(&Thing::Campaign(campaign)));
}

pub(super) async fn members_are_changed_beside_those_that_a_thing_has(world: &World) {
    let (store, actor) = (&world.store, &world.actor);
    let lines = async || store.audit(crate::Page { after: None, limit: 100 }).await.must().len();
    let product =
        store.create_product_with(actor, "lamp", "Lamp", None, "{\"a\":1,\"b\":[1]}".into(), NOW).await;
    let product = Thing::Product(product.must().key);
    let kept = async |thing| store.members(vec![thing]).await.must().remove(&thing);
    let changed = async |name, members: Option<&str>| {
        let before = lines().await;
        store.patch_product(actor, "lamp", name, members.map(str::to_owned), NOW).await.must();
        lines().await - before
    };
    assert_eq!(changed(None, Some("{\"b\":{\"c\":null},\"d\":2}")).await, 1);
    assert_eq!(kept(product).await.as_deref(), Some("{\"a\":1,\"b\":{\"c\":null},\"d\":2}"));
    assert_eq!(changed(None, Some("{\"a\":1}")).await, 0, "it is so");
    assert_eq!(changed(Some("Light"), None).await, 1);
    assert_eq!(store.product("lamp").await.must().map(|row| row.name).as_deref(), Some("Light"));
    assert_eq!(changed(None, None).await, 0);

    // A device of the native API has none yet.
    let device = Thing::Device(world.device("d1").await);
    let patch = |members: &str| DevicePatch {
        members: Some(members.to_owned()),
        name: Some(Some("Hall".to_owned())),
        ..DevicePatch::default()
    };
    let before = lines().await;
    let patched = store.patch_device(actor, &id("d1"), patch("{\"x\":1}"), NOW).await.must();
    assert_eq!(patched.row.name.as_deref(), Some("Hall"));
    store.patch_device(actor, &id("d1"), patch("{\"y\":2}"), NOW).await.must();
    assert_eq!(kept(device).await.as_deref(), Some("{\"x\":1,\"y\":2}"));
    assert_eq!(lines().await - before, 2);
    let gone = store.patch_device(actor, &id("none"), patch("{}"), NOW).await;
    assert!(matches!(gone, Err(StoreError::Missing { what: "device", .. })));
}

pub(super) async fn lists_with_the_newest_first_are_paged_and_counted(world: &World) {
    let store = &world.store;
    let package = world.package().await;
    let keys = world.devices(7).await;
    let page = async |filter: NewestDevices, before: Option<DeviceKey>, skip, limit| {
        let (rows, total) = store.newest_devices(filter, Newest { before, skip, limit }).await.must();
        (rows.into_iter().map(|record| record.row.key).collect::<Vec<_>>(), total.n)
    };
    let newest = |from: usize, to: usize| keys[from..to].iter().rev().copied().collect::<Vec<_>>();
    assert_eq!(page(NewestDevices::default(), None, 0, 3).await, (newest(4, 7), 7));
    assert_eq!(page(NewestDevices::default(), Some(keys[4]), 0, 3).await, (newest(1, 4), 7));
    assert_eq!(page(NewestDevices::default(), None, 5, 3).await, (newest(0, 2), 7));
    assert_eq!(page(NewestDevices::default(), None, 7, 3).await, (vec![], 7));

    let record = store.device_by_key(keys[2]).await.must().expect("it is there");
    let only = |filter: NewestDevices| async move { page(filter, None, 0, 9).await.0 };
    let by_node = NewestDevices {
        product_id: Some(PRODUCT.to_owned()),
        node_id: Some(record.row.node_id.clone()),
        ..Default::default()
    };
    assert_eq!(only(by_node).await, [keys[2]]);
    let nobodys = NewestDevices { product_id: Some("none".to_owned()), ..Default::default() };
    assert_eq!(only(nobodys).await, []);
    let later = NewestDevices { from: Some(otaru_core::WallTime(NOW.0 + 1)), ..Default::default() };
    assert_eq!(only(later).await, []);
    let sooner =
        NewestDevices { from: Some(NOW), until: Some(otaru_core::WallTime(NOW.0 + 1)), ..Default::default() };
    assert_eq!(only(sooner).await.len(), 7);
    let child = NewDevice {
        gateway_id: Some(record.row.device_id.clone()),
        tags: [("site".to_owned(), "north".to_owned())].into(),
        name: Some("设备 one".to_owned()),
        ..new_device("child")
    };
    let child = world.device_with(child).await.row.key;
    let of_gateway = NewestDevices { gateway_id: Some(record.row.device_id), ..Default::default() };
    assert_eq!(only(of_gateway).await, [child]);
    let tagged = NewestDevices {
        any_tag: vec![("a".into(), "b".into()), ("site".into(), "north".into())],
        ..Default::default()
    };
    assert_eq!(only(tagged).await, [child]);
    let named = NewestDevices { name_part: Some("备 o".to_owned()), ..Default::default() };
    assert_eq!(only(named).await, [child]);

    let filter = NewestPackages { kind: Some(package.kind), ..Default::default() };
    let (packages, total) = store.newest_packages(filter, all()).await.must();
    assert_eq!((packages, total.n), (vec![package.clone()], 1));
    let other = NewestPackages { version: Some("none".to_owned()), ..Default::default() };
    assert_eq!(store.newest_packages(other, all()).await.must().0, []);
    let named = store.newest_products(Spaces::All, Some("none".to_owned()), all()).await.must();
    assert_eq!((named.0.len(), named.1.n), (0, 0));
    assert_eq!(store.newest_products(Spaces::All, None, all()).await.must().0.len(), 1);
}

pub(super) async fn devices_are_searched_for_by_what_holds_for_them(world: &World) {
    let store = &world.store;
    let gateway = world.device("gate_1").await;
    let tagged = |id: &str, value: &str, name: Option<&str>| NewDevice {
        tags: [("ring".to_owned(), value.to_owned()), ("site".to_owned(), "north".to_owned())].into(),
        name: name.map(str::to_owned),
        ..new_device(id)
    };
    let pump = world.device_with(tagged("pump_1", "canary", Some("设备 one"))).await.row.key;
    let child = NewDevice { gateway_id: Some(id("gate_1")), ..tagged("pump_2", "north", None) };
    let child = world.device_with(child).await.row.key;
    let gone = world.device("gone_1").await;
    store.delete_device(&world.actor, &id("gone_1"), NOW).await.must();
    let group = NewGroup { group_id: "g1".into(), name: "Hall".into(), description: String::new() };
    store.create_group(&world.actor, group, NOW).await.must();
    store.add_members(&world.actor, "g1", vec![pump, child], NOW).await.must();

    let all = SearchPage { after: None, skip: 0, limit: 9 };
    let found = async |any: Vec<Vec<DeviceCondition>>, page: SearchPage| {
        let search = DeviceSearch { any, oldest_first: true };
        let total = store.count_found_devices(search.clone()).await.must();
        let rows = store.search_devices(search.clone(), page).await.must();
        let whole = store.search_devices(search.clone(), all).await.must();
        assert_eq!(total.n, whole.len() as u64, "{search:?}");
        let newest = store.search_devices(DeviceSearch { oldest_first: false, ..search }, all).await.must();
        assert_eq!(newest, whole.into_iter().rev().collect::<Vec<_>>());
        rows.into_iter().map(|(record, which)| (record.row.key, which)).collect::<Vec<_>>()
    };
    let only = async |fact: DeviceFact, is_not: bool| {
        let found = found(vec![vec![DeviceCondition { is_not, fact }]], all).await;
        assert!(found.iter().all(|(_, which)| *which == 1));
        found.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    let one = |text: &str| TextIs::OneOf(vec![text.to_owned()]);
    let begins = |text: &str| TextIs::Begins(text.to_owned());
    let tag = |of_key: bool, is: TextIs| TagCondition { is_not: false, of_key, is };
    let text = |of: DeviceText, is: TextIs| DeviceFact::Text(of, is);
    let two = |a: &str, b: &str| TextIs::OneOf(vec![a.to_owned(), b.to_owned()]);
    for (fact, expected) in [
        (text(DeviceText::Id, one("pump_1")), vec![pump]),
        (text(DeviceText::Id, two("pump_2", "gate_1")), vec![gateway, child]),
        (text(DeviceText::Id, one("gone_1")), vec![]),
        (text(DeviceText::Id, begins("pump")), vec![pump, child]),
        (text(DeviceText::Id, begins("p_mp")), vec![]),
        (text(DeviceText::Node, begins("no such")), vec![]),
        (text(DeviceText::Name, begins("设备 ")), vec![pump]),
        (text(DeviceText::Name, one("设备 one")), vec![pump]),
        (text(DeviceText::Firmware, one("1.0")), vec![]),
        (text(DeviceText::Software, one("1.0")), vec![]),
        (DeviceFact::Product(vec![PRODUCT.to_owned()]), vec![gateway, pump, child]),
        (DeviceFact::Product(vec!["none".to_owned()]), vec![]),
        (DeviceFact::Gateway(vec![id("gate_1")]), vec![gateway, child]),
        (DeviceFact::Gateway(vec![id("pump_2")]), vec![]),
        (DeviceFact::Gateway(vec![id("nobody"), id("pump_1")]), vec![pump]),
        (DeviceFact::Group(vec!["g1".to_owned()]), vec![pump, child]),
        (DeviceFact::Group(vec!["none".to_owned(), "g1".to_owned()]), vec![pump, child]),
        (DeviceFact::Group(vec!["none".to_owned()]), vec![]),
        (DeviceFact::Tag(vec![tag(true, one("ring"))]), vec![pump, child]),
        (DeviceFact::Tag(vec![tag(false, begins("can"))]), vec![pump]),
        (DeviceFact::Tag(vec![tag(true, one("ring")), tag(false, one("canary"))]), vec![pump]),
        (DeviceFact::Tag(vec![tag(true, one("ring")), tag(false, one("north"))]), vec![child]),
        (
            DeviceFact::Tag(vec![
                tag(true, one("ring")),
                TagCondition { is_not: true, ..tag(false, one("canary")) },
            ]),
            vec![child],
        ),
        (DeviceFact::Key(vec![pump.0..pump.0 + 1, gone.0..gone.0 + 1]), vec![pump]),
        (DeviceFact::Key(vec![Range { start: pump.0 + 1, end: i64::MAX }]), vec![child]),
        (DeviceFact::Key(vec![]), vec![]),
        (DeviceFact::Created(vec![Range { start: NOW.0, end: NOW.0 + 1 }]), vec![gateway, pump, child]),
        (DeviceFact::Created(vec![Range { start: i64::MIN, end: NOW.0 }]), vec![]),
        (DeviceFact::Frozen, vec![]),
        (DeviceFact::Child, vec![child]),
    ] {
        assert_eq!(only(fact.clone(), false).await, expected, "{fact:?}");
        let others: Vec<DeviceKey> =
            [gateway, pump, child].into_iter().filter(|key| !expected.contains(key)).collect();
        assert_eq!(only(fact.clone(), true).await, others, "not {fact:?}");
    }

    let is = |fact: DeviceFact| DeviceCondition { is_not: false, fact };
    let either = vec![
        vec![is(DeviceFact::Child)],
        vec![is(DeviceFact::Group(vec!["g1".to_owned()])), is(DeviceFact::Product(vec![PRODUCT.to_owned()]))],
    ];
    assert_eq!(found(either.clone(), all).await, [(pump, 2), (child, 3)]);
    let next = SearchPage { after: Some(pump), skip: 0, limit: 9 };
    assert_eq!(found(either.clone(), next).await, [(child, 3)]);
    let second = SearchPage { after: None, skip: 1, limit: 1 };
    assert_eq!(found(either, second).await, [(child, 3)]);
    assert_eq!(found(vec![], all).await, []);
    assert_eq!(found(vec![vec![]], all).await.len(), 3);
}

pub(super) async fn campaigns_and_deployments_are_listed_newest_first(world: &World) {
    let store = &world.store;
    let package = world.package().await;
    let keys = world.devices(5).await;
    let campaign = world.filled("000000000000000000000001", &released(9)).await;
    world.campaign("000000000000000000000002", Targets::Devices(vec![keys[0]])).await;
    let (rows, total) = store.newest_campaigns(Spaces::All, package.kind, None, all()).await.must();
    let ids: Vec<&str> = rows.iter().map(|(row, _)| row.campaign_id.as_str()).collect();
    assert_eq!((ids, total.n), (vec!["000000000000000000000002", "000000000000000000000001"], 2));
    let other = match package.kind {
        PackageKind::Firmware => PackageKind::Software,
        PackageKind::Software => PackageKind::Firmware,
    };
    assert_eq!(store.newest_campaigns(Spaces::All, other, None, all()).await.must().1.n, 0);
    let ended = Some(vec![CampaignState::Finished]);
    assert_eq!(store.newest_campaigns(Spaces::All, package.kind, ended, all()).await.must().1.n, 0);
    assert_eq!(store.campaign_before("000000000000000000000002").await.must(), Some(campaign));
    assert_eq!(store.campaign_before("000000000000000000000001").await.must(), None);

    let list = async |filter: DeploymentFilter, before: Option<DeploymentKey>, skip, limit| {
        let page = Newest { before, skip, limit };
        let rows = store.newest_deployments(campaign, filter, page).await.must();
        rows.into_iter().map(|record| record.row.key).collect::<Vec<_>>()
    };
    let whole = list(DeploymentFilter::default(), None, 0, 50).await;
    assert_eq!(whole.len(), 5);
    assert!(whole.is_sorted_by(|a, b| a > b), "{whole:?}");
    assert_eq!(list(DeploymentFilter::default(), Some(whole[1]), 1, 2).await, whole[3..5]);
    assert_eq!(list(DeploymentFilter::only(Label::Released), None, 3, 9).await, whole[3..5]);
    assert_eq!(list(DeploymentFilter::only(Label::Queued), None, 0, 9).await, []);
}

pub(super) async fn a_child_moves_to_another_gateway_and_both_hear_of_it(world: &World) {
    let store = &world.store;
    let (one, other) = (world.device("one").await, world.device("other").await);
    let new = NewDevice { gateway_id: Some(id("one")), ..new_device("child") };
    let child = world.device_with(new).await.row.key;
    let alone = store.move_child(&world.actor, &id("other"), &id("one"), NOW).await;
    assert!(matches!(alone, Err(StoreError::Missing { what: "child", .. })));
    let nowhere = store.move_child(&world.actor, &id("child"), &id("none"), NOW).await;
    assert!(matches!(nowhere, Err(StoreError::Missing { what: "gateway", .. })));
    let before = store.topology_after(one, 0, 10).await.must();
    assert_eq!(before.changes.len(), 1);

    let moved = store.move_child(&world.actor, &id("child"), &id("other"), NOW).await.must();
    assert_eq!((moved.record.row.key, moved.record.row.gateway), (child, Some(other)));
    assert_eq!(moved.record.gateway_id, Some(id("other")));
    assert_eq!((moved.left, moved.joined), (Some((one, before.version + 1)), Some((other, 1))));
    let left = store.topology_after(one, before.version, 10).await.must();
    let heard: Vec<_> = left.changes.iter().map(|c| (c.came, c.child.row.device_id.as_str())).collect();
    assert_eq!(heard, [(false, "child")]);
    let came = store.topology_after(other, 0, 10).await.must();
    let heard: Vec<_> = came.changes.iter().map(|c| (c.came, c.child.row.key)).collect();
    assert_eq!(heard, [(true, child)]);
    let again = store.move_child(&world.actor, &id("child"), &id("other"), NOW).await.must();
    assert_eq!((again.left, again.joined), (None, None));

    let of = async |gateway: &str| {
        let filter = NewestDevices { gateway_id: Some(id(gateway)), ..Default::default() };
        store.newest_devices(filter, all()).await.must().0.len()
    };
    assert_eq!((of("one").await, of("other").await), (0, 1));
    store.delete_device(&world.actor, &id("one"), NOW).await.must();
    assert_eq!(store.device(&id("child")).await.must().map(|d| d.row.key), Some(child));
    store.delete_device(&world.actor, &id("child"), NOW).await.must();
}

pub(super) async fn a_child_at_work_does_not_move(world: &World) {
    world.device("one").await;
    world.device("other").await;
    let new = NewDevice { gateway_id: Some(id("one")), ..new_device("child") };
    let child = world.device_with(new).await.row.key;
    let package = world.package().await;
    let campaign = new_campaign("c1", Targets::Devices(vec![child]), package.key);
    let campaign = world.store.create_campaign(&world.actor, campaign, NOW).await.must().key;
    world.store.fill_campaign(campaign, 10, NOW, &asked(9), &[]).await.must();
    let refused = world.store.move_child(&world.actor, &id("child"), &id("other"), NOW).await;
    assert!(matches!(refused, Err(StoreError::InUse { what: "device", .. })), "{refused:?}");
}
