//! `/apps`: resource spaces. There is one, which everything is in.

use axum::extract::Request;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use super::call::Call;
use super::input::seconds;
use super::refusal::{NO_SPACE, NOT_OFFERED};
use crate::problem::Problem;
use crate::router::Shared;

/// What people call it.
pub(super) const NAME: &str = "default";

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v5/iot/{project_id}/apps", get(list).post(not_offered))
        .route("/v5/iot/{project_id}/apps/{app_id}", get(show).put(not_offered).delete(not_offered))
}

#[derive(Serialize)]
struct App {
    app_id: String,
    app_name: &'static str,
    create_time: String,
    default_app: bool,
}

impl App {
    fn of(call: &Call) -> App {
        App {
            app_id: call.app_id().to_owned(),
            app_name: NAME,
            create_time: seconds(call.engine.project_since()),
            default_app: true,
        }
    }
}

#[derive(Serialize)]
struct Listed {
    applications: Vec<App>,
}

/// Only for the default space, for the others, or for all.
async fn list(call: Call) -> Result<Json<Listed>, Problem> {
    call.look()?;
    let applications = match call.asked_word("default_app", &["true", "false"])? {
        Some("false") => Vec::new(),
        Some(_) | None => vec![App::of(&call)],
    };
    Ok(Json(Listed { applications }))
}

async fn show(call: Call) -> Result<Json<App>, Problem> {
    call.look()?;
    if call.id() != call.app_id() {
        return Err(NO_SPACE.because(format!("The one of this project is {}.", call.app_id())));
    }
    Ok(Json(App::of(&call)))
}

async fn not_offered(_: Request) -> Problem {
    NOT_OFFERED.because("There is one resource space per project, which is made with it and stays.")
}
