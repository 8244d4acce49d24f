//! `/products`: the models that devices are instances of.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use otaru_engine::{Engine, ProductRow};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Id;
use crate::body::Json;
use crate::caller::{Change, Look, May};
use crate::openapi::Pages;
use crate::problem::Problem;
use crate::query::{Asked, Listed};
use crate::router::Shared;
use crate::times::Moment;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(list, create)).routes(routes!(one, change, delete))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewProduct {
    /// Without one it gets 24 hex digits.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9_-]+$")]
    product_id: Option<String>,
    /// For people; blanks around it are taken away.
    #[schema(min_length = 1, max_length = 256)]
    name: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ProductChanges)]
struct Changes {
    /// For people; blanks around it are taken away.
    #[schema(min_length = 1, max_length = 256)]
    name: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Product)]
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

/// Makes a product.
#[utoipa::path(
    post, path = "/products", tag = "products", operation_id = "create_product",
    security(("token" = ["operator"])),
    request_body = NewProduct,
    responses((status = 201, description = "Made", body = ProductView)),
    extensions(("x-codes" = json!(["invalid", "invalid_id", "exists_already"]))),
)]
async fn create(
    State(engine): State<Engine>,
    may: May<Change>,
    Json(asked): Json<NewProduct>,
) -> Result<(StatusCode, Answer<ProductView>), Problem> {
    let row = engine.create_product(&may.by, asked.product_id, asked.name).await?;
    Ok((StatusCode::CREATED, Answer(row.into())))
}

/// Lists products, the oldest first.
#[utoipa::path(
    get, path = "/products", tag = "products", operation_id = "list_products",
    security(("token" = ["viewer"])),
    params(Pages),
    responses((status = 200, description = "A page", body = Listed<ProductView>)),
)]
async fn list(
    State(engine): State<Engine>,
    _: May<Look>,
    asked: Asked,
) -> Result<Answer<Listed<ProductView>>, Problem> {
    let part = asked.only(&["cursor", "limit"])?.part()?;
    let rows = engine.products(part.page()).await?;
    Ok(Answer(part.listed(rows, |row| row.key, ProductView::from)))
}

/// Shows a product.
#[utoipa::path(
    get, path = "/products/{id}", tag = "products", operation_id = "get_product",
    security(("token" = ["viewer"])),
    params(("id" = String, Path, description = "A `product_id`")),
    responses((status = 200, description = "The product", body = ProductView)),
    extensions(("x-codes" = json!(["not_found"]))),
)]
async fn one(State(engine): State<Engine>, _: May<Look>, Id(id): Id) -> Result<Answer<ProductView>, Problem> {
    match engine.product(&id).await? {
        Some(row) => Ok(Answer(row.into())),
        None => Err(Problem::not_found("product", &id)),
    }
}

/// Gives a product another name.
#[utoipa::path(
    patch, path = "/products/{id}", tag = "products", operation_id = "change_product",
    security(("token" = ["operator"])),
    params(("id" = String, Path, description = "A `product_id`")),
    request_body = Changes,
    responses((status = 200, description = "As it is now", body = ProductView)),
    extensions(("x-codes" = json!(["invalid", "invalid_id", "not_found"]))),
)]
async fn change(
    State(engine): State<Engine>,
    may: May<Change>,
    Id(id): Id,
    Json(asked): Json<Changes>,
) -> Result<Answer<ProductView>, Problem> {
    Ok(Answer(engine.patch_product(&may.by, &id, Some(&asked.name), None).await?.into()))
}

/// Deletes a product that no device, package or campaign has.
#[utoipa::path(
    delete, path = "/products/{id}", tag = "products", operation_id = "delete_product",
    security(("token" = ["operator"])),
    params(("id" = String, Path, description = "A `product_id`")),
    responses((status = 204, description = "It is gone, and its id is free")),
    extensions(("x-codes" = json!(["not_found", "in_use"]))),
)]
async fn delete(State(engine): State<Engine>, may: May<Change>, Id(id): Id) -> Result<StatusCode, Problem> {
    engine.delete_product(&may.by, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
