//! Nothing is acknowledged, and nothing said, before everything that follows from it is stored.

mod support;

use std::time::Duration;

use bytes::Bytes;
use otaru_core::campaign::Policy;
use otaru_engine::{Declared, Delivery, DownloadError, Fault, Faulty, IngestError, Settings};
use otaru_proto::Access;
use otaru_store::{BlobStore, Store, Vault};
use support::{Platform, WoundClock, progress_report, settings};

const A_MOMENT: Duration = Duration::from_millis(150);

#[tokio::test]
async fn while_the_store_stalls_nothing_is_acknowledged() {
    let (platform, id, _) = Platform::with_a_device().await;
    let mut device = platform.connect(&id).await;
    device.report_version("v1").await;
    let faults = platform.faults.as_ref().unwrap();
    faults.stall();
    let tickets = [device.publish(progress_report(&id, 0, 1, "v1")), device.publish(b"nonsense".to_vec())];
    assert!(device.heard_nothing_for(A_MOMENT).await, "acknowledged before it was stored");
    faults.resume();
    for ticket in tickets {
        assert_eq!(device.next().await, Delivery::Acknowledge(ticket));
    }
}

#[tokio::test]
async fn what_a_failing_store_refused_is_acknowledged_only_once_it_is_stored() {
    let (platform, id, _) = Platform::with_a_device().await;
    let mut device = platform.connect(&id).await;
    device.report_version("v1").await;
    let faults = platform.faults.as_ref().unwrap();
    faults.fail_until_healed();
    let ticket = device.publish(progress_report(&id, 0, 1, "v1"));
    assert!(device.heard_nothing_for(A_MOMENT).await, "acknowledged though nothing was stored");
    let health = platform.engine.health();
    assert!(!health.ready && health.reasons[0].starts_with("store:"), "{health:?}");
    let refused = platform.engine.create_product(&platform.by, None, "Other".into()).await.err().unwrap();
    assert_eq!(refused.fault(), Fault::Unavailable);
    faults.heal();
    assert_eq!(device.next().await, Delivery::Acknowledge(ticket));
    platform.until_ready().await;
    assert_eq!(
        platform.engine.reports(id.as_str(), None, 10).await.unwrap().len(),
        2,
        "stored once, not twice"
    );
}

#[tokio::test]
async fn a_store_that_comes_back_is_noticed_though_nobody_sends_anything() {
    let (platform, id, _) = Platform::with_a_device().await;
    let mut device = platform.connect(&id).await;
    device.report_version("v1").await;
    let faults = platform.faults.as_ref().unwrap();
    faults.fail_until_healed();
    device.publish(progress_report(&id, 0, 1, "v1"));
    platform.until_not_ready().await;
    platform.clock.pass(Duration::from_secs(31)); // longer than sessions are kept
    assert_eq!(device.next().await, Delivery::Close { reason: "store_unavailable" });
    drop(device);
    assert!(!platform.engine.health().ready, "what writes nothing proves nothing");
    faults.heal();
    platform.until_ready().await;
}

#[tokio::test]
async fn a_store_that_stays_out_costs_the_session_and_not_the_report() {
    let (store, faults) = Store::memory_with_faults();
    let impatient = Settings { outage_patience: Duration::from_millis(100), ..settings() };
    let clock = WoundClock::new();
    let engine =
        otaru_engine::Engine::open(impatient, store, BlobStore::memory(), Vault::for_tests(), clock.clone())
            .await;
    let engine = engine.unwrap();
    engine.ensure_admin(Some("t")).await.unwrap();
    let by = engine.operator("t").await.unwrap();
    let platform = Platform { engine, clock, faults: None, by };
    platform.product().await;
    let id = platform.register("sn1").await;
    let mut device = platform.connect(&id).await;
    device.report_version("v1").await;
    faults.fail_until_healed();
    let ticket = device.publish(progress_report(&id, 0, 1, "v1"));
    assert_eq!(device.next().await, Delivery::Close { reason: "store_unavailable" });
    drop(device);
    faults.heal();
    let mut device = platform.connect(&id).await;
    device.report(progress_report(&id, 0, 1, "v1")).await;
    let _ = ticket;
    platform.until_ready().await;
}

