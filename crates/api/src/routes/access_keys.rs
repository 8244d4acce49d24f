//! `/access-keys`: with which applications sign their requests. For admins.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use otaru_engine::{AccessKeyRow, Engine, NewAccessKey as Made, Role};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Id;
use crate::body::Json;
use crate::caller::{Administer, May};
use crate::openapi::words;
use crate::problem::Problem;
use crate::query::{Asked, Listed};
use crate::router::Shared;
use crate::times::Moment;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(list, create)).routes(routes!(revoke))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewAccessKey {
    /// Which application it is for, for people; blanks around it are taken away. Recorded with what it changes.
    #[schema(min_length = 1, max_length = 256)]
    name: String,
    #[schema(value_type = words::RoleWord)]
    role: Role,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AccessKey)]
struct AccessKeyView {
    /// What requests name.
    access_key: String,
    name: String,
    #[schema(value_type = words::RoleWord)]
    role: Role,
    created_at: Moment,
}

impl From<AccessKeyRow> for AccessKeyView {
    fn from(row: AccessKeyRow) -> AccessKeyView {
        AccessKeyView {
            access_key: row.access_key,
            name: row.name,
            role: row.role,
            created_at: Moment(row.created_at),
        }
    }
}

/// An access key just made: the only answer that ever shows its secret.
#[derive(Serialize, ToSchema)]
struct MadeAccessKey {
    #[serde(flatten)]
    row: AccessKeyView,
    /// What signs; shown once.
    secret_key: String,
    /// Of the project in the paths of the application API.
    project_id: String,
}

/// Makes an access key. Its secret is shown in this answer only.
#[utoipa::path(
    post, path = "/access-keys", tag = "access keys", operation_id = "create_access_key",
    security(("token" = ["admin"])),
    request_body = NewAccessKey,
    responses((status = 201, description = "Made", body = MadeAccessKey)),
    extensions(("x-codes" = json!(["invalid"]))),
)]
async fn create(
    State(engine): State<Engine>,
    may: May<Administer>,
    Json(asked): Json<NewAccessKey>,
) -> Result<(StatusCode, Answer<MadeAccessKey>), Problem> {
    let Made { row, secret, project_id } = engine.create_access_key(&may.by, &asked.name, asked.role).await?;
    Ok((StatusCode::CREATED, Answer(MadeAccessKey { row: row.into(), secret_key: secret, project_id })))
}

/// Lists access keys, without their secrets.
#[utoipa::path(
    get, path = "/access-keys", tag = "access keys", operation_id = "list_access_keys",
    security(("token" = ["admin"])),
    responses((status = 200, description = "All of them", body = Listed<AccessKeyView>)),
    extensions(("x-codes" = json!(["invalid_parameter"]))),
)]
async fn list(
    State(engine): State<Engine>,
    _: May<Administer>,
    asked: Asked,
) -> Result<Answer<Listed<AccessKeyView>>, Problem> {
    asked.only(&[])?;
    let rows = engine.access_keys().await?;
    Ok(Answer(Listed::whole(rows.into_iter().map(AccessKeyView::from).collect())))
}

/// Makes an access key worthless.
#[utoipa::path(
    delete, path = "/access-keys/{id}", tag = "access keys", operation_id = "revoke_access_key",
    security(("token" = ["admin"])),
    params(("id" = String, Path, description = "An `access_key`")),
    responses((status = 204, description = "What it signs is refused from now on")),
    extensions(("x-codes" = json!(["not_found"]))),
)]
async fn revoke(
    State(engine): State<Engine>,
    may: May<Administer>,
    Id(id): Id,
) -> Result<StatusCode, Problem> {
    engine.revoke_access_key(&may.by, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
