//! Runs, tokens, and what happened.

use otaru_core::{ServiceTime, WallTime};

use super::world::{Must, NOW, World, new_device};
use crate::{Changes, Page, QuarantinedEvent, Role, StoreError, TokenRow};

pub(super) async fn the_first_opening_makes_a_project_and_every_opening_is_counted(world: &World) {
    let again = world.store.boot(NOW).await.must();
    assert_eq!(again.number, 2, "the world booted it once");
    assert_eq!(again.service_time, ServiceTime(0));
    assert_eq!(again.last_seen, None);
    assert_eq!(again.project.key, world.actor.project);
    assert_eq!(again.project.project_id.len(), 24);
    assert!(again.project.project_id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
}

pub(super) async fn the_last_heartbeat_is_what_the_next_run_hears(world: &World) {
    for (service, wall) in [(5, 500), (7, 400)] {
        world.store.heartbeat(ServiceTime(service), WallTime(wall)).await.must();
    }
    let boot = world.store.boot(NOW).await.must();
    assert_eq!((boot.service_time, boot.last_seen), (ServiceTime(7), Some(WallTime(400))));
}

pub(super) async fn a_token_is_known_by_its_hash_until_it_is_revoked(world: &World) {
    let token = token(world, "t1", "aa");
    world.store.add_token(&world.actor, token.clone()).await.must();
    assert_eq!(world.store.token_by_hash("aa").await.must(), Some(token.clone()));
    assert_eq!(world.store.token_by_hash("bb").await.must(), None);
    assert_eq!(world.store.tokens().await.must(), std::slice::from_ref(&token));
    for taken in [self::token(world, "t1", "bb"), self::token(world, "t2", "aa")] {
        let refused = world.store.add_token(&world.actor, taken).await;
        assert!(matches!(refused, Err(StoreError::Exists { what: "token", .. })));
    }
    let refused = world.store.revoke_token(&world.stranger, "t1", NOW).await;
    assert!(matches!(refused, Err(StoreError::Missing { what: "token", .. })));
    world.store.revoke_token(&world.actor, "t1", NOW).await.must();
    assert_eq!(world.store.token_by_hash("aa").await.must(), None);
    let refused = world.store.revoke_token(&world.actor, "t1", NOW).await;
    assert!(matches!(refused, Err(StoreError::Missing { what: "token", .. })));
}

pub(super) async fn every_change_an_operator_asks_for_names_the_actor(world: &World) {
    let device = world.device("device1").await;
    let line = ("platform".to_owned(), "foreign_child_refused".to_owned(), "device1".to_owned());
    let changes = Changes { audit: vec![line], ..Changes::default() };
    world.batch(&[device], |_| (changes, ())).await.must();
    let refused = world.store.create_device(&world.actor, new_device("device1"), NOW).await;
    assert!(refused.is_err(), "and leaves no line");
    let log = world.store.audit(Page { after: None, limit: 100 }).await.must();
    let lines: Vec<(&str, &str, &str)> =
        log.iter().map(|row| (row.actor.as_str(), row.action.as_str(), row.subject.as_str())).collect();
    let artifact = "ab".repeat(32);
    assert_eq!(
        lines,
        [
            ("platform", "foreign_child_refused", "device1"),
            ("tester", "device_created", "device1"),
            ("tester", "package_created", "package1"),
            ("tester", "artifact_kept", artifact.as_str()),
            ("tester", "product_created", "product1"),
        ]
    );
    assert!(log.iter().all(|row| row.at == NOW));
}

pub(super) async fn the_audit_log_is_paged_newest_first(world: &World) {
    world.devices(8).await;
    let all = world.store.audit(Page { after: None, limit: 100 }).await.must();
    assert_eq!(all.len(), 11);
    let mut walked = Vec::new();
    loop {
        let after = walked.last().map(|row: &crate::AuditRow| row.seq);
        let page = world.store.audit(Page { after, limit: 3 }).await.must();
        if page.is_empty() {
            break;
        }
        walked.extend(page);
    }
    assert_eq!(walked, all);
}

pub(super) async fn what_was_kept_aside_can_be_looked_at(world: &World) {
    let device = world.device("device1").await;
    for (device, text) in [(Some(device), "first"), (None, "second")] {
        let payload = text.to_owned().into_bytes().into();
        let event = QuarantinedEvent { device, at: NOW, payload, error: "why".to_owned() };
        let changes = Changes { quarantined: vec![event], ..Changes::default() };
        world.batch(&[], |_| (changes, ())).await.must();
    }
    let kept = world.store.quarantined(10).await.must();
    let seen: Vec<(Option<&str>, &[u8], &str)> = kept
        .iter()
        .map(|row| (row.device_id.as_ref().map(|id| id.as_str()), &row.payload[..], row.error.as_str()))
        .collect();
    assert_eq!(seen, [(None, &b"second"[..], "why"), (Some("device1"), &b"first"[..], "why")]);
    assert_eq!(world.store.quarantined(1).await.must().len(), 1);
}

fn token(world: &World, token_id: &str, hash: &str) -> TokenRow {
    TokenRow {
        token_id: token_id.to_owned(),
        name: "ci".to_owned(),
        role: Role::Approver,
        hash: hash.to_owned(),
        project: world.actor.project,
        created_at: NOW,
    }
}
