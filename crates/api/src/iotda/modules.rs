//! `/ota-upgrades/modules`: parts of a product that have versions of their own. They are registered and shown, and not upgraded:
//! no message to a device is published for that.

use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use otaru_engine::{ModuleError, ModuleKey, ModulePatch, ModuleRequest, ModuleRow, NewestModules};
use serde::Serialize;
use serde_json::{Map, Value};

use super::apps::Apps;
use super::call::Call;
use super::input::{Fields, ID, Rule, prose, seconds};
use super::paging::PageOf;
use super::refusal::{EXISTS, NO_MODULE, NO_PRODUCT, of_engine, of_store};
use crate::problem::Problem;
use crate::router::Shared;

pub(super) const MODULE_NAME: Rule =
    Rule::of(64, |c| c.is_ascii_alphanumeric() || "._-".contains(c), "letters, digits, `.`, `_` and `-`")
        .at_least(1)
        .like("[A-Za-z0-9_.-]");
pub(super) const ALIAS: Rule = prose(64);
pub(super) const DESCRIPTION: Rule = prose(1_024);

/// Why there are no packages and tasks for modules.
pub(super) const NOT_UPGRADED: &str =
    "no message to a device is published for modules, so that they are registered and not upgraded";

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v5/iot/{project_id}/ota-upgrades/modules", get(list).post(create))
        .route("/v5/iot/{project_id}/ota-upgrades/modules/{module_id}", get(show).put(update).delete(delete))
}

async fn view(call: &Call, apps: &Apps, row: &ModuleRow) -> Result<Value, Problem> {
    let product = call.engine.product(&row.product_id).await.map_err(of_store)?;
    let mut shown = Map::new();
    let mut show = |name: &str, text: &str| shown.insert(name.to_owned(), text.into());
    show("module_id", &row.module_id);
    show("app_id", apps.id(Apps::of_product(product.as_ref())));
    show("product_id", &row.product_id);
    show("product_name", product.as_ref().map_or("", |product| &product.name));
    show("module_name", &row.name);
    show("create_time", &seconds(row.created_at));
    for (name, text) in [("alias_name", &row.alias), ("description", &row.description)] {
        if !text.is_empty() {
            show(name, text);
        }
    }
    Ok(Value::Object(shown))
}

fn refused(error: ModuleError) -> Problem {
    let problem = of_engine(error, NO_MODULE);
    if problem.code() == EXISTS.code() {
        return EXISTS.because("The product has another module of this name.");
    }
    problem
}

async fn create(call: Call) -> Result<(StatusCode, Json<Value>), Problem> {
    let by = call.change()?;
    let mut fields = call.fields()?;
    let apps = call.apps().await?;
    let app_id = fields.needed("app_id", ID)?;
    apps.named(&app_id)?;
    let product_id = fields.needed("product_id", ID)?;
    let request = ModuleRequest {
        product_id: product_id.clone(),
        name: fields.needed("module_name", MODULE_NAME)?,
        alias: fields.text("alias_name", ALIAS)?.unwrap_or_default(),
        description: fields.text("description", DESCRIPTION)?.unwrap_or_default(),
    };
    let product = call.engine.product(&product_id).await.map_err(of_store)?;
    apps.check(Some(&app_id), &product.ok_or_else(|| NO_PRODUCT.because("`product_id` names it."))?)?;
    let row = call.engine.create_module(by, request).await.map_err(refused)?;
    Ok((StatusCode::CREATED, Json(view(&call, &apps, &row).await?)))
}

#[derive(Serialize)]
struct Listed {
    modules: Vec<Value>,
    page: PageOf,
}

async fn list(call: Call) -> Result<Json<Listed>, Problem> {
    call.look()?;
    let apps = call.apps().await?;
    let spaces = apps.asked(Some(call.asked_for("app_id")?))?;
    let page = call.paging()?.rows(ModuleKey);
    let filter = NewestModules { product_id: call.asked("product_id").map(str::to_owned), spaces };
    let (rows, total) = call.engine.newest_modules(filter, page).await.map_err(of_store)?;
    let last = rows.last().map(|row| row.key.0);
    let mut modules = Vec::with_capacity(rows.len());
    for row in &rows {
        modules.push(view(&call, &apps, row).await?);
    }
    Ok(Json(Listed { modules, page: PageOf::new(total.n, last) }))
}

async fn show(call: Call) -> Result<Json<Value>, Problem> {
    call.look()?;
    let row = call.engine.module(call.id()).await.map_err(of_store)?.ok_or_else(|| NO_MODULE.plain())?;
    Ok(Json(view(&call, &call.apps().await?, &row).await?))
}

/// What an update says of a text; empty text clears it.
fn patched(fields: &mut Fields, name: &str, rule: Rule) -> Result<Option<String>, Problem> {
    let is_cleared = fields.is_empty_text(name);
    let said = fields.text(name, rule)?;
    Ok(if is_cleared { Some(String::new()) } else { said })
}

async fn update(call: Call) -> Result<Json<Value>, Problem> {
    let by = call.change()?;
    let mut fields = call.fields()?;
    let patch = ModulePatch {
        alias: patched(&mut fields, "alias_name", ALIAS)?,
        description: patched(&mut fields, "description", DESCRIPTION)?,
    };
    let row = call.engine.patch_module(by, call.id(), patch).await.map_err(refused)?;
    Ok(Json(view(&call, &call.apps().await?, &row).await?))
}

async fn delete(call: Call) -> Result<StatusCode, Problem> {
    let by = call.change()?;
    call.engine.delete_module(by, call.id()).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}
