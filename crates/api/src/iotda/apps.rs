//! `/apps`: resource spaces. The default one has the project's id and is always there.

use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use otaru_core::WallTime;
use otaru_engine::{Engine, ProductRow, SpaceError, SpaceKey, SpaceRow, Spaces};
use serde::Serialize;

use super::call::Call;
use super::input::{ID, Rule, name, seconds};
use super::refusal::{EXISTS, IN_USE, NO_PRODUCT, NO_SPACE, NOT_NOW, of_engine, of_store};
use crate::problem::Problem;
use crate::router::Shared;

/// What people call the default one.
pub(super) const DEFAULT_NAME: &str = "default";

pub(super) const NAME: Rule = name(64);

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v5/iot/{project_id}/apps", get(list).post(create))
        .route("/v5/iot/{project_id}/apps/{app_id}", get(show).put(update).delete(delete))
}

/// The resource spaces as one call sees them.
pub(super) struct Apps {
    default_id: String,
    default_since: WallTime,
    others: Vec<SpaceRow>,
}

impl Apps {
    pub(super) async fn of(engine: &Engine) -> Result<Apps, Problem> {
        Ok(Apps {
            default_id: engine.project_id().to_owned(),
            default_since: engine.project_since(),
            others: engine.spaces().await.map_err(of_store)?,
        })
    }

    fn row(&self, space: Option<SpaceKey>) -> Option<&SpaceRow> {
        self.others.iter().find(|row| Some(row.key) == space)
    }

    /// The `app_id` of a space.
    pub(super) fn id(&self, space: Option<SpaceKey>) -> &str {
        self.row(space).map_or(&self.default_id, |row| &row.space_id)
    }

    /// The `app_name` of a space.
    pub(super) fn name(&self, space: Option<SpaceKey>) -> &str {
        self.row(space).map_or(DEFAULT_NAME, |row| &row.name)
    }

    /// Where a product is, and with it everything that it has; the default one where there is no product any more.
    pub(super) fn of_product(product: Option<&ProductRow>) -> Option<SpaceKey> {
        product.and_then(|product| product.space)
    }

    /// The space with this id; `None` is the default one.
    pub(super) fn named(&self, app_id: &str) -> Result<Option<SpaceKey>, Problem> {
        ID.check("app_id", app_id)?;
        if app_id == self.default_id {
            return Ok(None);
        }
        let row = self.others.iter().find(|row| row.space_id == app_id);
        let unknown = || NO_SPACE.because(format!("The default one of this project is {}.", self.default_id));
        row.map(|row| Some(row.key)).ok_or_else(unknown)
    }

    /// The space that a new thing is to be in.
    pub(super) fn chosen(&self, app_id: Option<&str>) -> Result<Option<SpaceKey>, Problem> {
        app_id.map_or(Ok(None), |app_id| self.named(app_id))
    }

    /// The spaces that a list is about.
    pub(super) fn asked(&self, app_id: Option<&str>) -> Result<Spaces, Problem> {
        app_id.map_or(Ok(Spaces::All), |app_id| Ok(Spaces::of(self.named(app_id)?)))
    }

    /// Whether a product is in the space that a call names, if it names one.
    pub(super) fn check(&self, app_id: Option<&str>, product: &ProductRow) -> Result<(), Problem> {
        if self.asked(app_id)?.has(product.space) {
            return Ok(());
        }
        let (id, its) = (&product.product_id, self.id(product.space));
        Err(NO_PRODUCT.because(format!("{id} is not in that resource space, but in {its}.")))
    }

    fn default(&self) -> App {
        App {
            app_id: self.default_id.clone(),
            app_name: DEFAULT_NAME.to_owned(),
            create_time: seconds(self.default_since),
            default_app: true,
        }
    }
}

#[derive(Serialize)]
struct App {
    app_id: String,
    app_name: String,
    create_time: String,
    default_app: bool,
}

impl From<&SpaceRow> for App {
    fn from(row: &SpaceRow) -> App {
        App {
            app_id: row.space_id.clone(),
            app_name: row.name.clone(),
            create_time: seconds(row.created_at),
            default_app: false,
        }
    }
}

#[derive(Serialize)]
struct Listed {
    applications: Vec<App>,
}

/// Only the default space, the others, or all.
async fn list(call: Call) -> Result<Json<Listed>, Problem> {
    call.look()?;
    let wanted = call.asked_word("default_app", &["true", "false"])?;
    let apps = call.apps().await?;
    let default = (wanted != Some("false")).then(|| apps.default());
    let others = apps.others.iter().filter(|_| wanted != Some("true")).map(App::from);
    Ok(Json(Listed { applications: default.into_iter().chain(others).collect() }))
}

async fn create(call: Call) -> Result<(StatusCode, Json<App>), Problem> {
    let by = call.change()?;
    let named = call.fields()?.needed("app_name", NAME)?;
    check_free(&named)?;
    let row = call.engine.create_space(by, &named).await.map_err(refused)?;
    Ok((StatusCode::CREATED, Json(App::from(&row))))
}

/// The default one has its name.
fn check_free(named: &str) -> Result<(), Problem> {
    if named == DEFAULT_NAME {
        return Err(EXISTS.because("The default resource space has this name."));
    }
    Ok(())
}

fn refused(error: SpaceError) -> Problem {
    if super::refusal::is_missing(&error) {
        return NO_SPACE.plain();
    }
    let problem = of_engine(error, NO_SPACE);
    if problem.code() == EXISTS.code() {
        return EXISTS.because("Another resource space has this name.");
    }
    problem
}

async fn show(call: Call) -> Result<Json<App>, Problem> {
    call.look()?;
    let apps = call.apps().await?;
    let space = apps.named(call.id())?;
    Ok(Json(apps.row(space).map_or_else(|| apps.default(), App::from)))
}

async fn update(call: Call) -> Result<Json<App>, Problem> {
    let by = call.change()?;
    let named = call.fields()?.needed("app_name", NAME)?;
    let apps = call.apps().await?;
    if apps.named(call.id())?.is_none() {
        return Err(NOT_NOW.because("The default resource space keeps its name."));
    }
    check_free(&named)?;
    let row = call.engine.rename_space(by, call.id(), &named).await.map_err(refused)?;
    Ok(Json(App::from(&row)))
}

async fn delete(call: Call) -> Result<StatusCode, Problem> {
    let by = call.change()?;
    if call.apps().await?.named(call.id())?.is_none() {
        return Err(IN_USE.because("The default resource space stays as long as the project does."));
    }
    call.engine.delete_space(by, call.id()).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}
