//! `/device-group`.

use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use otaru_engine::{DeviceKey, GroupError, GroupKey, GroupRequest, GroupRow, NewestDevices, Thing};
use serde::Serialize;
use serde_json::{Map, Value};

use super::call::Call;
use super::input::{ID, name, prose};
use super::members::{self, Members};
use super::paging::PageOf;
use super::refusal::{INVALID, NO_DEVICE, NO_GROUP, NO_SPACE, of_engine, of_store};
use crate::problem::Problem;
use crate::router::Shared;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v5/iot/{project_id}/device-group", get(list).post(create))
        .route("/v5/iot/{project_id}/device-group/{group_id}", get(show).put(update).delete(delete))
        .route("/v5/iot/{project_id}/device-group/{group_id}/devices", get(devices))
        .route("/v5/iot/{project_id}/device-group/{group_id}/action", post(act))
}

#[derive(Serialize)]
pub(super) struct GroupView {
    group_id: String,
    name: String,
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    super_group_id: Option<Value>,
    /// There are no others.
    group_type: &'static str,
}

impl GroupView {
    fn of(row: GroupRow, mut kept: Members) -> GroupView {
        GroupView {
            group_id: row.group_id,
            name: row.name,
            description: row.description,
            super_group_id: kept.remove("super_group_id"),
            group_type: "STATIC",
        }
    }

    pub(super) async fn all(call: &Call, rows: Vec<GroupRow>) -> Result<Vec<GroupView>, Problem> {
        let all = rows.iter().map(|row| Thing::Group(row.key)).collect();
        let mut kept = members::all(&call.engine, all).await?;
        let view = |row: GroupRow| {
            let kept = kept.remove(&Thing::Group(row.key)).unwrap_or_default();
            GroupView::of(row, kept)
        };
        Ok(rows.into_iter().map(view).collect())
    }
}

fn refused(error: GroupError) -> Problem {
    of_engine(error, NO_GROUP)
}

async fn create(call: Call) -> Result<(StatusCode, Json<GroupView>), Problem> {
    let by = call.change()?;
    let mut fields = call.fields()?;
    let space = call.apps().await?.chosen(fields.text("app_id", ID)?.as_deref())?;
    let request = GroupRequest {
        group_id: Some(super::new_uuid()?),
        name: fields.needed("name", name(64))?,
        description: fields.text("description", prose(64))?.unwrap_or_default(),
    };
    if fields.word("group_type", &["STATIC", "DYNAMIC"])? == Some("DYNAMIC") {
        return Err(INVALID.because("`group_type` DYNAMIC is not offered; STATIC is accepted."));
    }
    let mut kept = Map::new();
    if let Some(above) = fields.text("super_group_id", ID)? {
        call.engine
            .group(&above)
            .await
            .map_err(of_store)?
            .ok_or_else(|| NO_GROUP.because("`super_group_id` names it."))?;
        kept.insert("super_group_id".to_owned(), above.into());
    }
    let made = call.engine.create_group_with(by, request, space, members::text(&kept)).await;
    Ok((StatusCode::CREATED, Json(GroupView::of(made.map_err(|error| of_engine(error, NO_SPACE))?, kept))))
}

#[derive(Serialize)]
struct Listed {
    device_groups: Vec<GroupView>,
    page: PageOf,
}

async fn list(call: Call) -> Result<Json<Listed>, Problem> {
    call.look()?;
    let spaces = call.asked_spaces(&call.apps().await?)?;
    let page = call.paging()?.rows(GroupKey);
    if call.asked_word("group_type", &["STATIC", "DYNAMIC"])? == Some("DYNAMIC") {
        return Ok(Json(Listed { device_groups: Vec::new(), page: PageOf::new(0, None) }));
    }
    let named = call.asked("name").map(str::to_owned);
    let (rows, total) = call.engine.newest_groups(spaces, named, page).await.map_err(of_store)?;
    let last = rows.last().map(|row| row.key.0);
    Ok(Json(Listed { device_groups: GroupView::all(&call, rows).await?, page: PageOf::new(total.n, last) }))
}

async fn found(call: &Call) -> Result<GroupRow, Problem> {
    call.engine.group(call.id()).await.map_err(of_store)?.ok_or_else(|| NO_GROUP.plain())
}

async fn show(call: Call) -> Result<Json<GroupView>, Problem> {
    call.look()?;
    let row = found(&call).await?;
    let kept = members::of(&call.engine, Thing::Group(row.key)).await?;
    Ok(Json(GroupView::of(row, kept)))
}

async fn update(call: Call) -> Result<Json<GroupView>, Problem> {
    let by = call.change()?;
    let mut fields = call.fields()?;
    let (named, description) = (fields.text("name", name(64))?, fields.text("description", prose(64))?);
    let row = call.engine.patch_group(by, call.id(), named, description).await.map_err(refused)?;
    let kept = members::of(&call.engine, Thing::Group(row.key)).await?;
    Ok(Json(GroupView::of(row, kept)))
}

async fn delete(call: Call) -> Result<StatusCode, Problem> {
    let by = call.change()?;
    call.engine.delete_group(by, call.id()).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize)]
struct Member {
    device_id: String,
    node_id: String,
    device_name: Option<String>,
    product_id: String,
}

#[derive(Serialize)]
struct MembersListed {
    devices: Vec<Member>,
    page: PageOf,
}

async fn devices(call: Call) -> Result<Json<MembersListed>, Problem> {
    call.look()?;
    let group = found(&call).await?;
    let page = call.paging()?.rows(DeviceKey);
    let filter = NewestDevices { group_id: Some(group.group_id), ..NewestDevices::default() };
    let (views, _) = call.engine.newest_devices(filter, page).await.map_err(of_store)?;
    let last = views.last().map(|view| view.record.row.key.0);
    let devices = views.into_iter().map(|view| Member {
        device_id: view.record.row.device_id.to_string(),
        node_id: view.record.row.node_id,
        device_name: view.record.row.name,
        product_id: view.record.row.product_id,
    });
    Ok(Json(MembersListed { devices: devices.collect(), page: PageOf::new(group.members, last) }))
}

async fn act(call: Call) -> Result<StatusCode, Problem> {
    let by = call.change()?;
    let device_id = call.asked_for("device_id")?.to_owned();
    let joins = match call.asked_for("action_id")? {
        "addDevice" => true,
        "removeDevice" => false,
        other => {
            let shown: String = other.chars().take(64).collect();
            return Err(INVALID
                .because(format!("`action_id` is {shown:?}; addDevice and removeDevice are accepted.")));
        }
    };
    let group = found(&call).await?.group_id;
    let devices = [device_id];
    let moved = if joins {
        call.engine.add_members(by, &group, &devices).await
    } else {
        call.engine.remove_members(by, &group, &devices).await
    };
    if moved.map_err(refused)?.unknown.is_empty() { Ok(StatusCode::OK) } else { Err(NO_DEVICE.plain()) }
}
