//! `/tokens`: who may use the API. For admins.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{delete, get};
use axum::{Json as Answer, Router};
use otaru_engine::{Engine, Role, TokenRow};
use serde::{Deserialize, Serialize};

use super::Id;
use crate::body::Json;
use crate::caller::{Administer, May};
use crate::problem::Problem;
use crate::query::{Asked, Listed};
use crate::router::Shared;
use crate::times::Moment;

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/tokens", get(list).post(create)).route("/tokens/{id}", delete(revoke))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewToken {
    name: String,
    role: Role,
}

#[derive(Serialize)]
struct TokenView {
    token_id: String,
    name: String,
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
#[derive(Serialize)]
struct Made {
    #[serde(flatten)]
    row: TokenView,
    token: String,
}

async fn create(
    State(engine): State<Engine>,
    may: May<Administer>,
    Json(asked): Json<NewToken>,
) -> Result<(StatusCode, Answer<Made>), Problem> {
    let made = engine.create_token(&may.by, &asked.name, asked.role).await?;
    Ok((StatusCode::CREATED, Answer(Made { row: made.row.into(), token: made.token })))
}

async fn list(
    State(engine): State<Engine>,
    _: May<Administer>,
    asked: Asked,
) -> Result<Answer<Listed<TokenView>>, Problem> {
    asked.only(&[])?;
    let rows = engine.tokens().await?;
    Ok(Answer(Listed::whole(rows.into_iter().map(TokenView::from).collect())))
}

async fn revoke(
    State(engine): State<Engine>,
    may: May<Administer>,
    Id(id): Id,
) -> Result<StatusCode, Problem> {
    engine.revoke_token(&may.by, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
