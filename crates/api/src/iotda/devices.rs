//! `/devices`.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use otaru_engine::{
    Auth, DeviceChange, DeviceError, DeviceKey, DeviceRequest, DeviceView, Engine, NewestDevices, ProductRow,
    StoreError, Thing,
};
use otaru_proto::DeviceId;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::apps::Apps;
use super::call::Call;
use super::groups::GroupView;
use super::input::{self, DEVICE_ID, Fields, ID, NODE_ID, SECRET, millis, name, prose, seconds};
use super::members::{self, Members};
use super::paging::PageOf;
use super::refusal::{
    DEVICE_EXISTS, FREEZE_CHILD, INVALID, NO_DEVICE, NO_PRODUCT, NOT_FROZEN, TIME_ORDER, of_engine, of_store,
};
use crate::problem::Problem;
use crate::router::Shared;

/// Size of `extension_info` as JSON, in bytes.
pub(super) const EXTENSION_BYTES_MAX: usize = 1_024;
/// How a device proves who it is.
pub(super) const AUTH_TYPES: &[&str] = &["SECRET", "CERTIFICATES"];

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v5/iot/{project_id}/devices", get(list).post(create))
        .route("/v5/iot/{project_id}/devices/{device_id}", get(show).put(update).delete(delete))
        .route("/v5/iot/{project_id}/devices/{device_id}/freeze", post(freeze))
        .route("/v5/iot/{project_id}/devices/{device_id}/unfreeze", post(unfreeze))
        .route("/v5/iot/{project_id}/devices/{device_id}/action", post(act))
        .route("/v5/iot/{project_id}/devices/{device_id}/reset-fingerprint", post(reset_fingerprint))
        .route("/v5/iot/{project_id}/devices/{device_id}/change-gateway", post(change_gateway))
        .route("/v5/iot/{project_id}/devices/{device_id}/list-device-group", post(groups))
}

#[derive(Serialize)]
struct Listed {
    devices: Vec<Value>,
    page: PageOf,
}

async fn create(call: Call) -> Result<(StatusCode, Json<Value>), Problem> {
    let by = call.change()?;
    let mut fields = call.fields()?;
    let app_id = fields.text("app_id", ID)?;
    let (node_id, product_id) = (fields.needed("node_id", NODE_ID)?, fields.needed("product_id", ID)?);
    if let Some(app_id) = &app_id {
        let apps = call.apps().await?;
        apps.named(app_id)?;
        let product = call.engine.product(&product_id).await.map_err(of_store)?;
        apps.check(Some(app_id), &product.ok_or_else(|| NO_PRODUCT.plain())?)?;
    }
    let mut kept = Map::new();
    let mut proof = fields.object("auth_info")?;
    let (auth, secret, fingerprint) = match &mut proof {
        None => (Auth::Secret, None, None),
        Some(proof) => {
            let auth = match proof.word("auth_type", AUTH_TYPES)? {
                Some("CERTIFICATES") => Auth::X509,
                Some(_) | None => Auth::Secret,
            };
            let secret = proof.text("secret", SECRET)?;
            kept_auth(proof, &mut kept)?;
            (auth, secret, proof.text("fingerprint", FINGERPRINT)?)
        }
    };
    about(&mut fields, &mut kept)?;
    let request = DeviceRequest {
        device_id: fields.text("device_id", DEVICE_ID)?,
        node_id,
        product_id: product_id.clone(),
        auth,
        secret: secret.filter(|_| auth == Auth::Secret),
        fingerprint: fingerprint.filter(|_| auth == Auth::X509),
        gateway_id: fields.text("gateway_id", DEVICE_ID)?,
        name: fields.text("device_name", name(256))?,
        tags: BTreeMap::new(),
    };
    let made = call.engine.register_device_with(by, request, members::text(&kept)).await;
    let made = made.map_err(refused)?;
    let view = call.engine.device_view(made.record);
    let mut shown = show_one(&call, &view, kept, true).await?;
    if let Some(secret) = made.secret {
        shown["auth_info"]["secret"] = secret.into();
    }
    Ok((StatusCode::CREATED, Json(shown)))
}

pub(super) const FINGERPRINT: input::Rule = prose(64);

/// What of a device's proof only applications use.
fn kept_auth(proof: &mut Fields, kept: &mut Members) -> Result<(), Problem> {
    if let Some(secure) = proof.truth("secure_access")? {
        kept.insert("secure_access".to_owned(), secure.into());
    }
    if let Some(timeout) = proof.number("timeout", 0..=u32::MAX)? {
        kept.insert("timeout".to_owned(), timeout.into());
    }
    Ok(())
}

