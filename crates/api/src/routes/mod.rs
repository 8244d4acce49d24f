//! What each resource answers; one file per resource, with its shapes in JSON beside its routes.
//!
//! The members of a shape are part of the API. A member may be added; none is renamed or removed.

mod access_keys;
mod acts;
mod artifacts;
mod backups;
mod campaigns;
mod connections;
mod deployments;
mod description;
pub(crate) mod device_http;
mod devices;
pub(crate) mod download;
pub(crate) mod events;
mod explain;
mod failures;
mod groups;
pub(crate) mod health;
pub(crate) mod import;
mod notes;
mod packages;
mod products;
mod reports;
mod results;
mod rules;
mod tokens;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use utoipa_axum::router::OpenApiRouter;

use crate::problem::{Code, Problem};
use crate::router::Shared;

/// The native API, below `/api/v1`.
pub(crate) fn native() -> OpenApiRouter<Shared> {
    OpenApiRouter::default()
        .merge(products::routes())
        .merge(devices::routes())
        .merge(import::routes())
        .merge(groups::routes())
        .merge(reports::routes())
        .merge(notes::routes())
        .merge(explain::routes())
        .merge(artifacts::routes())
        .merge(packages::routes())
        .merge(campaigns::routes())
        .merge(deployments::routes())
        .merge(failures::routes())
        .merge(acts::routes())
        .merge(results::routes())
        .merge(events::routes())
        .merge(connections::routes())
        .merge(tokens::routes())
        .merge(access_keys::routes())
        .merge(rules::routes())
        .merge(backups::routes())
        .merge(description::routes())
}

/// The first id in a path, as text. Whether it names anything is for the engine to say.
pub(crate) struct Id(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Id, Problem> {
        let [id] = ids(parts, state).await?;
        Ok(Id(id))
    }
}

/// The first two ids in a path, likewise.
pub(crate) struct Ids(pub(crate) String, pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Ids {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Ids, Problem> {
        let [first, second] = ids(parts, state).await?;
        Ok(Ids(first, second))
    }
}

async fn ids<const N: usize>(parts: &mut Parts, state: &(impl Send + Sync)) -> Result<[String; N], Problem> {
    let unreadable = |why: String| Problem::new(Code::InvalidPath, format!("the path cannot be read: {why}"));
    let params = RawPathParams::from_request_parts(parts, state)
        .await
        .map_err(|error| unreadable(error.body_text()))?;
    let ids: Vec<String> = params.iter().take(N).map(|(_, id)| id.to_owned()).collect();
    Ok(ids.try_into().expect("only routes with as many ids take them"))
}
