//! `/refused-connections`: who tried to connect and could not, and what to do about it. The latest first.

use axum::Json as Answer;
use axum::extract::State;
use otaru_engine::{Engine, RefusedConnection};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::{Look, May};
use crate::openapi::words;
use crate::problem::Problem;
use crate::query::{Asked, Listed};
use crate::router::Shared;
use crate::times::Moment;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(list))
}

/// The last time something was not let in, and how often it was not.
#[derive(Serialize, ToSchema)]
#[schema(as = RefusedConnection)]
pub(super) struct Refused {
    /// The user name, or the client id if there was none.
    name: String,
    client_id: String,
    peer: String,
    #[schema(value_type = words::RefusalWord)]
    code: &'static str,
    message: String,
    times: u64,
    /// The first time since it last got in.
    first_at: Moment,
    last_at: Moment,
}

impl From<RefusedConnection> for Refused {
    fn from(refused: RefusedConnection) -> Refused {
        Refused {
            name: refused.name,
            client_id: refused.client_id,
            peer: refused.peer,
            code: refused.code,
            message: refused.message,
            times: refused.times,
            first_at: Moment(refused.first_at),
            last_at: Moment(refused.last_at),
        }
    }
}

/// Lists who was not let in lately, the latest first.
#[utoipa::path(
    get, path = "/refused-connections", tag = "devices", operation_id = "list_refused_connections",
    security(("token" = ["viewer"])),
    responses((status = 200, description = "All that are remembered", body = Listed<Refused>)),
    extensions(("x-codes" = json!(["invalid_parameter"]))),
)]
async fn list(
    State(engine): State<Engine>,
    _: May<Look>,
    asked: Asked,
) -> Result<Answer<Listed<Refused>>, Problem> {
    asked.only(&[])?;
    let refused = engine.refused_connections();
    Ok(Answer(Listed::whole(refused.into_iter().map(Refused::from).collect())))
}
