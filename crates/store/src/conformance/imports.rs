//! Many devices at once.

use super::world::{Must, NOW, PRODUCT, World, id, new_device, tags};
use crate::{DeviceFilter, DeviceKey, Imported, NewDevice, Page, StoreError};

pub(super) async fn an_import_makes_each_device_as_registering_it_does(world: &World) {
    world.package().await;
    let tagged = NewDevice {
        name: Some("Hall".to_owned()),
        tags: tags(&[("site", "north")]),
        ..new_device("device1")
    };
    let became = import(world, vec![tagged, new_device("device2")]).await;
    let [Imported::Created { key, joined: None }, Imported::Created { .. }] = became[..] else {
        panic!("{became:?}")
    };
    let made = world.store.device(&id("device1")).await.must().must();
    assert_eq!((made.row.key, made.row.node_id.as_str()), (key, "node-device1"));
    assert_eq!((made.row.product_id.as_str(), made.row.created_at), (PRODUCT, NOW));
    assert_eq!((made.row.name.as_deref(), &made.row.tags), (Some("Hall"), &tags(&[("site", "north")])));
    assert_eq!(made.row.sealed_secret, Some(vec![1, 2, 3]));
    let north = DeviceFilter { tags: tags(&[("site", "north")]), ..DeviceFilter::default() };
    let found = world.store.devices(north, Page { after: None, limit: 9 }).await.must();
    assert_eq!(found.len(), 1, "its tags are found");
    world
        .batch(&[key], |loaded| (crate::Changes::default(), assert_eq!(loaded.devices.len(), 1)))
        .await
        .must();
}

pub(super) async fn an_import_may_be_repeated_and_changes_nothing(world: &World) {
    world.package().await;
    let sealed = |seal: u8| NewDevice { sealed_secret: Some(vec![seal]), ..new_device("device1") };
    assert_eq!(words(&import(world, vec![sealed(1)]).await), "created");
    let lines = audit(world).await.len();
    let named = NewDevice { name: Some("Other".to_owned()), ..sealed(2) };
    assert_eq!(words(&import(world, vec![named]).await), "exists");
    let made = world.store.device(&id("device1")).await.must().must();
    assert_eq!((made.row.sealed_secret, made.row.name), (Some(vec![1]), None));
    assert_eq!(audit(world).await.len(), lines, "nothing was done");
    // The answer of the first call may have been lost.
    assert_eq!(words(&import(world, vec![sealed(1)]).await), "created");
    assert_eq!(
        words(&import(world, vec![sealed(3), new_device("device2"), new_device("device2")]).await),
        "exists created created"
    );
    let unsealed = || NewDevice { sealed_secret: None, ..new_device("device3") };
    assert_eq!(words(&import(world, vec![unsealed(), unsealed()]).await), "created exists");
}

pub(super) async fn what_cannot_be_imported_is_no_obstacle_for_the_others(world: &World) {
    world.device("device1").await;
    world.store.create_product(&world.actor, "p2", "Other", NOW).await.must();
    let became = import(
        world,
        vec![
            NewDevice { node_id: "other".to_owned(), ..new_device("device1") },
            NewDevice { product_id: "p2".to_owned(), ..new_device("device1") },
            NewDevice { node_id: "node-device1".to_owned(), ..new_device("device2") },
            NewDevice { product_id: "none".to_owned(), ..new_device("device3") },
            NewDevice { gateway_id: Some(id("none")), ..new_device("device4") },
            new_device("device5"),
        ],
    )
    .await;
    assert_eq!(
        words(&became),
        "device device1 exists already, device device1 exists already, node_id node-device1 exists already, \
         there is no product none, there is no gateway none, created"
            .replace(", ", " ")
    );
    assert_eq!(world.store.device(&id("device2")).await.must(), None);
    assert!(world.store.device(&id("device5")).await.must().is_some());
    let strange = world.store.import_devices(&world.stranger, vec![new_device("device6")], NOW).await.must();
    assert_eq!(words(&strange), format!("there is no product {PRODUCT}"));
}

pub(super) async fn a_child_is_imported_after_its_gateway(world: &World) {
    world.package().await;
    let child = |name: &str, gateway: &str| NewDevice { gateway_id: Some(id(gateway)), ..new_device(name) };
    let became = import(
        world,
        vec![
            child("early", "gateway"),
            new_device("gateway"),
            child("a", "gateway"),
            child("b", "gateway"),
            child("c", "a"),
        ],
    )
    .await;
    let gateway = world.store.device(&id("gateway")).await.must().must().row.key;
    assert!(matches!(&became[0], Imported::Refused(StoreError::Missing { what: "gateway", .. })));
    let joined: Vec<Option<(DeviceKey, i64)>> = became[1..4]
        .iter()
        .map(|became| match became {
            Imported::Created { joined, .. } => *joined,
            other @ (Imported::Exists | Imported::Refused(_)) => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(joined, [None, Some((gateway, 1)), Some((gateway, 2))]);
    assert!(matches!(&became[4], Imported::Refused(StoreError::ChildAsGateway { .. })));
    assert!(world.store.connect_facts(&id("gateway")).await.must().must().is_gateway);
    assert_eq!(world.store.topology_after(gateway, 0, 9).await.must().changes.len(), 2);
    let again = NewDevice { sealed_secret: None, ..child("b", "gateway") };
    assert_eq!(words(&import(world, vec![again]).await), "exists");
    let elsewhere = NewDevice { gateway_id: None, ..new_device("b") };
    assert_eq!(words(&import(world, vec![elsewhere]).await), "device b exists already", "it has a gateway");
}

pub(super) async fn an_import_leaves_one_line_in_the_audit_log_that_names_the_count(world: &World) {
    world.package().await;
    let before = audit(world).await.len();
    let taken = || NewDevice { node_id: "x".to_owned(), ..new_device("b") };
    import(world, ["a", "b", "c"].map(new_device).into_iter().chain([taken()]).collect()).await;
    import(world, vec![new_device("d")]).await;
    import(world, vec![taken()]).await;
    let audit = audit(world).await;
    assert_eq!(audit[before..], ["devices_imported 3 devices: a to c", "devices_imported 1 device: d"]);
}

async fn import(world: &World, devices: Vec<NewDevice>) -> Vec<Imported> {
    world.store.import_devices(&world.actor, devices, NOW).await.must()
}

fn words(became: &[Imported]) -> String {
    let words = became.iter().map(|became| match became {
        Imported::Created { .. } => "created".to_owned(),
        Imported::Exists => "exists".to_owned(),
        Imported::Refused(error) => error.to_string(),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Action and subject of each line, oldest first.
async fn audit(world: &World) -> Vec<String> {
    let lines = world.store.audit(Page { after: None, limit: 100 }).await.must();
    lines.iter().rev().map(|line| format!("{} {}", line.action, line.subject)).collect()
}
