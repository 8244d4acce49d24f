//! Groups of devices.

use otaru_core::campaign::CampaignState;

use super::world::{Must, NOW, World, id, new_campaign, new_device, released};
use crate::limits::GROUPS_OF_DEVICE_MAX;
use crate::{
    DeviceFilter, DeviceKey, Fault, GroupPatch, GroupRow, NewDevice, NewGroup, Page, StoreError, Targets,
};

pub(super) async fn a_group_is_found_by_its_id_and_changed(world: &World) {
    let made = group(world, "g1", "Hall").await;
    assert_eq!((made.group_id.as_str(), made.name.as_str(), made.members), ("g1", "Hall", 0));
    assert_eq!((made.description.as_str(), made.created_at), ("about Hall", NOW));
    assert_eq!(world.store.group("g1").await.must(), Some(made.clone()));
    assert_eq!(world.store.group("g2").await.must(), None);
    let patch = GroupPatch { name: Some("Yard".to_owned()), description: Some(String::new()) };
    let changed = world.store.patch_group(&world.actor, "g1", patch, NOW).await.must();
    assert_eq!(changed, GroupRow { name: "Yard".to_owned(), description: String::new(), ..made });
    let same = world.store.patch_group(&world.actor, "g1", GroupPatch::default(), NOW).await.must();
    assert_eq!(same, changed);
    assert_eq!(world.store.group("g1").await.must(), Some(changed));
    let nobodys = world.store.patch_group(&world.actor, "g2", GroupPatch::default(), NOW).await;
    assert!(matches!(nobodys, Err(StoreError::Missing { what: "group", .. })));
    let audit = world.store.audit(Page { after: None, limit: 10 }).await.must();
    let actions: Vec<&str> = audit.iter().map(|line| line.action.as_str()).collect();
    assert_eq!(actions[..2], ["group_changed", "group_created"], "what changes nothing is not noted");
}

pub(super) async fn a_taken_group_id_or_name_is_refused(world: &World) {
    group(world, "g1", "Hall").await;
    group(world, "g2", "Yard").await;
    let refused = world.store.create_group(&world.actor, new("g1", "Other"), NOW).await;
    assert!(matches!(refused, Err(StoreError::Exists { what: "group", .. })));
    let refused = world.store.create_group(&world.actor, new("g3", "Hall"), NOW).await;
    assert!(matches!(refused, Err(StoreError::Exists { what: "group name", .. })));
    let patch = GroupPatch { name: Some("Hall".to_owned()), description: None };
    let refused = world.store.patch_group(&world.actor, "g2", patch, NOW).await;
    assert!(matches!(refused, Err(StoreError::Exists { what: "group name", .. })));
    assert_eq!(world.store.group("g2").await.must().map(|g| g.name), Some("Yard".to_owned()));
}

pub(super) async fn groups_are_listed_oldest_first_and_by_a_part_of_their_name(world: &World) {
    for (group_id, name) in [("g3", "Hall north"), ("g1", "Yard"), ("g2", "Little hall")] {
        group(world, group_id, name).await;
    }
    let ids = async |part: Option<&str>, after, limit| {
        let page = Page { after, limit };
        let groups = world.store.groups(part.map(str::to_owned), page).await.must();
        groups.into_iter().map(|group| group.group_id).collect::<Vec<_>>()
    };
    assert_eq!(ids(None, None, 10).await, ["g3", "g1", "g2"]);
    assert_eq!(ids(None, None, 2).await, ["g3", "g1"]);
    let second = world.store.group("g1").await.must().map(|group| group.key);
    assert_eq!(ids(None, second, 2).await, ["g2"]);
    assert_eq!(ids(Some("HALL"), None, 10).await, ["g3", "g2"]);
    assert_eq!(ids(Some("%"), None, 10).await, Vec::<String>::new());
}

