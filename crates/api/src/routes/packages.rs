//! `/packages`: artifacts offered as firmware or software of a version for a product.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json as Answer, Router};
use otaru_engine::{Engine, PackageDelivery, PackageRequest, PackageRow};
use otaru_proto::PackageKind;
use serde::{Deserialize, Serialize};

use super::Id;
use crate::body::{Json, or_default};
use crate::caller::{Change, Look, May};
use crate::problem::Problem;
use crate::query::{Asked, Listed};
use crate::router::Shared;
use crate::times::Moment;

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/packages", get(list).post(create)).route("/packages/{id}", get(one).delete(delete))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPackage {
    product_id: String,
    kind: PackageKind,
    version: String,
    artifact_id: String,
    file_name: String,
    #[serde(default, deserialize_with = "or_default")]
    source_versions: Vec<String>,
    #[serde(default)]
    custom_info: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    delivery: PackageDelivery,
}

#[derive(Serialize)]
struct PackageView {
    package_id: String,
    product_id: String,
    kind: PackageKind,
    version: String,
    artifact_id: String,
    size_bytes: u64,
    file_name: String,
    source_versions: Vec<String>,
    custom_info: Option<String>,
    delivery: PackageDelivery,
    created_at: Moment,
}

impl From<PackageRow> for PackageView {
    fn from(row: PackageRow) -> PackageView {
        PackageView {
            package_id: row.package_id,
            product_id: row.product_id,
            kind: row.kind,
            version: row.version,
            artifact_id: row.artifact_id,
            size_bytes: row.size_bytes,
            file_name: row.file_name,
            source_versions: row.source_versions,
            custom_info: row.custom_info,
            delivery: row.delivery,
            created_at: Moment(row.created_at),
        }
    }
}

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
        artifact_id,
        file_name,
        source_versions,
        custom_info,
        delivery,
    };
    let row = engine.create_package(&may.by, request).await?;
    Ok((StatusCode::CREATED, Answer(row.into())))
}

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

async fn one(State(engine): State<Engine>, _: May<Look>, Id(id): Id) -> Result<Answer<PackageView>, Problem> {
    match engine.package(&id).await? {
        Some(row) => Ok(Answer(row.into())),
        None => Err(Problem::not_found("package", &id)),
    }
}

async fn delete(State(engine): State<Engine>, may: May<Change>, Id(id): Id) -> Result<StatusCode, Problem> {
    engine.delete_package(&may.by, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
