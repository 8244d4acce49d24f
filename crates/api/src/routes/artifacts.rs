//! `/artifacts`: immutable bytes, known by their SHA-256.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::{Json as Answer, body::Body};
use otaru_engine::{ArtifactRow, Declared, Engine};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Id;
use crate::body;
use crate::caller::{Change, Look, May};
use crate::openapi::Bytes;
use crate::problem::Problem;
use crate::router::Shared;
use crate::times::Moment;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(upload)).routes(routes!(one, delete))
}

#[derive(Serialize, ToSchema)]
#[schema(as = Artifact)]
struct ArtifactView {
    /// The SHA-256 of the bytes.
    #[schema(pattern = "^[0-9a-f]{64}$")]
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

/// Keeps the body as an artifact.
///
/// An upload can be repeated: the same bytes have the same id.
#[utoipa::path(
    post, path = "/artifacts", tag = "artifacts", operation_id = "upload_artifact",
    security(("token" = ["operator"])),
    params(("X-Sha256" = Option<String>, Header, description = "SHA-256 of the body as 64 hex digits; what hashes to something else is not kept", pattern = "^[0-9A-Fa-f]{64}$")),
    request_body(content = inline(Bytes), content_type = "application/octet-stream", description = "The file, at least one byte"),
    responses(
        (status = 201, description = "New, and kept", body = ArtifactView),
        (status = 200, description = "These bytes were kept already", body = ArtifactView),
    ),
    extensions(("x-codes" = json!(["invalid", "upload_incomplete", "digest_mismatch", "too_large", "disk_full"]))),
)]
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

/// Deletes an artifact that no package has.
///
/// Downloads of it that have begun go on.
#[utoipa::path(
    delete, path = "/artifacts/{id}", tag = "artifacts", operation_id = "delete_artifact",
    security(("token" = ["operator"])),
    params(("id" = String, Path, description = "An `artifact_id`")),
    responses((status = 204, description = "It is gone")),
    extensions(("x-codes" = json!(["not_found", "in_use"]))),
)]
async fn delete(State(engine): State<Engine>, may: May<Change>, Id(id): Id) -> Result<StatusCode, Problem> {
    if engine.delete_artifact(&may.by, &id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::not_found("artifact", &id))
    }
}

/// Shows an artifact.
#[utoipa::path(
    get, path = "/artifacts/{id}", tag = "artifacts", operation_id = "get_artifact",
    security(("token" = ["viewer"])),
    params(("id" = String, Path, description = "An `artifact_id`")),
    responses((status = 200, description = "The artifact", body = ArtifactView)),
    extensions(("x-codes" = json!(["not_found"]))),
)]
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
