//! `/campaigns/{id}/results.csv` and `.ndjson`: how a campaign went on each of its devices, streamed.
//!
//! Always true:
//! - Memory holds a chunk of rows, however many there are and however slowly they are taken.
//! - An answer that is whole ends as HTTP says; one that breaks off does not, and its reader notices.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use otaru_engine::{DeploymentFilter, Engine, ResultView, Results, StoreError};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Id;
use super::deployments::{codes, labels};
use crate::caller::{Look, May};
use crate::csv::Rows;
use crate::openapi::words;
use crate::problem::Problem;
use crate::query::Asked;
use crate::router::Shared;
use crate::times::Moment;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(as_csv)).routes(routes!(as_ndjson))
}

/// How a campaign went on one device: its latest run.
#[derive(Serialize, ToSchema)]
#[schema(as = CampaignResult)]
struct Row {
    device_id: String,
    node_id: String,
    #[schema(value_type = words::DeploymentStateWord)]
    state: &'static str,
    #[schema(value_type = Option<words::OutcomeWord>, required)]
    outcome: Option<&'static str>,
    /// Of the last report.
    #[schema(required)]
    result_code: Option<i64>,
    /// What that is called, as in the list of failures.
    result: &'static str,
    /// The device's own words.
    #[schema(required)]
    description: Option<String>,
    /// What the device ran when it was first asked.
    #[schema(required)]
    version_before: Option<String>,
    /// What it was to get, once a package was chosen.
    #[schema(required)]
    target_version: Option<String>,
    /// What it last said it runs.
    #[schema(required)]
    reported_version: Option<String>,
    /// Which try of this run.
    attempt: u32,
    /// An operator's retry adds one.
    run: u32,
    /// The target version was announced after the end.
    late_success: bool,
    /// It is installed though the package was never fetched whole from here.
    unfetched_success: bool,
    created_at: Moment,
    updated_at: Moment,
}

impl From<ResultView> for Row {
    fn from(view: ResultView) -> Row {
        let ResultView { node_id, deployment, says } = view;
        Row {
            device_id: deployment.device_id,
            node_id,
            state: deployment.state,
            outcome: deployment.outcome,
            result_code: deployment.result_code,
            result: says.name,
            description: deployment.description,
            version_before: deployment.version_before,
            target_version: deployment.target_version,
            reported_version: deployment.reported_version,
            attempt: deployment.attempt,
            run: deployment.run,
            late_success: deployment.late_success,
            unfetched_success: deployment.unfetched_success,
            created_at: Moment(deployment.created_at),
            updated_at: Moment(deployment.updated_at),
        }
    }
}

/// The names of the columns: those of the members.
const COLUMNS: [&str; 16] = [
    "device_id",
    "node_id",
    "state",
    "outcome",
    "result_code",
    "result",
    "description",
    "version_before",
    "target_version",
    "reported_version",
    "attempt",
    "run",
    "late_success",
    "unfetched_success",
    "created_at",
    "updated_at",
];

/// Streams a campaign's results as CSV: a row for the latest run of each device.
///
/// RFC 4180, with a header. A cell with somebody else's text that a spreadsheet would compute has an apostrophe before it.
/// An answer that ends without the last chunk broke off and has to be asked for again. A device that an operator retries
/// meanwhile may come twice; the later row is the newer one.
#[utoipa::path(
    get, path = "/campaigns/{id}/results.csv", tag = "campaigns", operation_id = "get_results_csv",
    security(("token" = ["viewer"])),
    params(
        ("id" = String, Path, description = "A `campaign_id`"),
        ("state" = Option<Vec<words::DeploymentStateWord>>, Query, description = "As in the list of deployments"),
        ("outcome" = Option<Vec<words::OutcomeWord>>, Query, description = "As in the list of deployments"),
        ("code" = Option<Vec<String>>, Query, description = "As in the list of deployments"),
    ),
    responses((status = 200, description = "The rows", content_type = "text/csv", body = String)),
    extensions(("x-codes" = json!(["not_found"]))),
)]
async fn as_csv(
    State(engine): State<Engine>,
    _: May<Look>,
    Id(id): Id,
    asked: Asked,
) -> Result<Response, Problem> {
    let results = results(&engine, &id, asked).await?;
    let mut header = Rows::new();
    COLUMNS.iter().for_each(|name| header.cell(name));
    header.end_row();
    streamed(results, header.into_bytes(), csv_rows, "csv", "text/csv; charset=utf-8; header=present").await
}