/// What is said about a device that only applications use.
fn about(fields: &mut Fields, kept: &mut Members) -> Result<(), Problem> {
    if let Some(description) = fields.text("description", prose(2048))? {
        kept.insert("description".to_owned(), description.into());
    }
    if let Some(extension) = fields.any("extension_info") {
        if extension.to_string().len() > EXTENSION_BYTES_MAX {
            let accepted = format!("JSON of at most {EXTENSION_BYTES_MAX} bytes");
            return Err(fields.wrong("extension_info", &accepted, &extension));
        }
        kept.insert("extension_info".to_owned(), extension);
    }
    Ok(())
}

fn refused(error: DeviceError) -> Problem {
    if let DeviceError::Store(StoreError::Missing { what, .. }) = &error {
        return match *what {
            "product" => NO_PRODUCT.plain(),
            _ => NO_DEVICE.because("`gateway_id` names it."),
        };
    }
    if let DeviceError::Store(StoreError::Exists { .. }) = &error {
        return DEVICE_EXISTS.because(error.to_string());
    }
    of_engine(error, NO_DEVICE)
}

/// What applications are told of a device: as it is shown, without anything that proves it.
pub(super) async fn told(engine: &Engine, device: &DeviceView) -> Result<Value, Problem> {
    let kept = members::of(engine, Thing::Device(device.record.row.key)).await?;
    let product = engine.product(&device.record.row.product_id).await.map_err(of_store)?;
    let mut shown = view(&Apps::of(engine).await?, device, product.as_ref(), &kept);
    times(&mut shown, device, &kept);
    Ok(Value::Object(shown))
}

/// The members that a device shown by itself has beside those of a row.
fn times(shown: &mut Map<String, Value>, device: &DeviceView, kept: &Members) {
    shown.insert("create_time".to_owned(), seconds(device.record.row.created_at).into());
    if let Some(at) = device.record.state.first_connected_at {
        shown.insert("active_time".to_owned(), millis(at).into());
    }
    // When a device went is not kept, and an earlier time would be taken for that.
    if let Some(at) = device.record.state.connected_at.filter(|_| device.online) {
        shown.insert("connection_status_update_time".to_owned(), millis(at).into());
    }
    if let Some(extension) = kept.get("extension_info") {
        shown.insert("extension_info".to_owned(), extension.clone());
    }
}

/// A row of a list.
fn view(apps: &Apps, view: &DeviceView, product: Option<&ProductRow>, kept: &Members) -> Map<String, Value> {
    let (row, state) = (&view.record.row, &view.record.state);
    let space = Apps::of_product(product);
    let product_name = product.map_or("", |product| &product.name);
    let gateway_id = view.record.gateway_id.as_ref().unwrap_or(&row.device_id);
    let status = super::words::status(view.status());
    let tags: Vec<Value> =
        row.tags.iter().map(|(key, value)| json!({"tag_key": key, "tag_value": value})).collect();
    let node_type = if row.gateway.is_some() { "ENDPOINT" } else { "GATEWAY" };
    let shown = [
        ("app_id", Some(Value::from(apps.id(space)))),
        ("app_name", Some(apps.name(space).into())),
        ("device_id", Some(row.device_id.as_str().into())),
        ("node_id", Some(row.node_id.clone().into())),
        ("gateway_id", Some(gateway_id.as_str().into())),
        ("device_name", row.name.clone().map(Value::from)),
        ("node_type", Some(node_type.into())),
        ("product_id", Some(row.product_id.clone().into())),
        ("product_name", Some(product_name.into())),
        ("status", Some(status.into())),
        ("tags", Some(Value::Array(tags))),
        ("fw_version", state.firmware_version.clone().map(Value::from)),
        ("sw_version", state.software_version.clone().map(Value::from)),
        ("device_sdk_version", view.sdk_version.clone().map(Value::from)),
        ("description", kept.get("description").cloned()),
    ];
    let present = shown.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    present.collect()
}