pub(super) async fn devices_come_and_go_and_are_counted(world: &World) {
    let devices = world.devices(4).await;
    group(world, "g1", "Hall").await;
    group(world, "g2", "Yard").await;
    assert_eq!(add(world, "g1", &devices[..3]).await, 3);
    assert_eq!(add(world, "g1", &devices[1..]).await, 1, "the others were in it");
    assert_eq!(add(world, "g1", &devices).await, 0);
    assert_eq!(add(world, "g2", &[devices[3], DeviceKey(9_999)]).await, 1, "there is no such device");
    assert_eq!(members(world, "g1").await, devices);
    assert_eq!(world.store.group("g1").await.must().map(|g| g.members), Some(4));
    let of = world.store.groups_of(devices[3]).await.must();
    assert_eq!(of.iter().map(|g| g.group_id.as_str()).collect::<Vec<_>>(), ["g1", "g2"]);
    let removed = world.store.remove_members(&world.actor, "g1", devices[..2].to_vec(), NOW).await.must();
    assert_eq!(removed, 2);
    let again = world.store.remove_members(&world.actor, "g1", devices[..2].to_vec(), NOW).await.must();
    assert_eq!(again, 0);
    assert_eq!(members(world, "g1").await, devices[2..]);
    assert_eq!(world.store.group("g1").await.must().map(|g| g.members), Some(2));
    let nobodys = world.store.add_members(&world.actor, "none", devices.clone(), NOW).await;
    assert!(matches!(nobodys, Err(StoreError::Missing { what: "group", .. })));
    let audit = world.store.audit(Page { after: None, limit: 10 }).await.must();
    assert_eq!(
        (audit[0].action.as_str(), audit[0].subject.as_str()),
        ("group_members_removed", "g1: 2 devices")
    );
}

pub(super) async fn a_device_that_is_deleted_leaves_its_groups(world: &World) {
    let devices = world.devices(2).await;
    group(world, "g1", "Hall").await;
    add(world, "g1", &devices).await;
    let first = world.store.device_by_key(devices[0]).await.must().map(|record| record.row.device_id);
    world.store.delete_device(&world.actor, &first.expect("it is there"), NOW).await.must();
    assert_eq!(members(world, "g1").await, devices[1..]);
    assert_eq!(world.store.group("g1").await.must().map(|g| g.members), Some(1));
    assert_eq!(add(world, "g1", &devices[..1]).await, 0, "it does not come back");
}

pub(super) async fn a_device_is_in_so_many_groups_and_not_in_more(world: &World) {
    let devices = world.devices(2).await;
    let most = GROUPS_OF_DEVICE_MAX as usize;
    for number in 0..=most {
        group(world, &format!("g{number}"), &format!("group {number}")).await;
        if number < most {
            add(world, &format!("g{number}"), &devices[..1]).await;
        }
    }
    let last = format!("g{most}");
    let refused = world.store.add_members(&world.actor, &last, devices.clone(), NOW).await;
    let Err(refused) = refused else { panic!("it is in enough groups") };
    assert!(refused.to_string().contains("at most 64 are accepted"), "{refused}");
    assert_eq!(refused.fault(), Fault::Caller);
    assert_eq!(members(world, &last).await, [], "all or none");
    assert_eq!(add(world, &last, &devices[1..]).await, 1);
}

pub(super) async fn groups_choose_devices_together_with_tags_and_product(world: &World) {
    let mut north = Vec::new();
    for number in 0..9 {
        let site = if number % 3 == 0 { "south" } else { "north" };
        let tags = [("site".to_owned(), site.to_owned())].into();
        let device = world.device_with(NewDevice { tags, ..new_device(&format!("d{number}")) }).await.row.key;
        if site == "north" {
            north.push(device);
        }
    }
    group(world, "g1", "Hall").await;
    add(world, "g1", &north[1..4]).await;
    let south = world.store.device(&id("d0")).await.must().map(|record| record.row.key).expect("it is there");
    add(world, "g1", &[south]).await;
    let filter = DeviceFilter {
        group_id: Some("g1".to_owned()),
        tags: [("site".to_owned(), "north".to_owned())].into(),
        ..DeviceFilter::default()
    };
    assert_eq!(keys(world, filter).await, north[1..4]);
    let filter = DeviceFilter { group_id: Some("none".to_owned()), ..DeviceFilter::default() };
    assert_eq!(keys(world, filter).await, [], "a group that does not exist has none");
}

