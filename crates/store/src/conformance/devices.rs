//! Devices.

use std::collections::BTreeMap;

use otaru_core::Fingerprint;
use otaru_core::deployment::OutcomeKind;

use super::world::{Must, NOW, PRODUCT, World, finished, id, new_device, released, tags};
use crate::{
    Auth, CampaignKey, DeviceFilter, DeviceKey, DevicePatch, DeviceState, Fault, NewDevice, Page, StoreError,
    TagsChange, Targets,
};

pub(super) async fn a_device_is_found_by_its_id_and_its_key(world: &World) {
    let new = NewDevice {
        name: Some("Hall".to_owned()),
        tags: tags(&[("site", "north"), ("floor", "2")]),
        ..new_device("device1")
    };
    let made = world.device_with(new.clone()).await;
    assert_eq!(made.row.device_id, id("device1"));
    assert_eq!((made.row.node_id.as_str(), made.row.product_id.as_str()), ("node-device1", PRODUCT));
    assert_eq!((made.row.name.as_deref(), &made.row.tags), (Some("Hall"), &new.tags));
    assert_eq!((made.row.sealed_secret.as_ref(), made.row.frozen), (new.sealed_secret.as_ref(), false));
    assert_eq!((made.row.created_at, made.row.gateway, made.gateway_id.as_ref()), (NOW, None, None));
    assert_eq!(made.state, DeviceState::default());
    assert_eq!(world.store.device(&id("device1")).await.must(), Some(made.clone()));
    assert_eq!(world.store.device_by_key(made.row.key).await.must(), Some(made));
    assert_eq!(world.store.device(&id("device2")).await.must(), None);
    assert_eq!(world.store.device_by_key(DeviceKey(99)).await.must(), None);
}

pub(super) async fn a_taken_id_or_node_id_is_refused(world: &World) {
    world.device("device1").await;
    let refused = world.store.create_device(&world.actor, new_device("device1"), NOW).await;
    assert!(matches!(refused, Err(StoreError::Exists { what: "device", .. })));
    let same_node = NewDevice { node_id: "node-device1".to_owned(), ..new_device("device2") };
    let refused = world.store.create_device(&world.actor, same_node.clone(), NOW).await;
    assert!(matches!(refused, Err(StoreError::Exists { what: "node_id", .. })));
    world.store.create_product(&world.actor, "p2", "Other", NOW).await.must();
    let elsewhere = NewDevice { product_id: "p2".to_owned(), ..same_node };
    world.store.create_device(&world.actor, elsewhere, NOW).await.must();
    let refused = NewDevice { product_id: "none".to_owned(), ..new_device("device3") };
    let refused = world.store.create_device(&world.actor, refused, NOW).await;
    assert!(matches!(refused, Err(StoreError::Missing { what: "product", .. })));
}

pub(super) async fn a_child_hangs_on_a_gateway_and_there_is_no_third_level(world: &World) {
    let gateway = world.device("gateway").await;
    let child = world.device_with(child("child", "gateway")).await;
    assert_eq!((child.row.gateway, child.gateway_id), (Some(gateway), Some(id("gateway"))));
    let refused = world.store.create_device(&world.actor, self::child("grandchild", "child"), NOW).await;
    let Err(third_level) = refused else { panic!("there are two levels") };
    assert_eq!(third_level.fault(), Fault::Caller);
    assert_eq!(
        third_level.to_string(),
        "device child is a child of gateway and cannot be a gateway; name gateway instead"
    );
    let refused = world.store.create_device(&world.actor, self::child("other", "none"), NOW).await;
    assert!(matches!(refused, Err(StoreError::Missing { what: "gateway", .. })));
}

