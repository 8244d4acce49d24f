//! `/tags`: of devices.

use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use otaru_engine::{DeviceChange, DeviceKey, NewestDevices, Operator, TagsChange};
use serde::Serialize;

use super::call::Call;
use super::input::{DEVICE_ID, Fields, tag};
use super::paging::PageOf;
use super::refusal::{INVALID, NO_DEVICE, TAG_RESERVED, of_engine, of_store};
use crate::problem::Problem;
use crate::router::Shared;

/// Tags of one device.
pub(super) const TAGS_MAX: usize = 10;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v5/iot/{project_id}/tags/bind-resource", post(bind))
        .route("/v5/iot/{project_id}/tags/unbind-resource", post(unbind))
        .route("/v5/iot/{project_id}/tags/query-resources", post(query))
}

fn of_devices(fields: &mut Fields) -> Result<(), Problem> {
    match fields.word("resource_type", &["device"])? {
        Some(_) => Ok(()),
        None => Err(INVALID.because("`resource_type` is required; device is accepted.")),
    }
}

fn device_id(fields: &mut Fields) -> Result<String, Problem> {
    fields.needed("resource_id", DEVICE_ID)
}

fn pairs(fields: &mut Fields) -> Result<Vec<(String, String)>, Problem> {
    let entries = fields.objects("tags", TAGS_MAX)?.unwrap_or_default();
    if entries.is_empty() {
        return Err(INVALID.because("`tags` is required; name at least one."));
    }
    let pair = |mut entry: Fields| {
        let key = entry.needed("tag_key", tag(64))?;
        Ok((key, entry.text("tag_value", tag(128))?.unwrap_or_default()))
    };
    entries.into_iter().map(pair).collect()
}

async fn bind(call: Call) -> Result<StatusCode, Problem> {
    let by = call.change()?;
    let mut fields = call.fields()?;
    of_devices(&mut fields)?;
    let pairs = pairs(&mut fields)?;
    if let Some((key, _)) = pairs.iter().find(|(key, _)| key.starts_with("iot_")) {
        return Err(TAG_RESERVED
            .because(format!("`tag_key` is {key:?}; keys that begin with iot_ are not accepted.")));
    }
    let device_id = device_id(&mut fields)?;
    change(&call, by, &device_id, TagsChange::Added { tags: pairs.into_iter().collect(), most: TAGS_MAX })
        .await
}

async fn unbind(call: Call) -> Result<StatusCode, Problem> {
    let by = call.change()?;
    let mut fields = call.fields()?;
    of_devices(&mut fields)?;
    let keys = fields.texts("tag_keys", TAGS_MAX, tag(64))?.unwrap_or_default();
    if keys.is_empty() {
        return Err(INVALID.because("`tag_keys` is required; name at least one."));
    }
    let device_id = device_id(&mut fields)?;
    change(&call, by, &device_id, TagsChange::Removed(keys.into_iter().collect())).await
}

async fn change(
    call: &Call,
    by: &Operator,
    device_id: &str,
    tags: TagsChange,
) -> Result<StatusCode, Problem> {
    let change = DeviceChange { tags: Some(tags), ..DeviceChange::default() };
    call.engine.patch_device(by, device_id, change).await.map_err(|error| of_engine(error, NO_DEVICE))?;
    Ok(StatusCode::OK)
}

#[derive(Serialize)]
struct Resource {
    resource_id: String,
}

#[derive(Serialize)]
struct Listed {
    resources: Vec<Resource>,
    page: PageOf,
}

/// Devices with at least one of the tags.
async fn query(call: Call) -> Result<Json<Listed>, Problem> {
    call.look()?;
    let mut fields = call.fields()?;
    of_devices(&mut fields)?;
    let filter = NewestDevices { any_tag: pairs(&mut fields)?, ..NewestDevices::default() };
    let page = call.paging()?.rows(DeviceKey);
    let (views, total) = call.engine.newest_devices(filter, page).await.map_err(of_store)?;
    let last = views.last().map(|view| view.record.row.key.0);
    let resources =
        views.into_iter().map(|view| Resource { resource_id: view.record.row.device_id.to_string() });
    Ok(Json(Listed { resources: resources.collect(), page: PageOf::new(total.n, last) }))
}
