//! What only a store on a disk has to do: come back, share its directory with nobody, outlive a full disk.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use otaru_core::deployment::Deployment;
use otaru_core::{ServiceTime, WallTime};
use otaru_proto::DeviceId;

use super::*;
use crate::conformance::behaves_like_a_store;
use crate::*;

const NOW: WallTime = WallTime(1_700_000_000_000);

#[tokio::test]
async fn sqlite_behaves_like_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let next = AtomicU32::new(0);
    // Synchronous as in trying things out: the suite is about behaviour, and FULL would be most of its time.
    let options = SqliteOptions { synchronous: Synchronous::Normal, ..SqliteOptions::default() };
    behaves_like_a_store(async || {
        let dir = dir.path().join(next.fetch_add(1, Ordering::Relaxed).to_string());
        Store::open_sqlite(&dir, options.clone()).await.unwrap()
    })
    .await;
}

#[tokio::test]
async fn opening_it_again_finds_everything() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let actor = boot(&store).await;
    let devices = register(&store, &actor, 3).await;
    let campaign = campaign(&store, &actor, "c1").await;
    store.fill_campaign(campaign, 2, NOW, &released(), &[]).await.unwrap();
    store.heartbeat(ServiceTime(77), NOW).await.unwrap();
    let changes = Changes { reports: vec![report(devices[0])], ..Changes::default() };
    store.transact(NOW, Wanted::default(), |_| (changes, ())).await.unwrap();
    let before = everything(&store, campaign, &devices).await;
    drop(store);

    assert!(!dir.path().join("otaru.db-wal").exists(), "closing leaves one file");
    let store = open(dir.path()).await;
    assert_eq!(everything(&store, campaign, &devices).await, before);
    let boot = store.boot(NOW).await.unwrap();
    assert_eq!((boot.number, boot.service_time, boot.last_seen), (2, ServiceTime(77), Some(NOW)));
    assert_eq!(boot.project.key, actor.project);
    let changes = Changes { reports: vec![report(devices[0])], ..Changes::default() };
    store.transact(NOW, Wanted::default(), |_| (changes, ())).await.unwrap();
    assert_eq!(store.reports(devices[0], None, 10).await.unwrap().len(), 2, "the history goes on");
}

#[tokio::test]
async fn after_a_kill_the_filling_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let actor = boot(&store).await;
    let mut expected = register(&store, &actor, 25).await;
    let campaign = campaign(&store, &actor, "c1").await;
    let mut walked = Vec::new();
    walked
        .extend(store.fill_campaign(campaign, 10, NOW, &released(), &expected[20..22]).await.unwrap().added);

    // The files as they are while the process runs are what is there after kill -9.
    let after_kill = tempfile::tempdir().unwrap();
    for file in ["otaru.db", "otaru.db-wal"] {
        std::fs::copy(dir.path().join(file), after_kill.path().join(file)).unwrap();
    }
    let store = open(after_kill.path()).await;
    assert_eq!(store.unfilled_campaigns().await.unwrap(), [campaign]);
    loop {
        let filled = store.fill_campaign(campaign, 10, NOW, &released(), &[]).await.unwrap();
        walked.extend(filled.added);
        if filled.done {
            break;
        }
    }
    walked.sort();
    expected.sort();
    assert_eq!(walked, expected, "each device once");
    let (_, counts) = store.campaign_by_key(campaign).await.unwrap().unwrap();
    assert_eq!((counts.total(), &counts), (25, &store.recount(campaign).await.unwrap()));
}

#[tokio::test]
async fn a_directory_is_open_once() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let store = open(&data).await;
    let refused = Store::open_sqlite(&data, SqliteOptions::default()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Locked { .. }), "{refused}");
    assert_eq!(
        refused.to_string(),
        format!("{} is in use by another otaru; stop that one first, or use its API", data.display())
    );
    let clone = store.clone();
    drop(store);
    assert!(Store::open_sqlite(&data, SqliteOptions::default()).await.is_err(), "a clone keeps it open");
    drop(clone);
    open(&data).await;
}

#[tokio::test]
async fn only_its_owner_may_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("a/b");
    let store = open(&data).await;
    boot(&store).await;
    for (path, expected) in [("", 0o700), ("otaru.db", 0o600), ("otaru.db-wal", 0o600), ("otaru.lock", 0o600)]
    {
        let mode = std::fs::metadata(data.join(path)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, expected, "{path}");
    }
}