pub(super) async fn a_patch_changes_what_it_names_and_nothing_else(world: &World) {
    let new = NewDevice {
        name: Some("Hall".to_owned()),
        tags: tags(&[("site", "north")]),
        ..new_device("device1")
    };
    let made = world.device_with(new).await.row;
    let patch = |patch| world.store.patch_device(&world.actor, &made.device_id, patch, NOW);
    assert_eq!(patch(DevicePatch::default()).await.must().row, made);
    let frozen = patch(DevicePatch { frozen: Some(true), ..DevicePatch::default() }).await.must().row;
    assert_eq!(frozen, crate::DeviceRow { frozen: true, ..made.clone() });
    let changed = DevicePatch {
        name: Some(None),
        tags: Some(TagsChange::Replaced(tags(&[("site", "south"), ("rack", "7")]))),
        members: None,
        frozen: Some(false),
        sealed_secret: Some(vec![9]),
        fingerprint: None,
    };
    let row = patch(changed).await.must().row;
    assert_eq!((row.name, row.frozen, row.sealed_secret), (None, false, Some(vec![9])));
    assert_eq!(row.tags, tags(&[("site", "south"), ("rack", "7")]));
    assert_eq!(found(world, &[("site", "north")]).await, "");
    assert_eq!(found(world, &[("site", "south")]).await, "device1");
    let loaded = world.batch(&[made.key], |loaded| (crate::Changes::default(), loaded)).await.must().answer;
    assert_eq!(loaded.devices[&made.key].row.sealed_secret, Some(vec![9]), "batches see it too");
    let refused = world.store.patch_device(&world.actor, &id("none"), DevicePatch::default(), NOW).await;
    assert!(matches!(refused, Err(StoreError::Missing { what: "device", .. })));
}

pub(super) async fn tags_are_added_and_removed_beside_those_that_a_device_has(world: &World) {
    let (store, actor) = (&world.store, &world.actor);
    let made =
        world.device_with(NewDevice { tags: tags(&[("site", "north")]), ..new_device("device1") }).await;
    let device1 = made.row.device_id;
    let change = async |change| {
        let patch = DevicePatch { tags: Some(change), ..DevicePatch::default() };
        store.patch_device(actor, &device1, patch, NOW).await
    };
    let added = |pairs: &[(&str, &str)], most| TagsChange::Added { tags: tags(pairs), most };
    let row = change(added(&[("site", "south"), ("rack", "7")], 2)).await.must().row;
    assert_eq!(row.tags, tags(&[("site", "south"), ("rack", "7")]));
    let full = change(added(&[("hall", "1"), ("rack", "8")], 2)).await;
    assert!(matches!(full, Err(StoreError::Full { most: 2, .. })), "{full:?}");
    assert_eq!(found(world, &[("site", "south"), ("rack", "7")]).await, "device1", "nothing was changed");
    change(added(&[("hall", "1")], 3)).await.must();
    let without = TagsChange::Removed(["site", "none"].map(str::to_owned).into());
    assert_eq!(change(without).await.must().row.tags, tags(&[("hall", "1"), ("rack", "7")]));
    assert_eq!(
        (found(world, &[("site", "south")]).await, found(world, &[("hall", "1")]).await),
        (String::new(), device1.to_string())
    );
    let nobodys = DevicePatch { tags: Some(added(&[("a", "b")], 9)), ..DevicePatch::default() };
    let nobodys = store.patch_device(actor, &id("none"), nobodys, NOW).await;
    assert!(matches!(nobodys, Err(StoreError::Missing { what: "device", .. })));
}

