//! `/artifacts`: immutable bytes, known by their SHA-256.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::routing::{get, post};
use axum::{Json as Answer, Router, body::Body};
use otaru_engine::{ArtifactRow, Declared, Engine};
use serde::Serialize;

use super::Id;
use crate::body;
use crate::caller::{Change, Look, May};
use crate::problem::Problem;
use crate::router::Shared;
use crate::times::Moment;

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/artifacts", post(upload)).route("/artifacts/{id}", get(one))
}

#[derive(Serialize)]
struct ArtifactView {
    artifact_id: String,
    size_bytes: u64,
    created_at: Moment,
}

impl From<ArtifactRow> for ArtifactView {
    fn from(row: ArtifactRow) -> ArtifactView {
        ArtifactView {
            artifact_id: row.artifact_id,
            size_bytes: row.size_bytes,
            created_at: Moment(row.created_at),
        }
    }
}

/// Keeps the body. 201 for new bytes, 200 for bytes that were kept already: an upload can be repeated.
async fn upload(
    State(engine): State<Engine>,
    may: May<Change>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Answer<ArtifactView>), Problem> {
    let (row, new) = engine.ingest(&may.by, declared(&headers), body::parts(body)).await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Answer(row.into())))
}

/// What the sender says about the body before it comes.
fn declared(headers: &HeaderMap) -> Declared {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).trim().to_owned();
    let sha256 = headers.get("x-sha256").map(text);
    // A length that is no number never gets here: the connection ends with 400.
    let size_bytes = headers.get(header::CONTENT_LENGTH).and_then(|value| text(value).parse().ok());
    Declared { sha256, size_bytes }
}

async fn one(
    State(engine): State<Engine>,
    _: May<Look>,
    Id(id): Id,
) -> Result<Answer<ArtifactView>, Problem> {
    match engine.artifact(&id).await? {
        Some(row) => Ok(Answer(row.into())),
        None => Err(Problem::not_found("artifact", &id)),
    }
}
