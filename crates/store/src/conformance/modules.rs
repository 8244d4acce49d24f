//! OTA modules.

use super::world::{Must, NOW, World};
use crate::limits::MODULES_MAX;
use crate::{ModulePatch, NewModule, Newest, NewestModules, Page, Spaces, StoreError};

fn new_module(module_id: &str, product_id: &str, name: &str) -> NewModule {
    NewModule {
        module_id: module_id.to_owned(),
        product_id: product_id.to_owned(),
        name: name.to_owned(),
        alias: "motor".to_owned(),
        description: String::new(),
    }
}

pub(super) async fn a_module_is_made_changed_and_deleted(world: &World) {
    let (store, actor) = (&world.store, &world.actor);
    let early = store.create_module(actor, new_module("m1", "p1", "mcu"), NOW).await;
    assert!(matches!(early, Err(StoreError::Missing { what: "product", .. })));
    store.create_product(actor, "p1", "Pump", NOW).await.must();
    let made = store.create_module(actor, new_module("m1", "p1", "mcu"), NOW).await.must();
    assert_eq!((made.product_id.as_str(), made.name.as_str(), made.alias.as_str()), ("p1", "mcu", "motor"));
    assert_eq!(store.module("m1").await.must(), Some(made.clone()));
    let twice = store.create_module(actor, new_module("m2", "p1", "mcu"), NOW).await;
    assert!(matches!(twice, Err(StoreError::Exists { .. })));
    let strange = store.create_module(&world.stranger, new_module("m2", "p1", "x"), NOW).await;
    assert!(matches!(strange, Err(StoreError::Missing { what: "product", .. })));
    let patch = ModulePatch { alias: Some(String::new()), description: Some("STM32".to_owned()) };
    let changed = store.patch_module(actor, "m1", patch.clone(), NOW).await.must();
    assert_eq!((changed.alias.as_str(), changed.description.as_str()), ("", "STM32"));
    assert_eq!(store.patch_module(actor, "m1", patch, NOW).await.must(), changed, "said again");
    assert_eq!(store.patch_module(actor, "m1", ModulePatch::default(), NOW).await.must(), changed);
    store.delete_module(actor, "m1", NOW).await.must();
    for gone in [
        store.delete_module(actor, "m1", NOW).await.err(),
        store.patch_module(actor, "m1", ModulePatch::default(), NOW).await.err(),
    ] {
        assert!(matches!(gone, Some(StoreError::Missing { what: "module", .. })), "{gone:?}");
    }
    assert_eq!(store.module("m1").await.must(), None);
    let again = store.create_module(actor, new_module("m1", "p1", "mcu"), NOW).await.must();
    assert!(again.key > made.key);
    let log = store.audit(Page { after: None, limit: 100 }).await.must();
    let said: Vec<&str> =
        log.iter().filter(|line| line.subject == "m1").map(|line| line.action.as_str()).collect();
    assert_eq!(said, ["module_created", "module_deleted", "module_changed", "module_created"]);
}

pub(super) async fn a_product_has_a_few_modules_and_takes_them_with_it(world: &World) {
    let (store, actor) = (&world.store, &world.actor);
    let north = store.create_space(actor, "s1", "North", NOW).await.must().key;
    store.create_product(actor, "p1", "Pump", NOW).await.must();
    store.create_product_with(actor, "p2", "Lamp", Some(north), "{}".into(), NOW).await.must();
    for number in 0..MODULES_MAX {
        let module = new_module(&format!("m{number}"), "p1", &format!("part{number}"));
        store.create_module(actor, module, NOW).await.must();
    }
    let full = store.create_module(actor, new_module("more", "p1", "more"), NOW).await;
    assert!(matches!(full, Err(StoreError::Full { .. })));
    store.create_module(actor, new_module("other", "p2", "part0"), NOW).await.must();
    let listed = async |product_id: Option<&str>, spaces, before, limit| {
        let filter = NewestModules { product_id: product_id.map(str::to_owned), spaces };
        let (rows, total) = store.newest_modules(filter, Newest { before, skip: 0, limit }).await.must();
        (rows.iter().map(|row| row.module_id.clone()).collect::<Vec<_>>().join(" "), total.n, rows)
    };
    let all = listed(None, Spaces::All, None, 3).await;
    assert_eq!((all.0.as_str(), all.1), ("other m9 m8", MODULES_MAX + 1));
    let next = listed(None, Spaces::All, all.2.last().map(|row| row.key), 2).await;
    assert_eq!(next.0, "m7 m6");
    assert_eq!(listed(Some("p2"), Spaces::All, None, 9).await.0, "other");
    assert_eq!(listed(Some("p2"), Spaces::Default, None, 9).await.0, "");
    assert_eq!(listed(None, Spaces::One(north), None, 9).await.0, "other");
    assert_eq!(listed(Some("none"), Spaces::All, None, 9).await.1, 0);
    store.delete_product(actor, "p1", NOW).await.must();
    assert_eq!(listed(None, Spaces::All, None, 9).await.0, "other");
    assert_eq!(store.module("m0").await.must(), None);
    store.create_product(actor, "p1", "Pump", NOW).await.must();
    assert_eq!(listed(Some("p1"), Spaces::All, None, 9).await.1, 0, "a new product of this id has none");
}