#[tokio::test]
async fn a_store_of_a_newer_release_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).await);
    let file = rusqlite::Connection::open(dir.path().join("otaru.db")).unwrap();
    let ours: i64 =
        file.query_row("SELECT user_version FROM pragma_user_version", [], |row| row.get(0)).unwrap();
    file.pragma_update(None, "user_version", 99).unwrap();
    let refused = Store::open_sqlite(dir.path(), SqliteOptions::default()).await.unwrap_err();
    assert!(matches!(refused, StoreError::TooNew { found: 99, .. }), "{refused}");
    file.pragma_update(None, "user_version", ours).unwrap();
    open(dir.path()).await;
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let refused = Store::open_sqlite(&file.join("data"), SqliteOptions::default()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)) && refused.to_string().contains("file/data"));
}

#[tokio::test]
async fn a_small_write_that_fails_does_not_disturb_those_that_share_its_commit() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let actor = boot(&store).await;
    // While this one holds the writer, the others gather into one group.
    let slow = store.transact(NOW, Wanted::default(), |_| {
        std::thread::sleep(Duration::from_millis(200));
        (Changes::default(), ())
    });
    let others = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        tokio::join!(
            store.create_product(&actor, "p1", "", NOW),
            store.create_product(&actor, "p1", "", NOW),
            store.create_product(&actor, "p2", "", NOW),
            store.transact(NOW, Wanted::default(), |_| -> (Changes, ()) { panic!("on purpose") }),
            store.create_product(&actor, "p3", "", NOW),
            store.create_product(&actor, "p2", "", NOW),
        )
    };
    let (slow, (p1, p1_again, p2, panicked, p3, p2_again)) = tokio::join!(slow, others);
    slow.unwrap();
    assert!(
        matches!(p1_again, Err(StoreError::Exists { .. }))
            && matches!(p2_again, Err(StoreError::Exists { .. }))
    );
    assert!(matches!(panicked, Err(StoreError::DecisionPanicked(_))));
    let stored = store.products(Page { after: None, limit: 10 }).await.unwrap();
    assert_eq!(stored, [p1.unwrap(), p2.unwrap(), p3.unwrap()]);
    let log = store.audit(Page { after: None, limit: 10 }).await.unwrap();
    assert_eq!(log.len(), 3, "what failed left no line");
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let actor = boot(&store).await;
    let devices = register(&store, &actor, 50).await;
    let campaign = campaign(&store, &actor, "c1").await;
    limit_pages(&store).await;
    let refused = store.fill_campaign(campaign, 50, NOW, &large(), &[]).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the store is not available: the disk is full; free some space and it goes on by itself"
    );
    assert_eq!(refused.fault(), Fault::Unavailable);
    // The limit was the connection's, and the connection is opened anew: as if there were space again.
    assert_eq!(store.recount(campaign).await.unwrap().total(), 0, "nothing of it stayed");
    let filled = store.fill_campaign(campaign, 50, NOW, &large(), &[]).await.unwrap();
    assert_eq!(filled.added, devices);
    let (_, counts) = store.campaign_by_key(campaign).await.unwrap().unwrap();
    assert_eq!(counts, store.recount(campaign).await.unwrap());
}

#[tokio::test]
async fn those_who_share_a_commit_that_fails_are_all_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let actor = boot(&store).await;
    register(&store, &actor, 50).await;
    let campaign = campaign(&store, &actor, "c1").await;
    limit_pages(&store).await;
    let slow = store.transact(NOW, Wanted::default(), |_| {
        std::thread::sleep(Duration::from_millis(200));
        (Changes::default(), ())
    });
    let large = large();
    let others = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        tokio::join!(
            store.heartbeat(ServiceTime(5), NOW),
            store.fill_campaign(campaign, 50, NOW, &large, &[]),
            store.heartbeat(ServiceTime(6), NOW),
        )
    };
    let (slow, (first, filled, second)) = tokio::join!(slow, others);
    slow.unwrap();
    for refused in [first, filled.map(|_| ()), second] {
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    }
    assert_eq!(store.boot(NOW).await.unwrap().service_time, ServiceTime(0));
}

