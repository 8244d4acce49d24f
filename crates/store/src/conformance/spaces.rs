//! Resource spaces.

use otaru_proto::PackageKind;

use super::world::{Must, NOW, World, id, new_campaign, new_device, new_package};
use crate::limits::SPACES_MAX;
use crate::{
    DeviceCondition, DeviceFact, DeviceSearch, NewGroup, Newest, NewestDevices, NewestPackages, Page,
    PushRule, PushRuleKey, PushSubject, SearchPage, SpaceKey, Spaces, StoreError, Targets,
};

fn all<K>() -> Newest<K> {
    Newest { before: None, skip: 0, limit: 100 }
}

fn group(group_id: &str) -> NewGroup {
    NewGroup { group_id: group_id.to_owned(), name: group_id.to_owned(), description: String::new() }
}

pub(super) async fn a_space_is_made_renamed_and_deleted(world: &World) {
    let (store, actor) = (&world.store, &world.actor);
    assert_eq!(store.spaces().await.must(), []);
    let made = store.create_space(actor, "s1", "North", NOW).await.must();
    assert_eq!((made.space_id.as_str(), made.name.as_str(), made.created_at), ("s1", "North", NOW));
    let other = store.create_space(actor, "s2", "South", NOW).await.must();
    assert_eq!(store.spaces().await.must(), [made.clone(), other.clone()]);
    for (space_id, name) in [("s1", "West"), ("s3", "North")] {
        let refused = store.create_space(actor, space_id, name, NOW).await;
        assert!(matches!(refused, Err(StoreError::Exists { .. })), "{space_id} {name}");
    }
    let refused = store.rename_space(actor, "s1", "South", NOW).await;
    assert!(matches!(refused, Err(StoreError::Exists { .. })));
    let renamed = store.rename_space(actor, "s1", "West", NOW).await.must();
    assert_eq!((renamed.key, renamed.name.as_str()), (made.key, "West"));
    assert_eq!(store.rename_space(actor, "s1", "West", NOW).await.must(), renamed, "said again");
    store.delete_space(actor, "s2", NOW).await.must();
    for gone in [
        store.delete_space(actor, "s2", NOW).await.err(),
        store.rename_space(actor, "s2", "x", NOW).await.err(),
    ] {
        assert!(matches!(gone, Some(StoreError::Missing { what: "resource space", .. })), "{gone:?}");
    }
    let again = store.create_space(actor, "s2", "South", NOW).await.must();
    assert!(again.key > other.key, "a key is never given again");
    let log = store.audit(Page { after: None, limit: 100 }).await.must();
    let said: Vec<&str> =
        log.iter().filter(|line| line.subject == "s1").map(|line| line.action.as_str()).collect();
    assert_eq!(said, ["space_changed", "space_created"]);
    for number in 3..SPACES_MAX {
        store.create_space(actor, &format!("s{number}"), &format!("n{number}"), NOW).await.must();
    }
    let full = store.create_space(actor, "more", "more", NOW).await;
    assert!(matches!(full, Err(StoreError::Full { .. })), "the default one counts as well");
}

pub(super) async fn a_space_that_something_is_in_stays(world: &World) {
    let (store, actor) = (&world.store, &world.actor);
    let space = Some(store.create_space(actor, "s1", "North", NOW).await.must().key);
    let in_use = async || match store.delete_space(actor, "s1", NOW).await {
        Err(StoreError::InUse { by, .. }) => by,
        other => panic!("{other:?}"),
    };
    store.create_product_with(actor, "p1", "Pump", space, "{}".into(), NOW).await.must();
    assert_eq!(in_use().await, "product p1");
    store.delete_product(actor, "p1", NOW).await.must();
    store.create_group_with(actor, group("g1"), space, "{}".into(), NOW).await.must();
    assert_eq!(in_use().await, "group g1");
    store.delete_group(actor, "g1", NOW).await.must();
    let rule = PushRule {
        key: PushRuleKey(0),
        rule_id: "r1".to_owned(),
        subject: PushSubject::Campaign,
        active: false,
        members: "{\"app_id\":\"s1\"}".to_owned(),
        created_at: NOW,
    };
    store.put_push_rule(actor, rule, NOW).await.must();
    assert_eq!(in_use().await, "rule r1");
    store.delete_push_rule(actor, "r1", NOW).await.must();
    store.delete_space(actor, "s1", NOW).await.must();
    // Nothing is put into a space that was deleted meanwhile, and nothing of it stays.
    let late = store.create_product_with(actor, "p1", "Pump", space, "{}".into(), NOW).await;
    assert!(matches!(late, Err(StoreError::Missing { what: "resource space", .. })));
    assert_eq!(store.product("p1").await.must(), None);
    let late = store.create_group_with(actor, group("g1"), space, "{}".into(), NOW).await;
    assert!(matches!(late, Err(StoreError::Missing { what: "resource space", .. })));
    assert_eq!(store.group("g1").await.must(), None);
}