pub(super) async fn a_deleted_device_is_gone_and_its_id_is_free(world: &World) {
    let tagged = NewDevice { tags: tags(&[("site", "north")]), ..new_device("device1") };
    let old = world.device_with(tagged.clone()).await.row.key;
    world.store.delete_device(&world.actor, &id("device1"), NOW).await.must();
    assert_eq!(world.store.device(&id("device1")).await.must(), None);
    assert_eq!(world.store.device_by_key(old).await.must(), None);
    assert_eq!(world.store.connect_facts(&id("device1")).await.must(), None);
    assert_eq!(found(world, &[("site", "north")]).await, "");
    let loaded = world.batch(&[old], |loaded| (crate::Changes::default(), loaded)).await.must().answer;
    assert!(loaded.devices.is_empty());
    let refused = world.store.delete_device(&world.actor, &id("device1"), NOW).await;
    assert!(matches!(refused, Err(StoreError::Missing { what: "device", .. })));
    let new = world.device_with(tagged).await.row.key;
    assert!(new > old, "a key is never given again");
    assert_eq!(found(world, &[("site", "north")]).await, "device1");
}

pub(super) async fn the_deployments_of_a_deleted_device_keep_its_id(world: &World) {
    let device = world.device("device1").await;
    let campaign = world.filled("c1", &released(9)).await;
    world.put(campaign, device, finished(OutcomeKind::Removed)).await.must();
    world.store.delete_device(&world.actor, &id("device1"), NOW).await.must();
    let history = world.store.deployments_of_device(device, 10).await.must();
    assert_eq!(history.len(), 1);
    let gone =
        async |campaign, device_id| world.store.deployment_of_gone(campaign, &id(device_id)).await.must();
    assert_eq!(gone(campaign, "device1").await.as_ref(), Some(&history[0]));
    assert_eq!((gone(campaign, "none").await, gone(CampaignKey(99), "device1").await), (None, None));
    assert_eq!((&history[0].device_id, history[0].campaign_id.as_str()), (&id("device1"), "c1"));
    let again = world.device("device1").await;
    assert_eq!(gone(campaign, "device1").await.map(|record| record.row.device), Some(device));
    let later = world.filled("c2", &released(9)).await;
    assert_eq!(gone(later, "device1").await, None, "one that is there is not gone");
    assert!(world.store.deployment_of(later, again).await.must().is_some());
    assert_eq!(world.store.deployment_of(campaign, device).await.must().must().device_id, id("device1"));
}

pub(super) async fn a_device_in_use_is_not_deleted(world: &World) {
    let gateway = world.device("gateway").await;
    world.device_with(child("child", "gateway")).await;
    let campaign = world.campaign("c1", Targets::Devices(vec![gateway])).await.key;
    world.store.fill_campaign(campaign, 10, NOW, &released(9), &[]).await.must();
    let in_use = async || match world.store.delete_device(&world.actor, &id("gateway"), NOW).await {
        Err(StoreError::InUse { by, .. }) => by,
        other => panic!("{other:?}"),
    };
    assert_eq!(in_use().await, "campaign c1");
    world.put(campaign, gateway, finished(OutcomeKind::Cancelled)).await.must();
    assert_eq!(in_use().await, "its child child");
    world.store.delete_device(&world.actor, &id("child"), NOW).await.must();
    assert!(!world.store.connect_facts(&id("gateway")).await.must().must().is_gateway);
    world.store.delete_device(&world.actor, &id("gateway"), NOW).await.must();
}

pub(super) async fn devices_are_found_by_product_tags_and_gateway(world: &World) {
    world.device("gateway").await;
    for (name, site, floor) in [("a", "north", "1"), ("b", "north", "2"), ("c", "south", "1")] {
        let tags = tags(&[("site", site), ("floor", floor)]);
        world.device_with(NewDevice { tags, ..child(name, "gateway") }).await;
    }
    world.store.create_product(&world.actor, "p2", "Other", NOW).await.must();
    let other =
        NewDevice { product_id: "p2".to_owned(), tags: tags(&[("site", "north")]), ..child("d", "gateway") };
    world.device_with(other).await;
    let all = DeviceFilter::default();
    assert_eq!(names(world, all.clone()).await, "gateway a b c d");
    assert_eq!(found(world, &[("site", "north")]).await, "a b d");
    assert_eq!(found(world, &[("site", "north"), ("floor", "2")]).await, "b");
    assert_eq!(found(world, &[("site", "west")]).await, "");
    let of = |product_id: &str| DeviceFilter { product_id: Some(product_id.to_owned()), ..all.clone() };
    assert_eq!(names(world, of("p2")).await, "d");
    assert_eq!(names(world, of("none")).await, "");
    let north = DeviceFilter { tags: tags(&[("site", "north")]), ..of(PRODUCT) };
    assert_eq!(names(world, north).await, "a b");
    let below = |gateway: &str| DeviceFilter { gateway_id: Some(id(gateway)), ..all.clone() };
    assert_eq!(names(world, below("gateway")).await, "a b c d");
    assert_eq!(names(world, DeviceFilter { gateway_id: Some(id("gateway")), ..of("p2") }).await, "d");
    assert_eq!(names(world, below("a")).await, "");
    assert_eq!(names(world, below("none")).await, "");
}

