//! `/products`. The model of a product is opaque here: it is kept and given back as it came.

use axum::Json;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use otaru_engine::{ProductKey, ProductRow, Thing};
use serde::Serialize;
use serde_json::{Map, Value};

use super::apps::Apps;
use super::call::Call;
use super::input::{Fields, ID, name, prose, seconds};
use super::members::{self, Members};
use super::paging::PageOf;
use super::refusal::{EXISTS, IN_USE, INVALID, NO_PRODUCT, NO_SPACE, of_engine, of_store};
use crate::problem::Problem;
use crate::router::Shared;

pub(super) const PROTOCOLS: &[&str] =
    &["MQTT", "CoAP", "HTTP", "HTTPS", "Modbus", "ONVIF", "OPC-UA", "OPC-DA", "Other", "TCP", "UDP"];
pub(super) const FORMATS: &[&str] = &["json", "binary"];
/// Services of a product.
pub(super) const SERVICES_MAX: usize = 500;
/// Their size as JSON, in bytes.
pub(super) const SERVICES_BYTES_MAX: usize = 500 * 1024;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v5/iot/{project_id}/products", get(list).post(create))
        .route("/v5/iot/{project_id}/products/{product_id}", get(show).put(update).delete(delete))
}

#[derive(Serialize)]
struct Listed {
    products: Vec<Value>,
    page: PageOf,
}

async fn create(call: Call) -> Result<(StatusCode, Json<Value>), Problem> {
    let by = call.change()?;
    let mut fields = call.fields()?;
    let apps = call.apps().await?;
    let space = apps.chosen(fields.text("app_id", ID)?.as_deref())?;
    let product_id = fields.text("product_id", ID)?;
    let named = fields.needed("name", name(64))?;
    let members = model(&mut fields, true)?;
    let made = call.engine.create_product_with(by, product_id, &named, space, members::text(&members)).await;
    let row = made.map_err(|error| of_engine(error, NO_SPACE)).map_err(|problem| {
        if problem.code() == EXISTS.code() { EXISTS.because("Another product has this id.") } else { problem }
    })?;
    Ok((StatusCode::CREATED, Json(view(&apps, &row, members, true))))
}

/// Everything about a product but its id and its name. `is_new`: what is required has to be there.
fn model(fields: &mut Fields, is_new: bool) -> Result<Members, Problem> {
    let mut members = Map::new();
    let mut keep =
        |name: &str, value: Option<Value>| members.extend(value.map(|value| (name.to_owned(), value)));
    keep("device_type", fields.text("device_type", name(32))?.map(Value::String));
    keep("protocol_type", fields.word("protocol_type", PROTOCOLS)?.map(Value::from));
    keep("data_format", fields.word("data_format", FORMATS)?.map(Value::from));
    if let Some(services) = fields.any("service_capabilities") {
        let Value::Array(entries) = &services else {
            return Err(fields.wrong("service_capabilities", "a list of objects", &services));
        };
        if entries.len() > SERVICES_MAX || entries.iter().any(|entry| !entry.is_object()) {
            let accepted = format!("a list of at most {SERVICES_MAX} objects");
            return Err(fields.wrong("service_capabilities", &accepted, &services));
        }
        if services.to_string().len() > SERVICES_BYTES_MAX {
            return Err(INVALID.because(format!(
                "`service_capabilities` has more than {SERVICES_BYTES_MAX} bytes as JSON."
            )));
        }
        keep("service_capabilities", Some(services));
    }
    for (field, most) in [("manufacturer_name", 32), ("industry", 64), ("description", 128)] {
        keep(field, fields.text(field, prose(most))?.map(Value::String));
    }
    for needed in ["device_type", "protocol_type", "data_format", "service_capabilities"] {
        if is_new && !members.contains_key(needed) {
            return Err(INVALID.because(format!("`{needed}` is required.")));
        }
    }
    Ok(members)
}

fn view(apps: &Apps, row: &ProductRow, members: Members, whole: bool) -> Value {
    let mut view = members;
    view.insert("product_id".to_owned(), row.product_id.clone().into());
    view.insert("name".to_owned(), row.name.clone().into());
    view.insert("app_id".to_owned(), apps.id(row.space).into());
    view.insert("app_name".to_owned(), apps.name(row.space).into());
    view.insert("create_time".to_owned(), seconds(row.created_at).into());
    if whole {
        view.entry("service_capabilities").or_insert_with(|| Value::Array(Vec::new()));
    } else {
        view.remove("service_capabilities");
    }
    Value::Object(view)
}

async fn found(call: &Call, apps: &Apps) -> Result<(ProductRow, Members), Problem> {
    let row = call.engine.product(call.id()).await.map_err(of_store)?;
    let row = row.ok_or_else(|| NO_PRODUCT.plain())?;
    apps.check(call.asked("app_id"), &row)?;
    let members = members::of(&call.engine, Thing::Product(row.key)).await?;
    Ok((row, members))
}

async fn show(call: Call) -> Result<Json<Value>, Problem> {
    call.look()?;
    let apps = call.apps().await?;
    let (row, members) = found(&call, &apps).await?;
    Ok(Json(view(&apps, &row, members, true)))
}

async fn list(call: Call) -> Result<Json<Listed>, Problem> {
    call.look()?;
    let apps = call.apps().await?;
    let spaces = call.asked_spaces(&apps)?;
    let page = call.paging()?.rows(ProductKey);
    let named = call.asked("product_name").map(str::to_owned);
    let (rows, total) = call.engine.newest_products(spaces, named, page).await.map_err(of_store)?;
    let last = rows.last().map(|row| row.key.0);
    let all = rows.iter().map(|row| Thing::Product(row.key)).collect();
    let mut members = members::all(&call.engine, all).await?;
    let view = |row: &ProductRow| {
        let members = members.remove(&Thing::Product(row.key)).unwrap_or_default();
        view(&apps, row, members, false)
    };
    let products = rows.iter().map(view).collect();
    Ok(Json(Listed { products, page: PageOf::new(total.n, last) }))
}

async fn update(call: Call) -> Result<Json<Value>, Problem> {
    let by = call.change()?;
    let apps = call.apps().await?;
    let mut fields = call.fields()?;
    // A product stays where it is.
    let (before, _) = found(&call, &apps).await?;
    apps.check(fields.text("app_id", ID)?.as_deref(), &before)?;
    let named = fields.text("name", name(64))?;
    let said = model(&mut fields, false)?;
    let said = (!said.is_empty()).then(|| members::text(&said));
    let changed = call.engine.patch_product(by, call.id(), named.as_deref(), said).await;
    let row = changed.map_err(|error| of_engine(error, NO_PRODUCT))?;
    let members = members::of(&call.engine, Thing::Product(row.key)).await?;
    Ok(Json(view(&apps, &row, members, true)))
}

async fn delete(call: Call) -> Result<StatusCode, Problem> {
    let by = call.change()?;
    if call.asked("app_id").is_some() {
        found(&call, &call.apps().await?).await?;
    }
    match call.engine.delete_product(by, call.id()).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(error) if super::refusal::is_missing(&error) => Err(NO_PRODUCT.plain()),
        Err(error) => Err(of_engine(error, IN_USE)),
    }
}
