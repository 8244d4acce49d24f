//! `/packages`: artifacts offered as firmware or software of a version for a product.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use otaru_engine::{Engine, NewContent, PackageDelivery, PackageRequest, PackageRow};
use otaru_proto::PackageKind;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Id;
use crate::body::{Json, or_default};
use crate::caller::{Change, Look, May};
use crate::openapi::{Pages, words};
use crate::problem::Problem;
use crate::query::{Asked, Listed};
use crate::router::Shared;
use crate::times::Moment;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(list, create)).routes(routes!(one, delete)).routes(routes!(retry))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPackage {
    product_id: String,
    #[schema(value_type = words::PackageKindWord)]
    kind: PackageKind,
    /// What devices report once they run it.
    #[schema(min_length = 1, max_length = 256, pattern = "^[A-Za-z0-9_.-]+$")]
    version: String,
    /// Of an upload.
    artifact_id: String,
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9_-][A-Za-z0-9._-]*$")]
    file_name: String,
    /// Only devices that run one of these get it; none is all. At most 20.
    #[serde(default, deserialize_with = "or_default")]
    #[schema(value_type = Option<Vec<String>>, max_items = 20)]
    source_versions: Vec<String>,
    /// Passed on to devices as it is.
    #[serde(default)]
    #[schema(max_length = 4096)]
    custom_info: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    #[schema(value_type = Option<words::DeliveryWord>)]
    delivery: PackageDelivery,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Package)]
struct PackageView {
    package_id: String,
    product_id: String,
    #[schema(value_type = words::PackageKindWord)]
    kind: PackageKind,
    version: String,
    /// Whether devices can be told of it: its bytes are here (`ready`), are being read (`pending`), or are not what was promised
    /// (`invalid`).
    #[schema(value_type = words::PackageStateWord)]
    state: &'static str,
    /// Why its bytes are not here.
    #[schema(required)]
    problem: Option<String>,
    /// Once it is ready.
    #[schema(required)]
    artifact_id: Option<String>,
    /// Once it is ready.
    #[schema(required)]
    size_bytes: Option<u64>,
    file_name: String,
    source_versions: Vec<String>,
    #[schema(required)]
    custom_info: Option<String>,
    #[schema(value_type = words::DeliveryWord)]
    delivery: PackageDelivery,
    created_at: Moment,
}

impl From<PackageRow> for PackageView {
    fn from(row: PackageRow) -> PackageView {
        let (state, problem) = (row.content.state(), row.content.problem().map(str::to_owned));
        let (artifact_id, size_bytes) =
            row.content.artifact().map(|(id, size)| (id.to_owned(), size)).unzip();
        PackageView {
            state,
            problem,
            package_id: row.package_id,
            product_id: row.product_id,
            kind: row.kind,
            version: row.version,
            artifact_id,
            size_bytes,
            file_name: row.file_name,
            source_versions: row.source_versions,
            custom_info: row.custom_info,
            delivery: row.delivery,
            created_at: Moment(row.created_at),
        }
    }
}

/// Makes a package from an uploaded artifact.
#[utoipa::path(
    post, path = "/packages", tag = "packages", operation_id = "create_package",
    security(("token" = ["operator"])),
    request_body = NewPackage,
    responses((status = 201, description = "Made", body = PackageView)),
    extensions(("x-codes" = json!([
        "invalid", "invalid_version", "invalid_file_name", "unknown_product", "unknown_artifact", "exists_already"
    ]))),
)]
async fn create(
    State(engine): State<Engine>,
    may: May<Change>,
    Json(asked): Json<NewPackage>,
) -> Result<(StatusCode, Answer<PackageView>), Problem> {
    let NewPackage {
        product_id,
        kind,
        version,
        artifact_id,
        file_name,
        source_versions,
        custom_info,
        delivery,
    } = asked;
    let request = PackageRequest {
        product_id,
        kind,
        version,
        content: NewContent::Kept(artifact_id),
        file_name,
        source_versions,
        custom_info,
        delivery,
    };
    let row = engine.create_package(&may.by, request).await?;
    Ok((StatusCode::CREATED, Answer(row.into())))
}

/// Lists packages, the oldest first.
#[utoipa::path(
    get, path = "/packages", tag = "packages", operation_id = "list_packages",
    security(("token" = ["viewer"])),
    params(("product_id" = Option<String>, Query, description = "Only those for this product"), Pages),
    responses((status = 200, description = "A page", body = Listed<PackageView>)),
)]
async fn list(
    State(engine): State<Engine>,
    _: May<Look>,
    asked: Asked,
) -> Result<Answer<Listed<PackageView>>, Problem> {
    let asked = asked.only(&["product_id", "cursor", "limit"])?;
    let part = asked.part()?;
    let rows = engine.packages(asked.one("product_id")?, part.page()).await?;
    Ok(Answer(part.listed(rows, |row| row.key, PackageView::from)))
}

/// Shows a package.
#[utoipa::path(
    get, path = "/packages/{id}", tag = "packages", operation_id = "get_package",
    security(("token" = ["viewer"])),
    params(("id" = String, Path, description = "A `package_id`")),
    responses((status = 200, description = "The package", body = PackageView)),
    extensions(("x-codes" = json!(["not_found"]))),
)]
async fn one(State(engine): State<Engine>, _: May<Look>, Id(id): Id) -> Result<Answer<PackageView>, Problem> {
    match engine.package(&id).await? {
        Some(row) => Ok(Answer(row.into())),
        None => Err(Problem::not_found("package", &id)),
    }
}

/// Has the bytes of an invalid package read again.
///
/// Only packages that applications made of an object are read, and only they can be invalid: the object is another one than was
/// said, or is not there any more. Said of any other package, nothing happens.
#[utoipa::path(
    post, path = "/packages/{id}/retry", tag = "packages", operation_id = "retry_package",
    security(("token" = ["operator"])),
    params(("id" = String, Path, description = "A `package_id`")),
    responses((status = 200, description = "The package", body = PackageView)),
    extensions(("x-codes" = json!(["not_found"]))),
)]
async fn retry(
    State(engine): State<Engine>,
    may: May<Change>,
    Id(id): Id,
) -> Result<Answer<PackageView>, Problem> {
    Ok(Answer(engine.retry_package(&may.by, &id).await?.into()))
}

/// Deletes a package that no campaign names.
#[utoipa::path(
    delete, path = "/packages/{id}", tag = "packages", operation_id = "delete_package",
    security(("token" = ["operator"])),
    params(("id" = String, Path, description = "A `package_id`")),
    responses((status = 204, description = "It is gone")),
    extensions(("x-codes" = json!(["not_found", "in_use"]))),
)]
async fn delete(State(engine): State<Engine>, may: May<Change>, Id(id): Id) -> Result<StatusCode, Problem> {
    engine.delete_package(&may.by, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