#[tokio::test]
async fn the_log_is_started_over_and_stays_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let limit = 1 << 20;
    let options = SqliteOptions {
        synchronous: Synchronous::Normal,
        wal_limit_bytes: limit,
        ..SqliteOptions::default()
    };
    let store = Store::open_sqlite(dir.path(), options).await.unwrap();
    let actor = boot(&store).await;
    let devices = register(&store, &actor, 1).await;
    let log = dir.path().join("otaru.db-wal");
    let mut largest = 0;
    for _ in 0..2_000 {
        let reports = vec![NewReport { payload: vec![0; 20_000].into(), ..report(devices[0]) }];
        let changes = Changes { reports, ..Changes::default() };
        store.transact(NOW, Wanted::default(), |_| (changes, ())).await.unwrap();
        largest = largest.max(std::fs::metadata(&log).unwrap().len());
    }
    // Between two tries the log grows on, and a slow disk may hold up a try; it does not grow with what is written.
    assert!(largest < 5 * limit, "40 MB were written, and the log was {largest} bytes long");
}

#[tokio::test]
async fn a_read_that_takes_too_long_is_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let options =
        SqliteOptions { readers: 1, read_limit: Duration::from_millis(50), ..SqliteOptions::default() };
    let store = Store::open_sqlite(dir.path(), options).await.unwrap();
    let actor = boot(&store).await;
    let Store::Sqlite(sqlite) = &store else { panic!() };
    let endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
    let stopped =
        sqlite.read(move |reading| Ok(reading.conn.query_row(endless, [], |row| row.get::<_, i64>(0))?));
    assert_eq!(
        stopped.await.unwrap_err().to_string(),
        "the store is not available: a read was stopped after 50 ms; ask for less at once"
    );
    store.create_product(&actor, "p", "", NOW).await.unwrap();
    assert!(store.product("p").await.unwrap().is_some(), "the thread goes on, and sees what is new");
}

#[tokio::test]
async fn a_write_whose_caller_left_is_still_done() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let actor = boot(&store).await;
    {
        let mut leaving = Box::pin(store.create_product(&actor, "p", "", NOW));
        let _ = futures_poll_once(leaving.as_mut());
    }
    drop(store);
    assert!(open(dir.path()).await.product("p").await.unwrap().is_some());
}

#[tokio::test]
async fn what_is_written_with_every_report_touches_no_index() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    // Beside the state there is what is due to be told, with its index: written by a trigger, when a version has changed.
    for (sql, tables) in [(batch::WRITE_STAYING, 1), (batch::WRITE_STATE, 3), (batch::APPEND_REPORT, 1)] {
        let program = explained(&store, &format!("EXPLAIN {sql}"), 1).await;
        assert_eq!(program.iter().filter(|step| *step == "OpenWrite").count(), tables, "no index: {sql}");
    }
}

#[tokio::test]
async fn every_hot_question_has_its_index() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let cases = [
        (batch::UNFINISHED.to_owned(), "deployment_unfinished"),
        (batch::DUE.to_owned(), "deployment_due"),
        (deployments::NEXT_WAKE.to_owned(), "deployment_due"),
        (actions::LATEST_OF.to_owned(), "deployment_once"),
        (deployments::of_gone(), "deployment_listed"),
        (campaigns::START_DUE.to_owned(), "campaign_scheduled"),
        (campaigns::NEXT_START.to_owned(), "campaign_scheduled"),
        (devices::KEY_OF.to_owned(), "device_by_id"),
        (batch::SILENCE.to_owned(), "outbox_by_session"),
        (devices::changes("joined", devices::CAME), "device_joined"),
        (devices::changes("departed", devices::WENT), "device_departed"),
        (chosen::EVERY.to_owned(), "INTEGER PRIMARY KEY (rowid>?)"),
        (chosen::OF_PRODUCT.to_owned(), "device_by_product (product=? AND rowid>?)"),
        (chosen::OF_GATEWAY.to_owned(), "device_by_gateway (gateway=? AND rowid>?)"),
        (chosen::WITH_TAG.to_owned(), "PRIMARY KEY (tag=? AND value=? AND device>?)"),
    ];
    for (sql, index) in cases {
        let plan = explained(&store, &format!("EXPLAIN QUERY PLAN {sql}"), 3).await.join("; ");
        assert!(plan.contains(index), "{sql}\n{plan}");
        assert!(!plan.contains("TEMP B-TREE"), "nothing is sorted: {sql}\n{plan}");
    }
}

