//! What SQLite intends to do with each statement: the plans of everything that the suite of the stores asks.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use otaru_core::campaign::CampaignState;
use otaru_core::deployment::{Label, OutcomeKind};

use super::{SqliteOptions, Synchronous, batch, fill, lists};
use crate::Store;
use crate::conformance::behaves_like_a_store;
use crate::rows::*;

/// Every statement that was prepared in this process.
static SEEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

pub(super) fn note(sql: &str) {
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    if !seen.contains(sql) {
        seen.insert(sql.to_owned());
    }
}

/// Statements that do walk a table or sort, by a part of their text, each with why it may.
const MAY: &[(&str, &str)] = &[
    ("count(*) FROM deployment t", "`recount` is for tests and for examining a store"),
    ("UPDATE life", "one row"),
    ("FROM project", "one row"),
    ("FROM master_key", "one row"),
    (
        "SELECT count(*) FROM (SELECT",
        "stops at the first ten thousand; where few hold, a reader's time limit ends it",
    ),
    ("FROM space ORDER BY key", "at most nine; they are read whole"),
    ("FROM push_rule", "at most a hundred; the list is given whole"),
    ("FROM push_action", "at most ten for each of them; likewise"),
    (
        "AS holds FROM",
        "a search looks at every device between those found where no index is narrower; a reader's time limit ends it",
    ),
    ("FROM access_key", "there are as many as people made; the list is given whole"),
    ("FROM token", "there are as many as people made; the list is given whole"),
    ("count(*) FROM device_group WHERE project", "at most ten thousand, once for each new group"),
    ("FROM device_group_leaving", "those that were deleted a moment ago"),
    ("json_each", "walks the list that it was given"),
    ("FROM campaign WHERE filled = 0", "the index holds only those"),
    ("FROM campaign_action ORDER BY seq", "what was asked and is not done: at most sixteen rows a campaign"),
    ("FROM campaign_leaving", "those that were deleted a moment ago"),
    ("FROM outbox ORDER BY seq LIMIT", "begins at the front and stops at the limit"),
    (
        "FROM quarantine q LEFT JOIN device d ON d.key = q.device ORDER BY q.seq DESC LIMIT",
        "the same from the end",
    ),
    (
        "WHERE t.device = ?1 ORDER BY t.key DESC LIMIT",
        "sorts one device's deployments: as many as it was in campaigns",
    ),
];