pub(super) async fn devices_are_paged_without_gaps(world: &World) {
    let keys = world.devices(11).await;
    world.store.delete_device(&world.actor, &id("device00004"), NOW).await.must();
    let mut walked: Vec<DeviceKey> = Vec::new();
    loop {
        let page = Page { after: walked.last().copied(), limit: 3 };
        let devices = world.store.devices(DeviceFilter::default(), page).await.must();
        if devices.is_empty() {
            break;
        }
        walked.extend(devices.iter().map(|device| device.row.key));
    }
    let expected: Vec<DeviceKey> =
        keys.into_iter().enumerate().filter(|(n, _)| *n != 4).map(|(_, k)| k).collect();
    assert_eq!(walked, expected);
}

pub(super) async fn what_belongs_to_another_project_does_not_exist(world: &World) {
    world.device("device1").await;
    let (stranger, device1) = (&world.stranger, id("device1"));
    let made = world.store.create_device(stranger, new_device("device2"), NOW).await.map(|_| ());
    let patched = world.store.patch_device(stranger, &device1, DevicePatch::default(), NOW).await.map(|_| ());
    let deleted = world.store.delete_device(stranger, &device1, NOW).await.map(|_| ());
    for refused in [made, patched, deleted] {
        assert!(matches!(refused, Err(StoreError::Missing { .. })), "{refused:?}");
    }
    assert!(world.store.device(&device1).await.must().is_some());
}

pub(super) async fn connecting_asks_for_a_few_facts(world: &World) {
    let gateway = world.device("gateway").await;
    assert!(!world.store.connect_facts(&id("gateway")).await.must().must().is_gateway);
    let alone = NewDevice { sealed_secret: None, ..child("child", "gateway") };
    let child = world.device_with(alone).await.row.key;
    let facts = world.store.connect_facts(&id("gateway")).await.must().must();
    assert_eq!((facts.key, facts.product_id.as_str(), facts.gateway), (gateway, PRODUCT, None));
    assert_eq!((facts.sealed_secret, facts.frozen, facts.is_gateway), (Some(vec![1, 2, 3]), false, true));
    let facts = world.store.connect_facts(&id("child")).await.must().must();
    assert_eq!((facts.key, facts.gateway, facts.sealed_secret), (child, Some(gateway), None));
    assert_eq!(world.store.connect_facts(&id("none")).await.must(), None);
    let freeze = DevicePatch { frozen: Some(true), ..DevicePatch::default() };
    world.store.patch_device(&world.actor, &id("child"), freeze, NOW).await.must();
    assert!(world.store.connect_facts(&id("child")).await.must().must().frozen);
}