/// A device by itself. `is_new`: `timeout` is shown.
async fn show_one(call: &Call, device: &DeviceView, kept: Members, is_new: bool) -> Result<Value, Problem> {
    let row = &device.record.row;
    let product = call.engine.product(&row.product_id).await.map_err(of_store)?;
    let mut shown = view(&call.apps().await?, device, product.as_ref(), &kept);
    if row.auth == Auth::X509 || row.sealed_secret.is_some() {
        let auth_type = match row.auth {
            Auth::Secret => "SECRET",
            Auth::X509 => "CERTIFICATES",
        };
        let secure = kept.get("secure_access").cloned().unwrap_or(Value::Bool(false));
        let mut proof = json!({"auth_type": auth_type, "secure_access": secure});
        if let Some(fingerprint) = &row.fingerprint {
            proof["fingerprint"] = fingerprint.to_string().into();
        }
        if is_new {
            proof["timeout"] = kept.get("timeout").cloned().unwrap_or(json!(0));
        }
        // Applications read it here; whoever may only look does not get it.
        if call.change().is_ok()
            && let Some(secret) =
                call.engine.device_secret(&device.record).map_err(|error| of_engine(error, NO_DEVICE))?
        {
            proof["secret"] = secret.into();
        }
        shown.insert("auth_info".to_owned(), proof);
    }
    times(&mut shown, device, &kept);
    Ok(Value::Object(shown))
}

async fn found(call: &Call) -> Result<(DeviceView, Members), Problem> {
    let view = call.engine.device(call.id()).await.map_err(of_store)?;
    let view = view.ok_or_else(|| NO_DEVICE.plain())?;
    let kept = members::of(&call.engine, Thing::Device(view.record.row.key)).await?;
    Ok((view, kept))
}

async fn show(call: Call) -> Result<Json<Value>, Problem> {
    call.look()?;
    let (view, kept) = found(&call).await?;
    Ok(Json(show_one(&call, &view, kept, false).await?))
}

async fn list(call: Call) -> Result<Json<Listed>, Problem> {
    call.look()?;
    let spaces = call.asked_spaces(&call.apps().await?)?;
    let text = |name: &str| call.asked(name).map(str::to_owned);
    let moment = |name: &str| call.asked(name).map(|text| input::time(name, text)).transpose();
    let (from, until) = (moment("start_time")?, moment("end_time")?);
    if let (Some(from), Some(until)) = (from, until)
        && from >= until
    {
        return Err(TIME_ORDER.because("`start_time` is not before `end_time`."));
    }
    let page = call.paging()?.rows(DeviceKey);
    let gateway_id = match call.asked("gateway_id").map(DeviceId::parse) {
        None => None,
        Some(Ok(gateway_id)) => Some(gateway_id),
        // No device can have it.
        Some(Err(_)) => return Ok(Json(Listed { devices: Vec::new(), page: PageOf::new(0, None) })),
    };
    let filter = NewestDevices {
        product_id: text("product_id"),
        gateway_id,
        node_id: text("node_id"),
        name_part: text("device_name"),
        from,
        until,
        spaces,
        ..NewestDevices::default()
    };
    let (views, total) = call.engine.newest_devices(filter, page).await.map_err(of_store)?;
    let last = views.last().map(|view| view.record.row.key.0);
    Ok(Json(Listed { devices: rows(&call, &views).await?, page: PageOf::new(total.n, last) }))
}

/// Rows of a list, each with the name of its product.
pub(super) async fn rows(call: &Call, views: &[DeviceView]) -> Result<Vec<Value>, Problem> {
    let all = views.iter().map(|view| Thing::Device(view.record.row.key)).collect();
    let mut kept = members::all(&call.engine, all).await?;
    let apps = call.apps().await?;
    let mut products: BTreeMap<String, Option<ProductRow>> = BTreeMap::new();
    let mut rows = Vec::with_capacity(views.len());
    for device in views {
        let product_id = &device.record.row.product_id;
        if !products.contains_key(product_id) {
            let product = call.engine.product(product_id).await.map_err(of_store)?;
            products.insert(product_id.clone(), product);
        }
        let kept = kept.remove(&Thing::Device(device.record.row.key)).unwrap_or_default();
        rows.push(Value::Object(view(&apps, device, products[product_id].as_ref(), &kept)));
    }
    Ok(rows)
}

async fn update(call: Call) -> Result<Json<Value>, Problem> {
    let by = call.change()?;
    let (_, before) = found(&call).await?;
    let mut fields = call.fields()?;
    let named = fields.text("device_name", name(256))?;
    let mut said = Members::new();
    about(&mut fields, &mut said)?;
    if let Some(mut proof) = fields.object("auth_info")? {
        kept_auth(&mut proof, &mut said)?;
    }
    let timed = said.get("timeout").is_some_and(|timeout| before.get("timeout") != Some(timeout));
    if named.is_some() || !said.is_empty() {
        let members = (!said.is_empty()).then(|| members::text(&said));
        let change = DeviceChange { name: named.map(Some), members, ..DeviceChange::default() };
        call.engine.patch_device(by, call.id(), change).await.map_err(refused)?;
    }
    let (device, kept) = found(&call).await?;
    Ok(Json(show_one(&call, &device, kept, timed).await?))
}