/// Streams a campaign's results as NDJSON: a line for the latest run of each device.
///
/// An answer that ends without the last chunk broke off and has to be asked for again. A device that an operator retries
/// meanwhile may come twice; the later line is the newer one.
#[utoipa::path(
    get, path = "/campaigns/{id}/results.ndjson", tag = "campaigns", operation_id = "get_results_ndjson",
    security(("token" = ["viewer"])),
    params(
        ("id" = String, Path, description = "A `campaign_id`"),
        ("state" = Option<Vec<words::DeploymentStateWord>>, Query, description = "As in the list of deployments"),
        ("outcome" = Option<Vec<words::OutcomeWord>>, Query, description = "As in the list of deployments"),
        ("code" = Option<Vec<String>>, Query, description = "As in the list of deployments"),
    ),
    responses((status = 200, description = "The lines", content_type = "application/x-ndjson", body = Row)),
    extensions(("x-codes" = json!(["not_found"]))),
)]
async fn as_ndjson(
    State(engine): State<Engine>,
    _: May<Look>,
    Id(id): Id,
    asked: Asked,
) -> Result<Response, Problem> {
    let results = results(&engine, &id, asked).await?;
    streamed(results, Vec::new(), ndjson_lines, "ndjson", "application/x-ndjson").await
}

async fn results(engine: &Engine, id: &str, asked: Asked) -> Result<Results, Problem> {
    let asked = asked.only(&["state", "outcome", "code"])?;
    let filter = DeploymentFilter { labels: labels(&asked)?, codes: codes(&asked)? };
    Ok(engine.results(id, filter).await?)
}

/// The answer. Its first rows are read before it begins, so that what cannot be read at all is a refusal like any other.
async fn streamed(
    mut results: Results,
    mut first: Vec<u8>,
    written: fn(Vec<ResultView>) -> Vec<u8>,
    kind: &str,
    content_type: &'static str,
) -> Result<Response, Problem> {
    let name = format!("attachment; filename=\"results-{}.{kind}\"", results.campaign_id());
    let name = HeaderValue::try_from(name).expect("a campaign's id is plain text");
    first.extend(written(results.next().await?));
    let rest = stream::unfold(Some((Some(first), results)), move |state| async move {
        let (first, mut results) = state?;
        if let Some(first) = first {
            return Some((Ok(Bytes::from(first)), Some((None, results))));
        }
        match results.next().await {
            Ok(rows) if rows.is_empty() => None,
            Ok(rows) => Some((Ok(Bytes::from(written(rows))), Some((None, results)))),
            Err(error) => {
                tracing::warn!(campaign_id = results.campaign_id(), %error, "results broke off");
                Some((Err::<Bytes, StoreError>(error), None))
            }
        }
    });
    let headers =
        [(header::CONTENT_TYPE, HeaderValue::from_static(content_type)), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, Body::from_stream(rest)).into_response())
}

fn csv_rows(results: Vec<ResultView>) -> Vec<u8> {
    let mut rows = Rows::new();
    for row in results.into_iter().map(Row::from) {
        rows.foreign(Some(&row.device_id));
        rows.foreign(Some(&row.node_id));
        rows.cell(row.state);
        rows.cell(row.outcome.unwrap_or_default());
        rows.cell(&row.result_code.map(|code| code.to_string()).unwrap_or_default());
        rows.cell(row.result);
        rows.foreign(row.description.as_deref());
        rows.foreign(row.version_before.as_deref());
        rows.foreign(row.target_version.as_deref());
        rows.foreign(row.reported_version.as_deref());
        rows.cell(&row.attempt.to_string());
        rows.cell(&row.run.to_string());
        rows.cell(if row.late_success { "true" } else { "false" });
        rows.cell(if row.unfetched_success { "true" } else { "false" });
        rows.cell(&row.created_at.text());
        rows.cell(&row.updated_at.text());
        rows.end_row();
    }
    rows.into_bytes()
}

fn ndjson_lines(results: Vec<ResultView>) -> Vec<u8> {
    let mut lines = Vec::new();
    for row in results.into_iter().map(Row::from) {
        serde_json::to_writer(&mut lines, &row).expect("a row is JSON, and memory takes it");
        lines.push(b'\n');
    }
    lines
}
