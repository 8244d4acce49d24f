//! `/products`: the models that devices are instances of.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json as Answer, Router};
use otaru_engine::{Engine, ProductRow};
use serde::{Deserialize, Serialize};

use super::Id;
use crate::body::Json;
use crate::caller::{Change, Look, May};
use crate::problem::Problem;
use crate::query::{Asked, Listed};
use crate::router::Shared;
use crate::times::Moment;

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/products", get(list).post(create)).route("/products/{id}", get(one))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewProduct {
    #[serde(default)]
    product_id: Option<String>,
    name: String,
}

#[derive(Serialize)]
struct ProductView {
    product_id: String,
    name: String,
    created_at: Moment,
}

impl From<ProductRow> for ProductView {
    fn from(row: ProductRow) -> ProductView {
        ProductView { product_id: row.product_id, name: row.name, created_at: Moment(row.created_at) }
    }
}

async fn create(
    State(engine): State<Engine>,
    may: May<Change>,
    Json(asked): Json<NewProduct>,
) -> Result<(StatusCode, Answer<ProductView>), Problem> {
    let row = engine.create_product(&may.by, asked.product_id, asked.name).await?;
    Ok((StatusCode::CREATED, Answer(row.into())))
}

async fn list(
    State(engine): State<Engine>,
    _: May<Look>,
    asked: Asked,
) -> Result<Answer<Listed<ProductView>>, Problem> {
    let part = asked.only(&["cursor", "limit"])?.part()?;
    let rows = engine.products(part.page()).await?;
    Ok(Answer(part.listed(rows, |row| row.key, ProductView::from)))
}

async fn one(State(engine): State<Engine>, _: May<Look>, Id(id): Id) -> Result<Answer<ProductView>, Problem> {
    match engine.product(&id).await? {
        Some(row) => Ok(Answer(row.into())),
        None => Err(Problem::not_found("product", &id)),
    }
}