#[tokio::test]
async fn a_notice_is_in_the_outbox_before_it_is_said_and_gone_after() {
    let dir = tempfile::tempdir().unwrap();
    let platform = Platform::on_disk(dir.path(), settings(), WoundClock::new()).await;
    platform.product().await;
    let id = platform.register("sn1").await;
    let package = platform.package("v2", &[]).await;
    let campaign = platform.campaign(&package, &[&id], Policy::default()).await;
    let mut device = platform.connect(&id).await;
    device.hears_question().await;
    device.report_version("v1").await;
    // Offered is stored; whether or not the bytes have left, this session is not told twice.
    platform.until(&campaign, &id, "offered").await;
    device.hears_notice().await;
    assert!(device.heard_nothing_for(A_MOMENT).await);
    // The next session is asked, not told.
    drop(device);
    let mut device = platform.connect(&id).await;
    platform.clock.pass(Duration::from_secs(6));
    device.hears_question().await;
    platform.engine.stop().await;
}

#[tokio::test]
async fn what_was_accepted_is_kept_word_for_word_and_what_was_not_by_its_beginning() {
    let (platform, id, _) = Platform::with_a_device().await;
    let mut device = platform.connect(&id).await;
    let long = "x".repeat(9_000);
    let accepted = format!(
        r#"{{"services":[{{"service_id":"$ota","event_type":"version_report","paras":{{"fw_version":"v1","more":"{long}"}}}}]}}"#
    );
    device.report(accepted.clone().into_bytes()).await;
    device.report(format!("no json {long}").into_bytes()).await;
    let history = platform.engine.reports(id.as_str(), None, 10).await.unwrap();
    assert_eq!(history[1].payload, accepted);
    assert_eq!(history[0].payload.len(), 4_096);
    assert_eq!(history[0].reading["payload_bytes"], 9_008);
}

#[tokio::test]
async fn a_session_that_tries_and_tries_fills_no_audit_log() {
    let (platform, id, _) = Platform::with_a_device().await;
    let mut device = platform.connect(&id).await;
    let stranger = otaru_proto::DeviceId::parse("p_other").unwrap();
    let mut last = 0;
    for _ in 0..200 {
        last = device.publish(progress_report(&stranger, 0, 1, "v1"));
    }
    while device.next().await != Delivery::Acknowledge(last) {}
    let audit = platform.engine.audit(otaru_engine::Page { after: None, limit: 1_000 }).await.unwrap();
    assert_eq!(audit.iter().filter(|row| row.action == "foreign_child_refused").count(), 16);
}

#[tokio::test]
async fn an_upload_is_kept_whole_or_not_at_all() {
    let platform = Platform::in_memory().await;
    let body = |pieces: Vec<Result<&'static [u8], &'static str>>| {
        futures_util::stream::iter(pieces.into_iter().map(|piece| piece.map(Bytes::from_static)))
    };
    let ingest = |declared, pieces| platform.engine.ingest(&platform.by, declared, body(pieces));
    let digest = "5d7735f9c6fb76b8dfd84fda2d27b69e09da6ec73cea4c4e2c9e3c1ca6c5f0bf";

    let wrong = Declared { sha256: Some(digest.to_owned()), size_bytes: None };
    let error = ingest(wrong, vec![Ok(b"some bytes")]).await.err().unwrap();
    assert!(matches!(error, IngestError::DigestMismatch { .. }), "{error}");
    assert!(error.to_string().contains(digest), "{error}");

    let short = Declared { sha256: None, size_bytes: Some(100) };
    let error = ingest(short, vec![Ok(b"some bytes"), Err("connection reset")]).await.err().unwrap();
    assert!(error.to_string().contains("10 bytes but 100 were declared"), "{error}");

    let odd = Declared { sha256: Some("xyz".into()), size_bytes: None };
    assert!(matches!(ingest(odd, vec![Ok(b"a")]).await, Err(IngestError::BadDigest(_))));
    assert!(matches!(ingest(Declared::default(), vec![]).await, Err(IngestError::Empty)));

    let (first, new) = ingest(Declared::default(), vec![Ok(b"some "), Ok(b"bytes")]).await.unwrap();
    assert!(new);
    assert_eq!(first.size_bytes, 10);
    let upper = Declared { sha256: Some(first.artifact_id.to_uppercase()), size_bytes: Some(10) };
    let (again, new) = ingest(upper, vec![Ok(b"some bytes")]).await.unwrap();
    assert_eq!((again.artifact_id, new), (first.artifact_id, false));
}

