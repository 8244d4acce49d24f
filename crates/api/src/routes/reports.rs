//! `/devices/{id}/reports`: what a device said, word for word, and what we made of it. Newest first.

use axum::extract::State;
use axum::routing::get;
use axum::{Json as Answer, Router};
use otaru_engine::{Engine, ReportSeq, ReportView};
use serde::Serialize;

use super::Id;
use crate::caller::{Look, May};
use crate::problem::Problem;
use crate::query::{Asked, Listed, Part};
use crate::router::Shared;
use crate::times::Moment;

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/devices/{id}/reports", get(list))
}

/// One report.
#[derive(Serialize)]
pub(super) struct Report {
    received_at: Moment,
    payload: String,
    reading: serde_json::Value,
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