#[tokio::test]
async fn nothing_that_is_asked_walks_a_table_or_sorts() {
    let dir = tempfile::tempdir().unwrap();
    let next = AtomicU32::new(0);
    let options = SqliteOptions { synchronous: Synchronous::Normal, ..SqliteOptions::default() };
    let open = async || {
        let dir = dir.path().join(next.fetch_add(1, Ordering::Relaxed).to_string());
        Store::open_sqlite(&dir, options.clone()).await.unwrap()
    };
    behaves_like_a_store(open).await;
    let store = open().await;
    let seen: Vec<String> = SEEN.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
    assert!(seen.len() > 80, "the suite asks {} things", seen.len());
    let walks = |step: &String| {
        // A row of constants is "scanned", too.
        (step.starts_with("SCAN ") && !step.starts_with("SCAN CONSTANT")) || step.contains("TEMP B-TREE")
    };
    let mut bad = Vec::new();
    for sql in seen {
        let plan = plan_of(&store, &sql).await;
        if plan.iter().any(walks) && !MAY.iter().any(|(part, _)| sql.contains(part)) {
            bad.push(format!("{sql}\n    {}", plan.join("\n    ")));
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n\n"));
}

/// What SQLite intends, one line a step.
async fn plan_of(store: &Store, sql: &str) -> Vec<String> {
    explained(store, format!("EXPLAIN QUERY PLAN {sql}"), 3).await
}

async fn explained(store: &Store, sql: String, column: usize) -> Vec<String> {
    let Store::Sqlite(sqlite) = store else { panic!() };
    let plan = sqlite.read(move |reading| {
        let mut statement = reading.conn.prepare(&sql)?;
        let (mut rows, mut plan) = (statement.raw_query(), Vec::new());
        while let Some(row) = rows.next()? {
            plan.push(row.get::<_, String>(column)?);
        }
        Ok(plan)
    });
    plan.await.unwrap()
}

#[tokio::test]
async fn a_row_is_written_without_tables_for_the_conditions_of_its_indexes() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_sqlite(dir.path(), SqliteOptions::default()).await.unwrap();
    // A list of devices is gathered as a whole, and so is what it returns.
    for (sql, gathered) in [
        (batch::WRITE_STAYING, 0),
        (batch::WRITE_MOVING, 0),
        (batch::APPEND_REPORT, 0),
        (batch::WRITE_STATE, 0),
        (fill::DEPLOY, 2),
    ] {
        let codes = explained(&store, format!("EXPLAIN {sql}"), 1).await;
        let made = codes.iter().filter(|code| *code == "OpenEphemeral").count();
        assert_eq!(made, gathered, "{sql}");
    }
}

#[tokio::test]
async fn every_narrowed_list_is_made_of_ranges_of_its_index() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_sqlite(dir.path(), SqliteOptions::default()).await.unwrap();
    let deployments = |labels: Option<&[Label]>, codes: Option<&[Option<i64>]>| {
        let filter = DeploymentFilter {
            labels: labels.map(|labels| labels.iter().copied().collect()),
            codes: codes.map(|codes| codes.iter().copied().collect()),
        };
        let page = Page { after: Some(DeploymentKey(7)), limit: 50 };
        lists::deployments_question(CampaignKey(1), &filter, page).unwrap().sql
    };
    let campaigns = |product: Option<i64>, states: Option<&[CampaignState]>, name: Option<&str>| {
        let filter = CampaignFilter {
            states: states.map(|states| states.iter().copied().collect()),
            product_id: None,
            name_part: name.map(str::to_owned),
        };
        let page = Page { after: Some(CampaignKey(7)), limit: 50 };
        lists::campaigns_question(product.map(ProductKey), &filter, page).unwrap().sql
    };
    let (failed, released) = (Label::Finished(OutcomeKind::Failed), Label::Released);
    let listed = "deployment USING COVERING INDEX deployment_listed (campaign=? AND label=? AND rowid>?)";
    let by_code = "deployment USING COVERING INDEX deployment_failed (campaign=? AND label=? AND result_code=? AND rowid>?)";
    let by_key = "campaign USING INTEGER PRIMARY KEY (rowid<?)";
    let by_state = "campaign USING COVERING INDEX campaign_by_state (state=? AND rowid<?)";
    let by_state_named = "campaign USING INDEX campaign_by_state (state=? AND rowid<?)";
    let by_product = "campaign USING COVERING INDEX campaign_by_product (product=? AND state=? AND rowid<?)";
    for (sql, ranges, index) in [
        (deployments(None, None), 17, listed),
        (deployments(Some(&[released]), None), 1, listed),
        (deployments(Some(&[released, failed]), None), 2, listed),
        (deployments(None, Some(&[Some(4)])), 7, by_code),
        (deployments(None, Some(&[Some(4), None])), 14, by_code),
        (deployments(Some(&[failed]), Some(&[None])), 1, by_code),
        (deployments(Some(&[failed, released]), Some(&[Some(4), Some(7)])), 2, by_code),
        (campaigns(None, None, None), 1, by_key),
        (campaigns(None, None, Some("x")), 1, by_key),
        (campaigns(None, Some(&[CampaignState::Running]), None), 1, by_state),
        (
            campaigns(None, Some(&[CampaignState::Running, CampaignState::Paused]), Some("x")),
            2,
            by_state_named,
        ),
        (campaigns(Some(1), None, None), 7, by_product),
        (campaigns(Some(1), Some(&[CampaignState::Running]), None), 1, by_product),
    ] {
        let plan = plan_of(&store, &sql).await;
        let found = plan.iter().filter(|step| step.strip_prefix("SEARCH ") == Some(index)).count();
        let shown = plan.join("\n    ");
        assert_eq!(found, ranges, "{sql}\n    {shown}");
        let others =
            plan.iter().filter(|step| step.starts_with("SEARCH") || step.starts_with("SCAN")).count();
        assert_eq!(others, ranges, "{sql}\n    {shown}");
        assert!(!shown.contains("TEMP B-TREE"), "{sql}\n    {shown}");
    }
}
