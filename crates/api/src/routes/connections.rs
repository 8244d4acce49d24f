//! `/refused-connections`: who tried to connect and could not, and what to do about it. The latest first.

use axum::extract::State;
use axum::routing::get;
use axum::{Json as Answer, Router};
use otaru_engine::{Engine, RefusedConnection};
use serde::Serialize;

use crate::caller::{Look, May};
use crate::problem::Problem;
use crate::query::{Asked, Listed};
use crate::router::Shared;
use crate::times::Moment;

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/refused-connections", get(list))
}

/// The last time something was not let in, and how often it was not.
#[derive(Serialize)]
pub(super) struct Refused {
    name: String,
    client_id: String,
    peer: String,
    code: &'static str,
    message: String,
    times: u64,
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
            last_at: Moment(refused.last_at),
        }
    }
}

async fn list(
    State(engine): State<Engine>,
    _: May<Look>,
    asked: Asked,
) -> Result<Answer<Listed<Refused>>, Problem> {
    asked.only(&[])?;
    let refused = engine.refused_connections();
    Ok(Answer(Listed::whole(refused.into_iter().map(Refused::from).collect())))
}