pub(super) async fn lists_are_about_all_spaces_or_one(world: &World) {
    let (store, actor) = (&world.store, &world.actor);
    let north = store.create_space(actor, "s1", "North", NOW).await.must().key;
    let empty = store.create_space(actor, "s2", "South", NOW).await.must().key;
    let package = world.package().await; // and the product of it, in the default space
    let product = store.create_product_with(actor, "p1", "Pump", Some(north), "{}".into(), NOW).await.must();
    assert_eq!((product.space, store.product("p1").await.must()), (Some(north), Some(product.clone())));
    store.create_device(actor, new_device("here"), NOW).await.must();
    let there = crate::NewDevice { product_id: "p1".to_owned(), ..new_device("there") };
    store.create_device(actor, there, NOW).await.must();
    let theirs = crate::NewPackage { product_id: "p1".to_owned(), ..new_package("package2", "v2") };
    let theirs = store.create_package(actor, theirs, NOW).await.must();
    store.create_campaign(actor, new_campaign("c1", Targets::Product, package.key), NOW).await.must();
    let campaign = crate::NewCampaign {
        product_id: "p1".to_owned(),
        ..new_campaign("c2", Targets::Product, theirs.key)
    };
    store.create_campaign(actor, campaign, NOW).await.must();
    store.create_group(actor, group("g0"), NOW).await.must();
    store.create_group_with(actor, group("g1"), Some(north), "{}".into(), NOW).await.must();
    for (spaces, wanted) in [
        (Spaces::All, vec!["there p1 package2 c2 g1", "here product1 package1 c1 g0"]),
        (Spaces::One(north), vec!["there p1 package2 c2 g1"]),
        (Spaces::Default, vec!["here product1 package1 c1 g0"]),
        (Spaces::One(empty), vec![]),
    ] {
        let devices = NewestDevices { spaces, ..NewestDevices::default() };
        let (devices, n) = store.newest_devices(devices, all()).await.must();
        let (products, products_n) = store.newest_products(spaces, None, all()).await.must();
        let packages = NewestPackages { spaces, ..NewestPackages::default() };
        let (packages, packages_n) = store.newest_packages(packages, all()).await.must();
        let (campaigns, campaigns_n) =
            store.newest_campaigns(spaces, PackageKind::Firmware, None, all()).await.must();
        let (groups, groups_n) = store.newest_groups(spaces, None, all()).await.must();
        let mut found = Vec::new();
        for (at, device) in devices.iter().enumerate() {
            found.push(format!(
                "{} {} {} {} {}",
                device.row.device_id,
                products[at].product_id,
                packages[at].package_id,
                campaigns[at].0.campaign_id,
                groups[at].group_id
            ));
        }
        assert_eq!(found, wanted, "{spaces:?}");
        for total in [n, products_n, packages_n, campaigns_n, groups_n] {
            assert_eq!(total.n, wanted.len() as u64, "{spaces:?}");
        }
    }
    let search = async |is_not: bool, spaces: Vec<Option<SpaceKey>>| {
        let condition = DeviceCondition { is_not, fact: DeviceFact::Space(spaces) };
        let search = DeviceSearch { any: vec![vec![condition]], oldest_first: true };
        let page = SearchPage { after: None, skip: 0, limit: 10 };
        let found = store.search_devices(search, page).await.must();
        found.into_iter().map(|(record, _)| record.row.device_id).collect::<Vec<_>>()
    };
    assert_eq!(search(false, vec![None]).await, [id("here")]);
    assert_eq!(search(false, vec![Some(north), Some(empty)]).await, [id("there")]);
    assert_eq!(search(true, vec![Some(north)]).await, [id("here")]);
    assert_eq!(search(false, vec![]).await, []);
    assert_eq!(search(false, vec![None, Some(north)]).await, [id("here"), id("there")]);
}
