//! `/v3/auth/tokens`: a token for an access key and its secret, which take the place of a user's name and password.
//!
//! Always true:
//! - No more than [`TOKEN_BODY_BYTES_MAX`] of a body is read: nobody knows yet who is asking.
//! - A wrong secret is answered like an unknown access key.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use otaru_engine::Engine;
use serde_json::{Value, json};

use super::input::{Fields, Rule, micros, prose};
use super::refusal::{FORBIDDEN, INVALID, UNKNOWN_CALLER, of_body, of_engine};
use crate::body::read_whole;
use crate::caller::role_name;
use crate::limits::TOKEN_BODY_BYTES_MAX;
use crate::problem::Problem;
use crate::router::Shared;

/// The header that the token is answered in.
pub(super) const TOKEN_HEADER: &str = "x-subject-token";

/// The method of identification there is.
pub(super) const METHOD: &str = "password";

/// Names and secrets.
pub(super) const WORD: Rule = prose(256);

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/v3/auth/tokens", post(create))
}

/// What is asked: a pair, and names that are shown again.
struct Asked {
    access_key: String,
    secret: String,
    domain: String,
    project: String,
}

async fn create(State(engine): State<Engine>, request: Request) -> Result<Response, Problem> {
    let body = read_whole(request.into_body(), TOKEN_BODY_BYTES_MAX).await;
    let asked = asked(&body.map_err(|problem| of_body(&problem))?, engine.project_id())?;
    let made = engine.application_token(&asked.access_key, &asked.secret).await;
    let made = made.map_err(|error| of_engine(error, UNKNOWN_CALLER))?.ok_or_else(|| {
        UNKNOWN_CALLER.because(
            "The name has to be an access key and the password its secret; `otaru access-key create` makes both.",
        )
    })?;
    // A domain is whoever runs the server, and has no id of its own.
    let project_id = engine.project_id();
    let domain = json!({"id": project_id, "name": asked.domain});
    let body = json!({"token": {
        "methods": [METHOD],
        "issued_at": micros(made.issued_at),
        "expires_at": micros(made.expires_at),
        "project": {"id": project_id, "name": asked.project, "domain": domain},
        "user": {"id": asked.access_key, "name": asked.access_key, "domain": domain},
        "roles": [{"id": "0", "name": role_name(made.operator.role)}],
        "catalog": [],
    }});
    Ok((StatusCode::CREATED, [(TOKEN_HEADER, made.token)], Json::<Value>(body)).into_response())
}

fn asked(body: &[u8], project_id: &str) -> Result<Asked, Problem> {
    let mut fields = Fields::of(body)?;
    let mut auth = object(&mut fields, "auth")?;
    let mut identity = object(&mut auth, "identity")?;
    if let Some(methods) = identity.texts("methods", METHODS_MAX, WORD)?
        && !methods.iter().any(|method| method == METHOD)
    {
        return Err(INVALID.because("`auth.identity.methods` has other methods; `password` is accepted."));
    }
    let mut user = object(&mut object(&mut identity, "password")?, "user")?;
    let (access_key, secret) = (user.needed("name", WORD)?, user.needed("password", WORD)?);
    let domain = match user.object("domain")? {
        Some(mut domain) => domain.text("name", WORD)?,
        None => None,
    };
    let mut project = None;
    if let Some(mut scope) = auth.object("scope")?
        && let Some(mut scoped) = scope.object("project")?
    {
        if scoped.text("id", WORD)?.is_some_and(|id| id != project_id) {
            return Err(
                FORBIDDEN.because("`auth.scope.project.id` is another project than that of this server.")
            );
        }
        project = scoped.text("name", WORD)?;
    }
    let or_default = |name: Option<String>| name.unwrap_or_else(|| "default".to_owned());
    Ok(Asked { access_key, secret, domain: or_default(domain), project: or_default(project) })
}

/// Methods of identification there are, and some more.
pub(super) const METHODS_MAX: usize = 10;

/// A member that has to be there.
fn object(fields: &mut Fields, field: &str) -> Result<Fields, Problem> {
    let found = fields.object(field)?;
    found.ok_or_else(|| INVALID.because(format!("`{}` is required.", fields.named(field))))
}