/// One column of what SQLite says about a statement.
async fn explained(store: &Store, sql: &str, column: usize) -> Vec<String> {
    let (Store::Sqlite(sqlite), sql) = (store, sql.to_owned()) else { panic!() };
    let explained = sqlite.read(move |reading| {
        let mut statement = reading.conn.prepare(&sql)?;
        let (mut rows, mut steps) = (statement.raw_query(), Vec::new());
        while let Some(row) = rows.next()? {
            steps.push(row.get(column)?);
        }
        Ok(steps)
    });
    explained.await.unwrap()
}

#[tokio::test]
async fn a_thousand_writers_at_once_are_all_answered() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let actor = boot(&store).await;
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..1_000 {
        let (store, actor) = (store.clone(), actor.clone());
        writers.spawn(async move { store.create_product(&actor, &format!("p{number}"), "", NOW).await });
    }
    while let Some(made) = writers.join_next().await {
        let made = made.unwrap().unwrap();
        assert_eq!(
            store.product(&made.product_id).await.unwrap(),
            Some(made),
            "what is answered can be read"
        );
    }
}

async fn open(dir: &Path) -> Store {
    Store::open_sqlite(dir, SqliteOptions::default()).await.unwrap()
}

async fn boot(store: &Store) -> Actor {
    Actor { name: "tester".to_owned(), project: store.boot(NOW).await.unwrap().project.key }
}

async fn register(store: &Store, actor: &Actor, count: usize) -> Vec<DeviceKey> {
    store.create_product(actor, "product", "", NOW).await.unwrap();
    let mut keys = Vec::new();
    for number in 0..count {
        let device = NewDevice {
            device_id: DeviceId::parse(&format!("device{number}")).unwrap(),
            node_id: format!("node{number}"),
            product_id: "product".to_owned(),
            gateway_id: None,
            name: None,
            tags: std::collections::BTreeMap::new(),
            auth: crate::Auth::Secret,
            sealed_secret: None,
            fingerprint: None,
        };
        keys.push(store.create_device(actor, device, NOW).await.unwrap().row.key);
    }
    keys
}

async fn campaign(store: &Store, actor: &Actor, campaign_id: &str) -> CampaignKey {
    let new = NewCampaign {
        campaign_id: campaign_id.to_owned(),
        name: String::new(),
        started: true,
        start_at: None,
        product_id: "product".to_owned(),
        packages: Vec::new(),
        policy: otaru_core::campaign::Policy::default(),
        targets: Targets::Product,
        ext_info: None,
    };
    store.create_campaign(actor, new, NOW).await.unwrap().key
}

/// Lets the file grow by a few pages, and then be full.
async fn limit_pages(store: &Store) {
    let Store::Sqlite(sqlite) = store else { panic!() };
    let limit = sqlite.write(Weight::Small, |tx| {
        let pages: i64 = tx.conn.query_row("PRAGMA page_count", [], |row| row.get(0))?;
        Ok(tx.conn.query_row(&format!("PRAGMA max_page_count = {}", pages + 4), [], |_| Ok(()))?)
    });
    limit.await.unwrap();
}

fn released() -> Deployment {
    Deployment::released(ServiceTime(9))
}

/// A deployment that fills a page.
fn large() -> Deployment {
    Deployment { description: Some("x".repeat(4_000)), ..released() }
}

fn report(device: DeviceKey) -> NewReport {
    NewReport {
        device,
        deployment: None,
        received_at: NOW,
        payload: bytes::Bytes::from_static(b"{}"),
        reading: "{}".to_owned(),
    }
}

async fn everything(store: &Store, campaign: CampaignKey, devices: &[DeviceKey]) -> String {
    let mut text = String::new();
    for device in devices {
        text.push_str(&format!("{:?}\n", store.device_by_key(*device).await.unwrap()));
        text.push_str(&format!("{:?}\n", store.deployments_of_device(*device, 10).await.unwrap()));
        text.push_str(&format!("{:?}\n", store.reports(*device, None, 10).await.unwrap()));
    }
    text.push_str(&format!("{:?}\n", store.campaign_by_key(campaign).await.unwrap()));
    text.push_str(&format!("{:?}\n", store.audit(Page { after: None, limit: 100 }).await.unwrap()));
    text
}

/// Begins an operation without waiting for it.
fn futures_poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
    future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}
