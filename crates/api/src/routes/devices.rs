//! `/devices`: what can be updated.

use std::collections::BTreeMap;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use otaru_engine::{Auth, DeviceChange, DeviceFilter, DeviceRequest, DeviceView, Engine, TagsChange};
use otaru_proto::DeviceId;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Id;
use super::reports::Report;
use crate::body::{Json, NoMembers, or_default};
use crate::caller::{Change, Look, May};
use crate::openapi::{Pages, words};
use crate::problem::Problem;
use crate::query::{Asked, Listed, bad};
use crate::router::Shared;
use crate::times::Moment;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::default()
        .routes(routes!(list, register))
        .routes(routes!(one, change, delete))
        .routes(routes!(freeze))
        .routes(routes!(unfreeze))
        .routes(routes!(reset_secret))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewDevice {
    /// Without one it is `{product_id}_{node_id}`.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9_-]+$")]
    pub(super) device_id: Option<String>,
    /// The maker's own id, unique within the product.
    #[schema(min_length = 1, max_length = 64)]
    pub(super) node_id: String,
    #[schema(min_length = 1, max_length = 256)]
    pub(super) product_id: String,
    #[serde(default, deserialize_with = "or_default")]
    #[schema(value_type = Option<words::AuthWord>)]
    pub(super) auth: Auth,
    /// Without one, a device with `auth` `secret` that has no gateway gets one.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 256)]
    pub(super) secret: Option<String>,
    /// SHA-256 of its certificate as 64 hex digits, or SHA-1 as 40; colons between bytes are fine. Only with `auth` `x509`.
    #[serde(default)]
    pub(super) fingerprint: Option<String>,
    /// The gateway that it is a child of.
    #[serde(default)]
    pub(super) gateway_id: Option<String>,
    /// For people.
    #[serde(default)]
    #[schema(max_length = 256)]
    pub(super) name: Option<String>,
    /// At most 64; keys of 1 to 128 characters, values of at most 128.
    #[serde(default, deserialize_with = "or_default")]
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    pub(super) tags: BTreeMap<String, String>,
}

impl From<NewDevice> for DeviceRequest {
    fn from(asked: NewDevice) -> DeviceRequest {
        let NewDevice { device_id, node_id, product_id, auth, secret, fingerprint, gateway_id, name, tags } =
            asked;
        DeviceRequest { device_id, node_id, product_id, auth, secret, fingerprint, gateway_id, name, tags }
    }
}

/// What to change; a member that is left out stays as it is, and a `null` name or fingerprint is none.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DeviceChanges)]
struct Changes {
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 256)]
    name: Option<Option<String>>,
    /// All of them: those that are not named are gone.
    #[serde(default)]
    tags: Option<BTreeMap<String, String>>,
    /// A frozen device may not connect.
    #[serde(default)]
    frozen: Option<bool>,
    #[serde(default)]
    #[schema(min_length = 1, max_length = 256)]
    secret: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    fingerprint: Option<Option<String>>,
}

/// Keeps `null` apart from a member that is left out.
fn given<'de, D: Deserializer<'de>>(member: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(member).map(Some)
}

#[derive(Serialize, ToSchema)]
#[schema(as = Device)]
struct Shown {
    device_id: String,
    node_id: String,
    product_id: String,
    #[schema(required)]
    gateway_id: Option<String>,
    #[schema(required)]
    name: Option<String>,
    tags: BTreeMap<String, String>,
    #[schema(value_type = words::AuthWord)]
    auth: &'static str,
    #[schema(required)]
    fingerprint: Option<String>,
    frozen: bool,
    /// It is connected, or its gateway is.
    online: bool,
    #[schema(required)]
    firmware_version: Option<String>,
    #[schema(required)]
    software_version: Option<String>,
    /// Only where one device is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    sdk_version: Option<String>,
    /// The groups that it is in; only where one device is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Vec<String>, required = false)]
    group_ids: Option<Vec<String>>,
    #[schema(required)]
    last_report: Option<Report>,
    #[schema(required)]
    last_report_at: Option<Moment>,
    #[schema(required)]
    connected_at: Option<Moment>,
    created_at: Moment,
}

