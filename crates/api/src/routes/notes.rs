//! `/devices/{id}/log` and `/devices/{id}/properties`: what a device said beside upgrades.

use axum::Json as Answer;
use axum::extract::State;
use otaru_engine::{Engine, LogRow, PropertyRow};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Id;
use crate::caller::{Look, May};
use crate::openapi::Pages;
use crate::problem::Problem;
use crate::query::{Asked, LinePlace, Listed, Part};
use crate::router::Shared;
use crate::times::Moment;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(log)).routes(routes!(properties))
}

/// One line of a log.
#[derive(Serialize, ToSchema)]
#[schema(as = LogLine)]
struct Line {
    received_at: Moment,
    /// As the device sent it.
    #[schema(required)]
    timestamp: Option<String>,
    #[serde(rename = "type")]
    #[schema(required)]
    kind: Option<String>,
    content: String,
}

/// The last properties of one service.
#[derive(Serialize, ToSchema)]
#[schema(as = ServiceProperties)]
struct Properties {
    service_id: String,
    properties: serde_json::Value,
    /// As the device sent it.
    #[schema(required)]
    event_time: Option<String>,
    received_at: Moment,
}

/// The properties of every service of a device.
#[derive(Serialize, ToSchema)]
struct DeviceProperties {
    items: Vec<Properties>,
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

/// Lists the lines of a device's log, the newest first.
#[utoipa::path(
    get, path = "/devices/{id}/log", tag = "devices", operation_id = "list_device_log",
    security(("token" = ["viewer"])),
    params(("id" = String, Path, description = "A `device_id`"), Pages),
    responses((status = 200, description = "A page", body = Listed<Line>)),
    extensions(("x-codes" = json!(["not_found"]))),
)]
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

/// Shows the last properties of a device, by service.
///
/// A device has a few hundred at most, so that they come at once.
#[utoipa::path(
    get, path = "/devices/{id}/properties", tag = "devices", operation_id = "get_device_properties",
    security(("token" = ["viewer"])),
    params(("id" = String, Path, description = "A `device_id`")),
    responses((status = 200, description = "All of them", body = DeviceProperties)),
    extensions(("x-codes" = json!(["not_found", "invalid_parameter"]))),
)]
async fn properties(
    State(engine): State<Engine>,
    _: May<Look>,
    Id(id): Id,
    asked: Asked,
) -> Result<Answer<DeviceProperties>, Problem> {
    asked.only(&[])?;
    let most = u32::try_from(otaru_proto::PROPERTY_SERVICES_MAX).unwrap_or(u32::MAX);
    let services = engine.properties(&id, None, most).await?;
    Ok(Answer(DeviceProperties { items: services.into_iter().map(Properties::from).collect() }))
}
