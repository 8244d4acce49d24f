//! What `demo` and `simulate` do as an operator would, through the public HTTP API.

use std::sync::Arc;

use anyhow::Context as _;
use hyper::StatusCode;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::client::{ApiClient, Refused};

/// Requests at once while registering: enough for the store to make batches of them.
const REQUESTS_AT_ONCE: usize = 32;

/// A page of deployments; the API's largest.
const PAGE: usize = 1000;

/// One deployment as the API shows it.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) device_id: String,
    pub(crate) state: String,
    pub(crate) outcome: Option<String>,
    pub(crate) result_code: Option<i64>,
    pub(crate) explanation: String,
}

/// What it means that something is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It must not be.
    IsWrong,
    /// It is from an earlier run.
    IsFine,
}

/// Makes many things, several at once and in no order. Returns how many were made.
pub(crate) async fn post_all(
    operator: &ApiClient,
    path: &'static str,
    bodies: impl Iterator<Item = Value>,
    taken: Taken,
) -> anyhow::Result<u64> {
    let at_once = Arc::new(Semaphore::new(REQUESTS_AT_ONCE));
    let mut requests = JoinSet::new();
    for body in bodies {
        let (operator, at_once) = (operator.clone(), Arc::clone(&at_once));
        requests.spawn(async move {
            let _turn = at_once.acquire_owned().await;
            post(&operator, path, &body, taken).await
        });
    }
    let mut made = 0;
    while let Some(answer) = requests.join_next().await {
        made += u64::from(answer??.is_some());
    }
    Ok(made)
}

/// Makes one thing. `None`: it is there already, and that is fine.
pub(crate) async fn post(
    operator: &ApiClient,
    path: &str,
    body: &Value,
    taken: Taken,
) -> anyhow::Result<Option<Value>> {
    match operator.post(path, body).await {
        Ok(made) => Ok(Some(made)),
        Err(error) => match error.downcast_ref::<Refused>() {
            Some(refused) if refused.status == StatusCode::CONFLICT && taken == Taken::IsFine => Ok(None),
            Some(_) | None => Err(error),
        },
    }
}

/// The id of what was made.
pub(crate) fn id(made: &Value, member: &str) -> anyhow::Result<String> {
    made[member].as_str().map(str::to_owned).with_context(|| format!("the answer has no {member}: {made}"))
}

/// The campaign as it is now.
pub(crate) async fn campaign(operator: &ApiClient, campaign_id: &str) -> anyhow::Result<Value> {
    operator.get(&format!("/api/v1/campaigns/{campaign_id}")).await
}

/// All its deployments.
pub(crate) async fn deployments(operator: &ApiClient, campaign_id: &str) -> anyhow::Result<Vec<Shown>> {
    let first = format!("/api/v1/campaigns/{campaign_id}/deployments?limit={PAGE}");
    let mut all = Vec::new();
    let mut path = first.clone();
    loop {
        let page = operator.get(&path).await?;
        let items = page["items"].as_array().context("a list has items")?;
        for item in items {
            all.push(shown(item).with_context(|| format!("a deployment misses a member: {item}"))?);
        }
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("{first}&cursor={cursor}"),
            None => return Ok(all),
        }
    }
}

fn shown(item: &Value) -> Option<Shown> {
    Some(Shown {
        device_id: item["device_id"].as_str()?.to_owned(),
        state: item["state"].as_str()?.to_owned(),
        outcome: item["outcome"].as_str().map(str::to_owned),
        result_code: item["result_code"].as_i64(),
        explanation: item["explanation"].as_str()?.to_owned(),
    })
}