impl From<DeviceView> for Shown {
    fn from(view: DeviceView) -> Shown {
        let DeviceView { record, online, last_report, sdk_version, group_ids } = view;
        let (row, state) = (record.row, record.state);
        Shown {
            device_id: row.device_id.to_string(),
            node_id: row.node_id,
            product_id: row.product_id,
            gateway_id: record.gateway_id.map(|id| id.to_string()),
            name: row.name,
            tags: row.tags,
            auth: row.auth.name(),
            fingerprint: row.fingerprint.map(|fingerprint| fingerprint.to_string()),
            frozen: row.frozen,
            online,
            firmware_version: state.firmware_version,
            software_version: state.software_version,
            sdk_version,
            group_ids,
            last_report: last_report.map(Report::from),
            last_report_at: state.last_report_at.map(Moment),
            connected_at: state.connected_at.map(Moment),
            created_at: Moment(row.created_at),
        }
    }
}

/// A device just registered: the only answer that ever shows its secret.
#[derive(Serialize, ToSchema)]
#[schema(as = RegisteredDevice)]
struct Registered {
    #[serde(flatten)]
    device: Shown,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    secret: Option<String>,
}

/// Registers a device.
///
/// A secret is in this answer only, and only if it was not given.
#[utoipa::path(
    post, path = "/devices", tag = "devices", operation_id = "register_device",
    security(("token" = ["operator"])),
    request_body = NewDevice,
    responses((status = 201, description = "Registered", body = Registered)),
    extensions(("x-codes" = json!(["invalid", "invalid_id", "unknown_product", "unknown_gateway", "exists_already"]))),
)]
async fn register(
    State(engine): State<Engine>,
    may: May<Change>,
    Json(asked): Json<NewDevice>,
) -> Result<(StatusCode, Answer<Registered>), Problem> {
    let made = engine.register_device(&may.by, asked.into()).await?;
    // A child may have been heard of before it was registered, but nobody is online at the moment of its making.
    let view = DeviceView {
        record: made.record,
        online: false,
        last_report: None,
        sdk_version: None,
        group_ids: Some(Vec::new()),
    };
    Ok((StatusCode::CREATED, Answer(Registered { device: view.into(), secret: made.secret })))
}

const FILTERS: [&str; 6] = ["product_id", "gateway_id", "group_id", "tag", "cursor", "limit"];

/// Lists devices, the oldest first.
#[utoipa::path(
    get, path = "/devices", tag = "devices", operation_id = "list_devices",
    security(("token" = ["viewer"])),
    params(
        ("product_id" = Option<String>, Query, description = "Only those of this product"),
        ("gateway_id" = Option<String>, Query, description = "Only the children of this gateway"),
        ("group_id" = Option<String>, Query, description = "Only those in this group"),
        ("tag" = Option<Vec<String>>, Query, style = Form, explode, description = "Only those with this tag, as `KEY:VALUE`; given again, with all of them"),
        Pages,
    ),
    responses((status = 200, description = "A page", body = Listed<Shown>)),
)]
async fn list(
    State(engine): State<Engine>,
    _: May<Look>,
    asked: Asked,
) -> Result<Answer<Listed<Shown>>, Problem> {
    let asked = asked.only(&FILTERS)?;
    let part = asked.part()?;
    let devices = engine.devices(filter(&asked)?, part.page()).await?;
    Ok(Answer(part.listed(devices, |device| device.record.row.key, Shown::from)))
}

fn filter(asked: &Asked) -> Result<DeviceFilter, Problem> {
    let gateway_id = asked
        .one("gateway_id")?
        .map(|id| DeviceId::parse(id).map_err(|error| bad("gateway_id", id, &error.to_string())))
        .transpose()?;
    let mut tags = BTreeMap::new();
    for tag in asked.all("tag") {
        let Some((key, value)) = tag.split_once(':') else {
            return Err(bad(
                "tag",
                tag,
                "a tag is asked for as `tag=KEY:VALUE`, and again for each further one",
            ));
        };
        tags.insert(key.to_owned(), value.to_owned());
    }
    let text = |name| Ok::<_, Problem>(asked.one(name)?.map(str::to_owned));
    Ok(DeviceFilter { product_id: text("product_id")?, tags, gateway_id, group_id: text("group_id")? })
}

/// Shows a device.
#[utoipa::path(
    get, path = "/devices/{id}", tag = "devices", operation_id = "get_device",
    security(("token" = ["viewer"])),
    params(("id" = String, Path, description = "A `device_id`")),
    responses((status = 200, description = "The device", body = Shown)),
    extensions(("x-codes" = json!(["not_found"]))),
)]
async fn one(State(engine): State<Engine>, _: May<Look>, Id(id): Id) -> Result<Answer<Shown>, Problem> {
    show(&engine, &id).await
}