#[tokio::test]
async fn a_download_token_lives_as_long_as_its_attempt() {
    let (platform, id, package) = Platform::with_a_device().await;
    let campaign = platform.campaign(&package, &[&id], Policy::default()).await;
    let mut device = platform.connect(&id).await;
    let notice = device.is_told("v1").await;
    let Access::Token(token) = notice.access else { panic!("a token was asked for") };
    let deployment = platform.deployment(&campaign, &id).await.deployment_id;
    assert!(notice.url.contains(&deployment));

    let download = platform.engine.download(&deployment, Some(&token)).await.unwrap();
    assert_eq!((download.size_bytes, download.file_name.as_str()), (8, "app.bin"));
    download.tally.add(0..8);
    drop(download);
    assert_eq!(platform.deployment(&campaign, &id).await.download.unwrap().bytes, 8);

    assert!(matches!(platform.engine.download(&deployment, None).await, Err(DownloadError::NoToken)));
    assert!(matches!(
        platform.engine.download(&deployment, Some("1.2.3")).await,
        Err(DownloadError::BadToken)
    ));
    assert!(matches!(platform.engine.download("nonsense", Some(&token)).await, Err(DownloadError::Unknown)));
    device.report_progress(10, 0, "v1").await;
    assert!(matches!(
        platform.engine.download(&deployment, Some(&token)).await,
        Err(DownloadError::Finished)
    ));
    platform.clock.pass(Duration::from_secs(24 * 3600 + 1));
    assert!(matches!(platform.engine.download(&deployment, Some(&token)).await, Err(DownloadError::Expired)));
}

#[tokio::test]
async fn a_poisoned_event_is_kept_aside_and_does_not_hold_up_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let platform = Platform::on_disk(dir.path(), settings(), WoundClock::new()).await;
    platform.product().await;
    let (first, second) = (platform.register("sn1").await, platform.register("sn2").await);
    let mut devices = [platform.connect(&first).await, platform.connect(&second).await];
    // A store that cannot take one certain report, whatever is done around it.
    let beside = rusqlite::Connection::open(dir.path().join("otaru.db")).unwrap();
    beside.execute_batch(&refusing("report")).unwrap();

    let mut sent = Vec::new();
    for round in 0..40 {
        let version = if round == 17 { "poison" } else { "v1" };
        let device = &mut devices[round % 2];
        sent.push((round % 2, device.publish(progress_report(&device.id.clone(), 0, 1, version))));
    }
    for (which, ticket) in sent {
        assert_eq!(
            devices[which].next().await,
            Delivery::Acknowledge(ticket),
            "in order, the poisoned one as well"
        );
    }
    let kept = platform.engine.reports(first.as_str(), None, 100).await.unwrap().len()
        + platform.engine.reports(second.as_str(), None, 100).await.unwrap().len();
    assert_eq!(kept, 39);
    let aside = "SELECT count(*) FROM quarantine WHERE instr(payload, CAST('poison' AS BLOB)) AND error LIKE '%poisoned%'";
    assert_eq!(beside.query_row(aside, [], |row| row.get::<_, i64>(0)).unwrap(), 1);
    assert!(platform.engine.health().ready, "one bad event is no outage");
    platform.engine.stop().await;
}

#[tokio::test]
async fn a_heartbeat_that_finds_room_does_not_end_an_outage_while_a_batch_finds_none() {
    let (platform, id, _) = Platform::with_a_device().await;
    let mut device = platform.connect(&id).await;
    device.report_version("v1").await;
    let faults = platform.faults.as_ref().unwrap();
    faults.fail_large_until_healed();
    let ticket = device.publish(progress_report(&id, 0, 1, "v1"));
    platform.until_not_ready().await;
    // While the batch waits, nothing but heartbeats is let through.
    let enough = faults.passed() + 3;
    let beating = async {
        while faults.passed() < enough {
            assert!(!platform.engine.health().ready, "a small row fitted, and the report did not");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), beating).await.expect("heartbeats go on");
    assert!(device.heard_nothing_for(A_MOMENT).await, "acknowledged though it was not stored");
    faults.heal();
    assert_eq!(device.next().await, Delivery::Acknowledge(ticket));
    platform.until_ready().await;
}

#[tokio::test]
async fn a_batch_that_waited_and_is_poisoned_leaves_no_outage_behind() {
    let dir = tempfile::tempdir().unwrap();
    let platform = Platform::on_disk(dir.path(), settings(), WoundClock::new()).await;
    platform.product().await;
    let id = platform.register("sn1").await;
    let mut device = platform.connect(&id).await;
    device.report_version("v1").await;
    let beside = rusqlite::Connection::open(dir.path().join("otaru.db")).unwrap();
    beside.execute_batch(&refusing("report")).unwrap();
    // Somebody holds the lock for so long that the store counts as out.
    beside.execute_batch("BEGIN IMMEDIATE").unwrap();
    let ticket = device.publish(progress_report(&id, 0, 1, "poison"));
    platform.until_not_ready().await;
    beside.execute_batch("COMMIT").unwrap();
    assert_eq!(device.next().await, Delivery::Acknowledge(ticket), "it is kept aside");
    // Nobody says anything more: what remains is the heartbeat.
    platform.until_ready().await;
    platform.engine.stop().await;
}

