//! Products, artifacts and packages.

use otaru_core::WallTime;
use otaru_proto::PackageKind;

use super::world::{Must, NOW, PRODUCT, World, artifact, new_campaign, new_package};
use crate::{
    ArtifactRow, Content, NewContent, NewPackage, ObjectPlace, Page, PendingPackage, ReadOutcome, StoreError,
    Targets,
};

pub(super) async fn a_product_is_there_once(world: &World) {
    let made = world.store.create_product(&world.actor, "p", "Lamp", NOW).await.must();
    assert_eq!((made.product_id.as_str(), made.name.as_str(), made.created_at), ("p", "Lamp", NOW));
    assert_eq!(world.store.product("p").await.must(), Some(made));
    assert_eq!(world.store.product("q").await.must(), None);
    let refused = world.store.create_product(&world.actor, "p", "Other", NOW).await;
    assert!(matches!(refused, Err(StoreError::Exists { what: "product", .. })));
    let refused = world.store.create_product(&world.stranger, "q", "Other", NOW).await;
    assert!(matches!(refused, Err(StoreError::Constraint(_))), "there is no such project");
}

pub(super) async fn an_artifact_may_be_noted_twice(world: &World) {
    let first = world.store.add_artifact(&world.actor, artifact()).await.must();
    assert_eq!(first, artifact());
    let later = ArtifactRow { created_at: WallTime(NOW.0 + 1), ..artifact() };
    assert_eq!(world.store.add_artifact(&world.actor, later).await.must(), artifact(), "the older row stays");
    assert_eq!(world.store.artifact(&artifact().artifact_id).await.must(), Some(artifact()));
    assert_eq!(world.store.artifact("00").await.must(), None);
}

pub(super) async fn a_package_needs_its_product_and_its_artifact(world: &World) {
    let refused = world.store.create_package(&world.actor, new_package("k", "v2"), NOW).await;
    assert!(matches!(refused, Err(StoreError::Missing { what: "product", .. })));
    world.store.create_product(&world.actor, PRODUCT, "Product", NOW).await.must();
    let refused = world.store.create_package(&world.actor, new_package("k", "v2"), NOW).await;
    assert!(matches!(refused, Err(StoreError::Missing { what: "artifact", .. })));
    world.store.add_artifact(&world.actor, artifact()).await.must();
    let refused = world.store.create_package(&world.stranger, new_package("k", "v2"), NOW).await;
    assert!(matches!(refused, Err(StoreError::Missing { what: "product", .. })));
    let made = world.store.create_package(&world.actor, new_package("k", "v2"), NOW).await.must();
    assert_eq!(made.content.artifact(), Some((artifact().artifact_id.as_str(), 42)));
    assert_eq!(made.source_versions, ["v1", "v0 \"beta\""]);
    assert_eq!(made.delivery, crate::Delivery::SignedUrl);
    assert_eq!(world.store.package("k").await.must(), Some(made.clone()));
    assert_eq!(world.store.package_by_key(made.key).await.must(), Some(made));
}

pub(super) async fn a_version_of_a_product_and_kind_is_there_once(world: &World) {
    world.package().await;
    let refused = world.store.create_package(&world.actor, new_package("package1", "v3"), NOW).await;
    assert!(matches!(refused, Err(StoreError::Exists { what: "package", .. })));
    let refused = world.store.create_package(&world.actor, new_package("other", "v2"), NOW).await;
    assert!(matches!(refused, Err(StoreError::Exists { what: "package version", .. })));
    let software = NewPackage { kind: PackageKind::Software, ..new_package("other", "v2") };
    assert_eq!(
        world.store.create_package(&world.actor, software, NOW).await.must().kind,
        PackageKind::Software
    );
}

