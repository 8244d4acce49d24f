//! `/devices/{id}/log` and `/devices/{id}/properties`: what a device said beside upgrades.

use axum::extract::State;
use axum::routing::get;
use axum::{Json as Answer, Router};
use otaru_engine::{Engine, LogRow, PropertyRow};
use serde::Serialize;

use super::Id;
use crate::caller::{Look, May};
use crate::problem::Problem;
use crate::query::{Asked, LinePlace, Listed, Part};
use crate::router::Shared;
use crate::times::Moment;

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/devices/{id}/log", get(log)).route("/devices/{id}/properties", get(properties))
}

/// One line of a log.
#[derive(Serialize)]
struct Line {
    received_at: Moment,
    timestamp: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    content: String,
}

/// The last properties of one service.
#[derive(Serialize)]
struct Properties {
    service_id: String,
    properties: serde_json::Value,
    event_time: Option<String>,
    received_at: Moment,
}

impl From<PropertyRow> for Properties {
    fn from(row: PropertyRow) -> Properties {
        Properties {
            service_id: row.service_id,
            properties: serde_json::from_str(&row.properties).unwrap_or(serde_json::Value::Null),
            event_time: row.event_time,
            received_at: Moment(row.received_at),
        }
    }
}

fn line((_, row): (i64, LogRow)) -> Line {
    Line {
        received_at: Moment(row.received_at),
        timestamp: row.timestamp,
        kind: row.kind,
        content: row.content,
    }
}

/// Newest first.
async fn log(
    State(engine): State<Engine>,
    _: May<Look>,
    Id(id): Id,
    asked: Asked,
) -> Result<Answer<Listed<Line>>, Problem> {
    let part: Part<LinePlace> = asked.only(&["cursor", "limit"])?.part()?;
    let page = part.page();
    let lines = engine.log(&id, page.after.map(|place| place.0), page.limit).await?;
    Ok(Answer(part.listed(lines, |(place, _)| LinePlace(*place), line)))
}

/// By service. A device has a few hundred at most, so that they come at once.
async fn properties(
    State(engine): State<Engine>,
    _: May<Look>,
    Id(id): Id,
    asked: Asked,
) -> Result<Answer<serde_json::Value>, Problem> {
    asked.only(&[])?;
    let most = u32::try_from(otaru_proto::PROPERTY_SERVICES_MAX).unwrap_or(u32::MAX);
    let services = engine.properties(&id, None, most).await?;
    let items: Vec<Properties> = services.into_iter().map(Properties::from).collect();
    Ok(Answer(serde_json::json!({ "items": items })))
}
