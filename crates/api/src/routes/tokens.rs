//! `/tokens`: who may use the API. For admins.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use otaru_engine::{Engine, Role, TokenRow};
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
struct NewToken {
    /// Whose it is, for people; blanks around it are taken away. Recorded with what it changes.
    #[schema(min_length = 1, max_length = 256)]
    name: String,
    #[schema(value_type = words::RoleWord)]
    role: Role,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Token)]
struct TokenView {
    token_id: String,
    name: String,
    #[schema(value_type = words::RoleWord)]
    role: Role,
    created_at: Moment,
}

impl From<TokenRow> for TokenView {
    fn from(row: TokenRow) -> TokenView {
        TokenView {
            token_id: row.token_id,
            name: row.name,
            role: row.role,
            created_at: Moment(row.created_at),
        }
    }
}

/// A token just made: the only answer that ever shows it.
#[derive(Serialize, ToSchema)]
#[schema(as = MadeToken)]
struct Made {
    #[serde(flatten)]
    row: TokenView,
    token: String,
}

/// Makes a token. It is shown in this answer only.
#[utoipa::path(
    post, path = "/tokens", tag = "tokens", operation_id = "create_token",
    security(("token" = ["admin"])),
    request_body = NewToken,
    responses((status = 201, description = "Made", body = Made)),
    extensions(("x-codes" = json!(["invalid"]))),
)]
async fn create(
    State(engine): State<Engine>,
    may: May<Administer>,
    Json(asked): Json<NewToken>,
) -> Result<(StatusCode, Answer<Made>), Problem> {
    let made = engine.create_token(&may.by, &asked.name, asked.role).await?;
    Ok((StatusCode::CREATED, Answer(Made { row: made.row.into(), token: made.token })))
}

/// Lists tokens, without what they are.
#[utoipa::path(
    get, path = "/tokens", tag = "tokens", operation_id = "list_tokens",
    security(("token" = ["admin"])),
    responses((status = 200, description = "All of them", body = Listed<TokenView>)),
    extensions(("x-codes" = json!(["invalid_parameter"]))),
)]
async fn list(
    State(engine): State<Engine>,
    _: May<Administer>,
    asked: Asked,
) -> Result<Answer<Listed<TokenView>>, Problem> {
    asked.only(&[])?;
    let rows = engine.tokens().await?;
    Ok(Answer(Listed::whole(rows.into_iter().map(TokenView::from).collect())))
}

/// Makes a token worthless.
#[utoipa::path(
    delete, path = "/tokens/{id}", tag = "tokens", operation_id = "revoke_token",
    security(("token" = ["admin"])),
    params(("id" = String, Path, description = "A `token_id`")),
    responses((status = 204, description = "It is worth nothing from now on")),
    extensions(("x-codes" = json!(["not_found"]))),
)]
async fn revoke(
    State(engine): State<Engine>,
    may: May<Administer>,
    Id(id): Id,
) -> Result<StatusCode, Problem> {
    engine.revoke_token(&may.by, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