pub(super) async fn a_campaign_is_for_those_in_any_of_its_groups_once(world: &World) {
    let devices = world.devices(12).await;
    for (group_id, of) in [("g1", &devices[2..6]), ("g2", &devices[4..9]), ("g3", &devices[11..])] {
        group(world, group_id, group_id).await;
        add(world, group_id, of).await;
    }
    let mut groups = Vec::new();
    for group_id in ["g2", "g1", "g3"] {
        groups.push(world.store.group(group_id).await.must().expect("it was made").key);
    }
    let made = world.campaign("c1", Targets::Groups(groups.clone())).await;
    assert_eq!(made.targets, Targets::Groups(groups));
    let prefer = [devices[0], devices[7], devices[3]];
    let first = world.store.fill_campaign(made.key, 3, NOW, &released(9), &prefer).await.must();
    assert_eq!(first.added[..2], [devices[7], devices[3]], "one that is in none is not preferred");
    let mut walked = first.added;
    loop {
        let filled = world.store.fill_campaign(made.key, 3, NOW, &released(9), &[]).await.must();
        walked.extend(filled.added);
        if filled.done {
            break;
        }
    }
    walked.sort_unstable();
    let wanted: Vec<DeviceKey> = devices[2..9].iter().chain(&devices[11..]).copied().collect();
    assert_eq!(walked, wanted, "each once");
}

pub(super) async fn a_group_goes_at_once_and_its_members_afterwards(world: &World) {
    let devices = world.devices(5).await;
    let made = group(world, "g1", "Hall").await;
    add(world, "g1", &devices).await;
    let campaign = world.campaign("c1", Targets::Groups(vec![made.key])).await.key;
    let refused = world.store.delete_group(&world.actor, "g1", NOW).await;
    let Err(StoreError::InUse { what: "group", by, .. }) = refused else {
        panic!("its campaign is being made")
    };
    assert!(by.contains("c1"), "{by}");
    let (from, to) = ([CampaignState::Preparing], CampaignState::Cancelled);
    world.store.move_campaign(&world.actor, campaign, &from, to, None, NOW).await.must();
    let key = world.store.delete_group(&world.actor, "g1", NOW).await.must();
    assert_eq!(key, made.key);
    assert_eq!(world.store.group("g1").await.must(), None);
    assert_eq!(world.store.groups_of(devices[0]).await.must(), []);
    assert_eq!(world.store.leaving_groups().await.must(), [key]);
    let again = world.store.delete_group(&world.actor, "g1", NOW).await;
    assert!(matches!(again, Err(StoreError::Missing { what: "group", .. })));
    let package = world.package().await.key;
    let late = new_campaign("c2", Targets::Groups(vec![key]), package);
    let late = world.store.create_campaign(&world.actor, late, NOW).await;
    assert!(matches!(late, Err(StoreError::Missing { what: "group", .. })));
    let anew = group(world, "g1", "Hall").await;
    assert_ne!(anew.key, key, "the same id and name, and another group");
    assert_eq!(members(world, "g1").await, []);
    assert!(!world.store.forget_members(key, 3).await.must());
    assert!(world.store.forget_members(key, 3).await.must());
    assert!(world.store.forget_members(key, 3).await.must(), "a second time is harmless");
    assert_eq!(world.store.leaving_groups().await.must(), []);
    assert_eq!(add(world, "g1", &devices).await, 5);
}

fn new(group_id: &str, name: &str) -> NewGroup {
    NewGroup { group_id: group_id.to_owned(), name: name.to_owned(), description: format!("about {name}") }
}

async fn group(world: &World, group_id: &str, name: &str) -> GroupRow {
    world.store.create_group(&world.actor, new(group_id, name), NOW).await.must()
}

async fn add(world: &World, group_id: &str, devices: &[DeviceKey]) -> u64 {
    world.store.add_members(&world.actor, group_id, devices.to_vec(), NOW).await.must()
}

async fn members(world: &World, group_id: &str) -> Vec<DeviceKey> {
    keys(world, DeviceFilter { group_id: Some(group_id.to_owned()), ..DeviceFilter::default() }).await
}

async fn keys(world: &World, filter: DeviceFilter) -> Vec<DeviceKey> {
    let records = world.store.devices(filter, Page { after: None, limit: 100 }).await.must();
    records.into_iter().map(|record| record.row.key).collect()
}