#[tokio::test]
async fn an_event_that_can_neither_be_stored_nor_kept_aside_is_not_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let platform = Platform::on_disk(dir.path(), settings(), WoundClock::new()).await;
    platform.product().await;
    let id = platform.register("sn1").await;
    let mut device = platform.connect(&id).await;
    device.report_version("v1").await;
    let beside = rusqlite::Connection::open(dir.path().join("otaru.db")).unwrap();
    beside.execute_batch(&(refusing("report") + &refusing("quarantine"))).unwrap();
    device.publish(progress_report(&id, 0, 1, "poison"));
    assert_eq!(
        device.next().await,
        Delivery::Close { reason: "store_unavailable" },
        "and no acknowledgement"
    );
    drop(device);

    // The device sends it again, when there is room for it.
    beside.execute_batch("DROP TRIGGER refuse_report; DROP TRIGGER refuse_quarantine").unwrap();
    let mut device = platform.connect(&id).await;
    device.report(progress_report(&id, 0, 1, "poison")).await;
    assert_eq!(platform.engine.reports(id.as_str(), None, 100).await.unwrap().len(), 2);
    platform.engine.stop().await;
}

/// Has a table refuse rows with a certain word in their payload.
fn refusing(table: &str) -> String {
    format!(
        "CREATE TRIGGER refuse_{table} BEFORE INSERT ON {table} WHEN instr(new.payload, CAST('poison' AS BLOB))
         BEGIN SELECT RAISE(ABORT, 'poisoned'); END;"
    )
}

#[tokio::test]
async fn a_poisoned_deadline_holds_up_no_other_one() {
    let dir = tempfile::tempdir().unwrap();
    let platform = Platform::on_disk(dir.path(), settings(), WoundClock::new()).await;
    platform.product().await;
    let package = platform.package("v2", &[]).await;
    let (good, bad) = (platform.register("good").await, platform.register("bad").await);
    let campaign = platform.campaign(&package, &[&bad, &good], Policy::default()).await;
    platform.until_campaign(&campaign, "running").await;
    let beside = rusqlite::Connection::open(dir.path().join("otaru.db")).unwrap();
    let poison = "CREATE TRIGGER poison BEFORE UPDATE ON deployment
                  WHEN new.device = (SELECT key FROM device WHERE node_id = 'bad')
                  BEGIN SELECT RAISE(ABORT, 'poisoned'); END";
    beside.execute_batch(poison).unwrap();
    platform.clock.pass(Duration::from_secs(25 * 3600 + 1));
    platform.until(&campaign, &good, "timed_out").await;
    assert_eq!(platform.deployment(&campaign, &bad).await.state, "released", "held up, and not lost");
    beside.execute_batch("DROP TRIGGER poison").unwrap();
    platform.clock.pass(Duration::from_secs(11));
    platform.until(&campaign, &bad, "timed_out").await;
    platform.engine.stop().await;
}

#[tokio::test]
async fn an_engine_that_lost_a_part_says_so_and_lets_its_devices_go() {
    let (platform, id, _) = Platform::with_a_device().await;
    let mut device = platform.connect(&id).await;
    device.report_version("v1").await;
    platform.clock.breaks();
    assert_eq!(device.next().await, Delivery::Close { reason: "engine_broken" });
    let part = tokio::time::timeout(Duration::from_secs(20), platform.engine.broken()).await.unwrap();
    let health = platform.engine.health();
    assert!(!health.ready && health.reasons.iter().any(|reason| reason.contains(part)), "{health:?}");
}

#[tokio::test]
async fn stopping_does_not_wait_for_deadlines_that_cannot_be_stored() {
    let (platform, id, package) = Platform::with_a_device().await;
    let mut device = platform.connect(&id).await;
    let campaign = platform.campaign(&package, &[&id], Policy::default()).await;
    device.hears_question().await;
    platform.until(&campaign, &id, "asked").await;
    platform.faults.as_ref().unwrap().fail_until_healed();
    platform.clock.pass(Duration::from_secs(240));
    platform.until_not_ready().await;
    let stopped = tokio::time::timeout(Duration::from_secs(20), platform.engine.stop()).await;
    assert!(stopped.is_ok(), "it never stopped");
}