pub(super) async fn a_device_may_have_a_certificate_in_place_of_a_secret(world: &World) {
    let (short, long) = (Fingerprint::Sha1([0xab; 20]), Fingerprint::Sha256([0xcd; 32]));
    let new = NewDevice {
        auth: Auth::X509,
        sealed_secret: None,
        fingerprint: Some(short),
        ..new_device("device1")
    };
    let made = world.device_with(new).await.row;
    assert_eq!((made.auth, made.fingerprint, &made.sealed_secret), (Auth::X509, Some(short), &None));
    let facts = world.store.connect_facts(&id("device1")).await.must().must();
    assert_eq!((facts.auth, facts.fingerprint, facts.sealed_secret), (Auth::X509, Some(short), None));
    for fingerprint in [Some(long), None, Some(short)] {
        let patch = DevicePatch { fingerprint: Some(fingerprint), ..DevicePatch::default() };
        let row = world.store.patch_device(&world.actor, &id("device1"), patch, NOW).await.must().row;
        assert_eq!(row, crate::DeviceRow { fingerprint, ..made.clone() });
        let facts = world.store.connect_facts(&id("device1")).await.must().must();
        assert_eq!((facts.auth, facts.fingerprint), (Auth::X509, fingerprint));
    }
    let loaded = world.batch(&[made.key], |loaded| (crate::Changes::default(), loaded)).await.must().answer;
    assert_eq!(*loaded.devices[&made.key].row, made, "batches see it too");
    let nothing = DevicePatch::default();
    let unchanged = world.store.patch_device(&world.actor, &id("device1"), nothing, NOW).await.must();
    assert_eq!(unchanged.row, made);
    world.device("device2").await;
    let facts = world.store.connect_facts(&id("device2")).await.must().must();
    assert_eq!((facts.auth, facts.fingerprint), (Auth::Secret, None));
}

pub(super) async fn a_list_of_ids_is_answered_in_its_order(world: &World) {
    let keys = world.devices(3).await;
    let ids = ["device00002", "none", "device00000", "device00002"].map(id);
    let known = world.store.keys_of(&ids).await.must();
    let known: Vec<Option<DeviceKey>> = known.iter().map(|known| known.as_ref().map(|k| k.key)).collect();
    assert_eq!(known, [Some(keys[2]), None, Some(keys[0]), Some(keys[2])]);
    assert_eq!(world.store.keys_of(&ids).await.must()[0].as_ref().must().product_id, PRODUCT);
}

pub(super) async fn the_children_with_work_are_those_with_something_unfinished(world: &World) {
    let gateway = world.device("gateway").await;
    let mut children = Vec::new();
    for name in ["a", "b", "c", "d"] {
        children.push(world.device_with(child(name, "gateway")).await.row.key);
    }
    world.device("other").await;
    let campaign = world.filled("c1", &released(9)).await;
    world.put(campaign, children[1], finished(OutcomeKind::Installed)).await.must();
    let working = |after, limit| world.store.children_with_work(gateway, after, limit);
    assert_eq!(working(None, 10).await.must(), [children[0], children[2], children[3]]);
    assert_eq!(working(None, 1).await.must(), [children[0]]);
    assert_eq!(working(Some(children[0]), 10).await.must(), [children[2], children[3]]);
    assert_eq!(world.store.children_with_work(children[0], None, 10).await.must(), []);
}

fn child(name: &str, gateway: &str) -> NewDevice {
    NewDevice { gateway_id: Some(id(gateway)), ..new_device(name) }
}

async fn found(world: &World, pairs: &[(&str, &str)]) -> String {
    names(world, DeviceFilter { tags: tags(pairs), ..DeviceFilter::default() }).await
}

async fn names(world: &World, filter: DeviceFilter) -> String {
    let devices = world.store.devices(filter, Page { after: None, limit: 100 }).await.must();
    let by_key: BTreeMap<DeviceKey, String> =
        devices.iter().map(|device| (device.row.key, device.row.device_id.to_string())).collect();
    assert_eq!(by_key.len(), devices.len(), "each once");
    assert!(by_key.keys().eq(devices.iter().map(|device| &device.row.key)), "by key");
    by_key.into_values().collect::<Vec<_>>().join(" ")
}