async fn delete(call: Call) -> Result<StatusCode, Problem> {
    let by = call.change()?;
    call.engine.delete_device(by, call.id()).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn freeze(call: Call) -> Result<StatusCode, Problem> {
    frozen(&call, true).await
}

async fn unfreeze(call: Call) -> Result<StatusCode, Problem> {
    frozen(&call, false).await
}

async fn frozen(call: &Call, freezes: bool) -> Result<StatusCode, Problem> {
    let by = call.change()?;
    let (device, _) = found(call).await?;
    if device.record.row.gateway.is_some() {
        return Err(FREEZE_CHILD.plain());
    }
    if !freezes && !device.record.row.frozen {
        return Err(NOT_FROZEN.plain());
    }
    let change = DeviceChange { frozen: Some(freezes), ..DeviceChange::default() };
    call.engine.patch_device(by, call.id(), change).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize)]
struct NewSecret {
    device_id: String,
    secret: String,
    secret_type: &'static str,
}

async fn act(call: Call) -> Result<Json<NewSecret>, Problem> {
    let by = call.change()?;
    match call.asked_for("action_id")? {
        "resetSecret" => {}
        other => {
            let shown: String = other.chars().take(64).collect();
            return Err(INVALID.because(format!("`action_id` is {shown:?}; resetSecret is accepted.")));
        }
    }
    let mut fields = call.fields()?;
    only_primary(&mut fields, "secret_type")?;
    let keep_session = !fields.truth("force_disconnect")?.unwrap_or(false);
    let given = fields.text("secret", SECRET)?;
    let secret = match given {
        Some(secret) => secret,
        None => {
            let mut bytes = [0; 16];
            otaru_engine::random(&mut bytes).map_err(|error| of_engine(error, NO_DEVICE))?;
            bytes.iter().map(|byte| format!("{byte:02x}")).collect()
        }
    };
    let change = DeviceChange { secret: Some(secret.clone()), keep_session, ..DeviceChange::default() };
    call.engine.patch_device(by, call.id(), change).await.map_err(refused)?;
    Ok(Json(NewSecret { device_id: call.id().to_owned(), secret, secret_type: "PRIMARY" }))
}

/// A device has one secret and one fingerprint here.
fn only_primary(fields: &mut Fields, field: &str) -> Result<(), Problem> {
    match fields.word(field, &["PRIMARY", "SECONDARY"])? {
        Some("SECONDARY") => {
            Err(INVALID.because(format!("`{field}` SECONDARY is not offered; PRIMARY is accepted.")))
        }
        Some(_) | None => Ok(()),
    }
}

#[derive(Serialize)]
struct NewFingerprint {
    device_id: String,
    fingerprint: Option<String>,
    fingerprint_type: &'static str,
}

async fn reset_fingerprint(call: Call) -> Result<Json<NewFingerprint>, Problem> {
    let by = call.change()?;
    let mut fields = call.fields()?;
    only_primary(&mut fields, "fingerprint_type")?;
    let keep_session = !fields.truth("force_disconnect")?.unwrap_or(false);
    let fingerprint = fields.text("fingerprint", FINGERPRINT)?;
    let change =
        DeviceChange { fingerprint: Some(fingerprint.clone()), keep_session, ..DeviceChange::default() };
    call.engine.patch_device(by, call.id(), change).await.map_err(refused)?;
    let device_id = call.id().to_owned();
    Ok(Json(NewFingerprint { device_id, fingerprint, fingerprint_type: "PRIMARY" }))
}

async fn change_gateway(call: Call) -> Result<StatusCode, Problem> {
    let by = call.change()?;
    let gateway_id = call.fields()?.needed("gateway_id", DEVICE_ID)?;
    call.engine.move_child(by, call.id(), &gateway_id).await.map_err(refused)?;
    Ok(StatusCode::OK)
}

#[derive(Serialize)]
struct GroupsOf {
    device_groups: Vec<GroupView>,
}

async fn groups(call: Call) -> Result<Json<GroupsOf>, Problem> {
    call.look()?;
    let (device, _) = found(&call).await?;
    let rows = call.engine.groups_of(device.record.row.key).await.map_err(of_store)?;
    Ok(Json(GroupsOf { device_groups: GroupView::all(&call, rows).await? }))
}
