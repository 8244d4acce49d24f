//! `/devices`: what can be updated.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json as Answer, Router};
use otaru_engine::{Auth, DeviceChange, DeviceFilter, DeviceRequest, DeviceView, Engine};
use otaru_proto::DeviceId;
use serde::{Deserialize, Deserializer, Serialize};

use super::Id;
use super::reports::Report;
use crate::body::{Json, or_default};
use crate::caller::{Change, Look, May};
use crate::problem::Problem;
use crate::query::{Asked, Listed, bad};
use crate::router::Shared;
use crate::times::Moment;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/devices", get(list).post(register))
        .route("/devices/{id}", get(one).patch(change).delete(delete))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewDevice {
    #[serde(default)]
    device_id: Option<String>,
    node_id: String,
    product_id: String,
    #[serde(default)]
    auth: Auth,
    #[serde(default)]
    secret: Option<String>,
    #[serde(default)]
    fingerprint: Option<String>,
    #[serde(default)]
    gateway_id: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    tags: BTreeMap<String, String>,
}

/// What to change; a member that is left out stays as it is, and a `null` name or fingerprint is none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Changes {
    #[serde(default, deserialize_with = "given")]
    name: Option<Option<String>>,
    #[serde(default)]
    tags: Option<BTreeMap<String, String>>,
    #[serde(default)]
    frozen: Option<bool>,
    #[serde(default)]
    secret: Option<String>,
    #[serde(default, deserialize_with = "given")]
    fingerprint: Option<Option<String>>,
}

/// Keeps `null` apart from a member that is left out.
fn given<'de, D: Deserializer<'de>>(member: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(member).map(Some)
}

#[derive(Serialize)]
struct Shown {
    device_id: String,
    node_id: String,
    product_id: String,
    gateway_id: Option<String>,
    name: Option<String>,
    tags: BTreeMap<String, String>,
    auth: &'static str,
    fingerprint: Option<String>,
    frozen: bool,
    online: bool,
    firmware_version: Option<String>,
    software_version: Option<String>,
    /// Only where one device is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    sdk_version: Option<String>,
    last_report: Option<Report>,
    last_report_at: Option<Moment>,
    connected_at: Option<Moment>,
    created_at: Moment,
}

impl From<DeviceView> for Shown {
    fn from(view: DeviceView) -> Shown {
        let DeviceView { record, online, last_report, sdk_version } = view;
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
            last_report: last_report.map(Report::from),
            last_report_at: state.last_report_at.map(Moment),
            connected_at: state.connected_at.map(Moment),
            created_at: Moment(row.created_at),
        }
    }
}

/// A device just registered: the only answer that ever shows its secret.
#[derive(Serialize)]
struct Registered {
    #[serde(flatten)]
    device: Shown,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

async fn register(
    State(engine): State<Engine>,
    may: May<Change>,
    Json(asked): Json<NewDevice>,
) -> Result<(StatusCode, Answer<Registered>), Problem> {
    let NewDevice { device_id, node_id, product_id, auth, secret, fingerprint, gateway_id, name, tags } =
        asked;
    let request =
        DeviceRequest { device_id, node_id, product_id, auth, secret, fingerprint, gateway_id, name, tags };
    let made = engine.register_device(&may.by, request).await?;
    // A child may have been heard of before it was registered, but nobody is online at the moment of its making.
    let view = DeviceView { record: made.record, online: false, last_report: None, sdk_version: None };
    Ok((StatusCode::CREATED, Answer(Registered { device: view.into(), secret: made.secret })))
}

const FILTERS: [&str; 5] = ["product_id", "gateway_id", "tag", "cursor", "limit"];

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
    Ok(DeviceFilter { product_id: asked.one("product_id")?.map(str::to_owned), tags, gateway_id })
}

async fn one(State(engine): State<Engine>, _: May<Look>, Id(id): Id) -> Result<Answer<Shown>, Problem> {
    show(&engine, &id).await
}

async fn change(
    State(engine): State<Engine>,
    may: May<Change>,
    Id(id): Id,
    Json(asked): Json<Changes>,
) -> Result<Answer<Shown>, Problem> {
    let Changes { name, tags, frozen, secret, fingerprint } = asked;
    engine.patch_device(&may.by, &id, DeviceChange { name, tags, frozen, secret, fingerprint }).await?;
    show(&engine, &id).await
}

async fn show(engine: &Engine, id: &str) -> Result<Answer<Shown>, Problem> {
    match engine.device(id).await? {
        Some(view) => Ok(Answer(view.into())),
        None => Err(Problem::not_found("device", id)),
    }
}

async fn delete(State(engine): State<Engine>, may: May<Change>, Id(id): Id) -> Result<StatusCode, Problem> {
    engine.delete_device(&may.by, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
