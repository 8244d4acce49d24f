//! `/devices/{id}/reports`: what a device said, word for word, and what we made of it. Newest first.

use axum::Json as Answer;
use axum::extract::State;
use otaru_engine::{Engine, ReportSeq, ReportView};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Id;
use crate::caller::{Look, May};
use crate::openapi::Pages;
use crate::problem::Problem;
use crate::query::{Asked, Listed, Part};
use crate::router::Shared;
use crate::times::Moment;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(list))
}

/// One report.
#[derive(Serialize, ToSchema)]
pub(super) struct Report {
    received_at: Moment,
    /// As received.
    payload: String,
    /// What we made of it.
    reading: serde_json::Value,
    #[schema(required)]
    campaign_id: Option<String>,
}

impl From<ReportView> for Report {
    fn from(view: ReportView) -> Report {
        Report {
            received_at: Moment(view.received_at),
            payload: view.payload,
            reading: view.reading,
            campaign_id: view.campaign_id,
        }
    }
}

/// Lists what a device said about upgrades, the newest first.
#[utoipa::path(
    get, path = "/devices/{id}/reports", tag = "devices", operation_id = "list_device_reports",
    security(("token" = ["viewer"])),
    params(("id" = String, Path, description = "A `device_id`"), Pages),
    responses((status = 200, description = "A page", body = Listed<Report>)),
    extensions(("x-codes" = json!(["not_found"]))),
)]
async fn list(
    State(engine): State<Engine>,
    _: May<Look>,
    Id(id): Id,
    asked: Asked,
) -> Result<Answer<Listed<Report>>, Problem> {
    let part: Part<ReportSeq> = asked.only(&["cursor", "limit"])?.part()?;
    let page = part.page();
    let reports = engine.reports(&id, page.after, page.limit).await?;
    Ok(Answer(part.listed(reports, |report| report.seq, Report::from)))
}
