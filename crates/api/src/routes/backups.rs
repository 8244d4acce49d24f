//! `/backups`: copies of everything on the server's machine. For admins.

use std::path::PathBuf;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use otaru_core::WallTime;
use otaru_engine::{Engine, Manifest};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::body::Json;
use crate::caller::{Administer, May};
use crate::problem::Problem;
use crate::router::Shared;
use crate::times::Moment;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(create))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewBackup {
    /// An absolute path on the server's machine, outside the data directory; empty, or not there yet.
    directory: String,
    /// Whether the master key and the admin token in the data directory are copied. Without them, the secrets of devices
    /// in the backup can only be used by whoever has the key from elsewhere.
    #[serde(default = "with_secrets")]
    #[schema(default = true)]
    secrets: bool,
}

fn with_secrets() -> bool {
    true
}

#[derive(Serialize, ToSchema)]
#[schema(as = Backup)]
struct BackupView {
    directory: String,
    made_at: Moment,
    /// The version of the store's schema.
    schema: i64,
    /// Bytes of the store.
    database_bytes: u64,
    /// How many artifacts.
    artifacts: u64,
    /// Bytes of all artifacts.
    artifact_bytes: u64,
    /// Names of the secret files in it.
    secrets: Vec<String>,
}

impl BackupView {
    fn new(directory: String, manifest: Manifest) -> BackupView {
        BackupView {
            directory,
            made_at: Moment(WallTime(manifest.made_at)),
            schema: manifest.schema,
            database_bytes: manifest.database_bytes,
            artifacts: manifest.artifacts,
            artifact_bytes: manifest.artifact_bytes,
            secrets: manifest.secrets.into_iter().map(|secret| secret.name).collect(),
        }
    }
}

/// Makes a backup on the server's machine, and answers when it is whole.
///
/// It goes on when the connection is lost. Devices are served meanwhile.
#[utoipa::path(
    post, path = "/backups", tag = "server", operation_id = "create_backup",
    security(("token" = ["admin"])),
    request_body = NewBackup,
    responses((status = 201, description = "Made, and durable", body = BackupView)),
    extensions(("x-codes" = json!(["invalid", "not_empty", "backup_running", "disk_full", "backup_failed"]))),
)]
async fn create(
    State(engine): State<Engine>,
    may: May<Administer>,
    Json(asked): Json<NewBackup>,
) -> Result<(StatusCode, Answer<BackupView>), Problem> {
    let manifest = engine.back_up(&may.by, PathBuf::from(&asked.directory), asked.secrets).await?;
    Ok((StatusCode::CREATED, Answer(BackupView::new(asked.directory, manifest))))
}
