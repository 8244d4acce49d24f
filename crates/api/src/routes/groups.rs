//! `/groups`: devices put together by hand, to be listed and upgraded together.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use otaru_engine::{Engine, GroupRequest, GroupRow, MembersMoved};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Id;
use crate::body::{Json, or_default};
use crate::caller::{Change, Look, May};
use crate::openapi::Pages;
use crate::problem::Problem;
use crate::query::{Asked, Listed};
use crate::router::Shared;
use crate::times::Moment;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::default()
        .routes(routes!(list, create))
        .routes(routes!(one, change, delete))
        .routes(routes!(add))
        .routes(routes!(remove))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewGroup {
    /// Without one it gets 24 hex digits.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9_-]+$")]
    group_id: Option<String>,
    /// For people, and unique; blanks around it are taken away.
    #[schema(min_length = 1, max_length = 256)]
    name: String,
    /// For people.
    #[serde(default, deserialize_with = "or_default")]
    #[schema(value_type = Option<String>, max_length = 1024)]
    description: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = GroupChanges)]
struct Changes {
    /// For people, and unique; blanks around it are taken away.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 256)]
    name: Option<String>,
    /// For people.
    #[serde(default)]
    #[schema(max_length = 1024)]
    description: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct GroupMembers {
    /// At most 30 000.
    #[schema(min_items = 1, max_items = 30000)]
    device_ids: Vec<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Group)]
struct GroupView {
    group_id: String,
    name: String,
    description: String,
    /// How many devices are in it.
    members: u64,
    created_at: Moment,
}

impl From<GroupRow> for GroupView {
    fn from(row: GroupRow) -> GroupView {
        GroupView {
            group_id: row.group_id,
            name: row.name,
            description: row.description,
            members: row.members,
            created_at: Moment(row.created_at),
        }
    }
}

/// What became of the devices.
#[derive(Serialize, ToSchema)]
#[schema(as = MembersMoved)]
struct Moved {
    /// How many joined, or left.
    changed: u64,
    /// How many were in the group already, or were not in it.
    unchanged: u64,
    /// Those that are not registered. They do not disturb the others.
    unknown: Vec<String>,
}

impl From<MembersMoved> for Moved {
    fn from(moved: MembersMoved) -> Moved {
        let MembersMoved { changed, unchanged, unknown } = moved;
        Moved { changed, unchanged, unknown }
    }
}

/// Makes a group with nobody in it.
#[utoipa::path(
    post, path = "/groups", tag = "groups", operation_id = "create_group",
    security(("token" = ["operator"])),
    request_body = NewGroup,
    responses((status = 201, description = "Made", body = GroupView)),
    extensions(("x-codes" = json!(["invalid", "invalid_id", "exists_already", "limit_reached"]))),
)]
async fn create(
    State(engine): State<Engine>,
    may: May<Change>,
    Json(asked): Json<NewGroup>,
) -> Result<(StatusCode, Answer<GroupView>), Problem> {
    let NewGroup { group_id, name, description } = asked;
    let row = engine.create_group(&may.by, GroupRequest { group_id, name, description }).await?;
    Ok((StatusCode::CREATED, Answer(row.into())))
}

/// Lists groups, the oldest first.
///
/// The devices of a group are `GET /devices?group_id=…`.
#[utoipa::path(
    get, path = "/groups", tag = "groups", operation_id = "list_groups",
    security(("token" = ["viewer"])),
    params(
        ("name" = Option<String>, Query, description = "Only those whose name contains this, whatever the case"),
        Pages,
    ),
    responses((status = 200, description = "A page", body = Listed<GroupView>)),
)]
async fn list(
    State(engine): State<Engine>,
    _: May<Look>,
    asked: Asked,
) -> Result<Answer<Listed<GroupView>>, Problem> {
    let asked = asked.only(&["name", "cursor", "limit"])?;
    let part = asked.part()?;
    let rows = engine.groups(asked.one("name")?.map(str::to_owned), part.page()).await?;
    Ok(Answer(part.listed(rows, |row| row.key, GroupView::from)))
}

/// Shows a group.
#[utoipa::path(
    get, path = "/groups/{id}", tag = "groups", operation_id = "get_group",
    security(("token" = ["viewer"])),
    params(("id" = String, Path, description = "A `group_id`")),
    responses((status = 200, description = "The group", body = GroupView)),
    extensions(("x-codes" = json!(["not_found"]))),
)]
async fn one(State(engine): State<Engine>, _: May<Look>, Id(id): Id) -> Result<Answer<GroupView>, Problem> {
    match engine.group(&id).await? {
        Some(row) => Ok(Answer(row.into())),
        None => Err(Problem::not_found("group", &id)),
    }
}

/// Changes a group's name or description.
#[utoipa::path(
    patch, path = "/groups/{id}", tag = "groups", operation_id = "change_group",
    security(("token" = ["operator"])),
    params(("id" = String, Path, description = "A `group_id`")),
    request_body = Changes,
    responses((status = 200, description = "As it is now", body = GroupView)),
    extensions(("x-codes" = json!(["not_found", "invalid", "exists_already"]))),
)]
async fn change(
    State(engine): State<Engine>,
    may: May<Change>,
    Id(id): Id,
    Json(asked): Json<Changes>,
) -> Result<Answer<GroupView>, Problem> {
    Ok(Answer(engine.patch_group(&may.by, &id, asked.name, asked.description).await?.into()))
}

/// Deletes a group. Its devices stay, and so do the campaigns that were made for it.
#[utoipa::path(
    delete, path = "/groups/{id}", tag = "groups", operation_id = "delete_group",
    security(("token" = ["operator"])),
    params(("id" = String, Path, description = "A `group_id`")),
    responses((status = 204, description = "Deleted")),
    extensions(("x-codes" = json!(["not_found", "in_use"]))),
)]
async fn delete(State(engine): State<Engine>, may: May<Change>, Id(id): Id) -> Result<StatusCode, Problem> {
    engine.delete_group(&may.by, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Puts devices into a group. Said again, nothing changes.
#[utoipa::path(
    post, path = "/groups/{id}/devices/add", tag = "groups", operation_id = "add_devices_to_group",
    security(("token" = ["operator"])),
    params(("id" = String, Path, description = "A `group_id`")),
    request_body = GroupMembers,
    responses((status = 200, description = "What became of them", body = Moved)),
    extensions(("x-codes" = json!(["not_found", "invalid", "too_many_devices", "limit_reached"]))),
)]
async fn add(
    State(engine): State<Engine>,
    may: May<Change>,
    Id(id): Id,
    Json(asked): Json<GroupMembers>,
) -> Result<Answer<Moved>, Problem> {
    Ok(Answer(engine.add_members(&may.by, &id, &asked.device_ids).await?.into()))
}

/// Takes devices out of a group. Said again, nothing changes.
#[utoipa::path(
    post, path = "/groups/{id}/devices/remove", tag = "groups", operation_id = "remove_devices_from_group",
    security(("token" = ["operator"])),
    params(("id" = String, Path, description = "A `group_id`")),
    request_body = GroupMembers,
    responses((status = 200, description = "What became of them", body = Moved)),
    extensions(("x-codes" = json!(["not_found", "invalid", "too_many_devices"]))),
)]
async fn remove(
    State(engine): State<Engine>,
    may: May<Change>,
    Id(id): Id,
    Json(asked): Json<GroupMembers>,
) -> Result<Answer<Moved>, Problem> {
    Ok(Answer(engine.remove_members(&may.by, &id, &asked.device_ids).await?.into()))
}