pub(super) async fn a_package_that_a_campaign_names_is_not_deleted(world: &World) {
    world.campaign("c1", Targets::Product).await;
    let refused = world.store.delete_package(&world.actor, "package1", NOW).await;
    let Err(StoreError::InUse { by, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(by, "campaign c1");
    world.store.create_package(&world.actor, new_package("other", "v3"), NOW).await.must();
    let refused = world.store.delete_package(&world.stranger, "other", NOW).await;
    assert!(matches!(refused, Err(StoreError::Missing { what: "package", .. })));
    world.store.delete_package(&world.actor, "other", NOW).await.must();
    assert_eq!(world.store.package("other").await.must(), None);
    let refused = world.store.delete_package(&world.actor, "other", NOW).await;
    assert!(matches!(refused, Err(StoreError::Missing { what: "package", .. })));
    let again = world.store.create_package(&world.actor, new_package("other", "v3"), NOW).await.must();
    assert_eq!(again.version, "v3", "the version is free again");
}

fn place() -> ObjectPlace {
    ObjectPlace { bucket: "images".to_owned(), key: "pump/v4.bin".to_owned(), sha256: Some("cd".repeat(32)) }
}

pub(super) async fn a_package_may_be_made_before_its_bytes_are_here(world: &World) {
    world.package().await;
    let store = &world.store;
    let at = NewPackage { content: NewContent::At(place()), ..new_package("later", "v4") };
    let made = store.create_package(&world.actor, at, NOW).await.must();
    assert_eq!(made.content, Content::Pending { problem: None });
    assert_eq!(store.package("later").await.must(), Some(made.clone()));
    let pending = store.pending_packages(None, 10).await.must();
    assert_eq!(pending, [PendingPackage { key: made.key, place: place() }], "the others were uploaded");
    assert_eq!(store.pending_packages(Some(made.key), 10).await.must(), []);
    // A campaign that was made before sees what becomes of it.
    let campaign =
        store.create_campaign(&world.actor, new_campaign("c1", Targets::Product, made.key), NOW).await.must();
    let content = async || {
        let (row, _) = store.campaign("c1").await.must().unwrap_or_else(|| panic!("{campaign:?}"));
        row.packages[0].content.clone()
    };
    let delayed = ReadOutcome::Delayed("no answer".to_owned());
    let row = store.settle_package(&world.actor, made.key, delayed, NOW).await.must();
    assert_eq!(row.map(|row| row.content), Some(Content::Pending { problem: Some("no answer".to_owned()) }));
    assert_eq!(store.pending_packages(None, 10).await.must().len(), 1);
    let refused = ReadOutcome::Refused("another digest".to_owned());
    let row = store.settle_package(&world.actor, made.key, refused.clone(), NOW).await.must();
    let invalid = Content::Invalid { problem: "another digest".to_owned() };
    assert_eq!((row.map(|row| row.content), content().await), (Some(invalid.clone()), invalid));
    assert_eq!(store.pending_packages(None, 10).await.must(), []);
    assert_eq!(store.settle_package(&world.actor, made.key, refused, NOW).await.must(), None, "nobody waits");
    let again = store.retry_package(&world.actor, "later", NOW).await.must();
    assert_eq!(
        (again.content, content().await),
        (Content::Pending { problem: None }, Content::Pending { problem: None })
    );
    let strange = store.retry_package(&world.stranger, "later", NOW).await;
    assert!(matches!(strange, Err(StoreError::Missing { what: "package", .. })));
    let nowhere = ReadOutcome::Kept("00".repeat(32));
    let nowhere = store.settle_package(&world.actor, made.key, nowhere, NOW).await;
    assert!(matches!(nowhere, Err(StoreError::Missing { what: "artifact", .. })), "only what is kept");
    let kept = ReadOutcome::Kept(artifact().artifact_id);
    let ready = store.settle_package(&world.actor, made.key, kept.clone(), NOW).await.must();
    assert_eq!(content().await.artifact(), Some((artifact().artifact_id.as_str(), 42)));
    assert_eq!(ready, store.package("later").await.must());
    assert_eq!(store.settle_package(&world.actor, made.key, kept, NOW).await.must(), None);
    // What is kept is not read again.
    let again = store.retry_package(&world.actor, "later", NOW).await.must();
    assert_eq!(Some(again), ready);
    assert_eq!(store.pending_packages(None, 10).await.must(), []);
    let log = store.audit(Page { after: None, limit: 100 }).await.must();
    let said: Vec<&str> =
        log.iter().filter(|line| line.subject == "later").map(|line| line.action.as_str()).collect();
    assert_eq!(said, ["package_ready", "package_retried", "package_invalid", "package_created"]);
}

pub(super) async fn a_package_that_is_deleted_is_not_read_any_more(world: &World) {
    world.package().await;
    let at = NewPackage { content: NewContent::At(place()), ..new_package("later", "v4") };
    let made = world.store.create_package(&world.actor, at, NOW).await.must();
    world.store.delete_package(&world.actor, "later", NOW).await.must();
    assert_eq!(world.store.pending_packages(None, 10).await.must(), []);
    let kept = ReadOutcome::Kept(artifact().artifact_id);
    assert_eq!(world.store.settle_package(&world.actor, made.key, kept, NOW).await.must(), None);
}

pub(super) async fn products_and_packages_are_paged_without_gaps(world: &World) {
    world.package().await;
    world.store.create_product(&world.actor, "p2", "Other", NOW).await.must();
    for number in 0..7 {
        let product_id = if number % 2 == 0 { PRODUCT } else { "p2" };
        let package = NewPackage {
            product_id: product_id.to_owned(),
            ..new_package(&format!("k{number}"), &format!("w{number}"))
        };
        world.store.create_package(&world.actor, package, NOW).await.must();
    }
    for (product_id, expected) in
        [(None, "package1 k0 k1 k2 k3 k4 k5 k6"), (Some(PRODUCT), "package1 k0 k2 k4 k6"), (Some("none"), "")]
    {
        let (mut walked, mut after) = (Vec::new(), None);
        loop {
            let page = world.store.packages(product_id, Page { after, limit: 2 }).await.must();
            let Some(last) = page.last() else { break };
            after = Some(last.key);
            walked.extend(page.into_iter().map(|row| row.package_id));
        }
        assert_eq!(walked.join(" "), expected);
    }
    let first = world.store.products(Page { after: None, limit: 1 }).await.must();
    let rest = world.store.products(Page { after: Some(first[0].key), limit: 9 }).await.must();
    assert_eq!((first[0].product_id.as_str(), rest.len()), (PRODUCT, 1));
    assert_eq!(rest[0].product_id, "p2");
}