/// Changes a device.
///
/// Frozen, or with another secret or fingerprint, it loses its connection.
#[utoipa::path(
    patch, path = "/devices/{id}", tag = "devices", operation_id = "change_device",
    security(("token" = ["operator"])),
    params(("id" = String, Path, description = "A `device_id`")),
    request_body = Changes,
    responses((status = 200, description = "As it is now", body = Shown)),
    extensions(("x-codes" = json!(["not_found", "invalid"]))),
)]
async fn change(
    State(engine): State<Engine>,
    may: May<Change>,
    Id(id): Id,
    Json(asked): Json<Changes>,
) -> Result<Answer<Shown>, Problem> {
    let Changes { name, tags, frozen, secret, fingerprint } = asked;
    let tags = tags.map(TagsChange::Replaced);
    engine
        .patch_device(
            &may.by,
            &id,
            DeviceChange { name, tags, members: None, frozen, secret, fingerprint, keep_session: false },
        )
        .await?;
    show(&engine, &id).await
}

/// Freezes a device: it is refused from now on, and its session ends.
///
/// What it is to do waits, and ends when its time is over. Said again, nothing changes.
#[utoipa::path(
    post, path = "/devices/{id}/freeze", tag = "devices", operation_id = "freeze_device",
    security(("token" = ["operator"])),
    params(("id" = String, Path, description = "A `device_id`")),
    responses((status = 200, description = "As it is now", body = Shown)),
    extensions(("x-codes" = json!(["not_found"]))),
)]
async fn freeze(
    State(engine): State<Engine>,
    may: May<Change>,
    Id(id): Id,
) -> Result<Answer<Shown>, Problem> {
    set_frozen(&engine, &may, &id, true).await
}

/// Lets a frozen device connect again. Said again, nothing changes.
#[utoipa::path(
    post, path = "/devices/{id}/unfreeze", tag = "devices", operation_id = "unfreeze_device",
    security(("token" = ["operator"])),
    params(("id" = String, Path, description = "A `device_id`")),
    responses((status = 200, description = "As it is now", body = Shown)),
    extensions(("x-codes" = json!(["not_found"]))),
)]
async fn unfreeze(
    State(engine): State<Engine>,
    may: May<Change>,
    Id(id): Id,
) -> Result<Answer<Shown>, Problem> {
    set_frozen(&engine, &may, &id, false).await
}

async fn set_frozen(
    engine: &Engine,
    may: &May<Change>,
    id: &str,
    frozen: bool,
) -> Result<Answer<Shown>, Problem> {
    let change = DeviceChange { frozen: Some(frozen), ..DeviceChange::default() };
    engine.patch_device(&may.by, id, change).await?;
    show(engine, id).await
}

#[derive(Serialize, ToSchema)]
#[schema(as = NewSecret)]
struct NewSecret {
    device_id: String,
    /// Shown once.
    secret: String,
}

/// Gives a device a new secret, made here, and ends its session.
///
/// The one it had is worth nothing from now on. To choose the secret, change the device's `secret` instead.
#[utoipa::path(
    post, path = "/devices/{id}/reset-secret", tag = "devices", operation_id = "reset_device_secret",
    security(("token" = ["operator"])),
    params(("id" = String, Path, description = "A `device_id`")),
    responses((status = 200, description = "The secret; it is shown once", body = NewSecret)),
    extensions(("x-codes" = json!(["not_found", "invalid", "invalid_json", "invalid_member", "body_incomplete", "body_too_large"]))),
)]
async fn reset_secret(
    State(engine): State<Engine>,
    may: May<Change>,
    Id(id): Id,
    NoMembers: NoMembers,
) -> Result<Answer<NewSecret>, Problem> {
    let secret = engine.reset_secret(&may.by, &id).await?;
    Ok(Answer(NewSecret { device_id: id, secret }))
}

async fn show(engine: &Engine, id: &str) -> Result<Answer<Shown>, Problem> {
    match engine.device(id).await? {
        Some(view) => Ok(Answer(view.into())),
        None => Err(Problem::not_found("device", id)),
    }
}

/// Deletes a device.
///
/// What it is part of ends as `removed`; its history stays with its campaigns.
#[utoipa::path(
    delete, path = "/devices/{id}", tag = "devices", operation_id = "delete_device",
    security(("token" = ["operator"])),
    params(("id" = String, Path, description = "A `device_id`")),
    responses((status = 204, description = "It is gone")),
    extensions(("x-codes" = json!(["not_found", "in_use"]))),
)]
async fn delete(State(engine): State<Engine>, may: May<Change>, Id(id): Id) -> Result<StatusCode, Problem> {
    engine.delete_device(&may.by, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
